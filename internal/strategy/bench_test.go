package strategy

import (
	"fmt"
	"testing"

	"chaperone.dev/chaperone/internal/manifest"
	"chaperone.dev/chaperone/internal/promotion"
)

// A large release: 50 workloads with a canary of ten shares each, among 5,000
// objects.
func BenchmarkSteps(b *testing.B) {
	var strategies []promotion.Strategy
	version := func(tag string) manifest.Set {
		var texts []string
		for i := range 2400 {
			name := fmt.Sprintf("w%04d", i)
			if i < 200 {
				texts = append(texts, workload(name, tag, 3), behind(name, "app: "+name))
			}
			texts = append(texts, configMap(name, "x"), configMap(name+"-more", "x"))
		}
		return set(b, texts...)
	}
	for i := range 50 {
		strategies = append(strategies, canary(fmt.Sprintf("w%04d", i), "", 1, 2, 3, 4, 5, 6, 7, 8, 9, 10))
	}
	r := release(version("v1"), version("v2"), strategies...)
	b.ReportAllocs()
	for b.Loop() {
		if p := steps(b, r); len(p.Steps) != 11 {
			b.Fatalf("%d steps", len(p.Steps))
		}
	}
}

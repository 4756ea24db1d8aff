package rego

import (
	"testing"

	"chaperone.dev/chaperone/internal/promotion"
)

// BenchmarkPodRules judges 200 objects by the rules about pods alone.
func BenchmarkPodRules(b *testing.B) {
	bundle := newPodJudge(b, newestPSS).bundles[promotion.DataPHI]
	in := inputOf(b, promotion.DataPHI, workloads(199)...)
	for b.Loop() {
		forget(bundle)
		evaluate(b, bundle, in)
	}
	perPair(b, pairsOf(bundle, in))
}

package rego

import (
	"context"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"

	oparego "github.com/open-policy-agent/opa/v1/rego"
	"github.com/open-policy-agent/opa/v1/storage/inmem"

	"chaperone.dev/chaperone/internal/policy"
	"chaperone.dev/chaperone/internal/promotion"
)

// BenchmarkPack judges an environment of 200 objects by the whole pack.
//
//	cold         nothing is known: read, parse, compile, evaluate
//	warm         compiled; every rule is asked about every object anew
//	one-changed  compiled and judged before; one object has changed since
//	replay       compiled and judged before, and nothing has changed
//	opa          the reference: OPA's rego.New(...).Eval per rule and object,
//	             over the same modules, compiled before
//	opa-cold     the same as a program would that keeps nothing: every Eval
//	             parses and compiles
func BenchmarkPack(b *testing.B) {
	bundle := loadSample(b)
	in := inputOf(b, promotion.DataPHI, workloads(199)...)
	pairs := pairsOf(bundle, in)
	b.Run("cold", func(b *testing.B) {
		for b.Loop() {
			compiled := compileSample(b)
			evaluate(b, compiled, in)
		}
		perPair(b, pairs)
	})
	b.Run("warm", func(b *testing.B) {
		for b.Loop() {
			forget(bundle)
			evaluate(b, bundle, in)
		}
		perPair(b, pairs)
	})
	b.Run("one-changed", func(b *testing.B) { oneChanged(b, bundle, workloads(199)) })
	b.Run("replay", func(b *testing.B) {
		for b.Loop() {
			evaluate(b, bundle, in)
		}
		perPair(b, pairs)
	})
	b.Run("opa", func(b *testing.B) { plain(b, bundle, in, pairs) })
	b.Run("opa-cold", func(b *testing.B) { plainCold(b, bundle, in) })
}

// forget makes the bundle ask anew.
func forget(b *Bundle) {
	b.answers.mu.Lock()
	defer b.answers.mu.Unlock()
	b.answers.new, b.answers.old, b.answers.bytes = nil, nil, 0
}

// compileSample is the pack without its own tests and examples: what has to be
// there before anything can be judged.
func compileSample(b testing.TB) *Bundle {
	b.Helper()
	files, err := readDir(samplePolicies, DefaultLimits())
	if err != nil {
		b.Fatal(err)
	}
	bundle, _, err := compile(context.Background(), files, DefaultLimits())
	if err != nil {
		b.Fatal(err)
	}
	return bundle
}

// pairsOf is how many times some rule is asked about something.
func pairsOf(bundle *Bundle, in policy.Input) int {
	pairs := 0
	for _, r := range bundle.rules {
		switch {
		case !r.AppliesTo(in.Environment.Data):
		case !r.PerObject():
			pairs++
		default:
			for _, o := range in.Objects {
				if r.Judges(o, bundle.templates) {
					pairs++
				}
			}
		}
	}
	return pairs
}

func perPair(b *testing.B, pairs int) {
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(pairs), "ns/object·rule")
	b.ReportMetric(float64(pairs), "object·rules")
}

// oneChanged judges releases that differ from the one before in one ConfigMap.
func oneChanged(b *testing.B, bundle *Bundle, manifests []string) {
	in := inputOf(b, promotion.DataPHI, append(manifests, configMap("changing"))...)
	last := len(in.Objects) - 1
	for i, o := range in.Objects {
		if o.GetName() == "changing" {
			last = i
		}
	}
	evaluate(b, bundle, in)
	version := 0
	for b.Loop() {
		version++
		changed := in.Objects[last].DeepCopy()
		changed.Object["data"] = map[string]any{"key": fmt.Sprint(version)}
		in.Objects[last] = changed
		evaluate(b, bundle, in)
	}
}

// plain is the reference, and prints how many times faster the engine is.
func plain(b *testing.B, bundle *Bundle, in policy.Input, pairs int) {
	document, err := in.Document()
	if err != nil {
		b.Fatal(err)
	}
	store := inmem.NewFromObject(bundle.data)
	ask := func(r *rule, input map[string]any) {
		for _, entry := range r.entrypoints {
			set, err := oparego.New(oparego.Query(r.module.Package.Path.String()+"."+entry.name), oparego.Compiler(bundle.compiler),
				oparego.Store(store), oparego.Input(input)).Eval(context.Background())
			if err != nil || len(set) == 0 {
				b.Fatalf("%s: %v", r.ID, err)
			}
		}
	}
	var reference, engine time.Duration // in turns, so that both meet the same machine
	for b.Loop() {
		began := time.Now()
		for _, r := range bundle.rules {
			if r.AppliesTo(in.Environment.Data) {
				eachInput(bundle, r, in, document, func(input map[string]any) { ask(r, input) })
			}
		}
		reference += time.Since(began)
		b.StopTimer()
		forget(bundle)
		began = time.Now()
		evaluate(b, bundle, in)
		engine += time.Since(began)
		b.StartTimer()
	}
	perPair(b, pairs)
	b.ReportMetric(reference.Seconds()/engine.Seconds(), "×warm")
}

// eachInput is what a rule is asked with, one by one.
func eachInput(bundle *Bundle, r *rule, in policy.Input, document map[string]any, ask func(map[string]any)) {
	if !r.PerObject() {
		ask(document)
		return
	}
	for _, o := range in.Objects {
		if r.Judges(o, bundle.templates) {
			input := map[string]any{"object": o.Object}
			for _, part := range r.sees.names() {
				if part != "object" {
					input[part] = document[part]
				}
			}
			ask(input)
		}
	}
}

// plainCold parses and compiles for each rule, as Eval with modules does, and
// asks about a single object: the whole environment would take minutes.
func plainCold(b *testing.B, bundle *Bundle, in policy.Input) {
	document, err := in.Document()
	if err != nil {
		b.Fatal(err)
	}
	document["object"] = in.Objects[0].Object
	var modules []func(*oparego.Rego)
	for _, name := range sortedModules(bundle) {
		content, err := os.ReadFile(samplePolicies + "/" + name)
		if err != nil {
			b.Fatal(err)
		}
		modules = append(modules, oparego.Module(name, string(content)))
	}
	asked := 0
	for b.Loop() {
		r := bundle.rules[asked%len(bundle.rules)]
		asked++
		options := append([]func(*oparego.Rego){oparego.Query(r.module.Package.Path.String()), oparego.Input(document),
			oparego.Store(inmem.NewFromObject(bundle.data))}, modules...)
		if _, err := oparego.New(options...).Eval(context.Background()); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N), "ns/object·rule")
}

func sortedModules(bundle *Bundle) []string {
	var names []string
	_ = fs.WalkDir(os.DirFS(samplePolicies), ".", func(name string, _ fs.DirEntry, err error) error {
		if strings.HasSuffix(name, ".rego") && !strings.HasSuffix(name, "_test.rego") {
			names = append(names, name)
		}
		return err
	})
	return names
}

// BenchmarkObjects shows how the time grows with the number of objects: the
// time per object stays.
func BenchmarkObjects(b *testing.B) {
	bundle := loadSample(b)
	sizes := []int{200, 1000, 5000}
	if smoke() {
		sizes = sizes[:1]
	}
	for _, n := range sizes {
		in := inputOf(b, promotion.DataPHI, workloads(n-1)...)
		b.Run(fmt.Sprintf("%d/warm", n), func(b *testing.B) {
			for b.Loop() {
				forget(bundle)
				evaluate(b, bundle, in)
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(n), "ns/object")
		})
		b.Run(fmt.Sprintf("%d/one-changed", n), func(b *testing.B) { oneChanged(b, bundle, workloads(n-1)) })
	}
}

// smoke: -benchtime 1x only wants to see that it runs.
func smoke() bool { return flag.Lookup("test.benchtime").Value.String() == "1x" }

// BenchmarkMemory evaluates 10,000 times and reports how much of the heap is in
// use after a fifth of that, and at the end.
func BenchmarkMemory(b *testing.B) {
	bundle := loadSample(b)
	manifests := workloads(10)
	used := func() float64 {
		var stats runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&stats)
		return float64(stats.HeapAlloc) / (1 << 20)
	}
	times := 10_000
	if smoke() {
		times = 20
	}
	for b.Loop() {
		var before float64
		in := inputOf(b, promotion.DataPHI, manifests...)
		for i := range times {
			if i == times/5 {
				before = used()
			}
			changed := in.Objects[0].DeepCopy()
			changed.SetLabels(map[string]string{"chaperone.dev/data-class": "phi", "version": fmt.Sprint(i)})
			in.Objects[0] = changed
			evaluate(b, bundle, in)
		}
		b.ReportMetric(before, "MiB-after-a-fifth")
		b.ReportMetric(used(), "MiB-at-the-end")
	}
}

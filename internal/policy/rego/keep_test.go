package rego

import (
	"runtime"
	"runtime/debug"
	"testing"
	"weak"

	"github.com/open-policy-agent/opa/v1/ast"
)

// A daemon keeps its bundle for weeks, and of what the bundle proved itself with
// nothing: no module as it was parsed, no test, and no query about one rule.
func TestABundleKeepsNothingOfItsProof(t *testing.T) {
	t.Parallel()
	texts := oneRule("")
	texts["test/one/rule_test.rego"] = "package test.one_test\n\nimport data.test.one\n\n" +
		"test_bad if count(one.deny) == 1 with input as {\"object\": {\"metadata\": {\"name\": \"bad\"}}}\n"
	files, err := readFiles(mapFS(texts), DefaultLimits())
	if err != nil {
		t.Fatal(err)
	}
	bundle, modules, err := compile(t.Context(), files, DefaultLimits())
	if err != nil {
		t.Fatal(err)
	}
	if len(modules) != 2 {
		t.Fatalf("%d modules, want the rule and its test", len(modules))
	}
	parsed := map[string]weak.Pointer[ast.Module]{}
	for name, module := range modules {
		parsed[name] = weak.Make(module)
	}
	if err := bundle.prove(t.Context(), files, modules); err != nil {
		t.Fatal(err)
	}
	modules = nil
	runtime.GC()
	for name, module := range parsed {
		if module.Value() != nil {
			t.Errorf("%s is still there as it was parsed", name)
		}
	}
	if len(bundle.queries) > 0 {
		t.Errorf("%d queries are still there", len(bundle.queries))
	}
	runtime.KeepAlive(bundle)
}

// BenchmarkBundleHeap is what the pack takes for as long as it is in force: what
// lives, and the pages that this lies scattered over.
func BenchmarkBundleHeap(b *testing.B) {
	var before, after runtime.MemStats
	debug.FreeOSMemory()
	runtime.ReadMemStats(&before)
	bundle := loadSample(b)
	debug.FreeOSMemory()
	runtime.ReadMemStats(&after)
	for b.Loop() { // once: it is a state that is measured, no speed
	}
	b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/(1<<20), "live-MiB")
	b.ReportMetric(float64(after.HeapInuse-before.HeapInuse)/(1<<20), "pages-MiB")
	b.ReportMetric(float64(len(bundle.Rules())), "rules")
}

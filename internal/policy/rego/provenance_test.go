package rego

import (
	"testing"

	"github.com/open-policy-agent/opa/v1/ast"

	"chaperone.dev/chaperone/internal/policy"
	"chaperone.dev/chaperone/internal/promotion"
)

func TestByContent(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		module string
		want   bool
	}{
		"an object":             {`deny contains "x" if input.object.spec.hostNetwork`, true},
		"objects by index":      {`deny contains "x" if { some o in input.objects; o.kind == "Pod" }`, true},
		"environment and now":   {`deny contains input.environment.id if time.parse_rfc3339_ns(input.now) > 0`, true},
		"the digest":            {`deny contains input.release.digest if true`, true},
		"no input":              {`deny contains "x" if data.params.strict`, true},
		"a local named release": {`deny contains release if { release := input.object.metadata.name }`, true},
		"the author":            {`deny contains "x" if input.release.author.email == "a@example.org"`, false},
		"the whole release":     {`deny contains "x" if { r := input.release; r.revision != "" }`, false},
		"the whole input":       {`deny contains "x" if { i := input; i.release.revision != "" }`, false},
		"input as an argument":  {"f(x) := x.release\ndeny contains \"x\" if f(input).revision", false},
		"a computed part":       {`deny contains "x" if { some part in ["release"]; input[part].revision }`, false},
		"any part":              {`deny contains part if { some part; input[part] }`, false},
		"an import":             {"import input.release as r\ndeny contains \"x\" if r.changed[_] == \"a\"", false},
		"upstream":              {`deny contains "x" if count(input.upstream) == 0`, true},
		"other environments":    {`deny contains "x" if count(input.pipeline) == 0`, true},
		"approvals":             {`deny contains "x" if count(input.approval.by) == 0`, true},
		"inside a closure":      {`deny contains "x" if { every o in input.objects { o.metadata.name != input.release.revision } }`, false},
		"by another name":       {"deny contains \"x\" if is_bad\nis_bad if { walk(input, [path, _]); path[0] == \"release\" }", false},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			module, err := ast.ParseModuleWithOpts("m.rego", "package p\n"+test.module+"\n", ast.ParserOptions{RegoVersion: ast.RegoV1})
			if err != nil {
				t.Fatal(err)
			}
			compiler := ast.NewCompiler().WithDefaultRegoVersion(ast.RegoV1)
			if compiler.Compile(map[string]*ast.Module{"m.rego": module}); compiler.Failed() {
				t.Fatal(compiler.Errors)
			}
			if got := byContent(compiler.Modules); got != test.want {
				t.Errorf("got %v, want %v", got, test.want)
			}
		})
	}
}

// What is synthetic does not depend on what other environments verified: many
// environments of one pipeline need not be judged again for each other.
func TestSampleLooksAroundByData(t *testing.T) {
	t.Parallel()
	bundle := compileSample(t)
	for data, want := range map[promotion.Data]policy.Looks{
		promotion.DataNone:       {Pipeline: true},
		promotion.DataSynthetic:  {Pipeline: true},
		promotion.DataAnonymized: {Upstream: true, Pipeline: true, LastGood: true},
		promotion.DataPHI:        {Upstream: true, Pipeline: true, LastGood: true},
	} {
		if got := bundle.Around(data); got != want {
			t.Errorf("%s: %+v, want %+v", data, got, want)
		}
	}
	if !bundle.byContent {
		t.Error("a rule of the sample looks at commits: each one has every environment judged anew")
	}
}

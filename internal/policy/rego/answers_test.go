package rego

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/open-policy-agent/opa/v1/ast"
	"pgregory.net/rapid"

	"chaperone.dev/chaperone/internal/manifest"
	"chaperone.dev/chaperone/internal/policy"
	"chaperone.dev/chaperone/internal/promotion"
)

// lookingRules look at every part of the input, directly and through helpers; one
// of them errs now and then, and one in a way that depends on another object.
func lookingRules() textFiles {
	files := textFiles{"lib/seen.rego": `package lib.seen

names contains object.get(o, ["metadata", "name"], "") if some o in input.objects

label := object.get(input.object, ["data", "label"], "none")

part(name) := input[name]
`}
	for name, body := range map[string]string{
		"own":       `deny contains sprintf("label %s", [data.lib.seen.label]) if data.lib.seen.label == "odd"`,
		"class":     `deny contains input.environment.data if data.lib.seen.label == "odd"`,
		"others":    `deny contains sprintf("%d others", [count(data.lib.seen.names)]) if data.lib.seen.label == "odd"`,
		"moment":    `warn contains input.now if data.lib.seen.label == "odd"`,
		"author":    `audit contains input.release.author.email if data.lib.seen.label == "odd"`,
		"upstream":  `warn contains u.revision if { data.lib.seen.label == "odd"; some u in input.upstream }`,
		"computed":  `warn contains v if { data.lib.seen.label == "odd"; v := data.lib.seen.part("now") }`,
		"errs":      `deny contains "number" if to_number(object.get(input.object, ["data", "number"], "1")) > 5`,
		"errs-both": `deny contains "number" if { "c3" in data.lib.seen.names; to_number(object.get(input.object, ["data", "number"], "1")) > 5 }`,
	} {
		files["test/"+name+"/rule.rego"] = header("test/"+name) + denyBad("test."+strings.ReplaceAll(name, "-", "_"), body)
	}
	files = withExamples(files)
	files["test/release/rule.rego"] = releaseHeader("test/release") +
		"package test.release\n\ndeny contains name if { some name in data.lib.seen.names; name == \"bad\" }\n"
	files["test/release/testdata/pass/good.yaml"], files["test/release/testdata/fail/bad.yaml"] = configMap("good"), configMap("bad")
	return files
}

// generateInput draws a release of few objects that often come again.
func generateInput(t *rapid.T) policy.Input {
	n := rapid.IntRange(0, 8).Draw(t, "objects")
	manifests := map[string]string{}
	for range n {
		name := fmt.Sprintf("c%d", rapid.IntRange(0, 5).Draw(t, "name"))
		label := rapid.SampledFrom([]string{"odd", "even"}).Draw(t, "label")
		number := rapid.SampledFrom([]string{"1", "9", "lots"}).Draw(t, "number")
		manifests[name] = strings.Replace(configMap(name), "key: value", fmt.Sprintf("label: %s, number: %q", label, number), 1)
	}
	objects, err := manifest.Decode("release.yaml", []byte(strings.Join(slices.Collect(maps.Values(manifests)), "---\n")))
	if err != nil {
		t.Fatal(err)
	}
	in := policy.Input{
		Objects: objects,
		Release: policy.Release{Author: policy.Person{Email: rapid.SampledFrom([]string{"a@example.org", "b@example.org"}).Draw(t, "author")}},
		Now:     testNow.Add(time.Duration(rapid.IntRange(0, 1).Draw(t, "now")) * time.Hour),
	}
	in.Environment.Data = rapid.SampledFrom([]promotion.Data{promotion.DataSynthetic, promotion.DataPHI}).Draw(t, "data")
	if rapid.Bool().Draw(t, "upstream") {
		in.Upstream = []policy.Upstream{{Revision: "4f2c"}}
	}
	return in
}

// What is remembered is what would be answered: whatever was judged before, in
// whatever order and however many at once, the report is that of a bundle that
// remembers nothing and judges one object after the other.
func TestAnswersAreThoseOfABundleThatRemembersNothing(t *testing.T) {
	t.Parallel()
	bundle := loadFiles(t, lookingRules())
	errors, denials := 0, 0
	rapid.Check(t, func(t *rapid.T) {
		for range 4 {
			in := generateInput(t)
			want := reportJSON(t, judgeAnew(t.Context(), bundle, in))
			rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 0)).Shuffle(len(in.Objects), func(i, j int) {
				in.Objects[i], in.Objects[j] = in.Objects[j], in.Objects[i]
			})
			report, err := bundle.Evaluate(t.Context(), in)
			if err != nil {
				t.Fatal(err)
			}
			// Which object an erring rule met first depends on their order.
			if len(report.Errors) > 0 {
				errors++
				want = reportJSON(t, judgeAnew(t.Context(), bundle, in))
			}
			denials += len(report.Stopping())
			if got := reportJSON(t, report); got != want {
				t.Fatalf("remembering\n%s\nwant\n%s", got, want)
			}
		}
	})
	if errors == 0 || denials == 0 || len(bundle.answers.new) == 0 {
		t.Errorf("%d errors, %d denials, %d answers remembered: nothing was tried", errors, denials, len(bundle.answers.new))
	}
}

// judgeAnew asks every rule about every object, alone and in order, with the
// whole input. OPA forgets everything in between.
func judgeAnew(ctx context.Context, b *Bundle, in policy.Input) policy.Report {
	var results []policy.Result
	var errs []policy.RuleError
	for _, r := range b.rules {
		whole := *r
		whole.sees = everything
		e := newEvaluation(b, in)
		shared, err := newInput(in, b)
		if err != nil {
			panic(err)
		}
		e.input, e.watch = shared, newWatchdog(ctx, b.limits, 0)
		for place := aboutRelease; place < len(in.Objects); place++ {
			asked := place == aboutRelease && !r.PerObject() || place >= 0 && r.Judges(in.Objects[place], b.templates)
			if !asked || !r.AppliesTo(in.Environment.Data) {
				continue
			}
			a := &asking{evaluation: e, worker: e.watch.worker(), memory: newMemory(nil, nil, nil), place: place}
			outcome := a.ask([]group{{sees: everything, rules: []*rule{&whole}}})[0]
			results = append(results, outcome.results...)
			if outcome.err != nil {
				errs = append(errs, policy.RuleError{Rule: r.ID, Object: shared.ref(place), Message: outcome.err.Error()})
				break
			}
		}
		e.watch.stop()
	}
	report := policy.Judge(in, policy.Basis{Rules: b.Rules(), Exceptions: b.exceptions, Digest: b.digest}, results, errs)
	report.ByContent = b.byContent
	return report
}

func reportJSON(t *rapid.T, report policy.Report) string {
	encoded, err := json.Marshal(report)
	if err != nil {
		t.Fatal(err)
	}
	return string(encoded)
}

// A rule that looks at a part of the input is known to, however it gets there.
func TestFootprints(t *testing.T) {
	t.Parallel()
	const all = "all"
	for name, test := range map[string]struct{ body, want string }{
		"an object":            {`deny contains "x" if input.object.kind == "Pod"`, "object"},
		"two parts":            {`deny contains input.now if input.environment.name == "a"`, "environment now"},
		"nothing":              {`deny contains "x" if data.params.strict`, ""},
		"through a rule":       {`deny contains "x" if "a" in data.lib.h.names`, "objects"},
		"through a function":   {`deny contains "x" if data.lib.h.has("a")`, "objects"},
		"through an import":    {"import data.lib.h\ndeny contains \"x\" if h.has(\"a\")", "objects"},
		"through any rule":     {"deny contains x if { some n; data.lib.h[n]; x := n }", all},
		"through all data":     {"deny contains x if { some a, b; data.lib[a][b]; x := b }", all},
		"an else":              {"v := 1 if { false } else := input.now\ndeny contains v if true", "now"},
		"a default":            {"default v := 1\nv := 2 if count(input.upstream) > 0\ndeny contains v if true", "upstream"},
		"a comprehension":      {`deny contains "x" if count([i | some i in input.images]) > 0`, "images"},
		"an every":             {`deny contains "x" if { every o in input.objects { o.kind == "Pod" } }`, "objects"},
		"a negation":           {`deny contains "x" if not input.release.signature`, "release"},
		"a with":               {`deny contains "x" if data.lib.h.names with input.objects as input.upstream`, "objects upstream"},
		"a template string":    {"deny contains $\"at {input.now}\" if true", "now"},
		"a head":               {`deny contains {"msg": input.release.digest} if true`, "release"},
		"the whole input":      {`deny contains "x" if { i := input; i.now }`, all},
		"as an argument":       {"f(x) := x.now\ndeny contains f(input) if true", all},
		"a computed part":      {`deny contains "x" if { some p in ["now"]; input[p] }`, all},
		"a walk":               {`deny contains "x" if { walk(input, [p, _]); p[0] == "now" }`, all},
		"a nested ref":         {`deny contains "x" if input.objects[input.release.changed[0]]`, "objects release"},
		"an argument of a ref": {`deny contains "x" if data.lib.h.by[input.now]`, "now objects"},
	} {
		modules := map[string]*ast.Module{}
		for file, text := range map[string]string{"r.rego": "package p\n" + test.body, "h.rego": "package lib.h\n\n" +
			"names contains o.metadata.name if some o in input.objects\nhas(n) if n in names\nby[n] := 1 if some n in names\neverything := input"} {
			module, err := ast.ParseModuleWithOpts(file, text, ast.ParserOptions{RegoVersion: ast.RegoV1})
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			modules[file] = module
		}
		compiler := ast.NewCompiler().WithDefaultRegoVersion(ast.RegoV1)
		if compiler.Compile(modules); compiler.Failed() {
			t.Fatalf("%s: %v", name, compiler.Errors)
		}
		want := test.want
		if want == all {
			want = strings.Join(parts, " ")
		}
		sees := footprintOf(compiler, compiler.Modules["r.rego"])
		if got := strings.Join(sees.names(), " "); got != want {
			t.Errorf("%s: looks at %q, want %q", name, got, want)
		}
	}
}

package rego

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/cover"
	"github.com/open-policy-agent/opa/v1/tester"

	"chaperone.dev/chaperone/internal/manifest"
	"chaperone.dev/chaperone/internal/policy"
)

// Inspection is a bundle that compiled. Nothing may be judged by it: it has not
// proved itself. It is for people who write policies.
type Inspection struct {
	bundle  *Bundle
	files   fileSet
	modules map[string]*ast.Module
}

// Inspect reads and compiles the policies in a directory.
func Inspect(ctx context.Context, dir string, limits Limits) (*Inspection, error) {
	limits = limits.withDefaults()
	files, err := readDir(dir, limits)
	if err != nil {
		return nil, fmt.Errorf("read policies from %s: %w", dir, err)
	}
	bundle, modules, err := compile(ctx, files, limits)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", dir, refused("compile policies", err))
	}
	return &Inspection{bundle: bundle, files: files, modules: modules}, nil
}

// Rules are ordered by ID.
func (i *Inspection) Rules() []policy.Rule { return i.bundle.Rules() }

// Frameworks are ordered by name.
func (i *Inspection) Frameworks() []policy.Framework { return i.bundle.Frameworks() }

// Digest is that of the bundle.
func (i *Inspection) Digest() manifest.Digest { return i.bundle.digest }

// Example is a manifest that a rule must deny, or must find nothing in.
type Example struct {
	File    string `json:"file"`
	Denied  bool   `json:"denied"`
	Content string `json:"content"`
}

// Examples are those of one rule, what it denies first.
func (i *Inspection) Examples(id string) []Example {
	var examples []Example
	for _, r := range i.bundle.rules {
		if r.ID != id {
			continue
		}
		for _, kind := range []fileKind{failFile, passFile} {
			for _, f := range examplesOf(r, i.files.of(kind)) {
				examples = append(examples, Example{File: f.name, Denied: kind == failFile, Content: string(f.content)})
			}
		}
	}
	return examples
}

// Trial is what a bundle's tests and examples came to.
type Trial struct {
	Digest   manifest.Digest `json:"policyDigest"`
	Proofs   []Proof         `json:"proofs"` // in the order of files
	Files    []Coverage      `json:"files"`  // that are not tests
	Coverage float64         `json:"coverage"`
}

// Passed reports whether the bundle would be accepted.
func (t Trial) Passed() bool {
	return !slices.ContainsFunc(t.Proofs, func(p Proof) bool { return p.Problem != "" })
}

// Proof is one test or example.
type Proof struct {
	Rule     string        `json:"rule"` // "" of a library's test
	Kind     string        `json:"kind"` // test, pass or fail
	Name     string        `json:"name"`
	File     string        `json:"file"`
	Duration time.Duration `json:"durationNanoseconds"`
	Problem  string        `json:"problem,omitempty"` // "" when it came out as it must
}

// Coverage is how much of a file tests and examples reach.
type Coverage struct {
	File     string   `json:"file"`
	Rule     string   `json:"rule"`
	Percent  float64  `json:"coverage"`
	Lines    int      `json:"lines"`
	Uncalled []string `json:"notCovered"` // lines, such as 12 or 14-16
}

// Try runs everything that a bundle must pass, and tells of each.
func (i *Inspection) Try(ctx context.Context) (Trial, error) {
	ctx, cancel := context.WithTimeout(ctx, i.bundle.limits.Verify)
	defer cancel()
	trial := Trial{Digest: i.bundle.digest}
	covered := cover.New()
	tests, err := i.tests(ctx, covered)
	if err != nil {
		return trial, err
	}
	trial.Proofs = append(tests, i.examples(ctx, covered)...)
	if err := ctx.Err(); err != nil {
		return trial, fmt.Errorf("tests did not finish within %s: %w", i.bundle.limits.Verify, err)
	}
	slices.SortStableFunc(trial.Proofs, func(a, b Proof) int { return cmp.Or(strings.Compare(a.File, b.File), strings.Compare(a.Name, b.Name)) })
	i.measure(&trial, covered)
	return trial, nil
}

func (i *Inspection) tests(ctx context.Context, covered *cover.Cover) ([]Proof, error) {
	txn, err := i.bundle.store.NewTransaction(ctx)
	if err != nil {
		return nil, fmt.Errorf("open policy data: %w", err)
	}
	defer i.bundle.store.Abort(ctx, txn)
	results, err := tester.NewRunner().
		SetCompiler(newCompiler(i.bundle.data, capabilities(testOnly))).SetStore(i.bundle.store).SetModules(maps.Clone(i.modules)).
		SetTimeout(testTimeout).SetParallel(1).RaiseBuiltinErrors(true).SetCoverageQueryTracer(covered).
		RunTests(ctx, txn)
	if err != nil {
		return nil, refused("test policies", explain(err))
	}
	var proofs []Proof
	for result := range results {
		proof := Proof{Kind: "test", Name: result.Name, Duration: result.Duration, Problem: testFailure(result)}
		if result.Location != nil {
			proof.File = result.Location.File
			proof.Rule = i.ruleIn(path.Dir(result.Location.File))
		}
		proofs = append(proofs, proof)
	}
	return proofs, nil
}

// ruleIn is the rule whose directory this is; "" for none.
func (i *Inspection) ruleIn(dir string) string {
	for _, r := range i.bundle.rules {
		if r.dir == dir {
			return r.ID
		}
	}
	return ""
}

func (i *Inspection) examples(ctx context.Context, covered *cover.Cover) []Proof {
	var proofs []Proof
	for _, r := range i.bundle.rules {
		for _, kind := range []fileKind{failFile, passFile} {
			name := map[fileKind]string{failFile: "fail", passFile: "pass"}[kind]
			examples := examplesOf(r, i.files.of(kind))
			if len(examples) == 0 {
				proofs = append(proofs, Proof{Rule: r.ID, Kind: name, File: r.File, Name: "examples",
					Problem: fmt.Sprintf("%s:1: rule %s has no example in %s; want at least one manifest", r.File, r.ID, exampleDir(r, kind))})
			}
			for _, example := range examples {
				proof := Proof{Rule: r.ID, Kind: name, File: example.name, Name: path.Base(example.name)}
				begun := time.Now()
				if err := i.bundle.runExample(ctx, r, example); err != nil {
					proof.Problem = err.Error()
				}
				proof.Duration = time.Since(begun)
				i.trace(ctx, r, example, covered)
				proofs = append(proofs, proof)
			}
		}
	}
	return append(proofs, i.strays()...)
}

// strays are examples in no rule's directory: nobody runs them.
func (i *Inspection) strays() []Proof {
	var proofs []Proof
	for _, f := range append(i.files.of(failFile), i.files.of(passFile)...) {
		if i.ruleIn(path.Dir(path.Dir(path.Dir(f.name)))) == "" {
			proofs = append(proofs, Proof{Kind: path.Base(path.Dir(f.name)), File: f.name, Name: path.Base(f.name),
				Problem: f.name + ":1: stands in no rule's testdata"})
		}
	}
	return proofs
}

// trace asks a rule about an example once more, only to see which lines it
// takes. What goes wrong has been told.
func (i *Inspection) trace(ctx context.Context, r *rule, example file, covered *cover.Cover) {
	in, params, err := readExample(r, example)
	if err != nil {
		return
	}
	b, err := i.bundle.withParams(params)
	if err != nil {
		return
	}
	in.Images = policy.Images(in.Objects, b.templates)
	document, err := in.Document()
	if err != nil {
		return
	}
	inputs := []any{document}
	if r.PerObject() {
		inputs = nil
		for _, o := range in.Objects {
			if r.Judges(o, b.templates) {
				about := maps.Clone(document)
				about["object"] = o.Object
				inputs = append(inputs, about)
			}
		}
	}
	for _, input := range inputs {
		_ = b.follow(ctx, r, input, in.Now, covered)
	}
}

func (b *Bundle) follow(ctx context.Context, r *rule, document any, now time.Time, covered *cover.Cover) error {
	input, err := ast.InterfaceToValue(document)
	if err != nil {
		return err
	}
	query, end, err := b.ask(ctx, []*rule{r}, input, now)
	if err != nil {
		return err
	}
	defer end()
	_, err = query.WithQueryTracer(covered).Run(ctx)
	return err
}

func (i *Inspection) measure(trial *Trial, covered *cover.Cover) {
	judging := map[string]*ast.Module{}
	for name, module := range i.modules {
		if !strings.HasSuffix(name, "_test.rego") {
			judging[name] = module
		}
	}
	report := covered.Report(judging)
	all, reached := 0, 0
	for _, name := range slices.Sorted(maps.Keys(judging)) {
		c := Coverage{File: name, Rule: i.ruleIn(path.Dir(name)), Percent: 100, Uncalled: []string{}}
		if file := report.Files[name]; file != nil {
			c.Percent, c.Lines = file.Coverage, file.CoveredLines+file.NotCoveredLines
			all, reached = all+c.Lines, reached+file.CoveredLines
			c.Uncalled = lineRanges(file.NotCovered)
		}
		trial.Files = append(trial.Files, c)
	}
	trial.Coverage = 100
	if all > 0 {
		trial.Coverage = float64(reached) / float64(all) * 100
	}
}

// lineRanges puts neighbouring lines together.
func lineRanges(ranges []cover.Range) []string {
	texts := []string{}
	for i := 0; i < len(ranges); {
		first, last := ranges[i].Start.Row, ranges[i].End.Row
		for i++; i < len(ranges) && ranges[i].Start.Row <= last+1; i++ {
			last = max(last, ranges[i].End.Row)
		}
		if first == last {
			texts = append(texts, fmt.Sprint(first))
		} else {
			texts = append(texts, fmt.Sprintf("%d-%d", first, last))
		}
	}
	return texts
}

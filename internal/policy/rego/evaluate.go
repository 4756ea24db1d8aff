package rego

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"github.com/open-policy-agent/opa/v1/ast"
	oparego "github.com/open-policy-agent/opa/v1/rego"
	"github.com/open-policy-agent/opa/v1/topdown"

	"chaperone.dev/chaperone/internal/policy"
)

// maxQueries bounds the cache of prepared queries: one per set of rules that
// some kind of object is judged by.
const maxQueries = 256

// Evaluate judges a release. Whatever goes wrong is in the report, whose
// verdict is then VerdictError. The error says only that ctx ended before the
// judgement was complete; the report is VerdictError then, too.
func (b *Bundle) Evaluate(ctx context.Context, in policy.Input) (policy.Report, error) {
	if in.Images == nil {
		in.Images = policy.Images(in.Objects, b.templates)
	}
	e := &evaluation{bundle: b, in: in, broken: map[*rule]bool{}}
	e.run(ctx, b.rules)
	if err := ctx.Err(); err != nil {
		e.fail(nil, nil, fmt.Errorf("judging was stopped: %w", err))
	}
	basis := policy.Basis{Rules: b.Rules(), Exceptions: b.exceptions, Digest: b.digest}
	report := policy.Judge(in, basis, e.results, e.errs)
	report.ByContent = b.byContent
	return report, ctx.Err()
}

// evaluation is one judgement in progress.
type evaluation struct {
	bundle  *Bundle
	in      policy.Input
	results []policy.Result
	errs    []policy.RuleError
	caller  context.Context // without the evaluation's own deadline
	broken  map[*rule]bool  // erred once; not asked again
	base    [][2]*ast.Term  // the input without object
}

func (e *evaluation) fail(r *rule, object *policy.ObjectRef, err error) {
	failure := policy.RuleError{Object: object, Message: err.Error()}
	if r != nil {
		failure.Rule = r.ID
		e.broken[r] = true
	}
	e.errs = append(e.errs, failure)
}

func (e *evaluation) run(ctx context.Context, rules []*rule) {
	// A defect of the evaluator must not take the daemon with it, nor pass.
	defer func() {
		if panicked := recover(); panicked != nil {
			e.fail(nil, nil, fmt.Errorf("evaluator panicked: %v: %s", panicked, firstFrames(debug.Stack())))
		}
	}()
	e.caller = ctx
	ctx, cancel := context.WithTimeout(ctx, e.bundle.limits.Evaluation)
	defer cancel()
	if err := e.convert(); err != nil {
		e.fail(nil, nil, err)
		return
	}
	var release, each []*rule
	for _, r := range rules {
		switch {
		case !r.AppliesTo(e.in.Environment.Data):
		case r.PerObject():
			each = append(each, r)
		default:
			release = append(release, r)
		}
	}
	e.ask(ctx, release, ast.NewObject(e.base...), nil)
	e.askAboutObjects(ctx, each)
}

func (e *evaluation) askAboutObjects(ctx context.Context, each []*rule) {
	objects, _ := e.base[0][1].Value.(*ast.Array)
	for i, o := range e.in.Objects {
		if ctx.Err() != nil {
			e.fail(nil, nil, fmt.Errorf("judged %d of %d objects within %s", i, len(e.in.Objects), e.bundle.limits.Evaluation))
			return
		}
		var rules []*rule
		for _, r := range each {
			if !e.broken[r] && r.Judges(o, e.bundle.templates) {
				rules = append(rules, r)
			}
		}
		ref := policy.RefOf(o)
		input := ast.NewObject(append(slices.Clone(e.base), ast.Item(ast.StringTerm("object"), objects.Elem(i)))...)
		e.ask(ctx, rules, input, &ref)
	}
}

// convert makes the terms that all queries share, once.
func (e *evaluation) convert() error {
	size := 0
	for _, o := range e.in.Objects {
		if size += sizeOf(o.Object); size > e.bundle.limits.InputBytes {
			return fmt.Errorf("the release is larger than the %d bytes that policies may look at", e.bundle.limits.InputBytes)
		}
	}
	document, err := e.in.Document()
	if err != nil {
		return err
	}
	for _, field := range []string{"objects", "environment", "release", "upstream", "images", "now"} {
		value, err := ast.InterfaceToValue(document[field])
		if err != nil {
			return fmt.Errorf("convert input.%s: %w", field, err)
		}
		e.base = append(e.base, ast.Item(ast.StringTerm(field), ast.NewTerm(value)))
	}
	return nil
}

// ask puts all rules in one query. When that fails, each is asked by itself:
// the others still answer, and the one at fault is named.
func (e *evaluation) ask(ctx context.Context, rules []*rule, input ast.Value, object *policy.ObjectRef) {
	if len(rules) == 0 {
		return
	}
	answers, err := e.query(ctx, rules, input)
	if err == nil {
		e.take(rules, answers, object)
		return
	}
	if len(rules) == 1 {
		e.fail(rules[0], object, err)
		return
	}
	// The evaluation's own deadline may be what ended the query; to name the
	// rule that used it up, they get that time once more.
	ctx, cancel := context.WithTimeout(e.caller, e.bundle.limits.Evaluation)
	defer cancel()
	for _, r := range rules {
		answers, err := e.query(ctx, []*rule{r}, input)
		if err != nil {
			e.fail(r, object, err)
			continue
		}
		e.take([]*rule{r}, answers, object)
	}
}

// query evaluates, and reports an unclear answer as an error.
func (e *evaluation) query(ctx context.Context, rules []*rule, input ast.Value) (map[string]any, error) {
	prepared, err := e.bundle.prepare(ctx, rules)
	if err != nil {
		return nil, fmt.Errorf("prepare query: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, e.bundle.limits.Query)
	defer cancel()
	set, err := prepared.Eval(ctx, oparego.EvalParsedInput(input), oparego.EvalTime(e.in.Now),
		oparego.EvalSeed(strings.NewReader("")))
	if err != nil {
		return nil, explainEvaluation(err, e.bundle.limits.Query)
	}
	if len(set) != 1 || len(set[0].Expressions) != 1 {
		return nil, errors.New("the query has no answer")
	}
	answers, ok := set[0].Expressions[0].Value.(map[string]any)
	if !ok {
		return nil, fmt.Errorf("the query answered %T", set[0].Expressions[0].Value)
	}
	return answers, nil
}

func explainEvaluation(err error, limit time.Duration) error {
	if topdown.IsCancel(err) || errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("did not answer within %s", limit)
	}
	return err
}

// prepare compiles the query for a set of rules, once. An entry point that is
// undefined must not make the whole query undefined, nor look like an empty
// set: the comprehension around it gives [] for undefined and [set] otherwise.
func (b *Bundle) prepare(ctx context.Context, rules []*rule) (*oparego.PreparedEvalQuery, error) {
	var query strings.Builder
	query.WriteString("{")
	for i, r := range rules {
		for j, entry := range r.entrypoints {
			if i+j > 0 {
				query.WriteString(", ")
			}
			fmt.Fprintf(&query, "%q: [x | x := %s.%s]", r.ID+" "+entry, r.module.Package.Path, entry)
		}
	}
	query.WriteString("}")
	key := query.String()
	b.mu.Lock()
	defer b.mu.Unlock()
	if prepared := b.queries[key]; prepared != nil {
		return prepared, nil
	}
	prepared, err := oparego.New(oparego.Query(key), oparego.Compiler(b.compiler), oparego.Store(b.store),
		oparego.StrictBuiltinErrors(true)).PrepareForEval(ctx)
	if err != nil {
		return nil, err
	}
	if len(b.queries) >= maxQueries {
		clear(b.queries)
	}
	b.queries[key] = &prepared
	return &prepared, nil
}

// take turns answers into results. An answer of another shape than a set of
// results is the rule's error.
func (e *evaluation) take(rules []*rule, answers map[string]any, object *policy.ObjectRef) {
	for _, r := range rules {
		for _, entry := range entrypoints {
			if !slices.Contains(r.entrypoints, entry.name) {
				continue
			}
			results, err := readAnswer(answers[r.ID+" "+entry.name])
			if err == nil && len(e.results)+len(results) > e.bundle.limits.Results {
				err = fmt.Errorf("more than %d results in all", e.bundle.limits.Results)
			}
			if err != nil {
				e.fail(r, object, fmt.Errorf("%s: %w", entry.name, err))
				break
			}
			for _, result := range results {
				result.Rule, result.Action = r.ID, entry.action
				if result.Object == nil {
					result.Object = object
				}
				e.results = append(e.results, result)
			}
		}
	}
}

func firstFrames(stack []byte) string {
	lines := strings.Split(string(stack), "\n")
	return strings.Join(lines[:min(len(lines), 24)], " ")
}

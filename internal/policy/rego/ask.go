package rego

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/metrics"
	"github.com/open-policy-agent/opa/v1/topdown"

	"chaperone.dev/chaperone/internal/policy"
)

// maxQueries bounds the cache of prepared queries: one per set of rules that
// some kind of object is judged by.
const maxQueries = 256

// asking is one worker asking about one place.
type asking struct {
	*evaluation
	worker *worker
	memory *memory
	place  int
	each   bool // one rule after the other
}

// ask answers from memory what was asked before, and puts all other rules in one
// query. Outcomes are in the order of the rules' IDs.
func (a *asking) ask(groups []group) []outcome {
	var known []outcome
	var open []group
	for _, g := range groups {
		results, found := a.remembered(g)
		if !found {
			open = append(open, g)
			continue
		}
		for _, r := range g.rules {
			known = append(known, outcome{rule: r, results: of(r, results)})
		}
	}
	asked, err := a.askRules(open)
	if err != nil {
		return []outcome{{err: err}} // of none that is known yet; see blame
	}
	a.remember(open, asked)
	known = append(known, asked...)
	slices.SortFunc(known, func(a, b outcome) int { return a.rule.index - b.rule.index })
	return known
}

func of(r *rule, results []policy.Result) []policy.Result {
	var own []policy.Result
	for _, result := range results {
		if result.Rule == r.ID {
			own = append(own, result)
		}
	}
	return own
}

func (a *asking) remembered(g group) ([]policy.Result, bool) {
	if a.answers == nil {
		return nil, false
	}
	return a.answers.get(a.input.key(g, a.place))
}

// remember keeps the answers of groups of which every rule answered.
func (a *asking) remember(groups []group, outcomes []outcome) {
	for _, g := range groups {
		var results []policy.Result
		answered := 0
		for _, o := range outcomes {
			if o.rule.sees == g.sees && o.err == nil {
				results = append(results, o.results...)
				answered++
			}
		}
		if a.answers != nil && answered == len(g.rules) {
			a.answers.put(a.input.key(g, a.place), results)
		}
	}
}

// askRules puts all rules in one query. When that fails, each is asked by
// itself: the others still answer, and the one at fault is named. The error says
// that there was no time to find out which.
func (a *asking) askRules(groups []group) ([]outcome, error) {
	rules, sees := a.whole(groups)
	if len(rules) == 0 {
		return nil, nil
	}
	input, err := a.input.document(sees, a.place)
	if err != nil {
		return []outcome{a.broke(rules[0], err)}, nil
	}
	var outcomes []outcome
	if own, others := apart(rules); !a.each && len(own) > 0 {
		answers, err := a.query(own, input)
		if err == nil {
			rules, outcomes = others, a.take(own, answers)
		} else if a.watch.stopped() != nil {
			return nil, err
		}
	}
	for _, r := range rules {
		answers, err := a.query([]*rule{r}, input)
		if err == nil {
			outcomes = append(outcomes, a.take([]*rule{r}, answers)...)
			continue
		}
		outcomes = append(outcomes, a.broke(r, err))
		if a.watch.stopped() != nil {
			break
		}
	}
	return outcomes, nil
}

// apart tells the rules that were written for Chaperone, which one query asks
// together, from those that were written for others and are asked alone.
func apart(rules []*rule) (own, others []*rule) {
	for _, r := range rules {
		if r.foreign == nil {
			own = append(own, r)
		} else {
			others = append(others, r)
		}
	}
	return own, others
}

// whole is the rules of all groups that did not err before, and what they look at.
func (a *asking) whole(groups []group) (rules []*rule, sees footprint) {
	for _, g := range groups {
		for _, r := range g.rules {
			if a.brokenAt[r.index].Load() >= int64(a.place) {
				rules, sees = append(rules, r), sees|r.sees
			}
		}
	}
	return rules, sees
}

// broke keeps the rule from being asked about what comes later.
func (a *asking) broke(r *rule, err error) outcome {
	at := &a.brokenAt[r.index]
	for before := at.Load(); int64(a.place) < before; before = at.Load() {
		if at.CompareAndSwap(before, int64(a.place)) {
			break
		}
	}
	return outcome{rule: r, err: err}
}

// query evaluates, and reports an unclear answer as an error.
func (a *asking) query(rules []*rule, input ast.Value) (answer, error) {
	query, end, err := a.bundle.ask(a.watch.ctx, rules, input, a.in.Now)
	if err != nil {
		return answer{}, err
	}
	defer end()
	if rules[0].foreign == nil {
		query = query.WithVirtualCache(a.memory.begin()).WithBaseCache(a.memory.base)
	}
	set, err := query.WithCancel(a.worker.begin()).Run(a.watch.ctx)
	if why := a.worker.finish(); why != nil {
		return answer{}, why
	}
	if err != nil {
		return answer{}, err
	}
	if rules[0].foreign == nil {
		a.memory.share()
	}
	if len(set) != 1 || set[0][bound] == nil {
		return answer{}, errors.New("the query has no answer")
	}
	fields, ok := set[0][bound].Value.(ast.Object)
	if !ok {
		return answer{}, fmt.Errorf("the query answered %s", ast.ValueName(set[0][bound].Value))
	}
	return answer{fields}, nil
}

// ask is a query that is ready to run, until end is called.
func (b *Bundle) ask(ctx context.Context, rules []*rule, input ast.Value, now time.Time) (query *topdown.Query, end func(), err error) {
	prepared, err := b.prepare(rules)
	if err != nil {
		return nil, nil, fmt.Errorf("prepare query: %w", err)
	}
	if r := rules[0]; r.foreign != nil {
		if input, err = r.foreign.input(input); err != nil {
			return nil, nil, err
		}
	}
	txn, err := b.store.NewTransaction(ctx)
	if err != nil {
		return nil, nil, fmt.Errorf("open policy data: %w", err)
	}
	query = topdown.NewQuery(prepared.body).WithQueryCompiler(prepared.query).WithCompiler(prepared.compiler).
		WithStore(b.store).WithTransaction(txn).WithInput(ast.NewTerm(input)).WithMetrics(metrics.NoOp()).
		WithStrictBuiltinErrors(true).WithTime(now).WithSeed(strings.NewReader(""))
	return query, func() { b.store.Abort(ctx, txn) }, nil
}

// prepared is a query that only wants its input.
type prepared struct {
	compiler *ast.Compiler
	query    ast.QueryCompiler
	body     ast.Body
}

// bound is the variable that a query binds its answers to.
const bound = ast.Var("answers")

// prepare compiles the query for a set of rules, once. An entry point that is
// undefined must not make the whole query undefined, nor look like an empty
// set: the comprehension around it gives [] for undefined and [set] otherwise.
func (b *Bundle) prepare(rules []*rule) (*prepared, error) {
	key := keyOf(rules)
	b.mu.Lock()
	defer b.mu.Unlock()
	if known := b.queries[key]; known != nil {
		return known, nil
	}
	p := &prepared{compiler: b.compiler}
	if r := rules[0]; r.foreign != nil {
		p.compiler = r.foreign.compiler
	}
	body, err := ast.ParseBodyWithOpts(string(bound)+" = "+queryOf(rules), ast.ParserOptions{RegoVersion: ast.RegoV1})
	if err != nil {
		return nil, err
	}
	p.query = p.compiler.QueryCompiler()
	if p.body, err = p.query.Compile(body); err != nil {
		return nil, err
	}
	if len(b.queries) >= maxQueries {
		clear(b.queries)
	}
	b.queries[key] = p
	return p, nil
}

// keyOf names a set of rules of one bundle.
func keyOf(rules []*rule) string {
	var key []byte
	for _, r := range rules {
		key = binary.AppendUvarint(key, uint64(r.index))
	}
	return string(key)
}

// isSet reports whether rules add to the entry point. Then it is there even when
// it is empty, and needs no comprehension, which would be a fifth of the time
// that a query takes.
func isSet(module *ast.Module, name string) bool {
	for _, r := range module.Rules {
		head := r.Head.Ref()
		if head[0].Value.Compare(ast.Var(name)) == 0 && (len(head) != 1 || r.Head.RuleKind() != ast.MultiValue) {
			return false
		}
	}
	return true
}

func queryOf(rules []*rule) string {
	var entries []string
	for _, r := range rules {
		for i, entry := range r.entrypoints {
			answer := fmt.Sprintf("%s.%s", r.module.Package.Path, entry.name)
			if !isSet(r.module, entry.name) {
				answer = "x | x := " + answer
			}
			entries = append(entries, fmt.Sprintf("%s: [%s]", r.answers[i], answer))
		}
		if r.foreign != nil && r.foreign.excepts {
			entries = append(entries, fmt.Sprintf("%s: [x | x := %s.exception[_][_]]", r.exception, r.module.Package.Path))
		}
	}
	return "{" + strings.Join(entries, ", ") + "}"
}

// answer is what the rules of one query gave.
type answer struct{ fields ast.Object }

// of is the list that one comprehension gave.
func (a answer) of(name *ast.Term) ast.Value {
	if term := a.fields.Get(name); term != nil {
		return term.Value
	}
	return nil
}

// take turns answers into results. An answer of another shape than a set of
// results is the rule's error.
func (a *asking) take(rules []*rule, answers answer) []outcome {
	outcomes := make([]outcome, 0, len(rules))
	for _, r := range rules {
		results, err := a.read(r, answers)
		if err != nil {
			outcomes = append(outcomes, a.broke(r, err))
			continue
		}
		if found := a.found.Add(int64(len(results))); found > 4*int64(a.bundle.limits.Results) {
			a.watch.halt(fmt.Errorf("more than %d results in all", a.bundle.limits.Results))
		}
		outcomes = append(outcomes, outcome{rule: r, results: results})
	}
	return outcomes
}

func (a *asking) read(r *rule, answers answer) ([]policy.Result, error) {
	object := a.input.ref(a.place)
	var all []policy.Result
	var excepted []*ast.Term
	if r.foreign != nil {
		excepted = entriesOf(answers.of(r.exception))
	}
	for i, entry := range r.entrypoints {
		results, err := readAnswer(answers.of(r.answers[i]))
		if err == nil && len(all)+len(results) > a.bundle.limits.Results {
			err = fmt.Errorf("more than %d results in all", a.bundle.limits.Results)
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", entry.name, err)
		}
		for _, result := range results {
			result.Rule, result.Action = r.ID, entry.action
			if slices.ContainsFunc(excepted, entry.isCalled) {
				result.Action, result.Message = policy.ActionAudit, result.Message+" (excepted by the rule itself)"
			}
			if result.Object == nil {
				result.Object = object
			}
			all = append(all, result)
		}
	}
	return all, nil
}

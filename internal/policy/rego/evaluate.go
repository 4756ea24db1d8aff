package rego

import (
	"context"
	"fmt"
	"math"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"chaperone.dev/chaperone/internal/policy"
)

// maxWorkers bounds how many objects one evaluation looks at side by side.
const maxWorkers = 8

// Evaluate judges a release. Whatever goes wrong is in the report, whose
// verdict is then VerdictError. The error says only that ctx ended before the
// judgement was complete; the report is VerdictError then, too.
func (b *Bundle) Evaluate(ctx context.Context, in policy.Input) (policy.Report, error) {
	e := newEvaluation(b, in)
	e.answers = &b.answers
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
	answers *answers // nil: nothing is remembered
	results []policy.Result
	errs    []policy.RuleError

	input    *input
	brokenAt []atomic.Int64 // by rule: the first place where it erred; it is not asked in later ones
	found    atomic.Int64   // results so far
	release  findings       // of documents that are the same for all objects
	watch    *watchdog
}

func newEvaluation(b *Bundle, in policy.Input) *evaluation {
	e := &evaluation{bundle: b, in: in, brokenAt: make([]atomic.Int64, len(b.rules))}
	for i := range e.brokenAt {
		e.brokenAt[i].Store(math.MaxInt64)
	}
	return e
}

func (e *evaluation) fail(r *rule, object *policy.ObjectRef, err error) {
	failure := policy.RuleError{Object: object, Message: err.Error()}
	if r != nil {
		failure.Rule = r.ID
	}
	e.errs = append(e.errs, failure)
}

func (e *evaluation) run(ctx context.Context, rules []*rule) {
	// A defect of the evaluator must not take the daemon with it, nor pass.
	defer func() {
		if panicked := recover(); panicked != nil {
			e.fail(nil, nil, panicError(panicked))
		}
	}()
	caller := ctx
	ctx, cancel := context.WithTimeout(ctx, e.bundle.limits.Evaluation)
	defer cancel()
	var err error
	if e.in, err = e.bundle.withEvidence(ctx, e.in); err != nil {
		e.fail(nil, nil, err)
		return
	}
	if e.input, err = newInput(e.in, e.bundle); err != nil {
		e.fail(nil, nil, err)
		return
	}
	tasks := e.plan(rules)
	outcomes, err := e.askAll(ctx, tasks)
	if err != nil {
		e.fail(nil, nil, err)
		e.blame(caller, tasks, outcomes)
	}
	e.merge(tasks, outcomes)
}

func panicError(panicked any) error {
	return fmt.Errorf("evaluator panicked: %v: %s", panicked, firstFrames(debug.Stack()))
}

// aboutRelease is the place of what is asked once per release: before all objects.
const aboutRelease = -1

// task is what is asked about one object, or about the release.
type task struct {
	place  int // index of the object, or aboutRelease
	groups []group
}

// group is rules that look at the same parts of the input.
type group struct {
	sees    footprint
	context sum // of the rules, and of all that they look at but the object
	rules   []*rule
}

// outcome is what one rule said at one place.
type outcome struct {
	rule    *rule
	results []policy.Result
	err     error
}

// plan says which rules are asked where. Objects of one kind are asked the same.
func (e *evaluation) plan(rules []*rule) []task {
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
	var tasks []task
	for part := range slices.Chunk(release, max(together, (len(release)-1)/runtime.GOMAXPROCS(0)+1)) {
		tasks = append(tasks, task{place: aboutRelease, groups: e.group(part)})
	}
	return append(tasks, e.planObjects(each)...)
}

// together is how many rules about the release are asked in one query at least:
// they share calls of functions.
const together = 8

func (e *evaluation) planObjects(each []*rule) []task {
	type kind struct {
		name    string
		hasPods bool
	}
	groups := map[kind][]group{}
	var tasks []task
	for i, o := range e.in.Objects {
		of := kind{o.GroupVersionKind().GroupKind().String(), len(e.bundle.templates.PodSpecs(o)) > 0}
		asked, known := groups[of]
		if !known {
			asked = e.group(slices.DeleteFunc(slices.Clone(each), func(r *rule) bool { return !r.Judges(o, e.bundle.templates) }))
			groups[of] = asked
		}
		if len(asked) > 0 {
			tasks = append(tasks, task{place: i, groups: asked})
		}
	}
	return tasks
}

// group puts rules together that look at the same parts of the input.
func (e *evaluation) group(rules []*rule) []group {
	var groups []group
	for _, r := range rules {
		i := slices.IndexFunc(groups, func(g group) bool { return g.sees == r.sees })
		if i < 0 {
			i = len(groups)
			groups = append(groups, group{sees: r.sees})
		}
		groups[i].rules = append(groups[i].rules, r)
	}
	for i := range groups {
		groups[i].context = e.input.context(groups[i])
	}
	return groups
}

// askAll works on the tasks on as many cores as there are. The outcomes are in
// the order of the tasks. The error says why not all of them were worked on.
func (e *evaluation) askAll(ctx context.Context, tasks []task) ([][]outcome, error) {
	e.watch = newWatchdog(ctx, e.bundle.limits, e.input.size)
	defer e.watch.stop()
	outcomes := make([][]outcome, len(tasks))
	var next, done atomic.Int64
	work := func() {
		defer func() {
			if panicked := recover(); panicked != nil {
				e.watch.halt(panicError(panicked))
			}
		}()
		on, memory := e.watch.worker(), e.memory()
		for i := int(next.Add(1)) - 1; i < len(tasks) && e.watch.stopped() == nil; i = int(next.Add(1)) - 1 {
			outcomes[i] = (&asking{evaluation: e, worker: on, memory: memory, place: tasks[i].place}).ask(tasks[i].groups)
			done.Add(1)
		}
	}
	var others sync.WaitGroup
	for range min(runtime.GOMAXPROCS(0), maxWorkers, len(tasks)) - 1 {
		others.Go(work)
	}
	work()
	others.Wait()
	if why := e.watch.stopped(); why != nil {
		return outcomes, fmt.Errorf("judged %d of %d objects: %w", done.Load(), len(tasks), why)
	}
	return outcomes, nil
}

func (e *evaluation) memory() *memory {
	m := newMemory(e.bundle.documents, &e.bundle.constants, &e.release)
	m.base = readBase(e.watch.ctx, e.bundle.store)
	return m
}

// blame names the rules that used up the time or the memory of all: those that
// were under way have that much once more, one by one.
func (e *evaluation) blame(caller context.Context, tasks []task, outcomes [][]outcome) {
	runtime.GC() // what they left behind is not counted against them
	ctx, cancel := context.WithTimeout(caller, e.bundle.limits.Evaluation)
	defer cancel()
	e.watch = newWatchdog(ctx, e.bundle.limits, e.input.size)
	defer e.watch.stop()
	on, memory := e.watch.worker(), e.memory()
	for i, task := range tasks {
		if len(outcomes[i]) == 1 && outcomes[i][0].rule == nil && e.watch.stopped() == nil {
			outcomes[i] = (&asking{evaluation: e, worker: on, memory: memory, place: task.place, each: true}).ask(task.groups)
		}
	}
}

// merge takes outcomes as if one had been asked after the other: a rule that
// erred is not heard about what comes later, whoever was quicker.
func (e *evaluation) merge(tasks []task, outcomes [][]outcome) {
	broken := map[*rule]bool{}
	for i, task := range tasks {
		object := e.input.ref(task.place)
		for _, o := range outcomes[i] {
			if o.rule == nil || broken[o.rule] {
				continue
			}
			if o.err == nil && len(e.results)+len(o.results) > e.bundle.limits.Results {
				o.err = fmt.Errorf("more than %d results in all", e.bundle.limits.Results)
			}
			if o.err != nil {
				broken[o.rule] = true
				e.fail(o.rule, object, o.err)
			}
			e.results = append(e.results, o.results...)
		}
	}
}

func firstFrames(stack []byte) string {
	lines := strings.Split(string(stack), "\n")
	return strings.Join(lines[:min(len(lines), 24)], " ")
}

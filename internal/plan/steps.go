package plan

import (
	"slices"

	"k8s.io/apimachinery/pkg/runtime/schema"

	"chaperone.dev/chaperone/internal/manifest"
	"chaperone.dev/chaperone/internal/promotion"
)

// StepKind is what a step does.
type StepKind string

// The kinds of step.
const (
	StepTry    StepKind = "try"    // the dry run of a change that could not be tried before
	StepApply  StepKind = "apply"  // the change is made; nothing for one that is unchanged
	StepAwait  StepKind = "await"  // the change's object is awaited
	StepRecord StepKind = "record" // what hooks did is written down, so that they do not run again
	StepPass   StepKind = "pass"   // nothing: everything that it is after is over
)

// Step is one step of carrying out a plan. It may be done as soon as the steps
// are over that it is after, and side by side with all others.
type Step struct {
	Kind   StepKind
	Change int   // index of the change; -1 for pass and record
	Until  Until // with await
	After  []int // indexes of earlier steps
}

// Steps is the order in which changes are made: every change in one apply step,
// every step after all that it depends on, and a wait only where something
// depends on it. The same changes give the same steps. The error is a *Refusal
// that names a cycle.
func Steps(changes []Change) ([]Step, error) {
	g, refusal := ordered(changes)
	if refusal != nil {
		return nil, refusal
	}
	s := stepper{graph: g, await: map[awaited]int{}}
	return s.steps(), nil
}

// ordered is the graph with its levels.
func ordered(changes []Change) (*graph, *Refusal) {
	g := referring(changes)
	if g.asked {
		if cycle := g.cycle(); cycle != nil {
			return nil, &Refusal{Reason: promotion.ApplyRejected, Text: cyclic(g.sentence(cycle))}
		}
	}
	g.servingEdges()
	g.levels(g.sorted(g.all()))
	return g, nil
}

// referring is the graph without what is merely better in an order.
func referring(changes []Change) *graph {
	g := newGraph(changes)
	if g.asked || slices.ContainsFunc(changes, func(c Change) bool { return asksServices[c.ID.GroupKind()] }) {
		for i, c := range changes {
			for _, id := range refers(c.Object) {
				g.addID(i, id, UntilApplied, "refers to")
			}
		}
	}
	return g
}

// asksServices are the kinds by which the API server asks Services.
var asksServices = map[schema.GroupKind]bool{validating: true, mutating: true, apiService: true, customResource: true}

// definitionsOf finds the CRDs of a release by the kind that they define.
func definitionsOf(changes []Change) map[schema.GroupKind]*manifest.Object {
	var crds []*manifest.Object
	for _, c := range changes {
		if c.ID.GroupKind() == customResource {
			crds = append(crds, c.Object)
		}
	}
	return Definitions(crds)
}

// stepper makes steps of a graph, stage by stage.
type stepper struct {
	*graph
	list    []Step
	over    []int           // by node: the step with which it is over
	await   map[awaited]int // the steps that wait
	worth   []bool          // by node: something changes there, or after it
	passed  map[bool]int    // the last step after all configuration (false), all workloads (true)
	pending map[bool][]int  // what has come since
	tried   int             // the step after all trials, or -1
}

type awaited struct {
	node  int
	until Until
}

func (s *stepper) steps() []Step {
	order := s.inStages()
	s.mark(order)
	s.tried, s.passed, s.pending = -1, map[bool]int{false: -1, true: -1}, map[bool][]int{}
	s.over = make([]int, len(s.graph.after))
	tries := true
	for _, node := range order {
		if tries && !s.early(node) {
			tries = false
			s.tries()
		}
		if node < len(s.changes) {
			s.change(node)
		} else {
			s.beyond(node)
		}
	}
	return s.list
}

// early reports whether a node belongs to the foundation that others live in,
// and needs nothing but such.
func (s *stepper) early(node int) bool {
	return node < len(s.changes) && s.level[node] == 0 && s.stage(node) == manifest.StageFoundation
}

// mark finds the nodes for which a wait is worth it.
func (s *stepper) mark(order []int) {
	s.worth = make([]bool, len(s.graph.after))
	for _, node := range slices.Backward(order) {
		s.worth[node] = s.worth[node] || node < len(s.changes) && writing(s.changes[node])
		for _, e := range s.graph.after[node] {
			s.worth[e.from] = s.worth[e.from] || s.worth[node]
		}
	}
}

func (s *stepper) step(one Step) int {
	slices.Sort(one.After)
	one.After = slices.Compact(one.After)
	if len(one.After) > 0 && one.After[0] < 0 {
		one.After = one.After[1:]
	}
	s.list = append(s.list, one)
	return len(s.list) - 1
}

// tries are the dry runs of what can be tried once the foundation is there:
// the last moment before anything that serves traffic is touched.
func (s *stepper) tries() {
	var all []int
	for i, c := range s.changes {
		if c.Staged && !c.Tried && (c.Action == Create || c.Action == Update) && s.tryable(i) {
			all = append(all, s.step(Step{Kind: StepTry, Change: i, After: s.needs(i, s.foundation)}))
		}
	}
	if len(all) > 0 {
		s.tried = s.step(Step{Kind: StepPass, Change: -1, After: all})
	}
}

func (s *stepper) foundation(e edge) bool { return e.why == whyIn || e.why == whyDefined }

// tryable reports whether all that an object has to have, to be acceptable, is
// part of the foundation.
func (s *stepper) tryable(node int) bool {
	if gk := s.changes[node].ID.GroupKind(); IsBinding(gk) || gk == (schema.GroupKind{Kind: "Pod"}) {
		return false // refused while its role, or its account, is not there
	}
	return !slices.ContainsFunc(s.graph.after[node], func(e edge) bool { return e.until != UntilApplied && !s.early(e.from) })
}

// needs are the steps that the edges of a node come down to.
func (s *stepper) needs(node int, which func(edge) bool) []int {
	var steps []int
	for _, e := range s.graph.after[node] {
		if which != nil && !which(e) {
			continue
		}
		steps = append(steps, s.over[e.from])
		if s.waits(node, e) {
			steps = append(steps, s.awaits(e))
		}
	}
	return steps
}

func (s *stepper) awaits(e edge) int {
	key := awaited{e.from, e.until}
	at, known := s.await[key]
	if !known {
		at = s.step(Step{Kind: StepAwait, Change: e.from, Until: e.until, After: []int{s.over[e.from]}})
		s.await[key] = at
	}
	return at
}

// waits reports whether an edge is worth a wait. What is there and stays as it
// is was awaited by the release that made it, unless this one could not try
// what lives in it, or an object asks for it.
func (s *stepper) waits(node int, e edge) bool {
	if e.until == UntilApplied || e.from >= len(s.changes) {
		return false
	}
	first, then := s.changes[e.from], node < len(s.changes)
	switch {
	case e.until == UntilComplete && first.Reason == ReasonCompleted:
		return false
	case e.until == UntilComplete && !then:
		return true // by each release that has the hook, also where an earlier attempt began it
	case !s.worth[node]:
		return false
	case writing(first) || e.why == whyDepends:
		return true
	case e.until == UntilServed:
		return then && s.changes[node].Staged
	}
	return e.why == whyServed && then && writing(s.changes[node])
}

func (s *stepper) change(node int) {
	after := s.needs(node, nil)
	stage := s.stage(node)
	if !s.early(node) {
		after = append(after, s.tried)
	}
	if stage > manifest.StageConfiguration {
		after = append(after, s.pass(false))
	}
	if stage == manifest.StageWebhook {
		after = append(after, s.pass(true))
	}
	s.over[node] = s.step(Step{Kind: StepApply, Change: node, After: after})
	if workload := stage == manifest.StageWorkload; writing(s.changes[node]) && (workload || stage <= manifest.StageConfiguration) {
		s.pending[workload] = append(s.pending[workload], s.over[node])
	}
}

// pass is the step after all configuration, or all workloads, so far.
func (s *stepper) pass(workloads bool) int {
	if those := s.pending[workloads]; len(those) > 0 {
		s.passed[workloads] = s.step(Step{Kind: StepPass, Change: -1, After: append(those, s.passed[workloads])})
		s.pending[workloads] = nil
	}
	return s.passed[workloads]
}

func (s *stepper) beyond(node int) {
	kind := StepPass
	if slices.ContainsFunc(s.graph.after[node], func(e edge) bool { return e.until == UntilComplete && s.waits(node, e) }) {
		kind = StepRecord
	}
	s.over[node] = s.step(Step{Kind: kind, Change: -1, After: s.needs(node, nil)})
}

// writing reports whether a change changes something.
func writing(c Change) bool { return c.Action != Unchanged }

func cyclic(cycle string) string {
	return "the objects of the release wait for each other: " + cycle + "; take one of them out of " + manifest.AnnotationDependsOn
}

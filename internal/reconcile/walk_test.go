package reconcile

import (
	"fmt"
	"os"
	"runtime/debug"
	"slices"
	"strings"
	"testing"
	"time"

	"chaperone.dev/chaperone/internal/testkit/racing"
)

// The walk enumerates every world that a small pipeline can come to: every
// order in which people push, polls happen and effects begin and end, every
// outcome of every effect, and accidents (crashes, lost answers, refusals,
// pauses, freezes, clocks that jump, policies that change…) at every moment. In
// each world the decision is checked by Violations; what a whole history shows
// is held against the truth; from each world, left alone, the daemon must come
// to rest, and rest well.

// TestMain gives memory for time: a walk makes garbage as fast as it goes.
func TestMain(m *testing.M) {
	debug.SetGCPercent(400)
	os.Exit(m.Run())
}

// step leads from one world to another.
type step struct {
	outside
	what    string
	action  ActionKind
	outcome Outcome
	own     bool // nobody else has its environments
}

func (s step) String() string {
	if s.action == ActionNone {
		return s.what
	}
	return strings.TrimSpace(fmt.Sprintf("%s %s %s", s.what, s.action, s.outcome))
}

// tally is what a walk came to.
type tally struct {
	worlds, quiet int
	complete      bool
	seconds       float64
}

// walk is one search through the worlds of a story.
type walk struct {
	story *story
	ids   map[key]int32
	keys  []key
	from  []int32 // the world from which each was found
	next  []int32 // the world to which each goes when left alone; -1 at rest
	queue []waiting
	steps []step
	ends  []end
	d     Decision
	bytes []byte
	spare [][]Environment // of worlds that were known already
}

type waiting struct {
	id    int32
	world *outside
}

// walk visits at most limit worlds. The error is the first thing found wrong,
// with the way that leads there.
func (s *story) walk(limit int) (t tally, err error) {
	began := time.Now()
	w := &walk{story: s, ids: map[key]int32{}}
	first := s.open()
	w.found(&first, -1)
	for len(w.queue) > 0 && len(w.keys) < limit {
		at := w.queue[len(w.queue)-1]
		w.queue = w.queue[:len(w.queue)-1]
		t.worlds++
		if err := w.visit(at, &t); err != nil {
			return t, fmt.Errorf("%s: %w\nafter %s\nin %s", s.name, err, w.way(at.id), at.world.describe())
		}
	}
	t.complete, t.seconds = len(w.queue) == 0, time.Since(began).Seconds()
	if t.complete {
		err = w.comesToRest()
	}
	return t, err
}

func (w *walk) visit(at waiting, t *tally) error {
	alone, err := w.leave(at.world)
	if err != nil {
		return err
	}
	w.next[at.id] = -1
	if alone < 0 {
		t.quiet++
		err = at.world.restsWell(&w.d)
	}
	for i := range w.steps {
		if w.steps[i].adversity < 0 {
			continue
		}
		known := len(w.keys)
		id := w.found(&w.steps[i].outside, at.id)
		if w.steps[i].own && int(id) < known {
			w.spare = append(w.spare, w.steps[i].Environments)
		}
		if i == alone {
			w.next[at.id] = id
		}
	}
	return err
}

// found gives a world its number, and keeps it if it is new.
func (w *walk) found(o *outside, from int32) int32 {
	var k key
	k, w.bytes = o.key(w.bytes[:0])
	id, known := w.ids[k]
	if !known {
		id = int32(len(w.keys))
		w.ids[k], w.keys = id, append(w.keys, k)
		w.from, w.next = append(w.from, from), append(w.next, -1)
		kept := *o
		w.queue = append(w.queue, waiting{id, &kept})
	}
	return id
}

// leave finds all worlds one step away. Alone is the step that is taken when
// nobody pushes and nothing goes wrong; -1 at rest. What only looks, or only
// writes the journal, is over at once: nothing else can tell when it happened.
func (w *walk) leave(o *outside) (alone int, err error) {
	w.steps, alone = w.steps[:0], -1
	if o.err != nil {
		return alone, o.err
	}
	if len(o.branch) >= mostCommits {
		return alone, fmt.Errorf("11: the daemon commits for ever")
	}
	DecideInto(&w.d, &o.World)
	if violations := Violations(o.World, w.d); len(violations) > 0 {
		return alone, fmt.Errorf("%s", violations[0])
	}
	for i := range w.d.Actions {
		switch a := &w.d.Actions[i]; a.Kind {
		case ActionEvaluate, ActionAdvance, ActionGiveUp, ActionRetry, ActionMove:
			w.atOnce(o, a)
			return 0, nil
		}
	}
	w.people(o)
	for i := range w.steps {
		if w.steps[i].what == "poll" {
			alone = i
		}
	}
	if landing := w.landings(o); alone < 0 {
		alone = landing
	}
	if start := w.starts(o); alone < 0 {
		alone = start
	}
	if len(w.d.Actions) == 0 && !w.d.LookAgain.IsZero() && !o.flies() {
		if alone < 0 && !w.onlyAsks(o) {
			alone = len(w.steps)
		}
		later := *o
		later.Now = w.d.LookAgain
		w.emit("later", later)
	}
	return alone, nil
}

// onlyAsks: nothing is awaited but the answer of a rule that errs, which may go
// on for ever. That is as quiet as it gets.
func (w *walk) onlyAsks(o *outside) bool {
	asks := false
	for i := range o.Environments {
		e := &o.Environments[i]
		asks = asks || slices.ContainsFunc(e.Candidates, func(c Candidate) bool { return c.Verdict == VerdictError })
		if e.Journal.Attempt.Stage != StageNone || e.Journal.Retry.At.After(o.Now) || !w.d.Statuses[i].Until.IsZero() || e.Spec.Soak > 0 {
			return false
		}
	}
	return asks
}

func (w *walk) emit(what string, o outside) { w.steps = append(w.steps, step{outside: o, what: what}) }

// people push, merge, resume and repair, and the daemon polls; accidents happen.
func (w *walk) people(o *outside) {
	if o.pushed < len(o.story.script) {
		w.emit("push", o.pushNext())
	}
	if o.behind() {
		w.emit("poll", o.poll())
	}
	for i := range o.Environments {
		e, t := &o.Environments[i], &o.truths[i]
		if t.proposal != "" && o.tip().pins[e.ID.Name] != t.proposal {
			w.emit("merge", o.pin(i, t.proposal, change{}))
		}
		if e.Requests.Paused {
			w.emit("resume", o.edit(i, func(e *Environment) { e.Requests.Paused = false }))
		}
		if e.Fault != "" && o.SourceFault == "" {
			w.emit("repair", o.edit(i, func(e *Environment) { e.Fault = "" }))
		}
	}
	if o.adversity > 0 {
		for _, accident := range o.story.accidents {
			accident(*o, w.emit)
		}
	}
}

// landings are the ends of the effects under way, and crashes before and after
// them. It gives the number of one that goes well.
func (w *walk) landings(o *outside) int {
	alone := -1
	for i := range o.truths {
		flying := o.truths[i].flying
		if flying == nil {
			continue
		}
		if alone < 0 {
			alone = len(w.steps)
		}
		w.ends = o.ends(w.ends[:0], flying)
		for k := range w.ends {
			w.land(o, &w.ends[k])
			if w.ends[k].touched && w.ends[k].adversity > 0 {
				w.emit("crash after "+string(flying.Kind), w.ends[k].crash())
			}
		}
		if slices.ContainsFunc(w.d.Actions, func(a Action) bool { return a.Kind == ActionCancel && a.Environment == flying.Environment }) {
			cancelled := o.ended(flying, OutcomeInterrupted, "")
			w.land(o, &cancelled)
		}
	}
	return alone
}

// starts are the effects that may begin, of which as many are under way at once
// as the story says.
func (w *walk) starts(o *outside) int {
	alone, flying := -1, 0
	for i := range o.truths {
		if o.truths[i].flying != nil {
			flying++
		}
	}
	if flying >= max(1, o.story.parallel) {
		return alone
	}
	for i := range w.d.Actions {
		if a := w.d.Actions[i]; a.Kind != ActionCancel {
			if alone < 0 {
				alone = len(w.steps)
			}
			begun := o.begin(&a)
			begun, t := begun.with(o.number(a.Environment))
			t.flying = &a
			w.steps = append(w.steps, step{outside: begun, what: "begin", action: a.Kind})
		}
	}
	return alone
}

func (o *outside) flies() bool {
	return slices.ContainsFunc(o.truths, func(t truth) bool { return t.flying != nil })
}

func (o *outside) begin(a *Action) outside {
	begun := *o
	if a.Kind != ActionEvaluate && a.Kind != ActionCancel {
		begun = begun.begins(a)
	}
	begun.World = Begin(begun.World, *a)
	return begun
}

// atOnce begins and ends an action.
func (w *walk) atOnce(o *outside, a *Action) {
	begun := o.begin(a)
	w.ends = begun.ends(w.ends[:0], a)
	e := &w.ends[0]
	landed := e.outside
	i := o.number(a.Environment)
	if a.Kind != ActionEvaluate {
		landed = landed.told(&e.result, o.Environments[i].Journal.Attempt.Stage)
	}
	landed.Environments[i].fold(e.result, o.Now) // nobody else has the world in which it was begun
	if len(landed.gone) > 0 {
		landed.markRewritten()
	}
	w.steps = append(w.steps, step{outside: landed, what: "end", action: a.Kind, outcome: e.result.Outcome})
}

// land folds an outcome in: of the world at the end, only what is outside may
// differ.
func (w *walk) land(o *outside, e *end) {
	landed := e.outside
	i := o.number(e.result.Action.Environment)
	stage := o.Environments[i].Journal.Attempt.Stage
	if e.result.Action.Kind != ActionEvaluate {
		landed = landed.told(&e.result, stage)
	}
	// What Observe does, in memory that is no longer needed.
	landed.World = o.World
	landed.Environments = w.copied(o.Environments)
	landed.Environments[i].fold(e.result, o.Now)
	if len(landed.gone) > 0 {
		landed.markRewritten()
	}
	w.steps = append(w.steps, step{outside: landed, what: "end", action: e.result.Action.Kind, outcome: e.result.Outcome, own: true})
}

func (w *walk) copied(environments []Environment) []Environment {
	last := len(w.spare) - 1
	if last < 0 {
		return slices.Clone(environments)
	}
	into := w.spare[last]
	w.spare = w.spare[:last]
	copy(into, environments)
	return into
}

// comesToRest follows from each world the way it goes when left alone, which
// must not lead in a circle.
func (w *walk) comesToRest() error {
	const fresh, under, done = 0, 1, 2
	state := make([]uint8, len(w.next))
	for start := range w.next {
		at := int32(start)
		for at >= 0 && state[at] == fresh {
			state[at] = under
			at = w.next[at]
		}
		if at >= 0 && state[at] == under {
			return fmt.Errorf("%s: 11: left alone, it goes in a circle\nafter %s", w.story.name, w.way(at))
		}
		for at = int32(start); at >= 0 && state[at] == under; at = w.next[at] {
			state[at] = done
		}
	}
	return nil
}

// way tells how a world was come to.
func (w *walk) way(id int32) string {
	var ids []int32
	for ; id >= 0; id = w.from[id] {
		ids = append(ids, id)
	}
	slices.Reverse(ids)
	o := w.story.open()
	replay := &walk{story: w.story, ids: map[key]int32{}}
	var told []string
	for _, next := range ids[1:] {
		if _, err := replay.leave(&o); err != nil {
			break
		}
		for i := range replay.steps {
			if k, _ := replay.steps[i].key(nil); k == w.keys[next] {
				told = append(told, replay.steps[i].String())
				o = replay.steps[i].outside
				break
			}
		}
	}
	return strings.Join(told, ", ")
}

func TestEveryReachableWorldKeepsTheInvariants(t *testing.T) {
	t.Parallel()
	limit := 5_000_000
	if racing.Few() {
		limit = 20_000
	}
	for _, s := range stories() {
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			sum, err := s.walk(limit)
			switch {
			case err != nil:
				t.Fatal(err)
			case sum.quiet == 0:
				t.Fatal("11: no quiet world was reached")
			case !sum.complete && !racing.Few():
				t.Fatalf("%d worlds, and no end", sum.worlds)
			}
			t.Logf("%d worlds, %d of them at rest, %.1f s", sum.worlds, sum.quiet, sum.seconds)
		})
	}
}

package reconcile

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"chaperone.dev/chaperone/internal/promotion"
	"chaperone.dev/chaperone/internal/source"
)

// The walk enumerates every world that a small pipeline can come to: every
// order in which people push, polls happen and effects begin and end, every
// outcome of every effect, and accidents (crashes, lost answers, refusals,
// pauses, freezes, clocks that jump) at every moment. In each world the decision
// is checked by Violations; what a whole history shows is checked by outside;
// from each world, left alone, the daemon must come to rest, and rest well.

// tally is what a walk came to.
type tally struct {
	worlds, quiet int
}

// walk visits at most limit worlds. The error is the first thing found wrong.
func (s *story) walk(limit int) (tally, error) {
	first := s.open()
	seen := map[key]bool{first.key(): true}
	queue := []outside{first}
	var t tally
	for len(queue) > 0 && len(seen) < limit {
		o := queue[len(queue)-1]
		queue = queue[:len(queue)-1]
		t.worlds++
		next, err := o.next()
		if err == nil && t.worlds%sampled == 0 {
			err = o.leftAlone()
		}
		if err == nil && len(next) == 0 {
			t.quiet++
			err = o.restsWell()
		}
		if err != nil {
			return t, fmt.Errorf("%s: %w\nin %s", s.name, err, o.describe())
		}
		for _, n := range next {
			if n.adversity < 0 {
				continue
			}
			if k := n.key(); !seen[k] {
				seen[k] = true
				queue = append(queue, n)
			}
		}
	}
	return t, nil
}

// sampled is how many worlds stand between two that are left alone.
const sampled = 16

// next are all worlds one step away. What only looks, or only writes the
// journal, is over at once: nothing else can tell when it happened.
func (o outside) next() ([]outside, error) {
	if o.err != nil {
		return nil, o.err
	}
	d := Decide(o.World)
	if violations := Violations(o.World, d); len(violations) > 0 {
		return nil, fmt.Errorf("%s", violations[0])
	}
	for _, a := range d.Actions {
		switch a.Kind {
		case ActionEvaluate, ActionAdvance, ActionGiveUp, ActionRetry, ActionMove:
			return []outside{o.begin(a).end(o.ends(a)[0])}, nil
		}
	}
	worlds := o.people()
	worlds = append(worlds, o.landings()...)
	if o.flying.Kind == ActionNone {
		for _, a := range d.Actions {
			if a.Kind != ActionCancel {
				started := o.begin(a)
				started.flying = a
				worlds = append(worlds, started)
			}
		}
	} else if slices.ContainsFunc(d.Actions, func(a Action) bool { return a.Kind == ActionCancel }) {
		worlds = append(worlds, o.land(end{o, Result{Action: o.flying, Outcome: OutcomeInterrupted}}))
	}
	if later, moves := o.later(d); moves && len(d.Actions) == 0 && o.flying.Kind == ActionNone {
		worlds = append(worlds, later)
	}
	return worlds, nil
}

// people and accidents, at any moment.
func (o outside) people() []outside {
	var worlds []outside
	if o.pushed < len(o.story.script) {
		worlds = append(worlds, o.pushNext())
	}
	if len(o.branch) > 0 && o.Head != o.tip().revision {
		worlds = append(worlds, o.poll())
	}
	for i, e := range o.Environments {
		if o.proposals[i] != "" && o.tip().pins[e.ID.Name] != o.proposals[i] {
			pins := map[string]source.Revision{}
			for name, pin := range o.tip().pins {
				pins[name] = pin
			}
			pins[e.ID.Name] = o.proposals[i]
			worlds = append(worlds, o.push(o.tip().content, pins, "")) // its pull request is merged
		}
		if e.Requests.Paused {
			worlds = append(worlds, o.pause(i, false))
		}
	}
	if o.adversity > 0 {
		for _, accident := range o.story.accidents {
			worlds = append(worlds, accident(o)...)
		}
	}
	return worlds
}

// landings are the ends of the effect under way, and crashes before and after it.
func (o outside) landings() []outside {
	if o.flying.Kind == ActionNone {
		return nil
	}
	var worlds []outside
	for _, e := range o.ends(o.flying) {
		worlds = append(worlds, o.land(e))
		if e.result.Outcome == OutcomeDone && o.adversity > 0 {
			worlds = append(worlds, e.outside.crash())
		}
	}
	if o.adversity > 0 {
		worlds = append(worlds, o.crash())
	}
	return worlds
}

func (o outside) begin(a Action) outside {
	o.World = Begin(o.World, a)
	return o
}

// end folds an outcome into a world, of which only what is outside may differ.
func (o outside) end(e end) outside {
	after := e.outside
	after.World = Observe(o.World, e.result)
	after.World.Head, after.World.History = o.Head, o.History
	return after
}

func (o outside) land(e end) outside {
	landed := o.end(e)
	landed.flying = Action{}
	return landed
}

// crash keeps what is journaled and forgets the rest.
func (o outside) crash() outside {
	o = o.clone()
	o.adversity--
	o.flying = Action{}
	o.Environments = slices.Clone(o.Environments)
	for i := range o.Environments {
		e := &o.Environments[i]
		e.Busy, e.Evaluating, e.Candidates, e.EvaluateAt = ActionNone, "", nil, time.Time{}
	}
	return o
}

func (o outside) pause(i int, paused bool) outside {
	o = o.clone()
	o.Environments = slices.Clone(o.Environments)
	o.Environments[i].Requests.Paused = paused
	return o
}

// later is when the daemon asked to look again.
func (o outside) later(d Decision) (outside, bool) {
	if d.LookAgain.IsZero() {
		return o, false
	}
	o.Now = d.LookAgain
	return o, true
}

// leftAlone: nobody pushes, and nothing fails but what is bad (an outage stays:
// one that ends in time for last good to pass, nobody can tell from a bad
// release). It comes to rest.
func (o outside) leftAlone() error {
	for i, e := range o.Environments {
		if e.Requests.Paused {
			o = o.pause(i, false)
		}
	}
	if o.flying.Kind != ActionNone {
		o = o.land(o.ends(o.flying)[0])
	}
	for range 300 {
		if o.err != nil {
			return fmt.Errorf("left alone: %w", o.err)
		}
		if len(o.branch) > 0 && o.Head != o.tip().revision {
			o = o.poll()
		}
		d := Decide(o.World)
		if len(d.Actions) == 0 {
			later, moves := o.later(d)
			if !moves {
				return o.restsWell()
			}
			o = later
			continue
		}
		for _, a := range d.Actions {
			if a.Kind != ActionCancel {
				started := o.begin(a)
				o = started.end(started.ends(a)[0])
			}
		}
	}
	return fmt.Errorf("11: no rest after 300 rounds; now %s", o.describe())
}

// restsWell: at rest an environment runs what is wanted or says in one reason
// why not, what stands on its cluster is what the journal says, and nothing bad
// is left running unless a person was asked.
func (o outside) restsWell() error {
	for i, s := range Decide(o.World).Statuses {
		e := &o.Environments[i]
		running := e.Journal.Running.Digest
		failed := bad(string(running), e.ID.Name)
		switch {
		case s.Phase == PhaseProgressing && s.Reason != promotion.Reverted:
			return fmt.Errorf("11: %s rests while %s (%s)", e.ID, s.Phase, s.Reason)
		case failed && s.Phase != PhaseHeld:
			return fmt.Errorf("%s rests on a failed release in phase %s (%s)", e.ID, s.Phase, s.Reason)
		case o.cluster[i] != running && s.Phase != PhaseHeld && e.Journal.LastGood.Digest != "":
			return fmt.Errorf("%s rests with %q on its cluster, and %q in its journal (%s %s)", e.ID, o.cluster[i], running, s.Phase, s.Reason)
		case failed && e.Journal.LastGood.Digest != "" && s.Reason != promotion.IrreversibleFailed && s.Reason != promotion.Paused:
			return fmt.Errorf("%s rests on a failed release though it has a last good (%s)", e.ID, s.Reason)
		}
	}
	return nil
}

// walkLimit keeps walks short where speed does not allow more.
func walkLimit() int {
	if testing.Short() || raceDetector {
		return 20_000
	}
	return 5_000_000
}

func TestEveryReachableWorldKeepsTheInvariants(t *testing.T) {
	t.Parallel()
	for _, s := range stories() {
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			began := time.Now()
			sum, err := s.walk(walkLimit())
			if err != nil {
				t.Fatal(err)
			}
			if sum.quiet == 0 {
				t.Fatal("11: no quiet world was reached")
			}
			t.Logf("%d worlds, %d of them at rest, %.1f s", sum.worlds, sum.quiet, time.Since(began).Seconds())
		})
	}
}

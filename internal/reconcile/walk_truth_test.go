package reconcile

import (
	"fmt"
	"math/bits"
	"slices"
	"strings"

	"chaperone.dev/chaperone/internal/promotion"
	"chaperone.dev/chaperone/internal/source"
)

// What a whole history shows, and Violations cannot see in one world, is held
// against the truth: whatever the journal says, this is what happened. The
// numbers are those of design.md §3.

// begins takes note of an effect that begins, and finds what is wrong with it.
func (o outside) begins(a *Action) outside {
	i := o.number(a.Environment)
	t := &o.truths[i]
	err := o.wrongly(i, t, a)
	if err != nil && o.err == nil {
		o.err = fmt.Errorf("%s: %w", a.Environment, err)
	}
	if a.Kind == ActionApply && a.Probe && o.Environments[i].Journal.Attempt.Stage == StageBisecting {
		o, t = o.with(i)
		t.probes++
	}
	return o
}

func (o *outside) wrongly(i int, t *truth, a *Action) error {
	e := &o.Environments[i]
	switch {
	case e.Requests.Paused:
		return fmt.Errorf("8: %s between pause and resume", a.Kind)
	case t.flying != nil:
		return fmt.Errorf("%s begins while %s is under way", a.Kind, t.flying.Kind)
	}
	if _, frozen := e.Spec.Calendar.Frozen(o.Now); frozen && a.Kind.changes() {
		return fmt.Errorf("8: %s in a freeze", a.Kind)
	}
	switch a.Kind {
	case ActionApply:
		return o.appliedWrongly(i, t, a)
	case ActionVerify, ActionWatch:
		if t.cluster != a.Release.Digest {
			return fmt.Errorf("%s is verified while %s stands on the cluster", a.Release.Digest, t.cluster)
		}
		if a.Kind == ActionVerify && o.Environments[i].Journal.Attempt.Stage == StageVerifying && t.progress.step != a.Step {
			return fmt.Errorf("step %d is verified while step %d stands on the cluster", a.Step, t.progress.step)
		}
	case ActionPrune:
		if t.cluster != a.Release.Digest || t.checked != a.Release.Digest {
			return fmt.Errorf("6: pruned for %s; on the cluster stands %q, and %q passed there", a.Release.Digest, t.cluster, t.checked)
		}
	case ActionUndo:
		if o.Environments[i].Journal.Hold.Reason == promotion.RollbackFailed {
			return fmt.Errorf("rollback hooks run again, and nobody asked")
		}
	case ActionRestore, ActionCorrect:
		if t.halfway || t.schema != t.proven {
			return fmt.Errorf("%s over the data of %q (half undone: %v); it was %q when that passed", a.Kind, t.schema, t.halfway, t.proven)
		}
		if !slices.Contains(t.passed, a.LastGood.Digest) {
			return fmt.Errorf("%s to %s, which never passed here", a.Kind, a.LastGood.Digest)
		}
		if a.Kind == ActionCorrect && o.judge(a.LastGood.Digest) != VerdictAllow {
			return fmt.Errorf("1: corrected to %s, which the policies do not allow", a.LastGood.Digest)
		}
	case ActionRevert:
		return o.revertedWrongly(i, t, a)
	case ActionPropose:
		return o.promotedWrongly(i, t, a)
	}
	return nil
}

func (o *outside) appliedWrongly(i int, t *truth, a *Action) error {
	d := a.Release.Digest
	j := &o.Environments[i].Journal
	if err := t.progress.check(a); err != nil {
		return err
	}
	if t.progress.brings(a) && t.schema != t.proven {
		return fmt.Errorf("step %d of %s starts last good's programs on the data of %q", a.Step, d, t.schema)
	}
	switch {
	case o.judge(d) != VerdictAllow:
		return fmt.Errorf("1: %s is applied, which %s does not allow", d, o.Policy)
	case slices.Contains(t.failed, d):
		return fmt.Errorf("7: %s is applied again, and nobody asked", d)
	case t.halfway || j.LastGood.Digest != "" && !migrationsIn(d).and(t.proven).Covers(t.schema):
		return fmt.Errorf("%s is applied over the data of %q (half undone: %v)", d, t.schema, t.halfway)
	case !o.provenBefore(i, t, a.Release) && !o.overridden(i, a.Release.Revision):
		return fmt.Errorf("2: %s is applied at %s, which upstream did not verify", d, a.Release.Revision)
	case a.Probe && j.Attempt.Stage == StageBisecting && t.probes >= o.mostProbes(i, t):
		return fmt.Errorf("5: probe %d in a search among %d commits", t.probes+1, t.suspects)
	}
	if t.flying == nil && j.Attempt.Release.Digest != d {
		if _, open := o.Environments[i].Spec.Calendar.Open(o.Now); !open && !o.overridden(i, a.Release.Revision) {
			return fmt.Errorf("%s is begun outside the windows", d)
		}
	}
	if o.irreversible(i, d) && o.Environments[i].Spec.PHI {
		approved := func(c *commit) bool { return !c.says.unapproved }
		if o.mover(i, a.Release.Revision, approved) == nil {
			return fmt.Errorf("%s, which cannot be taken back, goes to patients' data unapproved", d)
		}
	}
	return nil
}

// mostProbes is ⌈log2 n⌉. Where something may not be deployed, or the world
// lends a hand, each commit may be tried but the last.
func (o *outside) mostProbes(i int, t *truth) int {
	if o.adversity < o.story.adversity || o.story.untestable {
		return t.suspects - 1
	}
	return bits.Len(uint(t.suspects - 1))
}

// provenBefore: all upstream environments verified what they would run there,
// and have not failed it since; or this one did.
func (o *outside) provenBefore(i int, t *truth, r Release) bool {
	if slices.Contains(t.passed, r.Digest) {
		return true
	}
	c := o.commit(r.Revision)
	for _, id := range o.Environments[i].Spec.After {
		up := o.number(id)
		if up < 0 || c == nil || !slices.Contains(o.truths[up].passed, c.digests[up]) || o.truths[up].alarm == c.digests[up] {
			return false
		}
	}
	return true
}

func (o *outside) overridden(i int, revision source.Revision) bool {
	return o.mover(i, revision, func(c *commit) bool { return c.says.override }) != nil
}

// revertedWrongly: a commit is taken back once, and only the one that brought
// what fails.
func (o *outside) revertedWrongly(i int, t *truth, a *Action) error {
	name := o.Environments[i].ID.Name
	guilty := o.at(a.Guilty)
	if slices.Contains(t.reverted, a.Guilty) {
		return fmt.Errorf("3: %s is reverted again", a.Guilty)
	}
	if guilty < 0 {
		return nil // no longer there
	}
	if o.Environments[i].Spec.Pinned {
		if c := o.commit(o.branch[guilty].pins[name]); c == nil || !badIn(c.digests[i], name) {
			return fmt.Errorf("5: %s, which moved the pin to something good, is reverted", a.Guilty)
		}
		return nil
	}
	did, before := o.branch[guilty].digests[i], Digest("")
	if guilty > 0 {
		before = o.branch[guilty-1].digests[i]
	}
	known := faults(before, name)
	for _, fault := range faults(did, name) {
		if !slices.Contains(known, fault) {
			return nil
		}
	}
	if strings.Contains(string(did), lateWord) && !strings.Contains(string(before), lateWord) {
		return nil
	}
	return fmt.Errorf("5: %s is reverted, though it broke nothing: it made %s of %s", a.Guilty, did, before)
}

func (o *outside) promotedWrongly(i int, t *truth, a *Action) error {
	switch d := a.Release.Digest; {
	case o.judge(d) != VerdictAllow:
		return fmt.Errorf("1: %s is proposed, which %s does not allow", d, o.Policy)
	case slices.Contains(t.failed, d):
		return fmt.Errorf("7: %s is proposed, which failed here", d)
	case o.at(o.Environments[i].Spec.Pin) >= 0 && d == o.commit(o.Environments[i].Spec.Pin).digests[i]:
		return fmt.Errorf("%s is proposed, which it is pinned to", d)
	case !o.provenBefore(i, t, a.Release):
		return fmt.Errorf("2: %s is proposed at %s, which upstream did not verify", d, a.Release.Revision)
	}
	return nil
}

// told takes note of an outcome that the daemon comes to know.
func (o outside) told(r *Result, stage Stage) outside {
	a := &r.Action
	i := o.number(a.Environment)
	d := a.Release.Digest
	o, t := o.with(i)
	t.flying = nil
	switch { // an alarm of what passed, until it is well or a person accepts it
	case a.Kind == ActionWatch && r.Outcome == OutcomeFailed:
		t.alarm = d
	case a.Kind == ActionWatch && r.Outcome == OutcomeDone, a.Kind == ActionRetry && d == t.alarm:
		t.alarm = ""
	}
	switch {
	case a.Kind == ActionVerify && r.Outcome == OutcomeDone && stage != StageProving && !t.progress.verified(a):
	case a.Kind == ActionVerify && r.Outcome == OutcomeDone:
		if t.alarm != "" && t.alarm != d {
			t.passed = withoutDigest(t.passed, t.alarm)
		}
		t.alarm = ""
		t.checked = d
		t.passed = withDigest(t.passed, d)
		t.proven = t.schema
	case a.Kind == ActionVerify && stage == StageProving:
		if r.Outcome == OutcomeFailed && o.Environments[i].Journal.Attempt.Probe {
			t.failed = withoutDigest(t.failed, o.Environments[i].Journal.Attempt.Release.Digest) // it was not its fault
		}
	case (a.Kind == ActionVerify || a.Kind == ActionApply) && r.Outcome == OutcomeFailed:
		t.failed = withDigest(t.failed, d)
		t.passed = withoutDigest(t.passed, d)
	case a.Kind == ActionWatch && r.Tied:
		e := &o.Environments[i]
		before := e.Journal.Watched.Before.Digest
		if o.Now.Sub(e.Journal.Watched.Since) <= e.Spec.Watch.RevertWithin && before != "" && !slices.Contains(t.failed, before) {
			t.failed, t.passed = withDigest(t.failed, d), withoutDigest(t.passed, d)
		}
	case a.Kind == ActionBlame && r.Outcome == OutcomeDone:
		t.suspects, t.probes = len(r.Suspects), 0
	case a.Kind == ActionRevert && (r.Outcome == OutcomeDone || r.Outcome == OutcomeAlready):
		t.reverted = append(slices.Clip(t.reverted), a.Guilty)
	case a.Kind == ActionRetry:
		t.failed, t.reverted = withoutDigest(t.failed, d), nil
	}
	return o
}

func withDigest(list []Digest, d Digest) []Digest {
	if slices.Contains(list, d) {
		return list
	}
	return append(slices.Clip(list), d)
}

func withoutDigest(list []Digest, d Digest) []Digest {
	return slices.DeleteFunc(slices.Clone(list), func(x Digest) bool { return x == d })
}

// restsWell: at rest an environment runs what is wanted or says in one reason
// why not, what stands on its cluster is what the journal says, and nothing bad
// is left running unless a person was asked. Where nothing went wrong but what
// developers pushed, each rests as the story says.
func (o *outside) restsWell(d *Decision) error {
	for i := range d.Statuses {
		s, e, t := &d.Statuses[i], &o.Environments[i], &o.truths[i]
		running := e.Journal.Running.Digest
		fails := badIn(t.cluster, e.ID.Name)
		stopped := s.Phase == PhaseHeld || s.Phase == PhaseInvalid
		switch {
		case s.Phase == PhaseProgressing:
			return fmt.Errorf("11: %s rests while %s (%s)", e.ID, s.Phase, s.Reason)
		case t.halfway && !stopped:
			return fmt.Errorf("%s rests as %s on data that are half undone", e.ID, s.Reason)
		case fails && !stopped && (s.Phase != PhaseWaiting || e.Journal.LastGood.Digest != ""):
			return fmt.Errorf("%s rests on a failed release in phase %s (%s)", e.ID, s.Phase, s.Reason)
		case t.cluster != running && !stopped && e.Journal.LastGood.Digest != "":
			return fmt.Errorf("%s rests with %q on its cluster, and %q in its journal (%s %s)", e.ID, t.cluster, running, s.Phase, s.Reason)
		case s.Reason == promotion.UpToDate && t.cluster != o.newest(i):
			return fmt.Errorf("%s rests with %q on its cluster and says it is up to date; wanted is %q", e.ID, t.cluster, o.newest(i))
		case fails && e.Journal.LastGood.Digest != "" && !mayStayBad(s.Reason):
			return fmt.Errorf("%s rests on a failed release though it has a last good (%s)", e.ID, s.Reason)
		}
		if o.adversity == o.story.adversity && o.pushed == len(o.story.script) {
			if !o.story.mayRest(e.ID.Name, s.Reason) {
				return fmt.Errorf("%s rests as %s (%s), though nothing went wrong but what was pushed", e.ID, s.Phase, s.Reason)
			}
		}
	}
	return nil
}

func mayStayBad(r promotion.Reason) bool {
	switch r {
	case promotion.IrreversibleFailed, promotion.RollbackFailed, promotion.Paused, promotion.InvalidEnvironment, promotion.TargetMoved, promotion.Removed,
		promotion.VerificationError, promotion.VerificationNoData:
		return true
	}
	return false
}

// newest is what an environment is to run by what Git says.
func (o *outside) newest(i int) Digest {
	c := o.tip()
	if o.Environments[i].Spec.Pinned {
		if c = o.commit(o.tip().pins[o.Environments[i].ID.Name]); c == nil {
			return ""
		}
	}
	return c.digests[i]
}

package reconcile

import (
	"fmt"
	"slices"

	"chaperone.dev/chaperone/internal/promotion"
)

// Violations checks a decision against the rules that must never break
// (design.md §3; the number stands before each). Table tests, the exhaustive
// walk, property tests and the simulator all call it. It shares no condition
// with the decision that it checks. What needs a whole history to be seen, such
// as a commit reverted twice, those tests check from their traces.
func Violations(w World, d Decision) []string {
	var found []string
	report := func(e promotion.ID, format string, args ...any) {
		found = append(found, e.String()+": "+fmt.Sprintf(format, args...))
	}
	begun := map[promotion.ID]int{}
	for _, a := range d.Actions {
		e := w.find(a.Environment)
		if e == nil {
			report(a.Environment, "%s for an environment that is not there", a.Kind)
			continue
		}
		if a.Kind.effect() {
			begun[e.ID]++
			if e.Busy != ActionNone || begun[e.ID] > 1 {
				report(e.ID, "%s beside another effect", a.Kind)
			}
		}
		c := check{w: &w, e: e, a: a, j: &e.Journal}
		c.run()
		for _, violation := range c.found {
			report(e.ID, "%s", violation)
		}
	}
	for _, s := range d.Statuses {
		if s.Reason == "" || s.Phase == "" {
			report(s.Environment, "10: no reason (phase %q)", s.Phase)
		}
		if e := w.find(s.Environment); s.Reason == promotion.Contended && (e == nil || !e.Contended || s.Phase != PhaseReady) {
			report(s.Environment, "10: contended (phase %q), and nothing is", s.Phase)
		}
	}
	return found
}

// check holds one action against the rules.
type check struct {
	w     *World
	e     *Environment
	a     Action
	j     *Journal
	found []string
}

func (c *check) must(holds bool, rule string) {
	if !holds {
		c.found = append(c.found, rule)
	}
}

func (c *check) run() {
	c.stillness()
	c.patience()
	c.moving()
	switch c.a.Kind {
	case ActionApply:
		c.apply()
		c.timing()
	case ActionAdvance:
		c.must(c.allowed() && c.a.Release.Digest == c.j.LastGood.Digest, "1: taken for last good without an allow under the current policies")
	case ActionCorrect:
		c.must(c.allowed(), "1: corrected without an allow under the current policies")
		c.must(c.e.Spec.Drift == promotion.DriftCorrect || c.j.Attempt.Stage == StageCorrecting, "corrected though the file says report")
		c.must(c.a.Release.Digest == c.j.LastGood.Digest, "corrected to something other than last good")
		c.must(c.j.Running.Digest == c.j.LastGood.Digest, "corrected while something else runs")
	case ActionUndo:
		c.must(c.j.Hold.Reason != promotion.RollbackFailed, "rollback hooks ran again, and nobody asked")
		c.must(c.a.Release == c.j.Undo.Release, "rolled back by the hooks of another release")
		c.takesBack()
	case ActionRestore:
		c.must(c.j.Undo.Migrations == "", "last good put over data that were not rolled back")
		c.takesBack()
		c.regressed()
	case ActionWatch:
		c.must(c.j.Attempt.Stage == StageNone && c.j.Running.Digest == c.a.Release.Digest && c.j.LastGood.Digest == c.a.Release.Digest,
			"watched what is not what passed")
	case ActionBlame, ActionRevert:
		c.regressed()
		c.blame()
	case ActionVerify:
		c.must(c.j.Attempt.Stage == StageProving || c.a.Step == c.j.Attempt.Step && c.a.Course == c.j.Attempt.Course, "verified another step than was applied")
	case ActionPrune:
		c.must(c.j.Attempt.Stage == StagePruning && c.j.Attempt.Release.Digest == c.j.LastGood.Digest,
			"6: pruned before the release was verified")
		c.must(c.j.Attempt.Step == c.j.Attempt.Course.Steps || c.j.Attempt.Course.Steps < 2, "6: pruned what the steps of a release still need")
	case ActionPropose:
		c.must(c.allowed() && c.upstreamHas(), "2: proposed what upstream did not verify, or the policies do not allow")
		c.must(!slices.Contains(c.j.Quarantine, c.a.Release.Digest), "7: proposed from quarantine")
		c.must(c.signed(), "proposed without the signatures asked for")
		c.must(c.j.Hold.Reason == "", "8: proposed while held")
	}
}

// takesBack: the cluster is to be what it was at last good.
func (c *check) takesBack() {
	c.must(c.j.LastGood.Digest != "", "restored without a last good")
	c.must(c.j.Attempt.Stage != StageVerifying || !c.j.Attempt.Irreversible, "what cannot be taken back was, while it is judged")
	failed := c.j.Attempt.Stage == StageNone && c.j.Hold.Reason == promotion.IrreversibleFailed &&
		c.j.Hold.Digest == c.j.Running.Digest && c.j.Hold.Digest != ""
	c.must(!failed || c.newestIsLastGood(), "what cannot be taken back was, and nobody asked")
}

// regressed is rule 4 for what passed once: soon after, and tied to it.
func (c *check) regressed() {
	a := &c.j.Attempt
	if a.Regressed.IsZero() {
		return
	}
	c.must(a.Tied, "4: what passed is taken back for what nothing ties to it")
	late := a.Found.Sub(a.Regressed)
	c.must(late >= 0 && (late <= c.e.Spec.Watch.RevertWithin || c.e.Spec.Watch.RevertWithin == 0), "4: what passed long ago is taken back")
}

// stillness is rule 8: a pause, a freeze, and a history that was rewritten.
func (c *check) stillness() {
	if c.a.Kind == ActionEvaluate {
		return
	}
	request := c.e.Requests
	paused := request.Paused && (request.PausedUntil.IsZero() || c.w.Now.Before(request.PausedUntil))
	c.must(!paused, "8: acted while paused")
	unread := c.e.Fault == promotion.SourceUnavailable && c.w.SourceFault != "" // its last valid file counts
	c.must(c.e.Fault == "" || unread || c.a.Kind == ActionRestore || c.a.Kind == ActionUndo, "acted on an invalid environment")
	switch c.a.Kind {
	case ActionApply, ActionPrune, ActionRevert, ActionCorrect, ActionPropose, ActionWithdraw:
		_, frozen := c.e.Spec.Calendar.Frozen(c.w.Now)
		c.must(!frozen, "8: "+string(c.a.Kind)+" in a freeze")
		gone := c.e.Rewritten && c.j.LastGood.Revision != c.j.Accepted && (c.j.Branch == "" || c.j.Branch == c.e.Spec.Branch)
		c.must(!gone, string(c.a.Kind)+" on a rewritten history")
	}
}

// patience: what was tried a moment ago is not tried at once. A time that is far
// off was set by a clock that ran ahead.
func (c *check) patience() {
	again := c.j.Retry.At
	soon := again.After(c.w.Now) && !again.After(c.w.Now.Add(longestWait))
	if c.a.Kind == ActionCorrect && c.j.Attempt.Stage == StagePruning { // the wait is the prune's
		c.must(soon && c.j.Retry.Tries > 0 && c.j.Retry.Digest == c.a.Release.Digest, "corrected where the prune is to be tried")
		c.must(c.e.Uncorrected != c.j.Retry.Tries, "corrected again at once")
		return
	}
	switch c.a.Kind {
	case ActionApply, ActionVerify, ActionPrune, ActionUndo, ActionRestore, ActionBlame, ActionRevert, ActionCorrect:
		c.must(!soon || c.j.Retry.Digest != c.a.Release.Digest, string(c.a.Kind)+" again at once")
	case ActionRetry:
		c.must(c.a.Request != c.j.Served, "a retry granted twice")
	}
}

// newestIsLastGood: it is what the pin, or the branch, says now.
func (c *check) newestIsLastGood() bool {
	newest := c.w.Head
	if c.e.Spec.Pinned {
		newest = c.e.Spec.Pin
	}
	return slices.ContainsFunc(c.e.Candidates, func(k Candidate) bool {
		return k.Release.Revision == newest && k.Release.Digest == c.j.LastGood.Digest
	})
}

// interrupts: a release takes the place of what is not finished only where that
// is stuck.
func (c *check) interrupts() {
	retry := &c.j.Retry
	switch c.j.Attempt.Stage {
	case StagePruning:
		c.must(retry.Tries > 0, "6: applied in the middle of a prune")
	case StageRestoring:
		c.must(retry.Tries > 0 && retry.Reason == promotion.RestoreFailed, "applied in the middle of a restore")
	case StageUndoing:
		c.must(false, "applied over data that are half rolled back")
	case StageBlaming, StageReverting:
		c.must(false, "applied in the middle of a revert")
	case StageProving:
		c.must(c.j.Hold.Reason != "", "applied while last good is being verified")
	}
}

// moving: in the place that it is to leave, an environment only ends what was
// begun there, and it does not let go of that half-way unless it is stuck.
func (c *check) moving() {
	if !c.e.Moved || c.e.Fault != "" {
		return
	}
	stage := c.j.Attempt.Stage
	begun := stage != StageNone && stage != StageBisecting
	switch c.a.Kind {
	case ActionEvaluate, ActionCancel, ActionRetry:
	case ActionMove:
		gone := c.e.Rewritten || c.j.Retry.Tries > 0 || c.j.Hold.Reason != "" || c.j.LastGood.Digest == ""
		c.must(!begun || gone, "let go of half a release")
	case ActionApply:
		c.must(c.finishing(), "a release begun in the place it is to leave")
	case ActionAdvance, ActionPropose, ActionWithdraw:
		c.must(false, string(c.a.Kind)+" in the place it is to leave")
	default:
		c.must(begun, string(c.a.Kind)+" in the place it is to leave")
	}
}

func (c *check) apply() {
	c.interrupts()
	digest := c.a.Release.Digest
	c.must(c.allowed(), "1: applied without an allow for this digest under the current policies")
	c.must(c.upstreamHas(), "2: applied before upstream verified it")
	c.must(!slices.Contains(c.j.Quarantine, digest), "7: applied from quarantine")
	c.must(c.w.SourceFault == "" || c.finishing() || c.a.Probe, "a new release begun while the source is not readable")
	// Its file may ask for other steps in the middle of one that nobody can judge.
	anew := c.j.Attempt.Stage == StageVerifying && c.j.Attempt.Step > 0 && c.j.Attempt.Course != c.a.Course
	c.must(c.j.Hold.Reason == "" || c.j.Hold.Digest != digest || anew, "8: applied what is held")
	c.must(c.is(func(k *Candidate) bool { return k.Since == c.j.LastGood.Digest }), "applied what was compared with another last good")
	c.must(!c.a.Probe || c.j.Attempt.Stage != StageBisecting || slices.ContainsFunc(c.j.Search.Suspects, func(s Suspect) bool {
		return s.Revision == c.a.Release.Revision && s.Digest == digest && !s.Mixed
	}), "5: a probe of what no suspect made")
	c.step()
	undo := &c.j.Undo
	c.must(undo.Forward || undo.Migrations == "" || c.is(func(k *Candidate) bool { return k.Migrations.Covers(undo.Migrations) }),
		"applied over a migration that it does not have")
	c.must(!c.e.Spec.Approval || c.is(func(k *Candidate) bool { return k.Approval == ApprovalGiven }), "applied without the approval asked for")
	c.must(c.signed(), "applied without the signatures asked for")
	c.must(!c.e.Spec.PHI || c.is(func(k *Candidate) bool { return !k.Irreversible || k.Approval == ApprovalGiven }),
		"an irreversible release entered patients' data without approval")
}

// step: no step begins before the one before it has passed, and those that are gone
// are those that were judged.
func (c *check) step() {
	c.must(c.a.Course.Steps < 2 || c.is(func(k *Candidate) bool { return k.Course == c.a.Course }), "1: applied by other steps than were judged")
	steps, a := c.a.Course.Steps, &c.j.Attempt
	c.must(c.a.Step <= max(steps, 0) && (c.a.Step > 0 || steps < 2), "applied a step that there is not")
	reached := a.Stage == StageApplying && a.Release.Digest == c.a.Release.Digest && a.Course == c.a.Course && a.Step == c.a.Step
	c.must(c.a.Step < 2 || reached, "applied a step before the one before it passed")
}

// timing is about when something new begins; what was begun may be finished.
func (c *check) timing() {
	if c.finishing() {
		return
	}
	_, open := c.e.Spec.Calendar.Open(c.w.Now)
	c.must(open || c.is(func(k *Candidate) bool { return k.Override }), "started outside its windows")
	last, _, scheduled := c.e.Spec.Calendar.Fired(c.w.Now)
	if !scheduled || c.a.Probe || c.is(func(k *Candidate) bool { return k.Urgent }) {
		return
	}
	c.must(!last.IsZero() && c.w.Now.Sub(last) < scheduleGrace, "started off its schedule")
	served := !c.j.Run.At.Before(last) && !c.j.Run.At.After(c.w.Now)
	c.must(!served || c.j.Run.Digest == c.a.Release.Digest, "a second release for one time of the schedule")
}

func (c *check) finishing() bool {
	return c.j.Attempt.Stage == StageApplying && c.j.Attempt.Release.Digest == c.a.Release.Digest
}

func (c *check) blame() {
	attempt := &c.j.Attempt
	c.must(attempt.Failure == promotion.VerificationFailed, "4: blamed without a definitive fail")
	c.must(attempt.Proven, "4: blamed though last good was not seen to pass")
	c.must(!attempt.Irreversible, "an irreversible release was to be taken back")
	c.must(c.e.Spec.OnFailure == promotion.FailureRevert || attempt.Stage != StageBlaming, "blamed though the file says hold")
	if c.a.Kind == ActionBlame {
		return
	}
	c.must(c.a.Guilty != "" && c.a.Guilty == attempt.Guilty, "5: reverted without a guilty commit")
	c.found = append(c.found, c.convicted()...)
	// One whose answer was lost may have been pushed, so it is tried to the end.
	c.must(c.e.revertsToday(c.w.Now) < c.e.Spec.MaxReverts || c.j.Retry.Tries > 0, "more reverts in a day than allowed")
}

// convicted: of several suspects, the guilty one is known to fail, and what was
// before it to be good.
func (c *check) convicted() []string {
	suspects := c.j.Search.Suspects
	if len(suspects) == 0 {
		return nil
	}
	at := slices.IndexFunc(suspects, func(s Suspect) bool { return s.Revision == c.a.Guilty })
	if at < 0 {
		return []string{"5: reverted a commit that is no suspect"}
	}
	good := func(d Digest) bool {
		return d == c.j.LastGood.Digest || slices.ContainsFunc(c.j.Verified, func(v Verified) bool { return v.Digest == d })
	}
	fails := slices.Contains(c.j.Search.Failing, suspects[at].Digest)
	if !fails && at < len(suspects)-1 || at > 0 && !good(suspects[at-1].Digest) {
		return []string{"5: reverted one of several suspects while the search goes on"}
	}
	return nil
}

// is reports whether a candidate for the action's release, as judged now, has
// a property.
func (c *check) is(property func(*Candidate) bool) bool {
	return slices.ContainsFunc(c.e.Candidates, func(k Candidate) bool { return k.Release == c.a.Release && property(&k) })
}

func (c *check) signed() bool {
	return !c.e.Spec.Signed || c.is(func(k *Candidate) bool { return k.Signed == SignedGood })
}

func (c *check) allowed() bool {
	return c.a.Release.Policy == c.w.Policy && c.w.Policy != "" && c.a.Release.Digest != "" &&
		slices.ContainsFunc(c.e.Candidates, func(k Candidate) bool {
			return k.Release.Digest == c.a.Release.Digest && k.Release.Policy == c.w.Policy && k.Verdict == VerdictAllow
		})
}

// upstreamHas: every upstream environment verified what it would run at this
// revision, and for the soak time; or this environment itself did before; or a
// reviewed override says that it may.
func (c *check) upstreamHas() bool {
	own := slices.ContainsFunc(c.j.Verified, func(v Verified) bool { return v.Digest == c.a.Release.Digest })
	if own || len(c.e.Spec.After) == 0 {
		return true
	}
	return c.is(func(k *Candidate) bool {
		for _, id := range c.e.Spec.After {
			if !k.Override && !c.verifiedThere(k, id) {
				return false
			}
		}
		return true
	})
}

func (c *check) verifiedThere(k *Candidate, id promotion.ID) bool {
	upstream, found := c.w.Find(id)
	watched := &upstream.Journal.Watched
	fails := func(d Digest) bool {
		return watched.Alarm == promotion.Regressed && !watched.Accepted && watched.Digest == d && upstream.Journal.LastGood.Digest == d
	}
	return found && slices.ContainsFunc(k.Upstream, func(u Upstream) bool {
		return u.ID == id && u.Digest != "" && !fails(u.Digest) && slices.ContainsFunc(upstream.Journal.Verified, func(v Verified) bool {
			return v.Digest == u.Digest && !v.At.Add(c.e.Spec.Soak).After(c.w.Now)
		})
	})
}

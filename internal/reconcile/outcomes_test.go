package reconcile

import (
	"reflect"
	"time"

	"chaperone.dev/chaperone/internal/promotion"
)

// outcome tells a world with one environment how an action ended.
func outcome(e Environment, kind ActionKind, r Release, outcome Outcome, edits ...func(*Result)) Environment {
	a := Action{Kind: kind, Environment: e.ID, Release: r, LastGood: e.Journal.LastGood, Guilty: e.Journal.Attempt.Guilty}
	result := Result{Action: a, Outcome: outcome}
	for _, edit := range edits {
		edit(&result)
	}
	return Observe(world("c3", e), result).Environments[0]
}

// outcomeRows: what an outcome makes of a journal.
func outcomeRows(t reporter) {
	t.Helper()
	c3, other := allow("c3", "d3"), allow("c2", "d2")
	verifying := dev(c3, attempt(StageVerifying, c3))
	for _, late := range []Outcome{OutcomeDone, OutcomeFailed, OutcomeError, OutcomeNoData} {
		if after := outcome(verifying, ActionVerify, other.Release, late); !reflect.DeepEqual(after.Journal, verifying.Journal) {
			t.Errorf("a verdict (%s) on another release changes the journal: %+v", late, after.Journal)
		}
	}
	idle := dev(c3)
	if after := outcome(idle, ActionVerify, c3.Release, OutcomeFailed); !reflect.DeepEqual(after.Journal, idle.Journal) {
		t.Errorf("a verdict after the attempt was over changes the journal: %+v", after.Journal)
	}
	if after := outcome(idle, ActionAdvance, c3.Release, OutcomeDone); after.Journal.LastGood.Digest != "d1" {
		t.Errorf("other content was taken for last good: %+v", after.Journal.LastGood)
	}
	if after := outcome(verifying, ActionVerify, c3.Release, OutcomeInterrupted); !reflect.DeepEqual(after.Journal, verifying.Journal) {
		t.Errorf("an interrupted check changes the journal: %+v", after.Journal)
	}
	applying := dev(c3, attempt(StageApplying, c3))
	if after := outcome(applying, ActionApply, c3.Release, OutcomeRejected).Journal; after.Attempt.Stage != StageNone || after.Running.Digest != "d1" {
		t.Errorf("refused at once: %+v, want nothing under way", after.Attempt)
	}
	applying.Journal.Attempt.Tries = 2
	if after := outcome(applying, ActionApply, c3.Release, OutcomeRejected).Journal; after.Attempt.Stage != StageRestoring {
		t.Errorf("refused where a part may stand: %+v, want a restore", after.Attempt)
	}
}

// correctedRows: a correction beside a prune that waits forgets neither the prune
// nor when it is tried again, whatever comes of it, and fails once for each try.
func correctedRows(t reporter) {
	t.Helper()
	c3 := allow("c3", "d3")
	waits := dev(c3, attempt(StagePruning, c3), drifted, func(e *Environment) {
		e.Journal.Retry = Retry{Reason: promotion.MassDeletion, Digest: "d3", Tries: 2, At: noon.Add(time.Minute)}
	})
	for _, end := range []Outcome{OutcomeDone, OutcomeRejected, OutcomeFailed, OutcomeRetry, OutcomeInterrupted} {
		begun := Begin(world("c3", waits), Action{Kind: ActionCorrect, Environment: waits.ID, Release: c3.Release, LastGood: c3.Release})
		after := outcome(begun.Environments[0], ActionCorrect, c3.Release, end)
		if !reflect.DeepEqual(begun.Environments[0].Journal, waits.Journal) || !reflect.DeepEqual(after.Journal, waits.Journal) {
			t.Errorf("a correction (%s) beside a prune leaves %+v, want %+v", end, after.Journal, waits.Journal)
		}
		if kind := Decide(world("c3", after)).Actions; len(kind) > 0 {
			t.Errorf("%v at once after a correction (%s)", kind, end)
		}
		if tried := outcome(after, ActionPrune, c3.Release, OutcomeRetry); end != OutcomeDone && !correcting(tried) {
			t.Errorf("what could not be put back (%s) is not tried after the next try of the prune", end)
		}
	}
	if done := outcome(waits, ActionPrune, c3.Release, OutcomeDone); done.Journal.Attempt.Stage != StageNone || !correcting(done) {
		t.Errorf("pruned at last: %+v, want nothing but a correction to do", done.Journal.Attempt)
	}
}

func correcting(e Environment) bool {
	d := Decide(world("c3", e))
	return len(d.Actions) == 1 && d.Actions[0].Kind == ActionCorrect
}

// guiltRows: what a search makes of what it hears.
func guiltRows(t reporter) {
	t.Helper()
	c3 := allow("c3", "d3")
	suspects := []Suspect{{Revision: "c1a", Digest: "d1a"}, {Revision: "c1b", Digest: "d1b"}, {Revision: "c3", Digest: "d3"}}
	named := func(r *Result) { r.Suspects = suspects }
	blaming := func(edit func(*Journal)) Environment {
		e := dev(c3, attempt(StageBlaming, c3))
		e.Journal.Quarantine = []Digest{"d3"}
		edit(&e.Journal)
		return e
	}
	taken := blaming(func(j *Journal) { j.LastRevert = Revert{Guilty: "c1a", Commit: "c1b", Digest: "d1a"} })
	if after := outcome(taken, ActionBlame, c3.Release, OutcomeDone, named).Journal; after.Attempt.Guilty != "c3" {
		t.Errorf("what was taken back is suspect still: %+v", after)
	}
	coming := blaming(func(j *Journal) { j.LastRevert = Revert{Guilty: "c3", Commit: "c4", Digest: "d2"} })
	only := func(r *Result) { r.Suspects = suspects[2:] }
	if after := outcome(coming, ActionBlame, c3.Release, OutcomeDone, only).Journal; after.Attempt.Stage != StageNone || after.LastRevert.Digest != "d3" {
		t.Errorf("what is being taken back is taken back again: %+v", after.Attempt)
	}
	unapplied := blaming(func(j *Journal) { j.Quarantine, j.Unapplied = []Digest{"d3", "d1a"}, []Digest{"d1a"} })
	if after := outcome(unapplied, ActionBlame, c3.Release, OutcomeDone, named).Journal; after.Attempt.Stage != StageBisecting {
		t.Errorf("what could not be applied is guilty: %+v", after.Attempt)
	}
	failed := blaming(func(j *Journal) { j.Quarantine = []Digest{"d3", "d1a"} })
	if after := outcome(failed, ActionBlame, c3.Release, OutcomeDone, named).Journal; after.Attempt.Guilty != "c1a" {
		t.Errorf("what failed before is not believed: %+v", after.Attempt)
	}
	reverting := dev(c3, attempt(StageReverting, c3))
	reverting.Journal.Search, reverting.Journal.Attempt.Guilty = Search{Failed: c3.Release, Suspects: suspects}, "c1a"
	back := func(r *Result) { r.Commit = "c1b" }
	if after := outcome(reverting, ActionRevert, c3.Release, OutcomeAlready, back).Journal; after.Hold.Reason != promotion.SeveralSuspects {
		t.Errorf("taken back before it failed, and no person is told: %+v", after.Hold)
	}
}

// searchRows: what a search deploys.
func searchRows(t reporter) {
	t.Helper()
	c3 := allow("c3", "d3")
	at := func(c Candidate, middle Suspect, untested ...Digest) World {
		e := dev(c3, attempt(StageBisecting, c3)).with(c)
		e.Journal.Quarantine = []Digest{"d3"}
		e.Journal.Search = Search{
			Failed: c3.Release, Suspects: []Suspect{middle, {Revision: "c3", Digest: "d3"}}, Failing: []Digest{"d3"}, Untested: untested,
		}
		return world("c3", e)
	}
	c2 := Suspect{Revision: "c2", Digest: "d2"}
	denied := allow("c2", "d2")
	denied.Verdict = VerdictDeny
	blind := at(allow("c1", "d1"), c2)
	blind.Policy = ""
	rows(t,
		row{"the middle", at(allow("c2", "d2"), c2), ActionApply, promotion.Bisecting},
		row{"it is not judged yet", at(allow("c1", "d1"), c2), ActionNone, promotion.Bisecting},
		row{"it cannot be judged", blind, ActionNone, promotion.PolicyError},
		row{"it is denied", at(denied, c2), ActionGiveUp, promotion.Bisecting},
		row{"it could not be applied", at(allow("c2", "d2"), c2, "d2"), ActionGiveUp, promotion.Bisecting},
		row{"the file has changed, and with it what the commit makes", at(allow("c2", "d9"), c2), ActionGiveUp, promotion.Bisecting},
		row{"it holds a commit taken back later", at(allow("c2", "d2"), Suspect{Revision: "c2", Digest: "d2", Mixed: true}), ActionGiveUp, promotion.Bisecting},
	)
}

// proposalRows: what is proposed, kept and withdrawn.
func proposalRows(t reporter) {
	t.Helper()
	zero := running("zero", "c3", "z3")
	at := func(c Candidate, edits ...func(*Environment)) World {
		c.Upstream = []Upstream{{ID: id("zero"), Digest: "z3"}}
		e := dev(c, func(e *Environment) {
			e.Spec.Pinned, e.Spec.Pin, e.Spec.Proposes, e.Spec.After = true, "c1", true, []promotion.ID{id("zero")}
		})
		for _, edit := range edits {
			edit(&e)
		}
		return world("c3", e, zero)
	}
	open := func(e *Environment) { e.Journal.Proposal = Proposal{Revision: "c3", Digest: "d3", Commit: "x1"} }
	verdict := func(v Verdict) Candidate { return candidate(func(c *Candidate) { c.Verdict = v }) }
	typo := at(allow("c3", "d3"), open)
	typo.Environments[0].Candidates[0].Upstream[0].Digest = ""
	unknownPin := at(allow("c3", "d1"), func(e *Environment) { e.Candidates = e.Candidates[:1] })
	rows(t,
		row{"what upstream verified", at(allow("c3", "d3")), ActionPropose, promotion.WaitingForPromotion},
		row{"it is open", at(allow("c3", "d3"), open), ActionNone, promotion.WaitingForPromotion},
		row{"denied by now", at(verdict(VerdictDeny), open), ActionWithdraw, promotion.UpToDate},
		row{"a rule that errs closes nothing", at(verdict(VerdictError), open), ActionNone, promotion.WaitingForPromotion},
		row{"nor does an upstream that cannot be told", typo, ActionNone, promotion.WaitingForPromotion},
		row{"it failed here", at(allow("c3", "d3"), open, func(e *Environment) { e.Journal.Quarantine = []Digest{"d3"} }), ActionWithdraw, promotion.UpToDate},
		row{"what it is pinned to is not known yet", unknownPin, ActionNone, promotion.UpToDate},
		row{"held", at(allow("c3", "d3"), func(e *Environment) { e.Journal.Hold = Hold{Reason: promotion.RevertConflict, Digest: "d2"} }), ActionNone, promotion.UpToDate},
		row{"pushed a moment ago in vain", at(allow("c3", "d3"), func(e *Environment) {
			e.Journal.Proposal = Proposal{Revision: "c3", Digest: "d3", Refused: promotion.PromotionRejected, Tries: 1, Again: noon.Add(time.Second)}
		}), ActionNone, promotion.PromotionRejected},
	)
	obsolete := at(allow("c3", "d3")).Environments[0]
	if after := outcome(obsolete, ActionPropose, allow("c3", "d3").Release, OutcomeAlready); !after.Journal.Proposal.Again.After(noon) {
		t.Errorf("an obsolete proposal is made again at once: %+v", after.Journal.Proposal)
	}
}

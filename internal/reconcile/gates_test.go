package reconcile

import (
	"time"

	"chaperone.dev/chaperone/internal/promotion"
	"chaperone.dev/chaperone/internal/source"
)

// row is one world of a table, and what is to be decided about its first
// environment.
type row struct {
	name   string
	world  World
	action ActionKind // ActionNone: nothing but, at most, an evaluation
	reason promotion.Reason
}

func (r row) check(t reporter) {
	t.Helper()
	d := Decide(r.world)
	if violations := Violations(r.world, d); len(violations) > 0 {
		t.Errorf("%s: %v", r.name, violations)
	}
	got := ActionNone
	for _, a := range d.Actions {
		if a.Environment == r.world.Environments[0].ID && a.Kind != ActionEvaluate {
			got = a.Kind
		}
	}
	if s := d.Statuses[0]; got != r.action || s.Reason != r.reason {
		t.Errorf("%s: %q (%s %s), want %q (%s)", r.name, got, s.Phase, s.Reason, r.action, r.reason)
	}
}

// rows runs a table.
func rows(t reporter, list ...row) {
	t.Helper()
	for _, r := range list {
		r.check(t)
	}
}

// dev is an environment that runs c1, for which another release was judged.
func dev(c Candidate, edits ...func(*Environment)) Environment {
	e := running("dev", "c1", "d1").with(c)
	for _, edit := range edits {
		edit(&e)
	}
	return e
}

func attempt(stage Stage, c Candidate) func(*Environment) {
	return func(e *Environment) {
		e.Journal.Attempt = Attempt{Release: c.Release, Stage: stage, Tries: 1, Failure: promotion.VerificationFailed, Proven: true}
		if stage == StageApplying || stage == StageVerifying || stage == StagePruning {
			e.Journal.Attempt.Failure, e.Journal.Attempt.Proven = "", false
			e.Journal.Running = c.Release
		}
		if stage == StagePruning {
			e.Journal.LastGood = c.Release
		}
	}
}

// between judges the commit before the newest, too.
func between(e *Environment) { *e = e.with(allow("c2", "d2")) }

func drifted(e *Environment) { e.Drifted = true }

func candidate(edit func(*Candidate)) Candidate {
	c := allow("c3", "d3")
	edit(&c)
	return c
}

func policyRows(t reporter) {
	t.Helper()
	unjudged := candidate(func(c *Candidate) { c.Release.Policy = "" })
	none := world("c3", dev(unjudged))
	none.Policy = ""
	compared := dev(allow("c3", "d3"), func(e *Environment) { e.Candidates[0].Since = "d0" })
	renamed := allow("c3", "d1")
	renamed.Verdict = VerdictDeny
	exchanged := world("c3", dev(allow("c3", "d1"), drifted, func(e *Environment) {
		e.Journal.LastGood.Policy = "p0"
		e.Journal.Attempt = Attempt{Release: e.Journal.LastGood, Stage: StageCorrecting}
	}))
	rows(t,
		row{"a correction goes on under other policies that allow it", exchanged, ActionCorrect, promotion.Drifted},
		row{"without policies nothing runs", none, ActionNone, promotion.PolicyError},
		row{"what was compared with another last good is compared anew", world("c3", compared), ActionNone, promotion.Evaluating},
		row{"a denied commit with the same content is not taken for last good", world("c3", dev(renamed)), ActionNone, promotion.PolicyDenied},
		row{"drift to what is denied by now stays", world("c3", dev(renamed, drifted)), ActionNone, promotion.Drifted},
		row{"a correction of what is denied by now becomes a restore", world("c3", dev(renamed, drifted, func(e *Environment) {
			e.Journal.Attempt = Attempt{Release: e.Journal.LastGood, Stage: StageCorrecting}
		})), ActionRestore, promotion.Restoring},
	)
}

// unprunedRows: between two tries of a prune, what drifted is put back as at rest.
func unprunedRows(t reporter) {
	t.Helper()
	c3 := allow("c3", "d3")
	at := func(until time.Duration, edits ...func(*Environment)) World {
		waits := func(e *Environment) {
			e.Journal.Retry = Retry{Reason: promotion.MassDeletion, Digest: "d3", Tries: 2, At: noon.Add(until)}
		}
		return world("c3", dev(c3, append([]func(*Environment){attempt(StagePruning, c3), waits}, edits...)...))
	}
	first := at(time.Minute, drifted)
	first.Environments[0].Journal.Retry = Retry{}
	denied := at(time.Minute, drifted)
	denied.Environments[0].Candidates[0].Verdict = VerdictDeny
	vain := func(e *Environment) { e.Uncorrected = 2 }
	before := func(e *Environment) { e.Uncorrected = 1 }
	under := func(e *Environment) { e.Busy = ActionCorrect }
	newer := func(e *Environment) {
		e.Journal.Attempt.Release, e.Journal.Running, e.Journal.LastGood = allow("c1", "d1").Release, allow("c1", "d1").Release, allow("c1", "d1").Release
		e.Journal.Retry.Digest, e.Candidates[0].Since = "d1", "d1"
	}
	rows(t,
		row{"nothing drifted", at(time.Minute), ActionNone, promotion.MassDeletion},
		row{"drift is put back", at(time.Minute, drifted), ActionCorrect, promotion.Drifted},
		row{"it is being put back", at(time.Minute, drifted, under), ActionNone, promotion.Drifted},
		row{"drift is reported", at(time.Minute, drifted, func(e *Environment) { e.Spec.Drift = promotion.DriftReport }), ActionNone, promotion.MassDeletion},
		row{"in vain", at(time.Minute, drifted, vain), ActionNone, promotion.MassDeletion},
		row{"in vain before the last try", at(time.Minute, drifted, before), ActionCorrect, promotion.MassDeletion},
		row{"the prune goes first", first, ActionPrune, promotion.Pruning},
		row{"and again when its time has come", at(-time.Second, drifted), ActionPrune, promotion.MassDeletion},
		row{"not to what is denied by now", denied, ActionNone, promotion.MassDeletion},
		row{"not in a freeze", at(time.Minute, drifted, frozenAtNoon), ActionNone, promotion.Frozen},
		row{"a newer release goes first", at(time.Minute, drifted, newer), ActionApply, promotion.Applying},
	)
}

// heldRows: what is held waits, wanted or not; what is begun while the source
// cannot be read is finished, and nothing else.
func heldRows(t reporter) {
	t.Helper()
	denied := candidate(func(c *Candidate) { c.Verdict = VerdictDeny })
	held := func(d Digest) func(*Environment) {
		return func(e *Environment) { e.Journal.Hold = Hold{Reason: promotion.RevertRejected, Digest: d} }
	}
	blind := func(edits ...func(*Environment)) World {
		w := world("c3", dev(allow("c3", "d3"), append([]func(*Environment){attempt(StageApplying, allow("c2", "d2"))}, edits...)...))
		w.SourceFault = promotion.SourceUnavailable
		return w
	}
	unknown := func(e *Environment) {
		e.Journal.LastGood, e.Journal.Verified, e.Candidates = Release{}, nil, e.Candidates[:1]
		e.Candidates[0].Since = ""
	}
	renamed := func(e *Environment) { e.Journal.Running = Release{} }
	rows(t,
		row{"what is wanted", world("c3", dev(allow("c3", "d3"), held("d3"))), ActionNone, promotion.RevertRejected},
		row{"something else", world("c3", dev(allow("c3", "d3"), held("d2"))), ActionApply, promotion.Applying},
		row{"a newer commit, and our own revert is not seen yet", world("c3", dev(allow("c3", "d3"), func(e *Environment) {
			e.Journal.LastRevert = Revert{Guilty: "c2", Commit: "c4", Digest: "d2", At: noon.Add(-time.Second)}
		})), ActionNone, promotion.Reverted},
		row{"a newer commit, and our own revert was not seen in time", world("c3", dev(allow("c3", "d3"), func(e *Environment) {
			e.Journal.LastRevert = Revert{Guilty: "c2", Commit: "c4", Digest: "d2", At: noon.Add(-time.Hour)}
		})), ActionApply, promotion.Applying},
		row{"an older one, which could run instead", world("c3", dev(denied, between, held("d2"))), ActionNone, promotion.PolicyDenied},
		row{"begun, and the source cannot be read", blind(between), ActionRestore, promotion.Restoring},
		row{"begun as the first, and the source cannot be read", blind(unknown), ActionNone, promotion.SourceUnavailable},
		row{"renamed: nothing has failed", world("c1", dev(allow("c3", "d3"), renamed)), ActionRestore, promotion.Moving},
	)
}

func approvalRows(t reporter) {
	t.Helper()
	big := candidate(func(c *Candidate) { c.Irreversible = true })
	agreed := candidate(func(c *Candidate) { c.Irreversible, c.Approval = true, ApprovalGiven })
	broken := candidate(func(c *Candidate) { c.Override = true })
	asks := func(e *Environment) { e.Spec.Approval = true }
	patients := func(e *Environment) { e.Spec.PHI = true }
	failed := func(e *Environment) {
		e.Journal.Running, e.Journal.Quarantine = big.Release, []Digest{"d3"}
		e.Journal.Hold = Hold{Reason: promotion.IrreversibleFailed, Digest: "d3"}
	}
	blind := world("c3", dev(big, failed))
	blind.Head, blind.History, blind.SourceFault = "", nil, promotion.SourceUnavailable
	rows(t,
		row{"irreversible and failed, and a daemon that cannot read Git", blind, ActionNone, promotion.IrreversibleFailed},
		row{"nobody has agreed", world("c3", dev(allow("c3", "d3"), asks)), ActionNone, promotion.ApprovalRequired},
		row{"somebody has", world("c3", dev(agreed, asks)), ActionApply, promotion.Applying},
		row{"irreversible, and nobody was asked", world("c3", dev(big)), ActionApply, promotion.Applying},
		row{"irreversible, into patients' data", world("c3", dev(big, patients)), ActionNone, promotion.IrreversibleUnapproved},
		row{"irreversible, into patients' data, approved", world("c3", dev(agreed, patients)), ActionApply, promotion.Applying},
		row{"an override is no approval", world("c3", dev(broken, asks)), ActionNone, promotion.ApprovalRequired},
		row{"irreversible, judged, and an older commit is wanted again", world("c1", dev(big, attempt(StageVerifying, big), func(e *Environment) {
			e.Journal.Attempt.Irreversible = true
		})), ActionVerify, promotion.Verifying},
		row{"irreversible and failed: it stays", world("c3", dev(big, failed)), ActionNone, promotion.IrreversibleFailed},
		row{"irreversible and failed, and last good is made the newest", world("c1", dev(big, failed)), ActionRestore, promotion.Restoring},
	)
}

func signatureRows(t reporter) {
	t.Helper()
	with := func(s Signed) Candidate { return candidate(func(c *Candidate) { c.Signed = s }) }
	asks := func(e *Environment) { e.Spec.Signed = true }
	broken := candidate(func(c *Candidate) { c.Override, c.Approval, c.Signed = true, ApprovalGiven, SignedMissing })
	denied := candidate(func(c *Candidate) { c.Verdict, c.Signed = VerdictDeny, SignedMissing })
	good := candidate(func(c *Candidate) {
		c.Release, c.Signed = Release{Revision: "c3", Digest: "d1", Policy: "p1"}, SignedMissing
	})
	rows(t,
		row{"nobody was asked", world("c3", dev(with(SignedUnknown))), ActionApply, promotion.Applying},
		row{"not signed", world("c3", dev(with(SignedMissing), asks)), ActionNone, promotion.SignatureRequired},
		row{"signed", world("c3", dev(with(SignedGood), asks)), ActionApply, promotion.Applying},
		row{"nobody can tell", world("c3", dev(with(SignedUnknown), asks)), ActionNone, promotion.SignersUnreadable},
		row{"an override and an approval are no signature", world("c3", dev(broken, asks)), ActionNone, promotion.SignatureRequired},
		row{"denied as well", world("c3", dev(denied, asks)), ActionNone, promotion.PolicyDenied},
		row{"what runs is not asked for again", world("c3", dev(good, asks)), ActionAdvance, promotion.UpToDate},
	)
}

// night is open from 22:00 to 04:00.
var night = []promotion.Window{{Cron: "0 22 * * *", Duration: 6 * time.Hour}}

// frozenAtNoon is a freeze of two hours.
func frozenAtNoon(e *Environment) {
	e.Spec.Calendar = calendarOf(promotion.Promotion{Freezes: []promotion.Window{{From: noon.Add(-time.Hour), To: noon.Add(time.Hour)}}})
}

// overrideRows: break-glass opens provenance, soak and windows, and nothing else.
func overrideRows(t reporter) {
	t.Helper()
	unverified := candidate(func(c *Candidate) { c.Override, c.Upstream = true, []Upstream{{ID: id("zero"), Digest: "z"}} })
	denied, plain := unverified, unverified
	denied.Verdict, plain.Override = VerdictDeny, false
	pin := func(e *Environment) {
		e.Spec.Pinned, e.Spec.Pin, e.Spec.After, e.Spec.Soak = true, "c3", []promotion.ID{id("zero")}, time.Hour
	}
	daily := func(e *Environment) {
		e.Spec.Calendar = calendarOf(promotion.Promotion{Mode: promotion.ModeSchedule, Schedule: "0 6 * * *"})
	}
	closed := func(e *Environment) { e.Spec.Calendar = calendarOf(promotion.Promotion{Windows: night}) }
	rows(t,
		row{"refused without", world("c3", dev(plain, pin)), ActionNone, promotion.UnverifiedRevision},
		row{"provenance, soak and window", world("c3", dev(unverified, pin, closed)), ActionApply, promotion.Overridden},
		row{"not the schedule", world("c3", dev(unverified, pin, daily)), ActionNone, promotion.WaitingForSchedule},
		row{"not a freeze", world("c3", dev(unverified, pin, frozenAtNoon)), ActionNone, promotion.Frozen},
		row{"not the policies", world("c3", dev(denied, pin)), ActionNone, promotion.PolicyDenied},
		row{"not a pause", world("c3", dev(unverified, pin, func(e *Environment) { e.Requests.Paused = true })), ActionNone, promotion.Paused},
		row{"not a quarantine", world("c3", dev(unverified, pin, func(e *Environment) { e.Journal.Quarantine = []Digest{"d3"} })), ActionNone, promotion.Quarantined},
	)
}

// freezeRows: a freeze finds an environment in each of its stages.
func freezeRows(t reporter) {
	t.Helper()
	c3 := allow("c3", "d3")
	at := func(stage Stage, edits ...func(*Environment)) World {
		return world("c3", dev(c3, append([]func(*Environment){frozenAtNoon, attempt(stage, c3)}, edits...)...))
	}
	guilty := func(e *Environment) { e.Journal.Attempt.Guilty = "c3" }
	correcting := func(e *Environment) {
		e.Journal.Attempt = Attempt{Release: e.Journal.LastGood, Stage: StageCorrecting}
	}
	rows(t,
		row{"nothing is begun", world("c3", dev(c3, frozenAtNoon)), ActionNone, promotion.Frozen},
		row{"half applied: taken back", at(StageApplying, between), ActionRestore, promotion.Restoring},
		row{"verification goes on", at(StageVerifying), ActionVerify, promotion.Verifying},
		row{"pruning waits", at(StagePruning), ActionNone, promotion.Frozen},
		row{"a restore goes on", at(StageRestoring), ActionRestore, promotion.Restoring},
		row{"proving goes on", at(StageProving), ActionVerify, promotion.Restoring},
		row{"blame only looks", at(StageBlaming), ActionBlame, promotion.Reverting},
		row{"a search waits", at(StageBisecting), ActionNone, promotion.Frozen},
		row{"a revert waits", at(StageReverting, guilty), ActionNone, promotion.Frozen},
		row{"a correction that was begun becomes a restore", world("c1", dev(c3, frozenAtNoon, drifted, correcting)), ActionRestore, promotion.Restoring},
		row{"drift waits", world("c1", dev(c3, frozenAtNoon, drifted)), ActionNone, promotion.Drifted},
	)
}

// rewrittenRows: the branch was rewritten without what was verified last.
func rewrittenRows(t reporter) {
	t.Helper()
	gone := func(e *Environment) { e.Rewritten = true }
	accepted := func(e *Environment) { e.Journal.Accepted = "c1" }
	asks := func(digest Digest) func(*Environment) {
		return func(e *Environment) { e.Requests.Retry, e.Requests.RetryDigest = "r1", digest }
	}
	c3 := allow("c3", "d3")
	at := func(stage Stage, edits ...func(*Environment)) World {
		return world("c3", dev(c3, append([]func(*Environment){gone, attempt(stage, c3)}, edits...)...))
	}
	guilty := func(e *Environment) { e.Journal.Attempt.Guilty = "c3" }
	rows(t,
		row{"nothing is begun", world("c3", dev(c3, gone)), ActionNone, promotion.HistoryRewritten},
		row{"accepted", world("c3", dev(c3, gone, accepted)), ActionApply, promotion.Applying},
		row{"half applied: taken back", at(StageApplying, between), ActionRestore, promotion.Restoring},
		row{"verification goes on", at(StageVerifying), ActionVerify, promotion.Verifying},
		row{"a restore goes on", at(StageRestoring), ActionRestore, promotion.Restoring},
		row{"a revert waits", at(StageReverting, guilty), ActionNone, promotion.HistoryRewritten},
		row{"a search waits", at(StageBisecting), ActionNone, promotion.HistoryRewritten},
		row{"a retry is granted", world("c3", dev(c3, gone, asks(""))), ActionRetry, promotion.Retrying},
	)
	for _, test := range []struct {
		name    string
		digest  Digest
		unknown bool
		want    source.Revision
	}{{"what is wanted", "", false, "c1"}, {"another digest", "d9", false, ""}, {"not found out yet", "", true, ""}} {
		e := dev(c3, gone, asks(test.digest))
		e.AncestryUnknown = test.unknown
		a := Action{Kind: ActionRetry, Environment: e.ID, Release: Release{Digest: test.digest}, Request: "r1"}
		after := Observe(Begin(world("c3", e), a), Result{Action: a, Outcome: OutcomeDone}).Environments[0].Journal
		if after.Accepted != test.want || after.Served != "r1" {
			t.Errorf("%s: accepted %q, served %q; want %q", test.name, after.Accepted, after.Served, test.want)
		}
	}
}

// breakerRows: so many reverts in a day, and the day passes.
func breakerRows(t reporter) {
	t.Helper()
	c3 := allow("c3", "d3")
	at := func(reverts ...time.Time) World {
		return world("c3", dev(c3, attempt(StageReverting, c3), func(e *Environment) {
			e.Journal.Attempt.Guilty, e.Spec.MaxReverts, e.Journal.Reverts = "c3", 2, reverts
		}))
	}
	tried := at(noon, noon)
	tried.Environments[0].Journal.Retry = Retry{Reason: promotion.SourceUnavailable, Digest: "d3", Tries: 1, At: noon.Add(-time.Second)}
	rows(t,
		row{"none yet", at(), ActionRevert, promotion.Reverting},
		row{"one", at(noon.Add(-time.Hour)), ActionRevert, promotion.Reverting},
		row{"two", at(noon.Add(-time.Hour), noon.Add(-24*time.Hour+time.Second)), ActionGiveUp, promotion.TooManyReverts},
		row{"a day has passed since one", at(noon.Add(-time.Hour), noon.Add(-24*time.Hour)), ActionRevert, promotion.Reverting},
		row{"of a clock that ran ahead", at(noon.Add(25*time.Hour), noon.Add(24*time.Hour)), ActionRevert, promotion.Reverting},
		row{"the clock was set back", at(noon.Add(time.Hour), noon.Add(time.Minute)), ActionGiveUp, promotion.TooManyReverts},
		row{"what may have been pushed is finished", tried, ActionRevert, promotion.SourceUnavailable},
	)
}

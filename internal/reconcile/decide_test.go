package reconcile

import (
	"slices"
	"time"

	"chaperone.dev/chaperone/internal/promotion"
	"chaperone.dev/chaperone/internal/source"
)

var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func id(name string) promotion.ID { return promotion.ID{Pipeline: "novamind", Name: name} }

// running is an environment at rest on a release.
func running(name, revision, digest string) Environment {
	release := Release{Revision: source.Revision(revision), Digest: Digest(digest), Policy: "p1"}
	return Environment{
		ID:   id(name),
		Spec: Spec{OnFailure: promotion.FailureRevert, Drift: promotion.DriftCorrect, MaxReverts: 3},
		Journal: Journal{
			Running: release, LastGood: release, Verified: []Verified{{Release: release, At: noon.Add(-time.Hour)}},
		},
		Candidates: []Candidate{{Release: release, Verdict: VerdictAllow}},
	}
}

func allow(revision, digest string) Candidate {
	return Candidate{
		Release: Release{Revision: source.Revision(revision), Digest: Digest(digest), Policy: "p1"}, Verdict: VerdictAllow,
	}
}

func world(head string, environments ...Environment) World {
	history := []source.Revision{"c3", "c2", "c1"}
	return World{
		Now: noon, Head: source.Revision(head), History: history[slices.Index(history, source.Revision(head)):],
		Policy: "p1", Environments: environments,
	}
}

// with adds candidates, newest judged.
func (e Environment) with(candidates ...Candidate) Environment {
	for i := range candidates {
		candidates[i].Since = e.Journal.LastGood.Digest
	}
	e.Candidates = append(candidates, e.Candidates...)
	return e
}

func (e Environment) edit(f func(*Environment)) Environment {
	f(&e)
	return e
}

//lint:long because it is one table
func decisions(t reporter) {
	denied := allow("c3", "d3")
	denied.Verdict = VerdictDeny
	broken := allow("c3", "d3")
	broken.Verdict = VerdictError
	for _, test := range []struct {
		name   string
		world  World
		action ActionKind
		target source.Revision
		phase  Phase
		reason promotion.Reason
	}{
		{"nothing new", world("c1", running("dev", "c1", "d1")),
			ActionNone, "", PhaseReady, promotion.UpToDate},
		{"a new commit is looked at", world("c3", running("dev", "c1", "d1")),
			ActionEvaluate, "c3", PhaseWaiting, promotion.Evaluating},
		{"an allowed one is applied", world("c3", running("dev", "c1", "d1").with(allow("c3", "d3"))),
			ActionApply, "c3", PhaseProgressing, promotion.Applying},
		{"the same content is only noted", world("c3", running("dev", "c1", "d1").with(allow("c3", "d1"))),
			ActionAdvance, "c3", PhaseReady, promotion.UpToDate},
		{"a denied one lets an older one be looked at", world("c3", running("dev", "c1", "d1").with(denied)),
			ActionEvaluate, "c2", PhaseWaiting, promotion.PolicyDenied},
		{"the newest that may run is applied", world("c3", running("dev", "c1", "d1").with(denied, allow("c2", "d2"))),
			ActionApply, "c2", PhaseProgressing, promotion.Applying},
		{"an error of the policies is not an allow", world("c3", running("dev", "c1", "d1").with(broken, allow("c2", "d1")).
			edit(func(e *Environment) { e.AskAt = noon.Add(time.Minute) })),
			ActionNone, "", PhaseWaiting, promotion.PolicyError},
		{"a verdict of other policies counts for nothing", func() World {
			w := world("c3", running("dev", "c1", "d1").with(allow("c3", "d3")))
			w.Policy = "p2"
			return w
		}(), ActionEvaluate, "c3", PhaseWaiting, promotion.Evaluating},
		{"no policies, no release", func() World {
			w := world("c3", running("dev", "c1", "d1").with(allow("c3", "d3")))
			w.Policy = ""
			return w
		}(), ActionNone, "", PhaseWaiting, promotion.PolicyError},
		{"source down: nothing new begins", func() World {
			w := world("c3", running("dev", "c1", "d1").with(allow("c3", "d3")))
			w.SourceFault = promotion.SourceUnavailable
			return w
		}(), ActionNone, "", PhaseWaiting, promotion.SourceUnavailable},
		{"pitfall 28: a newer commit preempts a verification", world("c3", running("dev", "c1", "d1").with(allow("c3", "d3")).
			edit(func(e *Environment) {
				e.Journal.Attempt = Attempt{Release: allow("c2", "d2").Release, Stage: StageVerifying}
				e.Busy = ActionVerify
			})), ActionCancel, "c2", PhaseProgressing, promotion.Verifying},
		{"a crash while applying: it is finished", world("c3", running("dev", "c1", "d1").with(allow("c3", "d3")).
			edit(func(e *Environment) {
				e.Journal.Attempt = Attempt{Release: allow("c3", "d3").Release, Stage: StageApplying, Tries: 1}
			})), ActionApply, "c3", PhaseProgressing, promotion.Applying},
		{"a crash while applying, denied since: it is taken back", world("c3", running("dev", "c1", "d1").with(denied, allow("c2", "d1")).
			edit(func(e *Environment) {
				e.Journal.Attempt = Attempt{Release: allow("c3", "d3").Release, Stage: StageApplying, Tries: 1}
			})), ActionRestore, "c3", PhaseProgressing, promotion.Restoring},
		{"a crash while applying, and a newer one whose rules err: it is finished", world("c3", running("dev", "c1", "d1").with(broken, allow("c2", "d2")).
			edit(func(e *Environment) {
				e.Journal.Attempt = Attempt{Release: allow("c2", "d2").Release, Stage: StageApplying, Tries: 1}
				e.AskAt = noon.Add(time.Minute)
			})), ActionApply, "c2", PhaseProgressing, promotion.Applying},
		{"a crash while applying, and its own rules err now: it is taken back", world("c3", running("dev", "c1", "d1").with(broken).
			edit(func(e *Environment) {
				e.Journal.Attempt = Attempt{Release: broken.Release, Stage: StageApplying, Tries: 1}
				e.Spec.Pinned, e.Spec.Pin = true, "c3"
				e.AskAt = noon.Add(time.Minute)
			})), ActionRestore, "c3", PhaseProgressing, promotion.Restoring},
		{"a crash while applying, not judged anew yet: wait", world("c3", running("dev", "c1", "d1").edit(func(e *Environment) {
			e.Journal.Attempt = Attempt{Release: allow("c3", "d3").Release, Stage: StageApplying, Tries: 1}
			e.EvaluateAt = noon.Add(time.Second)
		})), ActionNone, "", PhaseProgressing, promotion.Evaluating},
		{"pitfall 35: a crash while applying, and no Git to read the release from: it is taken back", func() World {
			w := world("c3", running("dev", "c1", "d1").edit(func(e *Environment) {
				e.Fault, e.Candidates = promotion.SourceUnavailable, nil
				e.Journal.Attempt = Attempt{Release: allow("c3", "d3").Release, Stage: StageApplying, Tries: 1}
				e.EvaluateAt = noon.Add(time.Second)
			}))
			w.Head, w.History, w.SourceFault = "", nil, promotion.SourceUnavailable
			return w
		}(), ActionRestore, "c3", PhaseProgressing, promotion.Restoring},
		{"a correction goes on though the rules err on a newer one", world("c3", running("dev", "c1", "d1").with(broken, allow("c2", "d1")).
			edit(func(e *Environment) {
				e.Journal.Attempt = Attempt{Release: e.Journal.LastGood, Stage: StageCorrecting}
				e.AskAt = noon.Add(time.Minute)
			})), ActionCorrect, "c2", PhaseProgressing, promotion.Drifted},
		{"the file is gone: nothing new, whatever was decided", world("c3", running("dev", "c1", "d1").with(allow("c3", "d3")).
			edit(func(e *Environment) { e.Fault, e.Drifted = promotion.Removed, true })),
			ActionNone, "", PhaseHeld, promotion.Removed},
		{"taken back: its revert is on its way", world("c3", running("dev", "c1", "d1").with(allow("c3", "d3")).
			edit(func(e *Environment) {
				e.Journal.Quarantine, e.Journal.LastRevert = []Digest{"d3"}, Revert{Guilty: "c3", Commit: "c4", Digest: "d3", At: noon}
			})), ActionNone, "", PhaseProgressing, promotion.Reverted},
		{"taken back, and brought back as it was: quarantined", world("c3", running("dev", "c1", "d1").with(allow("c3", "d3")).
			edit(func(e *Environment) {
				e.Journal.Quarantine, e.Journal.LastRevert = []Digest{"d3"}, Revert{Guilty: "c1", Commit: "c2", Digest: "d3"}
			})), ActionNone, "", PhaseWaiting, promotion.Quarantined},
		{"quarantined: not again, and nothing between", world("c3", running("dev", "c1", "d1").with(allow("c3", "d3"), allow("c2", "d2")).
			edit(func(e *Environment) {
				e.Journal.Quarantine = []Digest{"d3"}
				e.Journal.Hold = Hold{Reason: promotion.SeveralSuspects, Digest: "d3"}
			})), ActionNone, "", PhaseHeld, promotion.SeveralSuspects},
		{"a hold ends with new content", world("c3", running("dev", "c1", "d1").with(allow("c3", "d3")).
			edit(func(e *Environment) {
				e.Journal.Quarantine = []Digest{"d2"}
				e.Journal.Hold = Hold{Reason: promotion.RevertConflict, Digest: "d2"}
			})), ActionApply, "c3", PhaseProgressing, promotion.Applying},
		{"drift is put right", world("c1", running("dev", "c1", "d1").edit(func(e *Environment) { e.Drifted = true })),
			ActionCorrect, "c1", PhaseProgressing, promotion.Drifted},
		{"drift is put right though a newer commit is denied", world("c3", running("dev", "c1", "d1").with(denied, allow("c2", "d1")).
			edit(func(e *Environment) { e.Drifted = true })), ActionCorrect, "c2", PhaseProgressing, promotion.Drifted},
		{"drift is reported where the file says so", world("c1", running("dev", "c1", "d1").edit(func(e *Environment) {
			e.Drifted, e.Spec.Drift = true, promotion.DriftReport
		})), ActionNone, "", PhaseReady, promotion.Drifted},
		{"what cannot be looked at is not said to be as verified", world("c1", running("dev", "c1", "d1").edit(func(e *Environment) { e.Blind = promotion.ClusterUnavailable })),
			ActionNone, "", PhaseWaiting, promotion.ClusterUnavailable},
		{"nor where a person would only be told of drift", world("c1", running("dev", "c1", "d1").edit(func(e *Environment) {
			e.Drifted, e.Spec.Drift, e.Blind = true, promotion.DriftReport, promotion.DriftUnknown
		})), ActionNone, "", PhaseWaiting, promotion.DriftUnknown},
		{"what cannot be looked at is released to all the same", world("c3", running("dev", "c1", "d1").with(allow("c3", "d3")).
			edit(func(e *Environment) { e.Blind = promotion.ClusterUnavailable })), ActionApply, "c3", PhaseProgressing, promotion.Applying},
		{"what is contended is told and left", world("c1", running("dev", "c1", "d1").edit(func(e *Environment) { e.Contended = true })),
			ActionNone, "", PhaseReady, promotion.Contended},
		{"what is not contended is put right all the same", world("c1", running("dev", "c1", "d1").edit(func(e *Environment) {
			e.Drifted, e.Contended = true, true
		})), ActionCorrect, "c1", PhaseProgressing, promotion.Drifted},
		{"a newer release does not wait for a fight to end", world("c3", running("dev", "c1", "d1").with(allow("c3", "d3")).
			edit(func(e *Environment) { e.Contended = true })), ActionApply, "c3", PhaseProgressing, promotion.Applying},
		{"paused: nothing", world("c3", running("dev", "c1", "d1").with(allow("c3", "d3")).edit(func(e *Environment) {
			e.Requests.Paused, e.Drifted = true, true
		})), ActionNone, "", PhaseHeld, promotion.Paused},
		{"an invalid file keeps what runs", world("c3", running("dev", "c1", "d1").with(allow("c3", "d3")).edit(func(e *Environment) {
			e.Fault = promotion.InvalidEnvironment
		})), ActionNone, "", PhaseInvalid, promotion.InvalidEnvironment},
		{"an invalid file does not stop a restore", world("c3", running("dev", "c1", "d1").edit(func(e *Environment) {
			e.Fault = promotion.InvalidEnvironment
			e.Journal.Attempt = Attempt{Release: allow("c3", "d3").Release, Stage: StageRestoring}
		})), ActionRestore, "c3", PhaseProgressing, promotion.Restoring},
		{"pinned without a pin waits", world("c3", Environment{ID: id("prod"), Spec: Spec{Pinned: true}}),
			ActionNone, "", PhaseWaiting, promotion.WaitingForPromotion},
		{"pitfall 37: last good that would be denied is restored all the same", world("c3",
			running("dev", "c1", "d1").with(denied).edit(func(e *Environment) {
				e.Candidates[1].Verdict = VerdictDeny
				e.Journal.Attempt = Attempt{Release: allow("c3", "d3").Release, Stage: StageRestoring}
			})), ActionRestore, "c3", PhaseProgressing, promotion.Restoring},
	} {
		d := Decide(test.world)
		if violations := Violations(test.world, d); len(violations) > 0 {
			t.Errorf("%s: %v", test.name, violations)
		}
		var got Action
		for _, a := range d.Actions {
			if got.Kind == ActionNone || a.Kind != ActionEvaluate {
				got = a // the effect, where there is one
			}
		}
		if got.Kind != test.action || got.Release.Revision != test.target {
			t.Errorf("%s: %s %s, want %s %s", test.name, got.Kind, got.Release.Revision, test.action, test.target)
		}
		if s := d.Statuses[0]; s.Phase != test.phase || s.Reason != test.reason {
			t.Errorf("%s: %s (%s), want %s (%s)", test.name, s.Phase, s.Reason, test.phase, test.reason)
		}
	}
}

func verdictsAreAskedForAgain(t reporter) {
	e := running("dev", "c1", "d1")
	e.Candidates[0].Until = noon.Add(time.Hour)
	w := world("c1", e)
	if d := Decide(w); len(d.Actions) != 0 || !d.LookAgain.Equal(noon.Add(time.Hour)) {
		t.Errorf("fresh verdict: %v, look again at %s; want nothing until it ends", d.Actions, d.LookAgain)
	}
	w.Now = noon.Add(time.Hour)
	if d := Decide(w); len(d.Actions) != 1 || d.Actions[0].Kind != ActionEvaluate {
		t.Errorf("stale verdict: %v, want an evaluation", d.Actions)
	}
	e.Candidates = append(e.Candidates, Candidate{Release: allow("c3", "d3").Release, Verdict: VerdictAllow, Until: noon})
	if d := Decide(world("c3", e)); len(d.Actions) != 1 || d.Actions[0].Kind != ActionEvaluate {
		t.Errorf("stale allow: %v, want an evaluation and no apply", d.Actions)
	}
}

// A verdict that looked at what another environment runs does not outlast that:
// an allow opens nothing any more, and a denial may be one no longer.
func verdictsEndWithWhatTheyLookedAt(t reporter) {
	dev := running("dev", "c3", "dev3")
	for _, verdict := range []Verdict{VerdictAllow, VerdictDeny} {
		candidate := allow("c3", "prod3")
		candidate.Verdict, candidate.Upstream = verdict, []Upstream{{ID: id("dev"), Digest: "dev3"}}
		candidate.Since = "prod1"
		for name, test := range map[string]struct {
			looked []Upstream
			again  bool
		}{
			"at nobody":               {nil, false},
			"at what runs there":      {[]Upstream{{ID: id("dev"), Digest: "dev3"}}, false},
			"at what ran there":       {[]Upstream{{ID: id("dev"), Digest: "dev2"}}, true},
			"when nothing ran there":  {[]Upstream{{ID: id("dev")}}, true},
			"at one that is gone now": {[]Upstream{{ID: id("gone"), Digest: "d"}}, true},
		} {
			candidate.Looked = test.looked
			prod := running("prod", "c1", "prod1").with(candidate)
			prod.Spec.After = []promotion.ID{id("dev")}
			d := Decide(world("c3", dev, prod))
			again := slices.ContainsFunc(d.Actions, func(a Action) bool { return a.Kind == ActionEvaluate && a.Environment == id("prod") })
			applies := slices.ContainsFunc(d.Actions, func(a Action) bool { return a.Kind == ActionApply })
			if again != test.again || applies != (verdict == VerdictAllow && !test.again) {
				t.Errorf("%v, looked %s: %v; want another look: %v", verdict, name, d.Actions, test.again)
			}
		}
	}
}

func downstreamGetsOnlyWhatUpstreamVerified(t reporter) {
	dev := running("dev", "c3", "dev3")
	candidate := allow("c3", "prod3")
	candidate.Upstream = []Upstream{{ID: id("dev"), Digest: "dev3"}}
	prod := running("prod", "c1", "prod1").with(candidate)
	prod.Spec.After = []promotion.ID{id("dev")}
	decided := func(w World) (ActionKind, promotion.Reason) {
		t.Helper()
		d := Decide(w)
		if violations := Violations(w, d); len(violations) > 0 {
			t.Error(violations)
		}
		for _, a := range d.Actions {
			if a.Environment == id("prod") {
				return a.Kind, d.Statuses[1].Reason
			}
		}
		return ActionNone, d.Statuses[1].Reason
	}
	if action, reason := decided(world("c3", dev, prod)); action != ActionApply {
		t.Errorf("verified upstream: %s (%s), want apply", action, reason)
	}
	unverified := dev
	unverified.Journal.Verified = nil
	if action, reason := decided(world("c3", unverified, prod)); action == ActionApply || reason != promotion.WaitingForUpstream {
		t.Errorf("unverified upstream: %s (%s), want %s", action, reason, promotion.WaitingForUpstream)
	}
	soaking := prod
	soaking.Spec.Soak = 2 * time.Hour
	w := world("c3", dev, soaking)
	if action, reason := decided(w); action == ActionApply || reason != promotion.Soaking {
		t.Errorf("soaking: %s (%s), want %s", action, reason, promotion.Soaking)
	}
	if again := Decide(w).LookAgain; !again.Equal(noon.Add(time.Hour)) {
		t.Errorf("soaking: look again at %s, want when it has soaked", again)
	}
	pinned := prod
	pinned.Spec.Pinned, pinned.Spec.Pin = true, "c3"
	if _, reason := decided(world("c3", unverified, pinned)); reason != promotion.UnverifiedRevision {
		t.Errorf("a pin that upstream never verified: %s, want %s", reason, promotion.UnverifiedRevision)
	}
}

// What upstream verified once and failed now is not verified: downstream waits.
func whatFailsUpstreamNowIsNotVerifiedThere(t reporter) {
	dev := running("dev", "c2", "dev2")
	again := allow("c3", "dev1").Release // the content of long ago, back under a new name
	dev.Journal.Verified = append(dev.Journal.Verified, Verified{Release: allow("c1", "dev1").Release, At: noon.Add(-24 * time.Hour)})
	dev.Journal.Attempt = Attempt{Release: again, Stage: StageVerifying}
	candidate := allow("c3", "prod3")
	candidate.Upstream = []Upstream{{ID: id("dev"), Digest: "dev1"}}
	prod := running("prod", "c1", "prod1").with(candidate)
	prod.Spec.After = []promotion.ID{id("dev")}
	verify := Action{Kind: ActionVerify, Environment: id("dev"), Release: again}
	w := Observe(Begin(world("c3", dev, prod), verify), Result{Action: verify, Outcome: OutcomeFailed, Reason: promotion.VerificationFailed})
	for _, a := range Decide(w).Actions {
		if a.Environment == id("prod") && a.Kind == ActionApply {
			t.Errorf("%s is applied downstream right after upstream failed it", a.Release.Digest)
		}
	}
	if dev, _ := w.Find(id("dev")); len(dev.Journal.Verified) != 1 || dev.Journal.Verified[0].Digest != "dev2" {
		t.Errorf("verified are %v, want last good alone", dev.Journal.Verified)
	}
}

func errorAndNoDataHoldAndNeverRevert(t reporter) {
	for outcome, reason := range map[Outcome]promotion.Reason{
		OutcomeError: promotion.VerificationError, OutcomeNoData: promotion.VerificationNoData,
	} {
		e := running("dev", "c1", "d1").with(allow("c3", "d3"))
		e.Journal.Attempt = Attempt{Release: allow("c3", "d3").Release, Stage: StageVerifying}
		e.Journal.Running = allow("c3", "d3").Release
		w := world("c3", e)
		a := Decide(w).Actions[0]
		w = Observe(Begin(w, a), Result{Action: a, Outcome: outcome, Reason: reason})
		d := Decide(w)
		if len(d.Actions) != 0 || d.Statuses[0].Phase != PhaseHeld || d.Statuses[0].Reason != reason {
			t.Errorf("%s: %v %v, want a hold with %s", outcome, d.Actions, d.Statuses, reason)
		}
		if len(w.Environments[0].Journal.Quarantine) != 0 {
			t.Errorf("%s: quarantined without a fail", outcome)
		}
	}
}

package reconcile

import (
	"testing"
	"time"

	"chaperone.dev/chaperone/internal/promotion"
)

// onWatch is a world in which d2 passed an hour ago, after d1, and is looked at.
func onWatch(edit func(*Environment)) World {
	e := running("dev", "c2", "d2")
	e.Spec.OnFailure = promotion.FailureRevert
	e.Spec.Watch = promotion.Watch{For: 24 * time.Hour, Every: time.Minute, RevertWithin: 2 * time.Hour}
	before := Release{Revision: "c1", Digest: "d1", Policy: "p1"}
	e.Journal.Watched = Watched{Digest: "d2", Begun: noon.Add(-65 * time.Minute), Since: noon.Add(-time.Hour), Before: before}
	e.Journal.Verified = append(e.Journal.Verified, Verified{Release: before, At: noon.Add(-48 * time.Hour)})
	e.Candidates = []Candidate{{Release: e.Journal.LastGood, Verdict: VerdictAllow, Since: "d2"}}
	if edit != nil {
		edit(&e)
	}
	return World{Now: noon, Policy: "p1", Head: "c2", History: []revision{"c2", "c1"}, Environments: []Environment{e}}
}

// watchRows: a look at what passed keeps nothing waiting, and takes back only what
// is tied to the release, soon, and has something to go back to.
func watchRows(t reporter) {
	t.Helper()
	decides := func(name string, edit func(*Environment), want ActionKind) {
		t.Helper()
		w := onWatch(edit)
		d := Decide(w)
		got := ActionNone
		if len(d.Actions) > 0 {
			got = d.Actions[len(d.Actions)-1].Kind
		}
		if violations := Violations(w, d); got != want || len(violations) > 0 {
			t.Errorf("%s: %s, want %s; %v", name, got, want, violations)
		}
	}
	newer := func(e *Environment) {
		e.Candidates = append(e.Candidates, Candidate{Release: Release{Revision: "c3", Digest: "d3", Policy: "p1"}, Verdict: VerdictAllow, Since: "d2"})
	}
	decides("it is time", nil, ActionWatch)
	decides("it is not", func(e *Environment) { e.WatchAt = noon.Add(30 * time.Second) }, ActionNone)
	decides("the clock ran ahead", func(e *Environment) { e.WatchAt = noon.Add(time.Hour) }, ActionWatch)
	decides("it is over", func(e *Environment) { e.Spec.Watch.For = time.Hour }, ActionNone)
	decides("paused", func(e *Environment) { e.Requests.Paused = true }, ActionNone)
	decides("under way", func(e *Environment) { e.Busy = ActionWatch }, ActionNone)
	decides("under way, and drifted", func(e *Environment) { e.Busy, e.Drifted, e.Spec.Drift = ActionWatch, true, promotion.DriftCorrect }, ActionCancel)
	w := onWatch(func(e *Environment) { e.Busy = ActionWatch; newer(e) })
	w.Head, w.History = "c3", []revision{"c3", "c2", "c1"}
	if d := Decide(w); len(d.Actions) != 1 || d.Actions[0].Kind != ActionCancel {
		t.Errorf("something newer while it is looked at: %+v", d.Actions)
	}
	watchEnds(t)
}

// watchEnds: how a look may end, and what comes of it.
func watchEnds(t reporter) {
	t.Helper()
	for _, row := range []struct {
		name    string
		edit    func(*Environment)
		outcome Outcome
		tied    bool
		stage   Stage
		reason  promotion.Reason // of the status then
	}{
		{"well", nil, OutcomeDone, false, StageNone, promotion.UpToDate},
		{"well again", func(e *Environment) { e.Journal.Watched.Alarm = promotion.Regressed }, OutcomeDone, false, StageNone, promotion.UpToDate},
		{"called off", func(e *Environment) { e.Journal.Watched.Alarm = promotion.Regressed }, OutcomeInterrupted, false, StageNone, promotion.Regressed},
		{"in error", nil, OutcomeError, false, StageNone, promotion.VerificationError},
		{"no data", nil, OutcomeNoData, true, StageNone, promotion.VerificationNoData},
		{"no data after a failure", func(e *Environment) { e.Journal.Watched.Alarm = promotion.Regressed }, OutcomeNoData, false, StageNone, promotion.Regressed},
		{"fails, and what was not changed is well", nil, OutcomeFailed, true, StageRestoring, promotion.Restoring},
		{"fails, and nothing tells whose fault it is", nil, OutcomeFailed, false, StageNone, promotion.Regressed},
		{"fails long after", func(e *Environment) { e.Spec.Watch.RevertWithin = time.Minute }, OutcomeFailed, true, StageNone, promotion.Regressed},
		{"passed by a clock that ran ahead", func(e *Environment) { e.Journal.Watched.Since = noon.Add(time.Hour) }, OutcomeFailed, true, StageNone, promotion.Regressed},
		{"onFailure: hold", func(e *Environment) { e.Spec.OnFailure = promotion.FailureHold }, OutcomeFailed, true, StageNone, promotion.Regressed},
		{"cannot be taken back", func(e *Environment) { e.Journal.Watched.Irreversible = true }, OutcomeFailed, true, StageNone, promotion.Regressed},
		{"nothing passed before", func(e *Environment) { e.Journal.Watched.Before = Release{} }, OutcomeFailed, true, StageNone, promotion.Regressed},
		{"what passed before failed since", func(e *Environment) { e.Journal.Quarantine = []Digest{"d1"} }, OutcomeFailed, true, StageNone, promotion.Regressed},
		{"another is watched by now", func(e *Environment) { e.Journal.Watched.Digest = "d9" }, OutcomeFailed, true, StageNone, promotion.UpToDate},
	} {
		w := onWatch(row.edit)
		a := Action{Kind: ActionWatch, Environment: w.Environments[0].ID, Release: w.Environments[0].Journal.LastGood}
		after := Observe(Begin(w, a), Result{Action: a, Outcome: row.outcome, Reason: map[Outcome]promotion.Reason{
			OutcomeError: promotion.VerificationError, OutcomeNoData: promotion.VerificationNoData}[row.outcome], Tied: row.tied})
		d := Decide(after)
		j := after.Environments[0].Journal
		if j.Attempt.Stage != row.stage || d.Statuses[0].Reason != row.reason {
			t.Errorf("%s: %q and %s, want %q and %s", row.name, j.Attempt.Stage, d.Statuses[0].Reason, row.stage, row.reason)
		}
		if violations := Violations(after, d); len(violations) > 0 {
			t.Errorf("%s: %v", row.name, violations)
		}
		if row.stage == StageRestoring && (j.LastGood.Digest != "d1" || len(j.Quarantine) != 1 || j.Quarantine[0] != "d2" || len(j.Verified) != 1) {
			t.Errorf("%s: %+v", row.name, j)
		}
	}
}

// What passes here is watched from then on, unless it is a probe.
func TestWhatPassesIsWatched(t *testing.T) {
	t.Parallel()
	for _, probe := range []bool{false, true} {
		w := onWatch(nil)
		e := &w.Environments[0]
		next := Release{Revision: "c3", Digest: "d3", Policy: "p1"}
		e.Journal.Attempt = Attempt{Release: next, Stage: StageVerifying, Started: noon.Add(-time.Minute), Probe: probe}
		e.Journal.Running = next
		a := Action{Kind: ActionVerify, Environment: e.ID, Release: next}
		got := Observe(Begin(w, a), Result{Action: a, Outcome: OutcomeDone}).Environments[0].Journal.Watched
		want := Watched{Digest: "d3", Begun: noon.Add(-time.Minute), Since: noon, Before: Release{Revision: "c2", Digest: "d2", Policy: "p1"}}
		if probe {
			want = Watched{}
		}
		if got.Before.Digest != want.Before.Digest || got.Digest != want.Digest || !got.Since.Equal(want.Since) || !got.Begun.Equal(want.Begun) {
			t.Errorf("probe %v: %+v, want %+v", probe, got, want)
		}
	}
}

// whatFailsUpstreamSinceGoesNoFurther: it passed in staging, and fails there since.
func whatFailsUpstreamSinceGoesNoFurther(t reporter) {
	t.Helper()
	newer := allow("c3", "prod3")
	newer.Upstream = []Upstream{{ID: id("dev"), Digest: "d2"}}
	for _, row := range []struct {
		name  string
		dev   func(*Environment) // beside the alarm
		prod  func(*Environment)
		want  ActionKind
		shows promotion.Reason
	}{
		{"it fails", nil, nil, ActionNone, promotion.WaitingForUpstream},
		{"it fails, and the pin is there", nil, func(e *Environment) { e.Spec.Pinned, e.Spec.Pin = true, "c3" }, ActionNone, promotion.WaitingForUpstream},
		{"it is well again", func(e *Environment) { e.Journal.Watched.Alarm = "" }, nil, ActionApply, promotion.Applying},
		{"it cannot be asked", func(e *Environment) { e.Journal.Watched.Alarm = promotion.VerificationError }, nil, ActionApply, promotion.Applying},
		{"a person has accepted that", func(e *Environment) { e.accept("d2") }, nil, ActionApply, promotion.Applying},
		{"a person has accepted another", func(e *Environment) { e.accept("d1") }, nil, ActionNone, promotion.WaitingForUpstream},
		{"a reviewed override lets it in", nil, func(e *Environment) { e.Candidates[0].Override = true }, ActionApply, promotion.Overridden},
		{"it was verified here before", nil, func(e *Environment) {
			e.Journal.Verified = append(e.Journal.Verified, Verified{Release: newer.Release, At: noon.Add(-time.Hour)})
		}, ActionApply, promotion.Applying},
		{"its proposal is not withdrawn", nil, func(e *Environment) {
			e.Spec.Pinned, e.Spec.Proposes, e.Spec.Pin = true, true, "c1"
			e.Journal.Proposal = Proposal{Revision: "c3", Digest: "prod3", Commit: "p3"}
		}, ActionNone, promotion.WaitingForPromotion},
		{"nor is it proposed", nil, func(e *Environment) { e.Spec.Pinned, e.Spec.Proposes, e.Spec.Pin = true, true, "c1" }, ActionNone, promotion.UpToDate},
	} {
		w := onWatch(func(e *Environment) {
			e.Journal.Watched.Alarm, e.WatchAt = promotion.Regressed, noon.Add(30*time.Second)
		})
		if row.dev != nil {
			row.dev(&w.Environments[0])
			w.Environments[0].WatchAt = noon.Add(30 * time.Second)
		}
		prod := running("prod", "c1", "prod1").with(newer)
		prod.Spec.After = []promotion.ID{id("dev")}
		if row.prod != nil {
			row.prod(&prod)
		}
		w.Head, w.History = "c3", []revision{"c3", "c2", "c1"}
		w.Environments[0].Candidates = []Candidate{{Release: Release{Revision: "c3", Digest: "d2", Policy: "p1"}, Verdict: VerdictAllow, Since: "d2"}}
		w.Environments[0].Journal.LastGood.Revision, w.Environments[0].Journal.Running.Revision = "c3", "c3"
		w.Environments[0].Journal.Verified[0].Revision = "c3"
		w.Environments = append(w.Environments, prod)
		d := Decide(w)
		got := ActionNone
		for _, a := range d.Actions {
			if a.Environment == prod.ID {
				got = a.Kind
			}
		}
		if violations := Violations(w, d); got != row.want || d.Statuses[1].Reason != row.shows || len(violations) > 0 {
			t.Errorf("%s: %s and %s, want %s and %s; %v", row.name, got, d.Statuses[1].Reason, row.want, row.shows, violations)
		}
	}
	forgotten(t)
}

// forgotten: something newer passes where what ran before was not well again.
func forgotten(t reporter) {
	t.Helper()
	for alarm, want := range map[promotion.Reason]int{promotion.Regressed: 2, promotion.VerificationError: 3, "": 3} {
		w := onWatch(func(e *Environment) {
			e.Journal.Watched.Alarm = alarm
			next := Release{Revision: "c3", Digest: "d3", Policy: "p1"}
			e.Journal.Attempt, e.Journal.Running = Attempt{Release: next, Stage: StageVerifying, Started: noon.Add(-time.Minute)}, next
		})
		a := Action{Kind: ActionVerify, Environment: w.Environments[0].ID, Release: w.Environments[0].Journal.Running}
		got := Observe(Begin(w, a), Result{Action: a, Outcome: OutcomeDone}).Environments[0].Journal
		if len(got.Verified) != want {
			t.Errorf("after the alarm %q: verified are %v, want %d", alarm, got.Verified, want)
		}
		if back := got.Watched.Before.Digest; (back == "d2") != (want == 3) {
			t.Errorf("after the alarm %q: a late failure would go back to %q", alarm, back)
		}
	}
}

// A person is asked once: the request lets it go on until it is well, and it is
// looked at again at once.
func TestAlarmIsAccepted(t *testing.T) {
	t.Parallel()
	w := onWatch(func(e *Environment) {
		e.Journal.Watched.Alarm, e.WatchAt = promotion.Regressed, noon.Add(time.Minute)
		e.Requests = Requests{Retry: "r1", RetryDigest: "d2"}
	})
	d := Decide(w)
	if len(d.Actions) != 1 || d.Actions[0].Kind != ActionRetry {
		t.Fatalf("%+v, want the request to be granted", d.Actions)
	}
	w = Observe(Begin(w, d.Actions[0]), Result{Action: d.Actions[0], Outcome: OutcomeDone})
	e := &w.Environments[0]
	if d = Decide(w); !e.Journal.Watched.Accepted || e.Failing("d2") || len(d.Actions) != 1 || d.Actions[0].Kind != ActionWatch || d.Statuses[0].Reason != promotion.Regressed {
		t.Fatalf("%+v, %+v; want the alarm accepted and told, and another look", e.Journal.Watched, d)
	}
	look := d.Actions[0]
	failed := Observe(Begin(w, look), Result{Action: look, Outcome: OutcomeFailed, Reason: promotion.Regressed})
	if !failed.Environments[0].Journal.Watched.Accepted {
		t.Error("it fails as before, and what was accepted is forgotten")
	}
	if well := Observe(Begin(w, look), Result{Action: look, Outcome: OutcomeDone}); well.Environments[0].Journal.Watched.Accepted {
		t.Error("it is well, and the next failure would be accepted, too")
	}
}

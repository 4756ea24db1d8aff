package reconcile

import (
	"reflect"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"chaperone.dev/chaperone/internal/promotion"
	"chaperone.dev/chaperone/internal/source"
)

// Worlds by chance, far from what can be reached: whatever somebody wrote into a
// journal, and whatever the clock says.

var (
	someRevisions = []source.Revision{"", "c1", "c2", "c3", "c4"}
	someDigests   = []Digest{"", "d1", "d2", "d3"}
	somePolicies  = []Digest{"", "p1", "p2"}
	someNames     = []string{"dev", "production", "staging"}
	someTimes     = []time.Duration{-25 * time.Hour, -time.Hour, -time.Second, 0, time.Second, time.Minute, time.Hour, 48 * time.Hour}
	someStages    = []Stage{StageNone, StageNone, StageApplying, StageVerifying, StagePruning, StageUndoing, StageRestoring, StageProving, StageBlaming, StageBisecting, StageReverting, StageCorrecting}
	someHolds     = []promotion.Reason{"", "", promotion.VerificationError, promotion.RestoreFailed, promotion.IrreversibleFailed, promotion.SeveralSuspects}
	someFaults    = []promotion.Reason{"", "", "", "", promotion.InvalidEnvironment, promotion.Removed, promotion.TargetMoved}
	someCourses   = []Course{{}, {}, {Steps: 2, Digest: "two"}, {Steps: 4, Digest: "four"}}
	someCalendars = []promotion.Calendar{
		{}, {}, calendarOf(promotion.Promotion{Windows: night}),
		calendarOf(promotion.Promotion{Freezes: []promotion.Window{{From: noon.Add(-time.Hour), To: noon.Add(time.Hour)}}}),
		calendarOf(promotion.Promotion{Mode: promotion.ModeSchedule, Schedule: "30 11 * * *"}),
	}
)

func pick[T any](t *rapid.T, label string, from []T) T { return rapid.SampledFrom(from).Draw(t, label) }
func flip(t *rapid.T, label string) bool               { return rapid.Bool().Draw(t, label) }

func drawTime(t *rapid.T, label string) time.Time { return noon.Add(pick(t, label, someTimes)) }

func drawRelease(t *rapid.T, label string) Release {
	digest := pick(t, label+" digest", someDigests)
	if digest == "" {
		return Release{}
	}
	return Release{Revision: pick(t, label+" revision", someRevisions[1:]), Digest: digest, Policy: pick(t, label+" policy", somePolicies)}
}

func drawDigests(t *rapid.T, label string) []Digest {
	return rapid.SliceOfNDistinct(rapid.SampledFrom(someDigests[1:]), 0, 2, rapid.ID).Draw(t, label)
}

func drawCandidate(t *rapid.T, e *Environment) Candidate {
	c := Candidate{
		Release: Release{Revision: pick(t, "candidate", someRevisions[1:]), Digest: pick(t, "digest", someDigests), Policy: pick(t, "policy", somePolicies)},
		Verdict: pick(t, "verdict", []Verdict{VerdictUnknown, VerdictAllow, VerdictAllow, VerdictDeny, VerdictError}),
		Urgent:  flip(t, "urgent"), Override: flip(t, "override"), Irreversible: flip(t, "irreversible"),
		Approval: pick(t, "approval", []Approval{ApprovalMissing, ApprovalGiven}), Since: pick(t, "since", someDigests),
		Signed: pick(t, "signed", []Signed{SignedUnknown, SignedMissing, SignedGood, SignedGood}),
		Course: pick(t, "course", someCourses),
	}
	if flip(t, "ends") {
		c.Until = drawTime(t, "until")
	}
	for _, up := range e.Spec.After {
		c.Upstream = append(c.Upstream, Upstream{ID: up, Digest: pick(t, "upstream", someDigests)})
	}
	return c
}

// drawAttempt keeps to what the stages say of themselves.
func drawAttempt(t *rapid.T, e *Environment) {
	j := &e.Journal
	a := &j.Attempt
	a.Release, a.Stage, a.Tries = drawRelease(t, "attempt"), pick(t, "stage", someStages), rapid.IntRange(1, 3).Draw(t, "tries")
	if a.Release.Digest == "" || j.LastGood.Digest == "" || a.Release.Digest == j.LastGood.Digest {
		a.Stage = pick(t, "stage without last good", []Stage{StageNone, StageApplying, StageVerifying})
	}
	switch a.Stage {
	case StageNone:
		*a = Attempt{}
	case StageApplying, StageVerifying:
		a.Irreversible, j.Running = flip(t, "irreversible attempt"), a.Release
		if a.Course = pick(t, "course of the attempt", someCourses); a.Course.Steps > 0 {
			a.Step = rapid.IntRange(1, a.Course.Steps).Draw(t, "step")
		}
	case StagePruning, StageCorrecting:
		a.Release, j.Running = j.LastGood, j.LastGood
		e.Spec.Drift = promotion.DriftCorrect
	case StageProving, StageBlaming, StageBisecting, StageReverting:
		a.Failure, a.Proven, j.Running = promotion.VerificationFailed, true, j.LastGood
		e.Spec.OnFailure = promotion.FailureRevert
		if a.Stage == StageReverting {
			a.Guilty = pick(t, "guilty", someRevisions[1:])
		}
		if a.Stage == StageBisecting {
			j.Search = Search{Failed: a.Release, Failing: []Digest{a.Release.Digest}, Untested: drawDigests(t, "untested")}
			for range rapid.IntRange(0, 3).Draw(t, "suspects") {
				s := Suspect{Revision: pick(t, "suspect", someRevisions[1:]), Digest: pick(t, "made", someDigests[1:]), Mixed: flip(t, "mixed")}
				j.Search.Suspects = append(j.Search.Suspects, s)
			}
		}
	}
}

func drawEnvironment(t *rapid.T, pipeline, name string, after []string) Environment {
	e := Environment{ID: promotion.ID{Pipeline: pipeline, Name: name}}
	for _, up := range after {
		e.Spec.After = append(e.Spec.After, promotion.ID{Pipeline: pipeline, Name: up})
	}
	e.Spec.Calendar, e.Spec.Approval, e.Spec.PHI = pick(t, "calendar", someCalendars), flip(t, "approvals"), flip(t, "phi")
	e.Spec.Signed = flip(t, "signatures")
	e.Spec.MaxReverts, e.Spec.Soak = rapid.IntRange(0, 2).Draw(t, "reverts"), pick(t, "soak", []time.Duration{0, time.Minute, 2 * time.Hour})
	e.Spec.OnFailure = pick(t, "on failure", []promotion.OnFailure{promotion.FailureRevert, promotion.FailureHold})
	e.Spec.Drift = pick(t, "drift", []promotion.Drift{promotion.DriftCorrect, promotion.DriftReport})
	if flip(t, "pinned") {
		e.Spec.Pinned, e.Spec.Pin, e.Spec.Proposes = true, pick(t, "pin", someRevisions), flip(t, "proposes")
	}
	e.Fault, e.Drifted, e.Rewritten, e.Moved = pick(t, "fault", someFaults), flip(t, "drifted"), rapid.IntRange(0, 5).Draw(t, "rewritten") == 0, rapid.IntRange(0, 9).Draw(t, "moved") == 0
	e.Contended = flip(t, "contended")
	e.Blind = pick(t, "blind", []promotion.Reason{"", promotion.ClusterUnavailable, promotion.DriftUnknown})
	e.Requests.Paused, e.Requests.Retry = rapid.IntRange(0, 9).Draw(t, "paused") == 0, pick(t, "retry", []string{"", "", "r1"})
	if flip(t, "postponed") {
		e.EvaluateAt, e.AskAt = drawTime(t, "evaluate"), drawTime(t, "ask")
	}
	j := &e.Journal
	j.LastGood, j.Running = drawRelease(t, "last good"), drawRelease(t, "running")
	j.Quarantine, j.Unapplied = drawDigests(t, "quarantine"), drawDigests(t, "unapplied")
	for range rapid.IntRange(0, 2).Draw(t, "verified") {
		if r := drawRelease(t, "verified"); r.Digest != "" {
			j.Verified = append(j.Verified, Verified{Release: r, At: drawTime(t, "at")})
		}
	}
	j.Hold = Hold{Reason: pick(t, "hold", someHolds), Digest: pick(t, "held", someDigests)}
	j.Retry = Retry{Reason: promotion.ClusterUnavailable, Digest: pick(t, "retried", someDigests), At: drawTime(t, "again"), Tries: rapid.IntRange(0, 2).Draw(t, "tried")}
	j.Run = Run{At: drawTime(t, "run"), Digest: pick(t, "ran", someDigests)}
	drawAttempt(t, &e)
	for range rapid.IntRange(0, 4).Draw(t, "candidates") {
		c := drawCandidate(t, &e)
		if !slices.ContainsFunc(e.Candidates, func(k Candidate) bool { return k.Release.Revision == c.Release.Revision }) {
			e.Candidates = append(e.Candidates, c)
		}
	}
	return e
}

func drawWorld(t *rapid.T) World {
	w := World{Now: noon, Head: "c4", History: []source.Revision{"c4", "c3", "c2", "c1"}, Policy: pick(t, "bundle", somePolicies)}
	if rapid.IntRange(0, 4).Draw(t, "source") == 0 {
		w.SourceFault = promotion.SourceUnavailable
	}
	for _, pipeline := range []string{"a", "b"} {
		w.Environments = append(w.Environments, drawEnvironment(t, pipeline, someNames[0], nil),
			drawEnvironment(t, pipeline, someNames[1], someNames[2:]), drawEnvironment(t, pipeline, someNames[2], someNames[:1]))
	}
	return w
}

// Whatever the world: the decision breaks no rule, is the same each time, gives
// each environment its reason, and looks again at a time that is to come.
func TestDecisionsInAnyWorld(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		w := drawWorld(t)
		d := Decide(w)
		if violations := Violations(w, d); len(violations) > 0 {
			t.Fatal(violations)
		}
		if again := Decide(w); !reflect.DeepEqual(d, again) {
			t.Fatalf("decided twice: %+v and %+v", d, again)
		}
		if len(d.Statuses) != len(w.Environments) || !d.LookAgain.IsZero() && !d.LookAgain.After(w.Now) {
			t.Fatalf("%d statuses, look again at %s", len(d.Statuses), d.LookAgain)
		}
		for i, s := range d.Statuses {
			if s.Environment != w.Environments[i].ID || s.Reason == "" || s.Phase == "" {
				t.Fatalf("%+v for %s", s, w.Environments[i].ID)
			}
		}
	})
}

// What is contended is told, and that is all: nothing is done or left undone for
// it, and an environment is no less ready.
func TestContendedDecidesNothing(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		w := drawWorld(t)
		if flip(t, "at rest") {
			w = world("c3", running("dev", "c1", "d1").with(allow(string(pick(t, "newest", someRevisions[1:])), string(pick(t, "digest", someDigests)))))
		}
		fought := w
		fought.Environments = slices.Clone(w.Environments)
		for i := range w.Environments {
			w.Environments[i].Contended, fought.Environments[i].Contended = false, true
		}
		d, f := Decide(w), Decide(fought)
		if !reflect.DeepEqual(d.Actions, f.Actions) || !d.LookAgain.Equal(f.LookAgain) {
			t.Fatalf("does %+v, and %+v where something is contended", d.Actions, f.Actions)
		}
		for i := range d.Statuses {
			s, now := d.Statuses[i], f.Statuses[i]
			if now.Reason == promotion.Contended {
				now.Reason = s.Reason
			}
			if s != now {
				t.Fatalf("is %+v, and %+v where something is contended", s, now)
			}
		}
	})
}

// Nor is it for what cannot be looked at; but then nothing is said to be ready.
func TestBlindDecidesNothing(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		w := drawWorld(t)
		if flip(t, "at rest") {
			w = world("c3", running("dev", "c1", "d1").with(allow(string(pick(t, "newest", someRevisions[1:])), string(pick(t, "digest", someDigests)))))
		}
		blind := w
		blind.Environments = slices.Clone(w.Environments)
		for i := range w.Environments {
			w.Environments[i].Blind, blind.Environments[i].Blind = "", promotion.ClusterUnavailable
		}
		d, b := Decide(w), Decide(blind)
		if !reflect.DeepEqual(d.Actions, b.Actions) || !d.LookAgain.Equal(b.LookAgain) {
			t.Fatalf("does %+v, and %+v where it cannot look", d.Actions, b.Actions)
		}
		for i := range d.Statuses {
			s, now := d.Statuses[i], b.Statuses[i]
			resting := w.Environments[i].Journal.Attempt.Stage == StageNone
			if resting && s.Phase == PhaseReady {
				s.Phase, s.Reason = PhaseWaiting, promotion.ClusterUnavailable
			}
			if s != now {
				t.Fatalf("is %+v, and %+v where it cannot look", s, now)
			}
		}
	})
}

// One pipeline decides nothing about another.
func TestPipelinesDoNotTouchEachOther(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		w := drawWorld(t)
		both := Decide(w)
		alone := w
		alone.Environments = w.Environments[3:]
		second := Decide(alone)
		if !reflect.DeepEqual(both.Statuses[3:], second.Statuses) {
			t.Fatalf("%+v beside another pipeline, %+v alone", both.Statuses[3:], second.Statuses)
		}
		var actions []Action
		for _, a := range both.Actions {
			if a.Environment.Pipeline == "b" {
				actions = append(actions, a)
			}
		}
		if len(actions) != len(second.Actions) || len(actions) > 0 && !reflect.DeepEqual(actions, second.Actions) {
			t.Fatalf("%+v beside another pipeline, %+v alone", actions, second.Actions)
		}
	})
}

// Any outcome of anything that was decided leaves a world in which the next
// decision breaks no rule, and touches no other environment.
func TestOutcomesInAnyWorld(t *testing.T) {
	t.Parallel()
	outcomes := []Outcome{OutcomeDone, OutcomeRetry, OutcomeRejected, OutcomeFailed, OutcomeError, OutcomeNoData, OutcomeInterrupted, OutcomeAlready, OutcomeConflict}
	rapid.Check(t, func(t *rapid.T) {
		w := drawWorld(t)
		for range rapid.IntRange(1, 6).Draw(t, "steps") {
			d := Decide(w)
			if len(d.Actions) == 0 {
				return
			}
			a := pick(t, "action", d.Actions)
			r := Result{Action: a, Outcome: pick(t, "outcome", outcomes), Reason: promotion.ApplyFailed, Commit: pick(t, "commit", someRevisions)}
			for i := range w.Environments {
				if a.Kind == ActionEvaluate && w.Environments[i].ID == a.Environment {
					r.Candidate = drawCandidate(t, &w.Environments[i])
					r.Candidate.Release.Revision = a.Release.Revision
				}
			}
			after := Observe(Begin(w, a), r)
			for i := range w.Environments {
				if e := w.Environments[i]; e.ID != a.Environment && !reflect.DeepEqual(e, after.Environments[i]) {
					t.Fatalf("%s of %s changes %s", a.Kind, a.Environment, e.ID)
				}
			}
			if w = after; a.Kind == ActionEvaluate {
				continue
			}
			if violations := Violations(w, Decide(w)); len(violations) > 0 {
				t.Fatalf("after %s %s: %v", a.Kind, r.Outcome, violations)
			}
		}
	})
}

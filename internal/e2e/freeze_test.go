package e2e

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"chaperone.dev/chaperone/internal/promotion"
	"chaperone.dev/chaperone/internal/reconcile"
)

// freezing is an environment that is frozen from one time to another.
func freezing(from, to time.Time) stop {
	return stop{pipeline: "demo", name: "development", extra: usualVerify + fmt.Sprintf("  promotion:\n    freezes:\n      - {name: closing, from: %q, to: %q}\n",
		from.UTC().Format(time.RFC3339), to.UTC().Format(time.RFC3339))}
}

// freeze commits a freeze between two times.
func (w *world) freeze(from, to time.Time) {
	w.Helper()
	s := freezing(from, to)
	w.push("freeze", map[string]string{s.path(): s.file(w.namespaces[development.String()], "")})
}

// shortly is a time that a file can name, some seconds ahead.
func shortly(d time.Duration) time.Time { return time.Now().Add(d + time.Second).Truncate(time.Second) }

// A freeze begins while a release is being verified, and the release fails. Last
// good is restored all the same; the commit is taken back only when the freeze
// is over, once, though the daemon is killed meanwhile.
func TestFreezeHoldsARevert(t *testing.T) {
	quick(t)
	w := newWorld(t, alone())
	m := w.mortal()
	w.awaitRuns(development, w.first)
	half, on := make(chan struct{}), make(chan struct{})
	w.api.set(once(func(c call) fate {
		if !c.changes(w.namespaces[development.String()], "deployments/app") {
			return fate{}
		}
		return fate{then: func() { close(half); <-on }}
	}))
	bad := badStory.begin(w)
	w.awaitDone("the apply to be under way", half)
	begins := shortly(0)
	w.freeze(begins, begins.Add(time.Hour))
	w.awaitSeen(m.process.Load())
	time.Sleep(time.Until(begins))
	close(on)
	w.await("the failure", func() bool { return w.record(development).Journal.Attempt.Failure == promotion.VerificationFailed })
	w.await("last good to be restored in the freeze", func() bool { return w.runs(development) == "1.0.0" })
	r := w.awaitReason(development, promotion.Frozen)
	if r.Journal.Attempt.Guilty != bad || r.Status.Phase != reconcile.PhaseWaiting || !strings.Contains(r.Message, begins.Add(time.Hour).Format(time.RFC3339)) {
		t.Errorf("%s: %q with journal %+v; want the revert to wait for the end of the freeze", r.Status.Phase, r.Message, r.Journal)
	}
	m.reborn()
	m.untouched(development)

	ends := shortly(3 * time.Second)
	w.freeze(begins, ends)
	before := w.refs()
	m.untouchedUntil(development, ends)
	w.await("the revert", func() bool { return w.refs() != before })
	w.awaitRuns(development, w.head())
	if reverts := w.reverts(); len(reverts) != 1 {
		t.Errorf("%d reverts, want one", len(reverts))
	}
	if file := w.repo.File(t, "main", "base/demo/deployment.yaml"); file != deployment("1.0.0") {
		t.Errorf("the revert leaves %s", file)
	}
	w.wantApp(development, "1.0.0")
}

// A freeze begins when a good release is half applied, and the daemon is killed
// there. What was begun is taken back, for nothing may be left half done, and
// comes in when the freeze is over.
func TestFreezeInTheMiddleOfAnApply(t *testing.T) {
	quick(t)
	w := newWorld(t, alone())
	m := w.mortal()
	w.awaitRuns(development, w.first)
	wait := m.doom("half applied", w.changing(development, after, "configmaps", "app-"))
	goodStory.begin(w)
	wait()
	if len(w.greetings(development)) != 2 {
		t.Fatalf("killed with %v, want it half applied", w.greetings(development))
	}
	began := time.Now().Add(-time.Minute)
	w.freeze(began, began.Add(time.Hour))
	m.revive()
	w.awaitReason(development, promotion.Frozen)
	w.await("what was begun to be taken back", func() bool { return len(w.greetings(development)) == 1 && w.uses(development) == "hello" })
	w.wantApp(development, "1.0.0")
	w.await("it to be at rest", func() bool { return w.record(development).Journal.Attempt.Stage == reconcile.StageNone })
	m.reborn()
	m.untouched(development)

	ends := shortly(3 * time.Second)
	w.freeze(began, ends)
	m.untouchedUntil(development, ends)
	goodStory.end(w, w.head())
}

// A freeze that begins when a release is verified keeps it from being pruned.
func TestFreezeHoldsAPrune(t *testing.T) {
	quick(t)
	w := newWorld(t, alone())
	m := w.mortal()
	w.awaitRuns(development, w.first)
	wait := m.doom("about to prune", staged(development, after, reconcile.StagePruning))
	goodStory.begin(w)
	wait()
	began := time.Now().Add(-time.Minute)
	w.freeze(began, began.Add(time.Hour))
	m.revive()
	w.awaitReason(development, promotion.Frozen)
	m.untouched(development)
	if len(w.greetings(development)) != 2 || w.runs(development) != "2.0.0" {
		t.Errorf("runs %s with %v, want both config maps", w.runs(development), w.greetings(development))
	}
	ends := shortly(2 * time.Second)
	w.freeze(began, ends)
	m.untouchedUntil(development, ends)
	goodStory.end(w, w.head())
}

// scheduled is an environment whose changes start by a cron expression.
func scheduled(cron string) stop {
	return stop{pipeline: "demo", name: "development", extra: usualVerify + fmt.Sprintf("  promotion: {mode: schedule, schedule: %q}\n", cron)}
}

// Changes wait for the schedule, and say until when, also after a kill. An
// urgent one starts at once and is finished by the next daemon when its own is
// killed in the middle; what follows it waits again, and starts when the
// schedule fires.
func TestScheduleIsKept(t *testing.T) {
	quick(t)
	next := time.Now().UTC().Add(12 * time.Hour).Truncate(time.Minute)
	s := scheduled(fmt.Sprintf("%d %d * * *", next.Minute(), next.Hour()))
	w := newWorld(t, []stop{s})
	m := w.mortal()
	w.awaitReason(development, promotion.WaitingForSchedule)
	w.says(development, next.Format(time.RFC3339))
	m.reborn()
	m.untouched(development)
	if w.app(development) != nil {
		t.Error("it runs something")
	}

	wait := m.doom("in the middle of the urgent apply", w.changing(development, after, "deployments", "app"))
	urgent := w.push("fix logins\n\nChaperone-Urgent: true\n", version("1.0.1"))
	wait()
	m.revive()
	w.awaitRuns(development, urgent)
	w.wantApp(development, "1.0.1")

	later := w.push("say good day", greeting("good day"), version("2.0.0"))
	w.await("the next change to wait", func() bool {
		r := w.record(development)
		return r.Status.Reason == promotion.WaitingForSchedule && r.Status.Wanted.Revision == later
	})
	m.untouched(development)
	wait = m.doom("in the middle of the scheduled apply", w.changing(development, after, "configmaps", "app-"))
	s = scheduled("* * * * *")
	fires := w.push("every minute", map[string]string{s.path(): s.file(w.namespaces[development.String()], "")})
	wait()
	m.revive()
	goodStory.end(w, fires)
}

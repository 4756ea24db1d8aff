package e2e

import (
	"sync/atomic"
	"testing"

	"chaperone.dev/chaperone/internal/reconcile"
	"chaperone.dev/chaperone/internal/source"
)

// story is a change, and how it must end however often the daemon dies.
type story struct {
	begin func(*world) source.Revision // what is wanted afterwards; "" for the revert of it
	end   func(*world, source.Revision)
}

var (
	// A good change goes through, its prune included.
	goodStory = story{
		begin: func(w *world) source.Revision {
			return w.push("say good day", greeting("good day"), version("2.0.0"))
		},
		end: func(w *world, next source.Revision) {
			w.Helper()
			w.awaitRuns(development, next)
			w.wantApp(development, "2.0.0")
			if texts := w.greetings(development); len(texts) != 1 {
				w.Errorf("config maps %v are there, want one", texts)
			}
			if reverts := w.reverts(); len(reverts) != 0 {
				w.Errorf("reverted: %v", reverts)
			}
		},
	}
	// A bad one is taken back once.
	badStory = story{
		begin: func(w *world) source.Revision { return w.push("break it", version("2.0.0-errors-100")) },
		end: func(w *world, bad source.Revision) {
			w.Helper()
			w.await("a revert", func() bool { return w.head() != bad })
			w.awaitRuns(development, w.head())
			w.wantRevert(bad, w.first, development, "answered 500")
			w.wantApp(development, "1.0.0")
		},
	}
	// Of two commits between two polls, the bad one is taken back once.
	severalStory = story{
		begin: func(w *world) source.Revision {
			w.git.Down()
			w.push("say good day", greeting("good day"))
			bad := w.push("break it", version("2.0.0-errors-100"))
			w.git.Up(w.T)
			return bad
		},
		end: func(w *world, bad source.Revision) {
			w.Helper()
			w.await("a revert", func() bool { return w.head() != bad })
			w.awaitRuns(development, w.head())
			w.wantTakenBack(bad, bad, "base/demo/deployment.yaml")
			w.wantApp(development, "1.0.0")
			w.kept("the good commit's text", "good day", w.uses(development))
		},
	}
	// What was changed by hand is put back.
	driftStory = story{
		begin: func(w *world) source.Revision {
			w.edit(development, func(d *deploymentObject) { d.Spec.Template.Spec.Containers[0].Image = image("by-hand") })
			return w.first
		},
		end: func(w *world, first source.Revision) {
			w.Helper()
			w.await("the image to be put back", func() bool { return w.runs(development) == "1.0.0" })
			w.awaitRuns(development, first)
			w.wantApp(development, "1.0.0")
		},
	}
)

// kill -9 at each journaled step: once when the stage has just been stored and
// nothing was done yet, and once when all was done and nothing of it stored.
// The next start takes it up; at most one revert comes of it.
func TestKilledAtEachStage(t *testing.T) {
	quick(t)
	for _, test := range []struct {
		stage reconcile.Stage
		story story
	}{
		{reconcile.StageApplying, goodStory},
		{reconcile.StageVerifying, goodStory},
		{reconcile.StagePruning, goodStory},
		{reconcile.StageUndoing, migrationStory},
		{reconcile.StageRestoring, badStory},
		{reconcile.StageProving, badStory},
		{reconcile.StageBlaming, badStory},
		{reconcile.StageBisecting, severalStory},
		{reconcile.StageReverting, badStory},
		{reconcile.StageCorrecting, driftStory},
	} {
		t.Run(string(test.stage), func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, alone())
			settings := w.settings(nil)
			var victim atomic.Pointer[process]
			victim.Store(w.spawn(settings))
			w.awaitRuns(development, w.first)

			begun := make(chan struct{})
			kill := func(done chan struct{}) func() {
				return func() { victim.Load().kill(); close(done) }
			}
			w.api.set(once(stages(development, reconcile.StageNone, func(_, to reconcile.Stage) fate {
				if to != test.stage {
					return fate{}
				}
				return fate{lose: true, sent: true, then: kill(begun)}
			})))
			wanted := test.story.begin(w)
			w.awaitDeath(begun, "when %s is stored", test.stage)
			if stage := w.record(development).Journal.Attempt.Stage; stage != test.stage {
				t.Fatalf("killed at stage %q, want %q", stage, test.stage)
			}

			ended := make(chan struct{})
			w.api.set(once(stages(development, test.stage, func(from, _ reconcile.Stage) fate {
				if from != test.stage {
					return fate{}
				}
				return fate{lose: true, then: kill(ended)}
			})))
			victim.Store(w.spawn(settings))
			w.awaitDeath(ended, "before the outcome of %s is stored", test.stage)
			if stage := w.record(development).Journal.Attempt.Stage; stage != test.stage {
				t.Fatalf("killed a second time at stage %q, want %q", stage, test.stage)
			}

			w.api.set(nil)
			w.spawn(settings)
			test.story.end(w, wanted)
			if n := len(w.reverts()); n > 1 {
				t.Errorf("%d reverts", n)
			}
		})
	}
}

func (w *world) awaitDeath(dead <-chan struct{}, when string, stage reconcile.Stage) {
	w.Helper()
	w.await("the daemon to die "+string(stage)+" ("+when+")", func() bool {
		select {
		case <-dead:
			return true
		default:
			return false
		}
	})
}

// kill -9 in the middle of an apply, with one object changed and the next not:
// the next start finishes it.
func TestKilledInTheMiddleOfAnApply(t *testing.T) {
	quick(t)
	w := newWorld(t, alone())
	settings := w.settings(nil)
	first := w.spawn(settings)
	w.awaitRuns(development, w.first)
	dead := make(chan struct{})
	w.api.set(once(func(c call) fate {
		if !c.changes(w.namespaces[development.String()], "configmaps/app-") {
			return fate{}
		}
		return fate{lose: true, sent: true, then: func() { first.kill(); close(dead) }}
	}))
	next := w.push("say good day", greeting("good day"), version("2.0.0"))
	w.awaitDeath(dead, "between two objects", reconcile.StageApplying)
	if w.runs(development) != "1.0.0" || len(w.greetings(development)) != 2 {
		t.Fatalf("runs %s with %v; want it half applied", w.runs(development), w.greetings(development))
	}
	w.api.set(nil)
	w.spawn(settings)
	goodStory.end(w, next)
}

// The power fails again and again: the daemon never finishes more than one
// step before it is killed, and the change is taken back all the same.
func TestKilledAfterEachStep(t *testing.T) {
	quick(t)
	w := newWorld(t, alone())
	settings := w.settings(nil)
	var victim atomic.Pointer[process]
	victim.Store(w.spawn(settings))
	w.awaitRuns(development, w.first)
	deaths := make(chan reconcile.Stage, 100)
	w.api.set(stages(development, reconcile.StageNone, func(_, to reconcile.Stage) fate {
		return fate{lose: true, sent: true, then: func() { victim.Load().kill(); deaths <- to }}
	}))
	bad := badStory.begin(w)
	var seen []reconcile.Stage
	for len(seen) == 0 || seen[len(seen)-1] != reconcile.StageNone {
		var stage reconcile.Stage
		w.await("the next death", func() bool {
			select {
			case stage = <-deaths:
				return true
			default:
				return false
			}
		})
		seen = append(seen, stage)
		victim.Store(w.spawn(settings))
	}
	if len(seen) < 7 {
		t.Errorf("died at %v; want every stage of a failing release", seen)
	}
	w.api.set(nil)
	badStory.end(w, bad)
}

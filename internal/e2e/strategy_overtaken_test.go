package e2e

import (
	"fmt"
	"testing"
	"time"

	"chaperone.dev/chaperone/internal/promotion"
	"chaperone.dev/chaperone/internal/reconcile"
	"chaperone.dev/chaperone/internal/source"
)

// A newer commit does not wait for the steps of the one before it, whichever of
// them that has come to. Nobody is sent away meanwhile; a newer one that is bad is
// found out as if there had been none before it, by the checks alone where its
// strategy has it so.
func TestOvertakenAtEachStep(t *testing.T) {
	onEachCourse(t, func(t *testing.T, c course, s *stepped) {
		s.start()
		s.awaitRuns(development, s.first)
		for _, step := range []int{1, (c.steps + 1) / 2, c.steps} {
			s.call()
			s.overtaken(step, fmt.Sprintf("2.%d.0", step))
			tag := fmt.Sprintf("2.%d.1", step)
			next := s.push("the next", s.made(version(tag)))
			s.awaitRuns(development, next)
			s.wantApp(development, tag)
			s.wantNoCopies(development)
			s.wantServed(time.Time{}, time.Time{})
		}
		s.call()
		first := s.overtaken(2, "3.0.0")
		pushed := time.Now()
		bad := s.push("a bad one", s.made(version("3.0.1-errors-100")))
		s.await("a revert", func() bool { return s.head() != bad })
		s.awaitRuns(development, s.head())
		s.wantApp(development, "3.0.0")
		s.wantNoCopies(development)
		if taken, _ := s.reverts()[0].Reverts(); taken != bad || s.tree(s.head()) != s.tree(first) || len(s.reverts()) != 1 {
			t.Fatalf("%d reverts, the last of %s, want of %s alone", len(s.reverts()), taken, bad)
		}
		until := time.Now()
		if c.hidden > 0 {
			until = pushed
		}
		s.wantServed(pushed, until)
	})
}

// overtaken begins a good release, and returns once it is verified in a step.
func (s *stepped) overtaken(step int, tag string) source.Revision {
	s.Helper()
	first := s.push("the first", s.made(version(tag)))
	s.await(fmt.Sprintf("step %d", step), func() bool {
		a := s.record(development).Journal.Attempt
		return a.Release.Revision == first && a.Step == step && a.Stage == reconcile.StageVerifying
	})
	return first
}

// The environment's file says another strategy, or none any more, while a release
// is on its way: it gets to run by what the file says now, and nobody is sent away.
func TestStrategyChangesOnTheWay(t *testing.T) {
	quick(t)
	for _, next := range []struct{ name, extra string }{{"to blue-green", blueGreen}, {"to none", usualVerify}, {"to pods", canary}} {
		t.Run(next.name, func(t *testing.T) {
			t.Parallel()
			c := courses[2]
			s := c.world(t)
			s.start()
			s.awaitRuns(development, s.first)
			s.call()
			s.overtaken(3, "2.0.0")
			changed := stop{pipeline: "demo", name: "development", extra: next.extra}
			second := s.push("another strategy", map[string]string{changed.path(): changed.file(s.namespaces[development.String()], "")})
			s.awaitRuns(development, second)
			s.wantUnnoticed("2.0.0")
		})
	}
}

// A person pauses the environment in the middle: nothing goes on, and everybody is
// served, until it is resumed.
func TestPausedOnTheWay(t *testing.T) {
	onEachCourse(t, func(t *testing.T, c course, s *stepped) {
		m := s.mortal()
		s.awaitRuns(development, s.first)
		s.call()
		good := s.overtaken(2, "2.0.0")
		s.pause(development, "the auditors are here")
		s.awaitReason(development, promotion.Paused)
		m.reborn()
		m.untouched(development)
		s.resume(development)
		s.awaitRuns(development, good)
		s.wantApp(development, "2.0.0")
		s.wantNoCopies(development)
		s.wantServed(time.Time{}, time.Time{})
	})
}

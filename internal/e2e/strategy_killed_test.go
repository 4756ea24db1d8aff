package e2e

import (
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"chaperone.dev/chaperone/internal/reconcile"
	"chaperone.dev/chaperone/internal/state"
)

// places are where a daemon is on its way through the steps of a release: what it
// has stored last, and whether it has begun to change workloads since.
type places struct {
	namespace string
	last      string
	changed   bool
}

func placeOf(a reconcile.Attempt) string { return fmt.Sprintf("%s %d", a.Stage, a.Step) }

// next tells of a place when a call leads to one that is new; "" is none.
func (p *places) next(c call) string {
	if journal, is := c.stored(state.ObjectName(development)); is {
		now := placeOf(journal.Attempt)
		if now == p.last {
			return ""
		}
		p.last, p.changed = now, false
		return now
	}
	changes := slices.ContainsFunc([]string{"deployments/", "services/", "httproutes/"}, func(kind string) bool { return c.changes(p.namespace, kind) })
	if p.changed || !changes {
		return ""
	}
	p.changed = true
	return p.last + " changing"
}

// atRest is before anything is begun: what is stored of that is no new place.
func (s *stepped) atRest() *places {
	return &places{namespace: s.namespaces[development.String()], last: placeOf(reconcile.Attempt{})}
}

// at calls do at every new place while a release is under way, once the server
// has done what leads there.
func (s *stepped) at(do func(place string) fate) {
	p := s.atRest()
	s.api.set(func(c call) fate {
		if place := p.next(c); place != "" {
			return do(place)
		}
		return fate{}
	})
}

// killedOnTheWay has a daemon that never gets further than one place, until its
// attempt is over, and returns the places.
func (s *stepped) killedOnTheWay(begin func()) []string {
	s.Helper()
	settings := s.settings(nil)
	var victim atomic.Pointer[process]
	victim.Store(s.spawn(settings))
	s.awaitRuns(development, s.first)
	deaths := make(chan string, 200)
	s.at(func(place string) fate {
		return fate{lose: true, sent: true, then: func() { victim.Load().kill(); deaths <- place }}
	})
	begin()
	var seen []string
	for len(seen) == 0 || !strings.HasPrefix(seen[len(seen)-1], string(reconcile.StageNone)+" ") {
		s.await("the next death", func() bool {
			select {
			case place := <-deaths:
				seen = append(seen, place)
				return true
			default:
				return false
			}
		})
		victim.Store(s.spawn(settings))
	}
	s.api.set(nil)
	return seen
}

// Killed at each step, after each thing that is stored and in the middle of each
// apply: the next daemon goes on where the one before was. A good release gets to
// run, and nobody notices; nothing is done twice, and nothing is left behind.
func TestKilledAtEachStepOfAGoodRelease(t *testing.T) {
	onEachCourse(t, func(t *testing.T, c course, s *stepped) {
		good := s.first
		seen := s.killedOnTheWay(func() {
			s.call()
			good = s.push("a good one", s.made(version("2.0.0")))
		})
		for step := 1; step <= c.steps; step++ {
			for _, place := range []string{"%s %d", "%s %d changing"} {
				if want := fmt.Sprintf(place, reconcile.StageApplying, step); !slices.Contains(seen, want) {
					t.Errorf("was not killed when %s; at %q", want, seen)
				}
			}
			if want := fmt.Sprintf("%s %d", reconcile.StageVerifying, step); !slices.Contains(seen, want) {
				t.Errorf("was not killed when %s; at %q", want, seen)
			}
		}
		s.awaitRuns(development, good)
		s.wantUnnoticed("2.0.0")
	})
}

// Killed all along a release that turns bad in its second step: last good is back,
// and the commit taken back once.
func TestKilledAllAlongABadRelease(t *testing.T) {
	onEachCourse(t, func(t *testing.T, c course, s *stepped) {
		bad := s.first
		var turned time.Time
		var spoiling func()
		seen := s.killedOnTheWay(func() {
			s.call()
			turned, spoiling = time.Now(), s.spoilFrom(2, "2.0.0")
			bad = s.push("a bad one", s.made(version("2.0.0")))
		})
		spoiling()
		s.wantTakenBack(bad, s.first, 1, 2)
		back := time.Now()
		time.Sleep(500 * time.Millisecond)
		s.wantServed(turned, back)
		for _, stage := range []reconcile.Stage{reconcile.StageRestoring, reconcile.StageProving, reconcile.StageReverting} {
			if want := fmt.Sprintf("%s 2", stage); !slices.Contains(seen, want) {
				t.Errorf("was not killed while %s; at %q", stage, seen)
			}
		}
	})
}

// The API server is away whenever a release comes to another step, for longer than
// a request is tried again. That is no fault of the release: it gets to run, and
// nobody notices.
func TestServerAwayAtEachStep(t *testing.T) {
	onEachCourse(t, func(t *testing.T, c course, s *stepped) {
		s.start()
		s.awaitRuns(development, s.first)
		s.call()
		var until atomic.Pointer[time.Time]
		away := make(map[string]bool)
		p := s.atRest()
		s.api.set(func(call call) fate {
			if end := until.Load(); end != nil && time.Now().Before(*end) {
				return fate{lose: true}
			}
			place := p.next(call)
			if !strings.HasSuffix(place, " changing") && !strings.HasPrefix(place, string(reconcile.StageVerifying)) {
				return fate{}
			}
			away[place] = true
			return fate{lose: true, sent: strings.HasSuffix(place, "changing"), then: func() {
				end := time.Now().Add(3 * time.Second)
				until.Store(&end)
			}}
		})
		good := s.push("a good one", s.made(version("2.0.0")))
		s.awaitRuns(development, good)
		s.api.set(nil)
		for step := 1; step <= c.steps; step++ {
			for _, place := range []string{fmt.Sprintf("%s %d", reconcile.StageVerifying, step), fmt.Sprintf("%s %d changing", reconcile.StageApplying, step)} {
				if !away[place] {
					t.Errorf("was not away when %s; when %v", place, away)
				}
			}
		}
		s.wantUnnoticed("2.0.0")
	})
}

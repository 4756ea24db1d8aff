package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"chaperone.dev/chaperone/internal/reconcile"
	"chaperone.dev/chaperone/internal/source"
	"chaperone.dev/chaperone/internal/state"
)

const canaryByRoute = usualVerify + `  strategies:
    - workload: Deployment/app
      canary: {service: app, route: HTTPRoute/app, steps: [{weight: 20, for: 1s}, {weight: 50, for: 1s}]}
`

// course is a strategy, and what of it people may notice.
type course struct {
	name, extra string
	apart       bool // the workload's pods are told apart
	routed      bool // people ask by the host name of a route
	steps       int
	hidden      int // steps before anybody but the checks asks the new version
}

var courses = []course{
	{"blue-green", blueGreen, true, false, 4, 1},
	{"canary by pods", canary, false, false, 3, 0},
	{"canary by route", canaryByRoute, true, true, 5, 1},
}

// stepped is a world in which a course is gone.
type stepped struct {
	*world
	course
	calls *caller
}

// onEachCourse tells a story in a world of its own for each.
func onEachCourse(t *testing.T, story func(t *testing.T, c course, s *stepped)) {
	quick(t)
	for _, c := range courses {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			story(t, c, c.world(t))
		})
	}
}

// wantUnnoticed: a version runs, nothing of its copy is left, nobody was sent away
// on its way, and nothing was taken back.
func (s *stepped) wantUnnoticed(version string) {
	s.Helper()
	s.wantApp(development, version)
	s.wantNoCopies(development)
	s.wantServed(time.Time{}, time.Time{})
	if reverts := s.reverts(); len(reverts) != 0 {
		s.Errorf("reverted: %v", reverts)
	}
}

func (c course) world(t *testing.T) *stepped {
	t.Helper()
	s := &stepped{course: c}
	s.world = newWorld(t, []stop{{pipeline: "demo", name: "development", extra: c.extra + "  maxRevertsPerDay: 20\n"}}, s.made(base("demo")))
	if c.routed {
		s.first = s.push("route", map[string]string{
			"base/demo/kustomization.yaml": kustomization("deployment.yaml", "service.yaml", "route.yaml"),
			"base/demo/route.yaml": fmt.Sprintf(`apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: app}
spec:
  parentRefs: [{name: public}]
  hostnames: [%s]
  rules: [{backendRefs: [{name: app, port: 80}]}]
`, s.host())})
	}
	return s
}

func (s *stepped) made(change map[string]string) map[string]string {
	if s.apart {
		return toldApart(change)
	}
	return change
}

func (s *stepped) host() string { return s.namespaces[development.String()] + ".example.org" }

// call has somebody ask as everybody does.
func (s *stepped) call() {
	s.Helper()
	if s.routed {
		s.calls = s.callAt("http://" + s.host() + "/")
		return
	}
	s.calls = s.world.call(development)
}

// wantServed makes sure that nobody was sent away but between two times, and
// returns how many were.
func (s *stepped) wantServed(from, to time.Time) int {
	s.Helper()
	asked, wrong := s.calls.end()
	if asked == 0 {
		s.Error("nobody asked")
	}
	for i, at := range s.calls.when {
		if at.Before(from) || at.After(to) {
			s.Errorf("%d of %d requests went wrong; %s, where none should, in what was allowed from %s to %s", len(wrong), asked, wrong[i],
				from.Format("05.000"), to.Format("05.000"))
			break
		}
	}
	return len(wrong)
}

// spoil makes all pods of a version fail from now on, and those that come.
func (s *stepped) spoil(ctx context.Context, tag string) {
	pods := s.client.CoreV1().Pods(s.namespaces[development.String()])
	patch, err := json.Marshal(map[string]any{"metadata": map[string]any{"annotations": map[string]string{"local.chaperone.dev/behavior": "errors-100"}}})
	if err != nil {
		return
	}
	for ctx.Err() == nil {
		list, err := pods.List(ctx, metav1.ListOptions{})
		if err != nil {
			continue
		}
		for _, pod := range list.Items {
			if pod.Annotations["local.chaperone.dev/behavior"] == "" && slices.ContainsFunc(pod.Spec.Containers, func(c corev1.Container) bool { return c.Image == image(tag) }) {
				_, _ = pods.Patch(ctx, pod.Name, types.MergePatchType, patch, metav1.PatchOptions{}) // it may be gone
			}
		}
		time.Sleep(30 * time.Millisecond)
	}
}

// reaches says when a step is about to be begun.
func reaches(step int) func(call) bool {
	return func(c call) bool {
		journal, stored := c.stored(state.ObjectName(development))
		return stored && journal.Attempt.Step == step && journal.Attempt.Stage == reconcile.StageApplying
	}
}

// spoilAt spoils a version once its release comes to a step. The time is when.
func (s *stepped) spoilAt(step int, tag string) (since func() time.Time, stop func()) {
	s.Helper()
	var at atomic.Pointer[time.Time]
	ctx, cancel := context.WithCancel(s.Context())
	ended := make(chan struct{})
	begun := reaches(step)
	s.api.set(once(func(c call) fate {
		if !begun(c) {
			return fate{}
		}
		return fate{then: func() {
			now := time.Now()
			at.Store(&now)
			go func() { defer close(ended); s.spoil(ctx, tag) }()
		}}
	}))
	return func() time.Time {
			if got := at.Load(); got != nil {
				return *got
			}
			return time.Time{}
		}, func() {
			cancel()
			if at.Load() != nil {
				<-ended
			}
			s.api.set(nil)
		}
}

// spoilFrom spoils a version once the store knows its release to have come to a
// step, for who has another use for the calls of the daemon.
func (s *stepped) spoilFrom(step int, tag string) (stop func()) {
	ctx, cancel := context.WithCancel(s.Context())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for ctx.Err() == nil && s.record(development).Journal.Attempt.Step < step {
			time.Sleep(20 * time.Millisecond)
		}
		s.spoil(ctx, tag)
	}()
	return func() { cancel(); <-ended }
}

// wantTakenBack makes sure that a release was taken back in one step, and that
// nothing is left of it.
func (s *stepped) wantTakenBack(bad, good source.Revision, reverts, step int) {
	s.Helper()
	s.await("a revert", func() bool { return s.head() != bad })
	s.awaitRuns(development, s.head())
	found := s.reverts()
	if len(found) != reverts {
		s.Fatalf("%d reverts, want %d\n%s", len(found), reverts, s.scene())
	}
	taken, _ := found[0].Reverts()
	message := strings.Join(strings.Fields(found[0].Message), " ")
	if taken != bad || s.tree(s.head()) != s.tree(good) {
		s.Errorf("the head %s takes back %s, want %s and the tree of %s", s.head(), taken, bad, good)
	}
	for _, part := range []string{fmt.Sprintf("step %d of %d", step, s.course.steps), "answered 500"} {
		if !strings.Contains(message, part) {
			s.Errorf("the message does not say %q:\n%s", part, message)
		}
	}
	s.wantApp(development, "1.0.0")
	s.wantNoCopies(development)
}

// Whatever step it is in which a version turns out to be bad: it is taken back on
// the cluster and in Git, nothing of its copy is left, and nobody is sent away
// before it turned bad, nor after last good is back. Nobody notices at all what
// the checks find out by themselves.
func TestBadAtEachStep(t *testing.T) {
	onEachCourse(t, func(t *testing.T, c course, s *stepped) {
		s.start()
		s.awaitRuns(development, s.first)
		for step := 1; step <= c.steps; step++ {
			s.call()
			tag := fmt.Sprintf("2.0.%d", step)
			turned, stop := s.spoilAt(step, tag)
			bad := s.push(fmt.Sprintf("bad in step %d", step), s.made(version(tag)))
			s.wantTakenBack(bad, s.first, step, step)
			back := time.Now()
			from := turned()
			stop()
			time.Sleep(500 * time.Millisecond) // of calls that are all served again
			if step <= c.hidden {
				from = back
			}
			if wrong := s.wantServed(from, back); step > c.hidden && wrong == 0 {
				t.Errorf("nobody has noticed step %d: whoever asks does not see what it shows", step)
			}
		}
	})
}

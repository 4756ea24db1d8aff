package e2e

import (
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"chaperone.dev/chaperone/internal/promotion"
	"chaperone.dev/chaperone/internal/reconcile"
	"chaperone.dev/chaperone/internal/state"
)

// Somebody pauses an environment in the middle of a release, at its worst
// moments: half of it applied, verified but not pruned, failed and about to be
// taken back. Nothing moves, through kills and new commits, until it is resumed;
// then it goes on to the same end.
func TestPauseInTheMiddleOfARelease(t *testing.T) {
	quick(t)
	for _, test := range []struct {
		name  string
		story story
		at    func(*world) func(call) moment
	}{
		{"half applied", goodStory, func(w *world) func(call) moment { return w.changing(development, after, "configmaps", "app-") }},
		{"about to prune", goodStory, func(*world) func(call) moment { return staged(development, after, reconcile.StagePruning) }},
		{"about to restore", badStory, func(*world) func(call) moment { return staged(development, after, reconcile.StageRestoring) }},
		{"about to revert", badStory, func(*world) func(call) moment { return staged(development, after, reconcile.StageReverting) }},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, alone())
			m := w.mortal()
			w.awaitRuns(development, w.first)
			wait := m.doom(test.name, test.at(w))
			wanted := test.story.begin(w)
			wait()
			w.pause(development, "the auditors are here")
			stage := w.record(development).Journal.Attempt.Stage
			m.revive()
			w.awaitHeld(development, promotion.Paused)
			w.says(development, "paused by rita: the auditors are here")
			m.untouched(development)
			m.reborn()
			m.untouched(development)
			if r := w.record(development); r.Status.Reason != promotion.Paused || r.Journal.Attempt.Stage != stage {
				t.Errorf("paused at %q, and is %s/%s at %q", stage, r.Status.Phase, r.Status.Reason, r.Journal.Attempt.Stage)
			}
			w.resume(development)
			test.story.end(w, wanted)
		})
	}
}

// A pause ends by itself at the time that it names, and not before; one that
// nobody can read counts as one.
func TestPauseEndsAtItsTime(t *testing.T) {
	quick(t)
	w := newWorld(t, alone())
	m := w.mortal()
	w.awaitRuns(development, w.first)
	w.annotate(development, `{"chaperone.dev/pause": "until Monday"}`)
	w.awaitHeld(development, promotion.Paused)
	next := goodStory.begin(w)
	m.untouched(development)

	until := time.Now().Add(6 * time.Second).Truncate(time.Second)
	w.pause(development, "lunch", until)
	m.die()
	m.revive()
	m.untouchedUntil(development, until)
	goodStory.end(w, next)
}

// A release asks for more memory than its namespace may have, and fails, as one
// before it failed for its own fault. The limit is lifted, and the operator asks
// to try again: that lifts the one quarantine and starts one attempt, though the
// daemon is killed before the request is noted and again right after.
func TestRetryIsGrantedOnce(t *testing.T) {
	quick(t)
	w := newWorld(t, []stop{{pipeline: "demo", name: "development", extra: usualVerify + "  onFailure: hold\n"}})
	m := w.mortal()
	w.awaitRuns(development, w.first)
	w.push("break it", version("2.0.0-errors-100"))
	w.awaitHeld(development, promotion.RevertDisabled)
	broken := w.record(development).Journal.Quarantine
	lift := w.limitMemory(development)
	wanted := w.push("use more memory", withMemory("3.0.0"))
	var r state.Record
	w.await("that to fail, too", func() bool {
		r = w.record(development)
		return r.Status.Reason == promotion.RevertDisabled && len(r.Journal.Quarantine) == 2
	})
	w.wantApp(development, "1.0.0")
	lift()
	m.untouched(development)

	granted := func(j reconcile.Journal) bool { return strings.HasPrefix(j.Served, "retry-") }
	wait := m.doom("with the request not noted", journaled(development, before, granted))
	request := w.retry(development, "")
	wait()
	if j := w.record(development).Journal; len(j.Quarantine) != 2 || j.Served != "" {
		t.Fatalf("killed with the request served: %+v", j)
	}
	m.revive()
	wait = m.doom("with the attempt begun", journaled(development, after, func(j reconcile.Journal) bool {
		return j.Served == request && j.Attempt.Stage == reconcile.StageApplying
	}))
	wait()
	m.revive()
	r = w.awaitRuns(development, wanted)
	w.wantApp(development, "3.0.0")
	if !slices.Equal(r.Journal.Quarantine, broken) || r.Journal.Served != request {
		t.Errorf("served %q, with %v in quarantine; want %q and %v", r.Journal.Served, r.Journal.Quarantine, request, broken)
	}
	grants := 0
	served := ""
	for _, j := range w.api.stored(development) {
		if j.Served != served {
			grants, served = grants+1, j.Served
		}
	}
	if grants != 1 {
		t.Errorf("the request was granted %d times", grants)
	}
	if len(w.reverts()) != 0 || w.head() != wanted {
		t.Errorf("the branch was touched: %v", w.reverts())
	}
}

// withMemory is a version that needs 2 GiB.
func withMemory(tag string) map[string]string {
	change := version(tag)
	for name, content := range change {
		content = strings.Replace(content, "  replicas: 2\n", "  replicas: 2\n  progressDeadlineSeconds: 10\n", 1)
		change[name] = strings.Replace(content, "          ports:", "          resources: {limits: {memory: 2Gi}, requests: {memory: 2Gi}}\n          ports:", 1)
	}
	return change
}

// limitMemory keeps pods that need more than 1 GiB out, until it is lifted.
func (w *world) limitMemory(id promotion.ID) (lift func()) {
	w.Helper()
	limits := w.client.CoreV1().LimitRanges(w.namespaces[id.String()])
	limit := &corev1.LimitRange{ObjectMeta: metav1.ObjectMeta{Name: "memory"}, Spec: corev1.LimitRangeSpec{Limits: []corev1.LimitRangeItem{{
		Type: corev1.LimitTypeContainer, Max: corev1.ResourceList{corev1.ResourceMemory: resource.MustParse("1Gi")}}}}}
	if _, err := limits.Create(w.Context(), limit, metav1.CreateOptions{}); err != nil {
		w.Fatal(err)
	}
	return func() {
		w.Helper()
		if err := limits.Delete(w.Context(), limit.Name, metav1.DeleteOptions{}); err != nil {
			w.Fatal(err)
		}
	}
}

package e2e

import (
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"chaperone.dev/chaperone/internal/promotion"
	"chaperone.dev/chaperone/internal/state"
)

// A commit goes to development, and from there to staging once it is verified.
// Production moves when its pin does, and to nothing that staging never ran.
func TestCommitGoesFromDevelopmentToProduction(t *testing.T) {
	quick(t)
	w := newWorld(t, demo())
	w.start()
	w.awaitRuns(development, w.first)
	w.awaitRuns(staging, w.first)
	w.awaitReason(production, promotion.WaitingForPromotion)
	if w.app(production) != nil {
		t.Error("production runs something before its first promotion")
	}

	promoted := w.push("promote", w.pin(production, w.first))
	w.awaitRuns(production, w.first)
	w.awaitRuns(development, promoted) // the same content under a new commit
	w.wantApp(production, "1.0.0")

	second := w.push("version 2", version("2.0.0"))
	w.awaitRuns(staging, second)
	w.wantApp(staging, "2.0.0")
	w.wantApp(production, "1.0.0")

	// Broken before staging ran it, and pinned all the same.
	third := w.push("version 3", version("3.0.0-errors-100"))
	w.push("promote version 3", w.pin(production, third))
	refused := w.awaitReason(production, promotion.UnverifiedRevision)
	if !strings.Contains(refused.Message, third.Short()) || !strings.Contains(refused.Message, staging.String()) {
		t.Errorf("refused with %q; want it to name %s and %s", refused.Message, third.Short(), staging)
	}
	w.wantApp(production, "1.0.0")

	w.push("promote version 2", w.pin(production, second))
	w.awaitRuns(production, second)
	w.wantApp(production, "2.0.0")
}

// What a rule denies stays out of its environment, which says why; another
// pipeline is not concerned.
func TestViolationHoldsItsEnvironmentAlone(t *testing.T) {
	quick(t)
	stops := append(alone(), stop{pipeline: "other", name: "development"})
	w := newWorld(t, stops)
	w.start()
	w.awaitRuns(development, w.first)
	other := promotion.ID{Pipeline: "other", Name: "development"}
	w.awaitRuns(other, w.first)

	denied := w.push("forbidden", version("2.0.0-forbidden"), map[string]string{"base/other/deployment.yaml": deployment("2.0.0")})
	w.awaitRuns(other, denied)
	w.wantApp(other, "2.0.0")
	r := w.awaitReason(development, promotion.PolicyDenied)
	for _, part := range []string{"image/allowed", "Deployment.apps/" + w.namespaces[development.String()] + "/app",
		"spec.template.spec.containers[0].image", "2.0.0-forbidden"} {
		if !strings.Contains(r.Message, part) {
			t.Errorf("status says %q; want %q in it", r.Message, part)
		}
	}
	if r.Status.Wanted.Revision != denied || r.Journal.LastGood.Revision != w.first {
		t.Errorf("wanted %s, last good %s; want %s and %s", r.Status.Wanted.Revision, r.Journal.LastGood.Revision, denied, w.first)
	}
	w.wantApp(development, "1.0.0")

	allowed := w.push("allowed", version("2.0.1"))
	w.awaitRuns(development, allowed)
	w.wantApp(development, "2.0.1")
}

// An object that Git lets go of stays until the release without it is verified:
// pods of the one before may still use it (flux2#3378).
func TestPitfall08_PruneWaitsForVerification(t *testing.T) {
	quick(t)
	w := newWorld(t, alone())
	w.start()
	w.awaitRuns(development, w.first)
	if texts := w.greetings(development); len(texts) != 1 {
		t.Fatalf("config maps %v, want one", texts)
	}
	// Slow to answer, so that there is time to look while it is verified.
	next := w.push("greet otherwise", greeting("good day"), version("2.0.0-slow-1000ms"))
	sawBoth := false
	w.await("the release to be verified", func() bool {
		r := w.record(development)
		texts := w.greetings(development)
		if r.Journal.Attempt.Stage == "verifying" {
			sawBoth = sawBoth || len(texts) == 2
			if again := w.record(development); len(texts) != 2 && again.Journal.Attempt.Stage == "verifying" {
				t.Fatalf("while verifying there are config maps %v, want the old and the new", texts)
			}
		}
		return r.Journal.LastGood.Revision == next
	})
	if !sawBoth {
		t.Error("was not seen verifying")
	}
	w.awaitRuns(development, next)
	texts := w.greetings(development)
	if len(texts) != 1 {
		t.Errorf("after the prune there are config maps %v, want the new one", texts)
	}
	for _, text := range texts {
		if text != "good day" {
			t.Errorf("the one that is left says %q", text)
		}
	}
}

// What somebody changes on the cluster is put back.
func TestDriftIsPutBack(t *testing.T) {
	quick(t)
	w := newWorld(t, alone())
	w.start()
	w.awaitRuns(development, w.first)
	w.edit(development, func(d *deploymentObject) {
		d.Spec.Template.Spec.Containers[0].Image = image("by-hand")
	})
	w.await("the image to be put back", func() bool { return w.runs(development) == "1.0.0" })
	w.awaitRuns(development, w.first)
	w.wantApp(development, "1.0.0")
	if len(w.reverts()) != 0 {
		t.Error("drift led to a revert")
	}

	ns := w.namespaces[development.String()]
	if err := w.client.CoreV1().Services(ns).Delete(t.Context(), "app", deleteNow()); err != nil {
		t.Fatal(err)
	}
	w.await("the deleted Service to be there again", func() bool { return w.hasService(development) })
}

// What the file says is to be reported is not touched.
func TestDriftIsReported(t *testing.T) {
	quick(t)
	w := newWorld(t, []stop{{pipeline: "demo", name: "development", extra: usualVerify + "  drift: report\n"}})
	w.start()
	w.awaitRuns(development, w.first)
	w.edit(development, func(d *deploymentObject) { d.Spec.Template.Spec.Containers[0].Image = image("by-hand") })
	r := w.awaitReason(development, promotion.Drifted)
	if !strings.Contains(r.Message, "spec.template.spec.containers") || !strings.Contains(r.Message, "Deployment.apps/") {
		t.Errorf("status says %q; want the object and the field in it", r.Message)
	}
	w.never("it was put back", 2*time.Second, func() bool { return w.runs(development) != "by-hand" })
	w.edit(development, func(d *deploymentObject) { d.Spec.Template.Spec.Containers[0].Image = image("1.0.0") })
	w.awaitRuns(development, w.first)
}

// A commit that fails in staging alone is taken back for all: development goes
// back with the branch.
func TestFailureDownstreamIsTakenBackUpstream(t *testing.T) {
	quick(t)
	w := newWorld(t, demo()[:2])
	w.start()
	w.awaitRuns(staging, w.first)
	bad := w.push("break staging", version("2.0.0"), map[string]string{
		"overlays/demo/staging/kustomization.yaml": "resources: [../../../base/demo]\nnamespace: " + w.namespaces[staging.String()] +
			"\nimages: [{name: registry.example.org/demo/app, newTag: 2.0.0-errors-100}]\n"})
	w.awaitRuns(development, bad)
	w.wantApp(development, "2.0.0")
	w.await("a revert", func() bool { return w.head() != bad })
	w.awaitRuns(staging, w.head())
	w.awaitRuns(development, w.head())
	w.wantRevert(bad, w.first, staging, "answered 500")
	w.wantApp(staging, "1.0.0")
	w.wantApp(development, "1.0.0")
}

// What became of releases is a history that people can read: in the custom
// resources, in Events, on the page and in metrics.
func TestHistoryTellsWhatBecameOfReleases(t *testing.T) {
	quick(t)
	w := newWorld(t, alone())
	daemon := w.start()
	w.awaitRuns(development, w.first)
	bad := w.push("break it", version("2.0.0-errors-100"))
	w.await("the revert", func() bool { return len(w.reverts()) == 1 })
	w.awaitRuns(development, w.head())
	var all []state.Release
	w.await("both releases to be over", func() bool {
		var err error
		all, err = w.store.Releases(t.Context(), development)
		return err == nil && len(all) == 2 && !all[0].Ended.IsZero()
	})
	newest, oldest := all[0], all[1]
	if newest.Phase != state.ReleaseReverted || newest.Release.Revision != bad || newest.Guilty != bad ||
		newest.Revert != w.head() || newest.Subject != "break it" || !strings.Contains(newest.Evidence, "500") {
		t.Errorf("the newest is %+v", newest)
	}
	if oldest.Phase != state.ReleaseVerified || oldest.Release.Revision != w.first || oldest.Ended.Before(oldest.Started.Truncate(time.Second)) {
		t.Errorf("the oldest is %+v", oldest)
	}
	w.wantEvents(promotion.Applying, promotion.Verifying, promotion.Restoring, promotion.Reverting, promotion.UpToDate)
	page := fetch(t, "http://"+daemon.Addr()+"/")
	for _, part := range []string{development.Name, string(promotion.UpToDate), w.head().Short()} {
		if !strings.Contains(page, part) {
			t.Errorf("the page does not show %q", part)
		}
	}
	metrics := fetch(t, "http://"+daemon.Addr()+"/metrics")
	for _, line := range []string{
		`chaperone_environment{environment="demo/development",phase="Ready",reason="UpToDate"} 1`,
		`chaperone_reverts_total{environment="demo/development",outcome="done"} 1`,
		`chaperone_restores_total{environment="demo/development",outcome="done"} 1`,
		`chaperone_verifications_total{environment="demo/development",outcome="failed"} 1`,
	} {
		if !strings.Contains(metrics, line) {
			t.Errorf("metrics do not hold %s", line)
		}
	}
}

// wantEvents makes sure that an environment's Events have these reasons.
func (w *world) wantEvents(reasons ...promotion.Reason) {
	w.Helper()
	for _, reason := range reasons {
		w.await("an Event "+string(reason), func() bool {
			events, err := w.client.CoreV1().Events(w.namespace).List(w.Context(), metav1.ListOptions{
				FieldSelector: "reason=" + string(reason) + ",involvedObject.name=" + state.ObjectName(development)})
			return err == nil && len(events.Items) > 0
		})
	}
}

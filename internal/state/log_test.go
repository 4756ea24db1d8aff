package state

import (
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"chaperone.dev/chaperone/internal/promotion"
)

// What a Job wrote is in a Secret of its release, whatever is written of the
// release later, and goes with it.
func TestLogsAreKeptBesideTheirRelease(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.save(f.store, full())
	r := Release{Environment: staging, Release: releaseAt(first), Started: time.Date(2026, 3, 1, 12, 0, 0, 1000, time.UTC), Phase: ReleaseVerifying, Reason: promotion.Verifying}
	failed := r
	failed.Phase, failed.Reason, failed.Log = ReleaseFailed, promotion.VerificationFailed, "smoke:\nlast words"
	reverted := r
	reverted.Phase = ReleaseReverted
	undone := failed
	undone.Phase, undone.Log = ReleaseHeld, "unmigrate:\nno such table"
	for _, step := range []Release{r, failed, failed, undone, undone, reverted} {
		if err := f.store.PutRelease(t.Context(), step); err != nil {
			t.Fatal(err)
		}
	}
	logs, err := f.another().Logs(t.Context(), staging)
	if err != nil || len(logs) != 1 || LogOf(logs, r) != "smoke:\nlast words\nunmigrate:\nno such table" {
		t.Errorf("got %q, %v", logs, err)
	}
	other, err := f.store.Logs(t.Context(), promotion.ID{Pipeline: "shop", Name: "testing"})
	if err != nil || len(other) != 0 {
		t.Errorf("another environment's: %q, %v", other, err)
	}
	o, err := f.store.releases().Get(t.Context(), releaseObject(r).Name, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if kept, _, _ := unstructured.NestedString(o.Object, "status", "log"); kept != logName(r) {
		t.Errorf("the release says that its log is in %q", kept)
	}
	secret, err := f.store.core.CoreV1().Secrets(f.store.namespace).Get(t.Context(), logName(r), metav1.GetOptions{})
	if err != nil || len(secret.OwnerReferences) != 1 || secret.OwnerReferences[0].UID != o.GetUID() {
		t.Errorf("owned by %v, %v", secret.OwnerReferences, err)
	}
}

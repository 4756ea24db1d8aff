package state

import (
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/rest"

	"chaperone.dev/chaperone/internal/manifest"
	"chaperone.dev/chaperone/internal/state/v1alpha1"
)

// requestLog notes what a store asks about releases.
type requestLog struct {
	mu   sync.Mutex
	next http.RoundTripper
	sent []string
}

func (l *requestLog) RoundTrip(r *http.Request) (*http.Response, error) {
	if strings.Contains(r.URL.Path, "/releases") {
		l.mu.Lock()
		l.sent = append(l.sent, r.Method)
		l.mu.Unlock()
	}
	return l.next.RoundTrip(r)
}

func (l *requestLog) taken() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	sent := strings.Join(l.sent, " ")
	l.sent = nil
	return sent
}

// A release costs what has to be written, and what another has done to it is met.
func TestReleaseIsWrittenWithoutBeingReadFirst(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	var log requestLog
	config := rest.CopyConfig(f.config)
	config.Wrap(func(next http.RoundTripper) http.RoundTripper { log.next = next; return &log })
	store, err := New(config, f.namespace, time.Now)
	if err != nil {
		t.Fatal(err)
	}
	f.save(store, full())
	r := Release{Environment: staging, Release: releaseAt(first), Phase: ReleaseVerifying, Started: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)}
	put := func(what string, by *Store, phase ReleasePhase) {
		t.Helper()
		r.Phase = phase
		if err := by.PutRelease(t.Context(), r); err != nil {
			t.Fatalf("%s: %v", what, err)
		}
	}
	stored := func(what string, want ReleasePhase) {
		t.Helper()
		all, err := f.store.Releases(t.Context(), staging)
		if err != nil || len(all) == 0 || all[0].Phase != want {
			t.Errorf("%s: %+v, %v; want %s", what, all, err, want)
		}
	}
	sent := func(what, want string) {
		t.Helper()
		if got := log.taken(); got != want {
			t.Errorf("%s: sent %q, want %q", what, got, want)
		}
	}
	put("new", store, ReleaseVerifying)
	sent("new, of an environment that is new", "POST")
	stored("new", ReleaseVerifying)
	put("further", store, ReleaseFailed)
	sent("further", "PUT")
	stored("further", ReleaseFailed)

	put("by another", f.another(), ReleaseRestored)
	put("after another", store, ReleaseReverted)
	sent("after another has written it", "PUT POST GET PUT")
	stored("after another", ReleaseReverted)
	put("again", store, ReleaseHeld)
	sent("again", "PUT")

	if err := f.store.releases().Delete(t.Context(), releaseObject(r).Name, metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	put("gone", store, ReleaseVerified)
	sent("after somebody deleted it", "PUT POST PUT")
	stored("gone", ReleaseVerified)

	r.Started = r.Started.Add(time.Hour)
	put("after a restart", f.another(), ReleaseVerifying)
	put("taken up", store, ReleaseVerified)
	sent("one that another began", "POST GET PUT")
	stored("taken up", ReleaseVerified)
}

// A release without a status is shown as what it is read as.
func TestReleaseWithoutAStatusIsShownAsItIsRead(t *testing.T) {
	t.Parallel()
	content, err := crds.ReadFile("crds/chaperone.dev_releases.yaml")
	if err != nil {
		t.Fatal(err)
	}
	definitions, err := manifest.Decode("crds", content)
	if err != nil {
		t.Fatal(err)
	}
	versions, _, _ := unstructured.NestedSlice(definitions[0].Object, "spec", "versions")
	version, _ := versions[0].(map[string]any)
	shown, _, err := unstructured.NestedString(version, "schema", "openAPIV3Schema", "properties", "status", "default", "phase")
	read, readErr := releaseFrom(v1alpha1.Release{Spec: v1alpha1.ReleaseSpec{Environment: "demo/staging"}})
	if err != nil || readErr != nil || ReleasePhase(shown) != read.Phase || read.Phase != firstPhase {
		t.Errorf("shown as %q (%v), read as %q (%v); want %s", shown, err, read.Phase, readErr, firstPhase)
	}
}

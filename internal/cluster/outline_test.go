package cluster

import (
	"net/http"
	"strings"
	"sync"
	"testing"

	"chaperone.dev/chaperone/internal/manifest"
	"chaperone.dev/chaperone/internal/plan"
)

// exchange notes what of an object is asked back from writes, and how often the
// inventory is read.
type exchange struct {
	mu                       sync.Mutex
	outlines, whole, entries int
}

func (a *exchange) note(request *http.Request) (*http.Response, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	outline := strings.Contains(request.Header.Get("Accept"), "PartialObjectMetadata")
	switch query := request.URL.Query(); {
	case request.Method == http.MethodPatch && query.Get("dryRun") != "" && outline:
		a.outlines++
	case request.Method == http.MethodPatch && query.Get("dryRun") != "":
		a.whole++
	case request.Method == http.MethodGet && strings.Contains(request.URL.Path, "/configmaps/"+plan.InventoryPrefix):
		a.entries++
	}
	return nil, nil
}

func (a *exchange) taken() (outlines, whole, entries int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	outlines, whole, entries = a.outlines, a.whole, a.entries
	a.outlines, a.whole, a.entries = 0, 0, 0
	return outlines, whole, entries
}

// What a trial of a new object answers is compared with nothing, so its content
// is not asked for. One that is there is compared, also where it lost our label.
func TestTrialsAskForNoMoreThanIsUsed(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	var log exchange
	f = f.connectThrough(log.note)
	f.release(f.set(configMap("one", "a", "b"), configMap("two", "a", "b"), service("web")))
	if outlines, whole, _ := log.taken(); outlines != 3 || whole != 0 {
		t.Errorf("three new objects: %d outlines and %d whole answers, want 3 and 0", outlines, whole)
	}
	f.release(f.set(configMap("one", "a", "c"), configMap("two", "a", "b"), service("web")))
	if outlines, whole, _ := log.taken(); outlines != 0 || whole != 1 {
		t.Errorf("one changed: %d outlines and %d whole answers, want 0 and 1", outlines, whole)
	}
	f.patch("ConfigMap", "two", `{"metadata": {"labels": null}}`)
	id := manifest.ID{Kind: "ConfigMap", Namespace: f.owner.Namespace, Name: "two"}
	for _, change := range f.plan(f.set(configMap("one", "a", "c"), configMap("two", "a", "d"), service("web"))).Changes {
		if change.ID == id && (change.Action != plan.Update || len(change.Fields) == 0) {
			t.Errorf("without its label: %s of %v; want an update that names its fields", change.Action, change.Fields)
		}
	}
}

// Who watches only once all is applied knows what was written then, and reads it
// again where somebody else has written since.
func TestWatchKnowsTheInventoryJustWritten(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	var log exchange
	f = f.connectThrough(log.note)
	f.release(f.of(f.set(configMap("one", "a", "b"), configMap("two", "a", "b"), service("web"))))
	log.taken()
	f.watch()
	f.eventually("all to be known", f.rests)
	if _, _, entries := log.taken(); entries != 0 {
		t.Errorf("the inventory was read %d times, want none", entries)
	}

	other := f.beside("shop", "written-since")
	other.release(other.set(configMap("three", "a", "b"), configMap("four", "a", "b"), service("api")))
	another := other.connectThrough(func(*http.Request) (*http.Response, error) { return nil, nil })
	another.release(another.set(configMap("three", "a", "b"), service("api")))
	another.prune(another.set(configMap("three", "a", "b"), service("api")))
	other.watch()
	other.eventually("the newer one to be known", func() bool { _, known := other.c.mirrorOf(other.owner).stored(); return known })
	owned, err := other.c.Inventory(t.Context(), other.owner)
	if err != nil || owned.Len() != 2 {
		t.Errorf("%d entries (%v), want the 2 that another has left", owned.Len(), err)
	}
}

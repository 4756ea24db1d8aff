package cluster

import (
	"fmt"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"

	"chaperone.dev/chaperone/internal/health"
	"chaperone.dev/chaperone/internal/manifest"
)

// glances notes how Deployments are asked for.
type glances struct {
	mu  sync.Mutex
	how []string
}

func (a *glances) note(request *http.Request) (*http.Response, error) {
	if request.Method != http.MethodGet || !strings.Contains(request.URL.Path, "/deployments") {
		return nil, nil
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	switch {
	case strings.Contains(request.Header.Get("Accept"), "PartialObjectMetadata"):
		a.how = append(a.how, "outlines")
	case strings.HasSuffix(request.URL.Path, "/deployments"):
		a.how = append(a.how, "all")
	default:
		a.how = append(a.how, "one")
	}
	return nil, nil
}

func (a *glances) taken() string {
	a.mu.Lock()
	defer a.mu.Unlock()
	defer func() { a.how = nil }()
	return strings.Join(a.how, " ")
}

// A look after one that found all ready reads what has changed since, and has seen
// as much as one that reads everything.
func TestLooksReadWhatHasChanged(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	var texts []string
	for i := range 4 {
		texts = append(texts, deployment(fmt.Sprintf("d%d", i), "registry.local/d:1", "replicas: 0"))
	}
	ids := f.release(f.set(texts...)).Objects
	var log glances
	seen := f.connectThrough(log.note)
	var looks Looks
	look := func(when, want string) {
		t.Helper()
		live, err := seen.c.Live(t.Context(), f.owner, ids, &looks)
		if err != nil {
			t.Fatal(err)
		}
		if got := log.taken(); want != "" && got != want {
			t.Errorf("%s: asked for %q, want %q", when, got, want)
		}
		whole, err := f.c.Live(t.Context(), f.owner, ids, nil)
		if err != nil || len(live) != len(whole) {
			t.Fatalf("%s: %d objects, want %d (%v)", when, len(live), len(whole), err)
		}
		for id, o := range whole {
			if !reflect.DeepEqual(live[id], o) {
				t.Errorf("%s: %s is not as it is there", when, id)
			}
		}
	}
	waitFor(t, "Deployments to be ready", func() bool {
		live, err := seen.c.Live(t.Context(), f.owner, ids, &looks)
		return err == nil && len(live) == len(ids) && !slices.ContainsFunc(ids, func(id manifest.ID) bool { return health.Of(live[id]).State != health.Current })
	})
	if got := log.taken(); strings.Contains(got, "outlines") {
		t.Errorf("while they were not ready: %q", got)
	}
	look("ready", "outlines")
	look("still ready", "outlines")
	f.patch("Deployment", "d1", `{"metadata": {"labels": {"by": "somebody"}}}`)
	look("one changed", "outlines one")
	look("and stays so", "outlines")
	f.delete("Deployment", "d2")
	look("one is gone", "")
	look("and stays away", "all one") // what is not ready is waited for
	f.release(f.set(texts...))
	live, err := seen.c.Live(t.Context(), f.owner, ids, &looks)
	if now := f.live("Deployment", "d2"); err != nil || len(live) != len(ids) || log.taken() != "all" || !slices.ContainsFunc(ids, func(id manifest.ID) bool {
		return live[id].GetUID() == now.GetUID()
	}) {
		t.Errorf("one is back as another: %d of %d, %v", len(live), len(ids), err)
	}
}

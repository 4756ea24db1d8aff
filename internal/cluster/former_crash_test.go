package cluster

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"k8s.io/apimachinery/pkg/types"

	"chaperone.dev/chaperone/internal/inventory"
	"chaperone.dev/chaperone/internal/manifest"
	"chaperone.dev/chaperone/internal/promotion"
)

// writes reports whether a request changes something on the cluster.
func writes(request *http.Request) bool {
	return request.Method != http.MethodGet && request.URL.Query().Get("dryRun") == ""
}

var errKilled = errors.New("killed")

// dying is the daemon killed at its nth write: before it is made, or after and
// before its answer arrives.
func (f *fixture) dying(n int, answered bool) (*fixture, context.Context, *atomic.Int32) {
	ctx, kill := context.WithCancel(f.Context())
	var count atomic.Int32
	meet := func(request *http.Request) error {
		if writes(request) && int(count.Add(1)) >= n {
			kill()
			return errKilled
		}
		return nil
	}
	if answered {
		return f.connectAfter(meet), ctx, &count
	}
	return f.connectThrough(func(request *http.Request) (*http.Response, error) { return nil, meet(request) }), ctx, &count
}

// Killed at every write of a rename, before and after it: whether the daemon
// goes on, or the rename is taken back, nothing is lost.
func TestPitfall09_CrashAtEachStepOfARename(t *testing.T) {
	t.Parallel()
	for _, after := range []string{"before", "after"} {
		for _, then := range []string{"on", "back"} {
			t.Run(after+" each write, then "+then, func(t *testing.T) {
				t.Parallel()
				steps := 0
				for n := 1; n < 30; n++ {
					if finished := crash(t, n, after == "after", then == "back"); finished {
						break
					}
					steps = n
				}
				if steps < 7 || steps == 29 {
					t.Errorf("%d writes were cut off; want the inventory, 3 objects, a deletion, the inventory and the former one", steps)
				}
			})
		}
	}
}

func crash(t *testing.T, at int, answered, back bool) (finished bool) {
	f := newFixture(t)
	old := f.set(configMap("a", "v", "1"), configMap("b", "v", "1"), service("c"), configMap("drop", "v", "1"), volumeClaim("data"))
	renamed := f.set(configMap("a", "v", "2"), configMap("b", "v", "1"), service("c"))
	f.release(old)
	before := f.identities()
	n := f.renamed("store", "live")
	d, ctx, _ := n.dying(at, answered)
	d.c.options.Workers = 1
	err := func() error {
		p, err := d.c.Plan(ctx, d.owner, renamed)
		if err == nil {
			_, err = d.c.Apply(ctx, d.owner, p, nil)
		}
		if err == nil {
			_, err = d.c.Prune(ctx, d.owner, renamed)
		}
		return err
	}()
	what := fmt.Sprintf("killed at write %d (made: %v; %v)", at, answered, err)
	n.nothingLost(what, before)
	switch {
	case back:
		f.owner.Formerly = []promotion.ID{n.owner.Environment}
		delete(before, "ConfigMap/drop") // may be gone by now, and comes back
		f.release(old)
		f.prune(old)
		now := f.identities()
		delete(now, "ConfigMap/drop")
		f.same(what+", and back", before, now)
		f.exists("ConfigMap", "drop", true)
		f.settled(what+", and back", old, 5, n.owner.Environment)
	default:
		n.release(renamed)
		n.renamedPrune(renamed)
		delete(before, "ConfigMap/drop")
		n.same(what+", and on", before, n.identities())
		n.settled(what+", and on", renamed, 4, f.owner.Environment)
	}
	return ctx.Err() == nil
}

// nothingLost checks what must hold at every moment of the rename: what is there
// is the old object, is listed by one of the inventories, and belongs to one of
// the two names; and only what the new release drops may be gone.
func (f *fixture) nothingLost(when string, before map[string]types.UID) {
	f.Helper()
	now := f.identities()
	old, here := f.inventoryOf(f.owner.Formerly[0]), f.inventoryOf(f.owner.Environment)
	for name, uid := range before {
		if name == "ConfigMap/drop" && now[name] == "" {
			continue
		}
		if now[name] != uid {
			f.Errorf("%s: %s has UID %q, had %q", when, name, now[name], uid)
		}
		kind, short, _ := strings.Cut(name, "/")
		listed := false
		for _, i := range []*inventory.Inventory{old, here} {
			if i != nil {
				e, found := i.Get(manifest.ID{Kind: kind, Namespace: f.owner.Namespace, Name: short})
				listed = listed || found && e.UID == string(uid)
			}
		}
		if !listed {
			f.Errorf("%s: %s is in neither inventory", when, name)
		}
		if o := f.live(kind, short); o != nil && !f.owner.plan().Owns(o) {
			f.Errorf("%s: %s has marks %v %v", when, name, o.GetAnnotations(), o.GetLabels())
		}
	}
}

// settled checks that the environment owns everything under its name alone.
func (f *fixture) settled(when string, set manifest.Set, owned int, former promotion.ID) {
	f.Helper()
	if left := f.inventoryOf(former); left != nil {
		f.Errorf("%s: the former inventory still lists %v", when, left.Entries())
	}
	alone := *f
	alone.owner.Formerly = nil
	if p := alone.plan(set); !p.Quiet() {
		f.Errorf("%s: there is still to do %v", when, p.Changes)
	}
	entries := mustInventory(&alone).Entries()
	if len(entries) != owned {
		f.Errorf("%s: %d objects are owned, want %d", when, len(entries), owned)
	}
	for _, e := range entries {
		if o := f.live(e.Kind, e.Name); o == nil || string(o.GetUID()) != e.UID || !alone.owner.plan().Marked(o) {
			f.Errorf("%s: %s is listed with UID %q; the cluster has %v", when, e.ID, e.UID, o)
		}
	}
}

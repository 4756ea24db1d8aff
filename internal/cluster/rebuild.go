package cluster

import (
	"context"
	"fmt"
	"maps"
	"strings"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"chaperone.dev/chaperone/internal/inventory"
	"chaperone.dev/chaperone/internal/manifest"
	"chaperone.dev/chaperone/internal/plan"
)

// An inventory that somebody deleted, or a shard of it, is rebuilt from the
// marks on the objects. Marks can be copied, so what they tell is not deleted
// until a person agrees: with AnnotationAgreed on the inventory's ConfigMap. An
// object that the release holds needs no agreement.

// AnnotationAgreed on an inventory lets what was rebuilt be deleted, once: the
// daemon takes it off as it writes the inventory next.
const AnnotationAgreed = manifest.AnnotationPrune // allow

const (
	// maxRebuilt bounds an inventory that is rebuilt, as one that is read.
	maxRebuilt = 100_000
	// freshFor is how long it is remembered that there was nothing to rebuild
	// from. Only an environment that nothing was applied in yet asks again.
	freshFor = 5 * time.Minute
)

// losses remembers which inventories were not there, or incomplete.
type losses struct {
	mu    sync.Mutex
	fresh map[looked]time.Time // nothing carried the marks then
	owed  map[string]bool      // by set ID: what was rebuilt or agreed to is not written down yet
	// narrow is since when a kind is not listed in all namespaces at once.
	narrow map[schema.GroupKind]time.Time
}

func newLosses() *losses {
	return &losses{fresh: map[looked]time.Time{}, owed: map[string]bool{}, narrow: map[schema.GroupKind]time.Time{}}
}

// looked is where a look for an environment's objects was.
type looked struct{ set, allow string }

func lookedFor(w Owner) looked { return looked{w.setID(), fmt.Sprint(w.Allow)} }

func (l *losses) isFresh(w Owner) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	since, found := l.fresh[lookedFor(w)]
	return found && time.Since(since) < freshFor
}

// foundNone remembers it, and forgets what is too old.
func (l *losses) foundNone(w Owner) {
	l.mu.Lock()
	defer l.mu.Unlock()
	maps.DeleteFunc(l.fresh, func(_ looked, since time.Time) bool { return time.Since(since) >= freshFor })
	l.fresh[lookedFor(w)] = time.Now()
}

func (l *losses) owe(set string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.owed[set] = true
}

func (l *losses) isOwed(set string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.owed[set]
}

// written: from here on a missing inventory is a lost one.
func (l *losses) written(set string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.unfresh(set)
	delete(l.owed, set)
}

// there: somebody else has written one.
func (l *losses) there(set string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.unfresh(set)
}

// unfresh is called by the lock.
func (l *losses) unfresh(set string) {
	maps.DeleteFunc(l.fresh, func(where looked, _ time.Time) bool { return where.set == set })
}

// rebuildLost is the inventory of an environment that has none: it is new, or
// its inventory was deleted. Only the marks on objects tell which.
func (c *Cluster) rebuildLost(ctx context.Context, w Owner) (stored, error) {
	if c.losses.isFresh(w) {
		return stored{}, nil
	}
	rebuilt, err := c.rebuild(ctx, w)
	if err != nil {
		return stored{}, err
	}
	if rebuilt.Len() == 0 {
		c.losses.foundNone(w)
		return stored{}, nil
	}
	c.losses.owe(w.setID())
	c.options.Logger.Warn("the inventory was lost and is rebuilt from the marks on the objects; nothing that is not rendered is deleted until a person agrees",
		"environment", w.Environment.String(), "inventory", w.inventoryName(), "objects", rebuilt.Len(), "agree", Agreement(w))
	return stored{Inventory: rebuilt}, nil
}

// Agreement is the command by which a person agrees.
func Agreement(w Owner) string {
	return fmt.Sprintf("kubectl annotate configmap -n %s %s %s=allow", w.Namespace, w.inventoryName(), AnnotationAgreed)
}

// completed is an inventory as it was read: with what missing shards may have
// held, and with what a person agreed to.
func (c *Cluster) completed(ctx context.Context, w Owner, s stored, missing []string) (stored, error) {
	if len(missing) > 0 {
		if err := c.stillMissing(ctx, w, s.parent); err != nil {
			return stored{}, err
		}
		rebuilt, err := c.rebuild(ctx, w)
		if err != nil {
			return stored{}, err
		}
		c.options.Logger.Warn("a part of the inventory was lost and is rebuilt from the marks on the objects; nothing of it that is not rendered is deleted until a person agrees",
			"environment", w.Environment.String(), "inventory", w.inventoryName(), "missing", strings.Join(missing, ", "), "agree", Agreement(w))
		s.Inventory, s.changed = s.Carry(rebuilt), true
	}
	if s.parent.GetAnnotations()[AnnotationAgreed] == "allow" {
		c.options.Logger.Info("a person agreed to delete what was rebuilt and is not rendered", "environment", w.Environment.String(), "inventory", w.inventoryName())
		s.Inventory, s.changed = s.Agree(), true
	}
	if s.changed {
		c.losses.owe(w.setID())
	}
	return s, nil
}

// stillMissing makes sure that shards are not missing only because the inventory
// was written between the two looks at it.
func (c *Cluster) stillMissing(ctx context.Context, w Owner, parent *unstructured.Unstructured) error {
	id := inventoryID(w, parent.GetName())
	now, err := c.getConfigMap(ctx, w, parent.GetName())
	if err != nil && !apierrors.IsNotFound(err) {
		return failed("read inventory", id, err)
	}
	if err != nil || now.GetUID() != parent.GetUID() || now.GetResourceVersion() != parent.GetResourceVersion() {
		return meanwhile("read inventory", id)
	}
	return nil
}

// settle writes down what was rebuilt or agreed to, so that it is asked for
// once. What is rendered was checked by the plan and needs no agreement.
func (c *Cluster) settle(ctx context.Context, w Owner, rendered manifest.Set, p plan.Plan) error {
	if !c.losses.isOwed(w.setID()) {
		return nil
	}
	r, err := c.resolve(ctx, w, rendered)
	if err != nil {
		return err
	}
	read, err := c.loadInventory(ctx, w)
	if err != nil || !read.changed && read.parent != nil {
		return err
	}
	_, err = c.saveInventory(ctx, w, read, w.asPlanned(read.Confirm(r.set), p))
	if apierrors.IsNotFound(err) {
		return nil // the namespace comes with the release, and the inventory after it
	}
	return err
}

// asPlanned adds what a plan has found to be as it was applied.
func (w Owner) asPlanned(i inventory.Inventory, p plan.Plan) inventory.Inventory {
	var entries []inventory.Entry
	for _, change := range p.Changes {
		if e, found := i.Get(change.ID); found && change.Action == plan.Unchanged && change.Digest != "" {
			e.Sent, e.Owned = change.Digest, change.Owned
			entries = append(entries, e)
		}
	}
	i = i.Merge(entries)
	if len(p.Changes) > 0 && p.Quiet() && w.Digest != "" {
		i = i.Complete(string(w.Digest))
	}
	return i
}

// loadSettled is what an environment owns, written down.
func (c *Cluster) loadSettled(ctx context.Context, w Owner, rendered manifest.Set) (holdings, error) {
	owned, err := c.loadHoldings(ctx, w)
	if err != nil || !c.losses.isOwed(w.setID()) {
		return owned, err
	}
	if err := c.settle(ctx, w, rendered, plan.Plan{}); err != nil {
		return holdings{}, err
	}
	return c.loadHoldings(ctx, w)
}

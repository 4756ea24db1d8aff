package cluster

import (
	"context"
	"encoding/json"
	"errors"
	"slices"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"chaperone.dev/chaperone/internal/fault"
	"chaperone.dev/chaperone/internal/inventory"
	"chaperone.dev/chaperone/internal/manifest"
	"chaperone.dev/chaperone/internal/plan"
)

// An environment that takes over others goes through three writes, in this
// order: what they own is added to its inventory, its marks are put on the
// objects, and only when a prune has left nothing to do their inventories are
// deleted. After a crash in between, an object is in both inventories and
// carries the marks of one of them; either is enough to know it as owned.

// formers are the environments that are taken over, as owners.
func (w Owner) formers() []Owner {
	var formers []Owner
	for _, id := range w.Formerly {
		if id != w.Environment && id.Pipeline != "" && id.Name != "" {
			formers = append(formers, Owner{Environment: id, Namespace: w.Namespace, Allow: w.Allow})
		}
	}
	return formers
}

// setIDs are the values of the part-of label that the owner's objects have.
func (w Owner) setIDs() []string {
	ids := []string{w.setID()}
	for _, former := range w.formers() {
		if !slices.Contains(ids, former.setID()) {
			ids = append(ids, former.setID())
		}
	}
	return ids
}

// wroteFor reports whether an inventory under the owner's name is its own. That
// of a-b/c has the name of that of a/b-c; it is taken over where it is.
func (w Owner) wroteFor(environment string) bool {
	if environment == w.Environment.String() {
		return true
	}
	return slices.ContainsFunc(w.formers(), func(former Owner) bool {
		return environment == former.Environment.String() && former.inventoryName() == w.inventoryName()
	})
}

// holdings are what an environment owns: what it wrote down, and what it takes
// over and may not have written down yet.
type holdings struct {
	inventory.Inventory
	own     stored
	formers []former // whose inventories are still there
}

type former struct {
	Owner
	stored
}

func (c *Cluster) loadHoldings(ctx context.Context, w Owner) (holdings, error) {
	own, err := c.loadInventory(ctx, w)
	if err != nil {
		return holdings{}, err
	}
	h := holdings{Inventory: own.Inventory, own: own}
	for _, f := range w.formers() {
		if f.inventoryName() == w.inventoryName() {
			continue
		}
		read, err := c.loadFormer(ctx, f)
		if err != nil {
			return holdings{}, err
		}
		if read.parent != nil {
			h.Inventory = h.Carry(read.Inventory)
			h.formers = append(h.formers, former{Owner: f, stored: read})
		}
	}
	return h, nil
}

// asOwned is what a plan needs to know of entries.
func (h holdings) asOwned(w Owner, entries []inventory.Entry) []plan.Owned {
	owned := make([]plan.Owned, len(entries))
	for i, e := range entries {
		owned[i] = plan.Owned{ID: e.ID, UID: e.UID, Applied: e.Applied, Kept: e.Kept, Rebuilt: e.Rebuilt, Carried: h.carried(w, e.ID)}
	}
	return owned
}

// owned is what a plan needs to know of entries, on a cluster that may not have
// all its kinds in sight.
func (c *Cluster) owned(w Owner, h holdings, entries []inventory.Entry) []plan.Owned {
	owned := h.asOwned(w, entries)
	for i, e := range owned {
		owned[i].Unsure = c.kinds.doubtful(e.GroupKind())
	}
	return owned
}

// carried are the environments from which an entry came. Their inventories tell
// it until they end, also when the owner has written the entry down as its own.
func (h holdings) carried(w Owner, id manifest.ID) (from []string) {
	if h.own.parent != nil {
		if wrote := h.own.parent.GetAnnotations()[plan.AnnotationEnvironment]; wrote != w.Environment.String() {
			if _, found := h.own.Get(id); found {
				from = append(from, wrote)
			}
		}
	}
	for _, f := range h.formers {
		if _, found := f.Get(id); found {
			from = append(from, f.Environment.String())
		}
	}
	return from
}

// loadFormer reads the inventory of an environment that is taken over. One of
// that name which is another environment's is none of it.
func (c *Cluster) loadFormer(ctx context.Context, f Owner) (stored, error) {
	parent, err := c.getConfigMap(ctx, f, f.inventoryName())
	if apierrors.IsNotFound(err) || err == nil && !f.wroteFor(parent.GetAnnotations()[plan.AnnotationEnvironment]) {
		return stored{}, nil
	}
	return c.decodeInventory(ctx, f, parent, err)
}

// markKept puts the owner's marks on what it takes over and neither applies nor
// deletes, so that it is known as its own when the former name is forgotten.
func (p *pruner) markKept(ctx context.Context, changes []plan.Change, live map[manifest.ID]*manifest.Object) {
	for _, change := range changes {
		o := live[change.ID]
		if change.Action != plan.Keep || o == nil || !p.owner.TakesOver(o) || change.Reason == plan.ReasonMassDeletion || change.Reason == plan.ReasonForeign {
			continue // what is still to be decided about, or is not ours, stays as it is
		}
		err := p.c.mark(ctx, p.owner, p.kinds[change.ID], o)
		if fault.IsTerminal(err) {
			// It may not be written to. It stays in the inventory, and as it is.
			p.c.options.Logger.Warn("mark a kept object", "environment", p.owner.Environment, "object", change.ID.String(), "err", err)
			continue
		}
		if err != nil {
			p.errs = append(p.errs, err)
		}
	}
}

func (c *Cluster) mark(ctx context.Context, w plan.Owner, k kind, live *manifest.Object) error {
	id := manifest.IDOf(live)
	marked := &manifest.Object{Object: map[string]any{}}
	if err := w.Mark(marked); err != nil {
		return fault.Terminal("mark", id.String(), err)
	}
	marked.SetUID(live.GetUID())
	marked.SetResourceVersion(live.GetResourceVersion())
	patch, err := json.Marshal(marked.Object)
	if err != nil {
		return fault.Terminal("mark", id.String(), err)
	}
	refused := false
	err = c.retry(ctx, func(ctx context.Context) error {
		_, err := c.at(k, id).Patch(ctx, id.Name, types.MergePatchType, patch, metav1.PatchOptions{FieldManager: c.options.FieldManager})
		if refused = unmet(err); refused {
			return nil
		}
		return err
	})
	switch {
	case refused:
		return meanwhile("mark", id)
	case apierrors.IsNotFound(err):
		return nil
	}
	return failed("mark", id, err)
}

// endFormers deletes the inventories of what is taken over. Call it when
// everything in them is in the owner's own, or gone.
func (c *Cluster) endFormers(ctx context.Context, w Owner, h holdings) error {
	var errs []error
	for _, f := range h.formers {
		errs = append(errs, c.deleteInventory(ctx, f))
	}
	if errors.Join(errs...) != nil {
		return errors.Join(errs...)
	}
	for _, f := range w.formers() {
		if f.inventoryName() != w.inventoryName() {
			// The parent went first: without its shards it could not be read. So
			// shards may be left of an earlier attempt, too.
			c.dropShards(ctx, f, nil)
		}
	}
	return nil
}

// deleteInventory deletes the parent that was read, and only if nobody has
// written to it since.
func (c *Cluster) deleteInventory(ctx context.Context, f former) error {
	uid, version := f.parent.GetUID(), f.parent.GetResourceVersion()
	options := metav1.DeleteOptions{Preconditions: &metav1.Preconditions{UID: &uid, ResourceVersion: &version}}
	changed := false
	err := c.retry(ctx, func(ctx context.Context) error {
		err := c.configMapsIn(f.Owner).Delete(ctx, f.inventoryName(), options)
		if changed = apierrors.IsConflict(err); changed || apierrors.IsNotFound(err) {
			return nil
		}
		return err
	})
	id := inventoryID(f.Owner, f.inventoryName())
	if changed {
		return meanwhile("delete inventory", id)
	}
	return failed("delete inventory", id, err)
}

package cluster

import (
	"context"
	"slices"

	"chaperone.dev/chaperone/internal/fault"
	"chaperone.dev/chaperone/internal/inventory"
	"chaperone.dev/chaperone/internal/manifest"
	"chaperone.dev/chaperone/internal/plan"
)

// wayBack is what takes a release's migrations back, and which they are.
type wayBack struct {
	hooks, aids, migrations []*manifest.Object
}

// wayBackOf looks at the migrations that the release does: one that ran before,
// with this very content, is last good's.
func wayBackOf(set manifest.Set, owned inventory.Inventory) (u wayBack) {
	for _, o := range set.Objects() {
		entry, _ := owned.Get(manifest.IDOf(o))
		if plan.IsHook(o) && manifest.StageOf(o) == manifest.StagePreDeploy && entry.Applied != plan.Applied(o) {
			u.migrations = append(u.migrations, o)
		}
	}
	u.migrations = slices.DeleteFunc(u.migrations, func(m *manifest.Object) bool { return !plan.Undone(set, m) })
	if u.hooks = plan.Rollbacks(set, u.migrations); len(u.hooks) == 0 {
		return wayBack{}
	}
	for _, o := range set.Objects() {
		if manifest.StageOf(o) == manifest.StageRollback && !plan.IsJob(o) {
			u.aids = append(u.aids, o)
		}
	}
	return u
}

// rollback tries what would undo the release. The day on which it is refused must
// not be the day on which it is needed, with the data changed already.
func (t *trial) rollback(ctx context.Context, seen plan.Seen) (plan.Seen, error) {
	id := manifest.IDOf(seen.Send)
	is := func(o *manifest.Object) bool { return manifest.IDOf(o) == id }
	if t.w.Restoring || t.w.applied || !slices.ContainsFunc(t.back.hooks, is) && !slices.ContainsFunc(t.back.aids, is) {
		return seen, nil
	}
	var err error
	seen.Rejected, err = t.c.tryRollback(ctx, t.release.kinds[id], seen.Send, seen.Live)
	return seen, err
}

// tryRollback sends what undoes a release in a dry run. A Job of an earlier attempt
// is deleted by the time this one is made, so it is tried under another name.
func (c *Cluster) tryRollback(ctx context.Context, k kind, o, live *manifest.Object) (rejected, err error) {
	id := manifest.IDOf(o)
	if live == nil || !plan.IsJob(o) {
		_, err = c.dryRunOutline(ctx, k, o)
	}
	if plan.IsJob(o) && (live != nil || immutable(err)) {
		_, err = c.dryRunOutline(ctx, k, plan.StandIn(o))
	}
	switch {
	case err == nil:
		return nil, nil
	case refusedForGood(err):
		return answer(id, err), nil
	}
	return nil, failed("dry run", id, err)
}

// TryUndo tries the rollback hooks that Undo would run now for a release that is
// to be taken back, and returns those that would be refused. Nothing is changed.
func (c *Cluster) TryUndo(ctx context.Context, w Owner, r Rollback) ([]plan.Rejection, error) {
	if err := w.check(); err != nil {
		return nil, fault.Terminal("undo", "", err)
	}
	if err := c.kinds.refresh(ctx); err != nil {
		return nil, err
	}
	failed, err := c.resolve(ctx, w, r.Failed)
	if err != nil {
		return nil, err
	}
	good, err := c.resolve(ctx, w, r.Good)
	if err != nil {
		return nil, err
	}
	var refused []plan.Rejection
	for _, hook := range plan.Rollbacks(failed.set, plan.Changed(good.set, failed.set)) {
		id := manifest.IDOf(hook)
		live, err := c.get(ctx, failed.kinds[id], id)
		if err != nil {
			return refused, err
		}
		rejected, err := c.tryRollback(ctx, failed.kinds[id], hook, live)
		if err != nil {
			return refused, err
		}
		if rejected != nil {
			refused = append(refused, plan.Rejection{ID: id, Err: rejected})
		}
	}
	return refused, nil
}

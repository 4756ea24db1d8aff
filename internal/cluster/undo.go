package cluster

import (
	"context"
	"errors"
	"fmt"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"chaperone.dev/chaperone/internal/fault"
	"chaperone.dev/chaperone/internal/inventory"
	"chaperone.dev/chaperone/internal/manifest"
	"chaperone.dev/chaperone/internal/plan"
)

// Rollback is a release whose migrations are to be undone.
type Rollback struct {
	Failed, Good manifest.Set // what is taken back, and last good
	Attempt      string       // names the attempt at the release; its rollback hooks run once for each
	Round        int          // how often people have asked to try again what failed of them
}

// Undo runs the rollback hooks of a release, one after the other, for those of
// its pre-deploy hooks that were begun and last good does not have. Afterwards
// these count as not run, so that they run again when their release comes again.
// It may be repeated, also after a crash at any point of it: a hook that was
// begun is awaited, and none begins a second time for one attempt and round.
//
// A terminal error says that a rollback hook failed, or that nobody knows how it
// ended; after any other Undo goes on where it stopped.
func (c *Cluster) Undo(ctx context.Context, w Owner, r Rollback) error {
	if err := w.check(); err != nil {
		return fault.Terminal("undo", "", err)
	}
	if err := c.kinds.refresh(ctx); err != nil {
		return err
	}
	u, err := c.newUndo(ctx, w, r)
	if err != nil {
		return err
	}
	within, cancel := context.WithTimeoutCause(ctx, u.timeout, errDeadline)
	defer cancel()
	begun, err := u.begun(within)
	if err != nil || len(begun) == 0 {
		return err
	}
	hooks := plan.Rollbacks(u.failed.set, begun)
	if err := u.aids(within, hooks); err != nil {
		return err
	}
	for _, hook := range hooks {
		if err := u.run(within, hook); err != nil {
			return err
		}
	}
	return u.forget(within, begun)
}

// undo is one under way. It waits and writes as an apply does.
type undo struct {
	*applier
	Rollback
	failed, good release
}

func (c *Cluster) newUndo(ctx context.Context, w Owner, r Rollback) (*undo, error) {
	u := &undo{Rollback: r, applier: &applier{c: c, w: w, done: map[manifest.ID]outcome{}, awaited: map[manifest.ID]bool{},
		timeout: w.ApplyTimeout, slots: make(chan struct{}, c.options.Workers)}}
	setDefault(&u.timeout, defaultApplyTimeout)
	var err error
	if u.failed, err = c.resolve(ctx, w, r.Failed); err != nil {
		return nil, err
	}
	u.rendered = u.failed.set.Objects()
	if u.good, err = c.resolve(ctx, w, r.Good); err != nil {
		return nil, err
	}
	owned, err := c.loadHoldings(ctx, w)
	if err != nil {
		return nil, err
	}
	u.inventory = owned.own
	if len(owned.formers) > 0 { // from here on it is all in one place
		u.inventory, err = c.saveInventory(ctx, w, owned.own, owned.Inventory)
	}
	return u, err
}

// begun are the migrations of the failed release that may have done something.
func (u *undo) begun(ctx context.Context) ([]*manifest.Object, error) {
	var begun []*manifest.Object
	for _, hook := range plan.Changed(u.good.set, u.failed.set) {
		id := manifest.IDOf(hook)
		entry, known := u.inventory.Get(id)
		is := known && u.w.plan().BegunAs(hook, entry.Applied)
		if known && entry.Applied == "" { // about to be begun when the daemon died
			var err error
			if is, err = u.stands(ctx, hook); err != nil {
				return nil, err
			}
		}
		if is && plan.Undone(u.failed.set, hook) {
			begun = append(begun, hook)
		}
	}
	return begun, nil
}

// stands reports whether a Job is there with this content: the server does not
// take another over it.
func (u *undo) stands(ctx context.Context, hook *manifest.Object) (bool, error) {
	id := manifest.IDOf(hook)
	k := u.failed.kinds[id]
	live, err := u.c.get(ctx, k, id)
	if err != nil || live == nil || !u.w.plan().Owns(live) {
		return false, err
	}
	_, err = u.c.dryRun(ctx, k, hook)
	if immutable(err) {
		return false, nil
	}
	return err == nil, failed("dry run", id, err)
}

// aids applies what the rollback hooks come with.
func (u *undo) aids(ctx context.Context, hooks []*manifest.Object) error {
	var aids []*manifest.Object
	var entries []inventory.Entry
	for _, o := range u.failed.set.Objects() {
		if manifest.StageOf(o) == manifest.StageRollback && !plan.IsJob(o) {
			aids = append(aids, o)
			entries = append(entries, u.entryOf(o))
		}
	}
	for _, hook := range hooks {
		entries = append(entries, u.entryOf(hook))
	}
	if err := u.save(ctx, u.inventory.Merge(entries)); err != nil {
		return err
	}
	for _, o := range aids {
		id := manifest.IDOf(o)
		live, err := u.c.get(ctx, u.failed.kinds[id], id)
		if err != nil {
			return err
		}
		on := condition{version: neverWritten}
		if live != nil {
			if u.w.plan().Other(live) != "" {
				return taken(u.w.plan(), id, live)
			}
			on = condition{uid: string(live.GetUID())}
		}
		if _, err := u.c.claim(ctx, u.w.plan(), u.failed.kinds[id], o, on); err != nil {
			return failed("apply", id, err)
		}
	}
	return nil
}

func (u *undo) entryOf(o *manifest.Object) inventory.Entry {
	return inventory.Entry{ID: manifest.IDOf(o), Version: o.GroupVersionKind().Version, Release: u.w.Release}
}

func (u *undo) save(ctx context.Context, next inventory.Inventory) (err error) {
	u.inventory, err = u.c.saveInventory(ctx, u.w, u.inventory, next.Complete(""))
	return err
}

// mark writes down how far a rollback hook is.
func (u *undo) mark(ctx context.Context, hook *manifest.Object, state plan.RollbackState, uid string) error {
	entry := u.entryOf(hook)
	entry.UID = uid
	entry.Applied = plan.RollbackMark{State: state, Attempt: u.Attempt, Round: u.Round, Applied: plan.Applied(hook)}.String()
	return u.save(ctx, u.inventory.Merge([]inventory.Entry{entry}))
}

// run runs one rollback hook to its end, or finds out how it ended.
func (u *undo) run(ctx context.Context, hook *manifest.Object) error {
	id := manifest.IDOf(hook)
	k := u.failed.kinds[id]
	entry, _ := u.inventory.Get(id)
	mark := plan.ParseRollbackMark(entry.Applied)
	if mark.Attempt != u.Attempt || mark.Applied != plan.Applied(hook) {
		mark = plan.RollbackMark{} // of another attempt, or another content
	}
	if mark.State == plan.RollbackDone {
		return nil
	}
	live, err := u.c.get(ctx, k, id)
	if err != nil {
		return err
	}
	same := mark.State != "" && live != nil && string(live.GetUID()) == entry.UID
	state, message := plan.JobRunning, ""
	if same {
		state, message = plan.StateOf(live)
	}
	switch now := mark.Round == u.Round; {
	case same && state != plan.JobFailed:
		return u.finish(ctx, k, hook, live)
	case mark.State != "" && now && same:
		return u.ended(ctx, hook, plan.RollbackFailed, entry.UID, u.withLog(ctx, id, hookError(id, message)))
	case mark.State == plan.RollbackFailed && now:
		return hookError(id, "it failed before, and its Job is gone")
	case mark.State != "" && now:
		return vanishedRollback(id)
	}
	return u.start(ctx, k, hook, live)
}

func vanishedRollback(id manifest.ID) error {
	return fault.Terminal("hook", id.String(), errors.New("the Job was begun and is gone, and nobody saw it complete or fail; it may have done its work, half of it, or none"))
}

// start begins a rollback hook so that it cannot run twice, wherever the daemon
// dies: its Job is made suspended, is written down, and only then let run.
func (u *undo) start(ctx context.Context, k kind, hook, live *manifest.Object) error {
	made, err := u.asleep(ctx, k, hook, live)
	if err != nil {
		return err
	}
	if err := u.mark(ctx, hook, plan.RollbackBegun, string(made.GetUID())); err != nil {
		return err
	}
	return u.finish(ctx, k, hook, made)
}

// asleep makes the Job, in the place of one of an earlier attempt. One that was
// made and not written down has never run, and will do.
func (u *undo) asleep(ctx context.Context, k kind, hook, live *manifest.Object) (*manifest.Object, error) {
	id := manifest.IDOf(hook)
	suspended := hook.DeepCopy()
	if err := unstructured.SetNestedField(suspended.Object, true, "spec", "suspend"); err != nil {
		return nil, fault.Terminal("apply", id.String(), fmt.Errorf("spec: %w", err))
	}
	if live != nil && u.w.plan().Other(live) != "" {
		return nil, taken(u.w.plan(), id, live)
	}
	if live != nil && isAsleep(live) && live.GetDeletionTimestamp() == nil {
		if _, err := u.c.dryRun(ctx, k, suspended); !immutable(err) {
			return live, failed("dry run", id, err)
		}
	}
	if live != nil {
		if err := u.away(ctx, k, hook, live); err != nil {
			return nil, err
		}
	}
	made, err := u.c.claim(ctx, u.w.plan(), k, suspended, condition{version: neverWritten})
	return made, failed("apply", id, err)
}

// isAsleep reports whether a Job has never run.
func isAsleep(job *manifest.Object) bool {
	suspended, _, err := unstructured.NestedBool(job.Object, "spec", "suspend")
	started, _, _ := unstructured.NestedString(job.Object, "status", "startTime")
	return suspended && err == nil && started == ""
}

// away deletes a Job and waits until it is gone.
func (u *undo) away(ctx context.Context, k kind, hook, live *manifest.Object) error {
	id, uid := manifest.IDOf(hook), string(live.GetUID())
	if _, err := u.c.delete(ctx, k, id, condition{uid: uid}); err != nil {
		return err
	}
	return u.awaitGone(ctx, k, plan.Change{ID: id, Object: hook}, uid)
}

// finish lets a rollback hook run that does not yet, and waits for its end.
func (u *undo) finish(ctx context.Context, k kind, hook, live *manifest.Object) error {
	id, uid := manifest.IDOf(hook), string(live.GetUID())
	if isAsleep(live) {
		if _, err := u.c.claim(ctx, u.w.plan(), k, hook, condition{uid: uid}); err != nil {
			return failed("apply", id, err)
		}
	}
	change := plan.Change{ID: id, Object: hook, UID: uid, Stage: manifest.StageRollback}
	got, err := u.awaitHook(ctx, change)
	switch {
	case err == nil && got.uid != uid:
		return vanishedRollback(id)
	case err == nil:
		return u.ended(ctx, hook, plan.RollbackDone, uid, nil)
	case fault.IsTerminal(err) && got.applied != "":
		return u.ended(ctx, hook, plan.RollbackFailed, uid, err)
	}
	return err
}

func (u *undo) ended(ctx context.Context, hook *manifest.Object, state plan.RollbackState, uid string, verdict error) error {
	if err := u.mark(ctx, hook, state, uid); err != nil {
		return err // found out again by the next attempt
	}
	return verdict
}

// forget makes the migrations that were undone count as not run: what remains
// known is what last good ran under the same name.
func (u *undo) forget(ctx context.Context, begun []*manifest.Object) error {
	next := u.inventory.Inventory
	for _, hook := range begun {
		id := manifest.IDOf(hook)
		k := u.failed.kinds[id]
		live, err := u.c.get(ctx, k, id)
		if err != nil {
			return err
		}
		if live != nil && u.w.plan().Owns(live) {
			if err := u.away(ctx, k, hook, live); err != nil {
				return err
			}
		}
		next = next.Drop(id)
		if before, found := u.good.set.Get(id); found && plan.IsHook(before) {
			entry := u.entryOf(before)
			entry.Applied = plan.Applied(before)
			next = next.Merge([]inventory.Entry{entry})
		}
	}
	return u.save(ctx, next)
}

package cluster

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"golang.org/x/sync/errgroup"

	"chaperone.dev/chaperone/internal/fault"
	"chaperone.dev/chaperone/internal/manifest"
	"chaperone.dev/chaperone/internal/plan"
)

// each does something to changes, a bounded number at once, in their order.
// After the first error no further one is begun; those under way are finished,
// as breaking one off would leave it unknown whether it was made.
func (a *applier) each(ctx context.Context, changes []plan.Change, do func(context.Context, plan.Change) (outcome, error)) (map[manifest.ID]outcome, error) {
	var (
		mu     sync.Mutex
		errs   []error
		done   = map[manifest.ID]outcome{}
		failed atomic.Bool
		group  errgroup.Group
	)
	group.SetLimit(a.c.options.Workers)
	for _, change := range changes {
		group.Go(func() error {
			if failed.Load() || ctx.Err() != nil {
				return nil
			}
			o, err := do(ctx, change)
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				failed.Store(true)
				errs = append(errs, changeError{id: change.ID, err: err})
				return nil
			}
			done[change.ID] = o
			return nil
		})
	}
	_ = group.Wait() // the functions above keep their errors themselves
	if len(errs) == 0 && ctx.Err() != nil {
		errs = append(errs, ctx.Err())
	}
	return done, errors.Join(errs...)
}

func (a *applier) write(ctx context.Context, change plan.Change) (outcome, error) {
	k, err := a.kind(ctx, change)
	if err != nil {
		return outcome{}, err
	}
	on, err := a.condition(ctx, k, change)
	if err != nil {
		return outcome{}, err
	}
	if change.Action == plan.Replace {
		if err := a.remove(ctx, k, change, on); err != nil {
			return outcome{}, err
		}
		on = condition{version: neverWritten}
	}
	applied, err := a.applyStaged(ctx, k, change, on)
	if err != nil {
		return outcome{}, explain(change, err)
	}
	a.c.mirrorOf(a.w).note(change.ID, change.Digest, applied)
	o := outcome{uid: string(applied.GetUID()), sent: change.Digest, owned: a.w.Leave.OwnedDigest(applied, a.c.options.FieldManager)}
	if a.awaited[change.ID] {
		o.object = applied
	}
	switch {
	case plan.IsHook(change.Object):
		o.applied = plan.Begun(change.Object)
	case plan.IsJob(change.Object) && !plan.IsHook(change.Object):
		o.applied = plan.Applied(change.Object)
	}
	return o, nil
}

// applyStaged waits out the moment between a CRD that says it is established
// and an API server that serves it.
func (a *applier) applyStaged(ctx context.Context, k kind, change plan.Change, on condition) (*manifest.Object, error) {
	pause := firstPause
	for {
		applied, err := a.c.claim(ctx, a.w.plan().Knowing(change.Known), k, change.Object, on)
		notYet := change.Staged && apierrors.IsNotFound(err) && pause < longestPause
		if !notYet || sleep(ctx, pause) != nil {
			return applied, err
		}
		pause *= 2
	}
}

func explain(change plan.Change, err error) error {
	var known *fault.Error
	if errors.As(err, &known) {
		return err
	}
	if immutable(err) {
		return fault.Terminal("apply", change.ID.String(), plan.NotInPlace(change.Object, nil, causes(err), answer(change.ID, err)))
	}
	return failed("apply", change.ID, err)
}

// remove deletes an object and waits until it is gone, so that its name is
// free again. Others have its turn meanwhile.
func (a *applier) remove(ctx context.Context, k kind, change plan.Change, on condition) error {
	if on.uid == "" {
		return nil
	}
	policy := metav1.DeletePropagationBackground
	if plan.Orphans(change.Object) {
		policy = metav1.DeletePropagationOrphan
	}
	if _, err := a.c.deleteAs(ctx, k, change.ID, on, policy); err != nil {
		return err
	}
	<-a.slots
	err := a.awaitGone(ctx, k, change, on.uid)
	a.slots <- struct{}{}
	return err
}

// delete asks for the deletion of exactly the object with the UID, as long as
// the condition is met. foreign says that another has its name by now; that one
// is left alone.
func (c *Cluster) delete(ctx context.Context, k kind, id manifest.ID, on condition) (foreign bool, err error) {
	return c.deleteAs(ctx, k, id, on, metav1.DeletePropagationBackground)
}

// deleteAs is delete with a word about what the object made.
func (c *Cluster) deleteAs(ctx context.Context, k kind, id manifest.ID, on condition, policy metav1.DeletionPropagation) (foreign bool, err error) {
	want := types.UID(on.uid)
	options := metav1.DeleteOptions{Preconditions: &metav1.Preconditions{UID: &want}, PropagationPolicy: &policy}
	if on.version != "" {
		options.Preconditions.ResourceVersion = &on.version
	}
	var conflict bool
	err = c.retry(ctx, func(ctx context.Context) error {
		err := c.at(k, id).Delete(ctx, id.Name, options)
		if conflict = apierrors.IsConflict(err); conflict {
			return nil
		}
		return err
	})
	switch {
	case conflict:
		now, err := c.get(ctx, k, id)
		if err != nil {
			return false, err
		}
		if now != nil && string(now.GetUID()) == on.uid {
			return false, fault.Retryable("delete", id.String(), errors.New("the server reports a conflict"))
		}
		return now != nil, nil
	case apierrors.IsNotFound(err):
		return false, nil
	}
	return false, failed("delete", id, err)
}

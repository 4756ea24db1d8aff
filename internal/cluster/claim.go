package cluster

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"chaperone.dev/chaperone/internal/fault"
	"chaperone.dev/chaperone/internal/manifest"
	"chaperone.dev/chaperone/internal/plan"
)

// neverWritten is a resourceVersion that no object has: the first write to a
// cluster is its second revision. An apply that carries it creates the object
// or is refused with a conflict; without it an apply takes what is there by
// then, as all environments apply with force and under one field manager. The
// server does not store it, and does not record it as a managed field. (Until
// Kubernetes 1.22 it refused to create Services that way, kubernetes#106745.)
const neverWritten = "1"

// condition is what must be so of an object on the cluster for it to be
// written. The zero value is met by any object, and by none.
type condition struct {
	uid     string // it is this very object; refused also where there is none
	version string // nothing has happened to it since; neverWritten: there is none
}

// on returns the object as it is sent under the condition.
func (c condition) on(o *manifest.Object) *manifest.Object {
	metadata, isMap := o.Object["metadata"].(map[string]any)
	if !isMap || c == (condition{}) {
		return o
	}
	metadata = maps.Clone(metadata)
	if c.uid != "" {
		metadata["uid"] = c.uid
	}
	if c.version != "" {
		metadata["resourceVersion"] = c.version
	}
	sent := &manifest.Object{Object: maps.Clone(o.Object)}
	sent.Object["metadata"] = metadata
	return sent
}

// condition is what a change depends on. It looks again at an object that is
// not the environment's yet: another may have got it since the plan was made.
func (a *applier) condition(ctx context.Context, k kind, change plan.Change) (condition, error) {
	met := condition{uid: change.UID}
	if change.Action == plan.Create {
		met.version = neverWritten
	}
	if !change.Gained && !change.Adopt && !a.moved(change, k) || change.UID == "" {
		return met, nil
	}
	owner := a.w.plan().Knowing(change.Known)
	for range looksAgain {
		live, err := a.c.get(ctx, k, change.ID)
		switch {
		case err != nil:
			return met, err
		case live != nil && owner.Other(live) != "":
			return met, taken(owner, change.ID, live)
		case live == nil || string(live.GetUID()) != change.UID:
			return met, meanwhile("apply", change.ID)
		}
		if change.Adopt {
			changed, err := a.c.takeOver(ctx, a.w.plan(), k, live)
			if err != nil {
				return met, err
			}
			if changed {
				continue
			}
		}
		if change.Gained {
			met.version = live.GetResourceVersion()
		}
		return met, nil
	}
	return met, meanwhile("apply", change.ID)
}

// moved reports whether an object is known to be another one than the plan saw:
// between the two may lie hooks and waits.
func (a *applier) moved(change plan.Change, k kind) bool {
	m := a.c.mirrorOf(a.w)
	if change.Owned == "" || !m.covers(k, place{change.ID.GroupKind(), change.ID.Namespace}) {
		return false
	}
	t := m.get(change.ID)
	return t == nil || t.uid != change.UID || t.owned != change.Owned
}

// looksAgain bounds how often an object is looked at that changes all the time.
const looksAgain = 4

func meanwhile(op string, id manifest.ID) error {
	return fault.Retryable(op, id.String(), errors.New("it was changed meanwhile; the next attempt sees it anew"))
}

func taken(w plan.Owner, id manifest.ID, live *manifest.Object) error {
	return fault.Terminal("", "", plan.Taken(w, []plan.Culprit{plan.BelongsTo(id, w.Other(live))}))
}

// claim applies an object if the condition is met. Where it is not, what is
// there decides: another owner's is left alone, and the error is its *Refusal;
// our own, made by an attempt whose answer was lost, is applied to.
func (c *Cluster) claim(ctx context.Context, w plan.Owner, k kind, o *manifest.Object, on condition) (*manifest.Object, error) {
	id := manifest.IDOf(o)
	var applied *manifest.Object
	err := c.retry(ctx, func(ctx context.Context) (err error) {
		applied, err = c.send(ctx, k, on.on(o))
		if !unmet(err) {
			return err
		}
		live, readErr := c.at(k, id).Get(ctx, id.Name, metav1.GetOptions{})
		if readErr != nil && !apierrors.IsNotFound(readErr) {
			return readErr
		}
		if on, readErr = on.anew(w, id, live); readErr != nil {
			return readErr
		}
		return err // a conflict, so it is tried again
	})
	return applied, err
}

// anew is the condition for the next attempt, after one that was not met.
func (c condition) anew(w plan.Owner, id manifest.ID, live *manifest.Object) (condition, error) {
	create := c.version == neverWritten
	switch {
	case live == nil && create:
		return c, nil // a conflict about something else, such as a quota
	case live == nil:
		return c, meanwhile("apply", id)
	case w.Other(live) != "":
		return c, taken(w, id, live)
	case create && w.Marked(live) && live.GetDeletionTimestamp() == nil:
		return condition{uid: string(live.GetUID())}, nil
	case create || string(live.GetUID()) != c.uid:
		return c, meanwhile("apply", id)
	case c.version != "":
		return condition{uid: c.uid, version: live.GetResourceVersion()}, nil
	}
	return c, nil
}

// unmet reports whether the server refused a write because of its condition. A
// UID that differs is to it a change of a field that cannot be changed.
func unmet(err error) bool {
	return apierrors.IsConflict(err) || apierrors.IsInvalid(err) && hasCause(err, "metadata.uid")
}

func hasCause(err error, field string) bool {
	return slices.ContainsFunc(causes(err), func(cause string) bool { return strings.EqualFold(cause, field) })
}

package cluster

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"chaperone.dev/chaperone/internal/fault"
	"chaperone.dev/chaperone/internal/manifest"
	"chaperone.dev/chaperone/internal/plan"
)

// stays is the error of an object that is being deleted and does not go: nothing
// that is applied is at fault, and all else can be.
type stays struct{ text string }

func (s stays) Error() string { return s.text }

// awaitGone waits until an object that is being deleted is gone. Last good does
// not wait longer than a prune would for what a finalizer may hold for ever.
func (a *applier) awaitGone(ctx context.Context, k kind, change plan.Change, uid string) error {
	waits, cancel := ctx, context.CancelFunc(func() {})
	if a.w.Restoring {
		waits, cancel = context.WithTimeout(ctx, a.c.options.PruneWait)
	}
	defer cancel()
	held := ""
	err := a.poll(waits, change.ID, "gone", func(ctx context.Context) (bool, string, error) {
		o, err := a.c.get(ctx, k, change.ID)
		if err != nil || o == nil || string(o.GetUID()) != uid {
			return err == nil, "", err
		}
		held = plan.HeldBy(o)
		return false, held, nil
	})
	var late deadlineError
	switch {
	case errors.Is(err, errCalledOff) && ctx.Err() == nil:
		text := fmt.Sprintf("being deleted, and not gone after %s", a.c.options.PruneWait)
		if held != "" {
			text += ": " + held
		}
		return fault.Retryable("apply", change.ID.String(), stays{text})
	case errors.As(err, &late) && change.Reason == plan.ReasonTerminating:
		return fault.Retryable("wait", change.ID.String(), late)
	}
	return err
}

// passOver goes on after a change that cannot be made while something of the
// release before does not go, and reports whether it did: the object itself, or
// one in a Namespace or of a kind that is being deleted.
func (w *walk) passOver(end stepEnd) bool {
	var one stays
	change := w.a.changes[w.steps[end.step].Change]
	if !errors.As(end.err, &one) && !w.within(change) {
		return false
	}
	w.stays[change.ID] = change.Object
	w.passed = append(w.passed, end.err)
	w.finish(end.step)
	return true
}

func (w *walk) within(change plan.Change) bool {
	for id, o := range w.stays {
		switch {
		case id == manifest.ID{Kind: "Namespace", Name: change.ID.Namespace}:
			return true
		case id.Kind == "CustomResourceDefinition" && definedKind(o) == change.ID.GroupKind():
			return true
		}
	}
	return false
}

// staysErr tells of what was passed over. It is about another time, whatever the
// server said to each.
func (w *walk) staysErr() error {
	var lines []string
	for i, err := range w.passed {
		if i == maxLate {
			lines = append(lines, fmt.Sprintf("and %d more", len(w.passed)-maxLate))
			break
		}
		lines = append(lines, err.Error())
	}
	return fault.Retryable("", "", errors.New("all else is applied: "+strings.Join(lines, "; ")))
}

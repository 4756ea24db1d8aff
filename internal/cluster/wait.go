package cluster

import (
	"context"
	"errors"
	"fmt"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"chaperone.dev/chaperone/internal/fault"
	"chaperone.dev/chaperone/internal/health"
	"chaperone.dev/chaperone/internal/manifest"
	"chaperone.dev/chaperone/internal/plan"
)

const (
	// defaultApplyTimeout bounds an apply where the owner does not.
	defaultApplyTimeout = 30 * time.Minute
	// slowestLook is the longest pause between two looks at what is awaited.
	slowestLook = 2 * time.Second
	// fresh is how long what was seen says that the API server can be reached.
	fresh = 5 * time.Second
)

var (
	// errDeadline ends an apply whose time is over.
	errDeadline = errors.New("the time of the apply is over")
	// errCalledOff ends a wait because of something else.
	errCalledOff = errors.New("called off")
	// errAgain is a look that failed and is to be tried again until the time is over.
	errAgain = errors.New("look again")
)

// look asks once whether something is as awaited, and says how it is.
type look func(context.Context) (reached bool, how string, err error)

// poll looks until something is as awaited. What is not when the apply's time
// is over is the release's own fault: nobody else is there to wait for. An API
// server that did not answer of late is not.
func (a *applier) poll(ctx context.Context, id manifest.ID, state string, once look) error {
	how, seen := "", time.Time{}
	for pause := firstPause / 2; ; pause = min(2*pause, slowestLook) {
		reached, now, err := a.inTurn(ctx, once)
		switch {
		case reached:
			return nil
		case err == nil:
			how, seen = now, time.Now()
		case errors.Is(err, errAgain):
		case ctx.Err() != nil && context.Cause(ctx) != errDeadline:
			return errCalledOff
		case ctx.Err() == nil || !errors.Is(err, context.DeadlineExceeded) && !errors.Is(err, context.Canceled):
			return err
		}
		if sleep(ctx, pause) == nil {
			continue
		}
		switch {
		case context.Cause(ctx) != errDeadline:
			return errCalledOff
		case time.Since(seen) > fresh:
			return fault.Retryable("wait", id.String(), errors.New("the API server does not answer"))
		}
		if how != "" {
			how = ": " + how
		}
		return fault.Terminal("wait", id.String(), deadlineError{fmt.Sprintf("not %s within the apply's %s%s", state, a.timeout, how)})
	}
}

// deadlineError tells what was not ready in time.
type deadlineError struct{ text string }

func (e deadlineError) Error() string        { return e.text }
func (e deadlineError) Is(target error) bool { return target == errDeadline }

// inTurn makes a look count as one of the requests at once.
func (a *applier) inTurn(ctx context.Context, once look) (bool, string, error) {
	select {
	case a.slots <- struct{}{}:
		defer func() { <-a.slots }()
		return once(ctx)
	case <-ctx.Done():
		return false, "", ctx.Err()
	}
}

// judge says whether an object is as awaited, and how it is. The error is that
// it never will be.
type judge func(*manifest.Object) (reached bool, how string, err error)

var judges = map[plan.Until]judge{
	plan.UntilActive: func(o *manifest.Object) (bool, string, error) {
		phase, _, _ := unstructured.NestedString(o.Object, "status", "phase")
		return phase == "Active", "its phase is " + phase, nil
	},
	plan.UntilServed:    conditionTrue("Established"),
	plan.UntilAvailable: conditionTrue("Available"),
}

// judge is how what is awaited is judged: whether it is ready, as the
// environment wants its kind judged.
func (a *applier) judge(until plan.Until) judge {
	if until != plan.UntilReady {
		return judges[until]
	}
	return func(o *manifest.Object) (bool, string, error) {
		status := a.rules.Of(o)
		if status.State == health.Failed && status.Definitive {
			return false, "", errors.New(status.Message)
		}
		return status.State == health.Current, status.Message, nil
	}
}

// await waits for the object of a change. answer is what the server said when
// it was applied, if it was just now.
func (a *applier) await(ctx context.Context, step plan.Step, answer *manifest.Object) (outcome, error) {
	change := a.changes[step.Change]
	if step.Until == plan.UntilComplete {
		return a.awaitHook(ctx, change)
	}
	reached := a.judge(step.Until)
	if answer != nil {
		if done, _, err := reached(answer); done && err == nil {
			return outcome{}, a.awaitKind(ctx, change, step.Until)
		}
	}
	k, err := a.kind(ctx, change)
	if err != nil {
		return outcome{}, err
	}
	err = a.patiently(ctx, step.Until, func(ctx context.Context) error { return a.awaitObject(ctx, k, change, step.Until) })
	if err == nil {
		err = a.awaitKind(ctx, change, step.Until)
	}
	return outcome{}, err
}

// patiently waits as long as a release may. Last good comes back whatever
// becomes of what it depends on: a restore keeps the order, and goes on after a
// while.
func (a *applier) patiently(ctx context.Context, until plan.Until, wait func(context.Context) error) error {
	if !a.w.Restoring || until != plan.UntilReady {
		return wait(ctx)
	}
	short, cancel := context.WithTimeout(ctx, a.c.options.PruneWait)
	defer cancel()
	err := wait(short)
	if ctx.Err() == nil && (errors.Is(err, errCalledOff) || fault.IsTerminal(err)) {
		return nil
	}
	return err
}

func (a *applier) awaitObject(ctx context.Context, k kind, change plan.Change, until plan.Until) error {
	return a.poll(ctx, change.ID, string(until), func(ctx context.Context) (bool, string, error) {
		o, err := a.c.get(ctx, k, change.ID)
		switch {
		case err != nil:
			return false, "", err
		case o == nil && plan.IsJob(change.Object):
			return false, "", fault.Retryable("wait", change.ID.String(), errors.New("the Job is gone before it was seen to complete"))
		case o == nil:
			return false, health.Missing(change.ID).Message, nil
		}
		done, how, err := a.judge(until)(o)
		return done, how, fault.Terminal("wait", change.ID.String(), err)
	})
}

// awaitKind waits until a definition that is established is served.
func (a *applier) awaitKind(ctx context.Context, change plan.Change, until plan.Until) error {
	if until != plan.UntilServed {
		return nil
	}
	gk, versions := definedKind(change.Object), servedVersions(change.Object)
	return a.poll(ctx, change.ID, "served", func(ctx context.Context) (bool, string, error) {
		if err := a.c.kinds.refresh(ctx); err != nil {
			return false, "", errAgain
		}
		for _, version := range versions {
			if _, err := a.c.kinds.find(ctx, gk, version); err != nil {
				return false, "established, and version " + version + " is not found by discovery", nil
			}
		}
		return true, "", nil
	})
}

func conditionTrue(kind string) judge {
	return func(o *manifest.Object) (bool, string, error) {
		conditions, _, err := unstructured.NestedSlice(o.Object, "status", "conditions")
		if err != nil {
			return false, "its status cannot be read", nil
		}
		how := "its controller has not looked at it"
		for _, c := range conditions {
			condition, _ := c.(map[string]any)
			switch {
			case condition["type"] == kind && condition["status"] == "True":
				return true, "", nil
			case condition["status"] == "False":
				text, _ := condition["message"].(string)
				how = shorten(text, maxAnswer)
			}
		}
		return false, how, nil
	}
}

// awaitHook waits for a hook, also for one that an earlier attempt started. One
// that failed ends the release. The outcome of one with an error counts, too.
func (a *applier) awaitHook(ctx context.Context, change plan.Change) (outcome, error) {
	k, err := a.kind(ctx, change)
	if err != nil {
		return outcome{}, err
	}
	got := outcome{}
	err = a.poll(ctx, change.ID, "complete", func(ctx context.Context) (bool, string, error) {
		job, err := a.c.get(ctx, k, change.ID)
		if err != nil {
			return false, "", err
		}
		if job == nil {
			// Not a verdict, and nothing to try again: how it ended a person has to
			// find out. The next plan is refused until then.
			return false, "", fault.Terminal("wait", change.ID.String(),
				errors.New("the Job of a hook is gone, and nobody saw it complete or fail; it may have done its work, and is not run again by itself"))
		}
		got.uid = string(job.GetUID())
		switch state, message := plan.StateOf(job); state {
		case plan.JobComplete:
			got.applied = plan.Applied(change.Object)
			return true, "", nil
		case plan.JobFailed:
			got.applied = plan.Failed(change.Object)
			return false, "", a.withLog(ctx, change.ID, hookError(change.ID, message))
		}
		return false, "the Job " + health.Of(job).Message, nil
	})
	return got, err
}

package cluster

import (
	"context"
	"errors"
	"fmt"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"chaperone.dev/chaperone/internal/fault"
	"chaperone.dev/chaperone/internal/manifest"
	"chaperone.dev/chaperone/internal/plan"
)

const (
	// foundationWait bounds how long CRDs and Namespaces may take to be ready.
	foundationWait = time.Minute
	// hookWait bounds a hook where neither the context nor the Job does.
	hookWait = time.Hour
	// slowestLook is the longest pause between two looks at what is awaited.
	slowestLook = 2 * time.Second
)

// until looks until there is an answer, at growing intervals.
func until(ctx context.Context, limit time.Duration, look func(context.Context) (bool, error)) (bool, error) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	for pause := firstPause / 2; ; pause = min(2*pause, slowestLook) {
		done, err := look(ctx)
		if done || err != nil {
			if err != nil && ctx.Err() != nil {
				return false, nil // the time was over in the middle of a look
			}
			return done, err
		}
		if sleep(ctx, pause) != nil {
			return false, nil
		}
	}
}

// waitFoundation waits until CRDs are established and served, and Namespaces
// active: what comes next lives in them.
func (c *Cluster) waitFoundation(ctx context.Context, changes []plan.Change) error {
	for _, change := range changes {
		if change.Action == plan.Unchanged {
			continue
		}
		var err error
		switch change.ID.GroupKind().String() {
		case "CustomResourceDefinition.apiextensions.k8s.io":
			err = c.waitEstablished(ctx, change)
		case "Namespace":
			err = c.waitObject(ctx, change.ID, "active", func(o *manifest.Object) bool {
				phase, _, _ := unstructured.NestedString(o.Object, "status", "phase")
				return phase == "Active"
			})
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (c *Cluster) waitEstablished(ctx context.Context, change plan.Change) error {
	if err := c.waitObject(ctx, change.ID, "established", established); err != nil {
		return err
	}
	gk, versions := definedKind(change.Object), servedVersions(change.Object)
	served, err := until(ctx, foundationWait, func(ctx context.Context) (bool, error) {
		if err := c.kinds.refresh(ctx); err != nil {
			return false, nil // asked again until the time is over
		}
		for _, version := range versions {
			if _, err := c.kinds.find(ctx, gk, version); err != nil {
				return false, nil
			}
		}
		return true, nil
	})
	if err == nil && !served {
		err = fault.Retryable("wait", change.ID.String(), errors.New("established, and still not served by the API server"))
	}
	return err
}

func established(crd *manifest.Object) bool {
	conditions, _, err := unstructured.NestedSlice(crd.Object, "status", "conditions")
	if err != nil {
		return false
	}
	for _, c := range conditions {
		condition, _ := c.(map[string]any)
		if condition["type"] == "Established" && condition["status"] == "True" {
			return true
		}
	}
	return false
}

func (c *Cluster) waitObject(ctx context.Context, id manifest.ID, state string, reached func(*manifest.Object) bool) error {
	k, err := c.kinds.find(ctx, id.GroupKind(), "")
	if err != nil {
		return err
	}
	done, err := until(ctx, foundationWait, func(ctx context.Context) (bool, error) {
		o, err := c.get(ctx, k, id)
		return o != nil && err == nil && reached(o), err
	})
	if err == nil && !done {
		err = fault.Retryable("wait", id.String(), fmt.Errorf("not %s yet", state))
	}
	return err
}

// waitGone waits until an object is not there, or another has its name.
func (c *Cluster) waitGone(ctx context.Context, k kind, id manifest.ID, uid string) (bool, error) {
	return until(ctx, c.options.PruneWait, func(ctx context.Context) (bool, error) {
		o, err := c.get(ctx, k, id)
		return err == nil && (o == nil || string(o.GetUID()) != uid), err
	})
}

// hooks waits for the Jobs of a stage, those included that an earlier attempt
// started. The first that failed ends the release.
func (a *applier) hooks(ctx context.Context, changes []plan.Change) error {
	waited := false
	for _, change := range changes {
		if !plan.IsHook(change.Object) || change.Reason == plan.ReasonCompleted {
			continue
		}
		uid, err := a.c.waitJob(ctx, change)
		if err != nil {
			return err
		}
		a.done[change.ID] = outcome{uid: uid, applied: plan.Applied(change.Object)}
		waited = true
	}
	if !waited {
		return nil
	}
	// Now, not at the end: a Job with a short time to live must not run again
	// because the daemon was stopped in between.
	return a.record(ctx)
}

func (c *Cluster) waitJob(ctx context.Context, change plan.Change) (uid string, err error) {
	k, err := c.kinds.find(ctx, change.ID.GroupKind(), change.Object.GroupVersionKind().Version)
	if err != nil {
		return "", err
	}
	done, err := until(ctx, hookWait, func(ctx context.Context) (bool, error) {
		job, err := c.get(ctx, k, change.ID)
		if err != nil {
			return false, err
		}
		if job == nil {
			return false, fault.Retryable("hook", change.ID.String(), errors.New("the Job is gone before it was seen to complete"))
		}
		uid = string(job.GetUID())
		switch state, message := plan.StateOf(job); state {
		case plan.JobComplete:
			return true, nil
		case plan.JobFailed:
			return false, hookError(change.ID, message)
		}
		return false, nil
	})
	if err == nil && !done {
		err = fault.Retryable("hook", change.ID.String(), errors.New("the Job has not completed in time"))
	}
	return uid, err
}

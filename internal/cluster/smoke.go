package cluster

import (
	"context"
	"errors"
	"fmt"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"chaperone.dev/chaperone/internal/fault"
	"chaperone.dev/chaperone/internal/manifest"
	"chaperone.dev/chaperone/internal/plan"
)

// AnnotationVerifies is on the Jobs that verification makes, with whom for.
const AnnotationVerifies = "chaperone.dev/verifies"

// keptFor is how long such a Job is there after its end, for people to look at.
const keptFor = time.Hour

var (
	jobs     = schema.GroupVersionResource{Group: "batch", Version: "v1", Resource: "jobs"}
	cronJobs = schema.GroupVersionResource{Group: "batch", Version: "v1", Resource: "cronjobs"}
)

// Smoke is a Job to be made of an environment's CronJob.
type Smoke struct {
	CronJob string
	Job     string // its name; the same name is the same Job
	Timeout time.Duration
	Retries int
}

// BeginSmoke makes a Job of a CronJob, unless it is there, and returns its UID.
// The CronJob has to be the environment's: another's, or one that somebody made
// by hand, says nothing about the release.
func (c *Cluster) BeginSmoke(ctx context.Context, w Owner, s Smoke) (uid string, err error) {
	from := manifest.ID{Group: "batch", Kind: "CronJob", Namespace: w.Namespace, Name: s.CronJob}
	var template *unstructured.Unstructured
	err = c.retry(ctx, func(ctx context.Context) (err error) {
		template, err = c.dynamic.Resource(cronJobs).Namespace(w.Namespace).Get(ctx, s.CronJob, metav1.GetOptions{})
		return err
	})
	switch {
	case apierrors.IsNotFound(err):
		return "", fault.Terminal("read", from.String(), errors.New("it does not exist; want a CronJob of the release"))
	case err != nil:
		return "", failed("read", from, err)
	case !w.plan().Marked(template):
		return "", fault.Terminal("read", from.String(), errors.New("it is not of this environment; want a CronJob of the release"))
	}
	job, err := smokeJob(template, w, s)
	if err != nil {
		return "", fault.Terminal("read", from.String(), err)
	}
	return c.createSmoke(ctx, w, job)
}

func (c *Cluster) createSmoke(ctx context.Context, w Owner, job *unstructured.Unstructured) (uid string, err error) {
	id := manifest.IDOf(job)
	client := c.dynamic.Resource(jobs).Namespace(w.Namespace)
	var made *unstructured.Unstructured
	err = c.retry(ctx, func(ctx context.Context) error {
		var err error
		made, err = client.Create(ctx, job, metav1.CreateOptions{FieldManager: c.options.FieldManager})
		if apierrors.IsAlreadyExists(err) { // by an attempt that was cut off
			made, err = client.Get(ctx, job.GetName(), metav1.GetOptions{})
			if err == nil && made.GetAnnotations()[AnnotationVerifies] != w.Environment.String() {
				return fault.Terminal("create", id.String(), errors.New("somebody else's Job has its name"))
			}
		}
		return err
	})
	switch {
	case fault.IsTerminal(err):
		return "", err
	case err != nil:
		return "", failed("create", id, err)
	case made.GetDeletionTimestamp() != nil || neverRan(made):
		return "", c.anew(ctx, made)
	}
	return string(made.GetUID()), nil
}

// anew takes away a Job that is over and has told nothing: asked again, it would
// tell nothing again for as long as it is kept.
func (c *Cluster) anew(ctx context.Context, job *unstructured.Unstructured) error {
	id := manifest.IDOf(job)
	k, err := c.kinds.find(ctx, id.GroupKind(), "v1")
	if err == nil && job.GetDeletionTimestamp() == nil {
		_, err = c.delete(ctx, k, id, condition{uid: string(job.GetUID())})
	}
	if err != nil {
		return err
	}
	return fault.Retryable("create", id.String(), errors.New("one of which no pod came to run is there yet; it is made anew"))
}

// neverRan: its time was over before a pod of it ended by itself.
func neverRan(job *unstructured.Unstructured) bool {
	ended := false
	for _, c := range mappings(job.Object, "status", "conditions") {
		ended = ended || c["type"] == "Failed" && c["status"] == "True" && c["reason"] == "DeadlineExceeded"
	}
	succeeded, _, _ := unstructured.NestedInt64(job.Object, "status", "succeeded")
	return ended && succeeded == 0
}

// smokeJob has no owner: what a CronJob owns it also deletes.
func smokeJob(from *unstructured.Unstructured, w Owner, s Smoke) (*unstructured.Unstructured, error) {
	spec, found, err := unstructured.NestedMap(from.Object, "spec", "jobTemplate", "spec")
	if err != nil || !found {
		return nil, errors.New("it has no jobTemplate")
	}
	spec["activeDeadlineSeconds"] = max(1, int64(s.Timeout.Seconds()))
	spec["backoffLimit"] = int64(s.Retries)
	spec["ttlSecondsAfterFinished"] = int64(keptFor.Seconds())
	delete(spec, "suspend")
	job := &unstructured.Unstructured{Object: map[string]any{"apiVersion": "batch/v1", "kind": "Job", "spec": spec}}
	labels, _, _ := unstructured.NestedStringMap(from.Object, "spec", "jobTemplate", "metadata", "labels")
	delete(labels, plan.LabelPartOf) // it is no part of what is applied
	job.SetName(s.Job)
	job.SetNamespace(w.Namespace)
	job.SetLabels(labels)
	job.SetAnnotations(map[string]string{AnnotationVerifies: w.Environment.String()})
	return job, nil
}

// LookSmoke reads such a Job; nil is that it is gone, or another has its name.
func (c *Cluster) LookSmoke(ctx context.Context, namespace, name, uid string) (*manifest.Object, error) {
	id := manifest.ID{Group: "batch", Kind: "Job", Namespace: namespace, Name: name}
	var job *manifest.Object
	err := c.retry(ctx, func(ctx context.Context) error {
		o, err := c.dynamic.Resource(jobs).Namespace(namespace).Get(ctx, name, metav1.GetOptions{})
		switch {
		case apierrors.IsNotFound(err):
			return nil
		case err == nil && string(o.GetUID()) == uid:
			job = o
		}
		return err
	})
	if err != nil {
		return nil, failed("read", id, fmt.Errorf("%w", err))
	}
	return job, nil
}

package plan

import (
	"encoding/json"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"chaperone.dev/chaperone/internal/manifest"
)

// IsJob reports whether an object is a batch Job.
func IsJob(o *manifest.Object) bool {
	gvk := o.GroupVersionKind()
	return gvk.Group == "batch" && gvk.Kind == "Job"
}

// IsHook reports whether an object is a Job that a release waits for.
func IsHook(o *manifest.Object) bool {
	stage := manifest.StageOf(o)
	return IsJob(o) && (stage == manifest.StagePreDeploy || stage == manifest.StagePostDeploy)
}

// JobState is how far a Job is.
type JobState int

// The states of a Job.
const (
	JobRunning JobState = iota
	JobComplete
	JobFailed
)

// StateOf reads a Job's conditions; message is the failure in the Job
// controller's words.
func StateOf(job *manifest.Object) (state JobState, message string) {
	conditions, _, err := unstructured.NestedSlice(job.Object, "status", "conditions")
	if err != nil {
		return JobRunning, ""
	}
	for _, c := range conditions {
		condition, _ := c.(map[string]any)
		if condition["status"] != "True" {
			continue
		}
		switch condition["type"] {
		case "Complete":
			return JobComplete, ""
		case "Failed":
			reason, _ := condition["reason"].(string)
			text, _ := condition["message"].(string)
			return JobFailed, reason + ": " + text
		}
	}
	return JobRunning, ""
}

// Applied is the digest by which an inventory remembers what a Job was applied
// as.
func Applied(sent *manifest.Object) string {
	b, err := json.Marshal(sent.Object)
	if err != nil {
		return ""
	}
	return manifest.DigestBytes(b).Short()
}

// ranAndLeft reports whether a Job that is not there has run with this very
// content: a Job with a time to live goes by itself, and running its migration
// again at every pass would be worse than not having it. It does not run again
// either because its environment has another name now.
func (w Owner) ranAndLeft(sent *manifest.Object, owned Owned) bool {
	if !IsJob(sent) || owned.Applied == "" || owned.Applied != Applied(sent) && !w.ranBefore(sent, owned.Applied) {
		return false
	}
	_, leaves, err := unstructured.NestedFieldNoCopy(sent.Object, "spec", "ttlSecondsAfterFinished")
	return IsHook(sent) || leaves && err == nil
}

// ranBefore reports whether an environment that is taken over applied a Job
// with this content. The digest is over its marks too.
func (w Owner) ranBefore(sent *manifest.Object, applied string) bool {
	for _, f := range w.Formerly {
		its := sent.DeepCopy()
		if err := (Owner{Environment: f.Environment, SetID: f.SetID}).Mark(its); err == nil && Applied(its) == applied {
			return true
		}
	}
	return false
}

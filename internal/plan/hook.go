package plan

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"chaperone.dev/chaperone/internal/manifest"
	"chaperone.dev/chaperone/internal/promotion"
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

const maxHookOrder = 1000

// hookOrder is when a hook runs among those of its stage; what is wrong with the
// annotation is the error, free of its object's name.
func hookOrder(o *manifest.Object) (int, error) {
	text, given := o.GetAnnotations()[manifest.AnnotationHookOrder]
	if !given {
		return 0, nil
	}
	order, err := strconv.Atoi(text)
	switch {
	case err != nil || order < -maxHookOrder || order > maxHookOrder:
		return 0, fmt.Errorf("%s: want a whole number from %d to %d, not %.40q", manifest.AnnotationHookOrder, -maxHookOrder, maxHookOrder, text)
	case !IsJob(o) || manifest.StageOf(o) != manifest.StageRollback && !IsHook(o):
		return 0, fmt.Errorf("%s: only the Jobs of hooks have an order; want chaperone.dev/hook beside it, or remove it", manifest.AnnotationHookOrder)
	}
	return order, nil
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

// begunMark and failedMark come before the digest in an inventory while no
// result of a hook was seen, and once it was seen to fail.
const (
	begunMark  = "begun:"
	failedMark = "failed:"
)

// Begun is Applied of a hook that is started and has no result yet.
func Begun(sent *manifest.Object) string { return begunMark + Applied(sent) }

// Failed is Applied of a hook that was seen to fail.
func Failed(sent *manifest.Object) string { return failedMark + Applied(sent) }

// vanished reports whether a hook was started with this very content and is
// gone, or deleted while it ran, without anybody having seen how it ended. It may
// have done its work, half of it, or none.
func (w Owner) vanished(sent, live *manifest.Object, owned Owned) bool {
	applied, begun := strings.CutPrefix(owned.Applied, begunMark)
	if !begun || !IsHook(sent) || applied != Applied(sent) && !w.ranBefore(sent, applied) {
		return false
	}
	if live == nil {
		return true
	}
	state, _ := StateOf(live)
	return live.GetDeletionTimestamp() != nil && state == JobRunning
}

func vanishedRefusal(hooks []Culprit) *Refusal {
	return &Refusal{Reason: promotion.ApplyRejected, Objects: hooks,
		Text: "a hook was started and is gone without a result; it does not run a second time by itself. Find out what it did: " +
			"then take it out of the release, or change it (an annotation is enough) to have it run again"}
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

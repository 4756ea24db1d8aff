package health

import (
	"fmt"
	"slices"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"chaperone.dev/chaperone/internal/manifest"
)

// A judge decides where kstatus would be wrong, or leaves it to kstatus.
type judge func(o *manifest.Object) (judged Status, decided bool)

var kinds = map[schema.GroupKind]judge{
	{Group: "", Kind: "Pod"}:                              pod,
	{Group: "", Kind: "PersistentVolumeClaim"}:            claim,
	{Group: "batch", Kind: "Job"}:                         job,
	{Group: "apps", Kind: "StatefulSet"}:                  statefulSet,
	{Group: "apps", Kind: "DaemonSet"}:                    daemonSet,
	{Group: "apps", Kind: "Deployment"}:                   deployment,
	{Group: "apiregistration.k8s.io", Kind: "APIService"}: notFalse("Available"),
}

// observers always write status.observedGeneration. While it is absent their
// controller has not looked, and zero replicas would pass for a finished rollout.
var observers = map[schema.GroupKind]bool{
	{Group: "apps", Kind: "Deployment"}:            true,
	{Group: "apps", Kind: "ReplicaSet"}:            true,
	{Group: "apps", Kind: "StatefulSet"}:           true,
	{Group: "apps", Kind: "DaemonSet"}:             true,
	{Group: "policy", Kind: "PodDisruptionBudget"}: true,
}

// unobserved says that the status does not speak of the present generation.
func unobserved(o *manifest.Object) string {
	generation, found, _ := unstructured.NestedInt64(o.Object, "metadata", "generation")
	if !found {
		return ""
	}
	observed, written, _ := unstructured.NestedInt64(o.Object, "status", "observedGeneration")
	if written && observed != generation {
		return fmt.Sprintf("status is of generation %d, the object of %d", observed, generation)
	}
	if !written && observers[o.GroupVersionKind().GroupKind()] {
		return fmt.Sprintf("generation %d was not looked at by its controller yet", generation)
	}
	// Many custom resources record the generation in each condition instead.
	for _, c := range conditions(o) {
		if c.generation > 0 && c.generation < generation && slices.Contains(judgedConditions, c.kind) {
			return fmt.Sprintf("condition %s is of generation %d, the object of %d", c.kind, c.generation, generation)
		}
	}
	return ""
}

// judgedConditions are those that any rule of ours or kstatus's reads.
var judgedConditions = []string{"Ready", "Reconciling", "Stalled", "Accepted", "Programmed", "Available"}

// job is ready when it completed; kstatus is content when it runs.
func job(o *manifest.Object) (Status, bool) {
	succeeded, failed := number(o, 0, "status", "succeeded"), number(o, 0, "status", "failed")
	for _, c := range conditions(o) {
		switch {
		case c.kind == "Complete" && c.status == "True":
			return Status{State: Current, Definitive: true, Message: fmt.Sprintf("completed with %d succeeded", succeeded)}, true
		case c.kind == "Failed" && c.status == "True":
			return Status{State: Failed, Definitive: true, Message: "failed after " + plural(failed, "failed pod") + c.because()}, true
		}
	}
	if suspended, _, _ := unstructured.NestedBool(o.Object, "spec", "suspend"); suspended {
		return Status{State: Current, Message: "is suspended, as its spec asks"}, true
	}
	if started, _, _ := unstructured.NestedString(o.Object, "status", "startTime"); started == "" {
		return Status{State: InProgress, Message: "has not started"}, true
	}
	return Status{State: InProgress, Message: fmt.Sprintf("is running with %d active, %d succeeded, %d failed",
		number(o, 0, "status", "active"), succeeded, failed)}, true
}

// pod is decided here because kstatus reads the clock for it.
func pod(o *manifest.Object) (Status, bool) {
	phase, _, _ := unstructured.NestedString(o.Object, "status", "phase")
	trouble := podTrouble(o)
	switch {
	case phase == "Succeeded":
		return Status{State: Current, Message: "completed"}, true
	case phase == "Failed":
		return Status{State: Failed, Message: orElse(trouble.text, "failed")}, true
	case phase == "Running" && conditionIs(o, "Ready", "True"):
		return Status{State: Current, Message: "is ready"}, true
	case trouble.rank >= rankBroken:
		return Status{State: Failed, Message: trouble.text}, true
	}
	return Status{State: InProgress, Message: orElse(trouble.text, "is "+orElse(phase, "not scheduled"))}, true
}

// claim without a provisioner at work waits for its first consumer, and may do
// so for ever (a claim that only a CronJob mounts). Where a consumer does wait
// for it, that consumer is not ready and says so.
func claim(o *manifest.Object) (Status, bool) {
	switch phase, _, _ := unstructured.NestedString(o.Object, "status", "phase"); phase {
	case "Bound":
		return Status{State: Current, Message: "is bound"}, true
	case "Lost":
		return Status{State: Failed, Message: "lost its volume"}, true
	case "Pending":
		annotations := o.GetAnnotations()
		for _, busy := range []string{
			"volume.kubernetes.io/selected-node",
			"volume.kubernetes.io/storage-provisioner",
			"volume.beta.kubernetes.io/storage-provisioner",
		} {
			if annotations[busy] != "" {
				return Status{State: InProgress, Message: "is not bound yet"}, true
			}
		}
		return Status{State: Current, Message: "waits for its first consumer"}, true
	}
	return Status{State: InProgress, Message: "was not looked at by its controller yet"}, true
}

// statefulSet with OnDelete keeps old pods until a person deletes them; kstatus
// then calls it ready without looking at a single pod.
func statefulSet(o *manifest.Object) (Status, bool) {
	if !onDelete(o) {
		return Status{}, false
	}
	return counted(number(o, 0, "status", "readyReplicas"), number(o, 1, "spec", "replicas")), true
}

// daemonSet with OnDelete would never have all pods updated, and kstatus waits for that.
func daemonSet(o *manifest.Object) (Status, bool) {
	if !onDelete(o) {
		return Status{}, false
	}
	return counted(number(o, 0, "status", "numberReady"), number(o, 0, "status", "desiredNumberScheduled")), true
}

// deployment adds that its controller gave up, and why pods cannot even be
// created: a quota, an admission webhook, a missing service account.
func deployment(o *manifest.Object) (Status, bool) {
	judged := compute(o)
	for _, c := range conditions(o) {
		switch {
		case judged.State == Failed && c.kind == "Progressing" && c.reason == "ProgressDeadlineExceeded":
			judged.Definitive = true
			judged.Message = fmt.Sprintf("progress deadline of %ds exceeded, %d of %d available",
				number(o, 600, "spec", "progressDeadlineSeconds"),
				number(o, 0, "status", "availableReplicas"), number(o, 1, "spec", "replicas"))
		case judged.State != Current && c.kind == "ReplicaFailure" && c.status == "True":
			judged.Message += c.because()
		}
	}
	return judged, true
}

func plural(n int64, noun string) string {
	if n != 1 {
		noun += "s"
	}
	return fmt.Sprintf("%d %s", n, noun)
}

func counted(ready, want int64) Status {
	if ready < want {
		return Status{State: InProgress, Message: fmt.Sprintf("%d of %d ready", ready, want)}
	}
	return Status{State: Current, Message: fmt.Sprintf("%d of %d ready, updated on delete", ready, want)}
}

func onDelete(o *manifest.Object) bool {
	strategy, _, _ := unstructured.NestedString(o.Object, "spec", "updateStrategy", "type")
	return strategy == "OnDelete"
}

// notFalse waits while one of the conditions is False. Unknown is let through:
// it is what the API's defaults say where no controller is installed.
func notFalse(types ...string) judge {
	return func(o *manifest.Object) (Status, bool) {
		for _, c := range conditions(o) {
			if c.status == "False" && slices.Contains(types, c.kind) {
				return Status{State: InProgress, Message: "is not " + c.kind + c.because()}, true
			}
		}
		return Status{}, false
	}
}

package health

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"

	"chaperone.dev/chaperone/internal/manifest"
)

// trouble is what keeps a pod from being ready; the higher the rank, the more
// it explains.
type trouble struct {
	rank int
	text string
}

const (
	rankNone    = iota
	rankWaiting // being created
	rankUnready // runs, and its probe says no
	rankUnschedulable
	rankBroken // its container cannot start, or does not stay up
)

// brokenReasons are the waiting reasons that mean more than patience.
var brokenReasons = []string{
	"CrashLoopBackOff", "ImagePullBackOff", "ErrImagePull", "ErrImageNeverPull", "InvalidImageName",
	"ImageInspectError", "RegistryUnavailable", "CreateContainerConfigError", "CreateContainerError",
	"RunContainerError", "PostStartHookError",
}

// podTrouble finds the worst that a pod says about itself. It never repeats a
// termination message: that is the application's own output, patient data included.
func podTrouble(pod *manifest.Object) trouble {
	var worst trouble
	note := func(t trouble) {
		if t.rank > worst.rank {
			worst = t
		}
	}
	for _, field := range []string{"initContainerStatuses", "containerStatuses"} {
		for _, container := range list(pod.Object, "status", field) {
			note(containerTrouble(container, field == "initContainerStatuses"))
		}
	}
	for _, c := range conditions(pod) {
		if c.kind == "PodScheduled" && c.status == "False" {
			note(trouble{rankUnschedulable, "is not scheduled" + c.because()})
		}
		if c.kind == "Ready" && c.status == "False" {
			note(trouble{rankWaiting, "is not ready" + c.because()})
		}
	}
	if reason, _, _ := unstructured.NestedString(pod.Object, "status", "reason"); reason != "" {
		note(trouble{rankBroken, "was stopped: " + clip(reason)})
	}
	return worst
}

func containerTrouble(container map[string]any, isInit bool) trouble {
	label := fmt.Sprintf("container %q", clip(text(container, "name")))
	if isInit {
		label = "init " + label
	}
	state := mapping(container, "state")
	if waiting := mapping(state, "waiting"); waiting != nil {
		return waitingTrouble(label, waiting, container)
	}
	if ended := mapping(state, "terminated"); ended != nil && exitCode(ended) != 0 {
		return trouble{rankBroken, label + " " + exit(ended)}
	}
	ready, _ := container["ready"].(bool)
	if mapping(state, "running") != nil && !ready && !isInit {
		return trouble{rankUnready, label + " runs but is not ready" + restarts(container)}
	}
	return trouble{}
}

func waitingTrouble(label string, waiting, container map[string]any) trouble {
	reason := clip(text(waiting, "reason"))
	if !slices.Contains(brokenReasons, reason) {
		return trouble{rankWaiting, label + " waits: " + orElse(reason, "no reason given")}
	}
	t := trouble{rankBroken, label + " waits: " + reason + restarts(container)}
	if reason != "CrashLoopBackOff" { // whose message repeats the pod's name and uid, and no cause
		if message := clip(text(waiting, "message")); message != "" {
			t.text += ": " + message
		}
		return t
	}
	if ended := mapping(mapping(container, "lastState"), "terminated"); ended != nil {
		t.text += ", last " + exit(ended)
	}
	return t
}

func exit(ended map[string]any) string {
	s := fmt.Sprintf("exited with code %d", exitCode(ended))
	if reason := clip(text(ended, "reason")); reason != "" && reason != "Error" {
		s += " (" + reason + ")"
	}
	return s
}

func exitCode(ended map[string]any) int64 {
	code, _ := ended["exitCode"].(int64)
	return code
}

func restarts(container map[string]any) string {
	if n, _ := container["restartCount"].(int64); n > 0 {
		return " after " + plural(n, "restart")
	}
	return ""
}

func mapping(entry map[string]any, key string) map[string]any {
	m, _ := entry[key].(map[string]any)
	return m
}

// family finds the pods that a workload stands for now. Pods of an older
// template are left out: theirs is not the release's trouble.
type family struct {
	byOwner map[types.UID][]*manifest.Object
	orphans []*manifest.Object // pods whose ReplicaSet was not given
}

// controllerOf returns the owner that controls an object, if any.
func controllerOf(o *manifest.Object) (kind, name string, uid types.UID, found bool) {
	for _, owner := range list(o.Object, "metadata", "ownerReferences") {
		if controls, _ := owner["controller"].(bool); controls {
			return text(owner, "kind"), text(owner, "name"), types.UID(text(owner, "uid")), true
		}
	}
	return "", "", "", false
}

func newFamily(objects map[manifest.ID]*manifest.Object) family {
	f := family{byOwner: map[types.UID][]*manifest.Object{}}
	known := map[types.UID]bool{}
	for _, o := range objects {
		if o != nil && o.GetUID() != "" {
			known[o.GetUID()] = true
		}
	}
	for _, o := range objects {
		if o == nil {
			continue
		}
		kind, _, uid, found := controllerOf(o)
		if !found {
			continue
		}
		f.byOwner[uid] = append(f.byOwner[uid], o)
		if o.GetKind() == "Pod" && kind == "ReplicaSet" && !known[uid] {
			f.orphans = append(f.orphans, o)
		}
	}
	return f
}

// pods of the present template of a workload.
func (f family) pods(o *manifest.Object) []*manifest.Object {
	if o.GetUID() == "" {
		return nil
	}
	children := f.byOwner[o.GetUID()]
	switch o.GetKind() {
	case "Deployment":
		revision := o.GetAnnotations()["deployment.kubernetes.io/revision"]
		for _, child := range children {
			if child.GetKind() == "ReplicaSet" && child.GetAnnotations()["deployment.kubernetes.io/revision"] == revision {
				return f.byOwner[child.GetUID()]
			}
		}
		return f.newestOrphans(o)
	case "StatefulSet":
		update, _, _ := unstructured.NestedString(o.Object, "status", "updateRevision")
		return slices.DeleteFunc(slices.Clone(children), func(child *manifest.Object) bool {
			hash := child.GetLabels()["controller-revision-hash"]
			return update != "" && hash != "" && hash != update
		})
	}
	return children
}

// newestOrphans goes by the ReplicaSet's name, which is the Deployment's and
// the pods' template hash, where only pods were read.
func (f family) newestOrphans(o *manifest.Object) []*manifest.Object {
	byHash := map[string][]*manifest.Object{}
	newest, newestBorn := "", ""
	for _, child := range f.orphans {
		_, owner, _, _ := controllerOf(child)
		hash := child.GetLabels()["pod-template-hash"]
		if hash == "" || owner != o.GetName()+"-"+hash || child.GetNamespace() != o.GetNamespace() {
			continue
		}
		byHash[hash] = append(byHash[hash], child)
		born := child.GetCreationTimestamp().UTC().Format("2006-01-02T15:04:05Z")
		if born > newestBorn || born == newestBorn && hash > newest {
			newest, newestBorn = hash, born
		}
	}
	return byHash[newest]
}

// evidence is the worst trouble among a workload's pods, naming one of them.
func (f family) evidence(o *manifest.Object) string {
	type troubled struct {
		pod string
		trouble
	}
	var all []troubled
	for _, child := range f.pods(o) {
		if child.GetKind() != "Pod" || child.GetDeletionTimestamp() != nil {
			continue
		}
		if t := podTrouble(child); t.rank > rankNone {
			all = append(all, troubled{child.GetName(), t})
		}
	}
	if len(all) == 0 {
		return ""
	}
	worst := slices.MinFunc(all, func(a, b troubled) int {
		return cmp.Or(cmp.Compare(b.rank, a.rank), strings.Compare(a.pod, b.pod))
	})
	sentence := fmt.Sprintf("pod %s: %s", worst.pod, worst.text)
	if len(all) > 1 {
		sentence += fmt.Sprintf(", and %d more like it", len(all)-1)
	}
	return sentence
}

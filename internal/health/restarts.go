package health

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"chaperone.dev/chaperone/internal/manifest"
)

// Restarted is a container that ended and was started again.
type Restarted struct {
	Pod, Container string
	Times          int64
	OutOfMemory    bool      // the last time
	Last           string    // how it ended then
	Ended          time.Time // then; zero is unknown
}

// String names the pod first, as a person looks for it.
func (r Restarted) String() string {
	text := fmt.Sprintf("pod %s: container %q was started again %s", clip(r.Pod), clip(r.Container), many(r.Times))
	if r.Last != "" {
		text += ", last after it " + r.Last
	}
	return text
}

func many(n int64) string {
	if n == 1 {
		return "once"
	}
	return fmt.Sprintf("%d times", n)
}

// slack is by how much the clocks of whoever began a release and of the API
// server may differ.
const slack = time.Minute

// Restarts are those of the pods that workloads have by their present template
// and since a release was begun: an older pod's are not its doing, and neither are
// those of a template that was in use before, moved from another node perhaps. pods is how
// many there are of these. Jobs are left out: they say themselves how often they
// may be tried. The most frequent comes first.
func Restarts(objects map[manifest.ID]*manifest.Object, since time.Time) (restarted []Restarted, pods int) {
	relatives := newFamily(objects)
	for id, o := range objects {
		if id.Group != "apps" || o == nil || id.Kind == "ReplicaSet" {
			continue
		}
		if !since.IsZero() && relatives.inUseBefore(o, since.Add(-slack)) {
			continue
		}
		for _, pod := range relatives.pods(o) {
			born := pod.GetCreationTimestamp()
			if pod.GetKind() != "Pod" || !since.IsZero() && born.Time.Before(since.Add(-slack)) {
				continue
			}
			pods++
			restarted = append(restarted, restartsOf(pod)...)
		}
	}
	slices.SortFunc(restarted, func(a, b Restarted) int {
		return cmp.Or(cmp.Compare(b.Times, a.Times), cmp.Compare(a.Pod, b.Pod), cmp.Compare(a.Container, b.Container))
	})
	return restarted, pods
}

// inUseBefore reports whether a Deployment has had its present template since
// before a time: its ReplicaSet is older, and the last rollout was over by then.
// (An older ReplicaSet may have come back since.) What is not known is not so.
func (f family) inUseBefore(o *manifest.Object, at time.Time) bool {
	if o.GetKind() != "Deployment" {
		return false
	}
	revision := o.GetAnnotations()["deployment.kubernetes.io/revision"]
	for _, child := range f.byOwner[o.GetUID()] {
		born := child.GetCreationTimestamp()
		if child.GetKind() != "ReplicaSet" || child.GetAnnotations()["deployment.kubernetes.io/revision"] != revision || born.IsZero() || !born.Time.Before(at) {
			continue
		}
		for _, c := range list(o.Object, "status", "conditions") {
			rolled, err := time.Parse(time.RFC3339, text(c, "lastUpdateTime"))
			if text(c, "type") == "Progressing" && text(c, "reason") == "NewReplicaSetAvailable" && err == nil && rolled.Before(at) {
				return true
			}
		}
	}
	return false
}

func restartsOf(pod *manifest.Object) []Restarted {
	var all []Restarted
	for _, field := range []string{"initContainerStatuses", "containerStatuses"} {
		for _, container := range list(pod.Object, "status", field) {
			times, _ := container["restartCount"].(int64)
			if times <= 0 {
				continue
			}
			r := Restarted{Pod: pod.GetName(), Container: text(container, "name"), Times: times}
			if ended := mapping(mapping(container, "lastState"), "terminated"); ended != nil {
				r.Last, r.OutOfMemory = exit(ended), text(ended, "reason") == "OOMKilled"
				r.Ended, _ = time.Parse(time.RFC3339, text(ended, "finishedAt")) // what is no time is none
			}
			all = append(all, r)
		}
	}
	return all
}

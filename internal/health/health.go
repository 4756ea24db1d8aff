// Package health judges objects from the objects alone: no cluster, no clock.
// It guarantees that a status written for an older generation is never taken
// for the present one, that a Job is ready only once it completed, that a Job
// which is gone is unknown rather than fine, and that every judgement carries
// a sentence a person can act on. The rules are kstatus's, but for those where
// kstatus would call ready what has not been seen to work (running Jobs), or
// call failed what waits for nothing (a claim without a consumer).
package health

import (
	"fmt"
	"strings"

	"github.com/fluxcd/cli-utils/pkg/kstatus/status"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"chaperone.dev/chaperone/internal/manifest"
)

// State is what an object is known to be.
type State string

// The states of an object.
const (
	Current     State = "Current"     // does what its spec asks
	InProgress  State = "InProgress"  // not yet
	Failed      State = "Failed"      // says itself that it did not work
	Terminating State = "Terminating" // on its way out
	Unknown     State = "Unknown"     // cannot be told: no data
)

// Status is one object's judgement.
type Status struct {
	State   State  `json:"state"`
	Message string `json:"message"`
	// Definitive says that waiting cannot change the state: a Job ended, or a
	// Deployment gave up on its rollout.
	Definitive bool `json:"definitive,omitempty"`
}

// Of judges an object as last read from the cluster.
func Of(o *manifest.Object) Status {
	if o == nil || o.Object == nil {
		return Status{State: Unknown, Message: "was not read"}
	}
	if judged, early := early(o); early {
		return judged
	}
	for _, known := range []map[schema.GroupKind]judge{kinds, operators} {
		if judge, found := known[o.GroupVersionKind().GroupKind()]; found {
			if judged, decided := judge(o); decided {
				return judged
			}
		}
	}
	return compute(o)
}

// early judges what no rule about the kind is needed for.
func early(o *manifest.Object) (Status, bool) {
	if o.GetDeletionTimestamp() != nil {
		return Status{State: Terminating, Message: "is being deleted" + finalizers(o)}, true
	}
	if message := unobserved(o); message != "" {
		return Status{State: InProgress, Message: message}, true
	}
	return Status{}, false
}

// Missing judges an object that should be there and is not. A Job may have
// been removed by its own time to live, whatever its result was, so its
// absence tells nothing; the absence of anything else is seen plainly.
func Missing(id manifest.ID) Status {
	if isJob(id) {
		return Status{State: Unknown, Message: "is gone before its result was seen"}
	}
	return Status{State: InProgress, Message: "does not exist"}
}

func isJob(id manifest.ID) bool { return id.Group == "batch" && id.Kind == "Job" }

// compute asks kstatus.
func compute(o *manifest.Object) Status {
	result, err := status.Compute(o)
	if err != nil {
		return Status{State: Unknown, Message: clip("has a status that cannot be read: " + err.Error())}
	}
	return Status{State: State(result.Status), Message: sentence(result)}
}

// sentence is kstatus's message, with its terse counters spelled out.
func sentence(result *status.Result) string {
	message := strings.TrimSpace(result.Message)
	if message == "" && len(result.Conditions) > 0 {
		message = result.Conditions[0].Reason
	}
	if message == "" {
		return strings.ToLower(string(result.Status))
	}
	if name, counts, found := strings.Cut(message, ": "); found {
		have, want, paired := strings.Cut(counts, "/")
		if paired && digits(have) && digits(want) {
			return fmt.Sprintf("%s of %s %s", have, want, strings.ToLower(name))
		}
	}
	return clip(message)
}

func digits(s string) bool {
	return s != "" && strings.Trim(s, "0123456789") == ""
}

func finalizers(o *manifest.Object) string {
	if names := o.GetFinalizers(); len(names) > 0 {
		return clip(", held by finalizer " + strings.Join(names, ", "))
	}
	return ""
}

// clipAt bounds what a foreign controller may write into our evidence.
const clipAt = 240

func clip(s string) string {
	s = strings.Join(strings.Fields(s), " ")
	if runes := []rune(s); len(runes) > clipAt {
		return string(runes[:clipAt-1]) + "…"
	}
	return s
}

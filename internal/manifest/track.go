package manifest

import "strings"

// LabelTrack tells the pods of a copy, beside which a new version is brought in
// steps, from those of the workload. A Service that is to have only the workload's
// selects by TrackStable, which the workload's own pods then carry.
const (
	LabelTrack  = "chaperone.dev/track"
	TrackStable = "stable"
	TrackCanary = "canary"
	TrackNext   = "next"
)

// IsCopy reports whether an object is there for the steps of a release alone. It
// is taken away with them, whatever keeps an environment from deleting its own; so
// nothing is one that holds data, whatever somebody has labelled.
func IsCopy(o *Object) bool {
	if kind := IDOf(o).GroupKind().String(); kind != "Deployment.apps" && kind != "Service" {
		return false
	}
	track := o.GetLabels()[LabelTrack]
	return (track == TrackCanary || track == TrackNext) && strings.HasSuffix(o.GetName(), "-"+track)
}

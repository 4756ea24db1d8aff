package plan

import (
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"chaperone.dev/chaperone/internal/manifest"
)

// keepHolders keeps a Namespace, or the definition of a kind, that would take
// with it what is not to go: what is protected, what says never, what is still
// rendered, and what is somebody else's by now. Each of these is decided about
// by itself, and the server asks none of them.
func keepHolders(owned []Owned, changes []Change, live map[manifest.ID]*manifest.Object) []Change {
	stays := map[manifest.ID]bool{}
	for _, entry := range owned {
		stays[entry.ID] = true
	}
	for _, c := range changes {
		stays[c.ID] = c.Action != Delete && (c.Action != Forget || c.Reason != ReasonGone)
	}
	staysIn, staysOf := map[string]bool{}, map[schema.GroupKind]bool{}
	for id, there := range stays {
		if there {
			staysIn[id.Namespace], staysOf[id.GroupKind()] = true, true
		}
	}
	for i, c := range changes {
		if c.Action != Delete {
			continue
		}
		kind, defines := DefinedKind(live[c.ID])
		if isNamespace(c.ID) && staysIn[c.ID.Name] || defines && staysOf[kind] {
			changes[i].Action, changes[i].Reason = Keep, ReasonHolds
		}
	}
	return keepHeld(owned, changes, live)
}

// keepHeld keeps the entries of what is somebody else's for as long as what
// would take it along is ours: once it is forgotten, nothing would say any more
// that it is there.
func keepHeld(owned []Owned, changes []Change, live map[manifest.ID]*manifest.Object) []Change {
	forgotten := map[manifest.ID]bool{}
	for _, c := range changes {
		forgotten[c.ID] = c.Action == Forget
	}
	spaces, kinds := map[string]bool{}, map[schema.GroupKind]bool{}
	for _, entry := range owned {
		if forgotten[entry.ID] {
			continue
		}
		if isNamespace(entry.ID) {
			spaces[entry.Name] = true
		}
		if kind, defines := DefinedKind(live[entry.ID]); defines {
			kinds[kind] = true
		}
	}
	for i, c := range changes {
		if c.Action == Forget && c.Reason == ReasonForeign && (spaces[c.ID.Namespace] || kinds[c.ID.GroupKind()]) {
			changes[i].Action = Keep
		}
	}
	return changes
}

// DefinedKind is the kind that a CustomResourceDefinition defines.
func DefinedKind(o *manifest.Object) (schema.GroupKind, bool) {
	if o == nil || o.GroupVersionKind().Group != "apiextensions.k8s.io" || o.GetKind() != "CustomResourceDefinition" {
		return schema.GroupKind{}, false
	}
	group, _, groupErr := unstructured.NestedString(o.Object, "spec", "group")
	kind, _, kindErr := unstructured.NestedString(o.Object, "spec", "names", "kind")
	return schema.GroupKind{Group: group, Kind: kind}, groupErr == nil && kindErr == nil && kind != ""
}

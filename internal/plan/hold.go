package plan

import (
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"chaperone.dev/chaperone/internal/manifest"
)

// keepHolders keeps a Namespace, or the definition of a kind, that would take
// with it what is not to go: what is protected, what says never, and what is
// still rendered. Each of these is decided about by itself, and the server asks
// none of them.
func keepHolders(owned []Owned, changes []Change, live map[manifest.ID]*manifest.Object) []Change {
	going := map[manifest.ID]bool{}
	for _, c := range changes {
		going[c.ID] = c.Action == Delete || c.Action == Forget
	}
	staysIn, staysOf := map[string]bool{}, map[schema.GroupKind]bool{}
	for _, entry := range owned {
		if !going[entry.ID] {
			staysIn[entry.Namespace], staysOf[entry.GroupKind()] = true, true
		}
	}
	for i, c := range changes {
		if c.Action != Delete {
			continue
		}
		kind, defines := definedKind(live[c.ID])
		if isNamespace(c.ID) && staysIn[c.ID.Name] || defines && staysOf[kind] {
			changes[i].Action, changes[i].Reason = Keep, ReasonHolds
		}
	}
	return changes
}

// definedKind is the kind that a CustomResourceDefinition defines.
func definedKind(o *manifest.Object) (schema.GroupKind, bool) {
	if o == nil || o.GroupVersionKind().Group != "apiextensions.k8s.io" || o.GetKind() != "CustomResourceDefinition" {
		return schema.GroupKind{}, false
	}
	group, _, groupErr := unstructured.NestedString(o.Object, "spec", "group")
	kind, _, kindErr := unstructured.NestedString(o.Object, "spec", "names", "kind")
	return schema.GroupKind{Group: group, Kind: kind}, groupErr == nil && kindErr == nil && kind != ""
}

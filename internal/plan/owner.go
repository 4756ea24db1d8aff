package plan

import (
	"fmt"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"chaperone.dev/chaperone/internal/manifest"
	"chaperone.dev/chaperone/internal/promotion"
)

// Every owned object carries these two marks. The label is the one of KEP-3659
// and is what watches select by; the annotation is for people and decides who
// owns an object, as it survives a move of the inventory.
const (
	LabelPartOf           = "applyset.kubernetes.io/part-of"
	AnnotationEnvironment = "chaperone.dev/environment"
)

// Owner is the environment that a plan is made for.
type Owner struct {
	Environment string // pipeline/name
	SetID       string // value of the part-of label
	Namespace   string // the one namespace it may touch, unless Allow says more
	Allow       []promotion.Allowance
	Formerly    []Former         // environments whose objects it takes over
	Adopt       []promotion.Tool // tools whose objects it takes over
}

// Former is an environment that another takes over in the same target, as its
// marks tell it.
type Former struct {
	Environment string
	SetID       string
}

// Mark writes the owner's marks on an object that is about to be sent.
func (w Owner) Mark(o *manifest.Object) error {
	for _, m := range []struct{ field, key, value string }{
		{"labels", LabelPartOf, w.SetID},
		{"annotations", AnnotationEnvironment, w.Environment},
	} {
		// Set through the untyped map: the typed setters drop every label when
		// one of them is not a string, and the server would never get to say so.
		if err := unstructured.SetNestedField(o.Object, m.value, "metadata", m.field, m.key); err != nil {
			return fmt.Errorf("%s: mark owner: metadata.%s: %w", manifest.IDOf(o), m.field, err)
		}
	}
	return nil
}

// Marked reports whether an object carries the owner's marks. The annotation
// decides; the label alone is enough where somebody took the annotation away.
func (w Owner) Marked(live *manifest.Object) bool {
	if environment, found := live.GetAnnotations()[AnnotationEnvironment]; found {
		return environment == w.Environment
	}
	return live.GetLabels()[LabelPartOf] == w.SetID
}

// TakesOver reports whether an object is not the owner's yet, and carries the
// marks of an environment that the owner takes over. Where both marks are there
// both count: the same name in another target is another environment.
func (w Owner) TakesOver(live *manifest.Object) bool {
	environment, named := live.GetAnnotations()[AnnotationEnvironment]
	set, labelled := live.GetLabels()[LabelPartOf]
	if !named && !labelled || w.Marked(live) {
		return false
	}
	for _, f := range w.Formerly {
		if (!named || environment == f.Environment) && (!labelled || set == f.SetID) {
			return true
		}
	}
	return false
}

// Owns reports whether an object is the owner's, under its own marks or under
// those of an environment that it takes over.
func (w Owner) Owns(live *manifest.Object) bool { return w.Marked(live) || w.TakesOver(live) }

// named reports whether an environment is the owner, or one that it takes over.
func (w Owner) named(environment string) bool {
	if environment == w.Environment {
		return true
	}
	for _, f := range w.Formerly {
		if environment == f.Environment {
			return true
		}
	}
	return false
}

// Other names who else an object on the cluster belongs to, or is "" when it
// is the owner's, nobody's, or only of tools whose objects it takes over.
func (w Owner) Other(live *manifest.Object) string {
	if w.Owns(live) {
		return ""
	}
	if environment := live.GetAnnotations()[AnnotationEnvironment]; environment != "" {
		return "environment " + printable(environment)
	}
	if set := live.GetLabels()[LabelPartOf]; set != "" {
		return "ApplySet " + set
	}
	if owners := live.GetOwnerReferences(); len(owners) > 0 {
		return owners[0].Kind + " " + owners[0].Name + ", its owner"
	}
	if unnamed := w.unnamed(live); len(unnamed) > 0 {
		return wanted(unnamed)
	}
	return ""
}

// InventoryPrefix begins the names of the ConfigMaps in which the daemon writes
// down what an environment owns. A release that held one could rewrite that.
const InventoryPrefix = "chaperone-inventory-"

func isInventory(id manifest.ID) bool {
	return id.Group == "" && id.Kind == "ConfigMap" && strings.HasPrefix(id.Name, InventoryPrefix)
}

// outside says why the owner may not touch an object, or "".
func (w Owner) outside(id manifest.ID) string {
	if isInventory(id) {
		return "its name is the daemon's own; choose one that does not begin with " + InventoryPrefix
	}
	if id.Namespace == w.Namespace && id.Namespace != "" {
		return ""
	}
	want := promotion.Allowance{Namespace: id.Namespace}
	entry := "namespace:" + id.Namespace
	if id.Namespace == "" {
		want = promotion.Allowance{Group: id.Group, Kind: id.Kind, Name: id.Name}
		entry = id.String()
	}
	for _, allowed := range w.Allow {
		if allowed == want {
			return ""
		}
	}
	return fmt.Sprintf("outside the target; remove it, or add %q to target.allow", entry)
}

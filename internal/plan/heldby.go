package plan

import (
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"chaperone.dev/chaperone/internal/manifest"
)

// HeldBy says what keeps an object that is being deleted.
func HeldBy(o *manifest.Object) string {
	var why []string
	if names := o.GetFinalizers(); len(names) > 0 {
		why = append(why, "held by the finalizer "+strings.Join(names, ", "))
	}
	if id := manifest.IDOf(o); id.GroupKind() == (schema.GroupKind{Kind: "Namespace"}) {
		conditions, _, _ := unstructured.NestedSlice(o.Object, "status", "conditions")
		for _, c := range conditions {
			condition, _ := c.(map[string]any)
			if message, _ := condition["message"].(string); condition["status"] == "True" && message != "" {
				why = append(why, message)
			}
		}
	}
	return shorten(strings.Join(why, "; "))
}

// notBefore is why what is being deleted cannot be put back by a correction: it is
// waited for by nobody, as what holds it may hold it for ever.
func notBefore(live *manifest.Object) string {
	text := "not before it is gone"
	if why := HeldBy(live); why != "" {
		text += ", and it is " + why
	}
	return text
}

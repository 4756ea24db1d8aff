package manifest

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
)

// lastApplied is where client-side kubectl keeps a whole second copy of the
// object, a Secret's values included.
const lastApplied = "kubectl.kubernetes.io/last-applied-configuration"

// Redactor replaces secret values by a mark that tells equal from different
// and nothing else. The salt is chosen at random by each process, so that a
// mark cannot be looked up in a table of likely values.
type Redactor struct{ salt []byte }

// NewRedactor takes at least 16 bytes of salt.
func NewRedactor(salt []byte) Redactor { return Redactor{salt: salt} }

// Object returns a copy that may be shown: without the values of a core
// Secret and without what kubectl or the server keep of them elsewhere.
func (r Redactor) Object(o *Object) *Object {
	shown := o.DeepCopy()
	shown.SetManagedFields(nil)
	annotations := shown.GetAnnotations()
	if _, found := annotations[lastApplied]; found {
		delete(annotations, lastApplied)
		shown.SetAnnotations(annotations)
	}
	if isList(o) {
		r.items(shown)
	}
	if !IsSecret(o) {
		return shown
	}
	for _, field := range []string{"data", "stringData"} {
		switch values := shown.Object[field].(type) {
		case nil:
		case map[string]any:
			for key, value := range values {
				values[key] = r.Mark(value)
			}
		default:
			// Not the shape of a Secret, so nothing is known to be safe to show.
			shown.Object[field] = r.Mark(values)
		}
	}
	return shown
}

// items redacts the objects of a list in place.
func (r Redactor) items(list *Object) {
	items, _ := list.Object["items"].([]any)
	for i, item := range items {
		if fields, isObject := item.(map[string]any); isObject {
			items[i] = r.Object(&Object{Object: fields}).Object
		}
	}
}

// Mark stands for one value.
func (r Redactor) Mark(value any) string {
	b, err := json.Marshal(value)
	if err != nil {
		b = fmt.Appendf(nil, "%v", value)
	}
	mac := hmac.New(sha256.New, r.salt)
	mac.Write(b)
	return "<redacted " + hex.EncodeToString(mac.Sum(nil))[:8] + ">"
}

// IsSecret reports whether an object is a core Secret, in any version.
func IsSecret(o *Object) bool {
	gvk := o.GroupVersionKind()
	return gvk.Group == "" && gvk.Kind == "Secret"
}

package plan

import (
	"encoding/base64"
	"fmt"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"chaperone.dev/chaperone/internal/manifest"
)

// serverFields are written by the server alone. Manifests that were exported
// from a cluster carry them, and a uid among them would be a precondition.
var serverFields = []string{"creationTimestamp", "resourceVersion", "uid", "generation", "managedFields", "selfLink"}

// Prepare is the object as it is sent: marked with its owner, in the given
// namespace ("" for cluster-scoped kinds), without what only a server writes.
func Prepare(o *manifest.Object, w Owner, namespace string) (*manifest.Object, error) {
	sent := o.DeepCopy()
	for _, field := range serverFields {
		unstructured.RemoveNestedField(sent.Object, "metadata", field)
	}
	sent.SetNamespace(namespace)
	if manifest.IsSecret(sent) {
		if err := encodeStringData(sent); err != nil {
			return nil, err
		}
	}
	nameAccount(sent)
	if IsHook(sent) || IsRollback(sent) {
		// Its end has to be seen, however late anybody looks: a Job that leaves by
		// itself takes its failure with it. The next release replaces or prunes it.
		unstructured.RemoveNestedField(sent.Object, "spec", "ttlSecondsAfterFinished")
	}
	if err := w.Mark(sent); err != nil {
		return nil, err
	}
	return sent, nil
}

// encodeStringData does what the server does on create. Sent as it is, the
// server-side apply would own fields that no object ever has, and a key that
// is removed from stringData would stay in data for ever.
func encodeStringData(secret *manifest.Object) error {
	plainText, found, err := unstructured.NestedMap(secret.Object, "stringData")
	if err != nil || !found {
		if found || err != nil {
			return fmt.Errorf("%s: stringData: want a map of strings", manifest.IDOf(secret))
		}
		return nil
	}
	for key, v := range plainText {
		text, isText := v.(string)
		if !isText {
			return fmt.Errorf("%s: stringData[%q]: want a string", manifest.IDOf(secret), key)
		}
		encoded := base64.StdEncoding.EncodeToString([]byte(text))
		if err := unstructured.SetNestedField(secret.Object, encoded, "data", key); err != nil {
			return fmt.Errorf("%s: data: want a map of strings", manifest.IDOf(secret))
		}
	}
	unstructured.RemoveNestedField(secret.Object, "stringData")
	return nil
}

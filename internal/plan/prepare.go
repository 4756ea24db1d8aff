package plan

import (
	"encoding/base64"
	"fmt"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

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

// ScaleTarget names what a HorizontalPodAutoscaler scales. Its version does
// not matter to who it is.
func scaleTarget(hpa *manifest.Object) manifest.ID {
	get := func(field string) string {
		text, _, err := unstructured.NestedString(hpa.Object, "spec", "scaleTargetRef", field)
		if err != nil {
			return ""
		}
		return text
	}
	version, err := schema.ParseGroupVersion(get("apiVersion"))
	if err != nil {
		return manifest.ID{}
	}
	return manifest.ID{Group: version.Group, Kind: get("kind"), Namespace: hpa.GetNamespace(), Name: get("name")}
}

// Scaled are the objects whose replicas a HorizontalPodAutoscaler of the same
// release decides.
func Scaled(objects []*manifest.Object) map[manifest.ID]bool {
	scaled := map[manifest.ID]bool{}
	for _, o := range objects {
		if o.GetKind() == "HorizontalPodAutoscaler" && o.GroupVersionKind().Group == "autoscaling" {
			scaled[scaleTarget(o)] = true
		}
	}
	return scaled
}

// YieldReplicas returns what to send for a scaled object that is there
// already: without the rendered replicas, which would undo the autoscaler.
// While we are the only manager of the field, leaving it out would make the
// server fall back to 1; then it is sent as it is on the cluster, until the
// autoscaler has written it once.
func YieldReplicas(sent, live *manifest.Object, manager string) *manifest.Object {
	if _, rendered, _ := unstructured.NestedFieldNoCopy(sent.Object, "spec", "replicas"); !rendered {
		return sent
	}
	yielded := sent.DeepCopy()
	unstructured.RemoveNestedField(yielded.Object, "spec", "replicas")
	ours, others := managersOf(live, manager, "spec", "replicas")
	current, there, _ := unstructured.NestedFieldCopy(live.Object, "spec", "replicas")
	if ours && !others && there {
		// The parent map exists: it held the rendered replicas.
		yielded.Object["spec"].(map[string]any)["replicas"] = current
	}
	return yielded
}

package plan

import (
	"slices"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/structured-merge-diff/v6/fieldpath"

	"chaperone.dev/chaperone/internal/manifest"
)

// scaleTarget names what an autoscaler scales. Its version does not matter to
// who it is. KEDA takes a Deployment where nothing else is said.
func scaleTarget(scaler *manifest.Object, apiVersion, kind string) manifest.ID {
	get := func(field, otherwise string) string {
		text, _, err := unstructured.NestedString(scaler.Object, "spec", "scaleTargetRef", field)
		if err != nil || text == "" {
			return otherwise
		}
		return text
	}
	version, err := schema.ParseGroupVersion(get("apiVersion", apiVersion))
	if err != nil {
		return manifest.ID{}
	}
	return manifest.ID{Group: version.Group, Kind: get("kind", kind), Namespace: scaler.GetNamespace(), Name: get("name", "")}
}

// ScaleTarget names what a HorizontalPodAutoscaler scales.
func ScaleTarget(scaler *manifest.Object) manifest.ID { return scaleTarget(scaler, "", "") }

var replicasPath = fieldpath.MakePathOrDie("spec", "replicas")

// Scaled are the objects whose replicas a HorizontalPodAutoscaler, or a
// ScaledObject of KEDA, of the same release decides. What a
// VerticalPodAutoscaler changes are pods, which are no release's.
func Scaled(objects []*manifest.Object) map[manifest.ID]bool {
	scaled := map[manifest.ID]bool{}
	for _, o := range objects {
		if o.GroupVersionKind().GroupKind() == (schema.GroupKind{Group: "autoscaling", Kind: "HorizontalPodAutoscaler"}) {
			scaled[ScaleTarget(o)] = true
		}
	}
	for _, o := range objects {
		// It does nothing for what has none: a release that says 0 turns it off.
		if isZero(at(o.Object, replicasPath)) {
			delete(scaled, manifest.IDOf(o))
		}
	}
	for _, o := range objects {
		if o.GroupVersionKind().GroupKind() == (schema.GroupKind{Group: "keda.sh", Kind: "ScaledObject"}) {
			scaled[scaleTarget(o, "apps/v1", "Deployment")] = true
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
	if ours && !others && isZero(current) {
		return sent // we turned the autoscaler off, and it does not turn itself on
	}
	if ours && !others && there {
		// The parent map exists: it held the rendered replicas.
		yielded.Object["spec"].(map[string]any)["replicas"] = current
	}
	return yielded
}

// autoscalers scale by way of the scale subresource, under these names. A person
// who does so with kubectl is no autoscaler, and makes drift.
var autoscalers = []string{"kube-controller-manager", "horizontal-pod-autoscaler", "keda", "keda-operator"}

func (w writer) autoscales() bool {
	return w.entry.Subresource == "scale" && slices.Contains(autoscalers, w.entry.Manager)
}

// Autoscaled reports whether an autoscaler has written how many replicas an
// object has. That it is there still, this does not say.
func Autoscaled(live *manifest.Object) bool {
	return slices.ContainsFunc(live.GetManagedFields(), func(entry metav1.ManagedFieldsEntry) bool {
		return writer{entry: entry}.autoscales()
	})
}

func isZero(v any) bool { return equal(v, int64(0)) }

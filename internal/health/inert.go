package health

import (
	"slices"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"chaperone.dev/chaperone/internal/manifest"
)

// inert are the kinds, by group, of which an object is as good as it will ever
// be once it is stored: no controller reports on it.
var inert = map[string][]string{
	"":                             {"ConfigMap", "Secret", "ServiceAccount", "LimitRange", "PodTemplate"},
	"rbac.authorization.k8s.io":    {"Role", "RoleBinding", "ClusterRole", "ClusterRoleBinding"},
	"networking.k8s.io":            {"NetworkPolicy", "IngressClass"},
	"scheduling.k8s.io":            {"PriorityClass"},
	"storage.k8s.io":               {"StorageClass"},
	"admissionregistration.k8s.io": {"MutatingWebhookConfiguration", "ValidatingWebhookConfiguration"},
}

// Inert reports whether an object that is there is ready for good, so that one
// look at it says as much as several. A Service is where it waits for nobody to
// give it an address.
func Inert(o *manifest.Object) bool {
	id := manifest.IDOf(o)
	if o.GetDeletionTimestamp() != nil {
		return false
	}
	if id.Group == "" && id.Kind == "Service" {
		kind, _, _ := unstructured.NestedString(o.Object, "spec", "type")
		return kind != "LoadBalancer"
	}
	return InertKind(id.GroupKind())
}

// InertKind reports whether every object of a kind is ready once it is there,
// unless it is being deleted: its metadata tell all there is to know.
func InertKind(gk schema.GroupKind) bool { return slices.Contains(inert[gk.Group], gk.Kind) }

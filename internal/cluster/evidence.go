package cluster

import (
	"context"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"chaperone.dev/chaperone/internal/manifest"
)

// Identities are those of a release's objects as they stand on this cluster:
// namespaced ones without a namespace are in the owner's.
func (c *Cluster) Identities(ctx context.Context, w Owner, set manifest.Set) ([]manifest.ID, error) {
	return c.identities(ctx, w, set)
}

// controlled are the kinds that say why a workload is not ready.
var controlled = []schema.GroupVersionResource{
	{Group: "apps", Version: "v1", Resource: "replicasets"},
	{Version: "v1", Resource: "pods"},
}

// maxEvidence is how many objects of a kind are looked at for evidence.
const maxEvidence = 500

// Controlled reads the ReplicaSets and Pods that the given objects control.
// They are evidence only: what may not be read, or is too much, is left out.
func (c *Cluster) Controlled(ctx context.Context, by map[manifest.ID]*manifest.Object) map[manifest.ID]*manifest.Object {
	controllers := map[string]bool{}
	namespaces := map[string]bool{}
	for id, o := range by {
		if id.Namespace != "" && (id.Group == "apps" || id.Group == "batch") {
			controllers[string(o.GetUID())], namespaces[id.Namespace] = true, true
		}
	}
	found := map[manifest.ID]*manifest.Object{}
	for namespace := range namespaces {
		for _, resource := range controlled {
			list, err := c.dynamic.Resource(resource).Namespace(namespace).List(ctx, metav1.ListOptions{Limit: maxEvidence})
			if err != nil {
				continue
			}
			for i := range list.Items {
				if o := &list.Items[i]; controlledBy(o, controllers) {
					controllers[string(o.GetUID())] = true // a ReplicaSet's pods come after it
					found[manifest.IDOf(o)] = o
				}
			}
		}
	}
	return found
}

func controlledBy(o *unstructured.Unstructured, controllers map[string]bool) bool {
	owner := metav1.GetControllerOf(o)
	return owner != nil && controllers[string(owner.UID)]
}

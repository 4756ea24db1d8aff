package cluster

import (
	"context"
	"errors"
	"fmt"

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
	found, _ := c.controlled(ctx, by, 1)
	return found
}

// podPages bounds how many times maxEvidence pods are looked at to judge them.
const podPages = 20

// Pods is Controlled of all of them; the error is that they are not all.
func (c *Cluster) Pods(ctx context.Context, by map[manifest.ID]*manifest.Object) (map[manifest.ID]*manifest.Object, error) {
	return c.controlled(ctx, by, podPages)
}

func (c *Cluster) controlled(ctx context.Context, by map[manifest.ID]*manifest.Object, pages int) (map[manifest.ID]*manifest.Object, error) {
	controllers := map[string]bool{}
	namespaces := map[string]bool{}
	for id, o := range by {
		if id.Namespace != "" && (id.Group == "apps" || id.Group == "batch") {
			controllers[string(o.GetUID())], namespaces[id.Namespace] = true, true
		}
	}
	found := map[manifest.ID]*manifest.Object{}
	var errs []error
	for namespace := range namespaces {
		for _, resource := range controlled {
			errs = append(errs, c.eachOf(ctx, resource, namespace, pages, func(o *unstructured.Unstructured) {
				if controlledBy(o, controllers) {
					controllers[string(o.GetUID())] = true // a ReplicaSet's pods come after it
					found[manifest.IDOf(o)] = o
				}
			}))
		}
	}
	return found, errors.Join(errs...)
}

func (c *Cluster) eachOf(ctx context.Context, resource schema.GroupVersionResource, namespace string, pages int, take func(*unstructured.Unstructured)) error {
	options := metav1.ListOptions{Limit: maxEvidence}
	for range pages {
		list, err := c.dynamic.Resource(resource).Namespace(namespace).List(ctx, options)
		if err != nil {
			return fmt.Errorf("list %s in %s: %w", resource.Resource, namespace, err)
		}
		for i := range list.Items {
			take(&list.Items[i])
		}
		if options.Continue = list.GetContinue(); options.Continue == "" {
			return nil
		}
	}
	return fmt.Errorf("list %s in %s: there are more than %d", resource.Resource, namespace, pages*maxEvidence)
}

func controlledBy(o *unstructured.Unstructured, controllers map[string]bool) bool {
	owner := metav1.GetControllerOf(o)
	return owner != nil && controllers[string(owner.UID)]
}

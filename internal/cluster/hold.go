package cluster

import (
	"context"
	"fmt"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"chaperone.dev/chaperone/internal/inventory"
	"chaperone.dev/chaperone/internal/manifest"
	"chaperone.dev/chaperone/internal/plan"
)

var claims = schema.GroupVersionResource{Version: "v1", Resource: "persistentvolumeclaims"}

// holds says what a Namespace that is to be deleted would take with it though no
// inventory of ours says so: claims that a StatefulSet made, and what another
// environment runs there. What cannot be asked is taken for there.
func (p *pruner) holds(ctx context.Context, id manifest.ID) string {
	if id.Group != "" || id.Kind != "Namespace" {
		return ""
	}
	found, err := p.names(ctx, claims, id.Name, metav1.ListOptions{}, func(o metav1.PartialObjectMetadata) bool {
		return o.Annotations[manifest.AnnotationPrune] != "allow"
	})
	if err != nil || found != "" {
		return because("PersistentVolumeClaim", found, err)
	}
	found, err = p.names(ctx, configMaps, id.Name, metav1.ListOptions{LabelSelector: inventory.LabelSetID}, func(o metav1.PartialObjectMetadata) bool {
		return o.Annotations[plan.AnnotationEnvironment] != p.owner.Environment
	})
	return because("the inventory of another environment,", found, err)
}

func because(what, name string, err error) string {
	switch {
	case err != nil:
		return fmt.Sprintf("what is in it cannot be seen: %v", err)
	case name != "":
		return fmt.Sprintf("%s %s is in it", what, name)
	}
	return ""
}

// names is the first of the objects in a namespace that counts.
func (p *pruner) names(ctx context.Context, resource schema.GroupVersionResource, namespace string, options metav1.ListOptions,
	counts func(metav1.PartialObjectMetadata) bool) (found string, err error) {
	var list *metav1.PartialObjectMetadataList
	err = p.c.retry(ctx, func(ctx context.Context) (err error) {
		list, err = p.c.metadata.Resource(resource).Namespace(namespace).List(ctx, options)
		return err
	})
	if err != nil {
		return "", answer(manifest.ID{Kind: resource.Resource, Namespace: namespace}, err)
	}
	for _, o := range list.Items {
		if counts(o) {
			return o.Name, nil
		}
	}
	return "", nil
}

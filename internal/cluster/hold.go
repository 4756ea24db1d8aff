package cluster

import (
	"context"
	"fmt"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"chaperone.dev/chaperone/internal/inventory"
	"chaperone.dev/chaperone/internal/manifest"
	"chaperone.dev/chaperone/internal/plan"
)

var claims = schema.GroupVersionResource{Version: "v1", Resource: "persistentvolumeclaims"}

// holds says what a Namespace or a definition that is to be deleted would take
// with it though no inventory of ours says so: claims that a StatefulSet made,
// and what another environment runs. What cannot be asked is taken for there.
func (p *pruner) holds(ctx context.Context, id manifest.ID) string {
	if defined, defines := plan.DefinedKind(p.live[id]); defines {
		return p.holdsResources(ctx, defined)
	}
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

// holdsResources says which resource of a kind is none of those that this prune
// deletes. They come before the definition, and may be under way still.
func (p *pruner) holdsResources(ctx context.Context, gk schema.GroupKind) string {
	defined, err := p.c.kinds.find(ctx, gk, "")
	if err != nil {
		return because(gk.Kind, "", err)
	}
	found, err := p.names(ctx, defined.resource, "", metav1.ListOptions{}, func(o metav1.PartialObjectMetadata) bool {
		id := manifest.ID{Group: gk.Group, Kind: gk.Kind, Namespace: o.Namespace, Name: o.Name}
		return p.going[id] != string(o.UID) || o.UID == ""
	})
	return because(gk.Kind, found, err)
}

func because(what, name string, err error) string {
	switch {
	case err != nil:
		return fmt.Sprintf("what would go with it cannot be seen: %v", err)
	case name != "":
		return fmt.Sprintf("%s %s would go with it", what, name)
	}
	return ""
}

// names is the first that counts of the objects in a namespace, or in all of
// them for "".
func (p *pruner) names(ctx context.Context, resource schema.GroupVersionResource, namespace string, options metav1.ListOptions,
	counts func(metav1.PartialObjectMetadata) bool) (found string, err error) {
	options.Limit = namesPage
	for range maxNamePages {
		var page *metav1.PartialObjectMetadataList
		err = p.c.retry(ctx, func(ctx context.Context) (err error) {
			page, err = p.c.metadata.Resource(resource).Namespace(namespace).List(ctx, options)
			return err
		})
		if err != nil {
			return "", answer(manifest.ID{Kind: resource.Resource, Namespace: namespace}, err)
		}
		for _, o := range page.Items {
			if counts(o) {
				return strings.TrimPrefix(o.Namespace+"/"+o.Name, "/"), nil
			}
		}
		if options.Continue = page.GetContinue(); options.Continue == "" {
			return "", nil
		}
	}
	return "", fmt.Errorf("there are more than %d %s", namesPage*maxNamePages, resource.Resource)
}

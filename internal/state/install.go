package state

import (
	"context"
	"embed"
	"fmt"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"

	"chaperone.dev/chaperone/internal/manifest"
)

//go:embed crds/*.yaml
var crds embed.FS

// InstallCRDs brings the two custom resources to a cluster and waits until
// they are served. An operator does it with base/chaperone instead.
func InstallCRDs(ctx context.Context, config *rest.Config) error {
	client, err := dynamic.NewForConfig(config)
	if err != nil {
		return fmt.Errorf("install CRDs: %w", err)
	}
	definitions := client.Resource(schema.GroupVersionResource{
		Group: "apiextensions.k8s.io", Version: "v1", Resource: "customresourcedefinitions"})
	files, err := crds.ReadDir("crds")
	if err != nil {
		return fmt.Errorf("install CRDs: %w", err)
	}
	for _, file := range files {
		content, err := crds.ReadFile("crds/" + file.Name())
		if err != nil {
			return fmt.Errorf("install CRDs: %w", err)
		}
		objects, err := manifest.Decode(file.Name(), content)
		if err != nil {
			return fmt.Errorf("install CRDs: %w", err)
		}
		for _, o := range objects {
			_, err := definitions.Apply(ctx, o.GetName(), o, metav1.ApplyOptions{FieldManager: fieldManager, Force: true})
			if err != nil {
				return classify("install", "CustomResourceDefinition/"+o.GetName(), err)
			}
			if err := established(ctx, definitions, o.GetName()); err != nil {
				return err
			}
		}
	}
	return nil
}

func established(ctx context.Context, definitions dynamic.ResourceInterface, name string) error {
	for {
		o, err := definitions.Get(ctx, name, metav1.GetOptions{})
		if err == nil {
			conditions, _, _ := unstructured.NestedSlice(o.Object, "status", "conditions")
			for _, c := range conditions {
				condition, _ := c.(map[string]any)
				if condition["type"] == "Established" && condition["status"] == "True" {
					return nil
				}
			}
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("CustomResourceDefinition/%s: wait until established: %w", name, ctx.Err())
		case <-time.After(50 * time.Millisecond):
		}
	}
}

package bench

import (
	"context"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"

	"golang.org/x/sync/errgroup"

	"chaperone.dev/chaperone/internal/manifest"
)

// workersOf are the requests that the daemon has under way for one environment.
const workersOf = 8

// floorWorkers is the same for several.
func floorWorkers(environments int) int { return min(workersOf*environments, 64) }

var resources = map[string]schema.GroupVersionResource{
	"ConfigMap":  {Version: "v1", Resource: "configmaps"},
	"Service":    {Version: "v1", Resource: "services"},
	"Deployment": {Group: "apps", Version: "v1", Resource: "deployments"},
}

// floor tries every object and then applies it, and does nothing else.
func floor(tb testing.TB, config *rest.Config, objects []*manifest.Object, workers int) {
	tb.Helper()
	config = rest.CopyConfig(config)
	config.QPS = -1
	client, err := dynamic.NewForConfig(config)
	if err != nil {
		tb.Fatal(err)
	}
	for _, dryRun := range [][]string{{metav1.DryRunAll}, nil} {
		if err := applyAll(tb.Context(), client, objects, workers, dryRun); err != nil {
			tb.Fatal(err)
		}
	}
}

func applyAll(ctx context.Context, client dynamic.Interface, objects []*manifest.Object, workers int, dryRun []string) error {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(workers)
	for _, o := range objects {
		group.Go(func() error {
			_, err := client.Resource(resources[o.GetKind()]).Namespace(o.GetNamespace()).
				Apply(ctx, o.GetName(), o, metav1.ApplyOptions{FieldManager: "floor", Force: true, DryRun: dryRun})
			return err
		})
	}
	return group.Wait()
}

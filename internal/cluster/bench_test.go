package cluster

import (
	"context"
	"fmt"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/dynamic"

	"golang.org/x/sync/errgroup"

	"chaperone.dev/chaperone/internal/manifest"
	"chaperone.dev/chaperone/internal/plan"
	"chaperone.dev/chaperone/internal/promotion"
	"chaperone.dev/chaperone/internal/testkit/localcluster"
)

const benchObjects = 500

// benchSet is half ConfigMaps, a quarter Services, a quarter Deployments
// without replicas.
func benchSet(b *testing.B, image string) manifest.Set {
	b.Helper()
	var objects []*manifest.Object
	for i := range benchObjects {
		text := configMap(fmt.Sprint("settings-", i), "image", image)
		switch i % 4 {
		case 1:
			text = service(fmt.Sprint("api-", i))
		case 3:
			text = deployment(fmt.Sprint("api-", i), image, "replicas: 0")
		}
		decoded, err := manifest.Decode("bench.yaml", []byte(text))
		if err != nil {
			b.Fatal(err)
		}
		objects = append(objects, decoded...)
	}
	set, err := manifest.NewSet(objects)
	if err != nil {
		b.Fatal(err)
	}
	return set
}

// floor is the least that applying a release can take: the same server-side
// applies through the same client library with the same number of workers, and
// nothing else: no look at what is there, no dry run, no inventory, no order.
func floor(ctx context.Context, client dynamic.Interface, namespace string, set manifest.Set, workers int, dryRun ...string) error {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(workers)
	for _, o := range set.Objects() {
		group.Go(func() error {
			_, err := client.Resource(gvrs[o.GetKind()]).Namespace(namespace).
				Apply(ctx, o.GetName(), o, metav1.ApplyOptions{FieldManager: "floor", Force: true, DryRun: dryRun})
			return err
		})
	}
	return group.Wait()
}

// BenchmarkApply500 measures a first release (all objects created), a second
// that changes three quarters of them, and a third that changes none, each
// against the floor in the same run: x-floor is how many times the floor's time
// it takes. Two requests for each change (dry run and apply) make 2 the bound
// for what changes; x-tried-floor is against a bare loop that does both.
func BenchmarkApply500(b *testing.B) {
	local := localcluster.Start(b)
	config := local.Config()
	config.QPS = -1
	bare, err := dynamic.NewForConfig(config)
	if err != nil {
		b.Fatal(err)
	}
	c, err := Connect(config, Options{})
	if err != nil {
		b.Fatal(err)
	}
	defer c.Close()
	releases := []struct {
		name string
		set  manifest.Set
	}{
		{"create", benchSet(b, "registry.local/api:1")},
		{"update", benchSet(b, "registry.local/api:2")},
		{"unchanged", benchSet(b, "registry.local/api:2")},
	}
	var ours, theirs [3]time.Duration
	var tried time.Duration
	for b.Loop() {
		w := Owner{Environment: promotion.ID{Pipeline: "bench", Name: "bench"}, Namespace: local.Namespace(b)}
		watching, stop := context.WithCancel(b.Context())
		ended := make(chan error, 1)
		go func() { ended <- c.Watch(watching, w, func(manifest.ID) {}) }()
		other := local.Namespace(b)
		tried += measure(b, func() error { // of the create below: both requests for each object
			space := local.Namespace(b)
			if err := floor(b.Context(), bare, space, releases[0].set, c.options.Workers, metav1.DryRunAll); err != nil {
				return err
			}
			return floor(b.Context(), bare, space, releases[0].set, c.options.Workers)
		})
		for i, release := range releases {
			theirs[i] += measure(b, func() error { return floor(b.Context(), bare, other, release.set, c.options.Workers) })
			var p plan.Plan
			ours[i] += measure(b, func() (err error) {
				if p, err = c.Plan(b.Context(), w, release.set); err == nil {
					_, err = c.Apply(b.Context(), w, p, nil)
				}
				return err
			})
			checkBench(b, release.name, p)
		}
		stop()
		<-ended
	}
	for i, release := range releases {
		b.ReportMetric(ours[i].Seconds()/float64(b.N), release.name+"-s")
		b.ReportMetric(ours[i].Seconds()/theirs[i].Seconds(), release.name+"-x-floor")
	}
	b.ReportMetric(ours[0].Seconds()/theirs[0].Seconds(), "x-floor")
	b.ReportMetric(ours[0].Seconds()/tried.Seconds(), "x-tried-floor")
}

func measure(b *testing.B, do func() error) time.Duration {
	b.Helper()
	start := time.Now()
	if err := do(); err != nil {
		b.Fatal(err)
	}
	return time.Since(start)
}

func checkBench(b *testing.B, name string, p plan.Plan) {
	b.Helper()
	want := map[string]int{"create": benchObjects, "update": benchObjects * 3 / 4, "unchanged": 0}[name]
	if got := len(p.Applies()); got != want {
		b.Fatalf("%s: %d changes, want %d: %s", name, got, want, p.Summary())
	}
}

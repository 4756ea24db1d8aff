package cluster

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/util/retry"

	"chaperone.dev/chaperone/internal/fault"
	"chaperone.dev/chaperone/internal/inventory"
	"chaperone.dev/chaperone/internal/manifest"
	"chaperone.dev/chaperone/internal/plan"
	"chaperone.dev/chaperone/internal/promotion"
	"chaperone.dev/chaperone/internal/testkit/localcluster"
)

// fixture is one environment in a namespace of its own on the shared cluster.
type fixture struct {
	*testing.T
	local *localcluster.Cluster
	c     *Cluster
	owner Owner
	alone func() // ends the watch
}

func newFixture(t *testing.T) *fixture {
	t.Helper()
	return fixtureOn(t, localcluster.Start(t))
}

func fixtureOn(t *testing.T, local *localcluster.Cluster) *fixture {
	t.Helper()
	c, err := Connect(local.Config(), Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	c.searches.apart = 0 // one test does not wait a second for its second environment
	f := &fixture{T: t, local: local, c: c}
	f.owner = Owner{Environment: promotion.ID{Pipeline: "shop", Name: "testing"}, Namespace: local.Namespace(t), Prune: true}
	f.watch()
	return f
}

// watch has the fixture know what is there as the daemon does, until the test
// is over.
func (f *fixture) watch() {
	f.Helper()
	ctx, stop := context.WithCancel(context.WithoutCancel(f.Context()))
	done, owner := make(chan struct{}), f.owner
	go func() {
		defer close(done)
		_ = f.c.Watch(ctx, owner, func(manifest.ID) {}) // ends with ctx
	}()
	f.alone = func() { stop(); <-done }
	f.Cleanup(f.alone)
}

// with is the same environment, seen through another connection.
func (f *fixture) with(options Options) *fixture {
	f.Helper()
	c, err := Connect(f.local.Config(), options)
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(c.Close)
	return f.on(c)
}

// on is the fixture on another connection. What that writes the first is
// told a moment later: it goes on without a watch.
func (f *fixture) on(c *Cluster) *fixture {
	if f.alone != nil {
		f.alone()
	}
	other := *f
	other.c = c
	return &other
}

// set renders manifests; NS stands for the fixture's namespace.
func (f *fixture) set(texts ...string) manifest.Set {
	f.Helper()
	text := strings.ReplaceAll(strings.Join(texts, "\n---\n"), "NS", f.owner.Namespace)
	objects, err := manifest.Decode("test.yaml", []byte(text))
	if err != nil {
		f.Fatal(err)
	}
	set, err := manifest.NewSet(objects)
	if err != nil {
		f.Fatal(err)
	}
	return set
}

func (f *fixture) plan(set manifest.Set) plan.Plan {
	f.Helper()
	p, err := f.c.Plan(f.Context(), f.owner, set)
	if err != nil {
		f.Fatalf("plan: %v", err)
	}
	return p
}

// release plans and applies.
// release plans and applies as the daemon does: again after an error that may
// pass, such as a controller of the cluster that wrote a status in between.
func (f *fixture) release(set manifest.Set) Result {
	f.Helper()
	ctx, cancel := context.WithTimeout(f.Context(), time.Minute)
	defer cancel()
	for tries := 1; ; tries++ {
		result, err := f.c.Apply(ctx, f.owner, f.plan(set), nil)
		if err == nil {
			return result
		}
		if fault.IsTerminal(err) || tries == 5 {
			f.Fatalf("apply: %v", err)
		}
	}
}

func (f *fixture) prune(set manifest.Set) PruneResult {
	f.Helper()
	result, err := f.c.Prune(f.Context(), f.owner, set)
	if err != nil {
		f.Fatalf("prune: %v", err)
	}
	return result
}

var gvrs = map[string]schema.GroupVersionResource{
	"ConfigMap":             {Version: "v1", Resource: "configmaps"},
	"Secret":                {Version: "v1", Resource: "secrets"},
	"Service":               {Version: "v1", Resource: "services"},
	"PersistentVolumeClaim": {Version: "v1", Resource: "persistentvolumeclaims"},
	"Deployment":            {Group: "apps", Version: "v1", Resource: "deployments"},
	"Job":                   {Group: "batch", Version: "v1", Resource: "jobs"},
}

// live reads an object of the fixture's namespace around the code under test;
// nil where there is none.
func (f *fixture) live(kind, name string) *manifest.Object {
	f.Helper()
	o, err := f.c.dynamic.Resource(gvrs[kind]).Namespace(f.owner.Namespace).Get(f.Context(), name, metav1.GetOptions{})
	if err != nil {
		if strings.Contains(err.Error(), "not found") {
			return nil
		}
		f.Fatal(err)
	}
	return o
}

func (f *fixture) exists(kind, name string, want bool) {
	f.Helper()
	if got := f.live(kind, name) != nil; got != want {
		f.Errorf("%s %s exists: %v, want %v", kind, name, got, want)
	}
}

// edit changes an object as a person with kubectl would.
func (f *fixture) edit(kind, name string, change func(*unstructured.Unstructured)) {
	f.Helper()
	err := retry.RetryOnConflict(retry.DefaultBackoff, func() error {
		o := f.live(kind, name)
		if o == nil {
			return fmt.Errorf("no %s %s to edit", kind, name)
		}
		change(o)
		_, err := f.c.dynamic.Resource(gvrs[kind]).Namespace(f.owner.Namespace).Update(f.Context(), o, metav1.UpdateOptions{FieldManager: "kubectl-edit"})
		return err
	})
	if err != nil {
		f.Fatal(err)
	}
}

// create makes an object as somebody else would.
func (f *fixture) create(kind string, text string, labels map[string]string) *unstructured.Unstructured {
	f.Helper()
	o := f.set(text).Objects()[0].DeepCopy()
	if labels != nil {
		o.SetLabels(labels)
	}
	made, err := f.c.dynamic.Resource(gvrs[kind]).Namespace(f.owner.Namespace).Create(f.Context(), o, metav1.CreateOptions{FieldManager: "kubectl-create"})
	if err != nil {
		f.Fatal(err)
	}
	return made
}

func (f *fixture) owned() []string {
	f.Helper()
	read, err := f.c.Inventory(f.Context(), f.owner)
	if err != nil {
		f.Fatal(err)
	}
	var names []string
	for _, e := range read.Entries() {
		names = append(names, e.ID.Kind+"/"+e.ID.Name)
	}
	return names
}

func configMap(name, key, value string) string {
	return fmt.Sprintf("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: %s}\ndata: {%s: %q}\n", name, key, value)
}

func deployment(name, image string, extra ...string) string {
	return fmt.Sprintf(`apiVersion: apps/v1
kind: Deployment
metadata: {name: %[1]s}
spec:
  selector: {matchLabels: {app: %[1]s}}
  %[3]s
  template:
    metadata: {labels: {app: %[1]s}}
    spec:
      containers:
      - name: app
        image: %[2]s
        ports: [{containerPort: 8080}]
        resources: {requests: {cpu: 10m, memory: 16Mi}}
`, name, image, strings.Join(extra, "\n  "))
}

func service(name string) string {
	return fmt.Sprintf(`apiVersion: v1
kind: Service
metadata: {name: %[1]s}
spec:
  selector: {app: %[1]s}
  ports: [{port: 80, targetPort: 8080}]
`, name)
}

var background = metav1.DeletePropagationBackground

var deleteNow = metav1.DeleteOptions{PropagationPolicy: &background}

func mustInventory(f *fixture) inventory.Inventory {
	f.Helper()
	read, err := f.c.Inventory(f.Context(), f.owner)
	if err != nil {
		f.Fatal(err)
	}
	return read
}

// definition is a minimal namespaced CRD.
func definition(group, kind, plural string) string {
	return fmt.Sprintf(`apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: %[3]s.%[1]s}
spec:
  group: %[1]s
  scope: Namespaced
  names: {kind: %[2]s, plural: %[3]s, singular: %[4]s}
  versions:
  - name: v1
    served: true
    storage: true
    schema:
      openAPIV3Schema:
        type: object
        properties: {spec: {type: object, properties: {a: {type: string}}}}
`, group, kind, plural, strings.ToLower(kind))
}

func namespaceAllowed(name string) promotion.Allowance {
	return promotion.Allowance{Kind: "Namespace", Name: name}
}

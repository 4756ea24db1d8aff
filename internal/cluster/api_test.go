package cluster

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"chaperone.dev/chaperone/internal/health"
	"chaperone.dev/chaperone/internal/manifest"
	"chaperone.dev/chaperone/internal/plan"
	"chaperone.dev/chaperone/internal/promotion"
	"chaperone.dev/chaperone/internal/testkit/localcluster"
)

// One broken aggregated API stopped every apply (flux#1991, #2087). It is
// tolerated, and nothing is pruned on what it hides.
func TestPitfall15_BrokenAggregatedAPI(t *testing.T) {
	t.Parallel()
	f := fixtureOn(t, localcluster.StartOwn(t)) // it breaks discovery for everybody
	f.release(f.set(configMap("keep", "a", "b"), configMap("drop", "a", "b")))
	group := "broken.example.org"
	service := fmt.Sprintf(`apiVersion: apiregistration.k8s.io/v1
kind: APIService
metadata: {name: v1.%[1]s}
spec: {group: %[1]s, version: v1, groupPriorityMinimum: 100, versionPriority: 100, insecureSkipTLSVerify: true, service: {name: none, namespace: default}}`, group)
	gvr := schema.GroupVersionResource{Group: "apiregistration.k8s.io", Version: "v1", Resource: "apiservices"}
	if _, err := f.c.dynamic.Resource(gvr).Create(t.Context(), f.set(service).Objects()[0], metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	waitFor(t, "discovery to be partial", func() bool {
		return f.c.kinds.refresh(t.Context()) == nil && f.c.kinds.partial()
	})
	if broken := f.c.OutOfSight(); !slices.Equal(broken, []string{group}) {
		t.Errorf("out of sight: %v", broken)
	}
	keep := f.set(configMap("keep", "a", "c"))
	p := f.plan(keep)
	if len(p.Applies()) != 1 || p.Count(plan.Keep) != 1 || p.Changes[len(p.Changes)-1].Reason != plan.ReasonPartialRead {
		t.Errorf("plan: %v, want the update, and the deletion put off", p.Changes)
	}
	f.release(keep)
	if result := f.prune(keep); len(result.Deleted) > 0 || len(result.Kept) != 1 {
		t.Errorf("prune with a part of the API out of sight: %+v, want nothing deleted", result)
	}
	f.exists("ConfigMap", "drop", true)
	// Nor is a former name forgotten on it.
	n := f.renamed("store", "live")
	n.release(keep)
	n.prune(keep)
	if n.inventoryOf(f.owner.Environment) == nil {
		t.Error("the former inventory is gone though a part of the API is out of sight")
	}
	// An object of the broken group is an error that passes, not an unknown kind.
	_, err := f.c.Plan(t.Context(), f.owner, f.set(fmt.Sprintf("apiVersion: %s/v1\nkind: Thing\nmetadata: {name: a}", group)))
	if err == nil || !strings.Contains(err.Error(), "API service of group "+group) {
		t.Errorf("plan for an object of the broken group: %v", err)
	}
	if err := f.c.dynamic.Resource(gvr).Delete(t.Context(), "v1."+group, deleteNow); err != nil {
		t.Fatal(err)
	}
	waitFor(t, "discovery to be whole", func() bool {
		return f.c.kinds.refresh(t.Context()) == nil && !f.c.kinds.partial()
	})
	n.prune(keep)
	f.exists("ConfigMap", "drop", false)
	if n.inventoryOf(f.owner.Environment) != nil {
		t.Error("the former inventory is still there")
	}
}

func waitFor(t *testing.T, what string, done func() bool) {
	t.Helper()
	deadline := time.Now().Add(30 * time.Second)
	for !done() {
		if time.Now().After(deadline) {
			t.Fatalf("waited 30s for %s", what)
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// HPA: the apply reset `replicas` (flux2#1842), and dropping the field made it
// 1 (mimir#7367).
func TestPitfall19_AutoscalerDecidesReplicas(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	hpa := `apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata: {name: api}
spec:
  scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: api}
  minReplicas: 2
  maxReplicas: 9
  behavior: {scaleDown: {selectPolicy: Disabled}}
  metrics: [{type: Resource, resource: {name: cpu, target: {type: Utilization, averageUtilization: 80}}}]`
	release := func(image string) manifest.Set {
		return f.set(hpa, deployment("api", image, "replicas: 3"))
	}
	replicas := func() int64 {
		n, _, _ := unstructured.NestedInt64(f.live("Deployment", "api").Object, "spec", "replicas")
		return n
	}
	f.release(release("registry.local/api:1"))
	if got := replicas(); got != 3 {
		t.Fatalf("created with %d replicas, want the 3 that are rendered", got)
	}
	// Nobody else has written the field: it must not fall back to 1.
	f.release(release("registry.local/api:2"))
	if got := replicas(); got != 3 {
		t.Errorf("%d replicas after an update, want 3 still", got)
	}
	scale := func(n int64, manager string) {
		t.Helper()
		patch := fmt.Appendf(nil, `{"spec":{"replicas":%d}}`, n)
		_, err := f.c.dynamic.Resource(gvrs["Deployment"]).Namespace(f.owner.Namespace).
			Patch(t.Context(), "api", "application/merge-patch+json", patch, metav1.PatchOptions{FieldManager: manager}, "scale")
		if err != nil {
			t.Fatal(err)
		}
	}
	scale(7, "kube-controller-manager")
	if drift, err := f.drifted(release("registry.local/api:2")); err != nil || len(drift) > 0 {
		t.Errorf("what the autoscaler decided is drift: %v, %v", drift, err)
	}
	for _, image := range []string{"registry.local/api:3", "registry.local/api:4"} {
		f.release(release(image))
		if got := replicas(); got != 7 {
			t.Errorf("%d replicas after an update to %s, want the autoscaler's 7", got, image)
		}
	}
}

// Fields left by client-side `kubectl apply` could not be removed
// (kubernetes#99003, kc#486).
func TestPitfall16_ClientSideFieldsAreTakenOver(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.owner.Adopt = []promotion.Tool{promotion.ToolKubectl}
	o := f.set(deployment("api", "registry.local/api:1", "replicas: 0", "paused: true")).Objects()[0].DeepCopy()
	o.SetAnnotations(map[string]string{"kubectl.kubernetes.io/last-applied-configuration": "{}"})
	_, err := f.c.dynamic.Resource(gvrs["Deployment"]).Namespace(f.owner.Namespace).
		Create(t.Context(), o, metav1.CreateOptions{FieldManager: "kubectl-client-side-apply"})
	if err != nil {
		t.Fatal(err)
	}
	set := f.set(deployment("api", "registry.local/api:1", "replicas: 0"))
	f.release(set)
	if paused, found, _ := unstructured.NestedBool(f.live("Deployment", "api").Object, "spec", "paused"); found && paused {
		t.Error("the field that Git does not have is still there")
	}
	if p := f.plan(set); !p.Quiet() {
		t.Errorf("plan afterwards: %v", p.Applies())
	}
}

// A CRD that gains a version, and its resource in that version, in one release.
func TestPitfall11_DefinitionGainsAVersion(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	group := f.owner.Namespace + ".example.org"
	dropDefinition(f, "widgets."+group)
	f.owner.Allow = []promotion.Allowance{{Group: "apiextensions.k8s.io", Kind: "CustomResourceDefinition", Name: "widgets." + group}}
	old := definition(group, "Widget", "widgets")
	widget := func(version, field string) string {
		return fmt.Sprintf("apiVersion: %s/%s\nkind: Widget\nmetadata: {name: w}\nspec: {%s: x}", group, version, field)
	}
	f.release(f.set(old, widget("v1", "a")))
	next := strings.Replace(old, "  versions:\n", "  versions:\n"+`  - name: v2
    served: true
    storage: false
    schema:
      openAPIV3Schema:
        type: object
        properties: {spec: {type: object, properties: {a: {type: string}, b: {type: string}}}}
`, 1)
	next = strings.Replace(next, "properties: {spec: {type: object, properties: {a: {type: string}}}}", "properties: {spec: {type: object, properties: {a: {type: string}, b: {type: string}}}}", 1)
	set := f.set(next, widget("v2", "b"))
	f.release(set)
	if p := f.plan(set); !p.Quiet() {
		t.Errorf("plan afterwards: %v", p.Applies())
	}
}

func TestRoleAndBindingInOneReleaseAsAnAccountThatMayNotEscalate(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	space := f.owner.Namespace
	client := f.local.Client()
	rules := []rbacv1.PolicyRule{
		{APIGroups: []string{""}, Resources: []string{"configmaps", "serviceaccounts"}, Verbs: []string{"get", "list", "watch", "create", "patch", "update", "delete"}},
		{APIGroups: []string{"rbac.authorization.k8s.io"}, Resources: []string{"roles", "rolebindings"}, Verbs: []string{"get", "list", "create", "patch", "delete"}},
	}
	role := &rbacv1.Role{ObjectMeta: metav1.ObjectMeta{Name: "deployer"}, Rules: rules}
	binding := &rbacv1.RoleBinding{ObjectMeta: metav1.ObjectMeta{Name: "deployer"},
		RoleRef:  rbacv1.RoleRef{APIGroup: "rbac.authorization.k8s.io", Kind: "Role", Name: "deployer"},
		Subjects: []rbacv1.Subject{{Kind: "ServiceAccount", Name: "deployer", Namespace: space}}}
	if _, err := client.RbacV1().Roles(space).Create(t.Context(), role, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	if _, err := client.RbacV1().RoleBindings(space).Create(t.Context(), binding, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	restricted := f.with(Options{Impersonate: "system:serviceaccount:" + space + ":deployer"})
	rendered := func(verb string) manifest.Set {
		return f.set(configMap("settings", "a", "b"), fmt.Sprintf(`apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {name: reader}
rules: [{apiGroups: [""], resources: [configmaps], verbs: [%s]}]`, verb), `apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: reader}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: reader}
subjects: [{kind: ServiceAccount, name: reader, namespace: NS}]`)
	}
	waitFor(t, "the account's rights", func() bool {
		_, err := restricted.c.Plan(t.Context(), f.owner, f.set(configMap("settings", "a", "b")))
		return err == nil
	})
	restricted.release(rendered("get"))
	if p := restricted.plan(rendered("get")); !p.Quiet() {
		t.Errorf("plan afterwards: %v", p.Applies())
	}
	// What the account does not have itself it cannot grant.
	_, err := restricted.c.Plan(t.Context(), f.owner, rendered("deletecollection"))
	var rejected *plan.Rejected
	if !errors.As(err, &rejected) {
		t.Errorf("plan that grants more than the account has: %v, want it rejected", err)
	}
	_, err = restricted.c.Plan(t.Context(), f.owner, f.set(service("api")))
	var refusal *plan.Refusal
	if !errors.As(err, &refusal) || !strings.Contains(err.Error(), "deployer") {
		t.Errorf("plan for what the account may not touch: %v, want a refusal that names it", err)
	}
}

func TestWatchTellsOfChangesAndDeletions(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.release(f.set(configMap("settings", "a", "b"), deployment("api", "registry.local/api:1", "replicas: 1")))
	var mu sync.Mutex
	seen := map[string]int{}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		ended <- f.c.Watch(ctx, f.owner, func(id manifest.ID) {
			mu.Lock()
			defer mu.Unlock()
			seen[id.Kind+"/"+id.Name]++
		})
	}()
	told := func(name string) bool {
		mu.Lock()
		defer mu.Unlock()
		return seen[name] > 0
	}
	n := 0
	until := func(name string, change func()) {
		t.Helper()
		waitFor(t, "word of "+name, func() bool {
			if n++; !told(name) {
				change()
			}
			return told(name)
		})
	}
	until("ConfigMap/settings", func() {
		f.edit("ConfigMap", "settings", func(o *unstructured.Unstructured) {
			_ = unstructured.SetNestedField(o.Object, fmt.Sprint(n), "data", "a")
		})
	})
	until("Deployment/api", func() {
		f.edit("Deployment", "api", func(o *unstructured.Unstructured) {
			_ = unstructured.SetNestedField(o.Object, int64(n%2), "spec", "replicas")
		})
	})
	// A kind that the next release adds is watched from then on.
	f.release(f.set(configMap("settings", "a", "b"), service("late"), deployment("api", "registry.local/api:1", "replicas: 1")))
	until("Service/late", func() {
		if o := f.live("Service", "late"); o != nil {
			f.edit("Service", "late", func(o *unstructured.Unstructured) {
				_ = unstructured.SetNestedField(o.Object, fmt.Sprint("v", n), "spec", "selector", "app")
			})
		}
	})
	mu.Lock()
	clear(seen)
	mu.Unlock()
	if err := f.c.dynamic.Resource(gvrs["Service"]).Namespace(f.owner.Namespace).Delete(t.Context(), "late", deleteNow); err != nil {
		t.Fatal(err)
	}
	waitFor(t, "word of the deletion", func() bool { return told("Service/late") })
	stop()
	select {
	case err := <-ended:
		if !errors.Is(err, context.Canceled) {
			t.Errorf("Watch returned %v", err)
		}
	case <-time.After(10 * time.Second):
		t.Error("Watch does not end with its context")
	}
}

func TestLiveReadsWhatIsThere(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	result := f.release(f.set(append(many(f, 5), service("api"))...))
	missing := manifest.ID{Kind: "ConfigMap", Namespace: f.owner.Namespace, Name: "missing"}
	unknown := manifest.ID{Group: "example.org", Kind: "Widget", Namespace: f.owner.Namespace, Name: "w"}
	live, err := f.c.Live(t.Context(), f.owner, append(result.Objects, missing, unknown), nil)
	if err != nil || len(live) != 6 {
		t.Fatalf("read %v, %v; want the 6 objects of the release", slices.Collect(maps.Keys(live)), err)
	}
	for id, o := range live {
		if manifest.IDOf(o) != id || o.GetUID() == "" || health.Of(o).State != health.Current {
			t.Errorf("%s was read as %s with UID %q, %v", id, manifest.IDOf(o), o.GetUID(), health.Of(o))
		}
	}

	leaving := result.Objects[0]
	f.edit(leaving.Kind, leaving.Name, func(o *unstructured.Unstructured) { o.SetFinalizers([]string{"example.org/stay"}) })
	f.delete(leaving.Kind, leaving.Name)
	live, err = f.c.Live(t.Context(), f.owner, result.Objects, nil)
	f.edit(leaving.Kind, leaving.Name, func(o *unstructured.Unstructured) { o.SetFinalizers(nil) })
	if err != nil {
		t.Fatal(err)
	}
	if got := health.Of(live[leaving]); got.State != health.Terminating {
		t.Errorf("%s, which is being deleted, is %v", leaving, got)
	}
}

func TestRequestsAreCounted(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	var mu sync.Mutex
	seen := map[string]int{}
	counted := f.with(Options{OnRequest: func(verb, resource string, code int) {
		mu.Lock()
		defer mu.Unlock()
		seen[fmt.Sprintf("%s %s %d", verb, resource, code)]++
	}})
	set := f.set(many(f, 4)...)
	counted.release(set)
	// The list is of what a lost inventory may have left: nothing, so the plan lists nothing again.
	for request, want := range map[string]int{"apply configmaps 201": 8, "create configmaps 201": 1, "update configmaps 200": 1, "list configmaps 200": 1} {
		if seen[request] != want {
			t.Errorf("%q was counted %d times, want %d: %v", request, seen[request], want, seen)
		}
	}
	clear(seen)
	if p := counted.plan(set); !p.Quiet() {
		t.Fatal(p.Changes)
	}
	// A look at an environment where nothing is to do writes nothing, not even
	// as a dry run.
	for request := range seen {
		if strings.HasPrefix(request, "apply") {
			t.Errorf("a quiet plan made requests: %v", seen)
		}
	}
}

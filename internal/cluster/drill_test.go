package cluster

import (
	"errors"
	"strings"
	"testing"
	"time"

	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"chaperone.dev/chaperone/internal/fault"
	"chaperone.dev/chaperone/internal/manifest"
	"chaperone.dev/chaperone/internal/plan"
)

// versions are what the server says of each object that it holds: a drill may
// not move one of them.
func (f *fixture) versions() map[string]string {
	f.Helper()
	all := map[string]string{}
	for kind, gvr := range gvrs {
		list, err := f.c.dynamic.Resource(gvr).Namespace(f.owner.Namespace).List(f.Context(), metav1.ListOptions{})
		if err != nil {
			continue // cluster-scoped
		}
		for i := range list.Items {
			all[kind+"/"+list.Items[i].GetName()] = list.Items[i].GetResourceVersion()
		}
	}
	return all
}

func (f *fixture) drill(good manifest.Set) (Drilled, error) {
	f.Helper()
	before := f.versions()
	d, err := f.c.Drill(f.Context(), f.owner, good, 0)
	after := f.versions()
	for name, version := range before {
		if strings.HasPrefix(name, "ConfigMap/") && after[name] != version || after[name] == "" {
			f.Errorf("a drill changed %s", name)
		}
	}
	if len(after) != len(before) {
		f.Errorf("%d objects before a drill, %d after it", len(before), len(after))
	}
	return d, err
}

func TestDrillTriesEverythingAndChangesNothing(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	good := f.set(configMap("settings", "a", "b"), configMap("old", "a", "b"), deployment("api", "registry.local/api:1", "replicas: 0"))
	f.release(good)
	d, err := f.drill(good)
	if err != nil || d.Tried != 3 || !d.Quiet() {
		t.Fatalf("at rest: %d tried, %v, %v; want all three, and nothing to do", d.Tried, d.Changes, err)
	}
	f.release(f.set(configMap("settings", "a", "c"), configMap("new", "a", "b"), deployment("api", "registry.local/api:2", "replicas: 0")))
	d, err = f.drill(good)
	if err != nil || d.Count(plan.Update) != 2 || d.Count(plan.Delete) != 1 || d.Tried != 3 {
		t.Fatalf("with another release there: %d tried, %v, %v; want two updates and a deletion", d.Tried, d.Changes, err)
	}
}

func TestDrillMissesRights(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	good := f.set(configMap("settings", "a", "b"))
	f.release(good)
	restricted, _ := f.asDeployer(rbacv1.PolicyRule{APIGroups: []string{""}, Resources: []string{"secrets"}, Verbs: []string{"get", "list", "watch", "create", "patch"}})
	f.release(f.set(configMap("settings", "a", "b"), "apiVersion: v1\nkind: Secret\nmetadata: {name: new}"))
	d, err := restricted.drill(good)
	var refusal *plan.Refusal
	if !errors.As(err, &refusal) || !fault.IsTerminal(err) || !strings.Contains(err.Error(), "delete") {
		t.Fatalf("%v, %v; want the right to delete to be missing", d.Changes, err)
	}
}

// What a webhook that does not answer would say, nobody can tell.
func TestDrillWithAWebhookThatIsAway(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	good := f.set(configMap("settings", "a", "b"))
	f.release(good)
	hooks := f.c.dynamic.Resource(schema.GroupVersionResource{Group: "admissionregistration.k8s.io", Version: "v1", Resource: "validatingwebhookconfigurations"})
	object := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingWebhookConfiguration", "metadata": map[string]any{"name": f.owner.Namespace},
		"webhooks": []any{map[string]any{
			"name": "effects.example.org", "admissionReviewVersions": []any{"v1"}, "sideEffects": "NoneOnDryRun",
			"clientConfig":      map[string]any{"url": "https://127.0.0.1:1/"},
			"namespaceSelector": map[string]any{"matchLabels": map[string]any{"kubernetes.io/metadata.name": f.owner.Namespace}},
			"rules":             []any{map[string]any{"apiGroups": []any{""}, "apiVersions": []any{"v1"}, "operations": []any{"*"}, "resources": []any{"configmaps"}}},
		}},
	}}
	if _, err := hooks.Create(t.Context(), object, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = hooks.Delete(f.Context(), f.owner.Namespace, metav1.DeleteOptions{}) })
	d, err := f.with(Options{RetryFor: 2 * time.Second}).c.Drill(t.Context(), f.owner, good, 0)
	if err == nil || fault.IsTerminal(err) || !strings.Contains(err.Error(), "effects.example.org") {
		t.Fatalf("%+v, %v; want an error that may pass and names the webhook", d, err)
	}
}

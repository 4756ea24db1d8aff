package cluster

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"chaperone.dev/chaperone/internal/inventory"
	"chaperone.dev/chaperone/internal/manifest"
	"chaperone.dev/chaperone/internal/plan"
	"chaperone.dev/chaperone/internal/promotion"
)

// A source that cannot be read was taken for an empty one, and everything was
// deleted (argo-cd#3473, #15058, #23645).
func TestPitfall01_EmptyRenderDeletesNothing(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	var texts []string
	for i := range 8 {
		texts = append(texts, configMap(fmt.Sprintf("c%d", i), "a", "b"))
	}
	f.release(f.set(texts...))
	refused := func(what string, set manifest.Set, want promotion.Reason, left int) {
		t.Helper()
		var refusal *plan.Refusal
		p, err := f.c.Plan(t.Context(), f.owner, set)
		if !errors.As(err, &refusal) || refusal.Reason != want {
			t.Errorf("plan of %s: %v, want %s", what, err, want)
		}
		if _, err := f.c.Apply(t.Context(), f.owner, p, nil); !errors.As(err, &refusal) {
			t.Errorf("apply of %s: %v, want a refusal", what, err)
		}
		if _, err := f.c.Prune(t.Context(), f.owner, set); !errors.As(err, &refusal) || refusal.Reason != want {
			t.Errorf("prune of %s: %v, want %s", what, err, want)
		}
		for i := range left {
			f.exists("ConfigMap", fmt.Sprintf("c%d", i), true)
		}
	}
	refused("an empty render", f.set(), promotion.EmptyRender, 8)
	refused("a render of one object in eight", f.set(texts[0]), promotion.MassDeletion, 8)

	// A person's word.
	lifted := *f
	lifted.owner.MaxDeletePart = 1
	if result := lifted.prune(f.set(texts[:2]...)); len(result.Deleted) != 6 {
		t.Errorf("prune with the limit lifted: %+v, want 6 deleted", result)
	}
	// While restoring, what last good does not have came with what failed.
	f.release(f.set(texts...))
	restoring := *f
	restoring.owner.Restoring = true
	restoring.release(f.set(texts[0]))
	if result := restoring.prune(f.set(texts[0])); len(result.Deleted) != 7 {
		t.Errorf("prune while restoring: %+v, want 7 deleted", result)
	}
	refused("an empty bundle", f.set(), promotion.EmptyRender, 1)
}

// An API that answers with an error is no answer: nothing is deleted on it.
func TestPitfall01_ReadErrorDeletesNothing(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	both := f.set(configMap("keep", "a", "b"), configMap("drop", "a", "b"), service("drop"))
	f.release(both)
	broken := f.connectThrough(func(request *http.Request) (*http.Response, error) {
		if request.Method == http.MethodGet && strings.Contains(request.URL.Path, "/services") {
			return nil, errors.New("the line is cut")
		}
		return nil, nil
	})
	broken.c.options.RetryFor = time.Millisecond
	if result, err := broken.c.Prune(t.Context(), f.owner, f.set(configMap("keep", "a", "b"))); err == nil {
		t.Errorf("prune on a read error: %+v, want an error", result)
	}
	f.exists("ConfigMap", "drop", true)
	f.exists("Service", "drop", true)
}

// The namespace transformer renamed a Namespace object, and the daemon deleted
// its own namespace (flux2#3949).
func TestPitfall05_OwnNamespaceIsNeverPruned(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	home := f.local.Namespace(t) // where the daemon would run
	f = f.with(Options{DaemonNamespace: home})
	f.owner.Allow = []promotion.Allowance{{Kind: "Namespace", Name: home}, {Kind: "Namespace", Name: "default"}, {Namespace: home}}
	f.owner.Adopt = []promotion.Tool{promotion.ToolOther} // the namespaces are the test's
	namespace := func(name string) string {
		return fmt.Sprintf("apiVersion: v1\nkind: Namespace\nmetadata: {name: %s, annotations: {chaperone.dev/prune: allow}}", name)
	}
	inHome := strings.Replace(configMap("daemons", "a", "b"), "name: daemons", "name: daemons, namespace: "+home, 1)
	rest := configMap("rest", "a", "b")
	f.release(f.set(namespace(home), namespace("default"), inHome, rest))
	result := f.prune(f.set(rest))
	reasons := map[string]string{}
	for _, left := range result.Kept {
		reasons[left.ID.Kind+"/"+left.ID.Name] = left.Reason
	}
	for object, want := range map[string]string{
		"Namespace/" + home: plan.ReasonOwnObject, "ConfigMap/daemons": plan.ReasonOwnObject, "Namespace/default": plan.ReasonSystemNamespace,
	} {
		if reasons[object] != want {
			t.Errorf("%s: kept because of %q, want %q", object, reasons[object], want)
		}
	}
	for _, name := range []string{home, "default"} {
		o, err := f.local.Client().CoreV1().Namespaces().Get(t.Context(), name, metav1.GetOptions{})
		if err != nil || o.DeletionTimestamp != nil {
			t.Errorf("namespace %s: %v, %v", name, o.DeletionTimestamp, err)
		}
	}
	if owned := f.owned(); len(owned) != 4 {
		t.Errorf("inventory is %v; what is kept stays in it", owned)
	}
}

// Pruning before the rollout is done removed the old hashed ConfigMap under
// running pods, and made a rollback impossible (flux2#3378).
func TestPitfall08_OldConfigMapStaysUntilPruned(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	first := f.set(configMap("settings-abc", "v", "1"), service("api"))
	second := f.set(configMap("settings-def", "v", "2"), service("api"))
	f.release(first)
	f.release(second)
	f.exists("ConfigMap", "settings-abc", true) // Apply never deletes
	if p := f.plan(second); len(p.Deletes()) != 1 || p.Changes[len(p.Changes)-1].Action != plan.Delete {
		t.Errorf("plan: %v, want the deletion as the last change", p.Changes)
	}
	f.release(first) // the rollback that needs it
	f.exists("ConfigMap", "settings-abc", true)
	f.release(second)
	old := manifest.ID{Kind: "ConfigMap", Namespace: f.owner.Namespace, Name: "settings-abc"}
	if result, err := f.c.Prune(t.Context(), f.owner, second, old); err != nil || len(result.Deleted) > 0 {
		t.Errorf("prune of what last good needs: %+v, %v", result, err)
	}
	f.exists("ConfigMap", "settings-abc", true)
	f.prune(second)
	f.exists("ConfigMap", "settings-abc", false)
	f.exists("ConfigMap", "settings-def", true)
}

// A prune that failed fell out of the inventory and was forgotten (kc#1665).
func TestPitfall10_FailedPruneIsNotForgotten(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	stuck := strings.Replace(configMap("stuck", "a", "b"), "name: stuck", "name: stuck, finalizers: [example.org/wait]", 1)
	f.release(f.set(configMap("keep", "a", "b"), configMap("gone", "a", "b"), stuck))
	quick := f.with(Options{PruneWait: 1})
	keep := f.set(configMap("keep", "a", "b"))
	result, err := quick.c.Prune(t.Context(), f.owner, keep)
	if err != nil {
		t.Fatal(err)
	}
	if len(result.Pending) == 0 || !slices.ContainsFunc(result.Pending, func(l Left) bool { return l.ID.Name == "stuck" }) {
		t.Errorf("prune: %+v, want stuck pending", result)
	}
	if !slices.Contains(f.owned(), "ConfigMap/stuck") {
		t.Errorf("inventory is %v; the failed deletion is forgotten", f.owned())
	}
	f.edit("ConfigMap", "stuck", func(o *unstructured.Unstructured) { o.SetFinalizers(nil) })
	f.prune(keep)
	f.exists("ConfigMap", "stuck", false)
	f.exists("ConfigMap", "gone", false)
	if owned := f.owned(); !slices.Equal(owned, []string{"ConfigMap/keep"}) {
		t.Errorf("inventory is %v, want only what is kept", owned)
	}
}

// What somebody deleted and made again is theirs, whatever its labels say.
func TestPitfall10_ForeignObjectOfTheSameNameIsLeft(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.release(f.set(configMap("keep", "a", "b"), configMap("mine", "a", "b")))
	labels := f.live("ConfigMap", "mine").GetLabels()
	if err := f.c.dynamic.Resource(gvrs["ConfigMap"]).Namespace(f.owner.Namespace).Delete(t.Context(), "mine", deleteNow); err != nil {
		t.Fatal(err)
	}
	f.create("ConfigMap", configMap("mine", "a", "theirs"), labels)
	result := f.prune(f.set(configMap("keep", "a", "b")))
	if len(result.Deleted) > 0 || len(result.Forgotten) != 1 {
		t.Errorf("prune: %+v, want the foreign object forgotten", result)
	}
	f.exists("ConfigMap", "mine", true)
}

// Garbage collection by label destroyed what an operator had created from a
// labelled parent (kc#315).
func TestPitfall12_CopiedLabelsAreNotOwnership(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.release(f.set(configMap("parent", "a", "b"), configMap("owned-later", "a", "b"), configMap("keep", "a", "b")))
	parent := f.live("ConfigMap", "parent")
	child := f.create("ConfigMap", configMap("child", "a", "b"), parent.GetLabels())
	adoptable := f.create("ConfigMap", configMap("operated", "a", "b"), nil)
	for _, name := range []string{child.GetName(), adoptable.GetName(), "owned-later"} {
		f.edit("ConfigMap", name, func(o *unstructured.Unstructured) {
			o.SetOwnerReferences([]metav1.OwnerReference{{APIVersion: "v1", Kind: "ConfigMap", Name: "keep", UID: f.live("ConfigMap", "keep").GetUID()}})
		})
	}
	f.prune(f.set(configMap("keep", "a", "b"), configMap("parent", "a", "b")))
	f.exists("ConfigMap", "child", true)
	f.exists("ConfigMap", "owned-later", true)
	_, err := f.c.Plan(t.Context(), f.owner, f.set(configMap("keep", "a", "b"), configMap("parent", "a", "b"), configMap("operated", "x", "y")))
	var refusal *plan.Refusal
	if !errors.As(err, &refusal) || refusal.Reason != promotion.ConflictingOwner {
		t.Errorf("plan for an object with an owner: %v, want a refusal", err)
	}
}

// An inventory in one object hit the size limit at about 5,000 entries
// (config-sync#1531, fleet#3482).
func TestPitfall13_InventoryBeyondOneObject(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	all := f.set(configMap("keep", "a", "b"))
	f.release(all)
	s, err := f.c.loadInventory(t.Context(), f.owner)
	if err != nil {
		t.Fatal(err)
	}
	var entries []inventory.Entry
	for i := range 10_000 {
		id := manifest.ID{Kind: "ConfigMap", Namespace: f.owner.Namespace, Name: fmt.Sprintf("%s-%05d", strings.Repeat("n", 60), i)}
		entries = append(entries, inventory.Entry{ID: id, Version: "v1", UID: "0b3a6f8e-1111-2222-3333-444455556666"})
	}
	big := s.Merge(entries)
	saved, err := f.c.saveInventory(t.Context(), f.owner, s, big)
	if err != nil {
		t.Fatal(err)
	}
	read, err := f.c.Inventory(t.Context(), f.owner)
	if err != nil || !read.Equal(big) {
		t.Fatalf("read back %d entries, %v; want %d", read.Len(), err, big.Len())
	}
	if _, err := f.c.saveInventory(t.Context(), f.owner, saved, s.Inventory); err != nil {
		t.Fatal(err)
	}
	left, err := f.local.Client().CoreV1().ConfigMaps(f.owner.Namespace).List(t.Context(), metav1.ListOptions{LabelSelector: labelShardOf})
	if err != nil || len(left.Items) > 0 {
		t.Errorf("%d shards are left of an inventory that fits into one object (%v)", len(left.Items), err)
	}
}

// Ordering and protection by kind alone took another group's Namespace for the
// core one (fluxcd/pkg#689).
func TestPitfall14_OtherGroupsNamespaceIsNoNamespace(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	group := f.owner.Namespace + ".example.org"
	crd := definition(group, "Namespace", "namespaces")
	f.owner.Allow = []promotion.Allowance{{Group: "apiextensions.k8s.io", Kind: "CustomResourceDefinition", Name: "namespaces." + group}}
	custom := fmt.Sprintf("apiVersion: %s/v1\nkind: Namespace\nmetadata: {name: team}\nspec: {a: b}", group)
	set := f.set(custom, crd, configMap("settings", "a", "b"))
	dropDefinition(f, "namespaces."+group)
	f.release(set) // also: the CRD and its resource in one release (kc#1194)
	gvr := schema.GroupVersionResource{Group: group, Version: "v1", Resource: "namespaces"}
	if _, err := f.c.dynamic.Resource(gvr).Namespace(f.owner.Namespace).Get(t.Context(), "team", metav1.GetOptions{}); err != nil {
		t.Fatal(err)
	}
	if p := f.plan(set); !p.Quiet() {
		t.Errorf("second plan: %v, want nothing to do", p.Changes)
	}
	result := f.prune(f.set(configMap("settings", "a", "b")))
	if len(result.Deleted) != 1 || result.Deleted[0].Kind != "Namespace" {
		t.Errorf("prune deleted %v, want the custom Namespace, which is not of a protected kind", result.Deleted)
	}
	if len(result.Kept) != 1 || result.Kept[0].Reason != plan.ReasonProtectedKind {
		t.Errorf("prune kept %v, want the CRD", result.Kept)
	}
}

// A PVC was deleted though it said not to be (argo-cd#13503).
func TestPitfall18_VolumeClaimsStay(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	claim := func(name, word string) string {
		return fmt.Sprintf(`apiVersion: v1
kind: PersistentVolumeClaim
metadata: {name: %s, annotations: {%s}}
spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Mi}}, storageClassName: none}`, name, word)
	}
	never := strings.Replace(configMap("never", "a", "b"), "name: never", "name: never, annotations: {chaperone.dev/prune: never}", 1)
	keep := f.set(configMap("keep", "a", "b"))
	f.release(f.set(configMap("keep", "a", "b"), never, claim("plain", ""), claim("allowed", "chaperone.dev/prune: allow")))
	result := f.prune(keep)
	f.exists("PersistentVolumeClaim", "plain", true)
	f.exists("PersistentVolumeClaim", "allowed", false)
	f.exists("ConfigMap", "never", true)
	if o := f.live("PersistentVolumeClaim", "plain"); o == nil || o.GetDeletionTimestamp() != nil {
		t.Error("the claim is being deleted")
	}
	if len(result.Kept) != 2 || len(result.Deleted) != 1 {
		t.Errorf("prune: %+v, want 2 kept and 1 deleted", result)
	}
	e, found := mustInventory(f).Get(manifest.ID{Kind: "PersistentVolumeClaim", Namespace: f.owner.Namespace, Name: "plain"})
	if !found || !e.Kept {
		t.Errorf("inventory entry of the claim: %+v, %v; want it marked kept", e, found)
	}
	if p := f.plan(keep); !p.Quiet() || p.Count(plan.Keep) != 2 {
		t.Errorf("plan afterwards: %v, want two kept and nothing to do", p.Changes)
	}
}

// Secret values were found in diffs, events, logs and errors, again and again
// (argo-cd#897, CVE-2023-40029, CVE-2025-23216).
func TestPitfall40_SecretValuesNowhere(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	const canary, second = "canary-7d1f", "canary-93ac"
	secret := func(value string) string {
		return fmt.Sprintf("apiVersion: v1\nkind: Secret\nmetadata: {name: login}\nstringData: {password: %q}", value)
	}
	var out strings.Builder
	note := func(values ...any) {
		for _, v := range values {
			fmt.Fprintf(&out, "%v\n%+v\n%#v\n", v, v, v)
		}
	}
	first := f.plan(f.set(secret(canary)))
	note(first, first.Changes)
	progress := func(c plan.Change, err error) { note(c, err) }
	result, err := f.c.Apply(t.Context(), f.owner, first, progress)
	note(result, err)
	p := f.plan(f.set(secret(second)))
	if len(p.Applies()) != 1 || len(p.Applies()[0].Fields) != 1 {
		t.Fatalf("plan: %v, want one changed field", p.Changes)
	}
	note(p)
	for name, text := range map[string]string{
		"not base64": "apiVersion: v1\nkind: Secret\nmetadata: {name: login}\ndata: {password: '" + canary + "!!'}",
		"not text":   "apiVersion: v1\nkind: Secret\nmetadata: {name: login}\nstringData: {password: {is: " + canary + "}}",
		"no map":     "apiVersion: v1\nkind: Secret\nmetadata: {name: login}\ndata: " + canary,
		"bad type":   "apiVersion: v1\nkind: Secret\ntype: kubernetes.io/tls\nmetadata: {name: other}\nstringData: {password: " + canary + "}",
	} {
		p, err := f.c.Plan(t.Context(), f.owner, f.set(text))
		if err == nil {
			t.Errorf("%s: no error", name)
		}
		note(p, err)
		for inner := err; inner != nil; inner = errors.Unwrap(inner) {
			note(inner)
		}
	}
	note(f.prune(f.set(configMap("keep", "a", "b"))))
	encoded := []string{canary, second, "Y2FuYXJ5LTdkMWY=", "Y2FuYXJ5LTkzYWM="}
	for _, value := range encoded {
		if at := strings.Index(out.String(), value); at >= 0 {
			t.Errorf("a secret value shows: …%s…", out.String()[max(0, at-200):at+len(value)])
		}
	}
	if !strings.Contains(out.String(), "<redacted ") {
		t.Error("the diff does not show that the value differs")
	}
}

func dropDefinition(f *fixture, name string) {
	crds := schema.GroupVersionResource{Group: "apiextensions.k8s.io", Version: "v1", Resource: "customresourcedefinitions"}
	f.Cleanup(func() {
		_ = f.c.dynamic.Resource(crds).Delete(f.Context(), name, deleteNow) // the cluster ends by itself
	})
}

package cluster

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"chaperone.dev/chaperone/internal/manifest"
	"chaperone.dev/chaperone/internal/plan"
	"chaperone.dev/chaperone/internal/promotion"
)

// withFinalizer is a ConfigMap that a finalizer holds when it is deleted.
func withFinalizer(name string) string {
	return strings.Replace(configMap(name, "a", "b"), "name: "+name, "name: "+name+", finalizers: [example.org/wait]", 1)
}

// letGo takes the finalizer away, as its controller would at last.
func (f *fixture) letGo(names ...string) {
	f.Helper()
	for _, name := range names {
		f.edit("ConfigMap", name, func(o *unstructured.Unstructured) { o.SetFinalizers(nil) })
	}
}

func keptReasons(result PruneResult) map[string]string {
	reasons := map[string]string{}
	for _, left := range result.Kept {
		reasons[left.ID.Kind+"/"+left.ID.Name] = left.Reason
	}
	return reasons
}

func namespaceManifest(name string) string {
	return fmt.Sprintf("apiVersion: v1\nkind: Namespace\nmetadata: {name: %s, annotations: {chaperone.dev/prune: allow}}", name)
}

// The namespace transformer renames the Namespace of a release into the daemon's
// own, and a later commit takes that back: what is not rendered any more is the
// namespace that the daemon runs in (flux2#3949).
func TestPitfall05_RenamedNamespaceOfTheReleaseIsNeverPruned(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	home, other := f.local.Namespace(t), f.local.Namespace(t)
	f = f.with(Options{DaemonNamespace: home})
	names := []string{home, other, "kube-system", "kube-public", "kube-node-lease", f.owner.Namespace}
	for _, name := range names {
		f.owner.Allow = append(f.owner.Allow, promotion.Allowance{Kind: "Namespace", Name: name}, promotion.Allowance{Namespace: name})
	}
	f.owner.Adopt = []promotion.Tool{promotion.ToolOther, promotion.ToolKubectl}
	// One commit after the other renames the Namespace, and what is in it.
	inside := func(name string) string {
		return strings.Replace(configMap("chaperone-test-inside", "a", "b"), "name: chaperone-test-inside", "name: chaperone-test-inside, namespace: "+name, 1)
	}
	rest := []string{configMap("rest", "a", "b"), configMap("rest-2", "a", "b"), configMap("rest-3", "a", "b")}
	f.owner.MaxDeletePart = 1
	for _, name := range names {
		f.release(f.set(append(rest, namespaceManifest(name), inside(name))...))
	}
	last := f.set(append(rest, configMap("last", "a", "b"))...)
	f.release(last)
	result := f.prune(last)
	t.Cleanup(func() { // the cluster ends by itself
		for _, name := range []string{"kube-system", "kube-public", "kube-node-lease"} {
			_ = f.local.Client().CoreV1().ConfigMaps(name).Delete(context.WithoutCancel(t.Context()), "chaperone-test-inside", metav1.DeleteOptions{})
		}
	})
	reasons := keptReasons(result)
	for name, want := range map[string]string{home: plan.ReasonOwnObject, f.owner.Namespace: plan.ReasonOwnObject, "kube-system": plan.ReasonSystemNamespace,
		"kube-public": plan.ReasonSystemNamespace, "kube-node-lease": plan.ReasonSystemNamespace} {
		if got := reasons["Namespace/"+name]; got != want {
			t.Errorf("Namespace %s: kept because of %q, want %q", name, got, want)
		}
		o, err := f.local.Client().CoreV1().Namespaces().Get(t.Context(), name, metav1.GetOptions{})
		if err != nil || o.DeletionTimestamp != nil {
			t.Errorf("namespace %s: %v", name, err)
		}
	}
	for _, name := range []string{home, "kube-system", "kube-public", "kube-node-lease"} {
		if _, err := f.local.Client().CoreV1().ConfigMaps(name).Get(t.Context(), "chaperone-test-inside", metav1.GetOptions{}); err != nil {
			t.Errorf("what is in %s: %v", name, err)
		}
	}
	// Any other Namespace that allows it goes, or the test could not fail.
	gone := manifest.ID{Kind: "Namespace", Name: other}
	if !slices.Contains(result.Deleted, gone) && !slices.ContainsFunc(result.Pending, func(l Left) bool { return l.ID == gone }) {
		t.Errorf("the Namespace %s was not deleted: %+v", other, result)
	}
}

// A prune that is cut off half-way forgets nothing: neither what it did not get
// to, nor what it deleted without writing that down (kc#1665).
func TestPitfall10_PruneCutOffForgetsNothing(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	keep := f.set(configMap("keep", "a", "b"))
	f.owner.MaxDeletePart = 1
	f.release(f.set(configMap("keep", "a", "b"), configMap("d1", "a", "b"), configMap("d2", "a", "b"), configMap("d3", "a", "b")))
	ctx, cut := context.WithCancel(t.Context())
	defer cut()
	cutOff := f.connectThrough(func(request *http.Request) (*http.Response, error) {
		if request.Method == http.MethodDelete && strings.HasSuffix(request.URL.Path, "/d2") {
			cut()
			return nil, context.Canceled
		}
		return nil, nil
	})
	if _, err := cutOff.c.Prune(ctx, f.owner, keep); err == nil {
		t.Error("a prune that was cut off reports success")
	}
	g := f.with(Options{}) // the daemon starts again
	if owned := g.owned(); len(owned) != 4 {
		t.Errorf("inventory is %v; nothing was confirmed, so nothing may be missing", owned)
	}
	result := g.prune(keep)
	if len(result.Deleted)+len(result.Forgotten) != 3 {
		t.Errorf("the next prune: %+v, want it finished", result)
	}
	for _, name := range []string{"d1", "d2", "d3"} {
		f.exists("ConfigMap", name, false)
	}
	if owned := g.owned(); !slices.Equal(owned, []string{"ConfigMap/keep"}) {
		t.Errorf("inventory is %v", owned)
	}
}

// The server refuses a deletion, for good or for now: the object stays owned,
// and what else is to go, goes (kc#1665).
func TestPitfall10_RefusedDeletionIsNotForgotten(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	keep := f.set(configMap("keep", "a", "b"))
	f.release(f.set(configMap("keep", "a", "b"), configMap("held", "a", "b"), configMap("gone", "a", "b")))
	refusing := f.connectThrough(func(request *http.Request) (*http.Response, error) {
		if request.Method == http.MethodDelete && strings.HasSuffix(request.URL.Path, "/held") {
			return statusAnswer(request, http.StatusForbidden), nil
		}
		return nil, nil
	})
	result, err := refusing.c.Prune(t.Context(), f.owner, keep)
	if err == nil || len(result.Pending) != 1 || result.Pending[0].ID.Name != "held" {
		t.Errorf("prune: %+v, %v; want held pending and an error", result, err)
	}
	f.exists("ConfigMap", "gone", false)
	if owned := f.with(Options{}).owned(); !slices.Equal(owned, []string{"ConfigMap/held", "ConfigMap/keep"}) {
		t.Errorf("inventory is %v", owned)
	}
	if result := f.with(Options{}).prune(keep); len(result.Deleted) != 1 {
		t.Errorf("the next prune: %+v", result)
	}
}

// A claim was deleted though it said not to be (argo-cd#13503): the environment's
// word holds as well, against the object's own, and against a replacement.
func TestPitfall18_ProtectedByTheEnvironment(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	claim := "apiVersion: v1\nkind: PersistentVolumeClaim\nmetadata: {name: data, annotations: {chaperone.dev/prune: allow, chaperone.dev/replace: allow}}\n" +
		"spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Mi}}, storageClassName: none}"
	set := func(replicas string) string {
		return "apiVersion: apps/v1\nkind: StatefulSet\nmetadata: {name: db, annotations: {chaperone.dev/replace: allow}}\nspec: {replicas: 0, serviceName: " + replicas +
			", selector: {matchLabels: {app: db}}, template: {metadata: {labels: {app: db}}, spec: {containers: [{name: a, image: r/a:1}]}}}"
	}
	f.owner.Protect = []promotion.Protection{{Kind: "PersistentVolumeClaim"}, {Group: "apps", Kind: "StatefulSet", Name: "db"}, {Kind: "ConfigMap", Name: "settings"}}
	f.release(f.set(configMap("keep", "a", "b"), configMap("settings", "a", "b"), claim, set("one")))
	uid := f.statefulSet("db").GetUID()

	// The service of a StatefulSet cannot be changed in place.
	changed := f.set(configMap("keep", "a", "b"), configMap("settings", "a", "b"), claim, set("two"))
	p, err := f.c.Plan(t.Context(), f.owner, changed)
	var refusal *plan.Refusal
	if !errors.As(err, &refusal) || refusal.Reason != promotion.ApplyRejected || !strings.Contains(err.Error(), "StatefulSet.apps/db in protect") {
		t.Errorf("plan that would replace the StatefulSet: %v, %v", p.Changes, err)
	}
	if _, err := f.c.Apply(t.Context(), f.owner, p, nil); err == nil {
		t.Error("such a plan is carried out")
	}
	keep := f.set(configMap("keep", "a", "b"))
	result := f.prune(keep)
	for _, name := range []string{"PersistentVolumeClaim/data", "StatefulSet/db", "ConfigMap/settings"} {
		if got := keptReasons(result)[name]; got != plan.ReasonProtected {
			t.Errorf("%s: kept because of %q, want %s", name, got, plan.ReasonProtected)
		}
	}
	if now := f.statefulSet("db"); now.GetUID() != uid || now.GetDeletionTimestamp() != nil {
		t.Error("the StatefulSet is another, or being deleted")
	}
	if e, found := mustInventory(f).Get(manifest.ID{Kind: "ConfigMap", Namespace: f.owner.Namespace, Name: "settings"}); !found || !e.Kept {
		t.Errorf("inventory entry: %+v, %v; want it kept", e, found)
	}
	// Taken out of the list they go.
	f.owner.Protect = nil
	if result := f.prune(keep); len(result.Deleted) != 3 {
		t.Errorf("prune once nothing is protected: %+v", result)
	}
}

func (f *fixture) statefulSet(name string) metav1.Object {
	f.Helper()
	o, err := f.local.Client().AppsV1().StatefulSets(f.owner.Namespace).Get(f.Context(), name, metav1.GetOptions{})
	if err != nil {
		f.Fatal(err)
	}
	return o
}

// Finalizers that never finish (argo-cd#1329, #19571): the prune takes no longer
// for many than for one, names them, sees to the rest, and goes on with the next
// pass.
func TestPitfall21_FinalizerThatNeverFinishes(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.owner.MaxDeletePart = 1
	var stuck, texts []string
	for i := range 20 { // more than there are workers
		stuck = append(stuck, fmt.Sprintf("stuck-%02d", i))
		texts = append(texts, withFinalizer(stuck[i]))
	}
	keep := f.set(configMap("keep", "a", "b"))
	f.release(f.set(append(texts, configMap("keep", "a", "b"), configMap("z-gone", "a", "b"), service("earlier"))...))
	t.Cleanup(func() {
		for _, name := range stuck {
			patch := []byte(`{"metadata":{"finalizers":null}}`)
			_, _ = f.local.Client().CoreV1().ConfigMaps(f.owner.Namespace).Patch(context.WithoutCancel(t.Context()), name, "application/merge-patch+json", patch, metav1.PatchOptions{})
		}
	})
	const wait = 3 * time.Second
	quick := f.with(Options{PruneWait: wait})
	begun := time.Now()
	result := quick.prune(keep)
	// One after the other, in batches of the workers, they would take three times that.
	if took := time.Since(begun); took > 60*time.Second {
		t.Errorf("the prune took %s, with a bound of %s in each of two waves", took, wait)
	}
	if len(result.Pending) != len(stuck) || len(result.Deleted) != 2 {
		t.Fatalf("prune: %d pending and %d deleted, want %d and 2", len(result.Pending), len(result.Deleted), len(stuck))
	}
	for _, left := range result.Pending {
		if !strings.Contains(left.Reason, "example.org/wait") || !strings.Contains(left.Reason, "3s") {
			t.Errorf("%s: %q does not name the finalizer, or how long it was waited for", left.ID, left.Reason)
		}
	}
	f.exists("ConfigMap", "z-gone", false)
	f.exists("Service", "earlier", false)
	f.letGo(stuck[:5]...)
	if result := quick.prune(keep); len(result.Pending) != 15 {
		t.Errorf("the next prune: %d pending, want 15", len(result.Pending))
	}
	f.letGo(stuck[5:]...)
	f.prune(keep)
	if owned := f.with(Options{}).owned(); !slices.Equal(owned, []string{"ConfigMap/keep"}) {
		t.Errorf("inventory is %v", owned)
	}
}

// What hangs in deletion is rendered again: the rest of the release is applied,
// the finalizer is named when the time is over, and a later attempt makes the
// object anew.
func TestPitfall21_HangsInDeletionAndIsRenderedAgain(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.release(f.set(configMap("keep", "a", "b"), withFinalizer("hangs")))
	quick := f.with(Options{PruneWait: time.Millisecond})
	quick.prune(f.set(configMap("keep", "a", "b")))
	uid := f.live("ConfigMap", "hangs").GetUID()

	again := f.set(configMap("keep", "a", "c"), withFinalizer("hangs"), configMap("other", "a", "b"))
	p := f.plan(again)
	if got := reasons(p.Changes, plan.Replace)["ConfigMap/hangs"]; got != plan.ReasonTerminating {
		t.Errorf("plan: %v, want it made anew once it is gone", p.Changes)
	}
	owner := f.owner
	owner.ApplyTimeout = 5 * time.Second
	_, err := f.c.Apply(t.Context(), owner, p, nil)
	if err == nil || !strings.Contains(err.Error(), "example.org/wait") || !strings.Contains(err.Error(), "hangs") {
		t.Errorf("apply: %v, want an error that names the object and its finalizer", err)
	}
	f.exists("ConfigMap", "other", true) // the rest went on
	if got, _, _ := unstructured.NestedString(f.live("ConfigMap", "keep").Object, "data", "a"); got != "c" {
		t.Errorf("keep was not updated: %q", got)
	}
	if f.live("ConfigMap", "hangs").GetUID() != uid {
		t.Error("it is another by now")
	}
	f.letGo("hangs")
	f.release(again)
	if o := f.live("ConfigMap", "hangs"); o == nil || o.GetUID() == uid || o.GetDeletionTimestamp() != nil {
		t.Errorf("afterwards: %v, want a new one", o)
	}
	f.letGo("hangs")
}

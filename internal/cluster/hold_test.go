package cluster

import (
	"slices"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"chaperone.dev/chaperone/internal/manifest"
	"chaperone.dev/chaperone/internal/plan"
	"chaperone.dev/chaperone/internal/promotion"
)

// A Namespace goes with all that is in it: claims that a StatefulSet made are in
// no inventory, and are not asked (argo-cd#13503).
func TestPitfall18_NamespaceKeepsClaimsOfStatefulSets(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	name := f.owner.Namespace + "-records"
	space := "apiVersion: v1\nkind: Namespace\nmetadata: {name: " + name + ", annotations: {chaperone.dev/prune: allow}}"
	f.owner.Allow = []promotion.Allowance{{Kind: "Namespace", Name: name}, {Namespace: name}}
	f.release(f.set(configMap("a", "key", "1"), space))
	other := *f
	other.owner.Namespace = name
	claim := `apiVersion: v1
kind: PersistentVolumeClaim
metadata: {name: data-db-0}
spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Gi}}}`
	other.create("PersistentVolumeClaim", claim, nil)

	left := f.prune(f.set(configMap("a", "key", "1")))
	id := manifest.ID{Kind: "Namespace", Name: name}
	if !slices.Contains(left.Kept, Left{id, plan.ReasonHolds}) || len(left.Deleted) > 0 {
		t.Fatalf("the prune came to %+v, want the Namespace kept", left)
	}
	other.patch("PersistentVolumeClaim", "data-db-0", `{"metadata": {"annotations": {"chaperone.dev/prune": "allow"}}}`)
	if left = f.prune(f.set(configMap("a", "key", "1"))); slices.ContainsFunc(left.Kept, func(one Left) bool { return one.ID == id }) {
		t.Errorf("the claim says that it may go, and the prune came to %+v", left)
	}
}

func TestNamespaceOfAnotherEnvironmentIsKept(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	p := pruner{c: f.c, owner: f.owner.plan()}
	id := manifest.ID{Kind: "Namespace", Name: f.owner.Namespace}
	f.release(f.set(configMap("a", "key", "1")))
	if held := p.holds(t.Context(), id); held != "" {
		t.Errorf("our own inventory holds the Namespace: %s", held)
	}
	p.owner.Environment = "another/one"
	if held := p.holds(t.Context(), id); !strings.Contains(held, f.owner.inventoryName()) {
		t.Errorf("another environment's inventory is there, and what holds is %q", held)
	}
}

// A definition goes with every resource of its kind, wherever that is and
// whoever runs it (argo-cd#13503).
func TestPitfall18_DefinitionKeepsWhatOthersHave(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	gvr, crd, menu := f.menus("v1")
	crd = strings.Replace(crd, "metadata: {", "metadata: {annotations: {chaperone.dev/prune: allow}, ", 1)
	f.release(f.set(menu, crd, configMap("plain", "a", "b")))
	theirs := f.set(strings.Replace(menu, "lunch", "theirs", 1)).Objects()[0]
	elsewhere := f.c.dynamic.Resource(gvr).Namespace("default")
	if _, err := elsewhere.Create(t.Context(), theirs, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	keep := f.set(configMap("plain", "a", "b"))
	id := manifest.ID{Group: "apiextensions.k8s.io", Kind: "CustomResourceDefinition", Name: "menus." + gvr.Group}
	left := f.prune(keep)
	if !slices.Contains(left.Kept, Left{id, plan.ReasonHolds}) || len(left.Deleted) != 1 || left.Deleted[0].Name != "lunch" {
		t.Fatalf("the prune came to %+v, want our resource deleted, and its definition kept", left)
	}
	if err := elsewhere.Delete(t.Context(), "theirs", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	if left = f.prune(keep); !slices.Contains(left.Deleted, id) {
		t.Errorf("nothing holds the definition any more, and the prune came to %+v", left)
	}
}

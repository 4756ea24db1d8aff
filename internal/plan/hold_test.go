package plan

import (
	"testing"

	"chaperone.dev/chaperone/internal/manifest"
)

// What is deleted with its Namespace, or its definition, is asked first
// (argo-cd#13503).
func TestPitfall18_NamespaceHoldsWhatIsKept(t *testing.T) {
	t.Parallel()
	ns, nsOwned := ownedLive(t, "apiVersion: v1\nkind: Namespace\nmetadata: {name: records, annotations: {chaperone.dev/prune: allow}}", "1")
	pvc, pvcOwned := ownedLive(t, "apiVersion: v1\nkind: PersistentVolumeClaim\nmetadata: {name: db, namespace: records}", "2")
	crd, crdOwned := ownedLive(t, "apiVersion: apiextensions.k8s.io/v1\nkind: CustomResourceDefinition\nmetadata: {name: dbs.example.org, annotations: {chaperone.dev/prune: allow}}\nspec: {group: example.org, names: {kind: DB, plural: dbs}}", "3")
	cr, crOwned := ownedLive(t, "apiVersion: example.org/v1\nkind: DB\nmetadata: {name: db, namespace: shop, annotations: {chaperone.dev/prune: never}}", "4")
	all := []Owned{nsOwned, pvcOwned, crdOwned, crOwned}
	live := map[manifest.ID]*manifest.Object{nsOwned.ID: ns, pvcOwned.ID: pvc, crdOwned.ID: crd, crOwned.ID: cr}
	changes, refusal := Prune(owner, Guards{Prune: true}, 1, all, all, live)
	if refusal != nil {
		t.Fatal(refusal)
	}
	for _, c := range changes {
		if c.Action == Delete {
			t.Errorf("%s is deleted, with what is kept in it", c.ID)
		}
	}
	// The Namespace alone is dropped from the release, what is in it is still rendered.
	changes, refusal = Prune(owner, Guards{Prune: true}, 1, all, []Owned{nsOwned, crdOwned}, live)
	if refusal != nil {
		t.Fatal(refusal)
	}
	for _, c := range changes {
		if c.Action == Delete {
			t.Errorf("%s is deleted, with what is rendered in it", c.ID)
		}
	}
}

// An object that another tool has taken over is left to it, also when it is no
// longer rendered.
func TestHandedOverIsForgotten(t *testing.T) {
	t.Parallel()
	live, entry := ownedLive(t, "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: api, namespace: shop}", "1")
	live.SetLabels(map[string]string{"kustomize.toolkit.fluxcd.io/name": "apps", "kustomize.toolkit.fluxcd.io/namespace": "flux-system"})
	live.SetAnnotations(nil)
	live = wrote(live, "kustomize-controller", "Apply", "", `{"f:spec":{"f:replicas":{}}}`)
	if other := owner.Knowing(true).Other(live); other == "" {
		t.Fatal("not handed over")
	}
	if c := fate(owner, Guards{Prune: true}, entry, live); c.Action == Delete {
		t.Errorf("%v: an apply leaves it to Flux, and a prune deletes it", c)
	}
}

package plan

import (
	"testing"

	"chaperone.dev/chaperone/internal/manifest"
	"chaperone.dev/chaperone/internal/promotion"
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

// handOver puts another tool's marks in place of ours.
func handOver(live *manifest.Object) {
	live.SetLabels(map[string]string{"kustomize.toolkit.fluxcd.io/name": "apps", "kustomize.toolkit.fluxcd.io/namespace": "flux-system"})
	live.SetAnnotations(nil)
}

// An object that another tool has taken over is left to it, also when it is no
// longer rendered.
func TestHandedOverIsForgotten(t *testing.T) {
	t.Parallel()
	live, entry := ownedLive(t, "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: api, namespace: shop}", "1")
	handOver(live)
	live = wrote(live, "kustomize-controller", "Apply", "", `{"f:spec":{"f:replicas":{}}}`)
	if other := owner.Knowing(true).Other(live); other == "" {
		t.Fatal("not handed over")
	}
	if c := fate(owner, Guards{Prune: true}, entry, live); c.Action == Delete {
		t.Errorf("%v: an apply leaves it to Flux, and a prune deletes it", c)
	}
}

// What somebody else made, or has by now, dies with a Namespace as well, also at
// the next prune, when the Namespace is all that is left to delete
// (argo-cd#13503).
func TestPitfall18_NamespaceHoldsWhatIsAnothers(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(live *manifest.Object, entry *Owned){
		"made again": func(_ *manifest.Object, entry *Owned) { entry.UID = "another" },
		"another's mark": func(live *manifest.Object, _ *Owned) {
			live.SetAnnotations(map[string]string{AnnotationEnvironment: "shop/production"})
		},
		"handed over": func(live *manifest.Object, _ *Owned) { handOver(live) },
		"never ours for all": func(live *manifest.Object, entry *Owned) {
			entry.UID = ""
			live.SetLabels(nil)
			live.SetAnnotations(nil)
		},
	} {
		for _, of := range []struct{ holder, held string }{
			{"apiVersion: v1\nkind: Namespace\nmetadata: {name: records, annotations: {chaperone.dev/prune: allow}}",
				"apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: db, namespace: records}"},
			{"apiVersion: apiextensions.k8s.io/v1\nkind: CustomResourceDefinition\nmetadata: {name: dbs.example.org, annotations: {chaperone.dev/prune: allow}}\nspec: {group: example.org, names: {kind: DB, plural: dbs}}",
				"apiVersion: example.org/v1\nkind: DB\nmetadata: {name: db, namespace: shop}"},
		} {
			holder, holds := ownedLive(t, of.holder, "1")
			live, entry := ownedLive(t, of.held, "2")
			change(live, &entry)
			w := owner
			w.Allow = []promotion.Allowance{{Namespace: "records"}, {Group: holds.Group, Kind: holds.Kind, Name: holds.Name}}
			all := []Owned{holds, entry}
			changes, refusal := Prune(w, Guards{Prune: true}, 1, all, all, map[manifest.ID]*manifest.Object{holds.ID: holder, entry.ID: live})
			if refusal != nil {
				t.Fatal(refusal)
			}
			got := map[manifest.ID]Change{}
			for _, c := range changes {
				got[c.ID] = c
			}
			if c := got[holds.ID]; c.Action != Keep || c.Reason != ReasonHolds {
				t.Errorf("%s: %v, with what is another's in it", name, c)
			}
			if c := got[entry.ID]; c.Action != Keep || c.Reason != ReasonForeign {
				t.Errorf("%s: %v, want it kept in the inventory for as long as %s is", name, c, holds.ID)
			}
		}
	}
}

// A restore keeps too large a share of what is taken over, and with it the
// Namespace that this is in (argo-cd#13503).
func TestPitfall18_NamespaceHoldsWhatARestoreKeeps(t *testing.T) {
	t.Parallel()
	ns, nsOwned := ownedLive(t, "apiVersion: v1\nkind: Namespace\nmetadata: {name: records, annotations: {chaperone.dev/prune: allow}}", "1")
	live, entry := ownedLive(t, "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a, namespace: records}", "2")
	entry.Carried = []string{"shop/old"}
	w := owner
	w.Allow = []promotion.Allowance{{Namespace: "records"}, {Kind: "Namespace", Name: "records"}}
	all := []Owned{nsOwned, entry}
	changes, refusal := Prune(w, Guards{Prune: true, Restoring: true}, 1, all, all, map[manifest.ID]*manifest.Object{nsOwned.ID: ns, entry.ID: live})
	if refusal != nil || len(changes) != 2 {
		t.Fatal(changes, refusal)
	}
	for _, c := range changes {
		if c.Action != Keep {
			t.Errorf("%v: the guard keeps what is in the Namespace, which goes", c)
		}
	}
}

// Whoever takes the marks away with a tool that nobody knows has handed nothing
// over: what is forgotten would run on, and nobody would be told. What another
// tool has by now is not deleted, and not ours to list.
func TestPitfall10_StrippedMarksAreNotForgotten(t *testing.T) {
	t.Parallel()
	const replicas = `{"f:spec":{"f:replicas":{}}}`
	for name, c := range map[string]struct {
		change func(live *manifest.Object) *manifest.Object
		action Action
	}{
		"by a UI that edited it, too": {func(o *manifest.Object) *manifest.Object { return wrote(o, "node-fetch", "Update", "", replicas) }, Keep},
		"rendered by Helm": {func(o *manifest.Object) *manifest.Object {
			o.SetLabels(map[string]string{"app.kubernetes.io/managed-by": "Helm"})
			return o
		}, Keep},
		"by an operator's bundle": {func(o *manifest.Object) *manifest.Object {
			o.SetLabels(map[string]string{"olm.owner": "some"})
			return o
		}, Keep},
		"by kubectl":             {func(o *manifest.Object) *manifest.Object { return wrote(o, "kubectl-edit", "Update", "", replicas) }, Delete},
		"by nobody that wrote":   {func(o *manifest.Object) *manifest.Object { return o }, Delete},
		"to Flux":                {func(o *manifest.Object) *manifest.Object { handOver(o); return o }, Forget},
		"to Helm, by its fields": {func(o *manifest.Object) *manifest.Object { return wrote(o, "helm", "Update", "", replicas) }, Forget},
		"to another set": {func(o *manifest.Object) *manifest.Object {
			o.SetLabels(map[string]string{LabelPartOf: "applyset-y-v1"})
			return o
		}, Forget},
	} {
		live, entry := ownedLive(t, "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: api, namespace: shop}", "1")
		live.SetLabels(nil)
		live.SetAnnotations(nil)
		if got := fate(owner, Guards{Prune: true}, entry, c.change(live)); got.Action != c.action {
			t.Errorf("%s: %v, want %s", name, got, c.action)
		}
	}
}

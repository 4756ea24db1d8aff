package plan

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"pgregory.net/rapid"

	"chaperone.dev/chaperone/internal/manifest"
	"chaperone.dev/chaperone/internal/promotion"
)

func TestFateOfWhatIsNotRendered(t *testing.T) {
	t.Parallel()
	plain := named("ConfigMap", "a", "")
	for name, test := range map[string]struct {
		text   string
		change func(live *manifest.Object, entry *Owned, g *Guards)
		action Action
		reason string
	}{
		"ours":                {plain, nil, Delete, ""},
		"never":               {named("ConfigMap", "a", "chaperone.dev/prune: never"), nil, Keep, ReasonPruneNever},
		"volume claim":        {named("PersistentVolumeClaim", "a", ""), nil, Keep, ReasonProtectedKind},
		"volume claim allows": {named("PersistentVolumeClaim", "a", "chaperone.dev/prune: allow"), nil, Delete, ""},
		"other group's claim": {strings.Replace(named("PersistentVolumeClaim", "a", ""), "v1", "example.org/v1", 1), nil, Delete, ""},
		"definition":          {"apiVersion: apiextensions.k8s.io/v1\nkind: CustomResourceDefinition\nmetadata: {name: a.b.c}", nil, Keep, ReasonProtectedKind},
		"own definition": {"apiVersion: apiextensions.k8s.io/v1\nkind: CustomResourceDefinition\nmetadata: {name: environments.chaperone.dev, annotations: {chaperone.dev/prune: allow}}",
			nil, Keep, ReasonOwnObject},
		"system namespace":      {"apiVersion: v1\nkind: Namespace\nmetadata: {name: kube-system, annotations: {chaperone.dev/prune: allow}}", nil, Keep, ReasonSystemNamespace},
		"in a system namespace": {strings.Replace(plain, "namespace: shop", "namespace: kube-system", 1), nil, Keep, ReasonSystemNamespace},
		"daemon's namespace":    {plain, func(_ *manifest.Object, _ *Owned, g *Guards) { g.DaemonNamespace = "shop" }, Keep, ReasonOwnObject},
		"prune off":             {plain, func(_ *manifest.Object, _ *Owned, g *Guards) { g.Prune = false }, Keep, ReasonPruneDisabled},
		"partial discovery":     {plain, func(_ *manifest.Object, _ *Owned, g *Guards) { g.Partial = true }, Keep, ReasonPartialRead},
		"has an owner": {plain, func(o *manifest.Object, _ *Owned, _ *Guards) {
			o.SetOwnerReferences([]metav1.OwnerReference{{Kind: "Pod", Name: "p"}})
		}, Keep, ReasonHasOwner},
		"made again by somebody": {plain, func(_ *manifest.Object, e *Owned, _ *Guards) { e.UID = "another" }, Forget, ReasonForeign},
		"never confirmed":        {plain, func(_ *manifest.Object, e *Owned, _ *Guards) { e.UID = "" }, Delete, ""},
		"never confirmed and not marked": {plain, func(o *manifest.Object, e *Owned, _ *Guards) {
			e.UID = ""
			o.SetLabels(nil)
			o.SetAnnotations(nil)
		}, Forget, ReasonForeign},
		"went to another environment": {plain, func(o *manifest.Object, _ *Owned, _ *Guards) {
			o.SetAnnotations(map[string]string{AnnotationEnvironment: "shop/production"})
		}, Forget, ReasonForeign},
	} {
		live, entry := ownedLive(t, test.text, "1")
		guards := Guards{Prune: true}
		if test.change != nil {
			test.change(live, &entry, &guards)
		}
		got := fate(owner, guards, entry, live)
		if got.Action != test.action || got.Reason != test.reason {
			t.Errorf("%s: %s %q, want %s %q", name, got.Action, got.Reason, test.action, test.reason)
		}
	}
	if got := fate(owner, Guards{Prune: true}, Owned{UID: "1"}, nil); got.Action != Forget || got.Reason != ReasonGone {
		t.Errorf("gone: %s %q", got.Action, got.Reason)
	}
	if got := fate(owner, Guards{Prune: true, Partial: true}, Owned{UID: "1"}, nil); got.Action != Keep {
		t.Errorf("out of sight: %s, want keep", got.Action)
	}
}

func TestPitfall01_GuardOnMassDeletion(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		owned, dropped int
		part           float64
		want           promotion.Reason
	}{
		{10, 5, 0, ""},
		{10, 6, 0, promotion.MassDeletion},
		{4, 4, 0, ""}, // too few to be a sign of anything
		{100, 11, 0.1, promotion.MassDeletion},
		{100, 99, 1, ""},
	} {
		var owned []Owned
		live := map[manifest.ID]*manifest.Object{}
		for i := range test.owned {
			o, entry := ownedLive(t, named("ConfigMap", fmt.Sprint("c", i), ""), fmt.Sprint(i))
			owned, live[entry.ID] = append(owned, entry), o
		}
		_, refusal := Prune(owner, Guards{Prune: true, MaxDeletePart: test.part}, 1, owned, owned[:test.dropped], live)
		got := promotion.Reason("")
		if refusal != nil {
			got = refusal.Reason
		}
		if got != test.want {
			t.Errorf("%d of %d with limit %v: %q, want %q", test.dropped, test.owned, test.part, got, test.want)
		}
		if _, refusal := Prune(owner, Guards{Prune: true, MaxDeletePart: 1}, 0, owned, owned, live); refusal == nil || refusal.Reason != promotion.EmptyRender {
			t.Errorf("empty render with %d owned: %v, want a refusal whatever the limit", test.owned, refusal)
		}
	}
}

// anyOwned draws an owned object with everything that could protect it.
func anyOwned(t *rapid.T, n int) (*manifest.Object, Owned) {
	kind := rapid.SampledFrom([]string{"ConfigMap", "PersistentVolumeClaim", "Namespace", "PersistentVolume"}).Draw(t, "kind")
	word := rapid.SampledFrom([]string{"", "chaperone.dev/prune: allow", "chaperone.dev/prune: never"}).Draw(t, "word")
	namespace := rapid.SampledFrom([]string{"shop", "kube-system", "chaperone"}).Draw(t, "namespace")
	text := strings.Replace(named(kind, fmt.Sprint("o", n), word), "namespace: shop", "namespace: "+namespace, 1)
	objects, err := manifest.Decode("x", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	o := objects[0]
	if rapid.Bool().Draw(t, "marked") {
		if err := owner.Mark(o); err != nil {
			t.Fatal(err)
		}
	}
	if rapid.Bool().Draw(t, "hasOwner") {
		o.SetOwnerReferences([]metav1.OwnerReference{{Kind: "Pod", Name: "p"}})
	}
	o.SetUID(types.UID(rapid.SampledFrom([]string{"1", "2"}).Draw(t, "live uid")))
	return o, Owned{ID: manifest.IDOf(o), UID: rapid.SampledFrom([]string{"", "1", "2"}).Draw(t, "uid"),
		Carried: rapid.SliceOfNDistinct(rapid.SampledFrom([]string{"shop/a", "shop/b"}), 0, 2, rapid.ID[string]).Draw(t, "carried")}
}

func TestWhatIsProtectedIsNeverDeleted(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		var owned []Owned
		live := map[manifest.ID]*manifest.Object{}
		for n := range rapid.IntRange(1, 12).Draw(t, "n") {
			o, entry := anyOwned(t, n)
			owned = append(owned, entry)
			if rapid.Bool().Draw(t, "there") {
				live[entry.ID] = o
			}
		}
		guards := Guards{Prune: rapid.Bool().Draw(t, "prune"), Partial: rapid.Bool().Draw(t, "partial"),
			Restoring: rapid.Bool().Draw(t, "restoring"), DaemonNamespace: "chaperone"}
		rendered := rapid.IntRange(0, 2).Draw(t, "rendered")
		changes, refusal := Prune(owner, guards, rendered, owned, owned, live)
		deleted := 0
		for _, c := range changes {
			if c.Action == Delete {
				deleted++
				checkDeletion(t, guards, c, live[c.ID], owned)
			}
		}
		tooMany := !guards.Restoring && deleted >= minDeletes && 2*deleted > len(owned)
		if guards.Restoring {
			checkCarried(t, changes, owned)
		}
		if (rendered == 0 || tooMany) && refusal == nil {
			t.Fatalf("%d of %d would be deleted with %d rendered, and nothing is refused", deleted, len(owned), rendered)
		}
		if refusal == nil && len(changes) != len(owned) {
			t.Fatalf("%d fates for %d objects", len(changes), len(owned))
		}
	})
}

// checkCarried: a restore deletes no more than half of what came from any one
// environment, however few objects that are.
func checkCarried(t *rapid.T, changes []Change, owned []Owned) {
	for _, former := range []string{"shop/a", "shop/b"} {
		total, deleted := 0, 0
		for _, entry := range owned {
			if !slices.Contains(entry.Carried, former) {
				continue
			}
			total++
			if slices.ContainsFunc(changes, func(c Change) bool { return c.ID == entry.ID && c.Action == Delete }) {
				deleted++
			}
		}
		if 2*deleted > total {
			t.Fatalf("a restore deletes %d of %d that came from %s", deleted, total, former)
		}
	}
}

func checkDeletion(t *rapid.T, g Guards, c Change, o *manifest.Object, owned []Owned) {
	word := o.GetAnnotations()[manifest.AnnotationPrune]
	switch {
	case !g.Prune, g.Partial:
		t.Fatalf("%s is deleted although nothing may be", c.ID)
	case word == "never", len(o.GetOwnerReferences()) > 0, c.ID.Namespace == "kube-system", c.ID.Namespace == "chaperone":
		t.Fatalf("%s is protected and deleted", c.ID)
	case manifest.KeptUnlessAllowed(c.ID.GroupKind()) && word != "allow":
		t.Fatalf("%s is of a kept kind and deleted", c.ID)
	case c.UID != string(o.GetUID()):
		t.Fatalf("%s is deleted by UID %q, it has %q", c.ID, c.UID, o.GetUID())
	}
	for _, entry := range owned {
		if entry.ID == c.ID && entry.UID != "" && entry.UID != c.UID {
			t.Fatalf("%s was made again by somebody, and is deleted", c.ID)
		}
	}
}

func TestDeletionsAreInReverseOfApplyOrder(t *testing.T) {
	t.Parallel()
	var owned []Owned
	live := map[manifest.ID]*manifest.Object{}
	for _, text := range []string{
		"apiVersion: apiextensions.k8s.io/v1\nkind: CustomResourceDefinition\nmetadata: {name: widgets.example.org, annotations: {chaperone.dev/prune: allow}}",
		"apiVersion: example.org/v1\nkind: Widget\nmetadata: {name: w, namespace: shop}",
		"apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: d, namespace: shop}",
		"apiVersion: v1\nkind: PersistentVolumeClaim\nmetadata: {name: p, namespace: shop}",
	} {
		o, entry := ownedLive(t, text, "1")
		owned, live[entry.ID] = append(owned, entry), o
	}
	changes, refusal := Prune(owner, Guards{Prune: true}, 1, owned, owned, live)
	if refusal != nil {
		t.Fatal(refusal)
	}
	var order []string
	for _, c := range changes {
		order = append(order, string(c.Action)+" "+c.ID.Kind)
	}
	if got, want := strings.Join(order, ", "), "delete Deployment, delete Widget, delete CustomResourceDefinition, keep PersistentVolumeClaim"; got != want {
		t.Errorf("order is %s, want %s", got, want)
	}
}

func TestErrorsNameABoundedNumberOfObjects(t *testing.T) {
	t.Parallel()
	r := &Refusal{Text: "too many"}
	rejected := &Rejected{}
	for i := range 50 {
		id := manifest.ID{Kind: "ConfigMap", Name: fmt.Sprint("c", i)}
		r.Objects = append(r.Objects, Culprit{ID: id, Text: "x"})
		rejected.Objects = append(rejected.Objects, Rejection{ID: id, Err: errors.New("no")})
	}
	for _, err := range []error{r, rejected} {
		if text := err.Error(); !strings.Contains(text, "and 40 more") || strings.Contains(text, "c11") {
			t.Errorf("error is %q", text)
		}
	}
	if one := (&Rejected{Objects: rejected.Objects[:1]}).Error(); one != "ConfigMap/c0: rejected: no" {
		t.Errorf("error about one object is %q", one)
	}
}

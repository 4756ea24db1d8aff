package state

import (
	"reflect"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"chaperone.dev/chaperone/internal/fault"
	"chaperone.dev/chaperone/internal/promotion"
)

// One object that somebody edited by hand stops its own environment, says what
// is wrong with it, and is not written over.
func TestUnreadableObjectStopsItselfAlone(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		patch       string
		subresource []string
		says        string
	}{
		"journal": {patch: `{"status": {"journal": {"running": 5}}}`, subresource: []string{"status"}, says: "status.journal: json: "},
		"time in the journal": {patch: `{"status": {"journal": {"attempt": {"started": "yesterday"}}}}`, subresource: []string{"status"},
			says: "status.journal: parsing time"},
		"definition":  {patch: `{"spec": {"definition": {"Path": 5}}}`, says: "spec.definition: json: "},
		"no pipeline": {patch: `{"spec": {"pipeline": "", "name": ""}}`, says: `spec.pipeline and spec.name: "" and ""; want "shop" and "staging"`},
		"another one": {patch: `{"spec": {"name": "production"}}`, says: `want "shop" and "staging"`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newFixture(t)
			good := f.save(f.store, recordFor(production))
			f.save(f.store, full())
			pause := pauseFor("while it is mended")
			f.pause(staging, pause)
			f.patch(staging, test.patch, test.subresource...)
			before := f.raw(staging)

			all, err := f.another().Load(t.Context())
			if err != nil || len(all) != 2 {
				t.Fatalf("loaded %+v, %v; want two records", all, err)
			}
			if !reflect.DeepEqual(normal(all[0]), normal(good)) {
				t.Errorf("the other one is %+v, was %+v", all[0], good)
			}
			f.unreadable(all[1], Record{ID: staging, Version: before.GetResourceVersion(), Requests: Requests{Pause: &pause}}, test.says)
			f.unreadable(f.get(f.store, staging), all[1], test.says)
			f.refused(all[1])
			if after := f.raw(staging); after.GetResourceVersion() != before.GetResourceVersion() {
				t.Error("the object was changed")
			}

			f.delete(staging) // as the error says
			f.save(f.another(), full())
			if got := f.get(f.another(), staging); got.Unreadable != nil {
				t.Errorf("begun anew: %v", got.Unreadable)
			}
		})
	}
}

func (f *fixture) unreadable(got, want Record, says string) {
	f.Helper()
	err := got.Unreadable
	if err == nil {
		f.Fatalf("%+v was read", got)
	}
	object := "Environment/" + want.ID.Name + ": read: "
	if want.ID.Pipeline != "" {
		object = "Environment/" + ObjectName(want.ID) + ": read: "
	}
	if text := err.Error(); !fault.IsTerminal(err) || !strings.HasPrefix(text, object) || !strings.Contains(text, says) ||
		!strings.Contains(text, "delete the object to begin anew") || strings.Contains(text, "\n") {
		f.Errorf("unreadable: %v; want %s, %q and what to do", err, object, says)
	}
	got.Unreadable, want.Unreadable = nil, nil
	if !reflect.DeepEqual(got, want) {
		f.Errorf("besides there is %+v, want %+v", got, want)
	}
}

func (f *fixture) refused(r Record) {
	f.Helper()
	for name, store := range map[string]*Store{"the one that read it": f.store, "a fresh one": f.another()} {
		if _, err := store.Save(f.Context(), r); !fault.IsTerminal(err) || !strings.Contains(err.Error(), "would overwrite what could not be read") {
			f.Errorf("saved by %s: %v", name, err)
		}
	}
}

// An object that no environment can be called like is shown under its own name.
func TestObjectOfNoEnvironment(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.save(f.store, full())
	var want []string
	for _, name := range []string{"a.b.c", "nodots"} {
		object := &unstructured.Unstructured{Object: map[string]any{
			"apiVersion": "chaperone.dev/v1alpha1", "kind": "Environment",
			"metadata": map[string]any{"name": name, "annotations": map[string]any{PauseAnnotation: "please"}},
			"spec":     map[string]any{"pipeline": "shop", "name": "staging"}}}
		if _, err := f.store.environments().Create(t.Context(), object, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
		want = append(want, name)
	}
	all, err := f.another().Load(t.Context())
	if err != nil || len(all) != 3 || all[2].ID != staging || all[2].Unreadable != nil {
		t.Fatalf("loaded %+v, %v; want two of no environment, and %s", all, err, staging)
	}
	for i, name := range want {
		f.unreadable(all[i], Record{ID: promotion.ID{Name: name}, Version: all[i].Version, Requests: all[i].Requests}, "no environment is called so; want <pipeline>.<name>")
		f.refused(all[i])
	}
	w := f.watch(f.another())
	w.next(staging, Requests{})
	_ = w.end()
}

func TestEnvironmentOfAName(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]promotion.ID{
		"shop.staging": staging, "a-b.c-d": {Pipeline: "a-b", Name: "c-d"},
		"shop": {}, "": {}, ".": {}, "shop.": {}, ".staging": {}, "a.b.c": {}, "a..b": {},
	} {
		id, ok := idFrom(name)
		if ok != (want != promotion.ID{}) || ok && (id != want || ObjectName(id) != name) || !ok && id != (promotion.ID{Name: name}) {
			t.Errorf("%q is of %+v, %v; want %+v", name, id, ok, want)
		}
	}
}

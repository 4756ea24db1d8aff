package cluster

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"pgregory.net/rapid"

	"chaperone.dev/chaperone/internal/manifest"
)

// history is a server's: every state of its objects, by version.
type history struct {
	version int
	states  []map[manifest.ID]*manifest.Object // by version
	events  []event
	uids    int
}

// event is what a watch tells.
type event struct {
	object  *manifest.Object
	deleted bool
}

func (h *history) now() map[manifest.ID]*manifest.Object { return h.states[h.version] }

// write makes the next state: an object with a value of ours, or none.
func (h *history) write(id manifest.ID, value string) *manifest.Object {
	next := maps.Clone(h.now())
	h.version++
	o := next[id]
	if o == nil {
		h.uids++
		o = &manifest.Object{Object: map[string]any{"apiVersion": "v1", "kind": id.Kind, "metadata": map[string]any{"name": id.Name, "namespace": id.Namespace}}}
		o.SetUID(types.UID(strconv.Itoa(h.uids)))
	}
	o = o.DeepCopy()
	o.SetResourceVersion(strconv.Itoa(h.version))
	if value == "" {
		delete(next, id)
	} else {
		o.Object["data"] = map[string]any{"key": value}
		o.SetManagedFields([]metav1.ManagedFieldsEntry{{Manager: "chaperone", Operation: metav1.ManagedFieldsOperationApply, APIVersion: "v1",
			FieldsType: "FieldsV1", FieldsV1: metav1.NewFieldsV1(`{"f:data":{"f:key":{}}}`)}})
		next[id] = o
	}
	h.states = append(h.states, next)
	h.events = append(h.events, event{o, value == ""})
	return o
}

// Whatever the order in which answers, events and lists come in, a mirror that
// was told everything has what the server has; and it never falls back behind
// an answer.
//
//lint:long because the model and what may happen to it are one story
func TestMirrorEndsWhereTheServerIs(t *testing.T) {
	t.Parallel()
	at := place{manifest.ID{Kind: "ConfigMap"}.GroupKind(), "shop"}
	rapid.Check(t, func(t *rapid.T) {
		h := &history{version: 9, states: make([]map[manifest.ID]*manifest.Object, 10)} // versions of two lengths
		h.states[9] = map[manifest.ID]*manifest.Object{}
		c := &Cluster{options: Options{FieldManager: "chaperone"}}
		told := map[manifest.ID]int{}
		m := newMirror(c, Owner{}, func(id manifest.ID) { told[id]++ })
		m.watching[at] = &scope{mirror: m, at: at}
		s, seen := m.watching[at], 0
		var answers []*manifest.Object
		deliver := func() {
			if seen < len(h.events) {
				e := h.events[seen]
				seen++
				if e.deleted {
					_ = s.Delete(e.object)
				} else {
					_ = s.Update(e.object)
				}
			}
		}
		t.Repeat(map[string]func(*rapid.T){
			"write": func(t *rapid.T) {
				id := manifest.ID{Kind: "ConfigMap", Namespace: "shop", Name: rapid.SampledFrom([]string{"a", "b"}).Draw(t, "name")}
				value := rapid.SampledFrom([]string{"", "1", "2"}).Draw(t, "value")
				if h.now()[id] == nil && value == "" {
					return
				}
				if o := h.write(id, value); value != "" && rapid.Bool().Draw(t, "ours") {
					answers = append(answers, o)
				}
			},
			"answer": func(t *rapid.T) {
				if len(answers) > 0 {
					o := answers[0]
					answers = answers[1:]
					m.note(manifest.IDOf(o), "sent", o)
					known := m.get(manifest.IDOf(o))
					if known == nil && !m.left(&tracked{id: manifest.IDOf(o), version: o.GetResourceVersion()}) || known != nil && newer(o.GetResourceVersion(), known.version) {
						t.Fatalf("after the answer %s the mirror has %+v", o.GetResourceVersion(), known)
					}
				}
			},
			"event": func(*rapid.T) { deliver() },
			"list": func(t *rapid.T) {
				// No list is older than what this watch has told.
				version := 9 + rapid.IntRange(seen, len(h.events)).Draw(t, "version")
				seen = version - 9
				_ = s.Replace(slices.Collect(anys(h.states[version])), strconv.Itoa(version))
			},
		})
		for _, o := range answers {
			m.note(manifest.IDOf(o), "sent", o)
		}
		for seen < len(h.events) {
			deliver()
		}
		for id, o := range h.now() {
			if known := m.get(id); known == nil || known.version != o.GetResourceVersion() || known.uid != string(o.GetUID()) {
				t.Fatalf("the server has %s at %s, the mirror %+v", id, o.GetResourceVersion(), known)
			}
		}
		for id, known := range m.objects {
			if h.now()[id] == nil {
				t.Fatalf("the mirror has %+v, the server nothing", known)
			}
		}
	})
}

func anys(objects map[manifest.ID]*manifest.Object) func(func(any) bool) {
	return func(yield func(any) bool) {
		for _, o := range objects {
			if !yield(o) {
				return
			}
		}
	}
}

// A server that is set back to an earlier state has lower versions than it had.
func TestMirrorFollowsAServerThatIsSetBack(t *testing.T) {
	t.Parallel()
	h := &history{states: []map[manifest.ID]*manifest.Object{{}}}
	at := place{manifest.ID{Kind: "ConfigMap"}.GroupKind(), "shop"}
	m := newMirror(&Cluster{options: Options{FieldManager: "chaperone"}}, Owner{}, func(manifest.ID) {})
	s := &scope{mirror: m, at: at}
	m.watching[at] = s
	id := func(i int) manifest.ID {
		return manifest.ID{Kind: "ConfigMap", Namespace: "shop", Name: fmt.Sprint("c", i)}
	}
	for i := range 3 {
		if err := s.Update(h.write(id(i), "1")); err != nil {
			t.Fatal(err)
		}
	}
	m.note(id(0), "sent", h.write(id(0), "2"))
	for _, age := range []time.Duration{0, 2 * soonListed} {
		m.objects[id(0)].answered = time.Now().Add(-age)
		if err := s.Replace(slices.Collect(anys(h.states[1])), "1"); err != nil {
			t.Fatal(err)
		}
		want := map[bool]string{true: "4", false: "1"}[age == 0] // a list may be late by a moment, no more
		if got := m.get(id(0)).version; got != want || m.get(id(2)) != nil {
			t.Errorf("set back, after %v: c0 is at %s, want %s; c2 is %v, want none", age, got, want, m.get(id(2)))
		}
	}
}

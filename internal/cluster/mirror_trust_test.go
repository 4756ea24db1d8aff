package cluster

import (
	"context"
	"errors"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"chaperone.dev/chaperone/internal/inventory"
	"chaperone.dev/chaperone/internal/manifest"
	"chaperone.dev/chaperone/internal/plan"
	"chaperone.dev/chaperone/internal/promotion"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// mirrorOfOne knows one object, which rests.
func mirrorOfOne(t *testing.T) (*Cluster, *mirror, *scope, Owner, manifest.ID) {
	o, err := Options{}.withDefaults()
	if err != nil {
		t.Fatal(err)
	}
	c := &Cluster{options: o, mirrors: map[string]*mirror{}}
	w := Owner{Environment: promotion.ID{Pipeline: "p", Name: "e"}, Namespace: "n", Digest: "sha256:good"}
	m := newMirror(c, w, func(manifest.ID) {})
	c.setMirror(w, m)
	id := manifest.ID{Kind: "ConfigMap", Namespace: "n", Name: "a"}
	at := place{schema.GroupKind{Kind: "ConfigMap"}, "n"}
	s := &scope{mirror: m, at: at, resource: configMaps}
	m.watching[at] = s
	parent := &unstructured.Unstructured{Object: map[string]any{}}
	parent.SetResourceVersion("1")
	m.inventory = &stored{Inventory: inventory.New(inventory.Entry{ID: id, UID: "u", Sent: "s", Owned: "ours"}).Complete("sha256:good"), parent: parent}
	return c, m, s, w, id
}

func seen(id manifest.ID, version, owned string) *tracked {
	return &tracked{id: id, uid: "u", version: version, owned: owned}
}

func object(version, value string) *manifest.Object {
	o := &manifest.Object{Object: map[string]any{"apiVersion": "v1", "kind": "ConfigMap", "data": map[string]any{"k": value}}}
	o.SetName("a")
	o.SetNamespace("n")
	o.SetUID("u")
	o.SetResourceVersion(version)
	o.SetManagedFields([]metav1.ManagedFieldsEntry{{Manager: "chaperone", Operation: "Apply", FieldsV1: metav1.NewFieldsV1(`{"f:data":{"f:k":{}}}`)}})
	return o
}

func TestMirrorIsNotBelievedWhileItsWatchIsBroken(t *testing.T) {
	t.Parallel()
	c, _, s, w, id := mirrorOfOne(t)
	if err := s.Replace([]any{seen(id, "10", "ours")}, "10"); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_ = s.refused(ctx, apierrors.NewForbidden(schema.GroupResource{Resource: "configmaps"}, "", nil))
	if c.Quiet(w) || s.covers(kind{resource: configMaps}, s.at) {
		t.Error("the account may not watch any more, and the mirror is believed still")
	}
}

func TestMirrorSettlesNothingByALateAnswer(t *testing.T) {
	t.Parallel()
	c, m, s, w, id := mirrorOfOne(t)
	_ = s.Replace([]any{seen(id, "10", "ours")}, "10")
	_ = s.Update(seen(id, "12", "theirs")) // undone by another before our answer, version 11, is read
	m.note(id, "s", object("11", "1"))
	if c.Quiet(w) {
		t.Fatal("quiet already")
	}
	_ = s.Replace([]any{seen(id, "12", "theirs")}, "13") // a relist
	if c.Quiet(w) {
		t.Error("what somebody else wrote is settled")
	}
}

func TestMirrorBuriesTheDead(t *testing.T) {
	t.Parallel()
	c, m, s, w, id := mirrorOfOne(t)
	answer := object("11", "1")
	tr, _ := track(id, answer, nil, "chaperone")
	parent := m.inventory.parent
	m.inventory = &stored{Inventory: inventory.New(inventory.Entry{ID: id, UID: "u", Sent: "s", Owned: tr.owned}).Complete("sha256:good"), parent: parent}
	_ = s.Replace([]any{seen(id, "10", "old")}, "10")
	_ = s.Update(tr)
	_ = s.Delete(seen(id, "12", tr.owned))
	m.note(id, "s", answer)
	if c.Quiet(w) {
		t.Error("the object is deleted, and all is quiet")
	}
}

func TestMirrorFollowsARestoredServer(t *testing.T) {
	t.Parallel()
	c, _, s, w, id := mirrorOfOne(t)
	_ = s.Replace([]any{seen(id, "100", "ours")}, "100")
	_ = s.Replace([]any{seen(id, "50", "older")}, "60") // etcd restored from a snapshot
	if c.Quiet(w) {
		t.Error("the server has something else since it was restored, and all is quiet")
	}
	_ = s.Replace(nil, "61")
	if c.Quiet(w) {
		t.Error("the server has nothing, and all is quiet")
	}
}

func TestMirrorGoesByTheRulesOfItsEnvironment(t *testing.T) {
	t.Parallel()
	c, m, s, w, id := mirrorOfOne(t)
	rule := []promotion.Ignore{{Kind: "ConfigMap", Fields: []string{"data.k"}}}
	live := object("10", "1")
	live.SetManagedFields([]metav1.ManagedFieldsEntry{
		{Manager: "chaperone", Operation: "Apply", FieldsV1: metav1.NewFieldsV1(`{"f:data":{"f:other":{}}}`)},
		{Manager: "somebody", Operation: "Update", FieldsV1: metav1.NewFieldsV1(`{"f:data":{"f:k":{}}}`)}})
	m.w.Leave = plan.LeaveOf(rule)
	tr, _ := track(id, live, m.w.Leave, "chaperone")
	m.inventory = &stored{Inventory: inventory.New(inventory.Entry{ID: id, UID: "u", Sent: "s", Owned: tr.owned}).Complete("sha256:good"), parent: m.inventory.parent}
	_ = s.Replace([]any{live}, "10")
	w.Leave = nil // the file has no rule any more
	if c.Quiet(w) {
		t.Error("a field that nobody is left any more is somebody else's still")
	}
}

// From a cluster that is gone no event comes, so that it is gone is one; and that
// it is back. What a list mends by itself is none.
func TestMirrorTellsOfABrokenWatchOnce(t *testing.T) {
	t.Parallel()
	_, m, s, _, _ := mirrorOfOne(t)
	told := 0
	m.onChange = func(manifest.ID) { told++ }
	lost := errors.New("connection refused")
	for i, step := range []struct {
		err  error
		want int
	}{{nil, 0}, {apierrors.NewResourceExpired("too old"), 0}, {nil, 0}, {lost, 1}, {lost, 1}, {nil, 2}, {nil, 2}, {lost, 3}} {
		s.asks()
		_ = s.refused(t.Context(), step.err)
		if told != step.want {
			t.Fatalf("told %d times after step %d, want %d", told, i, step.want)
		}
	}
}

package plan

import (
	"fmt"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"chaperone.dev/chaperone/internal/manifest"
)

const manager = "chaperone"

var owner = Owner{Environment: "shop/testing", SetID: "applyset-x-v1", Namespace: "shop"}

var redact = manifest.NewRedactor([]byte("0123456789abcdef"))

// object reads one manifest.
func object(t testing.TB, text string) *manifest.Object {
	t.Helper()
	objects, err := manifest.Decode("test.yaml", []byte(text))
	if err != nil || len(objects) != 1 {
		t.Fatalf("%v (%d objects) in %s", err, len(objects), text)
	}
	return objects[0]
}

// prepared is an object as a plan would send it.
func prepared(t testing.TB, text string) *manifest.Object {
	t.Helper()
	o, err := Prepare(object(t, text), owner, "shop")
	if err != nil {
		t.Fatal(err)
	}
	return o
}

func renderedSet(t testing.TB, objects ...*manifest.Object) manifest.Set {
	t.Helper()
	set, err := manifest.NewSet(objects)
	if err != nil {
		t.Fatal(err)
	}
	return set
}

// applied is the object as a server would have it after we applied fields.
func applied(o *manifest.Object, by, fields string) *manifest.Object {
	live := o.DeepCopy()
	live.SetUID("uid-1")
	entry := metav1.ManagedFieldsEntry{Manager: by, Operation: metav1.ManagedFieldsOperationApply, FieldsType: "FieldsV1",
		APIVersion: o.GetAPIVersion(), FieldsV1: metav1.NewFieldsV1(fields)}
	live.SetManagedFields(append(live.GetManagedFields(), entry))
	return live
}

func named(kind, name, annotations string) string {
	return fmt.Sprintf("apiVersion: v1\nkind: %s\nmetadata: {name: %s, namespace: shop, annotations: {%s}}", kind, name, annotations)
}

// ownedLive is an object that is there as ours, with its inventory entry.
func ownedLive(t testing.TB, text, uid string) (*manifest.Object, Owned) {
	t.Helper()
	o := object(t, text)
	if err := owner.Mark(o); err != nil {
		t.Fatal(err)
	}
	o.SetUID(types.UID(uid))
	return o, Owned{ID: manifest.IDOf(o), UID: uid}
}

package origin_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"chaperone.dev/chaperone/internal/manifest"
	"chaperone.dev/chaperone/internal/origin"
)

// longPod has n containers, each in a line of its own from the sixth on.
func longPod(n int) string {
	var b strings.Builder
	b.WriteString("apiVersion: v1\nkind: Pod\nmetadata: {name: x, namespace: y}\nspec:\n  containers:\n")
	for i := range n {
		fmt.Fprintf(&b, "  - {name: c%d, image: x}\n", i)
	}
	return b.String()
}

// A list is not searched for each of its entries: with so many that would
// take long.
func TestFieldsOfALongList(t *testing.T) {
	t.Parallel()
	const n = 5_000
	text := longPod(n)
	objects, err := manifest.Decode("x.yaml", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	trace := origin.OfFile("x.yaml", []byte(text))
	for i := range n {
		want := origin.Place{File: "x.yaml", Line: 6 + i, Exact: true}
		if got := trace.Field(objects[0], fmt.Sprintf("spec.containers[%d].image", i)); got != want {
			t.Fatalf("container %d: %+v, want %+v", i, got, want)
		}
	}
}

// Entries that stand elsewhere than in the file are found by what tells them
// apart, in their own place or not.
func TestFieldsOfAListInAnotherOrder(t *testing.T) {
	t.Parallel()
	text := longPod(3)
	objects, err := manifest.Decode("x.yaml", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	slices.Reverse(objects[0].Object["spec"].(map[string]any)["containers"].([]any))
	trace := origin.OfFile("x.yaml", []byte(text))
	for i, line := range []int{8, 7, 6} {
		if got := trace.Field(objects[0], fmt.Sprintf("spec.containers[%d].image", i)); got.Line != line || !got.Exact {
			t.Errorf("entry %d: %+v, want line %d", i, got, line)
		}
	}
}

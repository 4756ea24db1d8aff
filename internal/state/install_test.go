package state

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
)

// What the tests and the demo install is what an operator installs.
func TestEmbeddedCRDsAreThoseOfTheInstallation(t *testing.T) {
	t.Parallel()
	files, err := crds.ReadDir("crds")
	if err != nil {
		t.Fatal(err)
	}
	if len(files) != 2 {
		t.Fatalf("%d embedded files, want one for each of the two kinds", len(files))
	}
	for _, file := range files {
		embedded, err := crds.ReadFile("crds/" + file.Name())
		if err != nil {
			t.Fatal(err)
		}
		_, name, _ := strings.Cut(file.Name(), "_")
		installed, err := os.ReadFile(filepath.Join("..", "..", "base", "chaperone", "crds", name))
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(embedded, installed) {
			t.Errorf("crds/%s differs from base/chaperone/crds/%s; run go generate ./internal/state", file.Name(), name)
		}
	}
}

func TestCRDsAreServedOnceInstalled(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := InstallCRDs(ctx, f.config); err != nil {
		t.Fatalf("install a second time: %v", err)
	}
	client, err := dynamic.NewForConfig(f.config)
	if err != nil {
		t.Fatal(err)
	}
	definitions := client.Resource(schema.GroupVersionResource{
		Group: "apiextensions.k8s.io", Version: "v1", Resource: "customresourcedefinitions"})
	for _, name := range []string{"environments.chaperone.dev", "releases.chaperone.dev"} {
		o, err := definitions.Get(ctx, name, metav1.GetOptions{})
		if err != nil {
			t.Fatal(err)
		}
		conditions, _, _ := unstructured.NestedSlice(o.Object, "status", "conditions")
		for _, want := range []string{"Established", "NamesAccepted"} {
			if !conditionTrue(conditions, want) {
				t.Errorf("%s: %s is not true: %v", name, want, conditions)
			}
		}
		if conditionTrue(conditions, "NonStructuralSchema") {
			t.Errorf("%s: its schema is not structural", name)
		}
	}
	if records, err := f.store.Load(ctx); err != nil || len(records) != 0 {
		t.Errorf("an empty namespace: %v, %v", records, err)
	}
}

func TestInstallEndsWithItsContext(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := InstallCRDs(ctx, f.config); err == nil {
		t.Error("no error from a cancelled install")
	}
}

func conditionTrue(conditions []any, kind string) bool {
	for _, c := range conditions {
		condition, _ := c.(map[string]any)
		if condition["type"] == kind {
			return condition["status"] == "True"
		}
	}
	return false
}

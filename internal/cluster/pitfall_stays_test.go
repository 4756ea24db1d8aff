package cluster

import (
	"context"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"

	"chaperone.dev/chaperone/internal/fault"
	"chaperone.dev/chaperone/internal/plan"
)

// stuck has an object of the fixture deleted that a finalizer of somebody else
// holds until the test is over.
func (f *fixture) stuck(name string) {
	f.Helper()
	f.patch("ConfigMap", name, `{"metadata": {"finalizers": ["example.org/never"]}}`)
	f.Cleanup(func() {
		patch := []byte(`{"metadata":{"finalizers":null}}`)
		_, _ = f.local.Client().CoreV1().ConfigMaps(f.owner.Namespace).Patch(context.WithoutCancel(f.Context()), name, types.MergePatchType, patch, metav1.PatchOptions{})
	})
	f.delete("ConfigMap", name)
}

func (f *fixture) image(name string) string {
	f.Helper()
	containers, _, _ := unstructured.NestedSlice(f.live("Deployment", name).Object, "spec", "template", "spec", "containers")
	container, _ := containers[0].(map[string]any)
	image, _ := container["image"].(string)
	return image
}

func (f *fixture) wreck(name string) {
	f.Helper()
	f.patch("Deployment", name, `{"spec": {"template": {"spec": {"containers": [{"name": "app", "image": "registry.local/evil:1"}]}}}}`)
}

// A finalizer that never finishes on one object (argo-cd#1329, #19571) does not
// keep last good from coming back: the rest is restored, and the error says what
// is held by whom.
func TestPitfall21_WhatDoesNotGoDoesNotHoldUpARestore(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	set := f.set(configMap("a", "key", "1"), deployment("d", "registry.local/api:1", "replicas: 0"))
	f.release(set)
	f.stuck("a")
	f.wreck("d")
	quick := f.with(Options{PruneWait: time.Second})
	quick.owner.Restoring = true
	_, err := quick.c.Apply(t.Context(), quick.owner, quick.plan(set), nil)
	if err == nil || fault.IsTerminal(err) || !strings.Contains(err.Error(), "ConfigMap/"+f.owner.Namespace+"/a") || !strings.Contains(err.Error(), "example.org/never") {
		t.Errorf("restore: %v, want an error that may pass, with the object and its finalizer", err)
	}
	if image := f.image("d"); image != "registry.local/api:1" {
		t.Errorf("the workload has %s: it was not restored", image)
	}
	f.letGo("a")
	quick.release(set)
	if o := f.live("ConfigMap", "a"); o == nil || o.GetDeletionTimestamp() != nil {
		t.Errorf("afterwards: %v, want it made anew", o)
	}
}

// Somebody else's finalizer is not the fault of a release that is innocent: it is
// tried again, and not quarantined.
func TestPitfall21_WhatDoesNotGoIsNoFaultOfARelease(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.release(f.set(configMap("a", "key", "1")))
	f.stuck("a")
	owner := f.owner
	owner.ApplyTimeout = 3 * time.Second
	_, err := f.c.Apply(t.Context(), owner, f.plan(f.set(configMap("a", "key", "2"))), nil)
	if err == nil || fault.IsTerminal(err) || !strings.Contains(err.Error(), "example.org/never") {
		t.Errorf("apply: %v, want an error that may pass, with the finalizer", err)
	}
}

// What is being deleted is told as drift, and left out of corrections: those do
// not wait for what may never happen.
func TestPitfall21_WhatDoesNotGoIsToldAndNotCorrected(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	set := f.set(configMap("a", "key", "1"), deployment("d", "registry.local/api:1", "replicas: 0"))
	f.release(set)
	f.stuck("a")
	f.wreck("d")
	var told map[string]plan.Change
	ctx, stop := context.WithTimeout(t.Context(), time.Minute)
	defer stop()
	for len(told) < 2 {
		if ctx.Err() != nil {
			t.Fatalf("drift: %v, want both objects", told)
		}
		changes, err := f.drifted(set)
		if err != nil {
			t.Fatal(err)
		}
		told = map[string]plan.Change{}
		for _, change := range changes {
			told[change.ID.Name] = change
		}
	}
	if text := told["a"].Refused; told["a"].Reason != plan.ReasonTerminating || !strings.Contains(text, "example.org/never") {
		t.Errorf("what is being deleted: %v, %q; want the finalizer that holds it", told["a"], text)
	}
	if told["d"].Refused != "" {
		t.Errorf("the workload: %q, want it to be corrected", told["d"].Refused)
	}
}

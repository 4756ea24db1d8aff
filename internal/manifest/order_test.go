package manifest

import (
	"slices"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/runtime/schema"
	"pgregory.net/rapid"
)

func hook(o *Object, when string) *Object {
	o.SetAnnotations(map[string]string{AnnotationHook: when})
	return o
}

func TestApplyOrder(t *testing.T) {
	t.Parallel()
	want := []*Object{
		named("v1", "Namespace", "", "n"),
		named("apiextensions.k8s.io/v1", "CustomResourceDefinition", "", "d"),
		named("v1", "ServiceAccount", "n", "sa"),
		named("rbac.authorization.k8s.io/v1", "Role", "n", "r"),
		named("rbac.authorization.k8s.io/v1", "RoleBinding", "n", "r"),
		named("networking.k8s.io/v1", "NetworkPolicy", "n", "deny"),
		named("v1", "ConfigMap", "n", "c"),
		named("v1", "Secret", "n", "s"),
		named("v1", "Service", "n", "a"),
		named("v1", "Service", "n", "b"),
		named("example.com/v1", "Menu", "n", "m"),
		hook(named("batch/v1", "Job", "n", "migrate"), "pre-deploy"),
		named("apps/v1", "StatefulSet", "n", "db"),
		named("apps/v1", "Deployment", "n", "api"),
		named("autoscaling/v2", "HorizontalPodAutoscaler", "n", "api"),
		named("batch/v1", "Job", "n", "job"),
		named("apiregistration.k8s.io/v1", "APIService", "", "v1.x"),
		hook(named("batch/v1", "Job", "n", "smoke"), "post-deploy"),
		hook(named("batch/v1", "Job", "n", "undo"), "rollback"),
	}
	rapid.Check(t, func(rt *rapid.T) {
		got := set(t, rapid.Permutation(want).Draw(rt, "order")...)
		if !slices.Equal(got.Objects(), want) {
			rt.Fatalf("got %s", names(got))
		}
	})
}

func names(s Set) string {
	var ids []string
	for _, o := range s.Objects() {
		ids = append(ids, IDOf(o).String())
	}
	return strings.Join(ids, ", ")
}

// Pitfall 14 (fluxcd/pkg#689): ordering by kind alone takes another group's
// Namespace for the core one.
func TestPitfall14_AnotherGroupsKindIsAnotherKind(t *testing.T) {
	t.Parallel()
	for gk, want := range stages {
		core := named(schema.GroupVersion{Group: gk.Group, Version: "v1"}.String(), gk.Kind, "", "x")
		other := named("other.example.com/v1", gk.Kind, "", "x")
		if got := StageOf(core); got != want {
			t.Errorf("%s: stage %v, want %v", gk, got, want)
		}
		if got := StageOf(other); got != StageConfiguration {
			t.Errorf("%s of another group: stage %v, want %v", gk.Kind, got, StageConfiguration)
		}
		if rank(other) != len(ranks) {
			t.Errorf("%s of another group has the rank of the known one", gk.Kind)
		}
	}
	got := set(t, named("v1", "ConfigMap", "n", "c"), named("tenancy.example.com/v1", "Namespace", "", "a"), named("v1", "Namespace", "", "b"))
	if want := "Namespace/b, ConfigMap/n/c, Namespace.tenancy.example.com/a"; names(got) != want {
		t.Errorf("%s, want %s", names(got), want)
	}
}

// Pitfall 18: what holds data is kept, and again it is the group that tells.
func TestKeptKinds(t *testing.T) {
	t.Parallel()
	for gk, want := range map[schema.GroupKind]bool{
		{Kind: "Namespace"}:             true,
		{Kind: "PersistentVolume"}:      true,
		{Kind: "PersistentVolumeClaim"}: true,
		{Group: "apiextensions.k8s.io", Kind: "CustomResourceDefinition"}: true,
		{Group: "example.com", Kind: "Namespace"}:                         false,
		{Group: "example.com", Kind: "CustomResourceDefinition"}:          false,
		{Kind: "ConfigMap"}:                  false,
		{Group: "apps", Kind: "StatefulSet"}: false,
	} {
		if got := KeptUnlessAllowed(gk); got != want {
			t.Errorf("%s: %v, want %v", gk, got, want)
		}
	}
}

func TestHooksAndStages(t *testing.T) {
	t.Parallel()
	for when, want := range map[string]Stage{"pre-deploy": StagePreDeploy, "post-deploy": StagePostDeploy, "rollback": StageRollback,
		"": StageWorkload, "Pre-Deploy": StageWorkload, "unknown": StageWorkload} {
		if got := StageOf(hook(named("batch/v1", "Job", "n", "j"), when)); got != want {
			t.Errorf("hook %q: %v, want %v", when, got, want)
		}
	}
	seen := map[string]bool{}
	for stage := StageFoundation; stage <= StageRollback; stage++ {
		if seen[stage.String()] || stage.String() == "" {
			t.Errorf("stage %d is called %q like another", stage, stage)
		}
		seen[stage.String()] = true
	}
}

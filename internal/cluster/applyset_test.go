package cluster

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"chaperone.dev/chaperone/internal/fault"
	"chaperone.dev/chaperone/internal/inventory"
	"chaperone.dev/chaperone/internal/plan"
	"chaperone.dev/chaperone/internal/promotion"
)

// applySet is an environment with members of several kinds in two namespaces
// and outside of any, and what is beside it and none of its members.
type applySet struct {
	*fixture
	elsewhere string
	members   map[string]string // name to manifest
}

func newApplySet(t *testing.T) applySet {
	t.Helper()
	f := newFixture(t)
	s := applySet{fixture: f, elsewhere: f.local.Namespace(t)}
	class := "class-" + f.owner.Namespace
	f.owner.Allow = []promotion.Allowance{{Namespace: s.elsewhere}, {Group: "scheduling.k8s.io", Kind: "PriorityClass", Name: class}}
	s.members = map[string]string{
		"configmap/stays":        configMap("stays", "a", "b"),
		"configmap/goes":         configMap("goes", "a", "b"),
		"service/stays":          service("stays"),
		"deployment.apps/api":    deployment("api", "registry.local/api:1", "replicas: 0"),
		"configmap/elsewhere":    strings.Replace(configMap("elsewhere", "a", "b"), "name: elsewhere", "name: elsewhere, namespace: "+s.elsewhere, 1),
		"priorityclass/" + class: fmt.Sprintf("apiVersion: scheduling.k8s.io/v1\nkind: PriorityClass\nmetadata: {name: %s}\nvalue: 7", class),
	}
	f.Cleanup(func() { _, _ = f.local.Kubectl(f.T, "delete", "priorityclass", class, "--ignore-not-found") }) // the cluster ends by itself
	f.create("ConfigMap", configMap("nobodys", "a", "b"), nil)
	f.beside("clinic", "live").release(f.set(configMap("anothers", "a", "b")))
	f.release(f.set(slices.Collect(maps.Values(s.members))...))
	return s
}

// kubectlApplies gives kubectl the manifests of members, as those of the set.
func (s applySet) kubectlApplies() (string, error) {
	s.Helper()
	texts := slices.Collect(maps.Values(s.members))
	return s.kubectl("apply", "--server-side", "--force-conflicts", "--prune", "--applyset=configmap/"+s.owner.inventoryName(), "-f", s.file(texts...))
}

// there are all objects of the kinds that members have, by name.
func (s applySet) there() []string {
	s.Helper()
	var names []string
	for _, namespace := range []string{s.owner.Namespace, s.elsewhere} {
		out := s.mustKubectl("get", "configmaps,services,deployments.apps", "--namespace", namespace, "-o", "name")
		for _, name := range strings.Fields(out) {
			if name != "configmap/kube-root-ca.crt" {
				names = append(names, name)
			}
		}
	}
	out := s.mustKubectl("get", "priorityclass", "class-"+s.owner.Namespace, "-o", "name", "--ignore-not-found")
	names = append(names, strings.Fields(out)...)
	slices.Sort(names)
	return names
}

// kubectl finds the set that the daemon wrote, and says whose it is.
func TestKubectlLeavesTheDaemonsApplySetAlone(t *testing.T) {
	t.Parallel()
	s := newApplySet(t)
	before := s.there()
	delete(s.members, "configmap/goes")
	out, err := s.kubectlApplies()
	if err == nil || !strings.Contains(out, `is managed by tooling "chaperone" instead of "kubectl"`) {
		t.Errorf("kubectl: %v\n%s", err, out)
	}
	if now := s.there(); !slices.Equal(now, before) {
		t.Errorf("there are %v; before there were %v", now, before)
	}
	set := s.set(append(slices.Collect(maps.Values(s.members)), configMap("goes", "a", "b"))...)
	if p := s.plan(set); !p.Quiet() {
		t.Errorf("kubectl changed %v", p.Applies())
	}
}

// Handed over to kubectl, the set is pruned of exactly the member that is not
// among the manifests any more: kinds, namespaces and identity are as it wants
// them (KEP-3659). The daemon then keeps its hands off.
func TestKubectlPrunesWhatTheDaemonApplied(t *testing.T) {
	t.Parallel()
	s := newApplySet(t)
	before := s.there()
	s.mustKubectl("annotate", "configmap", s.owner.inventoryName(), "--overwrite", inventory.AnnotationTooling+"=kubectl/v1")
	// What is in another namespace cannot be among kubectl's manifests, with the
	// parent in this one. It is a member all the same.
	for _, gone := range []string{"configmap/elsewhere", "configmap/goes"} {
		before = slices.DeleteFunc(before, func(name string) bool { return name == gone })
		delete(s.members, gone)
		out, err := s.kubectlApplies()
		if err != nil || !strings.Contains(out, gone+" pruned") || strings.Count(out, " pruned") != 1 {
			t.Errorf("kubectl without %s: %v\n%s", gone, err, out)
		}
		if now := s.there(); !slices.Equal(now, before) {
			t.Errorf("without %s there are %v, want %v", gone, now, before)
		}
	}
	if out, err := s.kubectlApplies(); err != nil || strings.Contains(out, " pruned") {
		t.Errorf("kubectl with nothing to prune: %v\n%s", err, out)
	}
	_, err := s.c.Plan(t.Context(), s.owner, s.set(configMap("stays", "a", "b")))
	if !fault.IsTerminal(err) || !strings.Contains(err.Error(), "managed by \"kubectl/v1") {
		t.Errorf("plan for a set of kubectl's: %v", err)
	}
}

// The parent says what kubectl's own would, of the same members.
func TestParentIsWhatKubectlWouldWrite(t *testing.T) {
	t.Parallel()
	s := newApplySet(t)
	second := s.local.Namespace(t)           // another home, so that the identities differ
	delete(s.members, "configmap/elsewhere") // kubectl wants all in one namespace; kinds stay the same
	texts := strings.Join(slices.Collect(maps.Values(s.members)), "\n---\n")
	class := "class-" + s.owner.Namespace
	texts = strings.ReplaceAll(texts, "name: class-", "name: kubectl-class-")
	out, err := s.local.Kubectl(t, "apply", "--namespace", second, "--prune", "--applyset=configmap/"+s.owner.inventoryName(), "-f", s.file(texts))
	if err != nil {
		t.Fatalf("kubectl: %v\n%s", err, out)
	}
	t.Cleanup(func() { _, _ = s.local.Kubectl(t, "delete", "priorityclass", "kubectl-"+class, "--ignore-not-found") })
	parent := func(namespace string) *unstructured.Unstructured {
		o, err := s.c.dynamic.Resource(configMaps).Namespace(namespace).Get(t.Context(), s.owner.inventoryName(), metav1.GetOptions{})
		if err != nil {
			t.Fatal(err)
		}
		return o
	}
	ours, kubectls := parent(s.owner.Namespace), parent(second)
	if got, want := sorted(ours.GetAnnotations()[inventory.AnnotationKinds]), sorted(kubectls.GetAnnotations()[inventory.AnnotationKinds]); !slices.Equal(got, want) {
		t.Errorf("kinds %v, kubectl writes %v", got, want)
	}
	if got := ours.GetAnnotations()[inventory.AnnotationMoreSpace]; got != s.elsewhere {
		t.Errorf("additional namespaces %q, want %s", got, s.elsewhere)
	}
	id := inventory.SetID(s.owner.inventoryName(), second, schema.GroupKind{Kind: "ConfigMap"})
	if got := kubectls.GetLabels()[inventory.LabelSetID]; got != id {
		t.Errorf("kubectl's set is %s, and we would call it %s", got, id)
	}
	member, err := s.c.dynamic.Resource(configMaps).Namespace(second).Get(t.Context(), "stays", metav1.GetOptions{})
	if err != nil || member.GetLabels()[plan.LabelPartOf] != id {
		t.Errorf("kubectl's member: %v, %v", member, err)
	}
}

func sorted(list string) []string {
	parts := strings.Split(list, ",")
	slices.Sort(parts)
	return parts
}

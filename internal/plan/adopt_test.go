package plan

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"chaperone.dev/chaperone/internal/manifest"
	"chaperone.dev/chaperone/internal/promotion"
)

// wrote is the object with one more entry of managed fields.
func wrote(o *manifest.Object, by, operation, subresource, fields string) *manifest.Object {
	live := o.DeepCopy()
	live.SetManagedFields(append(live.GetManagedFields(), metav1.ManagedFieldsEntry{Manager: by, Operation: metav1.ManagedFieldsOperationType(operation),
		Subresource: subresource, FieldsType: "FieldsV1", APIVersion: o.GetAPIVersion(), FieldsV1: metav1.NewFieldsV1(fields)}))
	return live
}

const (
	someData    = `{"f:data":{"f:a":{}}}`
	withApplied = `{"f:data":{"f:a":{}},"f:metadata":{"f:annotations":{"f:kubectl.kubernetes.io/last-applied-configuration":{}}}}`
)

// Which marks and managers each tool leaves, as its own sources and objects of
// real clusters have them.
func TestTracesOfTools(t *testing.T) {
	t.Parallel()
	type entry struct{ manager, operation, subresource, fields string }
	update := func(manager string) []entry { return []entry{{manager, "Update", "", someData}} }
	apply := func(manager string) []entry { return []entry{{manager, "Apply", "", someData}} }
	const lastAppliedText = "kubectl.kubernetes.io/last-applied-configuration: '{}'"
	for name, c := range map[string]struct {
		labels, annotations string
		entries             []entry
		want                string
	}{
		"nothing":                      {"", "", nil, ""},
		"the cluster's own":            {"", "", update("kube-controller-manager"), ""},
		"parts of the cluster":         {"", "", slices.Concat(update("kubelet"), update("k3s"), update("aws-cloud-controller-manager"), update("cluster-autoscaler"), update("vpa-updater")), ""},
		"the daemon":                   {"", "", slices.Concat(apply("chaperone"), update("chaperone")), ""},
		"client-side apply":            {"", lastAppliedText, []entry{{"kubectl-client-side-apply", "Update", "", withApplied}}, "kubectl: kubectl apply"},
		"client-side apply of old":     {"", lastAppliedText, update("kubectl"), "kubectl: kubectl apply"},
		"without managed fields":       {"", lastAppliedText, nil, "kubectl: kubectl apply"},
		"client-side, another manager": {"", lastAppliedText, []entry{{"ci", "Update", "", withApplied}}, "kubectl: kubectl apply"},
		"server-side apply":            {"", "", apply("kubectl"), "kubectl: kubectl apply --server-side"},
		"server-side, another manager": {"", "", apply("ci"), "other: field manager ci"},
		"kubectl create":               {"", "", update("kubectl-create"), "kubectl: kubectl create"},
		"kubectl edit":                 {"", "", slices.Concat(update("kube-controller-manager"), update("kubectl-edit")), "kubectl: kubectl edit"},
		"kubectl scale":                {"", "", []entry{{"kubectl", "Update", "scale", `{"f:spec":{"f:replicas":{}}}`}}, ""},
		"a status":                     {"", "", []entry{{"some-operator", "Update", "", `{"f:status":{"f:a":{}}}`}}, ""},
		"a finalizer":                  {"", "", []entry{{"some-operator", "Update", "", `{"f:metadata":{"f:finalizers":{".":{},"v:\"a/b\"":{}}}}`}}, ""},
		"a status, subresource":        {"", "", []entry{{"some-operator", "Update", "status", `{"f:status":{"f:a":{}}}`}}, ""},
		"somebody":                     {"", "", slices.Concat(update("terraform"), update("Mozilla")), "other: field manager terraform, other: field manager Mozilla"},
		"Helm 3":                       {"app.kubernetes.io/managed-by: Helm", "meta.helm.sh/release-name: api, meta.helm.sh/release-namespace: shop", update("helm"), "helm: Helm release shop/api"},
		"Helm 4":                       {"app.kubernetes.io/managed-by: Helm", "meta.helm.sh/release-name: api, meta.helm.sh/release-namespace: shop", apply("helm"), "helm: Helm release shop/api"},
		"Helm in capitals":             {"", "", update("Helm"), "helm: Helm"},
		"Helm from Terraform":          {"", "", update("terraform-provider-helm_v2.12.1_x5"), "helm: Helm"},
		"Helm's label alone":           {"app.kubernetes.io/managed-by: Helm", "", nil, "helm: Helm"},
		"helm template and kubectl":    {"app.kubernetes.io/managed-by: Helm", "", apply("kubectl"), "kubectl: kubectl apply --server-side"},
		"managed by somebody":          {"app.kubernetes.io/managed-by: Kustomize", "", nil, ""},
		"Flux Kustomization":           {"kustomize.toolkit.fluxcd.io/name: apps, kustomize.toolkit.fluxcd.io/namespace: flux-system", "", apply("kustomize-controller"), "flux: Flux Kustomization flux-system/apps"},
		"Flux, its marks gone":         {"", "", apply("kustomize-controller"), "flux: Flux (kustomize-controller)"},
		"flux bootstrap":               {"", "", apply("flux"), "flux: Flux (flux)"},
		"Flux HelmRelease": {"helm.toolkit.fluxcd.io/name: api, helm.toolkit.fluxcd.io/namespace: shop, app.kubernetes.io/managed-by: Helm",
			"meta.helm.sh/release-name: api, meta.helm.sh/release-namespace: shop", update("helm-controller"), "flux: Flux HelmRelease shop/api"},
		"Flux and kubectl":          {"kustomize.toolkit.fluxcd.io/name: apps", "", slices.Concat(apply("kustomize-controller"), update("kubectl-edit")), "flux: Flux Kustomization apps, kubectl: kubectl edit"},
		"Argo CD, tracking id":      {"", "argocd.argoproj.io/tracking-id: 'shop:apps/Deployment:shop/api'", apply("argocd-controller"), "argocd: Argo CD application shop"},
		"Argo CD, client-side":      {"app.kubernetes.io/instance: shop", lastAppliedText, []entry{{"argocd-controller", "Update", "", withApplied}}, "argocd: Argo CD application shop"},
		"Argo CD, a person":         {"", "", update("argocd-server"), "argocd: Argo CD (argocd-server)"},
		"an instance label alone":   {"app.kubernetes.io/instance: shop", "", nil, ""},
		"an instance, with kubectl": {"app.kubernetes.io/instance: shop", "", apply("kubectl"), "kubectl: kubectl apply --server-side"},
		"Fleet":                     {"objectset.rio.cattle.io/hash: abc", "", nil, "other: Fleet bundle abc"},
		"OLM":                       {"olm.owner: op.v1, olm.owner.namespace: operators", "", update("catalog"), "other: OLM operator operators/op.v1, other: field manager catalog"},
		"before it was recorded":    {"", "", update("before-first-apply"), ""},
		"unreadable":                {"", "", []entry{{"kubectl", "Apply", "", `{"f:data":3}`}}, "kubectl: kubectl apply --server-side"},
	} {
		live := object(t, fmt.Sprintf("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a, namespace: shop, labels: {%s}, annotations: {%s}}", c.labels, c.annotations))
		for _, e := range c.entries {
			live = wrote(live, e.manager, e.operation, e.subresource, e.fields)
		}
		var got []string
		for _, trace := range Traces(live) {
			got = append(got, string(trace.Tool)+": "+trace.Name)
		}
		if text := strings.Join(got, ", "); text != c.want {
			t.Errorf("%s: %q, want %q", name, text, c.want)
		}
	}
}

// Only an environment that names every tool that wrote an object may have it.
func TestToolsAreAdoptedByName(t *testing.T) {
	t.Parallel()
	live := wrote(wrote(object(t, named("ConfigMap", "a", "meta.helm.sh/release-name: api")), "helm", "Update", "", someData),
		"kubectl-edit", "Update", "", `{"f:data":{"f:b":{}}}`)
	for _, c := range []struct {
		adopt []promotion.Tool
		want  string
	}{
		{nil, `Helm release api and kubectl edit; add "helm" and "kubectl" to adopt`},
		{[]promotion.Tool{promotion.ToolHelm}, `kubectl edit; add "kubectl" to adopt`},
		{[]promotion.Tool{promotion.ToolFlux, promotion.ToolKubectl}, `Helm release api; add "helm" to adopt`},
		{[]promotion.Tool{promotion.ToolKubectl, promotion.ToolHelm}, ""},
	} {
		w := owner
		w.Adopt = c.adopt
		if got := w.Other(live); got != c.want {
			t.Errorf("adopt %v: %q, want %q", c.adopt, got, c.want)
		}
	}
	every := owner
	every.Adopt = []promotion.Tool{promotion.ToolKubectl, promotion.ToolHelm, promotion.ToolFlux, promotion.ToolArgoCD, promotion.ToolOther}
	for _, mark := range []string{AnnotationEnvironment + ": shop/production"} {
		if got := every.Other(object(t, named("ConfigMap", "a", mark))); got != "environment shop/production" {
			t.Errorf("another environment's object: %q", got)
		}
	}
	set := live.DeepCopy()
	set.SetLabels(map[string]string{LabelPartOf: "another"})
	if got := every.Other(set); got != "ApplySet another" {
		t.Errorf("another ApplySet's object: %q", got)
	}
	operated := live.DeepCopy()
	operated.SetOwnerReferences([]metav1.OwnerReference{{Kind: "Kafka", Name: "k"}})
	if got := every.Other(operated); got != "Kafka k, its owner" {
		t.Errorf("an operator's object: %q", got)
	}
}

// An object that the inventory knows is the owner's after a person took its
// marks away and edited it, and not after another tool took it.
func TestKnownObjectIsLeftToToolsOnly(t *testing.T) {
	t.Parallel()
	edited := wrote(object(t, named("ConfigMap", "a", "")), "kubectl-edit", "Update", "", someData)
	if got := owner.Knowing(true).Other(edited); got != "" {
		t.Errorf("edited: %q", got)
	}
	if got := owner.Knowing(false).Other(edited); got != `kubectl edit; add "kubectl" to adopt` {
		t.Errorf("not known: %q", got)
	}
	taken := wrote(edited, "kustomize-controller", "Apply", "", someData)
	if got := owner.Knowing(true).Other(taken); got != `Flux (kustomize-controller); add "flux" to adopt` {
		t.Errorf("taken by Flux: %q", got)
	}
}

// Names come from whoever wrote the object.
func TestNamesInRefusalsAreBounded(t *testing.T) {
	t.Parallel()
	live := object(t, named("ConfigMap", "a", ""))
	live.SetAnnotations(map[string]string{"meta.helm.sh/release-name": "a\n\x1b[31m" + strings.Repeat("x", 10000)})
	for i := range 50 {
		live = wrote(live, fmt.Sprintf("manager-%d", i), "Update", "", someData)
	}
	got := owner.Other(live)
	if len(got) > 1500 || strings.ContainsAny(got, "\n\x1b") || !strings.HasSuffix(got, `and 46 more; add "helm" and "other" to adopt`) {
		t.Errorf("%d bytes: %q", len(got), got)
	}
}

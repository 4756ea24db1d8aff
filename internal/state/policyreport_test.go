package state

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"

	"chaperone.dev/chaperone/internal/policy"
	"chaperone.dev/chaperone/internal/promotion"
)

// The parts of the two public schemas that a report uses. Both are structural:
// a field that they do not have is refused by a strict apply.
const reportDefinition = `{"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", "metadata": {"name": "%[2]s.%[1]s"},
"spec": {"group": "%[1]s", "scope": "Namespaced", "names": {"kind": "%[3]s", "plural": "%[2]s", "singular": "%[4]s", "listKind": "%[3]sList"},
"versions": [{"name": "%[5]s", "served": true, "storage": true, "schema": {"openAPIV3Schema": {"type": "object", "properties": {
"scope": {"type": "object", "properties": {"apiVersion": {"type": "string"}, "kind": {"type": "string"}, "name": {"type": "string"},
  "namespace": {"type": "string"}, "uid": {"type": "string"}}},
"summary": {"type": "object", "properties": {"error": {"type": "integer"}, "fail": {"type": "integer"}, "pass": {"type": "integer"},
  "skip": {"type": "integer"}, "warn": {"type": "integer"}}},
"results": {"type": "array", "items": {"type": "object", "required": ["policy"], "properties": {
  "source": {"type": "string"}, "policy": {"type": "string"}, "rule": {"type": "string"}, "category": {"type": "string"},
  "severity": {"type": "string", "enum": ["critical", "high", "low", "medium", "info"]},
  "result": {"type": "string", "enum": ["pass", "fail", "warn", "error", "skip"]}, "scored": {"type": "boolean"}, "message": {"type": "string"},
  "properties": {"type": "object", "additionalProperties": {"type": "string"}},
  "resources": {"type": "array", "items": {"type": "object", "properties": {"apiVersion": {"type": "string"}, "kind": {"type": "string"},
    "name": {"type": "string"}, "namespace": {"type": "string"}}}}}}}}}}}]}}`

func installReports(f *fixture, kinds []reportKind) {
	f.Helper()
	client, err := dynamic.NewForConfig(f.config)
	if err != nil {
		f.Fatal(err)
	}
	definitions := client.Resource(schema.GroupVersionResource{Group: "apiextensions.k8s.io", Version: "v1", Resource: "customresourcedefinitions"})
	ctx, cancel := context.WithTimeout(f.Context(), time.Minute)
	defer cancel()
	for _, k := range kinds {
		o := &unstructured.Unstructured{}
		singular := k.Resource[:len(k.Resource)-1]
		if err := o.UnmarshalJSON(fmt.Appendf(nil, reportDefinition, k.Group, k.Resource, k.kind, singular, k.Version)); err != nil {
			f.Fatal(err)
		}
		if _, err := definitions.Apply(ctx, o.GetName(), o, metav1.ApplyOptions{FieldManager: fieldManager, Force: true}); err != nil {
			f.Fatal(err)
		}
		if err := established(ctx, definitions, o.GetName()); err != nil {
			f.Fatal(err)
		}
	}
}

func (f *fixture) report(k reportKind, name string) *unstructured.Unstructured {
	f.Helper()
	got, err := f.store.objects.Resource(k.GroupVersionResource).Namespace(f.namespace).Get(f.Context(), name, metav1.GetOptions{})
	if err != nil {
		f.Fatal(err)
	}
	return got
}

func denial(n int) policy.Finding {
	return policy.Finding{Rule: "pod/privileged", Title: "No privileged containers", Severity: policy.SeverityCritical, Action: policy.ActionDeny,
		Object: &policy.ObjectRef{APIVersion: "apps/v1", Kind: "Deployment", Namespace: "shop", Name: fmt.Sprintf("app-%d", n)},
		Path:   "spec.template.spec.containers[0].securityContext.privileged", Message: "container app is privileged"}
}

// Findings stand where tools look for them, in both of its homes, belong to the
// Environment object, and stay as they are when nothing changes.
func TestWritePolicyReport(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	installReports(f, reportKinds)
	id := promotion.ID{Pipeline: "shop", Name: "production"}
	f.save(f.store, Record{ID: id})
	waived, warned := denial(2), denial(3)
	waived.Exception = &policy.ExceptionRef{Name: "until-spring", Ticket: "SEC-1", Expires: "2026-03-01"}
	warned.Action = policy.ActionWarn
	report := policy.Report{Environment: id, Revision: "4f2c", Digest: "sha256:1", PolicyDigest: "sha256:2", Verdict: policy.VerdictError,
		Findings: []policy.Finding{denial(1), waived, warned, {Rule: "governance/owner", Severity: policy.SeverityLow, Action: policy.ActionAudit, Message: "m"}},
		Errors:   []policy.RuleError{{Message: "took too long"}}}
	for range 2 {
		if err := f.store.WritePolicyReport(t.Context(), report); err != nil {
			t.Fatal(err)
		}
	}
	for _, k := range reportKinds {
		got := f.report(k, "shop.production")
		summary, _, _ := unstructured.NestedMap(got.Object, "summary")
		if fmt.Sprint(summary) != "map[error:1 fail:1 pass:0 skip:1 warn:2]" {
			t.Errorf("%s: summary %v", k.kind, summary)
		}
		results, _, _ := unstructured.NestedSlice(got.Object, "results")
		if len(results) != 5 || got.GetGeneration() != 1 {
			t.Fatalf("%s: %d results in generation %d, want 5 written once", k.kind, len(results), got.GetGeneration())
		}
		first, _ := results[1].(map[string]any)
		if first["result"] != "fail" || first["policy"] != "pod/privileged" || first["severity"] != "critical" ||
			fmt.Sprint(first["resources"]) != "[map[apiVersion:apps/v1 kind:Deployment name:app-1 namespace:shop]]" {
			t.Errorf("%s: %v", k.kind, first)
		}
		if owners := got.GetOwnerReferences(); len(owners) != 1 || owners[0].Kind != "Environment" || owners[0].Name != "shop.production" {
			t.Errorf("%s: owners %v", k.kind, owners)
		}
		if got.GetAnnotations()["chaperone.dev/verdict"] != "error" {
			t.Errorf("%s: annotations %v", k.kind, got.GetAnnotations())
		}
	}
}

// However much is found, a report has room, and says how much there was.
func TestPolicyReportIsBounded(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	installReports(f, reportKinds)
	report := policy.Report{Environment: promotion.ID{Pipeline: "shop", Name: "big"}, Verdict: policy.VerdictDeny}
	for n := range 3000 {
		finding := denial(n)
		finding.Message = fmt.Sprintf("%05000d", n)
		report.Findings = append(report.Findings, finding)
	}
	if err := f.store.WritePolicyReport(t.Context(), report); err != nil {
		t.Fatal(err)
	}
	got := f.report(reportKinds[0], "shop.big")
	results, _, _ := unstructured.NestedSlice(got.Object, "results")
	failed, _, _ := unstructured.NestedInt64(got.Object, "summary", "fail")
	if len(results) != maxReportResults || failed != 3000 {
		t.Errorf("%d results of %d, want %d of 3000", len(results), failed, maxReportResults)
	}
}

// A cluster without the custom resources is left alone.
func TestNoPolicyReports(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	absent := []reportKind{{schema.GroupVersionResource{Group: "absent.example.org", Version: "v1", Resource: "reports"}, "Report"}}
	if err := f.store.writeReports(t.Context(), policy.Report{Environment: promotion.ID{Pipeline: "shop", Name: "a"}}, absent); !errors.Is(err, ErrNoReports) {
		t.Errorf("%v, want %v", err, ErrNoReports)
	}
}

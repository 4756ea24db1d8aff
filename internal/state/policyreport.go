package state

import (
	"context"
	"errors"
	"fmt"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"chaperone.dev/chaperone/internal/policy"
	"chaperone.dev/chaperone/internal/state/v1alpha1"
)

// reportKind is a custom resource that others read findings from.
type reportKind struct {
	schema.GroupVersionResource
	kind string
}

// reportKinds are the Policy Working Group's, before and after it moved.
var reportKinds = []reportKind{
	{schema.GroupVersionResource{Group: "wgpolicyk8s.io", Version: "v1alpha2", Resource: "policyreports"}, "PolicyReport"},
	{schema.GroupVersionResource{Group: "openreports.io", Version: "v1alpha1", Resource: "reports"}, "Report"},
}

// Bounds on one report: an object has to fit into etcd's 1.5 MiB.
const (
	maxReportResults = 400
	maxReportText    = 500 // bytes of a message
)

// ErrNoReports says that the cluster has none of the custom resources that
// findings are written to.
var ErrNoReports = errors.New("neither PolicyReport nor Report is installed")

// WritePolicyReport keeps the findings on an environment's newest release where
// tools look for them, in the daemon's own namespace: the environment's may be on
// another cluster, and its account is not the daemon's. They go with the
// Environment object.
func (s *Store) WritePolicyReport(ctx context.Context, report policy.Report) error {
	return s.writeReports(ctx, report, reportKinds)
}

func (s *Store) writeReports(ctx context.Context, report policy.Report, kinds []reportKind) error {
	name := ObjectName(report.Environment)
	s.mu.Lock()
	uid := string(s.known[report.Environment].UID)
	s.mu.Unlock()
	there := false
	var failures []error
	for _, k := range kinds {
		object := &unstructured.Unstructured{Object: policyReport(report, k, s.namespace, uid)}
		_, err := s.objects.Resource(k.GroupVersionResource).Namespace(s.namespace).
			Apply(ctx, name, object, metav1.ApplyOptions{FieldManager: fieldManager, Force: true})
		if apierrors.IsNotFound(err) { // of the kind: an apply creates the object
			continue
		}
		there = true
		if err != nil {
			failures = append(failures, classify("write", k.kind+"/"+name, err))
		}
	}
	if !there {
		return ErrNoReports
	}
	return errors.Join(failures...)
}

func policyReport(report policy.Report, k reportKind, namespace, uid string) map[string]any {
	name := ObjectName(report.Environment)
	scope := map[string]any{"apiVersion": v1alpha1.GroupVersion.String(), "kind": "Environment", "namespace": namespace, "name": name}
	metadata := map[string]any{
		"name": name, "namespace": namespace, "labels": map[string]any{"app.kubernetes.io/managed-by": "chaperone"},
		"annotations": map[string]any{
			"chaperone.dev/verdict": string(report.Verdict), "chaperone.dev/revision": string(report.Revision),
			"chaperone.dev/digest": string(report.Digest), "chaperone.dev/policy-digest": string(report.PolicyDigest),
		},
	}
	if uid != "" {
		scope["uid"] = uid
		metadata["ownerReferences"] = []any{map[string]any{
			"apiVersion": v1alpha1.GroupVersion.String(), "kind": "Environment", "name": name, "uid": uid}}
	}
	results, summary := reportResults(report)
	return map[string]any{"apiVersion": k.GroupVersion().String(), "kind": k.kind, "metadata": metadata,
		"scope": scope, "summary": summary, "results": results}
}

// reportResults are the errors and findings, what stops the release first, and
// their numbers, which also count what there is no room for.
func reportResults(report policy.Report) ([]any, map[string]any) {
	counts := map[string]int64{"error": 0, "fail": 0, "warn": 0, "skip": 0, "pass": 0}
	results := []any{}
	add := func(outcome string, result map[string]any) {
		counts[outcome]++
		if len(results) < maxReportResults {
			result["source"], result["result"], result["scored"] = "chaperone", outcome, true
			results = append(results, result)
		}
	}
	for _, e := range report.Errors {
		policyName := e.Rule
		if policyName == "" {
			policyName = "chaperone"
		}
		add("error", map[string]any{"policy": policyName, "message": shortened(e.Error())})
	}
	for _, f := range report.Findings {
		result := map[string]any{"policy": f.Rule, "severity": string(f.Severity), "category": f.Title, "message": shortened(f.Message)}
		if o := f.Object; o != nil {
			result["resources"] = []any{map[string]any{"apiVersion": o.APIVersion, "kind": o.Kind, "namespace": o.Namespace, "name": o.Name}}
		}
		properties := map[string]any{"action": string(f.Action)}
		if f.Path != "" {
			properties["path"] = shortened(f.Path)
		}
		if f.Exception != nil {
			properties["exception"] = fmt.Sprintf("%s (%s), until %s", f.Exception.Name, f.Exception.Ticket, f.Exception.Expires)
		}
		result["properties"] = properties
		add(outcomeOf(f), result)
	}
	summary := map[string]any{}
	for outcome, n := range counts {
		summary[outcome] = n
	}
	return results, summary
}

func shortened(text string) string {
	if len(text) <= maxReportText {
		return text
	}
	return strings.ToValidUTF8(text[:maxReportText], "") + "…"
}

func outcomeOf(f policy.Finding) string {
	switch {
	case f.Exception != nil:
		return "skip"
	case f.Action == policy.ActionDeny:
		return "fail"
	}
	return "warn"
}

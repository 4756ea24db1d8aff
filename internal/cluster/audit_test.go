package cluster

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"chaperone.dev/chaperone/internal/manifest"
	"chaperone.dev/chaperone/internal/plan"
)

var admission = map[string]schema.GroupVersionResource{
	"MutatingAdmissionPolicy":          {Group: "admissionregistration.k8s.io", Version: "v1", Resource: "mutatingadmissionpolicies"},
	"MutatingAdmissionPolicyBinding":   {Group: "admissionregistration.k8s.io", Version: "v1", Resource: "mutatingadmissionpolicybindings"},
	"ValidatingAdmissionPolicy":        {Group: "admissionregistration.k8s.io", Version: "v1", Resource: "validatingadmissionpolicies"},
	"ValidatingAdmissionPolicyBinding": {Group: "admissionregistration.k8s.io", Version: "v1", Resource: "validatingadmissionpolicybindings"},
}

// admit sets admission up for the fixture's namespace, for as long as the test lasts.
func (f *fixture) admit(text string) {
	f.Helper()
	objects, err := manifest.Decode("admission.yaml", []byte(strings.ReplaceAll(text, "NS", f.owner.Namespace)))
	if err != nil {
		f.Fatal(err)
	}
	for _, o := range objects {
		resource := f.c.dynamic.Resource(admission[o.GetKind()])
		if _, err := resource.Create(f.Context(), o, metav1.CreateOptions{}); err != nil {
			f.Fatal(err)
		}
		f.Cleanup(func() {
			if err := resource.Delete(context.WithoutCancel(f.Context()), o.GetName(), metav1.DeleteOptions{}); err != nil {
				f.Error(err)
			}
		})
	}
}

const mutation = `apiVersion: admissionregistration.k8s.io/v1
kind: MutatingAdmissionPolicy
metadata: {name: stamp-NS}
spec:
  reinvocationPolicy: Never
  failurePolicy: Fail
  matchConstraints:
    namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: NS}}
    objectSelector: {matchLabels: {stamp: please}}
    resourceRules: [{apiGroups: [""], apiVersions: [v1], operations: [CREATE, UPDATE], resources: [configmaps]}]
  mutations:
  - patchType: ApplyConfiguration
    applyConfiguration: {expression: 'Object{data: {"key": "stamped"}}'}
---
apiVersion: admissionregistration.k8s.io/v1
kind: MutatingAdmissionPolicyBinding
metadata: {name: stamp-NS}
spec: {policyName: stamp-NS}
`

const validation = `apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicy
metadata: {name: refuse-NS}
spec:
  failurePolicy: Fail
  matchConstraints:
    namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: NS}}
    objectSelector: {matchLabels: {refuse: please}}
    resourceRules: [{apiGroups: [""], apiVersions: [v1], operations: [CREATE, UPDATE], resources: [configmaps]}]
  validations: [{expression: "false", message: not any more}]
---
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicyBinding
metadata: {name: refuse-NS}
spec: {policyName: refuse-NS, validationActions: [Deny]}
`

func labelled(name, label string) string {
	return fmt.Sprintf("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: %s, labels: {%s: please}}\ndata: {key: value}\n", name, label)
}

// Watches tell what happened to objects; that the server would treat them in
// another way by now, only an audit does.
func TestAuditFindsWhatAdmissionChanged(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	set := f.of(f.set(labelled("stamped", "stamp"), labelled("refused", "refuse"), configMap("plain", "key", "value")))
	f.release(set)
	f.eventually("quiet after the apply", f.rests)
	found, err := f.c.Audit(t.Context(), f.owner, set, 0)
	if err != nil || found.Tried != 3 || len(found.Differ)+len(found.Rejected) > 0 {
		t.Fatalf("audit of what was just applied: %+v, %v", found, err)
	}
	before, err := f.c.Fingerprint(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	f.admit(mutation)
	f.admit(validation)
	if after, err := f.c.Fingerprint(t.Context()); err != nil || after == before {
		t.Errorf("fingerprint %s, before the new admission %s, %v; want another", after, before, err)
	}
	if !f.rests() {
		t.Error("nothing happened to the objects, and they do not rest")
	}
	f.eventually("the server's admission knows", func() bool {
		found, err = f.c.Audit(t.Context(), f.owner, set, time.Millisecond)
		return err == nil && len(found.Differ) == 1 && len(found.Rejected) == 1
	})
	if found.Differ[0].Name != "stamped" || found.Rejected[0].ID.Name != "refused" {
		t.Fatalf("audit found %+v, want stamped to differ and refused to be rejected", found)
	}
	if f.rests() {
		t.Error("what the audit doubts is taken for quiet")
	}
	changes, err := f.drifted(set)
	if err != nil || len(changes) != 1 || changes[0].ID.Name != "stamped" {
		t.Fatalf("drift after the audit is %v, %v; want stamped", changes, err)
	}
	f.release(set)
	f.eventually("quiet after the correction", f.rests)
	found, err = f.c.Audit(t.Context(), f.owner, set, 0)
	if err != nil || len(found.Differ) > 0 || !slices.ContainsFunc(found.Rejected, func(r plan.Rejection) bool { return r.ID.Name == "refused" }) {
		t.Errorf("audit after the correction: %+v, %v", found, err)
	}
}

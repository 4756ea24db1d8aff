package cluster

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"chaperone.dev/chaperone/internal/manifest"
)

var admission = map[string]schema.GroupVersionResource{
	"MutatingAdmissionPolicy":          {Group: "admissionregistration.k8s.io", Version: "v1", Resource: "mutatingadmissionpolicies"},
	"MutatingAdmissionPolicyBinding":   {Group: "admissionregistration.k8s.io", Version: "v1", Resource: "mutatingadmissionpolicybindings"},
	"ValidatingAdmissionPolicy":        {Group: "admissionregistration.k8s.io", Version: "v1", Resource: "validatingadmissionpolicies"},
	"ValidatingAdmissionPolicyBinding": {Group: "admissionregistration.k8s.io", Version: "v1", Resource: "validatingadmissionpolicybindings"},
}

// admit sets admission up for the fixture's namespace, until it is taken away or
// the test is over.
func (f *fixture) admit(text string) (away func()) {
	f.Helper()
	objects, err := manifest.Decode("admission.yaml", []byte(strings.ReplaceAll(text, "NS", f.owner.Namespace)))
	if err != nil {
		f.Fatal(err)
	}
	away = sync.OnceFunc(func() {
		for _, o := range objects {
			err := f.c.dynamic.Resource(admission[o.GetKind()]).Delete(context.WithoutCancel(f.Context()), o.GetName(), metav1.DeleteOptions{})
			if err != nil {
				f.Error(err)
			}
		}
	})
	for _, o := range objects {
		if _, err := f.c.dynamic.Resource(admission[o.GetKind()]).Create(f.Context(), o, metav1.CreateOptions{}); err != nil {
			f.Fatal(err)
		}
	}
	f.Cleanup(away)
	return away
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
	audit := func() Audited {
		found, err := f.c.Audit(t.Context(), f.owner, set, time.Millisecond)
		if err != nil {
			t.Fatal(err)
		}
		return found
	}
	if found := audit(); found.Tried != 3 || len(found.Differ)+len(found.Altered)+len(found.Rejected) > 0 {
		t.Fatalf("audit of what was just applied: %+v", found)
	}
	before, err := f.c.Fingerprint(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	away := f.admit(mutation)
	f.admit(validation)
	if after, err := f.c.Fingerprint(t.Context()); err != nil || after == before {
		t.Errorf("fingerprint %s, before the new admission %s, %v; want another", after, before, err)
	}
	var found Audited
	f.eventually("the server knows the new admission", func() bool {
		found = audit()
		return len(found.Altered) == 1 && len(found.Rejected) == 1
	})
	if found.Altered[0].Name != "stamped" || found.Rejected[0].ID.Name != "refused" || len(found.Differ) > 0 || !f.rests() {
		t.Fatalf("audit found %+v, want stamped altered, refused rejected, and nothing to correct", found)
	}

	// Now it is stamped, which no correction can change; until the stamp goes.
	next := f.of(f.set(strings.Replace(labelled("stamped", "stamp"), "key: value", "key: value, more: value", 1), labelled("refused", "refuse"), configMap("plain", "key", "value")))
	f.release(next)
	set = next
	f.eventually("quiet though stamped", func() bool {
		_, err := f.drifted(set)
		return err == nil && f.rests()
	})
	if value := f.live("ConfigMap", "stamped").Object["data"].(map[string]any)["key"]; value != "stamped" {
		t.Fatalf("the admission wrote %v", value)
	}
	away()
	f.eventually("the server knows that the stamp is gone", func() bool { return len(audit().Differ) == 1 })
	if f.rests() {
		t.Error("what the audit doubts is taken for quiet")
	}
	changes, err := f.drifted(set)
	if err != nil || len(changes) != 1 || changes[0].ID.Name != "stamped" {
		t.Fatalf("drift after the audit is %v, %v; want stamped", changes, err)
	}
	f.release(set)
	f.eventually("quiet after the correction", f.rests)
	if value := f.live("ConfigMap", "stamped").Object["data"].(map[string]any)["key"]; value != "value" || len(audit().Differ) > 0 {
		t.Errorf("after the correction it is %v", value)
	}
}

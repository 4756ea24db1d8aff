package app

import (
	"fmt"
	"strings"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"

	"chaperone.dev/chaperone/internal/controller"
	"chaperone.dev/chaperone/internal/manifest"
	"chaperone.dev/chaperone/internal/promotion"
	"chaperone.dev/chaperone/internal/reconcile"
)

// defined makes a kind known to the cluster, as its operator's own definition
// has it as far as status goes: a subresource, its fields kept. Others' tests may
// have defined it, and may go on needing it.
func (c checked) defined(t *testing.T, kind schema.GroupVersionKind, plural string) {
	t.Helper()
	text := fmt.Sprintf(`{apiVersion: apiextensions.k8s.io/v1, kind: CustomResourceDefinition, metadata: {name: %[1]s.%[2]s}, spec: {group: %[2]s, scope: Namespaced,
		names: {kind: %[3]s, plural: %[1]s}, versions: [{name: %[4]s, served: true, storage: true, subresources: {status: {}}, schema: {openAPIV3Schema: {type: object,
		properties: {spec: {type: object, x-kubernetes-preserve-unknown-fields: true}, status: {type: object, x-kubernetes-preserve-unknown-fields: true}}}}}]}}`,
		plural, kind.Group, kind.Kind, kind.Version)
	objects, err := manifest.Decode("crd.yaml", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	crds := c.dynamic(t).Resource(schema.GroupVersionResource{Group: "apiextensions.k8s.io", Version: "v1", Resource: "customresourcedefinitions"})
	if _, err := crds.Create(t.Context(), objects[0], metav1.CreateOptions{}); err != nil && !apierrors.IsAlreadyExists(err) {
		t.Fatal(err)
	}
	for range 200 {
		crd, err := crds.Get(t.Context(), plural+"."+kind.Group, metav1.GetOptions{})
		if err != nil {
			t.Fatal(err)
		}
		conditions, _, _ := unstructured.NestedSlice(crd.Object, "status", "conditions")
		for _, one := range conditions {
			if condition, _ := one.(map[string]any); condition["type"] == "Established" && condition["status"] == "True" {
				return
			}
		}
		time.Sleep(50 * time.Millisecond)
	}
	t.Fatalf("%s is not established", plural)
}

func (c checked) dynamic(t *testing.T) dynamic.Interface {
	t.Helper()
	client, err := dynamic.NewForConfig(c.local.Config())
	if err != nil {
		t.Fatal(err)
	}
	return client
}

// reports writes an object's status, as its operator does.
func (c checked) reports(t *testing.T, resource schema.GroupVersionResource, name, status string) {
	t.Helper()
	written, err := manifest.Decode("status.yaml", []byte("{apiVersion: v1, kind: Any, metadata: {name: any}, status: "+status+"}"))
	if err != nil {
		t.Fatal(err)
	}
	client := c.dynamic(t).Resource(resource).Namespace(c.env.Target.Namespace)
	o, err := client.Get(t.Context(), name, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	o.Object["status"] = written[0].Object["status"]
	if _, err := client.UpdateStatus(t.Context(), o, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
}

// What has no pods of its own is as well as its operator says: by what is known
// of the kind, or by the environment's own rules. What nobody has reported on is
// neither well nor ill.
func TestOperatedKindsOfARealCluster(t *testing.T) {
	t.Parallel()
	const pass, fail, none = reconcile.OutcomeDone, reconcile.OutcomeFailed, reconcile.OutcomeNoData
	c := newChecked(t)
	c.env.Verify.Timeout = 5 * time.Second
	group := c.env.Target.Namespace + ".example.org"
	widget := schema.GroupVersionKind{Group: group, Version: "v1", Kind: "Widget"}
	rollout := schema.GroupVersionKind{Group: "argoproj.io", Version: "v1alpha1", Kind: "Rollout"}
	canary := schema.GroupVersionKind{Group: "flagger.app", Version: "v1beta1", Kind: "Canary"}
	database := schema.GroupVersionKind{Group: "postgresql.cnpg.io", Version: "v1", Kind: "Cluster"}
	plurals := map[schema.GroupVersionKind]string{widget: "widgets", rollout: "rollouts", canary: "canaries", database: "clusters"}
	for kind, plural := range plurals {
		c.defined(t, kind, plural)
	}
	c.env.Verify.Health = []promotion.HealthRule{{Group: group, Kind: "Widget", Ready: "self.status.phase == 'Ready'", Failed: "self.?status.phase.orValue('') == 'Broken'"}}
	certificate := schema.GroupVersionKind{Group: "cert-manager.io", Version: "v1", Kind: "Certificate"}
	tests := []struct {
		name     string
		kind     schema.GroupVersionKind
		spec     string
		status   string // "" is nobody's; of kinds that the local cluster plays, what it is told to play
		outcome  reconcile.Outcome
		evidence string
	}{
		{"rule-ready", widget, "{}", "{phase: Ready}", pass, "1 objects ready"},
		{"rule-failed", widget, "{}", "{phase: Broken}", fail, "has failed, as its rule in verify.health says"},
		{"rule-not-yet", widget, "{}", "{phase: Starting}", fail, "is not ready, as its rule in verify.health says"},
		{"rule-silent", widget, "{}", "", none, "whether it is ready cannot be told"},
		{"rollout-healthy", rollout, "{replicas: 2}", `{phase: Healthy, observedGeneration: "1"}`, pass, "1 objects ready"},
		{"rollout-before", rollout, "{replicas: 2}", `{phase: Healthy, observedGeneration: "0"}`, fail, "status is of generation 0"},
		{"rollout-aborted", rollout, "{replicas: 2}", `{phase: Degraded, abort: true, message: "RolloutAborted: metric errors", observedGeneration: "1"}`, fail, "was aborted: RolloutAborted"},
		{"rollout-paused", rollout, "{replicas: 2}", `{phase: Paused, message: CanaryPauseStep, observedGeneration: "1"}`, none, "is paused: CanaryPauseStep"},
		{"rollout-silent", rollout, "{replicas: 2}", "", none, "no controller has reported on it"},
		{"canary-promoted", canary, "{}", "{phase: Succeeded}", pass, "1 objects ready"},
		{"canary-failed", canary, "{}", `{phase: Failed, conditions: [{type: Promoted, status: "False", reason: Failed, message: Canary analysis failed}]}`, fail, "was not promoted"},
		{"database-healthy", database, "{instances: 3}", "{phase: Cluster in healthy state, readyInstances: 3}", pass, "1 objects ready"},
		{"database-short", database, "{instances: 3}", "{phase: Cluster in healthy state, readyInstances: 2}", fail, "2 of 3 instances"},
		{"database-silent", database, "{instances: 3}", "", none, "no controller has reported on it"},
		{"certificate-issued", certificate, "{secretName: a, issuerRef: {name: ca}}", "played", pass, "1 objects ready"},
		{"certificate-refused", certificate, "{secretName: a, issuerRef: {name: ca}}", "refused", fail, "is not Ready: Refused"},
		{"certificate-silent", certificate, "{secretName: a, issuerRef: {name: ca}}", "silent", none, "no controller has reported on it"},
	}
	sets := map[string]manifest.Set{}
	var texts []string
	for _, test := range tests {
		text := fmt.Sprintf("{apiVersion: %s, kind: %s, metadata: {name: %s, annotations: {local.chaperone.dev/operator: %q}}, spec: %s}",
			test.kind.GroupVersion(), test.kind.Kind, test.name, test.status, test.spec)
		texts = append(texts, text)
		sets[test.name] = decoded(t, text)
	}
	if err := c.on.Apply(t.Context(), c.env, decoded(t, texts...)); err != nil {
		t.Fatal(err)
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			if plural, ours := plurals[test.kind]; ours && test.status != "" {
				c.reports(t, test.kind.GroupVersion().WithResource(plural), test.name, test.status)
			}
			got, err := c.on.Verify(t.Context(), c.env, sets[test.name], controller.Against{Begun: time.Now()})
			if err != nil || got.Outcome != test.outcome || !strings.Contains(got.Evidence, test.evidence) {
				t.Errorf("got %s: %s, %v; want %s: %s", got.Outcome, got.Evidence, err, test.outcome, test.evidence)
			}
		})
	}
}

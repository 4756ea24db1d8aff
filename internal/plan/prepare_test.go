package plan

import (
	"fmt"
	"maps"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"chaperone.dev/chaperone/internal/manifest"
)

func TestPrepareLeavesOutWhatAServerWrites(t *testing.T) {
	t.Parallel()
	rendered := object(t, "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a, uid: u, resourceVersion: '5', creationTimestamp: null, labels: {app: x}}")
	before := fmt.Sprint(rendered.Object)
	sent, err := Prepare(rendered, owner, "shop")
	if err != nil {
		t.Fatal(err)
	}
	if fmt.Sprint(rendered.Object) != before {
		t.Error("the rendered object was changed")
	}
	metadata := sent.Object["metadata"].(map[string]any)
	if len(metadata) != 4 || sent.GetNamespace() != "shop" || sent.GetLabels()["app"] != "x" {
		t.Errorf("metadata is %v, want name, namespace, labels and annotations", metadata)
	}
	if !owner.Marked(sent) || sent.GetLabels()[LabelPartOf] != owner.SetID {
		t.Errorf("not marked: %v", metadata)
	}
}

func TestPrepareKeepsMalformedLabelsForTheServerToRefuse(t *testing.T) {
	t.Parallel()
	sent := prepared(t, "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a, labels: {version: 1}}")
	labels, _, _ := unstructured.NestedMap(sent.Object, "metadata", "labels")
	if labels["version"] != int64(1) {
		t.Errorf("labels are %v; a wrong one was dropped silently", labels)
	}
	if _, err := Prepare(object(t, "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a, labels: text}"), owner, "shop"); err == nil ||
		!strings.Contains(err.Error(), "metadata.labels") {
		t.Errorf("labels that are no map: %v", err)
	}
}

func TestStringDataBecomesData(t *testing.T) {
	t.Parallel()
	sent := prepared(t, "apiVersion: v1\nkind: Secret\nmetadata: {name: s}\nstringData: {a: x, b: y}\ndata: {b: b2xk, c: b2xk}")
	got, _, err := unstructured.NestedStringMap(sent.Object, "data")
	if want := map[string]string{"a": "eA==", "b": "eQ==", "c": "b2xk"}; err != nil || !maps.Equal(got, want) {
		t.Errorf("data is %v, %v; want %v", got, err, want)
	}
	if _, found := sent.Object["stringData"]; found {
		t.Error("stringData is sent")
	}
	const canary = "canary-11ee"
	for _, text := range []string{"stringData: {a: {b: " + canary + "}}", "stringData: " + canary, "stringData: {a: b}\ndata: " + canary} {
		_, err := Prepare(object(t, "apiVersion: v1\nkind: Secret\nmetadata: {name: s}\n"+text), owner, "shop")
		if err == nil || strings.Contains(err.Error(), canary) {
			t.Errorf("%s: %v, want an error without the value", text, err)
		}
	}
}

func TestPitfall19_YieldReplicas(t *testing.T) {
	t.Parallel()
	entry := func(by, operation, subresource string) metav1.ManagedFieldsEntry {
		return metav1.ManagedFieldsEntry{Manager: by, Operation: metav1.ManagedFieldsOperationType(operation), Subresource: subresource,
			FieldsType: "FieldsV1", FieldsV1: metav1.NewFieldsV1(`{"f:spec":{"f:replicas":{}}}`)}
	}
	ours, scaler := entry(manager, "Apply", ""), entry("kube-controller-manager", "Update", "scale")
	for name, test := range map[string]struct {
		managers []metav1.ManagedFieldsEntry
		want     any
	}{
		"only we wrote it":      {[]metav1.ManagedFieldsEntry{ours}, int64(5)},
		"the autoscaler did":    {[]metav1.ManagedFieldsEntry{scaler}, nil},
		"both":                  {[]metav1.ManagedFieldsEntry{ours, scaler}, nil},
		"nobody is known to":    {nil, nil},
		"another manager alone": {[]metav1.ManagedFieldsEntry{entry("kubectl", "Update", "")}, nil},
	} {
		live := object(t, "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: api}\nspec: {replicas: 5}")
		live.SetManagedFields(test.managers)
		sent := YieldReplicas(object(t, "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: api}\nspec: {replicas: 3}"), live, manager)
		if got, _, _ := unstructured.NestedFieldNoCopy(sent.Object, "spec", "replicas"); got != test.want {
			t.Errorf("%s: sends %v, want %v", name, got, test.want)
		}
	}
	hpa := object(t, "apiVersion: autoscaling/v2\nkind: HorizontalPodAutoscaler\nmetadata: {name: h, namespace: shop}\nspec: {scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: api}}")
	if want := (manifest.ID{Group: "apps", Kind: "Deployment", Namespace: "shop", Name: "api"}); !Scaled([]*manifest.Object{hpa})[want] {
		t.Errorf("scaled are %v, want %v", Scaled([]*manifest.Object{hpa}), want)
	}
}

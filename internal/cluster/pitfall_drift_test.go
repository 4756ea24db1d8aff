package cluster

import (
	"context"
	"crypto/tls"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"

	"chaperone.dev/chaperone/internal/manifest"
	"chaperone.dev/chaperone/internal/plan"
	"chaperone.dev/chaperone/internal/promotion"
)

// wantDrift fails the test unless exactly the named fields have drifted.
func (f *fixture) wantDrift(when string, set manifest.Set, want ...string) []plan.Change {
	f.Helper()
	changes, err := f.drifted(set)
	if err != nil {
		f.Fatalf("%s: %v", when, err)
	}
	var got []string
	for _, change := range changes {
		for _, field := range change.Fields {
			got = append(got, change.ID.Name+" "+field.Path)
		}
		if change.Action != plan.Update {
			got = append(got, change.ID.Name+" "+string(change.Action))
		}
	}
	if strings.Join(got, ", ") != strings.Join(want, ", ") {
		f.Errorf("%s: drift in %v, want %v", when, got, want)
	}
	return changes
}

// scale writes replicas by way of the scale subresource, as autoscalers do.
func (f *fixture) scale(name, manager string, n int64) {
	f.Helper()
	_, err := f.c.dynamic.Resource(gvrs["Deployment"]).Namespace(f.owner.Namespace).Patch(f.Context(), name, types.MergePatchType,
		fmt.Appendf(nil, `{"spec":{"replicas":%d}}`, n), metav1.PatchOptions{FieldManager: manager}, "scale")
	if err != nil {
		f.Fatal(err)
	}
}

func (f *fixture) wantReplicas(when, name string, want int64) {
	f.Helper()
	got, _, _ := unstructured.NestedInt64(f.live("Deployment", name).Object, "spec", "replicas")
	if got != want {
		f.Errorf("%s: %d replicas, want %d", when, got, want)
	}
}

func autoscalerOf(name string) string {
	return fmt.Sprintf(`apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata: {name: %[1]s}
spec: {scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: %[1]s}, minReplicas: 1, maxReplicas: 9, behavior: {scaleDown: {selectPolicy: Disabled}}}`, name)
}

var autoscalers = schema.GroupVersionResource{Group: "autoscaling", Version: "v2", Resource: "horizontalpodautoscalers"}

// HPA: the apply reset `replicas` (flux2#1842). One that somebody else has
// made is not known from the release, only from what it has written; and a
// person who scales by hand is no autoscaler.
func TestPitfall19_AutoscalerOutsideOfTheRelease(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	release := func(image string) manifest.Set { return f.set(deployment("api", image, "replicas: 3")) }
	first := release("registry.local/api:1")
	f.release(first)
	hpas := f.c.dynamic.Resource(autoscalers).Namespace(f.owner.Namespace)
	hpa := f.set(autoscalerOf("api")).Objects()[0]
	if _, err := hpas.Create(t.Context(), hpa, metav1.CreateOptions{FieldManager: "somebody"}); err != nil {
		t.Fatal(err)
	}
	f.wantDrift("before the autoscaler has written", first)
	f.scale("api", "kube-controller-manager", 7)
	f.wantDrift("the autoscaler has", first)
	f.release(release("registry.local/api:2"))
	f.wantReplicas("after an update", "api", 7)

	f.scale("api", "kubectl", 5)
	changes := f.wantDrift("somebody scaled by hand", release("registry.local/api:2"), "api spec.replicas")
	if len(changes) == 1 && changes[0].Fields[0].By != "kubectl" {
		t.Errorf("written by %q, want kubectl", changes[0].Fields[0].By)
	}
	f.release(release("registry.local/api:2"))
	f.wantReplicas("put back", "api", 3)
	f.scale("api", "kube-controller-manager", 6)
	f.wantDrift("the autoscaler again", release("registry.local/api:2"))

	if err := hpas.Delete(t.Context(), "api", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	f.wantDrift("the autoscaler is gone", release("registry.local/api:2"), "api spec.replicas")
	f.release(release("registry.local/api:2"))
	f.wantReplicas("replicas came back", "api", 3)
}

// An autoscaler that leaves the release hands the replicas back, and one that is
// turned off by 0 stays off until the release says another number: leaving the
// field alone would keep it at 0 for ever.
func TestPitfall19_AutoscalerLeavesOrIsTurnedOff(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	with := func(replicas int) manifest.Set {
		return f.set(autoscalerOf("api"), deployment("api", "registry.local/api:1", fmt.Sprintf("replicas: %d", replicas)))
	}
	f.release(with(3))
	f.scale("api", "kube-controller-manager", 7)
	f.release(with(0))
	f.wantReplicas("turned off", "api", 0)
	f.wantDrift("turned off", with(0))
	f.release(with(2))
	f.wantReplicas("turned on", "api", 2)
	f.scale("api", "kube-controller-manager", 8)
	f.wantDrift("scaled again", with(2))
	without := f.set(deployment("api", "registry.local/api:1", "replicas: 2"))
	f.release(without)
	f.prune(without)
	f.wantDrift("without an autoscaler", without)
	f.wantReplicas("without an autoscaler", "api", 2)
}

// What KEDA scales is named by its ScaledObject, also while it scales to none.
func TestPitfall19_KEDAAndVPAAreLeftAlone(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.define(definition("keda.sh", "ScaledObject", "scaledobjects"))
	f.define(definition("autoscaling.k8s.io", "VerticalPodAutoscaler", "verticalpodautoscalers"))
	scaled := "apiVersion: keda.sh/v1\nkind: ScaledObject\nmetadata: {name: api}\nspec: {scaleTargetRef: {name: api}}"
	vpa := "apiVersion: autoscaling.k8s.io/v1\nkind: VerticalPodAutoscaler\nmetadata: {name: api}\n" +
		"spec: {targetRef: {apiVersion: apps/v1, kind: Deployment, name: api}, updatePolicy: {updateMode: InPlaceOrRecreate}}"
	set := f.set(scaled, vpa, deployment("api", "registry.local/api:1", "replicas: 1"))
	f.release(set)
	f.scale("api", "keda", 0)
	f.wantDrift("scaled to none", set)
	f.release(f.set(scaled, vpa, deployment("api", "registry.local/api:2", "replicas: 1")))
	f.wantReplicas("after an update", "api", 0)
	f.scale("api", "kube-controller-manager", 4)
	set = f.set(scaled, vpa, deployment("api", "registry.local/api:2", "replicas: 1"))
	f.wantDrift("scaled by the autoscaler that KEDA made", set)
	// The pods come out with other resources than the template says.
	f.eventually("a pod of the Deployment", func() bool { return len(f.pods()) > 0 })
	pod := f.pods()[0].Name
	_, err := f.local.Client().CoreV1().Pods(f.owner.Namespace).Patch(t.Context(), pod, types.StrategicMergePatchType,
		[]byte(`{"spec":{"containers":[{"name":"app","resources":{"requests":{"cpu":"50m"}}}]}}`), metav1.PatchOptions{FieldManager: "updater"}, "resize")
	if err != nil {
		t.Logf("resize of %s: %v; the API server does not resize it", pod, err)
	}
	f.wantDrift("other resources", set)
}

// define installs a definition around the code under test, unless it is there.
func (f *fixture) define(text string) {
	f.Helper()
	crd := f.set(text).Objects()[0]
	crds := f.c.dynamic.Resource(schema.GroupVersionResource{Group: "apiextensions.k8s.io", Version: "v1", Resource: "customresourcedefinitions"})
	crd.SetAnnotations(map[string]string{"api-approved.kubernetes.io": "https://github.com/kubernetes/kubernetes/pull/63797"})
	versions := crd.Object["spec"].(map[string]any)["versions"].([]any)
	spec := versions[0].(map[string]any)["schema"].(map[string]any)["openAPIV3Schema"].(map[string]any)["properties"].(map[string]any)["spec"].(map[string]any)
	spec["x-kubernetes-preserve-unknown-fields"] = true
	if _, err := crds.Create(f.Context(), crd, metav1.CreateOptions{}); err != nil && !strings.Contains(err.Error(), "already exists") {
		f.Fatal(err)
	}
	gk := definedKind(crd)
	f.eventually(gk.Kind+" is served", func() bool {
		_, err := f.c.kinds.find(f.Context(), gk, "")
		return err == nil || f.c.kinds.refresh(f.Context()) == nil && false
	})
}

// Rules of an environment's file: a field belongs to others once they have
// written it, and to those alone whom the rule names.
func TestIgnoreDriftOnTheServer(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.owner.Leave = plan.LeaveOf([]promotion.Ignore{
		{Kind: "ConfigMap", Name: "settings", Fields: []string{"data[app.level]"}},
		{Group: "apps", Kind: "Deployment", Fields: []string{"spec.template.spec.containers[name=app].image"}, Managers: []string{"image-updater"}},
	})
	settings := func(level string) string {
		return "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: settings}\ndata: {app.level: " + level + ", other: x}"
	}
	set := f.set(settings("info"), deployment("api", "registry.local/api:1", "replicas: 0"))
	f.release(set)
	f.wantDrift("nobody else has written", set)
	// While it is ours alone, a release may change it.
	set = f.set(settings("warn"), deployment("api", "registry.local/api:1", "replicas: 0"))
	f.release(set)
	if level := f.live("ConfigMap", "settings").Object["data"].(map[string]any)["app.level"]; level != "warn" {
		t.Errorf("level %v, want what the release says", level)
	}
	f.patchAs("ConfigMap", "settings", "operator", `{"data": {"app.level": "debug", "other": "y"}}`)
	f.wantDrift("one field is theirs", set, "settings data.other")
	f.release(set)
	data := f.live("ConfigMap", "settings").Object["data"].(map[string]any)
	if data["app.level"] != "debug" || data["other"] != "x" {
		t.Errorf("after the correction: %v", data)
	}
	image := `{"spec": {"template": {"spec": {"containers": [{"name": "app", "image": "registry.local/api:%d"}]}}}}`
	f.patchAs("Deployment", "api", "image-updater", fmt.Sprintf(image, 2))
	f.wantDrift("an image that may change", set)
	f.patchAs("Deployment", "api", "somebody", fmt.Sprintf(image, 3))
	f.wantDrift("by somebody who may not", set, "api spec.template.spec.containers[name=app].image")
}

func (f *fixture) patchAs(kind, name, manager, patch string) {
	f.Helper()
	_, err := f.c.dynamic.Resource(gvrs[kind]).Namespace(f.owner.Namespace).Patch(f.Context(), name,
		map[bool]types.PatchType{true: types.StrategicMergePatchType, false: types.MergePatchType}[kind == "Deployment"], []byte(patch), metav1.PatchOptions{FieldManager: manager})
	if err != nil {
		f.Fatal(err)
	}
}

// stamping is a mutating webhook that writes to every ConfigMap with the label
// `stamp`: into a field that the release sets, and into one of its own. What it
// writes is another text each time.
func (f *fixture) stamping() *atomic.Int64 {
	f.Helper()
	var calls atomic.Int64
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var review struct {
			APIVersion string         `json:"apiVersion"`
			Kind       string         `json:"kind"`
			Request    map[string]any `json:"request"`
		}
		if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, 1<<20)).Decode(&review); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		n := calls.Add(1)
		patch := fmt.Sprintf(`[{"op":"add","path":"/data/ours","value":"stamped-%d"},{"op":"add","path":"/data/theirs","value":"%d"}]`, n, n)
		_ = json.NewEncoder(w).Encode(map[string]any{"apiVersion": review.APIVersion, "kind": review.Kind, "response": map[string]any{
			"uid": review.Request["uid"], "allowed": true, "patchType": "JSONPatch", "patch": base64.StdEncoding.EncodeToString([]byte(patch))}})
	}))
	f.Cleanup(server.Close)
	server.TLS.MinVersion = tls.VersionTLS12
	bundle := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
	text := fmt.Sprintf(`apiVersion: admissionregistration.k8s.io/v1
kind: MutatingWebhookConfiguration
metadata: {name: stamp-hook-NS}
webhooks:
- name: stamp.example.org
  sideEffects: None
  admissionReviewVersions: [v1]
  clientConfig: {url: %q}
  namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: NS}}
  objectSelector: {matchLabels: {stamp: please}}
  rules: [{apiGroups: [""], apiVersions: [v1], operations: [CREATE, UPDATE], resources: [configmaps]}]
`, server.URL)
	hook := f.set(text).Objects()[0]
	client := hook.Object["webhooks"].([]any)[0].(map[string]any)["clientConfig"].(map[string]any)
	client["caBundle"] = base64.StdEncoding.EncodeToString(bundle)
	hooks := f.c.dynamic.Resource(schema.GroupVersionResource{Group: "admissionregistration.k8s.io", Version: "v1", Resource: "mutatingwebhookconfigurations"})
	if _, err := hooks.Create(f.Context(), hook, metav1.CreateOptions{}); err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { _ = hooks.Delete(context.WithoutCancel(f.Context()), hook.GetName(), metav1.DeleteOptions{}) })
	return &calls
}

// A webhook that changes what we send at every write made a permanent drift
// (helm-controller#643).
func TestPitfall20_WebhookMakesNoDrift(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	calls := f.stamping()
	text := "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: stamped, labels: {stamp: please}}\ndata: {ours: rendered, more: x}"
	f.eventually("the webhook is called", func() bool {
		_, err := f.local.Client().CoreV1().ConfigMaps(f.owner.Namespace).Patch(t.Context(), "probe", types.ApplyPatchType,
			[]byte(`{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"probe","labels":{"stamp":"please"}},"data":{"a":"b"}}`), metav1.PatchOptions{FieldManager: "probe"})
		if err != nil {
			t.Fatal(err)
		}
		return calls.Load() > 0
	})
	set := f.set(text, configMap("plain", "a", "b"))
	f.release(set)
	if data := f.live("ConfigMap", "stamped").Object["data"].(map[string]any); !strings.HasPrefix(fmt.Sprint(data["ours"]), "stamped-") {
		t.Fatalf("the webhook did not write: %v", data)
	}
	for range 3 {
		f.wantDrift("stamped", set)
	}
	// What a person does is drift all the same, and put back.
	f.patchAs("ConfigMap", "stamped", "kubectl-edit", `{"data": {"more": "y"}}`)
	changes := f.wantDrift("a field that the webhook leaves alone", set, "stamped data.more")
	if len(changes) == 1 && changes[0].Fields[0].By != "kubectl-edit" {
		t.Errorf("written by %q", changes[0].Fields[0].By)
	}
	f.release(set)
	f.wantDrift("put back", set)
}

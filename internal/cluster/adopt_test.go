package cluster

import (
	"encoding/json"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"

	"chaperone.dev/chaperone/internal/fault"
	"chaperone.dev/chaperone/internal/plan"
	"chaperone.dev/chaperone/internal/promotion"
)

// kubectl runs the real one in the fixture's namespace.
func (f *fixture) kubectl(args ...string) (string, error) {
	f.Helper()
	return f.local.Kubectl(f.T, append([]string{"--namespace", f.owner.Namespace}, args...)...)
}

func (f *fixture) mustKubectl(args ...string) string {
	f.Helper()
	out, err := f.kubectl(args...)
	if err != nil {
		f.Fatalf("%v\n%s", err, out)
	}
	return out
}

// file holds manifests as a person has them.
func (f *fixture) file(texts ...string) string {
	f.Helper()
	name := filepath.Join(f.TempDir(), "objects.yaml")
	text := strings.ReplaceAll(strings.Join(texts, "\n---\n"), "NS", f.owner.Namespace)
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		f.Fatal(err)
	}
	return name
}

// adopting is the fixture whose environment says `adopt`.
func (f *fixture) adopting(tools ...promotion.Tool) *fixture {
	other := *f
	other.owner.Adopt = tools
	return &other
}

// theirs is a Deployment as another tool applied it: all that MARKS does not
// bring is in ours as well, except what a person would miss if it stayed.
const theirs = `apiVersion: apps/v1
kind: Deployment
metadata:
  name: api
  labels: {app: api, team: before, LABELS}
  annotations: {example.org/note: before, ANNOTATIONS}
spec:
  replicas: 3
  paused: true
  revisionHistoryLimit: 4
  selector: {matchLabels: {app: api}}
  template:
    metadata: {labels: {app: api, tier: before}}
    spec:
      serviceAccountName: before
      nodeSelector: {example.org/pool: before}
      containers:
      - name: app
        image: registry.local/api:1
        env: [{name: STAYS, value: before}, {name: GOES, value: before}]
        resources: {limits: {memory: 64Mi}}
      - {name: sidecar, image: registry.local/sidecar:1}
`

const ours = `apiVersion: apps/v1
kind: Deployment
metadata: {name: api, labels: {app: api}}
spec:
  selector: {matchLabels: {app: api}}
  template:
    metadata: {labels: {app: api}}
    spec:
      containers:
      - name: app
        image: registry.local/api:2
        env: [{name: STAYS, value: now}]
`

func theirsWith(labels, annotations string) string {
	return strings.NewReplacer(", LABELS", prefixed(labels), ", ANNOTATIONS", prefixed(annotations)).Replace(theirs)
}

func prefixed(text string) string {
	if text == "" {
		return ""
	}
	return ", " + text
}

// written makes an object exactly as a tool does that is not at hand: under its
// manager, by apply or by update, and with its marks in the object.
func (f *fixture) written(manager string, apply bool, text string) {
	f.Helper()
	o := f.set(text).Objects()[0].DeepCopy()
	objects := f.c.dynamic.Resource(gvrs[o.GetKind()]).Namespace(f.owner.Namespace)
	var err error
	if apply {
		_, err = objects.Apply(f.Context(), o.GetName(), o, metav1.ApplyOptions{FieldManager: manager, Force: true})
	} else {
		_, err = objects.Create(f.Context(), o, metav1.CreateOptions{FieldManager: manager})
	}
	if err != nil {
		f.Fatal(err)
	}
}

// lastAppliedOf is the annotation as client-side apply writes it.
func lastAppliedOf(f *fixture, text string) string {
	f.Helper()
	content, err := json.Marshal(f.set(text).Objects()[0].Object)
	if err != nil {
		f.Fatal(err)
	}
	quoted, err := json.Marshal(string(content))
	if err != nil {
		f.Fatal(err)
	}
	return "kubectl.kubernetes.io/last-applied-configuration: " + string(quoted)
}

// Fields that another tool had applied could not be removed (kubernetes#99003,
// kc#486): they are the daemon's before it applies. Each tool as it leaves its
// objects, kubectl itself among them.
func TestPitfall16_WhatToolsLeftReallyGoes(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		made   func(*fixture)
		word   promotion.Tool
		naming string
	}{
		"kubectl client-side": {func(f *fixture) { f.mustKubectl("apply", "-f", f.file(theirsWith("", ""))) },
			promotion.ToolKubectl, "kubectl apply"},
		"kubectl server-side": {func(f *fixture) { f.mustKubectl("apply", "--server-side", "-f", f.file(theirsWith("", ""))) },
			promotion.ToolKubectl, "kubectl apply --server-side"},
		"kubectl create": {func(f *fixture) { f.mustKubectl("create", "-f", f.file(theirsWith("", ""))) },
			promotion.ToolKubectl, "kubectl create"},
		"kubectl under another manager": {func(f *fixture) {
			f.mustKubectl("apply", "--server-side", "--field-manager=pipeline", "-f", f.file(theirsWith("", "")))
		}, promotion.ToolOther, "field manager pipeline"},
		"kubectl client-side and then edited": {func(f *fixture) {
			f.mustKubectl("apply", "-f", f.file(strings.Replace(theirsWith("", ""), "team: before, ", "", 1)))
			f.mustKubectl("label", "deployment", "api", "team=before")
			f.mustKubectl("set", "env", "deployment/api", "GOES=edited")
		}, promotion.ToolKubectl, "kubectl apply"},
		"kubectl client-side and then server-side": {func(f *fixture) {
			f.mustKubectl("apply", "-f", f.file(theirsWith("", "")))
			f.mustKubectl("apply", "--server-side", "-f", f.file(theirsWith("", "")))
		}, promotion.ToolKubectl, "kubectl apply --server-side"},
		"Helm 3": {func(f *fixture) {
			f.written("helm", false, theirsWith("app.kubernetes.io/managed-by: Helm", "meta.helm.sh/release-name: api, meta.helm.sh/release-namespace: NS"))
		}, promotion.ToolHelm, "Helm release NS/api"},
		"Helm 4": {func(f *fixture) {
			f.written("helm", true, theirsWith("app.kubernetes.io/managed-by: Helm", "meta.helm.sh/release-name: api, meta.helm.sh/release-namespace: NS"))
		}, promotion.ToolHelm, "Helm release NS/api"},
		"Flux": {func(f *fixture) {
			f.written("kustomize-controller", true, theirsWith("kustomize.toolkit.fluxcd.io/name: apps, kustomize.toolkit.fluxcd.io/namespace: flux-system", ""))
		}, promotion.ToolFlux, "Flux Kustomization flux-system/apps"},
		"Flux with Helm": {func(f *fixture) {
			f.written("helm-controller", false, theirsWith("app.kubernetes.io/managed-by: Helm, helm.toolkit.fluxcd.io/name: api, helm.toolkit.fluxcd.io/namespace: NS",
				"meta.helm.sh/release-name: api, meta.helm.sh/release-namespace: NS"))
		}, promotion.ToolFlux, "Flux HelmRelease NS/api"},
		"Argo CD client-side": {func(f *fixture) {
			f.written("argocd-controller", false, theirsWith("app.kubernetes.io/instance: shop", lastAppliedOf(f, theirsWith("app.kubernetes.io/instance: shop", ""))))
		}, promotion.ToolArgoCD, "Argo CD application shop"},
		"Argo CD server-side": {func(f *fixture) {
			f.written("argocd-controller", true, theirsWith("", "argocd.argoproj.io/tracking-id: 'shop:apps/Deployment:NS/api'"))
		}, promotion.ToolArgoCD, "Argo CD application shop"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newFixture(t)
			c.made(f)
			f.refusedUnlessAdopted(c.word, strings.ReplaceAll(c.naming, "NS", f.owner.Namespace))
			f.scaledBy("autoscaler", 2)
			f.adopting(c.word).release(f.set(ours, configMap("beside", "a", "b")))
			f.onlyOursIsLeft()
		})
	}
}

// refusedUnlessAdopted checks that the Deployment is taken only on the word of
// its tool, and that nothing is touched without.
func (f *fixture) refusedUnlessAdopted(word promotion.Tool, naming string) {
	f.Helper()
	before := f.live("Deployment", "api")
	for _, adopt := range [][]promotion.Tool{nil, allToolsBut(word)} {
		without := f.adopting(adopt...)
		p, err := without.c.Plan(f.Context(), without.owner, f.set(ours, configMap("beside", "a", "b")))
		refusal := refusedFor(f.T, err)
		if !fault.IsTerminal(err) || refusal.Touched {
			f.Errorf("terminal %v, touched %v", fault.IsTerminal(err), refusal.Touched)
		}
		for _, want := range []string{"Deployment.apps/" + f.owner.Namespace + "/api: belongs to " + naming, `add "` + string(word) + `" to adopt`} {
			if !strings.Contains(err.Error(), want) {
				f.Errorf("adopt %v: %q does not say %q", adopt, err, want)
			}
		}
		if _, err := without.c.Apply(f.Context(), without.owner, p, nil); err == nil {
			f.Error("a refused plan was applied")
		}
	}
	f.exists("ConfigMap", "beside", false)
	if now := f.live("Deployment", "api"); now.GetGeneration() != before.GetGeneration() || len(now.GetManagedFields()) < len(before.GetManagedFields()) {
		f.Error("the Deployment was touched")
	}
}

func allToolsBut(word promotion.Tool) []promotion.Tool {
	all := []promotion.Tool{promotion.ToolKubectl, promotion.ToolHelm, promotion.ToolFlux, promotion.ToolArgoCD, promotion.ToolOther}
	return slices.DeleteFunc(all, func(tool promotion.Tool) bool { return tool == word })
}

// scaledBy writes the scale as autoscalers do.
func (f *fixture) scaledBy(manager string, replicas int) {
	f.Helper()
	patch, err := json.Marshal(map[string]any{"spec": map[string]any{"replicas": replicas}})
	if err != nil {
		f.Fatal(err)
	}
	_, err = f.c.dynamic.Resource(gvrs["Deployment"]).Namespace(f.owner.Namespace).
		Patch(f.Context(), "api", types.MergePatchType, patch, metav1.PatchOptions{FieldManager: manager}, "scale")
	if err != nil {
		f.Fatal(err)
	}
}

// onlyOursIsLeft checks that the Deployment is what Git says, and what managers
// say who were not adopted.
func (f *fixture) onlyOursIsLeft() {
	f.Helper()
	o := f.live("Deployment", "api")
	d := &appsv1.Deployment{}
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(o.Object, d); err != nil {
		f.Fatal(err)
	}
	if len(d.Labels) != 2 || d.Labels["app"] != "api" || d.Labels[plan.LabelPartOf] == "" {
		f.Errorf("labels %v", d.Labels)
	}
	for key := range d.Annotations {
		if key != plan.AnnotationEnvironment && key != "deployment.kubernetes.io/revision" {
			f.Errorf("annotation %s is left", key)
		}
	}
	spec := d.Spec.Template.Spec
	if d.Spec.Paused || *d.Spec.RevisionHistoryLimit != 10 || len(d.Spec.Template.Labels) != 1 || len(spec.NodeSelector) > 0 {
		f.Errorf("paused %v, history %d, labels %v, node selector %v", d.Spec.Paused, *d.Spec.RevisionHistoryLimit, d.Spec.Template.Labels, spec.NodeSelector)
	}
	if spec.ServiceAccountName != "" || spec.DeprecatedServiceAccount != "" {
		f.Errorf("the pods run as %q, %q", spec.ServiceAccountName, spec.DeprecatedServiceAccount)
	}
	if len(spec.Containers) != 1 || spec.Containers[0].Image != "registry.local/api:2" || len(spec.Containers[0].Resources.Limits) > 0 {
		f.Errorf("containers %+v", spec.Containers)
	}
	if env := spec.Containers[0].Env; len(env) != 1 || env[0].Name != "STAYS" || env[0].Value != "now" {
		f.Errorf("variables %v", env)
	}
	if *d.Spec.Replicas != 2 {
		f.Errorf("replicas %d, want those of the autoscaler", *d.Spec.Replicas)
	}
	for _, entry := range o.GetManagedFields() {
		if entry.Subresource == "" && entry.Manager != plan.FieldManager && entry.Manager != "kube-controller-manager" {
			f.Errorf("manager %s (%s) is left", entry.Manager, entry.Operation)
		}
	}
	if p := f.plan(f.set(ours, configMap("beside", "a", "b"))); !p.Quiet() {
		f.Errorf("plan afterwards, without the word: %v", p.Applies())
	}
}

// The daemon is killed between taking the fields over and applying, at every
// write: the next attempt finishes, also when the words were taken out since.
func TestAdoptionSurvivesACrash(t *testing.T) {
	t.Parallel()
	f := newFixture(t).adopting(promotion.ToolKubectl)
	f.mustKubectl("apply", "-f", f.file(theirsWith("", "")))
	f.scaledBy("autoscaler", 2)
	set := f.set(ours, configMap("beside", "a", "b"))
	crash := f.connectThrough(func(request *http.Request) (*http.Response, error) {
		if isRealApply(request) && request.Header.Get("Content-Type") == string(types.ApplyPatchType) && strings.Contains(request.URL.Path, "/deployments/") {
			return nil, errors.New("killed")
		}
		return nil, nil
	})
	crash.c.options.RetryFor = 1
	if _, err := crash.c.Apply(t.Context(), f.owner, f.plan(set), nil); err == nil {
		t.Fatal("the apply went through")
	}
	o := f.live("Deployment", "api")
	if f.owner.plan().Marked(o) || len(plan.Traces(o)) > 1 {
		t.Fatalf("the crash came too late, or too early: %v", plan.Traces(o))
	}
	f.release(set)
	f.onlyOursIsLeft()
}

// What a named tool applied to an object that is the environment's already is
// taken over when the object is updated; an unnamed one's is left.
func TestLeftoversOfNamedToolsGoWithTheNextUpdate(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.release(f.set(configMap("settings", "a", "1")))
	late := "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: settings}\ndata: {late: x}"
	f.mustKubectl("apply", "-f", f.file(late))
	f.written("keda-operator", true, strings.Replace(late, "late: x", "operators: x", 1))
	data := func() map[string]string {
		texts, _, _ := unstructured.NestedStringMap(f.live("ConfigMap", "settings").Object, "data")
		return texts
	}
	f.release(f.set(configMap("settings", "a", "2")))
	if got := data(); got["late"] != "x" || got["a"] != "2" {
		t.Errorf("without the word: %v", got)
	}
	named := f.adopting(promotion.ToolKubectl, promotion.ToolOther)
	named.release(f.set(configMap("settings", "a", "3")))
	if got := data(); got["late"] != "" || got["a"] != "3" || got["operators"] != "x" {
		t.Errorf("with the word: %v; want what kubectl applied gone, and the operator's left", got)
	}
	if o := f.live("ConfigMap", "settings"); o.GetAnnotations()["kubectl.kubernetes.io/last-applied-configuration"] != "" {
		t.Error("the last applied configuration is left")
	}
}

// Objects that only the cluster itself made need no word.
func TestTheClustersOwnObjectsNeedNoWord(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.awaitDefaultAccount()
	f.release(f.set("apiVersion: v1\nkind: ServiceAccount\nmetadata: {name: default, labels: {a: b}}\nautomountServiceAccountToken: false"))
	account, err := f.local.Client().CoreV1().ServiceAccounts(f.owner.Namespace).Get(t.Context(), "default", metav1.GetOptions{})
	if err != nil || account.AutomountServiceAccountToken == nil || account.Labels["a"] != "b" {
		t.Errorf("account: %v, %v", account, err)
	}
}

// Somebody else's apply onto an object of ours shows the conflict.
func TestKubectlSeesTheDaemonAsManager(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.release(f.set(configMap("settings", "a", "1")))
	out, err := f.kubectl("apply", "--server-side", "-f", f.file(configMap("settings", "a", "2")))
	if err == nil || !strings.Contains(out, `conflict with "chaperone": .data.a`) {
		t.Errorf("kubectl apply: %v\n%s", err, out)
	}
	if texts, _, _ := unstructured.NestedStringMap(f.live("ConfigMap", "settings").Object, "data"); texts["a"] != "1" {
		t.Errorf("data %v", texts)
	}
}

// Whoever takes both marks away and writes to an object does not take it from
// its environment: that knows it by its UID. Made again, it is another object.
func TestObjectWithoutItsMarksIsKnownByItsUID(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	set := f.set(configMap("settings", "a", "1"))
	f.release(set)
	f.mustKubectl("label", "configmap", "settings", plan.LabelPartOf+"-", "theirs=yes")
	f.mustKubectl("annotate", "configmap", "settings", plan.AnnotationEnvironment+"-")
	if o := f.live("ConfigMap", "settings"); f.owner.plan().Marked(o) || len(plan.Traces(o)) == 0 {
		t.Fatalf("the object has %v and %v", o.GetLabels(), o.GetAnnotations())
	}
	f.release(set)
	if o := f.live("ConfigMap", "settings"); !f.owner.plan().Marked(o) || o.GetLabels()["theirs"] != "yes" {
		t.Errorf("the object has %v and %v", o.GetLabels(), o.GetAnnotations())
	}
	f.mustKubectl("delete", "configmap", "settings")
	f.mustKubectl("create", "configmap", "settings", "--from-literal=a=theirs")
	_, err := f.c.Plan(t.Context(), f.owner, set)
	if text := refusedFor(t, err).Error(); !strings.Contains(text, `kubectl create; add "kubectl" to adopt`) {
		t.Error(text)
	}
}

// What a tool had set and the server will not let go is said before anything is
// touched, and so is every field that goes.
func TestPlanSaysWhatAdoptionTakesAway(t *testing.T) {
	t.Parallel()
	f := newFixture(t).adopting(promotion.ToolKubectl)
	f.mustKubectl("apply", "-f", f.file(theirsWith("", "")))
	f.scaledBy("autoscaler", 2)
	set := f.set(ours)
	p := f.plan(set)
	if len(p.Applies()) != 1 || p.Applies()[0].Reason != plan.ReasonAdopted || !p.Applies()[0].Adopt {
		t.Fatalf("plan: %v", p.Changes)
	}
	got := map[string]string{}
	for _, field := range p.Applies()[0].Fields {
		got[field.Path] = field.Old + " -> " + field.New
	}
	delete(got, "metadata.annotations["+plan.AnnotationEnvironment+"]")
	delete(got, "metadata.labels["+plan.LabelPartOf+"]")
	pod := "spec.template.spec."
	want := map[string]string{
		"metadata.annotations[example.org/note]": `"before" -> `, "metadata.labels.team": `"before" -> `, "spec.paused": "true -> ",
		"spec.revisionHistoryLimit": "4 -> 10", "spec.template.metadata.labels.tier": `"before" -> `,
		pod + "nodeSelector": `{"example.org/pool":"before"} -> `, pod + "serviceAccount": `"before" -> `, pod + "serviceAccountName": `"before" -> `,
		pod + "containers[name=app].env[name=GOES].name": `"GOES" -> `, pod + "containers[name=app].env[name=GOES].value": `"before" -> `,
		pod + "containers[name=app].env[name=STAYS].value":   `"before" -> "now"`,
		pod + "containers[name=app].image":                   `"registry.local/api:1" -> "registry.local/api:2"`,
		pod + "containers[name=app].resources.limits.memory": `"64Mi" -> `,
	}
	for path, text := range want {
		if got[path] != text {
			t.Errorf("%s: %q, want %q", path, got[path], text)
		}
		delete(got, path)
	}
	for path, text := range got {
		if !strings.HasPrefix(path, pod+"containers[name=sidecar].") || !strings.HasSuffix(text, " -> ") {
			t.Errorf("the plan says of %s: %s", path, text)
		}
	}
	f.release(set)
	f.release(f.set(ours, configMap("beside", "a", "b")))
	f.onlyOursIsLeft()
}

func TestAdoptionThatTheServerRefusesTouchesNothing(t *testing.T) {
	t.Parallel()
	f := newFixture(t).adopting(promotion.ToolKubectl)
	stateful := `apiVersion: apps/v1
kind: StatefulSet
metadata: {name: db}
spec:
  replicas: 0
  serviceName: db
  POLICY
  selector: {matchLabels: {app: db}}
  template:
    metadata: {labels: {app: db}}
    spec: {containers: [{name: db, image: registry.local/db:1}]}
`
	f.mustKubectl("apply", "-f", f.file(strings.Replace(stateful, "POLICY", "podManagementPolicy: Parallel", 1)))
	_, err := f.c.Plan(t.Context(), f.owner, f.set(strings.Replace(stateful, "POLICY\n", "\n", 1), configMap("beside", "a", "b")))
	var rejected *plan.Rejected
	if !errors.As(err, &rejected) || rejected.Touched || len(rejected.Objects) != 1 || rejected.Objects[0].ID.Kind != "StatefulSet" {
		t.Errorf("plan: %v, want the StatefulSet rejected", err)
	}
	f.release(f.set(strings.Replace(stateful, "POLICY", "podManagementPolicy: Parallel", 1)))
}

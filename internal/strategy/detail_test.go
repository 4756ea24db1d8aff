package strategy

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/labels"

	"chaperone.dev/chaperone/internal/manifest"
)

func apiSets(t testing.TB, more ...string) (before, after manifest.Set) {
	t.Helper()
	svc := behind("api", "app: api, "+stable)
	return set(t, append([]string{workload("api", "v1", 3, stable), svc}, more...)...), set(t, append([]string{workload("api", "v2", 3, stable), svc}, more...)...)
}

// The autoscaler decides how many pods the old version has, and the copy gets as
// many before it gets all requests.
func TestAutoscaledBlueGreen(t *testing.T) {
	t.Parallel()
	before, after := apiSets(t, object("HorizontalPodAutoscaler", "hpa", "{scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: api}, minReplicas: 2, maxReplicas: 20}"))
	r := release(before, after, blueGreen("api"))
	r.Replicas = map[string]int{"api": 12}
	p := steps(t, r)
	for i, step := range p.Steps[:3] {
		if got := replicas(find(step.Set, deployment, namespace, "api-next")); got != 12 {
			t.Errorf("step %d: the copy has %d pods", i+1, got)
		}
		for _, name := range []string{"hpa", "hpa-next"} {
			o := find(step.Set, autoscaler, namespace, name)
			if o == nil || number(at(o.Object, "spec", "minReplicas"), 0) != 12 || number(at(o.Object, "spec", "maxReplicas"), 0) != 20 {
				t.Fatalf("step %d: %s is %v", i+1, name, o)
			}
		}
		if target := textAt(find(step.Set, autoscaler, namespace, "hpa-next").Object, "spec", "scaleTargetRef", "name"); target != "api-next" {
			t.Errorf("the copy of the autoscaler scales %s", target)
		}
	}
	if !strings.Contains(strings.Join(p.Notes, "\n"), "HorizontalPodAutoscaler/hpa counts the pods of Deployment/api-next") {
		t.Errorf("notes %q", p.Notes)
	}
	r.Replicas = nil // nobody has counted: as many as there may be
	if got := replicas(find(steps(t, r).Steps[0].Set, deployment, namespace, "api-next")); got != 20 {
		t.Errorf("the copy has %d pods", got)
	}
}

// A budget that counts both colours would let all pods go that have the requests.
func TestBudgetsCountOneColour(t *testing.T) {
	t.Parallel()
	pdbs := []string{object("PodDisruptionBudget", "pdb", "{minAvailable: 2, selector: {matchLabels: {app: api}}}"),
		object("PodDisruptionBudget", "all", "{minAvailable: 1, selector: {}}"),
		object("PodDisruptionBudget", "other", "{minAvailable: 1, selector: {matchLabels: {app: b}}}"),
		object("PodDisruptionBudget", "none", "{minAvailable: 1}")}
	before, after := apiSets(t, pdbs...)
	old, new := labels.Set{"app": "api", LabelTrack: TrackStable}, labels.Set{"app": "api", LabelTrack: TrackNext}
	for i, step := range steps(t, release(before, after, blueGreen("api"))).Steps[:3] {
		for name, want := range map[string][2]bool{"pdb": {true, false}, "pdb-next": {false, true}, "all": {true, false}, "all-next": {false, true}, "other": {}, "none": {}} {
			o := find(step.Set, budget, namespace, name)
			if o == nil || matches(o, old) != want[0] || matches(o, new) != want[1] {
				t.Errorf("step %d: %s is %v", i+1, name, o)
			}
		}
	}
	before, after = set(t, workload("api", "v1", 3), behind("api", "app: api"), pdbs[0]), set(t, workload("api", "v2", 3), behind("api", "app: api"), pdbs[0])
	step := steps(t, release(before, after, canary("api", "", 10))).Steps[0]
	if o := find(step.Set, budget, namespace, "pdb"); !matches(o, labels.Set{"app": "api"}) || matches(o, labels.Set{"app": "api", LabelTrack: TrackCanary}) {
		t.Errorf("%v", o)
	}
	if find(step.Set, budget, namespace, "pdb-canary") != nil {
		t.Error("a single canary pod has a budget of two, so that its node never drains")
	}
}

// What others do to an object by its name must not be done to a copy of it.
func TestCopiesAreTheirOwn(t *testing.T) {
	t.Parallel()
	before, _ := apiSets(t)
	after := set(t, strings.Replace(workload("api", "v2", 3, stable, "team: heart"), "namespace: shop}", "namespace: shop, labels: {owner: me}, annotations: {chaperone.dev/prune: never, note: x}}", 1),
		"apiVersion: v1\nkind: Service\nmetadata: {name: api, annotations: {external-dns.alpha.kubernetes.io/hostname: api.example.org, kept: x}}\n"+
			"spec: {type: LoadBalancer, clusterIP: 10.0.0.1, loadBalancerIP: 1.2.3.4, externalTrafficPolicy: Local, selector: {app: api, "+stable+"}, ports: [{port: 80, nodePort: 30000}]}")
	step := steps(t, release(before, after, blueGreen("api"))).Steps[0]
	svc, copied := find(step.Set, service, namespace, "api-next"), find(step.Set, deployment, namespace, "api-next")
	want := "map[metadata:map[annotations:map[kept:x] labels:map[chaperone.dev/track:next] name:api-next]" +
		" spec:map[ports:[map[port:80]] selector:map[app:api chaperone.dev/track:next]]]"
	if got := fmt.Sprint(map[string]any{"metadata": svc.Object["metadata"], "spec": svc.Object["spec"]}); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	if got := podLabels(copied).String(); got != "app=api,chaperone.dev/track=next,team=heart" {
		t.Errorf("its pods have %s", got)
	}
	if got := fmt.Sprint(copied.GetLabels(), copied.GetAnnotations()); got != "map[chaperone.dev/track:next owner:me] map[note:x]" {
		t.Errorf("it has %s", got)
	}
	if got := fmt.Sprint(at(copied.Object, "spec", "selector")); got != "map[matchLabels:map[app:api chaperone.dev/track:next]]" {
		t.Errorf("it selects %s", got)
	}
}

func TestHeadlessServiceStaysHeadless(t *testing.T) {
	t.Parallel()
	svc := strings.Replace(behind("api", "app: api, "+stable), "spec: {", "spec: {clusterIP: None, ", 1)
	p := steps(t, release(set(t, workload("api", "v1", 1, stable), svc), set(t, workload("api", "v2", 1, stable), svc), blueGreen("api")))
	if o := find(p.Steps[0].Set, service, namespace, "api-next"); !headless(o) {
		t.Errorf("%v", o)
	}
	if len(p.Notes) != 1 || !strings.Contains(p.Notes[0], "Service/api is headless") {
		t.Errorf("notes %q", p.Notes)
	}
}

// Pitfall 24: names at their limits. A ReplicaSet's name is its Deployment's and
// eleven characters.
func TestPitfall24_NamesOfCopies(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	for _, n := range []int{1, 55, 56, 57, 58, 62, 63} {
		for _, end := range []string{"a", "b"} {
			name := strings.Repeat("x", n-1) + end
			got := copyName(name, TrackCanary, maxService)
			if len(got) > 63 || !strings.HasSuffix(got, "-canary") || seen[got] || strings.Contains(got, "--") {
				t.Errorf("%s becomes %s", name, got)
			}
			seen[got] = true
		}
	}
	for _, name := range []string{strings.Repeat("x", 253), strings.Repeat("x", 227) + "." + strings.Repeat("y", 25)} {
		if got := copyName(name, TrackNext, maxDeployment); len(got)+11 > 253 || strings.Contains(got, ".-") {
			t.Errorf("%s (%d)", got, len(got))
		}
	}
	if got := copyName("api", TrackNext, maxService); got != "api-next" {
		t.Error(got)
	}
}

// Pitfall 8: the hashed ConfigMap under running pods stays until they are gone,
// and hooks run when they are due.
func TestPitfall08_WhatLastGoodReadsStays(t *testing.T) {
	t.Parallel()
	reads := func(version, name, hook string) string {
		o := strings.Replace(workload("api", version, 2), "containers: [{", "volumes: [{name: v, configMap: {name: "+name+"}}], containers: [{envFrom: [{secretRef: {name: shared}}], ", 1)
		return strings.Replace(o, "namespace: shop}", "namespace: shop, annotations: {chaperone.dev/depends-on: batch/Job/shop/"+hook+"}}", 1)
	}
	job := func(name, when string) string {
		return "apiVersion: batch/v1\nkind: Job\nmetadata: {name: " + name + ", namespace: shop, annotations: {chaperone.dev/hook: " + when + "}}\n"
	}
	secret := func(value string) string {
		return "apiVersion: v1\nkind: Secret\nmetadata: {name: shared, namespace: shop}\nstringData: {p: " + value + "}\n"
	}
	svc := behind("api", "app: api")
	p := steps(t, release(
		set(t, reads("v1", "conf-1", "pre-1"), configMap("conf-1", "1"), secret("a"), job("pre-1", "pre-deploy"), job("post-1", "post-deploy"), job("undo-1", "rollback"), svc),
		set(t, reads("v2", "conf-2", "pre-2"), configMap("conf-2", "2"), secret("b"), job("pre-2", "pre-deploy"), job("post-2", "post-deploy"), job("undo-2", "rollback"), svc),
		canary("api", "", 50)))
	var got []string
	for _, o := range p.Steps[0].Set.Objects() {
		got = append(got, o.GetName())
	}
	if want := "conf-1 conf-2 shared api api-canary pre-2 api api-canary undo-2"; strings.Join(got, " ") != want {
		t.Errorf("got %s, want %s", got, want)
	}
	old := find(p.Steps[0].Set, deployment, namespace, "api")
	if _, waits := old.GetAnnotations()[manifest.AnnotationDependsOn]; waits {
		t.Error("last good's workload waits for a hook that is not there")
	}
	if want := []string{"Job/pre-2 runs before the first step, and the old version of Deployment/api has to do with what it leaves until the last",
		"Secret/shared changes with the first step, and the old version of Deployment/api reads it as well; a name with a hash of its content keeps them apart"}; !slices.Equal(p.Notes, want) {
		t.Errorf("notes %q", p.Notes)
	}
}

// A release of feature flags alone has no rollout to wait for.
func TestFeatureFlags(t *testing.T) {
	t.Parallel()
	reads := func(how string) string {
		return strings.Replace(workload("api", "v1", 2, stable), "containers: [{", how+", containers: [{volumeMounts: [{name: part, mountPath: /f, subPath: f}], ", 1)
	}
	files := reads("volumes: [{name: v, configMap: {name: flags}}]")
	for _, test := range []struct{ name, workload, other, want string }{
		{"files", files, "", "only ConfigMap/flags changes, without a rollout; read while it runs by Deployment/api"},
		{"projected", reads("volumes: [{name: v, projected: {sources: [{configMap: {name: flags}}]}}]"), "", "only ConfigMap/flags changes, without a rollout; read while it runs by Deployment/api"},
		{"part of a volume", reads("volumes: [{name: part, configMap: {name: flags}}]"), "", "only ConfigMap/flags changes, without a rollout; read by Deployment/api only when pods start anew"},
		{"variables", reads("initContainers: [{env: [{name: F, valueFrom: {configMapKeyRef: {name: flags, key: k}}}]}]"), "", "only ConfigMap/flags changes, without a rollout; read by Deployment/api only when pods start anew"},
		{"nobody", workload("api", "v1", 2, stable), "", "only ConfigMap/flags changes, without a rollout"},
		{"more than flags", files, configMap("new", "x"), "everything is as rendered"},
	} {
		svc := behind("api", "app: api, "+stable)
		after := []string{test.workload, svc, configMap("flags", "on")}
		if test.other != "" {
			after = append(after, test.other)
		}
		p := steps(t, release(set(t, test.workload, svc, configMap("flags", "off")), set(t, after...), blueGreen("api")))
		if len(p.Steps) != 1 || p.Steps[0].Text != test.want {
			t.Errorf("%s: %d steps, %q", test.name, len(p.Steps), p.Steps[0].Text)
		}
	}
}

package strategy

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"chaperone.dev/chaperone/internal/manifest"
	"chaperone.dev/chaperone/internal/promotion"
)

const namespace = "shop"

// tester is a test, or one by chance.
type tester interface {
	Helper()
	Fatal(args ...any)
}

// set reads manifests.
func set(t tester, texts ...string) manifest.Set {
	t.Helper()
	objects, err := manifest.Decode("test.yaml", []byte(strings.Join(texts, "\n---\n")))
	if err != nil {
		t.Fatal(err)
	}
	s, err := manifest.NewSet(objects)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// workload is a Deployment whose pods have app: NAME and more labels.
func workload(name, image string, replicas int, more ...string) string {
	pod := strings.Join(append([]string{"app: " + name}, more...), ", ")
	return fmt.Sprintf(`apiVersion: apps/v1
kind: Deployment
metadata: {name: %[1]s, namespace: shop}
spec:
  replicas: %[3]d
  selector: {matchLabels: {app: %[1]s}}
  template:
    metadata: {labels: {%[4]s}}
    spec: {containers: [{name: main, image: "%[2]s", ports: [{containerPort: 8080}]}]}
`, name, image, replicas, pod)
}

// behind is a Service with a selector.
func behind(name, selector string) string {
	return fmt.Sprintf("apiVersion: v1\nkind: Service\nmetadata: {name: %s, namespace: shop}\nspec: {selector: {%s}, ports: [{port: 80, targetPort: 8080}]}\n", name, selector)
}

func object(kind, name, spec string) string {
	return fmt.Sprintf("apiVersion: %s\nkind: %s\nmetadata: {name: %s, namespace: shop}\nspec: %s\n", map[string]string{
		"HTTPRoute": "gateway.networking.k8s.io/v1", "HorizontalPodAutoscaler": "autoscaling/v2", "PodDisruptionBudget": "policy/v1",
		"Canary": "flagger.app/v1beta1", "Rollout": "argoproj.io/v1alpha1", "PersistentVolumeClaim": "v1", "StatefulSet": "apps/v1",
		"BackendTLSPolicy": "gateway.networking.k8s.io/v1"}[kind], kind, name, spec)
}

func configMap(name, value string) string {
	return fmt.Sprintf("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: %s, namespace: shop}\ndata: {k: %q}\n", name, value)
}

const stable = LabelTrack + ": " + TrackStable

func blueGreen(name string) promotion.Strategy {
	return promotion.Strategy{Deployment: name, Service: name, BlueGreen: &promotion.BlueGreen{Preview: time.Minute, Keep: 10 * time.Minute, Checks: []string{"readiness"}}}
}

func canary(name, route string, weights ...int) promotion.Strategy {
	c := promotion.Canary{Route: route}
	for _, weight := range weights {
		c.Steps = append(c.Steps, promotion.CanaryStep{Weight: weight, For: 5 * time.Minute})
	}
	return promotion.Strategy{Deployment: name, Service: name, Canary: &c}
}

func release(before, after manifest.Set, strategies ...promotion.Strategy) Release {
	return Release{Before: before, After: after, Namespace: namespace, Strategies: strategies}
}

func steps(t testing.TB, r Release) Plan {
	t.Helper()
	p, err := Steps(r)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// shown tells a step in one line: each Deployment with image and pods, each
// Service with its selector, and the weights of routes.
func shown(s Step) string {
	var all []string
	for _, o := range s.Set.Objects() {
		switch o.GetKind() {
		case "Deployment":
			image := textAt(listAt(o.Object, "spec", "template", "spec", "containers")[0], "image")
			all = append(all, fmt.Sprintf("%s=%s*%d", o.GetName(), image, replicas(o)))
		case "Service":
			all = append(all, o.GetName()+">"+serviceSelector(o).String())
		case "HTTPRoute":
			for _, rule := range listAt(o.Object, "spec", "rules") {
				text := o.GetName() + ">"
				for _, backend := range listAt(rule, "backendRefs") {
					text += fmt.Sprintf("%s:%d ", backend["name"], number(backend["weight"], 1))
				}
				all = append(all, strings.TrimSpace(text))
			}
		}
	}
	return strings.ReplaceAll(strings.Join(all, " | "), LabelTrack, "track")
}

func checkShown(t *testing.T, p Plan, want ...string) {
	t.Helper()
	for i, step := range p.Steps {
		if i >= len(want) || shown(step) != want[i] {
			t.Errorf("step %d: %s\n got  %s\n want %s", i+1, step.Text, shown(step), append(want, make([]string, len(p.Steps))...)[i])
		}
	}
	if len(p.Steps) < len(want) {
		t.Errorf("%d steps, want %d", len(p.Steps), len(want))
	}
}

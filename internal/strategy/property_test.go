package strategy

import (
	"fmt"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/labels"
	"pgregory.net/rapid"

	"chaperone.dev/chaperone/internal/manifest"
	"chaperone.dev/chaperone/internal/promotion"
)

// drawn is one version of a small system, by chance.
type drawn struct {
	texts []string
	names []string // of the workloads
}

// draw makes a version. What only one version has is drawn anew for each.
func draw(t *rapid.T, version string, names []string, routed map[string]bool) drawn {
	d := drawn{names: names}
	pick := func(what string) bool { return rapid.Bool().Draw(t, version+" "+what) }
	for _, name := range names {
		var more []string
		label := pick(name + " has the label")
		if label {
			more = append(more, stable)
		}
		if pick(name + " tells its version") {
			more = append(more, "version: "+version)
		}
		image := version
		if !pick(name + " is new") {
			image = "same"
		}
		conf := "conf-" + name
		if pick(name + " has hashed configuration") {
			conf += "-" + version
		}
		w := workload(name, image, rapid.IntRange(0, 12).Draw(t, version+" "+name+" pods"), more...)
		d.texts = append(d.texts, strings.Replace(w, "containers: [{", "containers: [{envFrom: [{configMapRef: {name: "+conf+"}}], ", 1), configMap(conf, version))
		selector := "app: " + name
		if label && pick(name+" Service has the label") {
			selector += ", " + stable
		}
		if len(more) > 1 && pick(name+" Service tells the version") {
			selector += ", " + more[len(more)-1]
		}
		d.texts = append(d.texts, behind(name, selector))
		if pick(name + " has another Service") {
			d.texts = append(d.texts, behind(name+"-"+version, selector))
		}
		if pick(name + " scales") {
			d.texts = append(d.texts, object("HorizontalPodAutoscaler", name, fmt.Sprintf("{scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: %s}, minReplicas: 2, maxReplicas: 9}", name)))
		}
		if pick(name + " has a budget") {
			d.texts = append(d.texts, object("PodDisruptionBudget", name, "{minAvailable: 1, selector: {matchLabels: {app: "+name+"}}}"))
		}
		if routed[name] {
			d.texts = append(d.texts, object("HTTPRoute", name, "{rules: [{backendRefs: [{name: "+name+", weight: 2}, {name: elsewhere}]}]}"))
		}
	}
	return d
}

func drawRelease(t *rapid.T) Release {
	names := []string{"api", "web", "job"}[:rapid.IntRange(1, 3).Draw(t, "workloads")]
	var strategies []promotion.Strategy
	routed := map[string]bool{}
	for _, name := range names {
		weights := []int{rapid.IntRange(1, 40).Draw(t, "weight"), rapid.IntRange(41, 70).Draw(t, "weight"), rapid.IntRange(71, 99).Draw(t, "weight")}
		weights = weights[:rapid.IntRange(1, 3).Draw(t, name+" shares")]
		switch rapid.IntRange(0, 3).Draw(t, name+" strategy") {
		case 1:
			strategies = append(strategies, blueGreen(name))
		case 2:
			strategies = append(strategies, canary(name, "", weights...))
		case 3:
			routed[name] = true
			strategies = append(strategies, canary(name, name, weights...))
		}
	}
	before, after := draw(t, "v1", names, routed), draw(t, "v2", names, routed)
	r := release(set(t, before.texts...), set(t, after.texts...), strategies...)
	r.Replicas = map[string]int{"api": rapid.IntRange(0, 9).Draw(t, "counted")}
	return r
}

func TestStepsByChance(t *testing.T) {
	t.Parallel()
	staged, refused := 0, 0
	rapid.Check(t, func(t *rapid.T) {
		r := drawRelease(t)
		was := digest(t, r.Before) + digest(t, r.After)
		p, err := Steps(r)
		if digest(t, r.Before)+digest(t, r.After) != was {
			t.Fatal("the sets it was given are changed")
		}
		if err != nil {
			refused++
			return
		}
		if len(p.Steps) > 1 {
			staged++
		}
		if again, err := Steps(r); err != nil || fmt.Sprint(digests(t, again)) != fmt.Sprint(digests(t, p)) {
			t.Fatalf("asked again: %v", err)
		}
		checkSteps(t, r, p)
	})
	t.Logf("%d releases in several steps, %d refused", staged, refused)
	if staged < 5 {
		t.Errorf("%d releases in several steps: this shows little", staged)
	}
}

func digests(t tester, p Plan) (all []manifest.Digest) {
	for _, step := range p.Steps {
		all = append(all, digest(t, step.Set))
	}
	return all
}

func checkSteps(t *rapid.T, r Release, p Plan) {
	last := len(p.Steps) - 1
	if last < 0 || last >= MaxSteps {
		t.Fatalf("%d steps", len(p.Steps))
	}
	if !p.Steps[last].Last || digest(t, p.Steps[last].Set) != digest(t, r.After) {
		t.Fatal("the last step is not the release")
	}
	weights := map[string]int{}
	for i, step := range p.Steps {
		at := fmt.Sprintf("step %d (%s): %s", i+1, step.Text, shown(step))
		if step.Text == "" || step.Last != (i == last) {
			t.Fatalf("%s: last is %v", at, step.Last)
		}
		checkSelectors(t, r, step, at)
		checkReferences(t, step, at)
		checkHandover(t, r, p, i, at)
		if i == last {
			continue
		}
		for _, move := range step.Moves {
			if move.Weight < weights[move.Deployment] {
				t.Fatalf("%s: the weight of %s falls from %d", at, move.Deployment, weights[move.Deployment])
			}
			weights[move.Deployment] = move.Weight
			checkCapacity(t, r, step, move, at)
		}
		checkServed(t, r, step, at)
		for _, o := range r.Before.Objects() { // nothing goes before the last step, but Services without pods
			if _, there := step.Set.Get(manifest.IDOf(o)); !there && o.GetKind() != "Service" {
				t.Fatalf("%s: %s is gone", at, manifest.IDOf(o))
			}
		}
	}
}

// checkSelectors: what a Deployment selects never changes, and is its own pods.
func checkSelectors(t *rapid.T, r Release, step Step, at string) {
	for _, o := range kind(step.Set, deployment, namespace) {
		if before := find(r.Before, deployment, namespace, o.GetName()); before != nil {
			if !same(before.Object["spec"].(map[string]any)["selector"], o.Object["spec"].(map[string]any)["selector"]) {
				t.Fatalf("%s: the selector of %s changes", at, o.GetName())
			}
		}
		if !matches(o, podLabels(o)) {
			t.Fatalf("%s: %s does not select its pods", at, o.GetName())
		}
	}
}

// checkReferences reads every name of a ConfigMap, wherever it is.
func checkReferences(t *rapid.T, step Step, at string) {
	for _, o := range kind(step.Set, deployment, namespace) {
		for _, container := range listAt(o.Object, "spec", "template", "spec", "containers") {
			for _, from := range listAt(container, "envFrom") {
				name := textAt(from, "configMapRef", "name")
				if _, there := step.Set.Get(manifest.ID{Kind: "ConfigMap", Namespace: namespace, Name: name}); !there {
					t.Fatalf("%s: %s lacks ConfigMap %s", at, o.GetName(), name)
				}
			}
		}
	}
}

// checkCapacity: whoever has requests has as many pods as last good.
func checkCapacity(t *rapid.T, r Release, step Step, move Move, at string) {
	old, now := find(r.Before, deployment, namespace, move.Deployment), find(step.Set, deployment, namespace, move.Deployment)
	if move.Kind != KindPromote && (replicas(now) < replicas(old) || !same(now.Object, old.Object)) {
		t.Fatalf("%s: last good's %s changes", at, move.Deployment)
	}
	beside := find(step.Set, deployment, namespace, move.Deployment+"-next")
	if move.Kind == KindSwitch && replicas(beside) < max(replicas(old), r.Replicas[move.Deployment]) {
		t.Fatalf("%s: the new colour is smaller", at)
	}
	if move.Kind == KindPromote && beside != nil && replicas(beside) < replicas(old) {
		t.Fatalf("%s: the new colour is smaller", at)
	}
}

// checkHandover: a Service is applied before the pods that a step brings are
// ready, so it has to select some that were there before.
func checkHandover(t *rapid.T, r Release, p Plan, i int, at string) {
	earlier := r.Before
	if i > 0 {
		earlier = p.Steps[i-1].Set
	}
	for _, move := range p.Steps[0].Moves {
		svc := find(p.Steps[i].Set, service, namespace, move.Service)
		if find(earlier, service, namespace, move.Service) != nil && !served(earlier, svc) {
			t.Fatalf("%s: Service %s has no pods until new ones are there", at, move.Service)
		}
	}
}

// checkServed: a Service has pods in every step, and nobody gets to a copy early.
func checkServed(t *rapid.T, r Release, step Step, at string) {
	for _, svc := range kind(step.Set, service, namespace) {
		if !served(step.Set, svc) {
			t.Fatalf("%s: Service %s has no pods", at, svc.GetName())
		}
	}
	for _, move := range step.Moves {
		if find(r.Before, service, namespace, move.Service) != nil && find(step.Set, service, namespace, move.Service) == nil {
			t.Fatalf("%s: Service %s is gone", at, move.Service)
		}
		if move.Kind != KindPreview && move.Kind != KindStart {
			continue
		}
		next := find(step.Set, deployment, namespace, move.Deployment+map[Kind]string{KindPreview: "-next", KindStart: "-canary"}[move.Kind])
		for _, svc := range kind(step.Set, service, namespace) {
			aside := svc.GetName() == move.Asked || move.Kind == KindStart && svc.GetName() != move.Service
			if next != nil && !aside && serves(serviceSelector(svc), podLabels(next)) {
				t.Fatalf("%s: Service %s has the copy's pods", at, svc.GetName())
			}
		}
	}
}

func served(set manifest.Set, svc *manifest.Object) bool {
	for _, o := range set.Objects() {
		if o.GetKind() == "Deployment" && labels.SelectorFromSet(serviceSelector(svc)).Matches(podLabels(o)) {
			return true
		}
	}
	return false
}

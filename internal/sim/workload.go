package sim

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	yaml "go.yaml.in/yaml/v3"

	"chaperone.dev/chaperone/internal/manifest"
	"chaperone.dev/chaperone/internal/policy"
	"chaperone.dev/chaperone/internal/promotion"
	"chaperone.dev/chaperone/internal/reconcile"
	"chaperone.dev/chaperone/internal/strategy"
)

// workload is a Deployment of three pods and the Service that sends them requests.
func workload(name, value string, annotations map[string]string) (string, error) {
	own := map[string]string{"app": name, manifest.LabelTrack: manifest.TrackStable}
	deployment := map[string]any{
		"apiVersion": "apps/v1", "kind": "Deployment", "metadata": map[string]any{"name": name, "annotations": annotations},
		"spec": map[string]any{"replicas": 3, "selector": map[string]any{"matchLabels": map[string]string{"app": name}},
			"template": map[string]any{"metadata": map[string]any{"labels": own}, "spec": map[string]any{
				"containers": []any{map[string]any{"name": name, "image": "registry.example.org/" + name + ":" + value}}}}},
	}
	service := map[string]any{
		"apiVersion": "v1", "kind": "Service", "metadata": map[string]any{"name": name},
		"spec": map[string]any{"selector": own, "ports": []any{map[string]any{"port": 80}}},
	}
	first, err := yaml.Marshal(deployment)
	if err != nil {
		return "", err
	}
	second, err := yaml.Marshal(service)
	return string(first) + "---\n" + string(second), err
}

// Replicas implements controller.Cluster: nobody scales anything here.
func (p clusterPort) Replicas(ctx context.Context, env promotion.Environment, names []string) (map[string]int, error) {
	counts := map[string]int{}
	err := p.call(ctx, "Cluster.Replicas", env.ID.String(), speedCluster, func() error {
		for _, name := range names {
			counts[name] = 0
			if _, found := p.s.find(env.ID, manifest.ID{Group: "apps", Kind: "Deployment", Namespace: env.Target.Namespace, Name: name}); found {
				counts[name] = 3
			}
		}
		return p.reach(env)
	})
	return counts, err
}

// foresee is the dry run of a step that comes later.
func (p clusterPort) foresee(ctx context.Context, env promotion.Environment, made *rendered) error {
	return p.call(ctx, "Cluster.Foresee", env.ID.String(), speedCluster, func() error {
		if err := p.reach(env); err != nil {
			return err
		}
		if at, found := made.has(markRejected, env.ID.Name); found {
			return refusal(promotion.ApplyRejected, fmt.Errorf("%s: dry run: refused", at))
		}
		return nil
	})
}

// loaded finds a workload that cannot do with half of the requests, and has them.
func loaded(env promotion.Environment, made *rendered, step *strategy.Step) (manifest.ID, bool) {
	at, found := made.has(markLoaded, env.ID.Name)
	if !found || step == nil {
		return at, found
	}
	for _, move := range step.Moves {
		if strings.HasPrefix(at.Name, move.Deployment) && (move.Weight >= 50 || move.Kind == strategy.KindPromote) {
			return at, true
		}
	}
	return at, step.Last
}

// isCopy reports whether an object is there for the steps of a release.
func (o *live) isCopy(at manifest.ID) bool {
	for _, track := range []string{manifest.TrackCanary, manifest.TrackNext} {
		if strings.HasSuffix(at.Name, "-"+track) && strings.Contains(o.text, fmt.Sprintf(`"labels":{%q:%q}`, manifest.LabelTrack, track)) {
			return true
		}
	}
	return false
}

// stage is how far a release is in one environment.
type stage struct {
	release manifest.Digest
	course  reconcile.Course
	made    manifest.Digest
	step    int // that stands there, as far as it was begun
	passed  int // the last that did
}

// beginsStep is the release that a step belongs to. What is applied must be that step
// and no other, and what came before it has passed.
func (s *Sim) beginsStep(l *life, env promotion.Environment, made *rendered, a reconcile.Action) manifest.Digest {
	t := s.truth(env.ID)
	if a.Step == 0 {
		t.stage = stage{release: made.digest}
		return made.digest
	}
	release := manifest.Digest(a.Release.Digest)
	if t.stage.release != release || t.stage.course != a.Course || a.Step == 1 {
		t.stage = stage{release: release, course: a.Course}
	}
	if t.stage.passed != a.Step-1 && t.stage.passed != a.Step && !s.doubled {
		s.violated(l, "%s: step %d of %s begins, and step %d was the last to pass", env.ID, a.Step, release.Short(), t.stage.passed)
	}
	t.stage.step, t.stage.made = a.Step, made.digest
	s.checkStep(l, env, made, a)
	return release
}

// checkStep makes the steps anew, from what was rendered.
func (s *Sim) checkStep(l *life, env promotion.Environment, made *rendered, a reconcile.Action) {
	j, _ := s.store.journal(env.ID)
	good, release := s.byDigest[manifest.Digest(j.LastGood.Digest)], s.byDigest[manifest.Digest(a.Release.Digest)]
	if good == nil || release == nil || s.doubled {
		return
	}
	p, err := strategy.Steps(strategy.Release{Before: good.set, After: release.set, Namespace: env.Target.Namespace,
		Strategies: env.Strategies, Replicas: j.Attempt.Replicas.Counts()})
	if err != nil || len(p.Steps) != a.Course.Steps {
		s.violated(l, "%s: step %d of %d, where there are %d (%v)", env.ID, a.Step, a.Course.Steps, len(p.Steps), err)
		return
	}
	if digest, err := p.Steps[a.Step-1].Set.Digest(); err != nil || digest != made.digest {
		s.violated(l, "%s: what is applied is not step %d of %d", env.ID, a.Step, a.Course.Steps)
	}
	if j.Attempt.Step != a.Step {
		s.violated(l, "9: %s: step %d is applied, and step %d is in the stored journal", env.ID, a.Step, j.Attempt.Step)
	}
	if !s.policies.judgedSets[setJudgement{env.ID, contentOfSet(made.set.Objects()), a.Release.Policy}] {
		s.violated(l, "1: %s: step %d is applied without an allow for what it holds", env.ID, a.Step)
	}
}

// setJudgement is one allow for just these objects.
type setJudgement struct {
	environment promotion.ID
	content     manifest.Digest
	policy      reconcile.Digest
}

// contentOfSet is over all that is no secret, of which policies see no values.
func contentOfSet(objects []*manifest.Object) manifest.Digest {
	var texts []string
	for _, o := range objects {
		if text, err := o.MarshalJSON(); err == nil && !manifest.IsSecret(o) {
			texts = append(texts, string(text))
		}
	}
	slices.Sort(texts)
	return manifest.DigestBytes([]byte(strings.Join(texts, "\n")))
}

// passes notes what a verification came to, and of which release; whole is false
// for a step that is not the last.
func (t *truth) passes(s *Sim, outcome reconcile.Outcome, made *rendered, step *strategy.Step) (release manifest.Digest) {
	release = made.digest
	if step != nil && made.digest == t.stage.made { // a replica that is late may ask about another
		release = t.stage.release
		if outcome == reconcile.OutcomeDone {
			t.stage.passed = t.stage.step
		}
	}
	if step == nil || step.Last || outcome != reconcile.OutcomeDone {
		t.answered(s, outcome, release)
	}
	return release
}

// servedStill: a Service that had pods keeps some, whatever step is come to and
// whatever is taken back.
func (s *Sim) servedStill(l *life, env promotion.Environment) {
	if s.doubled {
		return
	}
	t, objects := s.truth(env.ID), s.clusters.on(env.Target.Kubeconfig)
	for at, object := range objects {
		if at.Kind != "Service" || object.owner != env.ID || object.isCopy(at) {
			continue
		}
		served := false
		for other, workload := range objects {
			served = served || other.Kind == "Deployment" && other.Namespace == at.Namespace && !workload.leaving && selects(object.text, workload.text)
		}
		if t.served[at] && !served && !t.tampered {
			s.violated(l, "%s: %s has no pods any more", env.ID, at)
		}
		t.served[at] = served
	}
	for at := range t.served {
		if _, found := objects[at]; !found {
			delete(t.served, at)
		}
	}
}

// selects reports whether a Service's selector has the pods of a Deployment.
func selects(service, deployment string) bool {
	var svc struct {
		Spec struct{ Selector map[string]string }
	}
	var workload struct {
		Spec struct {
			Template struct {
				Metadata struct{ Labels map[string]string }
			}
		}
	}
	if json.Unmarshal([]byte(service), &svc) != nil || json.Unmarshal([]byte(deployment), &workload) != nil {
		return false
	}
	for key, value := range svc.Spec.Selector {
		if workload.Spec.Template.Metadata.Labels[key] != value {
			return false
		}
	}
	return true
}

// judgeStep is the truth about the objects of a step that policies are shown.
func (p *policyState) judgeStep(in policy.Input) (policy.Verdict, string) {
	set, err := manifest.NewSet(in.Objects)
	if err != nil {
		return policy.VerdictError, err.Error()
	}
	made, err := describe(set)
	if err != nil {
		return policy.VerdictError, err.Error()
	}
	return p.verdict(in.Environment.Name, made)
}

package controller

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"chaperone.dev/chaperone/internal/manifest"
	"chaperone.dev/chaperone/internal/promotion"
	"chaperone.dev/chaperone/internal/reconcile"
	"chaperone.dev/chaperone/internal/source"
	"chaperone.dev/chaperone/internal/state"
	"chaperone.dev/chaperone/internal/strategy"
)

func serving(t *testing.T, image string) manifest.Set {
	t.Helper()
	objects, err := manifest.Decode("a.yaml", fmt.Appendf(nil, `apiVersion: apps/v1
kind: Deployment
metadata: {name: api, namespace: demo}
spec:
  replicas: 2
  selector: {matchLabels: {app: api}}
  template:
    metadata: {labels: {app: api, chaperone.dev/track: stable}}
    spec: {containers: [{name: api, image: %s}]}
---
apiVersion: v1
kind: Service
metadata: {name: api, namespace: demo}
spec: {selector: {app: api, chaperone.dev/track: stable}, ports: [{port: 80}]}
`, image))
	if err != nil {
		t.Fatal(err)
	}
	set, err := manifest.NewSet(objects)
	if err != nil {
		t.Fatal(err)
	}
	return set
}

func colours() promotion.Environment {
	return promotion.Environment{ID: staging, File: "environments/demo/staging.yaml", Target: promotion.Target{Namespace: "demo"},
		Strategies: []promotion.Strategy{{Deployment: "api", Service: "api", BlueGreen: &promotion.BlueGreen{Keep: time.Minute}}}}
}

// The word for the steps is the same as long as they are, however many pods there
// are, and another one where anything of them is.
func TestCourseNamesTheSteps(t *testing.T) {
	t.Parallel()
	course := func(env promotion.Environment, image string, replicas reconcile.Replicas) reconcile.Course {
		p, err := planOf(env, serving(t, "one"), serving(t, image), replicas)
		if err != nil {
			t.Fatal(err)
		}
		c, err := courseOf(p)
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	env := colours()
	first := course(env, "two", "")
	canary := colours()
	canary.Strategies = []promotion.Strategy{{Deployment: "api", Service: "api", BlueGreen: &promotion.BlueGreen{Keep: time.Hour}}}
	switch {
	case first.Steps != 4 || first.Digest == "":
		t.Errorf("got %+v, want four steps", first)
	case course(env, "two", "") != first || course(canary, "two", "") != first:
		t.Error("the same steps have two names")
	case course(env, "three", "") == first:
		t.Error("the steps to another release have the same name")
	case course(env, "one", "") != reconcile.Course{}:
		t.Error("what changes nothing takes steps")
	}
}

// stepping is a job in the middle of a release.
func stepping(t *testing.T, cluster Cluster, env promotion.Environment, step int, edit func(*reconcile.Attempt)) *job {
	t.Helper()
	bundles := bundled{sets: map[reconcile.Digest]manifest.Set{"one": serving(t, "one"), "two": serving(t, "two")}}
	p, err := planOf(colours(), bundles.sets["one"], bundles.sets["two"], "")
	if err != nil {
		t.Fatal(err)
	}
	course, err := courseOf(p)
	if err != nil {
		t.Fatal(err)
	}
	j := reconcile.Journal{LastGood: reconcile.Release{Digest: "one"}, Attempt: reconcile.Attempt{Release: reconcile.Release{Digest: "two"},
		Stage: reconcile.StageApplying, Step: step, Course: course, Replicas: "api=5"}}
	if edit != nil {
		edit(&j.Attempt)
	}
	c := New(Ports{Store: bundles, Cluster: cluster}, Config{})
	return &job{c: c, file: env, action: reconcile.Action{Kind: reconcile.ActionApply, Environment: staging, Release: j.Attempt.Release},
		world: reconcile.World{Environments: []reconcile.Environment{{ID: staging, Journal: j}}}}
}

// bundled is a store of bundles.
type bundled struct {
	*memory
	sets map[reconcile.Digest]manifest.Set
}

func (b bundled) Bundle(_ context.Context, _ promotion.ID, digest reconcile.Digest) (manifest.Set, error) {
	return b.sets[digest], nil
}

// stepped notes what it was given.
type stepped struct {
	actor
	set     manifest.Set
	ahead   []manifest.Set
	against Against
	apply   error
}

func (s *stepped) Apply(_ context.Context, _ promotion.Environment, set manifest.Set, ahead ...manifest.Set) error {
	s.set, s.ahead = set, ahead
	return s.apply
}

func (s *stepped) Verify(_ context.Context, _ promotion.Environment, set manifest.Set, against Against) (Verdict, error) {
	s.set, s.against = set, against
	return Verdict{Outcome: reconcile.OutcomeFailed, Evidence: "it answered 500"}, nil
}

func copyIn(set manifest.Set) (replicas int64, found bool) {
	o, found := set.Get(manifest.ID{Group: "apps", Kind: "Deployment", Namespace: "demo", Name: "api-next"})
	if !found {
		return 0, false
	}
	spec, _ := o.Object["spec"].(map[string]any)
	replicas, _ = spec["replicas"].(int64)
	return replicas, true
}

// Each step is applied as the journal says, with as many pods as were counted,
// and all that come after the first are tried before it.
func TestStepsAreApplied(t *testing.T) {
	t.Parallel()
	for step, want := range map[int]struct {
		ahead  int
		copies bool
	}{1: {3, true}, 2: {0, true}, 3: {0, true}, 4: {0, false}} {
		cluster := &stepped{}
		end := stepping(t, cluster, colours(), step, nil).apply(t.Context())
		replicas, copies := copyIn(cluster.set)
		if end.result.Outcome != reconcile.OutcomeDone || len(cluster.ahead) != want.ahead || copies != want.copies || copies && replicas != 5 {
			t.Errorf("step %d: %+v; %d sets are tried before, a copy of %d pods: %v", step, end, len(cluster.ahead), replicas, copies)
		}
	}
	refused := &stepped{apply: &Refusal{Reason: promotion.ApplyRejected, Err: errors.New("no")}}
	if end := stepping(t, refused, colours(), 2, nil).apply(t.Context()); end.result.Outcome != reconcile.OutcomeRejected ||
		!strings.HasPrefix(end.note, "step 2 of 4: ") {
		t.Errorf("refused: %+v", end)
	}
}

// What is not the step that was decided on is not applied: another file, another
// last good, or nobody knows how many pods there are.
func TestOtherStepsAreNotApplied(t *testing.T) {
	t.Parallel()
	other := colours()
	other.Strategies[0].BlueGreen, other.Strategies[0].Canary = nil, &promotion.Canary{Steps: []promotion.CanaryStep{{Weight: 10}}}
	for name, test := range map[string]struct {
		env  promotion.Environment
		edit func(*reconcile.Attempt)
	}{
		"another file":       {other, nil},
		"other steps":        {colours(), func(a *reconcile.Attempt) { a.Course.Digest = "sha256:other" }},
		"a step too far":     {colours(), func(a *reconcile.Attempt) { a.Step = 5 }},
		"pods not counted":   {colours(), func(a *reconcile.Attempt) { a.Replicas = "" }},
		"nothing to be done": {promotion.Environment{ID: staging, Target: promotion.Target{Namespace: "demo"}}, nil},
	} {
		cluster := &stepped{}
		end := stepping(t, cluster, test.env, 1, test.edit).apply(t.Context())
		if end.result.Outcome != reconcile.OutcomeRetry || cluster.set.Len() > 0 {
			t.Errorf("%s: %+v, %d objects applied", name, end.result, cluster.set.Len())
		}
	}
}

// A step is verified by what it is, for the time that is left of it after a
// restart, and a failure tells which it was.
func TestStepsAreVerified(t *testing.T) {
	t.Parallel()
	cluster := &stepped{}
	now := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	j := stepping(t, cluster, colours(), 2, func(a *reconcile.Attempt) {
		a.Stage, a.Reached = reconcile.StageVerifying, now.Add(-45*time.Second)
	})
	j.c.Now = func() time.Time { return now }
	end := j.verify(t.Context())
	step := cluster.against.Step
	switch {
	case step == nil || step.For != 15*time.Second || step.Last:
		t.Fatalf("verified %+v, want 15 s that are left", step)
	case step.Moves[0].Kind != strategy.KindSwitch || len(step.Traffic) != 1 || !step.Traffic[0].All:
		t.Errorf("verified %+v, want the switch", step)
	}
	if !strings.HasPrefix(end.note, "step 2 of 4: ") || !strings.HasSuffix(end.note, ": it answered 500") {
		t.Errorf("says %q", end.note)
	}
	j.file.Strategies = nil
	if end := j.verify(t.Context()); end.result.Outcome != reconcile.OutcomeError {
		t.Errorf("other steps by now: %+v, want that nobody can tell", end.result)
	}
}

// Where nobody knows what ran last, a release does not skip its steps in silence;
// without strategies there are none to skip.
func TestStepsFromNowhere(t *testing.T) {
	t.Parallel()
	for _, strategies := range []int{1, 0} {
		env := colours()
		env.Strategies = env.Strategies[:strategies]
		v := &evaluation{c: New(Ports{Source: nowhere{}, Store: lost{}}, Config{}), file: env, lastGood: reconcile.Release{Revision: "aaaa", Digest: "sha256:gone"}}
		candidate := reconcile.Candidate{Release: reconcile.Release{Digest: "sha256:two"}}
		err := v.staged(t.Context(), serving(t, "two"), &candidate)
		if impossible := candidate.Fault == promotion.StrategyImpossible; impossible != (strategies > 0) || impossible != (err != nil) {
			t.Errorf("%d strategies: fault %q, %v", strategies, candidate.Fault, err)
		}
	}
}

// lost is a store that lost all bundles.
type lost struct{ *memory }

func (lost) Bundle(context.Context, promotion.ID, reconcile.Digest) (manifest.Set, error) {
	return manifest.Set{}, state.ErrNoBundle
}

// nowhere is a source without a commit.
type nowhere struct{ Source }

func (nowhere) Snapshot(source.Revision) (source.Snapshot, error) {
	return nil, errors.New("no such commit")
}

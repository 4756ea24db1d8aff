package controller

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"time"

	"chaperone.dev/chaperone/internal/manifest"
	"chaperone.dev/chaperone/internal/promotion"
	"chaperone.dev/chaperone/internal/reconcile"
	"chaperone.dev/chaperone/internal/state"
	"chaperone.dev/chaperone/internal/strategy"
)

// planOf is how the strategies of a file bring a release.
func planOf(file promotion.Environment, before, after manifest.Set, replicas reconcile.Replicas) (strategy.Plan, error) {
	return strategy.Steps(strategy.Release{Before: before, After: after, Namespace: file.Target.Namespace,
		Strategies: file.Strategies, Replicas: replicas.Counts()})
}

// courseOf is the word for the steps to a release, whatever number of pods there
// is: over what they hold, so that neither another file nor another version of
// the daemon takes them for its own.
func courseOf(p strategy.Plan) (reconcile.Course, error) {
	if len(p.Steps) < 2 {
		return reconcile.Course{}, nil
	}
	h := sha256.New()
	for _, step := range p.Steps {
		digest, err := step.Set.Digest()
		if err != nil {
			return reconcile.Course{}, err
		}
		fmt.Fprintln(h, digest)
	}
	return reconcile.Course{Steps: len(p.Steps), Digest: reconcile.Digest("sha256:" + hex.EncodeToString(h.Sum(nil)))}, nil
}

// staged finds out by which steps the release would come. An error beside the
// fault says what of it cannot be done as its file asks.
func (v *evaluation) staged(ctx context.Context, set manifest.Set, c *reconcile.Candidate) error {
	if c.Release.Digest == v.lastGood.Digest {
		return nil
	}
	var before manifest.Set
	if v.lastGood.Digest != "" {
		var err error
		before, err = v.lastGoodSet(ctx)
		switch {
		case errors.Is(err, state.ErrNoBundle) && len(v.file.Strategies) > 0:
			c.Fault = promotion.StrategyImpossible
			return fmt.Errorf("%s: strategies: what %s was is not stored any more, so there is nothing to go from; take them out for this release", v.file.File, v.lastGood.Revision.Short())
		case err != nil && !errors.Is(err, state.ErrNoBundle):
			return fmt.Errorf("read last good: %w", err)
		}
	}
	p, err := planOf(v.file, before, set, "")
	if err != nil {
		c.Fault = promotion.StrategyImpossible
		return fmt.Errorf("%s: strategies: %w", v.file.File, err)
	}
	v.plan = p
	c.Course, err = courseOf(p)
	return err
}

// stepTexts are what people are told of the steps to a release.
type stepTexts []string

func textsOf(p strategy.Plan) stepTexts {
	var texts stepTexts
	for _, step := range p.Steps {
		texts = append(texts, step.Text)
	}
	return texts
}

// maxCourses bounds what is remembered of steps.
const maxCourses = 50

// way is what leads to a release.
type way struct {
	release reconcile.Digest
	course  reconcile.Course
}

// knowSteps remembers what is to be told of the way to a release.
func (e *environment) knowSteps(c reconcile.Candidate, p strategy.Plan) {
	if len(p.Steps) < 2 && (len(p.Steps) == 0 || !p.Steps[0].Flags) {
		return
	}
	if len(e.courses) >= maxCourses {
		clear(e.courses)
	}
	e.courses[way{c.Release.Digest, c.Course}] = textsOf(p)
}

// stepText says which step of an attempt is under way, and what it does; "" where
// there is but one, and nothing to be said of it.
func (e *environment) stepText(a reconcile.Attempt) string {
	texts := e.courses[way{a.Release.Digest, a.Course}]
	switch {
	case a.Step > 0:
		return ", " + stepName(a, texts)
	case len(texts) == 1:
		return ": " + texts[0]
	}
	return ""
}

func stepName(a reconcile.Attempt, texts stepTexts) string {
	name := fmt.Sprintf("step %d of %d", a.Step, a.Course.Steps)
	if a.Step <= len(texts) {
		name += ": " + texts[a.Step-1]
	}
	return name
}

// errOtherSteps passes once the release is decided on anew.
var errOtherSteps = errors.New("the steps to the release are others than those decided on; its environment's file may have changed")

// steps are those of the release under way, as they were begun.
func (j *job) steps(ctx context.Context, release manifest.Set) (strategy.Plan, error) {
	attempt := j.journal().Attempt
	before, err := j.c.bundle(ctx, j.file, j.journal().LastGood.Digest)
	if err != nil {
		return strategy.Plan{}, fmt.Errorf("read last good: %w", err)
	}
	uncounted, err := planOf(j.file, before, release, "")
	if err != nil {
		return strategy.Plan{}, fmt.Errorf("%w: %w", errOtherSteps, err)
	}
	course, err := courseOf(uncounted)
	if err != nil {
		return strategy.Plan{}, err
	}
	if course != attempt.Course || attempt.Step < 1 || attempt.Step > course.Steps {
		return strategy.Plan{}, errOtherSteps
	}
	return planOf(j.file, before, release, attempt.Replicas)
}

// count notes how many pods the release finds, once for all of its steps. Where
// that cannot be told, the apply finds out.
func (j *job) count(ctx context.Context) {
	attempt := &j.world.Environments[0].Journal.Attempt
	if attempt.Course.Steps < 2 || attempt.Replicas != "" {
		return
	}
	var names []string
	for _, s := range j.file.Strategies {
		names = append(names, s.Deployment)
	}
	counts, err := j.c.Cluster.Replicas(ctx, j.file, names)
	if err != nil {
		j.c.Log.Warn("count pods", "environment", j.action.Environment.String(), "revision", j.action.Release.Revision,
			"reason", promotion.ClusterUnavailable, "err", err)
		return
	}
	attempt.Replicas = reconcile.ReplicasOf(counts)
}

// applyStep applies the step that the release has come to. All that come after
// the first are tried before it: a refusal must not be met half-way.
func (j *job) applyStep(ctx context.Context, release manifest.Set) ended {
	attempt := j.journal().Attempt
	if attempt.Replicas == "" {
		return applyEnded(errors.New("how many pods there are could not be counted"))
	}
	p, err := j.steps(ctx, release)
	if err != nil {
		return applyEnded(err)
	}
	var ahead []manifest.Set
	if attempt.Step == 1 {
		for _, step := range p.Steps[1:] {
			ahead = append(ahead, step.Set)
		}
	}
	return j.inStep(p, applyEnded(j.c.Cluster.Apply(ctx, j.file, p.Steps[attempt.Step-1].Set, ahead...)))
}

// inStep tells in which step it was that something went wrong.
func (j *job) inStep(p strategy.Plan, end ended) ended {
	if end.note != "" && end.result.Outcome != reconcile.OutcomeDone {
		end.note = stepName(j.journal().Attempt, textsOf(p)) + ": " + end.note
	}
	return end
}

// stepToVerify is the step that was applied, with the time that is left of it.
func (j *job) stepToVerify(p strategy.Plan) *strategy.Step {
	attempt := j.journal().Attempt
	step := p.Steps[attempt.Step-1]
	if passed := j.c.Now().Sub(attempt.Reached); !attempt.Reached.IsZero() && passed > 0 {
		step.For = max(0, step.For-passed)
	}
	step.For = min(step.For, longestStep)
	return &step
}

// longestStep bounds one: no file says more.
const longestStep = 24 * time.Hour

package controller

import (
	"context"
	"errors"
	"fmt"

	"chaperone.dev/chaperone/internal/manifest"
	"chaperone.dev/chaperone/internal/policy"
	"chaperone.dev/chaperone/internal/reconcile"
	"chaperone.dev/chaperone/internal/source"
)

func (v *evaluation) judge(ctx context.Context, set manifest.Set, c *reconcile.Candidate, commit source.Commit,
	around surroundings) (reconcile.Verdict, error) {
	began := v.c.Now()
	in, err := v.input(set, c, commit, around)
	if err != nil {
		return reconcile.VerdictUnknown, err
	}
	report, err := v.c.Policies.Judge(ctx, in)
	v.c.Telemetry.Step("policy", v.c.Now().Sub(began))
	if ctx.Err() != nil {
		return reconcile.VerdictUnknown, ctx.Err()
	}
	if err != nil {
		return reconcile.VerdictError, err
	}
	v.c.Telemetry.Judged(v.action.Environment, report)
	v.judged, v.excepted = true, report.Excepted
	lasts(c, report)
	if reconcile.Digest(report.PolicyDigest) != v.policy {
		return reconcile.VerdictUnknown, errOtherPolicies
	}
	switch report.Verdict {
	case policy.VerdictAllow:
		v.allowed = allowed{}
		if report.ByContent {
			v.allowed = allowed{digest: c.Release.Digest, policy: v.policy, around: around.digest, until: c.Until, of: v.of}
		}
		return v.judgeSteps(ctx, c, commit, around)
	case policy.VerdictDeny:
		return reconcile.VerdictDeny, errors.New(denial(report))
	}
	return reconcile.VerdictError, errors.New(denial(report))
}

// lasts ends a verdict with the exception that it rests on.
func lasts(c *reconcile.Candidate, report policy.Report) {
	if until := report.Until; !until.IsZero() && until.Before(c.Until) {
		c.Until = until
	}
}

// input is what policies see of a set of objects on the way to a release.
func (v *evaluation) input(set manifest.Set, c *reconcile.Candidate, commit source.Commit, around surroundings) (policy.Input, error) {
	changed, err := v.changed()
	if err != nil {
		return policy.Input{}, err
	}
	signature, err := v.c.Source.Signature(commit.Revision)
	if err != nil {
		return policy.Input{}, err
	}
	in := policy.NewInput(v.file, set, policy.Release{
		Revision: commit.Revision, Digest: manifest.Digest(c.Release.Digest), Changed: changed,
		Author: policy.PersonOf(commit.Author), Committer: policy.PersonOf(commit.Committer),
		Signature: policy.SignatureOf(signature),
	}, around.upstream, v.c.Now(), v.c.Redactor)
	in.Pipeline, in.LastGood, in.Approval = around.pipeline, around.lastGood, v.approval
	in.Recorded, err = v.evidence()
	return in, err
}

// judgeSteps has each step judged that is not the release itself: what only a
// step brings runs as well, if not for long.
func (v *evaluation) judgeSteps(ctx context.Context, c *reconcile.Candidate, commit source.Commit, around surroundings) (reconcile.Verdict, error) {
	for i, step := range v.plan.Steps {
		if step.Last {
			break
		}
		in, err := v.input(step.Set, c, commit, around)
		if err != nil {
			return reconcile.VerdictUnknown, err
		}
		report, err := v.c.Policies.Judge(ctx, in)
		if ctx.Err() != nil {
			return reconcile.VerdictUnknown, ctx.Err()
		}
		if err != nil {
			return reconcile.VerdictError, err
		}
		lasts(c, report)
		if reconcile.Digest(report.PolicyDigest) != v.policy {
			return reconcile.VerdictUnknown, errOtherPolicies
		}
		verdict := reconcile.VerdictError
		switch report.Verdict {
		case policy.VerdictAllow:
			continue
		case policy.VerdictDeny:
			verdict = reconcile.VerdictDeny
		}
		return verdict, fmt.Errorf("step %d of %d (%s): %s", i+1, len(v.plan.Steps), step.Text, denial(report))
	}
	return reconcile.VerdictAllow, nil
}

// errOtherPolicies: the bundle was exchanged in between; they are asked again
// rather than the two mixed.
var errOtherPolicies = errors.New("policies changed during the evaluation")

func (v *evaluation) changed() ([]string, error) {
	if v.running == "" {
		return nil, nil
	}
	paths, err := v.c.Source.Changed(v.running, v.action.Release.Revision)
	if errors.Is(err, source.ErrUnknownRevision) {
		return nil, nil // what runs is of a history that is gone
	}
	return paths, err
}

// denial names the first stopping finding and counts the rest.
func denial(report policy.Report) string {
	stopping := report.Stopping()
	switch {
	case len(report.Errors) > 0:
		return report.Errors[0].Error()
	case len(stopping) == 0:
		return "the policies gave no verdict"
	}
	first := stopping[0]
	text := first.Rule + ": "
	if first.Object != nil {
		text += first.Object.String() + ": "
	}
	if first.Path != "" {
		text += first.Path + ": "
	}
	text += first.Message
	if others := len(stopping) - 1; others > 0 {
		text += fmt.Sprintf(" (and %d more)", others)
	}
	return text
}

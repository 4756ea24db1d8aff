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
	changed, err := v.changed()
	if err != nil {
		return reconcile.VerdictUnknown, err
	}
	signature, err := v.c.Source.Signature(commit.Revision)
	if err != nil {
		return reconcile.VerdictUnknown, err
	}
	in := policy.NewInput(v.file, set, policy.Release{
		Revision: commit.Revision, Digest: manifest.Digest(c.Release.Digest), Changed: changed,
		Author: policy.PersonOf(commit.Author), Committer: policy.PersonOf(commit.Committer),
		Signature: policy.SignatureOf(signature),
	}, around.upstream, v.c.Now(), v.c.Redactor)
	in.Pipeline, in.LastGood, in.Approval = around.pipeline, around.lastGood, v.approval
	if in.Recorded, err = v.evidence(); err != nil {
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
	if until := report.Until; !until.IsZero() && until.Before(c.Until) {
		c.Until = until // an exception ends, and what it let pass with it
	}
	if reconcile.Digest(report.PolicyDigest) != v.policy {
		// The bundle was exchanged in between; ask again rather than mix the two.
		return reconcile.VerdictUnknown, errors.New("policies changed during the evaluation")
	}
	switch report.Verdict {
	case policy.VerdictAllow:
		v.allowed = allowed{}
		if report.ByContent {
			v.allowed = allowed{digest: c.Release.Digest, policy: v.policy, around: around.digest, until: c.Until, of: v.of}
		}
		return reconcile.VerdictAllow, nil
	case policy.VerdictDeny:
		return reconcile.VerdictDeny, errors.New(denial(report))
	}
	return reconcile.VerdictError, errors.New(denial(report))
}

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

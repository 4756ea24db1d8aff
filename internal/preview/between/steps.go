package between

import (
	"context"
	"fmt"

	"chaperone.dev/chaperone/internal/manifest"
	"chaperone.dev/chaperone/internal/policy"
	"chaperone.dev/chaperone/internal/preview"
	"chaperone.dev/chaperone/internal/promotion"
	"chaperone.dev/chaperone/internal/strategy"
)

// come finds out in which steps an environment would get the change.
func (q *question) come(env *preview.Environment, p pair) strategy.Plan {
	if p.from.digest == p.to.digest {
		return strategy.Plan{}
	}
	plan, err := strategy.Steps(strategy.Release{Before: p.from.set, After: p.to.set, Namespace: p.now.Target.Namespace, Strategies: p.now.Strategies})
	if err != nil {
		if env.Fault == nil {
			env.Fault = &preview.Fault{Reason: promotion.StrategyImpossible, Text: p.now.File + ": strategies: " + err.Error()}
		}
		return strategy.Plan{}
	}
	env.Come(plan)
	return plan
}

// judgeSteps is the first report on a step that policies do not allow, or that on
// the release itself, which they do.
func (q *question) judgeSteps(ctx context.Context, p pair, plan strategy.Plan, release policy.Report) (policy.Report, error) {
	for i, step := range plan.Steps {
		if release.Verdict != policy.VerdictAllow || step.Last {
			break
		}
		at := p.to
		at.set = step.Set
		report, err := p.to.tree.judge(ctx, at)
		if err != nil {
			return report, err
		}
		if report.Verdict == policy.VerdictAllow {
			continue
		}
		for k := range report.Findings {
			report.Findings[k].Message = fmt.Sprintf("in step %d of %d: %s", i+1, len(plan.Steps), report.Findings[k].Message)
		}
		report.Digest = manifest.Digest(p.to.digest)
		return report, nil
	}
	return release, nil
}

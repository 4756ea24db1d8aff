package between

import (
	"context"

	"chaperone.dev/chaperone/internal/manifest"
	"chaperone.dev/chaperone/internal/policy"
	"chaperone.dev/chaperone/internal/preview"
	"chaperone.dev/chaperone/internal/promotion"
	"chaperone.dev/chaperone/internal/strategy"
)

// built is an environment as it would run.
type built struct {
	tree   *tree
	env    promotion.Environment
	set    manifest.Set
	digest manifest.Digest
}

// runs is what an environment runs by its file on one side: nothing while it
// waits for its first promotion.
func (q *question) runs(ctx context.Context, side *tree, env promotion.Environment) (built, *preview.Fault, error) {
	if !env.Pinned() {
		return q.build(ctx, side, env)
	}
	if env.Revision == "" {
		return built{}, nil, nil
	}
	at, problem, err := q.pinnedTree(ctx, side, env)
	if problem != nil || err != nil {
		return built{}, problem, err
	}
	return q.build(ctx, at, env)
}

// compare looks at what runs after the merge, and where that does not change, at
// what a promotion would bring.
func (q *question) compare(ctx context.Context, env preview.Environment, was, now promotion.Environment, before bool) (preview.Environment, bool, error) {
	from, to := built{}, built{}
	var problem, earlier *preview.Fault
	var err error
	if before {
		if from, earlier, err = q.runs(ctx, q.base, was); err != nil {
			return env, false, err
		}
	}
	if to, problem, err = q.runs(ctx, q.head, now); err != nil {
		return env, false, err
	}
	env.Effect = effect(now, was, before)
	if now.Pinned() && problem == nil && earlier == nil && from.digest == to.digest {
		return q.later(ctx, env, was, now, before)
	}
	return q.told(ctx, env, pair{from, to, earlier, problem, now})
}

func effect(now, was promotion.Environment, before bool) preview.Effect {
	switch {
	case !before:
		return preview.Added
	case now.Revision != was.Revision && now.Revision != "":
		return preview.Promoted
	}
	return preview.Changed
}

// later compares what a pinned environment would get of the change when it is
// promoted to it.
func (q *question) later(ctx context.Context, env preview.Environment, was, now promotion.Environment, before bool) (preview.Environment, bool, error) {
	p := pair{now: now}
	var err error
	if env.Effect != preview.Promoted { // one that moves to the same is told as that
		env.Effect = preview.Later
	}
	if before {
		if p.from, p.earlier, err = q.build(ctx, q.base, was); err != nil {
			return env, false, err
		}
	}
	if p.to, p.problem, err = q.build(ctx, q.head, now); err != nil {
		return env, false, err
	}
	return q.told(ctx, env, p)
}

// pair are the two releases that are compared, and why either cannot be built.
type pair struct {
	from, to         built
	earlier, problem *preview.Fault
	now              promotion.Environment
}

// told is the whole answer on an environment.
func (q *question) told(ctx context.Context, env preview.Environment, p pair) (preview.Environment, bool, error) {
	env.From, env.To = p.from.digest, p.to.digest
	if p.problem != nil {
		p.problem.Stands = p.earlier != nil && p.earlier.Text == p.problem.Text
		env.Fault = p.problem
		return env, !p.problem.Stands || len(env.Settings) > 0, nil
	}
	same := p.from.digest == p.to.digest
	if same && len(env.Settings) == 0 && env.Effect != preview.Promoted {
		return env, false, nil
	}
	if same && env.Effect != preview.Promoted {
		env.Effect = preview.Settled
	}
	if p.to.tree == nil {
		return env, true, nil // it waits for its first promotion, and has nothing to promote
	}
	if p.earlier != nil {
		env.Evidence = append(env.Evidence, "compared with nothing, as it does not build without the change: "+p.earlier.Text)
	}
	difference, refusal := preview.Compare(p.now, p.from.set, p.to.set, q.Redact)
	if env.Difference = difference; refusal != nil {
		env.Fault = &preview.Fault{Reason: refusal.Reason, Text: refusal.Error()}
	}
	if err := q.judged(ctx, &env, p, q.come(&env, p)); err != nil {
		return env, false, err
	}
	override, _ := q.head.Commit.Override()
	if env.Effect != preview.Promoted {
		override = ""
	}
	env.Gates = preview.Question{Environment: p.now, Effect: env.Effect, Irreversible: len(env.Irreversible) > 0,
		Override: override, Now: q.Now}.Gates()
	return env, true, nil
}

func (q *question) judged(ctx context.Context, env *preview.Environment, p pair, plan strategy.Plan) error {
	after, err := p.to.tree.judge(ctx, p.to)
	if err == nil {
		after, err = q.judgeSteps(ctx, p, plan, after)
	}
	if err != nil {
		return err
	}
	before := policy.Report{}
	if p.from.tree != nil {
		if before, err = p.from.tree.judge(ctx, p.from); err != nil {
			return err
		}
	}
	env.Judgement = preview.Judge(before, after)
	if err := p.to.tree.located(ctx, p.to, env.New); err != nil {
		return err
	}
	return p.to.tree.located(ctx, p.to, env.Standing)
}

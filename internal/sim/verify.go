package sim

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"chaperone.dev/chaperone/internal/controller"
	"chaperone.dev/chaperone/internal/fault"
	"chaperone.dev/chaperone/internal/manifest"
	"chaperone.dev/chaperone/internal/promotion"
	"chaperone.dev/chaperone/internal/reconcile"
)

// Verify implements controller.Cluster: objects become ready, stay so for the
// time of settle, and then answer.
func (p clusterPort) Verify(ctx context.Context, env promotion.Environment, set manifest.Set, against controller.Against) (controller.Verdict, error) {
	made := knownSet(set)
	var ready time.Duration
	err := p.call(ctx, "Cluster.Verify", env.ID.String(), speedCluster, func() error {
		p.s.clusters.counts[effectKey{env.ID, reconcile.ActionVerify}]++
		if ready = p.s.clusters.slow[env.ID]; ready == 0 {
			ready = 3 * time.Second
		}
		return p.reach(env)
	})
	if err != nil {
		return controller.Verdict{}, err
	}
	hanging, hangs := made.has(markHangs, env.ID.Name)
	wait := ready + env.Verify.Settle
	if hangs || ready > env.Verify.Timeout {
		wait = env.Verify.Timeout
	}
	if against.Step != nil {
		wait += against.Step.For
	}
	if err := p.travel(ctx, wait); err != nil {
		return controller.Verdict{}, err
	}
	var verdict controller.Verdict
	err = p.call(ctx, "Cluster.Checks", env.ID.String(), speedCluster, func() error {
		if err := p.reach(env); err != nil {
			return err
		}
		switch {
		case hangs:
			verdict = controller.Verdict{Outcome: reconcile.OutcomeFailed, Evidence: fmt.Sprintf("%s: not ready within %s", hanging, env.Verify.Timeout)}
		case ready > env.Verify.Timeout:
			verdict = controller.Verdict{Outcome: reconcile.OutcomeFailed, Evidence: fmt.Sprintf("not ready within %s", env.Verify.Timeout)}
		default:
			var err error
			if verdict, err = p.checks(env, made, against); err != nil {
				return err
			}
		}
		p.s.note(p.life, "verdict", env.ID.String(), string(verdict.Outcome))
		if against.Watching && !verdict.Tied {
			return nil // it passed, and that stands
		}
		t := p.s.truth(env.ID)
		release := t.passes(p.s, verdict.Outcome, made, against.Step)
		if verdict.Outcome == reconcile.OutcomeFailed && len(made.bad(env.ID.Name)) == 0 {
			t.unjustly, t.wronged[release] = p.s.pace.elapsed(), true
		}
		return nil
	})
	if err != nil {
		return controller.Verdict{}, err
	}
	return verdict, nil
}

// controlled reports whether an environment's checks have a control.
func controlled(env promotion.Environment) bool {
	return slices.ContainsFunc(env.Verify.HTTP, func(c promotion.HTTPCheck) bool { return c.Control != nil })
}

// checks ask what runs. The world is locked.
func (p clusterPort) checks(env promotion.Environment, made *rendered, against controller.Against) (controller.Verdict, error) {
	failed := func(format string, args ...any) (controller.Verdict, error) {
		return controller.Verdict{Outcome: reconcile.OutcomeFailed, Evidence: fmt.Sprintf(format, args...)}, nil
	}
	if p.s.clusters.asked[env.ID] == markErrs {
		return controller.Verdict{}, fault.Retryable("verify", env.ID.String(), errors.New("no such host"))
	}
	if p.s.clusters.asked[env.ID] == markNoData {
		return controller.Verdict{Outcome: reconcile.OutcomeNoData, Evidence: "no request was seen"}, nil
	}
	if at, found := made.has(markErrs, env.ID.Name); found {
		return controller.Verdict{}, fault.Retryable("verify", at.String(), errors.New("no such host"))
	}
	if at, found := made.has(markNoData, env.ID.Name); found {
		return controller.Verdict{Outcome: reconcile.OutcomeNoData, Evidence: at.String() + " was not asked for anything"}, nil
	}
	if p.s.clusters.outage[env.ID] && controlled(env) { // what no release changes is down as well
		return controller.Verdict{Outcome: reconcile.OutcomeError, Evidence: "something else is wrong, which was not changed: http answered 503"}, nil
	}
	if p.s.clusters.outage[env.ID] {
		return failed("http answered 503 in 10 of 10 requests (limit 0%%)")
	}
	objects := p.s.clusters.on(env.Target.Kubeconfig)
	for _, o := range made.set.Objects() {
		if manifest.StageOf(o) == manifest.StageRollback || isHook(o) {
			continue
		}
		if object, found := objects[manifest.IDOf(o)]; !found || object.leaving {
			if !p.s.truth(env.ID).tampered && !p.s.doubled {
				p.s.violated(p.life, "%s: verified a release that is not wholly applied: %s is missing", env.ID, manifest.IDOf(o))
			}
			return failed("%s: not there", manifest.IDOf(o))
		}
	}
	if at, found := made.has(markFails, env.ID.Name); found {
		return failed("%s: http answered 500 in 10 of 10 requests (limit 0%%)", at)
	}
	if at, found := loaded(env, made, against.Step); found {
		return failed("%s: http answered 500 in 10 of 10 requests (limit 0%%)", at)
	}
	if at, found := made.has(markLate, env.ID.Name); found && against.Watching {
		return controller.Verdict{Outcome: reconcile.OutcomeFailed, Evidence: at.String() + ": http answered 500 in 10 of 10 requests", Tied: controlled(env)}, nil
	}
	return controller.Verdict{Outcome: reconcile.OutcomeDone, Evidence: "10 of 10 requests answered 200"}, nil
}

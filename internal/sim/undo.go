package sim

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"chaperone.dev/chaperone/internal/controller"
	"chaperone.dev/chaperone/internal/fault"
	"chaperone.dev/chaperone/internal/manifest"
	"chaperone.dev/chaperone/internal/plan"
	"chaperone.dev/chaperone/internal/promotion"
	"chaperone.dev/chaperone/internal/reconcile"
)

// Undo implements controller.Cluster.
func (p clusterPort) Undo(ctx context.Context, env promotion.Environment, r controller.Rollback) error {
	failed, good := knownSet(r.Failed), knownSet(r.Good)
	var begun, hooks []*manifest.Object
	err := p.call(ctx, "Cluster.Undo", env.ID.String(), speedCluster, func() error {
		p.s.checkUndo(p.life, env, failed, good)
		if err := p.reach(env); err != nil {
			return err
		}
		p.s.clusters.counts[effectKey{env.ID, reconcile.ActionUndo}]++
		begun = p.begun(env, failed, good)
		hooks = plan.Rollbacks(failed.set, begun)
		return nil
	})
	if err != nil || len(begun) == 0 {
		return err
	}
	for _, hook := range hooks {
		err := p.call(ctx, "Cluster.Hook", env.ID.String(), speedCluster, func() error { return p.rollBack(env, failed, hook, r) })
		if err != nil {
			return err
		}
	}
	return p.call(ctx, "Cluster.Write", env.ID.String(), speedCluster, func() error { return p.forget(env, good, begun) })
}

// begun are the migrations that ran since last good and can be undone.
func (p clusterPort) begun(env promotion.Environment, failed, good *rendered) []*manifest.Object {
	objects := p.s.clusters.on(env.Target.Kubeconfig)
	return slices.DeleteFunc(plan.Changed(good.set, failed.set), func(o *manifest.Object) bool {
		at := manifest.IDOf(o)
		object, found := objects[at]
		return !found || object.text != failed.texts[at] || object.ran == 0 || !plan.Undone(failed.set, o)
	})
}

// rollBack runs one hook, whose begin is written down with it.
func (p clusterPort) rollBack(env promotion.Environment, made *rendered, hook *manifest.Object, r controller.Rollback) error {
	if err := p.reach(env); err != nil {
		return err
	}
	at := manifest.IDOf(hook)
	known := p.s.clusters.undoing[at]
	mine := known.Attempt == r.Attempt && known.Applied == made.texts[at]
	switch {
	case mine && known.State == plan.RollbackDone:
		return nil
	case mine && known.State == plan.RollbackFailed && known.Round == r.Round:
		return rollbackFailed(at)
	}
	objects := p.s.clusters.on(env.Target.Kubeconfig)
	if objects[at] == nil {
		objects[at] = &live{}
	}
	p.s.touched(&env.ID)
	objects[at].owner, objects[at].text = env.ID, made.texts[at]
	objects[at].ran++
	p.s.clusters.ran[hookKey{env.ID, at.Name}]++
	p.s.truth(env.ID).rolls(p.s, p.life, env.ID, at, r)
	mark := plan.RollbackMark{State: plan.RollbackDone, Attempt: r.Attempt, Round: r.Round, Applied: made.texts[at]}
	failing, fails := made.has(markHookFails, env.ID.Name)
	if fails = fails && failing == at && r.Round == 0; fails { // a person has put it right by the second round
		mark.State = plan.RollbackFailed
	}
	p.s.clusters.undoing[at] = mark
	p.s.clusters.tell(env.ID)
	if fails {
		return rollbackFailed(at)
	}
	return nil
}

func rollbackFailed(at manifest.ID) error {
	return fault.Terminal("hook", at.String(), errors.New("the job ended with an error"))
}

// forget makes what was undone count as not run.
func (p clusterPort) forget(env promotion.Environment, good *rendered, begun []*manifest.Object) error {
	if err := p.reach(env); err != nil {
		return err
	}
	objects := p.s.clusters.on(env.Target.Kubeconfig)
	for _, hook := range begun {
		at := manifest.IDOf(hook)
		if before, found := good.texts[at]; found && objects[at] != nil {
			objects[at].text = before
		} else {
			delete(objects, at)
		}
		delete(p.s.truth(env.ID).migrated, at)
	}
	return nil
}

// migration is what was done to the data of an environment since last good.
type migration struct {
	text    string
	undoing bool // its release has a rollback hook for it
}

// migrates notes that a migration has begun.
func (t *truth) migrates(at manifest.ID, made *rendered) {
	hook, found := made.set.Get(at)
	if !found || manifest.StageOf(hook) != manifest.StagePreDeploy {
		return
	}
	t.migrated[at] = migration{made.texts[at], plan.Undone(made.set, hook)}
}

// rolled is one run of a rollback hook.
type rolled struct {
	hook    manifest.ID
	attempt string
	round   int
}

// rolls notes a run of a rollback hook: there is one for each attempt and round,
// and none where nothing was done.
func (t *truth) rolls(s *Sim, l *life, env promotion.ID, at manifest.ID, r controller.Rollback) {
	run := rolled{at, r.Attempt, r.Round}
	if t.rolled[run] {
		s.violated(l, "9: %s: %s ran twice for one attempt", env, at)
	}
	t.rolled[run] = true
	if len(t.migrated) == 0 {
		s.violated(l, "%s: %s ran, and no migration had", env, at)
	}
}

// checkUndo looks at rollback hooks that are about to run.
func (s *Sim) checkUndo(l *life, env promotion.Environment, failed, good *rendered) {
	j, _ := s.store.journal(env.ID)
	s.intended(l, env.ID, j, reconcile.StageUndoing)
	if s.doubled {
		return
	}
	if j.Undo.Release.Digest != reconcile.Digest(failed.digest) || j.LastGood.Digest != reconcile.Digest(good.digest) {
		s.violated(l, "%s: rolled back by the hooks of something other than what failed", env.ID)
	}
	if j.Hold.Reason == promotion.RollbackFailed {
		s.violated(l, "%s: rolled back again, and nobody asked", env.ID)
	}
}

// checkData: last good is not put over what was done to the data since, where
// that can be undone.
func (s *Sim) checkData(l *life, env promotion.Environment, good *rendered) {
	for at, m := range s.truth(env.ID).migrated {
		if m.undoing && good.texts[at] != m.text && !s.doubled {
			s.violated(l, "%s: last good was put over %s, which nobody had undone", env.ID, fmt.Sprint(at))
		}
	}
}

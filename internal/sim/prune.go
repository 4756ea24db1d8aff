package sim

import (
	"context"
	"errors"
	"slices"

	"chaperone.dev/chaperone/internal/fault"
	"chaperone.dev/chaperone/internal/manifest"
	"chaperone.dev/chaperone/internal/promotion"
	"chaperone.dev/chaperone/internal/reconcile"
)

// Surplus implements controller.Cluster.
func (p clusterPort) Surplus(ctx context.Context, env promotion.Environment, set manifest.Set) (surplus bool, err error) {
	made := knownSet(set)
	err = p.call(ctx, "Cluster.Surplus", env.ID.String(), speedCluster, func() error {
		if err := p.reach(env); err != nil {
			return err
		}
		surplus = p.surplus(env, made)
		return nil
	})
	return surplus, err
}

// surplus reports whether an environment has anything that a set does not hold.
func (p clusterPort) surplus(env promotion.Environment, made *rendered) bool {
	for at, object := range p.s.clusters.on(env.Target.Kubeconfig) {
		_, held := made.texts[at]
		if object.owner == env.ID && !held || slices.Contains(env.Formerly, object.owner) {
			return true
		}
	}
	return false
}

// Prune implements controller.Cluster.
func (p clusterPort) Prune(ctx context.Context, env promotion.Environment, set manifest.Set) error {
	made := knownSet(set)
	err := p.call(ctx, "Cluster.Prune", env.ID.String(), speedCluster, func() error {
		p.s.checkEffect(p.life, reconcile.ActionPrune, env, made)
		p.s.clusters.counts[effectKey{env.ID, reconcile.ActionPrune}]++
		if err := p.reach(env); err != nil {
			return err
		}
		return p.guard(env, made)
	})
	if err != nil {
		return err
	}
	pending, err := p.delete(ctx, env, made)
	if err == nil && pending {
		return fault.Retryable("prune", env.ID.String(), errors.New("still there; a finalizer may hold it"))
	}
	return err
}

// delete takes away what a set does not hold; pending says that not all of it
// has gone.
func (p clusterPort) delete(ctx context.Context, env promotion.Environment, made *rendered) (pending bool, err error) {
	p.s.mu.Lock()
	doomed, _ := p.doomed(env, made)
	p.s.mu.Unlock()
	for _, at := range doomed {
		err := p.call(ctx, "Cluster.Delete", env.ID.String(), speedCluster, func() error {
			if err := p.reach(env); err != nil {
				return err
			}
			objects := p.s.clusters.on(env.Target.Kubeconfig)
			object, found := objects[at]
			switch {
			case !found:
				return nil
			case object.stays:
				object.leaving, pending = true, true
				return nil
			}
			p.s.touched(&env.ID)
			delete(objects, at)
			p.s.servedStill(p.life, env)
			p.s.clusters.tell(env.ID)
			return nil
		})
		if err != nil {
			return pending, err
		}
	}
	return pending, nil
}

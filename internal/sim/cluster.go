package sim

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"chaperone.dev/chaperone/internal/controller"
	"chaperone.dev/chaperone/internal/fault"
	"chaperone.dev/chaperone/internal/manifest"
	"chaperone.dev/chaperone/internal/plan"
	"chaperone.dev/chaperone/internal/promotion"
	"chaperone.dev/chaperone/internal/reconcile"
	"chaperone.dev/chaperone/internal/source"
)

// live is one object on a cluster.
type live struct {
	owner   promotion.ID
	text    string // as the daemon applied it
	byHand  string // what somebody made of it; "" is nothing
	rival   bool   // somebody changes it back whenever it is written
	ran     int    // how often a hook ran
	stays   bool   // a finalizer keeps it
	leaving bool
}

// clusters are all clusters, by the name of their kubeconfig.
type clusters struct {
	objects  map[string]map[manifest.ID]*live
	down     map[string]bool           // API servers, by kubeconfig
	outage   map[promotion.ID]bool     // everything fails its checks there
	asked    map[promotion.ID]mark     // what checks come to there: markErrs or markNoData
	slow     map[promotion.ID]duration // how long objects take to be ready there
	refused  map[promotion.ID]string   // a value that an admission rule refuses there
	watchers map[promotion.ID]map[chan struct{}]bool
	undoing  map[manifest.ID]plan.RollbackMark // what inventories say of rollback hooks
	ran      map[hookKey]int                   // how often, also of those that are gone
	counts   map[effectKey]int
}

type duration = time.Duration

// effectKey is what scenarios count.
type effectKey struct {
	environment promotion.ID
	kind        reconcile.ActionKind
}

// hookKey is a hook in one environment.
type hookKey struct {
	environment promotion.ID
	name        string
}

// announced is counted like an effect: people were told something.
const announced reconcile.ActionKind = "event"

// countPush counts a push of the daemon for the environment that it names.
func (c *clusters) countPush(branch string, pushed *commit) {
	kind := reconcile.ActionPropose
	if branch == mainBranch {
		kind = reconcile.ActionRevert
	}
	for _, name := range pushed.Trailer(source.TrailerEnvironment) {
		if env, err := promotion.ParseID(name); err == nil {
			c.counts[effectKey{env, kind}]++
		}
	}
}

func newClusters() *clusters {
	return &clusters{
		objects: map[string]map[manifest.ID]*live{}, down: map[string]bool{}, outage: map[promotion.ID]bool{},
		asked: map[promotion.ID]mark{}, slow: map[promotion.ID]duration{}, refused: map[promotion.ID]string{},
		watchers: map[promotion.ID]map[chan struct{}]bool{}, counts: map[effectKey]int{},
		undoing: map[manifest.ID]plan.RollbackMark{}, ran: map[hookKey]int{},
	}
}

func (c *clusters) on(kubeconfig string) map[manifest.ID]*live {
	if c.objects[kubeconfig] == nil {
		c.objects[kubeconfig] = map[manifest.ID]*live{}
	}
	return c.objects[kubeconfig]
}

// tell wakes those who watch an environment's objects.
func (c *clusters) tell(environment promotion.ID) {
	for changed := range c.watchers[environment] {
		select {
		case changed <- struct{}{}:
		default:
		}
	}
}

// clusterPort is every cluster as one life sees it.
type clusterPort struct{ *life }

func (p clusterPort) reach(env promotion.Environment) error {
	if p.s.clusters.down[env.Target.Kubeconfig] {
		return fault.Retryable("connect", "cluster "+env.Target.Kubeconfig, errors.New("connection refused"))
	}
	return nil
}

// Apply implements controller.Cluster.
func (p clusterPort) Apply(ctx context.Context, env promotion.Environment, set manifest.Set, ahead ...manifest.Set) error {
	made := knownSet(set)
	for _, next := range ahead {
		if err := p.foresee(ctx, env, knownSet(next)); err != nil {
			return err
		}
	}
	if err := p.try(ctx, "Cluster.Apply", env, made, false); err != nil {
		return err
	}
	return p.write(ctx, env, made, false)
}

// try is the dry run: what it refuses was not touched.
func (p clusterPort) try(ctx context.Context, op string, env promotion.Environment, made *rendered, restoring bool) error {
	return p.call(ctx, op, env.ID.String(), speedCluster, func() error {
		kind := reconcile.ActionApply
		if restoring {
			kind = reconcile.ActionRestore
		}
		p.s.checkEffect(p.life, kind, env, made)
		if err := p.reach(env); err != nil {
			return err
		}
		p.s.clusters.counts[effectKey{env.ID, kind}]++
		if at, found := made.has(markRejected, env.ID.Name); found {
			return refusal(promotion.ApplyRejected, fmt.Errorf("%s: dry run: refused", at))
		}
		if at, found := p.notAdmitted(env, made); found {
			return refusal(promotion.ApplyRejected, fmt.Errorf("%s: dry run: an admission rule refuses it", at))
		}
		objects := p.s.clusters.on(env.Target.Kubeconfig)
		for _, o := range made.set.Objects() {
			at, found := objects[manifest.IDOf(o)]
			if found && at.owner != env.ID && !slices.Contains(env.Formerly, at.owner) && at.owner != (promotion.ID{}) {
				return refusal(promotion.ConflictingOwner, fmt.Errorf("%s: belongs to %s", manifest.IDOf(o), at.owner))
			}
		}
		if restoring {
			return nil
		}
		return p.guard(env, made)
	})
}

// notAdmitted finds the first object to be written that an admission rule is
// against. What is there already stays.
func (p clusterPort) notAdmitted(env promotion.Environment, made *rendered) (manifest.ID, bool) {
	value, rule := p.s.clusters.refused[env.ID]
	for _, o := range made.set.Objects() {
		at := manifest.IDOf(o)
		now, found := p.s.clusters.on(env.Target.Kubeconfig)[at]
		if rule && (!found || now.text != made.texts[at]) && strings.Contains(made.texts[at], fmt.Sprintf(`"value":%q`, value)) {
			return at, true
		}
	}
	return manifest.ID{}, false
}

func refusal(reason promotion.Reason, err error) error {
	return &controller.Refusal{Reason: reason, Err: fault.Terminal("apply", "", err)}
}

// write applies one object after the other, so that whatever goes wrong leaves
// it half done.
func (p clusterPort) write(ctx context.Context, env promotion.Environment, made *rendered, restoring bool) error {
	for _, o := range made.set.Objects() {
		stage := manifest.StageOf(o)
		hook := stage == manifest.StagePreDeploy || stage == manifest.StagePostDeploy
		if stage == manifest.StageRollback || restoring && hook {
			continue
		}
		objectID := manifest.IDOf(o)
		text := made.texts[objectID]
		now, found := p.s.peek(env, objectID)
		if found && now.text == text && now.byHand == "" && now.owner == env.ID && !now.leaving {
			continue
		}
		err := p.call(ctx, "Cluster.Write", env.ID.String(), speedCluster, func() error { return p.writeOne(env, made, objectID, hook) })
		if err != nil {
			return err
		}
	}
	return nil
}

// peek is what the dry run before has seen of an object.
func (s *Sim) peek(env promotion.Environment, at manifest.ID) (live, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	object, found := s.clusters.on(env.Target.Kubeconfig)[at]
	if !found {
		return live{}, false
	}
	return *object, true
}

func (p clusterPort) writeOne(env promotion.Environment, made *rendered, at manifest.ID, hook bool) error {
	if err := p.reach(env); err != nil {
		return err
	}
	objects := p.s.clusters.on(env.Target.Kubeconfig)
	object, found := objects[at]
	switch {
	case found && object.leaving:
		return fault.Retryable("apply", at.String(), errors.New("is being deleted"))
	case !found:
		object = &live{}
		objects[at] = object
	}
	if stops, is := made.has(markStops, env.ID.Name); is && stops == at {
		return fault.Terminal("apply", at.String(), errors.New("forbidden"))
	}
	p.s.touched(&env.ID)
	// A hook that ran under a former name is not run again.
	took := found && object.text == made.texts[at] && slices.Contains(env.Formerly, object.owner)
	if found && object.owner != env.ID {
		p.s.truth(object.owner).heirs[env.ID] = true
	}
	object.owner, object.text, object.byHand = env.ID, made.texts[at], ""
	_, object.stays = made.has(markStays, env.ID.Name)
	if took {
		p.s.clusters.ran[hookKey{env.ID, at.Name}] = object.ran
	}
	if hook && !took {
		object.ran++
		p.s.clusters.ran[hookKey{env.ID, at.Name}]++
		p.s.truth(env.ID).migrates(at, made)
		if failing, is := made.has(markHookFails, env.ID.Name); is && failing == at {
			p.s.truth(env.ID).answered(p.s, reconcile.OutcomeFailed, p.s.truth(env.ID).applied)
			return refusal(promotion.VerificationFailed, fault.Terminal("hook", at.String(), errors.New("the job ended with an error")))
		}
	}
	p.s.servedStill(p.life, env)
	p.s.clusters.tell(env.ID)
	if object.rival {
		p.s.changeBack(env.ID, object)
	}
	return nil
}

// changeBack is what another controller does a moment after a write. The caller
// holds the world's lock.
func (s *Sim) changeBack(env promotion.ID, object *live) {
	s.nudged++
	n := s.nudged
	go func() {
		s.pace.nap(s.pace.between(100*time.Millisecond, 2*time.Second, "rival in "+env.String(), n))
		s.mu.Lock()
		defer s.mu.Unlock()
		if object.rival {
			object.byHand = "changed"
			s.clusters.tell(env)
		}
	}()
}

// Restore implements controller.Cluster.
func (p clusterPort) Restore(ctx context.Context, env promotion.Environment, set manifest.Set) error {
	made := knownSet(set)
	if err := p.try(ctx, "Cluster.Restore", env, made, true); err != nil {
		return err
	}
	if err := p.write(ctx, env, made, true); err != nil {
		return err
	}
	_, err := p.delete(ctx, env, made)
	return err
}

// Audit implements controller.Cluster: nothing here treats objects in another way
// than it did before.
func (p clusterPort) Audit(context.Context, promotion.Environment, controller.LastGood) (controller.Audit, error) {
	return controller.Audit{}, nil
}

// Drift implements controller.Cluster.
func (p clusterPort) Drift(ctx context.Context, env promotion.Environment, good controller.LastGood) (controller.Drift, error) {
	var found controller.Drift
	set, err := good.Read(ctx)
	if err != nil {
		return found, err
	}
	made := knownSet(set)
	err = p.call(ctx, "Cluster.Drift", env.ID.String(), speedCluster, func() error {
		if err := p.reach(env); err != nil {
			return err
		}
		found = p.contended(env, made, p.drifted(env, made))
		return nil
	})
	return found, err
}

// drifted are the objects that are not what was applied.
func (p clusterPort) drifted(env promotion.Environment, made *rendered) (drifted []manifest.ID) {
	objects := p.s.clusters.on(env.Target.Kubeconfig)
	for _, o := range made.set.Objects() {
		if manifest.StageOf(o) == manifest.StageRollback || isHook(o) {
			continue
		}
		at := manifest.IDOf(o)
		object, found := objects[at]
		if !found || object.byHand != "" || object.text != made.texts[at] || object.owner != env.ID {
			drifted = append(drifted, at)
		}
	}
	return drifted
}

// contended sorts out what somebody keeps changing back.
func (p clusterPort) contended(env promotion.Environment, made *rendered, drifted []manifest.ID) (found controller.Drift) {
	for _, at := range drifted {
		until := time.Time{}
		if env.Drift != promotion.DriftReport {
			until = p.fights.Differs(contest(env, at), made.texts[at], p.s.now())
		}
		object, there := p.s.clusters.on(env.Target.Kubeconfig)[at]
		switch {
		case !until.IsZero():
			found.Contended = append(found.Contended, at.String()+" is changed by chaperone and somebody")
			if found.Until.IsZero() || until.Before(found.Until) {
				found.Until = until
			}
		case !there:
			found.Differs = append(found.Differs, at.String()+" is gone")
		default:
			found.Differs = append(found.Differs, object.owner.String()+" has "+at.String()+" changed")
		}
	}
	return found
}

func contest(env promotion.Environment, at manifest.ID) plan.Contest {
	return plan.Contest{Environment: env.ID.String(), Object: at}
}

// Correct implements controller.Cluster.
func (p clusterPort) Correct(ctx context.Context, env promotion.Environment, good controller.LastGood) error {
	set, err := good.Read(ctx)
	if err != nil {
		return err
	}
	made := knownSet(set)
	var left []manifest.ID
	err = p.call(ctx, "Cluster.Correct", env.ID.String(), speedCluster, func() error {
		if err := p.reach(env); err != nil {
			return err
		}
		p.s.checkEffect(p.life, reconcile.ActionCorrect, env, made)
		p.s.clusters.counts[effectKey{env.ID, reconcile.ActionCorrect}]++
		if at, found := p.notAdmitted(env, made); found {
			return refusal(promotion.ApplyRejected, fmt.Errorf("%s: dry run: an admission rule refuses it", at))
		}
		left = nil
		for _, at := range p.drifted(env, made) {
			if p.fights.Differs(contest(env, at), made.texts[at], p.s.now()).IsZero() {
				left = append(left, at)
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	for _, at := range left {
		err := p.call(ctx, "Cluster.Write", env.ID.String(), speedCluster, func() error {
			if err := p.writeOne(env, made, at, false); err != nil {
				return err
			}
			p.fights.Corrected(contest(env, at), made.texts[at], p.s.now())
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

func isHook(o *manifest.Object) bool {
	stage := manifest.StageOf(o)
	return stage == manifest.StagePreDeploy || stage == manifest.StagePostDeploy
}

// Watch implements controller.Cluster.
func (p clusterPort) Watch(ctx context.Context, env promotion.Environment, changed func()) error {
	told := make(chan struct{}, 1)
	watch := p.key(fmt.Sprintf("watch %d", p.turn("Cluster.Told", env.ID.String())), env.ID.String())
	err := p.call(ctx, "Cluster.Watch", env.ID.String(), speedCluster, func() error {
		if err := p.reach(env); err != nil {
			return err
		}
		if p.s.clusters.watchers[env.ID] == nil {
			p.s.clusters.watchers[env.ID] = map[chan struct{}]bool{}
		}
		p.s.clusters.watchers[env.ID][told] = true
		return nil
	})
	defer func() {
		p.s.mu.Lock()
		defer p.s.mu.Unlock()
		delete(p.s.clusters.watchers[env.ID], told)
	}()
	for n := uint64(1); err == nil; n++ {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-told:
		}
		if err = p.travel(ctx, p.s.pace.between(time.Millisecond, 50*time.Millisecond, watch, n)); err == nil {
			p.awaitThaw(watch, "", n)
			changed()
		}
	}
	return err
}

package cluster

import (
	"cmp"
	"context"
	"errors"
	"sync"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"golang.org/x/sync/errgroup"

	"chaperone.dev/chaperone/internal/fault"
	"chaperone.dev/chaperone/internal/inventory"
	"chaperone.dev/chaperone/internal/manifest"
	"chaperone.dev/chaperone/internal/plan"
)

// Plan compares a release with what is on the cluster. Everything that would
// change is tried in a dry run; nothing is changed. The error is terminal and
// wraps a *plan.Refusal or a *plan.Rejected where the release itself is at
// fault; the plan is then for showing only.
func (c *Cluster) Plan(ctx context.Context, w Owner, desired manifest.Set) (plan.Plan, error) {
	return c.plan(ctx, w, desired, w.Restoring)
}

// Drift is what an environment would have to put back, for a release that is
// applied already: objects that are gone, and fields of ours that others
// changed. Hooks are not part of it: they belong to a release's beginning. The
// release is read only where what watches have told does not answer.
func (c *Cluster) Drift(ctx context.Context, w Owner, read func(context.Context) (manifest.Set, error)) ([]plan.Change, error) {
	if c.mirrorOf(w).awaitFirst(ctx); c.Quiet(w) {
		return nil, nil
	}
	desired, err := read(ctx)
	if err != nil {
		return nil, err
	}
	w.applied = true
	p, planned := c.plan(ctx, w, desired, true)
	changes, err := withRefused(p, planned)
	if err != nil || planned != nil {
		return changes, err
	}
	return changes, c.settle(ctx, w, desired, p)
}

// withRefused keeps one object that cannot be put back from hiding what happened
// to the others. What is to be deleted is no drift.
func withRefused(p plan.Plan, err error) ([]plan.Change, error) {
	var (
		rejected *plan.Rejected
		refusal  *plan.Refusal
		why      = map[manifest.ID]string{}
	)
	if errors.As(err, &rejected) {
		for _, one := range rejected.Objects {
			why[one.ID] = one.Err.Error()
		}
	}
	if errors.As(err, &refusal) && p.Refused == refusal { // another one says that it could not be looked
		for _, one := range refusal.Objects {
			why[one.ID] = cmp.Or(one.Text, refusal.Text)
		}
	} else if rejected == nil && err != nil {
		return nil, err
	}
	changes := p.Applies()
	for i, change := range changes {
		changes[i].Refused = cmp.Or(why[change.ID], change.Refused)
	}
	return changes, nil
}

func (c *Cluster) plan(ctx context.Context, w Owner, desired manifest.Set, skipHooks bool) (plan.Plan, error) {
	if err := w.check(); err != nil {
		return plan.Plan{}, fault.Terminal("plan", "", err)
	}
	if err := c.kinds.refresh(ctx); err != nil {
		return plan.Plan{}, err
	}
	owned, err := c.loadHoldings(ctx, w)
	if err != nil {
		return plan.Plan{}, err
	}
	r, err := c.resolve(ctx, w, desired)
	if err != nil {
		return plan.Plan{}, err
	}
	seen, err := c.look(ctx, w, r, owned.Inventory)
	if err != nil {
		return plan.Plan{}, c.explainBlind(ctx, r, owned.Inventory, err)
	}
	p, err := plan.Build(plan.Input{Owner: w.plan(), Guards: c.guards(w), Manager: c.options.FieldManager,
		Redact: *c.options.Redactor, Desired: r.set, Owned: c.owned(w, owned, owned.Entries()), Seen: seen, SkipHooks: skipHooks,
		Applied: w.applied, Contents: w.Contents})
	for _, change := range p.Changes {
		if change.Action == plan.Unchanged {
			c.mirrorOf(w).settle(change.ID, change.Digest, change.Owned)
		}
	}
	if (!skipHooks || w.reviewed) && p.Refused == nil {
		// Drift is told by watches, and a restore must not be held up: there the
		// server's own answers decide.
		if refusal := c.unallowed(ctx, w, r, owned.own, p, err); refusal != nil {
			p.Refused, err = refusal, refusal
		}
	}
	return p, fault.Terminal("", "", err)
}

// look reads and tries everything that a plan is about.
func (c *Cluster) look(ctx context.Context, w Owner, r release, owned inventory.Inventory) (map[manifest.ID]plan.Seen, error) {
	var wants []want
	fresh := owned.Len() == 0 && len(w.formers()) == 0 && c.losses.isFresh(w)
	for id, k := range r.kinds {
		// What is not under our label is met in the dry run, without a request
		// of its own; and where a search has found nothing under it, so is all.
		if !fresh || !k.namespaced {
			wants = append(wants, want{id: id, kind: k})
		}
	}
	left, err := c.wantEntries(ctx, owned.Unwanted(r.holds))
	if err != nil {
		return nil, err
	}
	m := c.mirrorOf(w)
	read, err := c.readBeside(ctx, w, m, append(wants, left...))
	if err != nil {
		return nil, err
	}
	t := trial{c: c, w: w, release: r, owned: owned, back: wayBackOf(r.set, owned), mirror: m, read: read, scaled: plan.Scaled(r.set.Objects()),
		scalers: &scalers{c: c, w: w, release: r}, seen: map[manifest.ID]plan.Seen{}}
	for _, one := range left {
		live, err := read.object(one.id)
		if err != nil {
			return nil, err
		}
		t.seen[one.id] = plan.Seen{Live: live}
	}
	return t.seen, t.run(ctx)
}

// wantEntries resolves entries that are not rendered any more. One whose kind
// is gone is gone with it; one whose API does not answer is left out too, and
// Guards.Partial keeps it from being taken for gone.
func (c *Cluster) wantEntries(ctx context.Context, entries []inventory.Entry) ([]want, error) {
	var wants []want
	for _, e := range entries {
		k, err := c.kinds.find(ctx, e.GroupKind(), e.Version)
		if errors.Is(err, errUnknownKind) {
			k, err = c.kinds.find(ctx, e.GroupKind(), "")
		}
		if errors.Is(err, errUnknownKind) {
			c.kinds.miss(e.GroupKind())
			continue
		}
		if err != nil && c.kinds.partial() {
			continue
		}
		if err != nil {
			return nil, err
		}
		wants = append(wants, want{id: e.ID, kind: k, certain: true})
	}
	return wants, nil
}

// trial finds out what applying each object of a release would do.
type trial struct {
	c       *Cluster
	w       Owner
	release release
	owned   inventory.Inventory
	back    wayBack
	mirror  *mirror
	read    *reader
	scaled  map[manifest.ID]bool
	scalers *scalers

	mu   sync.Mutex
	seen map[manifest.ID]plan.Seen
}

func (t *trial) run(ctx context.Context) error {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(t.c.options.Workers)
	for _, o := range t.release.set.Objects() {
		group.Go(func() error {
			seen, err := t.look(ctx, o)
			if err != nil {
				return err
			}
			t.mu.Lock()
			defer t.mu.Unlock()
			t.seen[manifest.IDOf(o)] = seen
			return nil
		})
	}
	return group.Wait()
}

func (t *trial) look(ctx context.Context, o *manifest.Object) (plan.Seen, error) {
	id := manifest.IDOf(o)
	seen := plan.Seen{Send: o, Digest: plan.SentDigest(o, t.scaled[id])}
	sure := !t.mirror.doubts(id)
	if known := t.read.seen[id]; known != nil && sure && t.same(o, known, seen.Digest) {
		seen.Live, seen.Same, seen.Owned = light(o, known), true, known.owned
		return seen, nil
	}
	var err error
	if seen.Live, err = t.read.object(id); err != nil {
		return seen, err
	}
	if seen.Live != nil {
		seen.Owned = t.w.Leave.OwnedDigest(seen.Live, t.c.options.FieldManager)
	}
	switch {
	case t.release.rejected[id] != nil:
		seen.Rejected = t.release.rejected[id]
		return seen, nil
	case t.release.later[id] || seen.Live == nil && t.namespaceComes(id):
		seen.Staged = true
		return seen, nil
	case seen.Live != nil && seen.Live.GetDeletionTimestamp() != nil:
		return seen, nil
	case manifest.StageOf(o) == manifest.StageRollback:
		return t.rollback(ctx, seen)
	}
	if seen.Live != nil {
		if seen.Send, err = t.sent(ctx, o, seen.Live); err != nil {
			return seen, err
		}
		if sure && plan.Same(seen.Live, seen.Send, t.c.options.FieldManager) {
			seen.Same = true
			return seen, nil
		}
	}
	return t.try(ctx, seen, false)
}

// same reports whether the mirror and the inventory know, without a comparison,
// that sending an object would change nothing. Of Jobs the plan asks more.
func (t *trial) same(o *manifest.Object, known *tracked, sent string) bool {
	e, found := t.owned.Get(known.id)
	return found && !plan.IsJob(o) && t.mirror.same(known, settled{e.Sent, e.Owned}, e.UID, sent)
}

// namespaceComes reports whether the object's namespace is part of the release
// and not there yet.
func (t *trial) namespaceComes(id manifest.ID) bool {
	namespace := manifest.ID{Kind: "Namespace", Name: id.Namespace}
	_, rendered := t.release.set.Get(namespace)
	return rendered && t.read.get(namespace) == nil && t.read.seen[namespace] == nil
}

func (t *trial) sent(ctx context.Context, o, live *manifest.Object) (*manifest.Object, error) {
	if inherited, heir, err := t.w.plan().Inherit(live); err == nil && heir {
		live = inherited // what adopted tools set is the daemon's by the time it is sent
	}
	o = plan.DropAccount(o, live, t.c.options.FieldManager)
	if t.scaled[manifest.IDOf(o)] {
		o = plan.YieldReplicas(o, live, t.c.options.FieldManager)
	}
	scaled := t.scaled[manifest.IDOf(o)]
	if !scaled && plan.Autoscaled(live) {
		var err error
		if scaled, err = t.scalers.scale(ctx, manifest.IDOf(o)); err != nil {
			return nil, err
		}
	}
	return t.w.Leave.Send(o, live, t.c.options.FieldManager, scaled), nil
}

// try sends an object in a dry run. fresh says that what is there was just read.
func (t *trial) try(ctx context.Context, seen plan.Seen, fresh bool) (plan.Seen, error) {
	id := manifest.IDOf(seen.Send)
	k := t.release.kinds[id]
	attempt := t.c.dryRun
	if seen.Live == nil {
		attempt = t.c.dryRunOutline // there is nothing to compare the answer with
	}
	tried, err := attempt(ctx, k, seen.Send)
	if err != nil && !refusedForGood(err) {
		return seen, failed("dry run", id, err)
	}
	if seen.Live == nil && !t.read.sure[id] {
		hidden, readErr := t.hidden(ctx, k, id, tried, err)
		if readErr != nil {
			return seen, readErr
		}
		if hidden != nil {
			seen.Owned = t.w.Leave.OwnedDigest(hidden, t.c.options.FieldManager)
			seen.Live = hidden
			if seen.Send, err = t.sent(ctx, seen.Send, hidden); err != nil {
				return seen, err
			}
			if tried, err = t.c.dryRun(ctx, k, seen.Send); err != nil && !refusedForGood(err) {
				return seen, failed("dry run", id, err)
			}
		}
	}
	if err == nil && !fresh && t.overtaken(seen, tried) {
		return t.tryAnew(ctx, seen, k)
	}
	if err == nil && seen.Live != nil {
		tried, err = t.c.tryTakeOver(ctx, t.w.plan(), k, seen.Live, tried)
		if err != nil && !refusedForGood(err) {
			return seen, failed("dry run", id, err)
		}
	}
	if err == nil {
		seen.Tried = tried
		return seen, nil
	}
	return t.rejected(ctx, seen, k, err)
}

// overtaken reports whether the server has an object in a later state than the
// mirror: what is left to others was decided by the state before.
func (t *trial) overtaken(seen plan.Seen, tried *manifest.Object) bool {
	if seen.Live == nil || t.read.seen[manifest.IDOf(seen.Send)] == nil {
		return false
	}
	return newer(tried.GetResourceVersion(), seen.Live.GetResourceVersion())
}

// tryAnew reads the object, and tries it as it is there.
func (t *trial) tryAnew(ctx context.Context, seen plan.Seen, k kind) (plan.Seen, error) {
	id := manifest.IDOf(seen.Send)
	rendered, found := t.release.set.Get(id)
	live, err := t.c.get(ctx, k, id)
	if err != nil {
		return seen, err
	}
	if live == nil || !found {
		return seen, meanwhile("dry run", id)
	}
	seen.Live, seen.Owned = live, t.w.Leave.OwnedDigest(live, t.c.options.FieldManager)
	if seen.Send, err = t.sent(ctx, rendered, live); err != nil {
		return seen, err
	}
	return t.try(ctx, seen, true)
}

// hidden reads an object that is there without our label. It is met by its
// dry run: the answer to one that would create has no resourceVersion.
func (t *trial) hidden(ctx context.Context, k kind, id manifest.ID, tried *manifest.Object, refusal error) (*manifest.Object, error) {
	if refusal == nil && tried.GetResourceVersion() == "" {
		return nil, nil
	}
	live, err := t.c.get(ctx, k, id)
	if refusal != nil && fault.IsTerminal(err) {
		return nil, nil // may not be read either; the refusal says why
	}
	return live, err
}

// rejected looks closer at a refusal that a replacement could overcome: what
// is deleted first must at least be acceptable afterwards. It is tried under
// another name, as its own is still taken.
func (t *trial) rejected(ctx context.Context, seen plan.Seen, k kind, refusal error) (plan.Seen, error) {
	id := manifest.IDOf(seen.Send)
	seen.Rejected = answer(id, refusal)
	if seen.Immutable = seen.Live != nil && immutable(refusal); !seen.Immutable {
		return seen, nil
	}
	seen.Fields = causes(refusal)
	if !plan.Replaceable(seen.Send, seen.Live) {
		return seen, nil
	}
	tried, err := t.c.dryRun(ctx, k, plan.StandIn(seen.Send))
	switch {
	case err == nil:
		seen.Tried = tried
	case refusedForGood(err):
		seen.Rejected, seen.Immutable = answer(id, err), false
	default:
		return seen, failed("dry run", id, err)
	}
	return seen, nil
}

// dryRun sends one object for trial.
func (c *Cluster) dryRun(ctx context.Context, k kind, o *manifest.Object) (*manifest.Object, error) {
	return c.tryBy(ctx, c.send, k, o)
}

// dryRunOutline is dryRun for who asks only whether the object is accepted, and
// is there already.
func (c *Cluster) dryRunOutline(ctx context.Context, k kind, o *manifest.Object) (*manifest.Object, error) {
	return c.tryBy(ctx, c.sendForOutline, k, o)
}

type sender func(context.Context, kind, *manifest.Object, ...string) (*manifest.Object, error)

func (c *Cluster) tryBy(ctx context.Context, send sender, k kind, o *manifest.Object) (applied *manifest.Object, err error) {
	err = c.retry(ctx, func(ctx context.Context) (err error) {
		applied, err = send(ctx, k, o, metav1.DryRunAll)
		return err
	})
	return applied, err
}

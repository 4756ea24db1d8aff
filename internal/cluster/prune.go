package cluster

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"golang.org/x/sync/errgroup"

	"chaperone.dev/chaperone/internal/fault"
	"chaperone.dev/chaperone/internal/inventory"
	"chaperone.dev/chaperone/internal/manifest"
	"chaperone.dev/chaperone/internal/plan"
)

// PruneResult is what became of the owned objects that are not rendered.
type PruneResult struct {
	Deleted   []manifest.ID // confirmed; out of the inventory
	Forgotten []manifest.ID // gone before, or somebody else's by now; out of the inventory
	Kept      []Left        // protected; still in the inventory
	Pending   []Left        // deletion asked for and not confirmed, or not possible now; still in the inventory
}

// Left is an object that is still there, and why.
type Left struct {
	ID     manifest.ID
	Reason string // a plan.Reason… constant, or a sentence
}

// Prune deletes what the environment owns and keep does not hold. Call it
// last, with the release that was just verified, whole; also names objects
// that something else still needs, last good for instance. It deletes by UID
// and from the inventory only, and waits a bounded time for each wave. An
// error says that some object could not be asked about or deleted; it stays in
// the inventory for the next call, and the others are seen to all the same.
func (c *Cluster) Prune(ctx context.Context, w Owner, keep manifest.Set, also ...manifest.ID) (PruneResult, error) {
	owned, err := c.loadSettled(ctx, w, keep)
	if err != nil {
		return PruneResult{}, err
	}
	unwanted, err := c.unwanted(ctx, w, owned, keep, also)
	if err != nil || len(unwanted) == 0 && len(w.formers()) == 0 {
		return PruneResult{}, err // without another look at the kinds: nothing is to be judged missing
	}
	if err := c.kinds.refresh(ctx); err != nil {
		return PruneResult{}, err
	}
	if unwanted, err = c.unwanted(ctx, w, owned, keep, also); err != nil {
		return PruneResult{}, err
	}
	wants, err := c.wantEntries(ctx, unwanted)
	if err != nil {
		return PruneResult{}, err
	}
	read, err := c.read(ctx, w, wants)
	if err != nil {
		return PruneResult{}, err // what could not be read is not known to be ours
	}
	changes, refusal := plan.Prune(w.plan(), c.guards(w), keep.Len(), c.owned(w, owned, owned.Entries()), c.owned(w, owned, unwanted), read.live)
	if refusal != nil {
		return PruneResult{}, fault.Terminal("", "", refusal)
	}
	p := pruner{c: c, owner: w.plan(), kinds: map[manifest.ID]kind{}, live: read.live, going: map[manifest.ID]string{}}
	for _, one := range wants {
		p.kinds[one.id] = one.kind
	}
	for _, change := range changes {
		if change.Action == plan.Delete {
			p.going[change.ID] = change.UID
		}
	}
	p.run(ctx, changes)
	p.markKept(ctx, changes, read.live)
	p.warn(w)
	return p.result, p.finish(ctx, w, owned)
}

// Surplus reports whether there is anything that Prune would look at. It changes
// nothing.
func (c *Cluster) Surplus(ctx context.Context, w Owner, keep manifest.Set) (bool, error) {
	owned, err := c.loadHoldings(ctx, w)
	if err != nil {
		return false, err
	}
	unwanted, err := c.unwanted(ctx, w, owned, keep, nil)
	return len(unwanted) > 0 || len(w.formers()) > 0 || c.losses.isOwed(w.setID()), err
}

// unwanted are the entries that no release needs any more.
func (c *Cluster) unwanted(ctx context.Context, w Owner, owned holdings, keep manifest.Set, also []manifest.ID) ([]inventory.Entry, error) {
	ids, err := c.identities(ctx, w, keep)
	if err != nil {
		return nil, err
	}
	kept := make(map[manifest.ID]bool, len(ids)+len(also))
	for _, id := range append(ids, also...) {
		kept[id] = true
	}
	return owned.Unwanted(func(id manifest.ID) bool { return kept[id] }), nil
}

// warn tells of what stays though it is to go.
func (p *pruner) warn(w Owner) {
	log := p.c.options.Logger.With("environment", w.Environment.String())
	for _, left := range p.result.Kept {
		switch left.Reason {
		case plan.ReasonMassDeletion:
			log.Warn("kept: a restore would delete too much of what is taken over", "object", left.ID.String())
		case plan.ReasonForeign:
			log.Warn("kept: it is somebody else's by now, or somebody took its marks away; nothing of it is changed", "object", left.ID.String())
		case plan.ReasonInventoryRebuilt:
			log.Warn("kept: known by its marks only since the inventory was lost; a person has to agree", "object", left.ID.String(), "agree", Agreement(w))
		}
	}
	for _, left := range p.result.Pending {
		log.Warn("deletion is not confirmed", "object", left.ID.String(), "err", left.Reason)
	}
}

// finish writes down what is left, and lets go of the inventories that this one
// took over once nothing is to be done any more that they might tell of.
func (p *pruner) finish(ctx context.Context, w Owner, owned holdings) error {
	if owned.own.parent != nil || len(owned.formers) > 0 {
		_, err := p.c.saveInventory(ctx, w, owned.own, p.left(owned.Inventory))
		p.errs = append(p.errs, err)
	}
	if err := errors.Join(p.errs...); err != nil || !p.settled() || w.Restoring {
		return err // a restore leaves hooks alone, under the marks that they have
	}
	return p.c.endFormers(ctx, w, owned)
}

// settled reports whether every object was seen, and is either kept or gone.
func (p *pruner) settled() bool {
	return len(p.result.Pending) == 0 && !slices.ContainsFunc(p.result.Kept, func(one Left) bool { return one.Reason == plan.ReasonPartialRead })
}

// pruner is one prune under way.
type pruner struct {
	c     *Cluster
	owner plan.Owner
	kinds map[manifest.ID]kind
	live  map[manifest.ID]*manifest.Object // as read before
	going map[manifest.ID]string           // UIDs of what is deleted

	mu     sync.Mutex
	result PruneResult
	errs   []error
}

// run goes through the deletions wave by wave, in the reverse of apply order;
// plan.Prune has sorted them so.
func (p *pruner) run(ctx context.Context, changes []plan.Change) {
	for start := 0; start < len(changes); {
		end := start
		for end < len(changes) && changes[end].Action == changes[start].Action && changes[end].Wave == changes[start].Wave {
			end++
		}
		p.wave(ctx, changes[start:end])
		start = end
	}
}

func (p *pruner) wave(ctx context.Context, changes []plan.Change) {
	var asked []plan.Change
	var group errgroup.Group
	group.SetLimit(p.c.options.Workers)
	var held []Left
	pending := slices.Clone(p.result.Pending) // of the waves before
	for _, change := range changes {
		switch change.Action {
		case plan.Forget:
			p.result.Forgotten = append(p.result.Forgotten, change.ID)
		case plan.Keep:
			p.result.Kept = append(p.result.Kept, Left{change.ID, change.Reason})
		case plan.Delete:
			if at := slices.IndexFunc(pending, func(l Left) bool { return slices.Contains(change.Holders, l.ID) }); at >= 0 {
				held = append(held, Left{change.ID, "is deleted once " + pending[at].ID.String() + " is gone"})
				continue
			}
			group.Go(func() error {
				if p.delete(ctx, change) {
					p.mu.Lock()
					defer p.mu.Unlock()
					asked = append(asked, change)
				}
				return nil
			})
		}
	}
	_ = group.Wait() // failures are in errs
	p.confirm(ctx, asked)
	p.result.Pending = append(p.result.Pending, held...)
}

// delete asks for a deletion, and reports whether it is still to be confirmed.
func (p *pruner) delete(ctx context.Context, change plan.Change) bool {
	holds := p.holds(ctx, change.ID)
	foreign, err := false, error(nil)
	if holds == "" {
		foreign, err = p.c.delete(ctx, p.kinds[change.ID], change.ID, condition{uid: change.UID})
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case holds != "":
		p.c.options.Logger.Warn("kept: it would take with it what stays", "environment", p.owner.Environment, "object", change.ID.String(), "holds", holds)
		p.result.Kept = append(p.result.Kept, Left{change.ID, plan.ReasonHolds})
	case err != nil:
		p.errs = append(p.errs, err)
		p.result.Pending = append(p.result.Pending, Left{change.ID, err.Error()})
	case foreign:
		p.result.Forgotten = append(p.result.Forgotten, change.ID)
	default:
		return true
	}
	return false
}

// confirm waits until what was deleted is gone, all of it together: however much
// a finalizer holds, a wave takes no longer than PruneWait.
func (p *pruner) confirm(ctx context.Context, asked []plan.Change) {
	waits, cancel := context.WithTimeout(ctx, p.c.options.PruneWait)
	defer cancel()
	held := map[manifest.ID]string{}
	asked = p.look(ctx, asked, held) // one look there is in any case
	for pause := firstPause / 2; len(asked) > 0 && sleep(waits, pause) == nil; pause = min(2*pause, slowestLook) {
		asked = p.look(waits, asked, held)
	}
	for _, change := range asked {
		text := fmt.Sprintf("not gone after %s", p.c.options.PruneWait)
		if why := held[change.ID]; why != "" {
			text += ": " + why
		}
		p.result.Pending = append(p.result.Pending, Left{change.ID, text})
	}
}

// look returns those that are not gone yet, and notes what holds them.
func (p *pruner) look(ctx context.Context, asked []plan.Change, held map[manifest.ID]string) (left []plan.Change) {
	var group errgroup.Group
	group.SetLimit(p.c.options.Workers)
	for _, change := range asked {
		group.Go(func() error {
			o, err := p.c.get(ctx, p.kinds[change.ID], change.ID)
			p.mu.Lock()
			defer p.mu.Unlock()
			switch {
			case err != nil && ctx.Err() == nil:
				p.errs = append(p.errs, err)
				p.result.Pending = append(p.result.Pending, Left{change.ID, err.Error()})
			case err != nil:
				left = append(left, change) // the time was over in the middle of the look
			case o == nil || string(o.GetUID()) != change.UID:
				p.result.Deleted = append(p.result.Deleted, change.ID)
			default:
				left, held[change.ID] = append(left, change), plan.HeldBy(o)
			}
			return nil
		})
	}
	_ = group.Wait() // failures are in errs
	return left
}

// left is the inventory after the prune.
func (p *pruner) left(owned inventory.Inventory) inventory.Inventory {
	var kept []manifest.ID
	for _, one := range p.result.Kept {
		switch one.Reason {
		case plan.ReasonHolds, plan.ReasonPruneDisabled, plan.ReasonPartialRead, plan.ReasonMassDeletion, plan.ReasonInventoryRebuilt,
			plan.ReasonNoResult:
			// For now only: it counts as one that is still to be deleted.
		default:
			kept = append(kept, one.ID)
		}
	}
	return owned.Drop(p.result.Deleted...).Drop(p.result.Forgotten...).Keep(kept...)
}

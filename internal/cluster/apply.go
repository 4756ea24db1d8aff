package cluster

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"chaperone.dev/chaperone/internal/fault"
	"chaperone.dev/chaperone/internal/health"
	"chaperone.dev/chaperone/internal/inventory"
	"chaperone.dev/chaperone/internal/manifest"
	"chaperone.dev/chaperone/internal/plan"
)

// Result is what an apply did.
type Result struct {
	Counts  map[plan.Action]int // carried out, by action; unchanged ones included
	Objects []manifest.ID       // of the release, in apply order
}

// Apply carries out a plan that Plan made: what could not be tried before is
// tried as soon as it can be, the inventory is written, then each change is made
// as soon as what it depends on is there (plan.Steps). It does not delete; Prune
// does, later.
//
// progress, if not nil, is told of every change that was made or failed, one
// call at a time. A terminal error wraps *plan.Rejected or *plan.Refusal, or
// tells of a failed hook, or of what was not ready within Owner.ApplyTimeout;
// after any other the same release can be planned and applied again and goes on
// where it stopped.
func (c *Cluster) Apply(ctx context.Context, w Owner, p plan.Plan, progress func(plan.Change, error)) (Result, error) {
	if p.Refused != nil {
		return Result{}, fault.Terminal("", "", p.Refused)
	}
	if err := w.check(); err != nil {
		return Result{}, fault.Terminal("apply", "", err)
	}
	if progress == nil {
		progress = func(plan.Change, error) {}
	}
	rules, err := health.NewRules(w.Health)
	if err != nil {
		return Result{}, fault.Terminal("apply", w.Environment.String(), err)
	}
	a := &applier{c: c, w: w, rules: rules, progress: progress, done: map[manifest.ID]outcome{}, awaited: map[manifest.ID]bool{}, timeout: w.ApplyTimeout}
	setDefault(&a.timeout, defaultApplyTimeout)
	a.changes = slices.DeleteFunc(slices.Clone(p.Changes), func(change plan.Change) bool {
		return !slices.Contains([]plan.Action{plan.Create, plan.Update, plan.Replace, plan.Unchanged}, change.Action)
	})
	within, cancel := context.WithTimeoutCause(ctx, a.timeout, errDeadline)
	defer cancel()
	err = a.run(within)
	a.complete = err == nil
	if a.inventory.parent != nil && ctx.Err() == nil {
		// Also after a failure: what was created is known by its UID from here on.
		err = errors.Join(err, a.record(ctx))
	}
	return a.result(), err
}

// applier is one apply under way.
type applier struct {
	c         *Cluster
	w         Owner
	rules     health.Rules // by which what others depend on is ready
	changes   []plan.Change
	progress  func(plan.Change, error)
	inventory stored
	done      map[manifest.ID]outcome
	unwritten []inventory.Entry    // what writeDown left to be written at the end
	complete  bool                 // all of the release is there
	awaited   map[manifest.ID]bool // answers about these are kept, for whoever waits for them
	slots     chan struct{}        // one for each request at once
	timeout   time.Duration
	rendered  []*manifest.Object // of the release, where not all of them are changes
}

// outcome is what became of one change.
type outcome struct {
	uid         string
	applied     string // digest, of a Job
	sent, owned string // digests of what was sent, and of what the server made of it
	object      *manifest.Object
}

func (a *applier) run(ctx context.Context) error {
	steps, err := plan.Steps(a.changes)
	if err != nil {
		return fault.Terminal("", "", err)
	}
	if err := a.try(ctx, func(change plan.Change) bool { return !change.Staged }); err != nil {
		return err
	}
	if err := a.prepareHome(ctx); err != nil {
		return err
	}
	if err := a.writeDown(ctx); err != nil {
		return err
	}
	return a.walk(ctx, steps)
}

// try is the dry run of those changes that were not tried yet.
func (a *applier) try(ctx context.Context, which func(plan.Change) bool) error {
	var untried []plan.Change
	for _, change := range a.changes {
		writes := change.Action == plan.Create || change.Action == plan.Update
		if _, done := a.done[change.ID]; writes && !change.Tried && !done && which(change) {
			untried = append(untried, change)
		}
	}
	_, err := a.each(ctx, untried, func(ctx context.Context, change plan.Change) (outcome, error) {
		return outcome{}, a.tryOne(ctx, change)
	})
	return rejection(err, len(a.done) > 0)
}

func (a *applier) tryOne(ctx context.Context, change plan.Change) error {
	k, err := a.kind(ctx, change)
	if err != nil {
		return err
	}
	// There is a moment between a definition that is served, as discovery says, and
	// a server that knows it.
	for pause := firstPause; ; pause *= 2 {
		_, err = a.c.dryRunOutline(ctx, k, change.Object)
		notYet := change.Staged && apierrors.IsNotFound(err) && pause < longestPause
		if !notYet || sleep(ctx, pause) != nil {
			return failed("dry run", change.ID, err)
		}
	}
}

func (a *applier) kind(ctx context.Context, change plan.Change) (kind, error) {
	k, err := a.c.kinds.find(ctx, change.ID.GroupKind(), change.Object.GroupVersionKind().Version)
	if errors.Is(err, errUnknownKind) {
		return k, fault.Terminal("", change.ID.String(), err)
	}
	return k, err
}

// prepareHome creates the namespace that the inventory lives in, when it comes
// with the release. It is the one thing applied before it is written down; a
// Namespace is not pruned by itself, so nothing is lost by that.
func (a *applier) prepareHome(ctx context.Context) error {
	home := manifest.ID{Kind: "Namespace", Name: a.w.Namespace}
	for i, change := range a.changes {
		if change.ID != home || change.Action != plan.Create {
			continue
		}
		// Alone, with its own wait: the walk finds it done.
		return a.walk(ctx, []plan.Step{{Kind: plan.StepApply, Change: i}, {Kind: plan.StepAwait, Change: i, Until: plan.UntilActive, After: []int{0}}})
	}
	return nil
}

// writeDown merges the release into the inventory before anything is applied.
func (a *applier) writeDown(ctx context.Context) error {
	// What is taken over is written down with it: from here on a crash leaves
	// nothing that only the former environment's inventory knows.
	old, err := a.holdings(ctx)
	if err != nil {
		return err
	}
	next := old.Inventory
	entries := make([]inventory.Entry, 0, len(a.changes))
	for _, change := range a.changes {
		stored, _ := old.Get(change.ID)
		another := change.UID != "" && stored.UID != "" && stored.UID != change.UID
		if change.Action == plan.Create || change.Action == plan.Replace || another {
			// It will be another object: what was known of the last one of
			// this name must not pass for knowledge of it.
			next = next.Drop(change.ID)
		}
		entries = append(entries, a.entry(old.Inventory, change))
	}
	if slices.ContainsFunc(a.changes, func(change plan.Change) bool { return change.Action != plan.Unchanged }) {
		next = next.Complete("")
	}
	next = next.Merge(entries)
	if known(old, next) {
		// Nothing will be there that the inventory does not tell of: what is new
		// in it is written once, with what the apply learns.
		a.inventory, a.unwritten = old.own, entries
		return nil
	}
	a.inventory, err = a.c.saveInventory(ctx, a.w, old.own, next)
	if apierrors.IsNotFound(err) {
		return fault.Terminal("", "Namespace/"+a.w.Namespace,
			errors.New("there is no such namespace; create it, or render it in the release and name it in target.allow"))
	}
	return err
}

// holdings are what the environment owns. Where a search has just found that it
// is new, nobody is asked again: an inventory that came meanwhile is met as this
// one is created.
func (a *applier) holdings(ctx context.Context) (holdings, error) {
	if len(a.w.formers()) == 0 && a.c.losses.isFresh(a.w) {
		return holdings{}, nil
	}
	return a.c.loadHoldings(ctx, a.w)
}

// known reports whether an inventory, as it is stored, names every object of the
// next one by its UID.
func known(old holdings, next inventory.Inventory) bool {
	if old.own.parent == nil || old.own.changed || len(old.formers) > 0 {
		return false
	}
	for id, e := range next.All() {
		stored, found := old.own.Get(id)
		if !found || e.UID == "" || stored.UID != e.UID || stored.Rebuilt != e.Rebuilt {
			return false
		}
	}
	return true
}

func (a *applier) entry(old inventory.Inventory, change plan.Change) inventory.Entry {
	e := inventory.Entry{ID: change.ID, Version: change.Object.GroupVersionKind().Version, Release: a.w.Release}
	if known, found := old.Get(change.ID); found && change.Action == plan.Unchanged {
		e.Release = known.Release
	}
	if change.Action == plan.Unchanged || change.Action == plan.Update && !change.Gained {
		e.UID = change.UID // what is to be gained is not known as owned before it is
	}
	if change.Action == plan.Unchanged {
		e.Sent, e.Owned = change.Digest, change.Owned
	}
	if change.Reason == plan.ReasonCompleted {
		// The same as before, unless it ran under another environment's name.
		e.Applied = plan.Applied(change.Object)
	}
	return e
}

// record adds what the apply has learned to the inventory.
func (a *applier) record(ctx context.Context) error {
	entries := make([]inventory.Entry, 0, len(a.done))
	next := a.inventory.Merge(a.unwritten)
	for id, o := range a.done {
		if e, found := next.Get(id); found {
			e.UID = o.uid
			if o.sent != "" {
				e.Sent, e.Owned = o.sent, o.owned
			}
			if o.applied != "" {
				e.Applied = o.applied
			}
			entries = append(entries, e)
		}
	}
	next = next.Merge(entries)
	switch {
	case a.complete:
		next = next.Complete(string(a.w.Digest))
	case len(a.done) > 0:
		next = next.Complete("")
	}
	saved, err := a.c.saveInventory(ctx, a.w, a.inventory, next)
	a.inventory = saved
	return err
}

// toDo is how many changes there are to make.
func (a *applier) toDo() int {
	n := 0
	for _, change := range a.changes {
		if change.Action != plan.Unchanged {
			n++
		}
	}
	return n
}

func (a *applier) result() Result {
	r := Result{Counts: map[plan.Action]int{}}
	for _, change := range a.changes {
		r.Objects = append(r.Objects, change.ID)
		_, done := a.done[change.ID]
		if done || change.Action == plan.Unchanged {
			r.Counts[change.Action]++
		}
	}
	return r
}

// rejection gathers terminal refusals into one error that names every object.
func rejection(err error, touched bool) error {
	rejected := plan.Rejected{Touched: touched}
	for _, part := range parts(err) {
		var classified *fault.Error
		if !fault.IsTerminal(part) || !errors.As(part, &classified) {
			continue
		}
		var one changeError
		if errors.As(part, &one) {
			rejected.Objects = append(rejected.Objects, plan.Rejection{ID: one.id, Err: classified.Err})
		}
	}
	if len(rejected.Objects) == 0 {
		return err
	}
	return fault.Terminal("", "", &rejected)
}

// refusal gathers those refusals that were met while applying into one error.
// It is for good only while nothing is touched: a release that is half applied
// has to be seen to by the next attempt, whose plan is refused.
func refusal(err error, touched bool) error {
	var all *plan.Refusal
	for _, part := range parts(err) {
		var one *plan.Refusal
		switch {
		case !errors.As(part, &one):
		case all == nil:
			first := *one
			all = &first
		default:
			all.Objects = append(slices.Clone(all.Objects), one.Objects...)
		}
	}
	switch {
	case all == nil:
		return nil
	case touched:
		all.Touched = true
		return fault.Retryable("", "", all)
	}
	return fault.Terminal("", "", all)
}

func parts(err error) []error {
	if joined, isJoined := err.(interface{ Unwrap() []error }); isJoined {
		return joined.Unwrap()
	}
	if err == nil {
		return nil
	}
	return []error{err}
}

// changeError is an error about one change.
type changeError struct {
	id  manifest.ID
	err error
}

func (e changeError) Error() string { return e.err.Error() }
func (e changeError) Unwrap() error { return e.err }

// hookError is a hook that ran and failed.
func hookError(id manifest.ID, message string) error {
	return fault.Terminal("hook", id.String(), fmt.Errorf("the Job failed: %s", shorten(message, maxAnswer)))
}

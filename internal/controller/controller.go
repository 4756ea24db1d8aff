// Package controller is the only loop. It looks (poll, evaluate, watch), lets
// reconcile decide, and acts through the ports in ports.go. One goroutine owns
// the world; everything that takes time runs beside it and posts what came of
// it. Guarantees: an effect begins only after its intent is stored; an
// environment has at most one effect under way; one environment that is stuck
// delays no other; whoever is fenced off by another writer reads anew before
// it does anything else.
package controller

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"chaperone.dev/chaperone/internal/fault"
	"chaperone.dev/chaperone/internal/manifest"
	"chaperone.dev/chaperone/internal/policy"
	"chaperone.dev/chaperone/internal/promotion"
	"chaperone.dev/chaperone/internal/reconcile"
	"chaperone.dev/chaperone/internal/source"
	"chaperone.dev/chaperone/internal/state"
)

// Config is what the controller is told.
type Config struct {
	PollInterval time.Duration // between polls; 0 is 30 s
	Jitter       float64       // largest share of PollInterval to add
	Grace        time.Duration // for work under way when asked to stop; 0 is 7 s
	Workers      int           // evaluations at once; 0 is 2
	Redactor     manifest.Redactor
	Branch       string              // what is followed, as one word
	Base         string              // the same branch, as pull requests name it
	Previewed    string              // whose pull requests are told what merging them does; "" is PreviewsAll
	Self         string              // e-mail address that the daemon commits with: never an approver
	Groups       map[string][]string // e-mail addresses of those who may approve, by group
	People       map[string][]string // e-mail addresses of one person, by any name
	Now          func() time.Time    // nil is time.Now
	Rand         func() float64      // nil is rand.Float64; for jitter only
	Log          *slog.Logger
	// Stagger wraps work that is started beside the loop; nil leaves it as it is.
	// Tests give each its turn with it, so that what races in life does not there.
	Stagger func(func()) func()
	// Decided is told of every decision, before anything is done about it.
	Decided func(reconcile.World, reconcile.Decision)
}

// Ports are the controller's ways to the world outside.
type Ports struct {
	Source    Source
	Renderer  Renderer
	Policies  Policies
	Cluster   Cluster
	Store     Store
	Telemetry Telemetry
	Reverts   RevertBranches // nil: what cannot be pushed is left to people
	Forge     Forge          // nil: branches have no pull requests
	Previews  Previews       // nil: pull requests are not told what merging them does
}

// Controller reconciles every environment of one source.
type Controller struct {
	Ports
	Config
	events      chan func() // run by the loop, in order
	pollNow     chan struct{}
	work        sync.WaitGroup
	slots       chan struct{} // bounds evaluations at once
	first       chan struct{} // likewise of environments in which something is under way: they do not stand in line
	toldSigners string        // the poll's alone
	movers      movers
	merges      merges
	crediting   chan struct{} // bounds what waits for the forge
	held        held

	footprints footprints
	pulls      *pulls    // nil without a forge
	previews   *previews // nil where none are told

	// Owned by the loop.
	world        reconcile.World
	decision     reconcile.Decision
	seen         look
	ancestry     map[source.Revision]ancestry // of what is deployed
	requests     map[promotion.ID]state.Requests
	polled       bool
	sourceDetail string
	environments map[promotion.ID]*environment
	offers       offers
}

// environment is what the loop keeps of one beside its part of the world.
type environment struct {
	file     promotion.Environment // as last valid, for where it runs
	next     promotion.Environment // as valid now, where it is to move elsewhere
	recorder *recorder
	broken   error // its record cannot be read
	notes    map[promotion.Reason]string
	problems map[source.Revision]string // why a candidate may not run
	commits  map[source.Revision]source.Commit
	credits  map[source.Revision]credit
	courses  map[way]stepTexts
	cancel   context.CancelFunc // of a verification
	watching string             // where the drift watch looks
	unwatch  context.CancelFunc
	drift    *drift
	allowed  allowed
	pull     pull              // of its promotion branch
	excepted *policy.Countdown // the exception in force that ends first
	drill    Drill             // the last
	resting  string            // on what, when it was last looked at; "" while it does not
	rivals   int               // effects in a row at which another writer was first
	// generation counts the changes that make evaluations void.
	generation    int
	status        reconcile.Status
	exceptedShown *policy.Countdown
	drillShown    Drill
	message       string
	since         time.Time
	untold        bool      // its reason was not worth an Event yet
	glancing      time.Time // since when a status is held back because it is only a look
	foretold      *shown    // what was stored with the last outcome, until it is published
}

// New makes a controller; Run runs it.
func New(ports Ports, config Config) *Controller {
	if config.PollInterval <= 0 {
		config.PollInterval = 30 * time.Second
	}
	if config.Grace <= 0 {
		config.Grace = 7 * time.Second
	}
	if config.Workers <= 0 {
		config.Workers = 2
	}
	if config.Now == nil {
		config.Now = time.Now
	}
	if config.Rand == nil {
		config.Rand = rand.Float64
	}
	if config.Stagger == nil {
		config.Stagger = func(work func()) func() { return work }
	}
	if config.Decided == nil {
		config.Decided = func(reconcile.World, reconcile.Decision) {}
	}
	if config.Log == nil {
		config.Log = slog.New(slog.DiscardHandler)
	}
	c := &Controller{
		Ports: ports, Config: config,
		events:       make(chan func(), 64),
		pollNow:      make(chan struct{}, 1),
		slots:        make(chan struct{}, config.Workers),
		first:        make(chan struct{}, config.Workers),
		crediting:    make(chan struct{}, maxCrediting),
		environments: map[promotion.ID]*environment{},
		requests:     map[promotion.ID]state.Requests{},
	}
	if ports.Forge != nil {
		c.pulls = newPulls(c)
	}
	if ports.Forge != nil && ports.Previews != nil && config.Previewed != PreviewsNever {
		c.previews = newPreviews(c)
	}
	return c
}

// Run reconciles until ctx ends. What is under way then is given Grace to
// finish and abandoned after; the journal tells the next start what was.
func (c *Controller) Run(ctx context.Context) error {
	if err := c.load(ctx); err != nil {
		return fmt.Errorf("load state: %w", err)
	}
	work, stop := context.WithCancel(ctx)
	defer stop()
	c.spawn(func() { c.poll(work) })
	c.spawn(func() { c.watchRequests(work) })
	if c.pulls != nil {
		c.spawn(func() { c.pulls.run(work) })
	}
	if c.previews != nil {
		c.spawn(func() { c.previews.run(work) })
	}
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		c.reset(timer, c.pass(work))
		select {
		case <-ctx.Done():
			stop()
			return c.drain()
		case event := <-c.events:
			event()
			c.takeWaiting()
		case <-timer.C:
		}
	}
}

// reset lets the timer fire when a decision asks to be looked at again.
func (c *Controller) reset(timer *time.Timer, again time.Time) {
	const idle = time.Hour
	wait := idle
	if !again.IsZero() {
		wait = max(again.Sub(c.Now()), time.Millisecond)
	}
	timer.Reset(wait)
}

// takeWaiting runs what has been posted meanwhile, so that a burst costs one pass.
func (c *Controller) takeWaiting() {
	for range cap(c.events) {
		select {
		case event := <-c.events:
			event()
		default:
			return
		}
	}
}

// Nudge asks for a pass, as after the policies changed.
func (c *Controller) Nudge() {
	select {
	case c.events <- func() {}:
	default: // a full queue is followed by a pass anyway
	}
}

// Poll asks for a look at the source now, instead of at the next interval.
func (c *Controller) Poll() {
	select {
	case c.pollNow <- struct{}{}:
	default:
	}
}

func (c *Controller) spawn(f func()) {
	c.work.Go(c.Stagger(f))
}

// post hands a change of the loop's data to the loop.
func (c *Controller) post(ctx context.Context, event func()) {
	select {
	case c.events <- event:
	case <-ctx.Done():
	}
}

func (c *Controller) drain() error {
	done := make(chan struct{})
	go func() { c.work.Wait(); close(done) }()
	select {
	case <-done:
		return nil
	case <-time.After(c.Grace):
		return errors.New("work under way was abandoned after the grace period; the next start takes it up from the journal")
	}
}

// load takes up where the last daemon left off.
func (c *Controller) load(ctx context.Context) error {
	records, err := c.loadRecords(ctx)
	if err != nil {
		return err
	}
	for _, record := range records {
		if record.Unreadable != nil {
			c.unreadable(record)
			continue
		}
		c.asked(record.ID, record.Requests)
		e := c.environment(record.ID)
		e.recorder = c.newRecorder(record)
		e.file = record.Environment
		e.status, e.message, e.since = record.Status, record.Message, record.Since
		e.excepted, e.exceptedShown = record.Excepted, record.Excepted
		e.drill, e.drillShown = record.Drill, record.Drill
		e.notes[record.Status.Reason] = record.Message
		if record.Evidence != "" {
			e.notes[promotion.VerificationFailed] = record.Evidence
		}
		c.world.Environments = append(c.world.Environments, reconcile.Environment{
			ID: record.ID, Journal: record.Journal, Spec: c.specOf(record.Environment), Requests: requestsOf(record.Requests),
			// Until the first poll says otherwise, nothing is known of its file.
			Fault: promotion.SourceUnavailable,
		})
	}
	slices.SortFunc(c.world.Environments, func(a, b reconcile.Environment) int { return a.ID.Compare(b.ID) })
	return nil
}

// unreadable keeps an environment whose record somebody broke as it is: to
// begin anew beside what it runs would forget what it owns.
func (c *Controller) unreadable(record state.Record) {
	c.environment(record.ID).broken = record.Unreadable
	c.world.Environments = append(c.world.Environments, reconcile.Environment{ID: record.ID, Fault: promotion.UnreadableRecord})
	c.environment(record.ID).notes[promotion.UnreadableRecord] = record.Unreadable.Error()
}

// loadRecords waits for a store that cannot be reached: the API server may be
// coming back, and nothing else can be done meanwhile.
func (c *Controller) loadRecords(ctx context.Context) ([]state.Record, error) {
	const first, longest = 500 * time.Millisecond, 15 * time.Second
	for wait := first; ; wait = min(2*wait, longest) {
		records, err := c.Store.Load(ctx)
		if err == nil || fault.IsTerminal(err) || errors.Is(err, state.ErrNotFound) {
			return records, err
		}
		c.Log.Warn("load state; trying again", "reason", promotion.ClusterUnavailable, "err", err)
		select {
		case <-ctx.Done():
			return nil, errors.Join(ctx.Err(), err)
		case <-time.After(wait):
		}
	}
}

func (c *Controller) environment(id promotion.ID) *environment {
	e, known := c.environments[id]
	if !known {
		e = &environment{
			notes:    map[promotion.Reason]string{},
			problems: map[source.Revision]string{},
			commits:  map[source.Revision]source.Commit{},
			credits:  map[source.Revision]credit{},
			courses:  map[way]stepTexts{},
		}
		c.environments[id] = e
	}
	return e
}

// pass decides once and starts what was decided. It returns when to look again.
func (c *Controller) pass(ctx context.Context) time.Time {
	if !c.polled && c.world.SourceFault == "" {
		return c.recover(ctx) // nothing is known yet, not even that nothing can be known
	}
	c.world.Now = c.Now()
	c.world.Policy = c.Policies.Digest()
	reconcile.DecideInto(&c.decision, &c.world)
	c.Decided(c.world, c.decision)
	c.publish(ctx, c.decision)
	for _, action := range c.decision.Actions {
		c.start(ctx, action)
	}
	c.watchDrift(ctx)
	return c.lookAgain(c.decision)
}

// recover goes on with what was being brought back to last good when the daemon
// before ended: that needs no Git, and Git may take its time to answer.
func (c *Controller) recover(ctx context.Context) time.Time {
	c.world.Now, c.world.Policy = c.Now(), c.Policies.Digest()
	reconcile.DecideInto(&c.decision, &c.world)
	c.decision.Actions = slices.DeleteFunc(c.decision.Actions, func(a reconcile.Action) bool {
		return a.Kind != reconcile.ActionUndo && a.Kind != reconcile.ActionRestore
	})
	c.Decided(c.world, c.decision)
	for _, action := range c.decision.Actions {
		c.start(ctx, action)
	}
	return c.decision.LookAgain
}

// lookAgain is when the decision asks to, or when a look at a new commit has
// taken so long that it is to be told.
func (c *Controller) lookAgain(d reconcile.Decision) time.Time {
	again := d.LookAgain
	for _, e := range c.environments {
		if e.glancing.IsZero() {
			continue
		}
		if told := e.glancing.Add(glance); told.After(c.world.Now) && (again.IsZero() || told.Before(again)) {
			again = told
		}
	}
	return again
}

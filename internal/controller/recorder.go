package controller

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"sync"
	"time"

	"chaperone.dev/chaperone/internal/policy"
	"chaperone.dev/chaperone/internal/promotion"
	"chaperone.dev/chaperone/internal/reconcile"
	"chaperone.dev/chaperone/internal/state"
)

// recorder writes one environment's record: one write at a time, each on top
// of the last that succeeded, and each with the newest status that there is.
type recorder struct {
	store Store
	warn  func(error) // of each try that failed
	// turn is held during a write, however long that takes. It is a channel so
	// that waiting for it is visible to tests in which time is not real.
	turn    chan struct{}
	stagger func(func()) func() // see Config
	record  state.Record

	shownMu sync.Mutex
	shown   *shown // not stored yet
	asked   bool   // a write of it is on its way that stores nothing else
	last    shown  // as it was stored last
}

// shown is what people see of an environment.
type shown struct {
	status   reconcile.Status
	message  string
	since    time.Time
	file     promotion.Environment // as last valid; zero while it never was
	excepted *policy.Countdown
	drill    Drill
}

func (c *Controller) newRecorder(record state.Record) *recorder {
	warn := func(err error) {
		c.Log.Warn("store record; trying again", "environment", record.ID.String(), "reason", promotion.ClusterUnavailable, "err", err)
	}
	return &recorder{store: c.Store, warn: warn, record: record, turn: make(chan struct{}, 1), stagger: c.Stagger}
}

// show takes a status along with the next write. It does not block, and
// reports whether a write has to be asked for: not when one is carried out
// anyway, nor when somebody asked for one that has not been done yet.
func (r *recorder) show(s shown, carried bool) (ask bool) {
	r.shownMu.Lock()
	defer r.shownMu.Unlock()
	ask = !carried && !r.asked
	r.shown, r.asked = &s, r.asked || ask
	return ask
}

// hide forgets a status that is not stored yet: what is stored is another
// writer's, and what differs from that is shown anew.
func (r *recorder) hide() {
	r.shownMu.Lock()
	defer r.shownMu.Unlock()
	r.shown, r.asked = nil, false
}

// take waits for the turn. Who had to wait goes on when the one before is done,
// and so at the same time as whoever that one tells.
func (r *recorder) take() {
	select {
	case r.turn <- struct{}{}:
	default:
		goOn := r.stagger(func() {})
		r.turn <- struct{}{}
		goOn()
	}
}

func (r *recorder) waiting() *shown {
	r.shownMu.Lock()
	defer r.shownMu.Unlock()
	return r.shown
}

// stored takes note of a write, in which s was taken along.
func (r *recorder) stored(s *shown, saved state.Record) {
	r.shownMu.Lock()
	defer r.shownMu.Unlock()
	r.last = shown{status: saved.Status, message: saved.Message, excepted: saved.Excepted, drill: saved.Drill}
	if r.shown == s {
		r.shown, r.asked = nil, false
	}
}

// holds reports whether this is what is stored, and nothing waits to take its
// place.
func (r *recorder) holds(s *shown) bool {
	r.shownMu.Lock()
	defer r.shownMu.Unlock()
	return s != nil && r.shown == nil && s.same(&r.last)
}

// same reports whether people see the same.
func (s *shown) same(as *shown) bool {
	return visible(s.status) == visible(as.status) && s.message == as.message && sameCountdown(s.excepted, as.excepted) && s.drill.Same(as.drill)
}

// flush stores the status that waits, unless another write took it along. It
// reports whether another writer was met who changed the journal.
func (r *recorder) flush(ctx context.Context) (rival bool, err error) {
	r.take()
	defer func() { <-r.turn }()
	before := r.record.Journal
	for r.waiting() != nil && err == nil {
		err = r.write(ctx, nil, func(*state.Record) {})
	}
	return !sameJournal(before, r.record.Journal), err
}

// save applies change to a record whose journal is still base, and stores it,
// trying again while the store cannot be reached. Otherwise it changes nothing
// and returns state.ErrConflict: that is the fence. A label that somebody put
// on the object, or another replica's status, is no reason to begin again.
func (r *recorder) save(ctx context.Context, base reconcile.Journal, change func(*state.Record)) error {
	r.take()
	defer func() { <-r.turn }()
	return r.write(ctx, &base, change)
}

// confirmed reports whether what is stored is still what was stored last, with
// nothing to be added to it: a journal that goes on, and the file to go on by.
// Where that is not so, or cannot be told, a save finds out.
func (r *recorder) confirmed(ctx context.Context, base reconcile.Journal, file promotion.Environment) bool {
	r.take()
	defer func() { <-r.turn }()
	if r.record.Version == "" || r.waiting() != nil || !sameJournal(base, r.record.Journal) || !reflect.DeepEqual(file, r.record.Environment) {
		return false
	}
	current, err := r.store.Current(ctx, r.record)
	return current && err == nil
}

func (r *recorder) write(ctx context.Context, base *reconcile.Journal, change func(*state.Record)) error {
	const first, longest = 250 * time.Millisecond, 10 * time.Second
	for wait := first; ; wait = min(2*wait, longest) {
		if base != nil && !sameJournal(*base, r.record.Journal) {
			return fmt.Errorf("journal of %s: %w", r.record.ID, state.ErrConflict)
		}
		next, status := r.record, r.waiting()
		status.applyTo(&next)
		change(&next) // the file by which an effect ran, not the one that was shown
		saved, err := r.store.Save(ctx, next)
		if err == nil {
			r.record = saved
			r.stored(status, saved)
			return nil
		}
		if errors.Is(err, state.ErrConflict) {
			if err = r.reload(ctx); err == nil {
				continue
			}
		}
		if ctx.Err() == nil {
			r.warn(err)
		}
		select {
		case <-ctx.Done():
			return errors.Join(ctx.Err(), err)
		case <-time.After(wait):
		}
	}
}

func (s *shown) applyTo(r *state.Record) {
	if s == nil {
		return
	}
	r.Status, r.Message, r.Since, r.Excepted, r.Drill = s.status, s.message, s.since, s.excepted, s.drill
	if s.file.ID == r.ID {
		r.Environment = s.file
	}
}

// sameJournal compares what is stored of them: times read back are equal and
// not identical.
func sameJournal(a, b reconcile.Journal) bool {
	before, errBefore := json.Marshal(a)
	after, errAfter := json.Marshal(b)
	return errBefore == nil && errAfter == nil && bytes.Equal(before, after)
}

// reload takes over what another writer stored.
func (r *recorder) reload(ctx context.Context) error {
	latest, err := r.store.Get(ctx, r.record.ID)
	if errors.Is(err, state.ErrNotFound) {
		r.record.Version = "" // deleted by somebody: it is written anew
		return nil
	}
	if err == nil {
		err = latest.Unreadable
	}
	if err != nil {
		return err
	}
	r.record = latest
	return nil
}

// renew reads the record again, trying while the store cannot be reached.
func (r *recorder) renew(ctx context.Context) (state.Record, error) {
	r.take()
	defer func() { <-r.turn }()
	const pause = time.Second
	for {
		err := r.reload(ctx)
		if err == nil {
			return r.record, nil
		}
		select {
		case <-ctx.Done():
			return r.record, errors.Join(ctx.Err(), err)
		case <-time.After(pause):
		}
	}
}

func (r *recorder) latest() state.Record {
	r.take()
	defer func() { <-r.turn }()
	return r.record
}

package controller

import (
	"context"
	"errors"
	"sync"
	"time"

	"chaperone.dev/chaperone/internal/state"
)

// recorder writes one environment's record: one write at a time, each on top
// of the last that succeeded.
type recorder struct {
	store  Store
	mu     sync.Mutex
	record state.Record
}

func newRecorder(store Store, record state.Record) *recorder {
	return &recorder{store: store, record: record}
}

// save applies change to the record and stores it, trying again while the
// store cannot be reached. After state.ErrConflict the recorder holds what the
// other writer wrote.
func (r *recorder) save(ctx context.Context, change func(*state.Record)) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	const first, longest = 250 * time.Millisecond, 10 * time.Second
	for wait := first; ; wait = min(2*wait, longest) {
		next := r.record
		change(&next)
		saved, err := r.store.Save(ctx, next)
		switch {
		case err == nil:
			r.record = saved
			return nil
		case errors.Is(err, state.ErrConflict):
			return errors.Join(err, r.reload(ctx))
		}
		select {
		case <-ctx.Done():
			return errors.Join(ctx.Err(), err)
		case <-time.After(wait):
		}
	}
}

// reload takes over what another writer stored.
func (r *recorder) reload(ctx context.Context) error {
	latest, err := r.store.Get(ctx, r.record.ID)
	if errors.Is(err, state.ErrNotFound) {
		r.record.Version = "" // deleted by somebody: it is written anew
		return nil
	}
	if err != nil {
		return err
	}
	r.record = latest
	return nil
}

func (r *recorder) latest() state.Record {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.record
}

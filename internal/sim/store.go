package sim

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"chaperone.dev/chaperone/internal/fault"
	"chaperone.dev/chaperone/internal/manifest"
	"chaperone.dev/chaperone/internal/promotion"
	"chaperone.dev/chaperone/internal/reconcile"
	"chaperone.dev/chaperone/internal/state"
)

// kept is the object of one environment in the daemon's namespace.
type kept struct {
	version int
	spec    []byte // its file
	status  []byte // all else, as JSON
	// Requests are annotations, which people write.
	requests   state.Requests
	unreadable string
}

// status is what Save writes beside the file.
type status struct {
	Status   reconcile.Status
	Message  string
	Since    time.Time
	Journal  reconcile.Journal
	Evidence string
}

// storage is what the daemon keeps in Kubernetes.
type storage struct {
	down     bool
	version  int
	records  map[promotion.ID]*kept
	bundles  map[promotion.ID]map[reconcile.Digest]manifest.Set
	releases map[string]state.Release
	events   []event
	watchers map[int]chan struct{} // by life
}

type event struct {
	environment promotion.ID
	reason      promotion.Reason
	message     string
}

func newStorage() *storage {
	return &storage{
		records: map[promotion.ID]*kept{}, bundles: map[promotion.ID]map[reconcile.Digest]manifest.Set{},
		releases: map[string]state.Release{}, watchers: map[int]chan struct{}{},
	}
}

// tell wakes those who watch requests.
func (s *storage) tell() {
	for _, changed := range s.watchers {
		select {
		case changed <- struct{}{}:
		default:
		}
	}
}

// journal is what is stored of one environment now.
func (s *storage) journal(env promotion.ID) (reconcile.Journal, bool) {
	st, found := s.told(env)
	return st.Journal, found
}

// told is all that is kept beside the file.
func (s *storage) told(env promotion.ID) (st status, found bool) {
	object, found := s.records[env]
	if !found || json.Unmarshal(object.status, &st) != nil {
		return status{}, false
	}
	return st, true
}

// storePort is the daemon's namespace as one life sees it.
type storePort struct{ *life }

func (p storePort) reach() error {
	if p.s.store.down {
		return fault.Retryable("connect", "store", errors.New("connection refused"))
	}
	return nil
}

func (p storePort) read(env promotion.ID, object *kept) (state.Record, error) {
	r := state.Record{ID: env, Version: fmt.Sprint(object.version), Requests: object.requests}
	if object.unreadable != "" {
		r.Unreadable = fault.Terminal("read", "Environment/"+env.String(), errors.New(object.unreadable))
		return r, nil
	}
	var st status
	if len(object.status) > 0 {
		if err := json.Unmarshal(object.status, &st); err != nil {
			return r, err
		}
	}
	if err := json.Unmarshal(object.spec, &r.Environment); err != nil {
		return r, err
	}
	r.Status, r.Message, r.Since, r.Journal, r.Evidence = st.Status, st.Message, st.Since, st.Journal, st.Evidence
	return r, nil
}

// Load implements controller.Store.
func (p storePort) Load(ctx context.Context) (records []state.Record, err error) {
	err = p.call(ctx, "Store.Load", "", speedStore, func() error {
		if err := p.reach(); err != nil {
			return err
		}
		records = nil
		for _, env := range p.s.store.ids() {
			record, err := p.read(env, p.s.store.records[env])
			if err != nil {
				return err
			}
			p.heard[env] = heard{p.s.pace.elapsed(), record.Requests}
			records = append(records, record)
		}
		return nil
	})
	return records, err
}

func (s *storage) ids() []promotion.ID {
	return slices.SortedFunc(maps.Keys(s.records), promotion.ID.Compare)
}

// Get implements controller.Store.
func (p storePort) Get(ctx context.Context, env promotion.ID) (record state.Record, err error) {
	err = p.call(ctx, "Store.Get", env.String(), speedStore, func() error {
		if err := p.reach(); err != nil {
			return err
		}
		object, found := p.s.store.records[env]
		if !found {
			return fault.Retryable("read", env.String(), state.ErrNotFound)
		}
		record, err = p.read(env, object)
		return err
	})
	if err != nil {
		return state.Record{ID: env}, err
	}
	return record, nil
}

// Current implements controller.Store.
func (p storePort) Current(ctx context.Context, r state.Record) (current bool, err error) {
	err = p.call(ctx, "Store.Current", r.ID.String(), speedStore, func() error {
		if err := p.reach(); err != nil {
			return err
		}
		current = p.fence(r.ID, r.Version) == nil
		return nil
	})
	return current && err == nil, err
}

// Save implements controller.Store: the file first, where it changed, then the
// rest. Both writes are refused on another version than the one that was read.
func (p storePort) Save(ctx context.Context, r state.Record) (state.Record, error) {
	if r.Unreadable != nil {
		return r, fault.Terminal("write", r.ID.String(), r.Unreadable)
	}
	spec, err := json.Marshal(r.Environment)
	if err != nil {
		return r, err
	}
	if r.Environment.ID != r.ID {
		spec = []byte("{}")
	}
	st, err := json.Marshal(status{Status: shown(r.Status), Message: r.Message, Since: r.Since.UTC().Truncate(time.Second),
		Journal: r.Journal, Evidence: r.Evidence})
	if err != nil {
		return r, err
	}
	p.s.checkSilent(p.life, "record of "+r.ID.String(), r.Message, r.Evidence)
	version := r.Version
	if p.differs(r, spec) {
		err := p.call(ctx, "Store.SaveSpec", r.ID.String(), speedStore, func() error {
			version, err = p.saveSpec(r, spec)
			return err
		})
		if err != nil {
			return r, err
		}
	}
	err = p.call(ctx, "Store.Save", r.ID.String(), speedStore, func() error {
		if err := p.fence(r.ID, version); err != nil {
			return err
		}
		object := p.s.store.records[r.ID]
		p.s.store.version++
		object.version, object.status = p.s.store.version, st
		r.Version, r.Requests = fmt.Sprint(object.version), object.requests
		p.s.saved(p.life, r)
		return nil
	})
	return r, err
}

// shown is what is kept of a status.
func shown(s reconcile.Status) reconcile.Status {
	s.Until = s.Until.UTC().Truncate(time.Second)
	return s
}

func (p storePort) differs(r state.Record, spec []byte) bool {
	p.s.mu.Lock()
	defer p.s.mu.Unlock()
	object, found := p.s.store.records[r.ID]
	return r.Version == "" || !found || !bytes.Equal(object.spec, spec)
}

func (p storePort) saveSpec(r state.Record, spec []byte) (version string, err error) {
	store := p.s.store
	object, found := store.records[r.ID]
	if r.Version != "" {
		if err := p.fence(r.ID, r.Version); err != nil {
			return "", err
		}
	} else if found {
		return "", fault.Retryable("create", r.ID.String(), state.ErrConflict)
	}
	if err := p.reach(); err != nil {
		return "", err
	}
	if !found {
		object = &kept{}
		store.records[r.ID] = object
	}
	store.version++
	object.version, object.spec = store.version, spec
	return fmt.Sprint(object.version), nil
}

// fence refuses a write on top of anything but the version that was read.
func (p storePort) fence(env promotion.ID, version string) error {
	if err := p.reach(); err != nil {
		return err
	}
	object, found := p.s.store.records[env]
	if !found || fmt.Sprint(object.version) != version {
		return fault.Retryable("write", env.String(), state.ErrConflict)
	}
	return nil
}

// heard is what a life was told of people's requests, and when.
type heard struct {
	at       time.Duration
	requests state.Requests
}

func (s *Sim) learned(l *life, env promotion.ID, requests state.Requests) {
	s.mu.Lock()
	defer s.mu.Unlock()
	l.heard[env] = heard{s.pace.elapsed(), requests}
}

// WatchRequests implements controller.Store.
func (p storePort) WatchRequests(ctx context.Context, changed func(promotion.ID, state.Requests)) error {
	told := make(chan struct{}, 1)
	last := map[promotion.ID]state.Requests{}
	err := p.call(ctx, "Store.WatchRequests", "", speedStore, func() error {
		p.s.store.watchers[p.number] = told
		return p.reach()
	})
	if err != nil {
		return err
	}
	defer func() {
		p.s.mu.Lock()
		defer p.s.mu.Unlock()
		delete(p.s.store.watchers, p.number)
	}()
	for {
		type news struct {
			env      promotion.ID
			requests state.Requests
		}
		var all []news
		err := p.call(ctx, "Store.Deliver", "", speedStore, func() error {
			if err := p.reach(); err != nil {
				return err
			}
			for _, env := range p.s.store.ids() {
				now := p.s.store.records[env].requests
				before, known := last[env]
				if !known || !now.Equal(before) {
					all = append(all, news{env, now})
				}
				last[env] = now
			}
			for _, env := range slices.SortedFunc(maps.Keys(last), promotion.ID.Compare) {
				if _, found := p.s.store.records[env]; !found {
					all = append(all, news{env, state.Requests{}})
					delete(last, env)
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
		for _, n := range all {
			changed(n.env, n.requests)
			p.s.learned(p.life, n.env, n.requests)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-told:
		}
	}
}

// PutBundle implements controller.Store.
func (p storePort) PutBundle(ctx context.Context, env promotion.ID, digest reconcile.Digest, set manifest.Set) error {
	return p.call(ctx, "Store.PutBundle", env.String(), speedStore, func() error {
		if err := p.reach(); err != nil {
			return err
		}
		if p.s.store.bundles[env] == nil {
			p.s.store.bundles[env] = map[reconcile.Digest]manifest.Set{}
		}
		p.s.store.bundles[env][digest] = set
		return nil
	})
}

// Bundle implements controller.Store.
func (p storePort) Bundle(ctx context.Context, env promotion.ID, digest reconcile.Digest) (set manifest.Set, err error) {
	err = p.call(ctx, "Store.Bundle", env.String(), speedStore, func() error {
		if err := p.reach(); err != nil {
			return err
		}
		found := false
		if set, found = p.s.store.bundles[env][digest]; !found {
			return fmt.Errorf("bundle of %s: %w", env, state.ErrNoBundle)
		}
		return nil
	})
	return set, err
}

// KeepBundles implements controller.Store.
func (p storePort) KeepBundles(ctx context.Context, env promotion.ID, keep ...reconcile.Digest) error {
	return p.call(ctx, "Store.KeepBundles", env.String(), speedStore, func() error {
		if err := p.reach(); err != nil {
			return err
		}
		maps.DeleteFunc(p.s.store.bundles[env], func(d reconcile.Digest, _ manifest.Set) bool { return !slices.Contains(keep, d) })
		p.s.checkBundles(p.life, env)
		return nil
	})
}

// PutRelease implements controller.Store.
func (p storePort) PutRelease(ctx context.Context, r state.Release) error {
	p.s.checkSilent(p.life, "release of "+r.Environment.String(), r.Evidence, r.Subject)
	return p.call(ctx, "Store.PutRelease", r.Environment.String(), speedStore, func() error {
		if err := p.reach(); err != nil {
			return err
		}
		p.s.store.releases[fmt.Sprintf("%s-%d", r.Environment, r.Started.UnixMicro())] = r
		return nil
	})
}

// Event implements controller.Store.
func (p storePort) Event(ctx context.Context, env promotion.ID, _ bool, reason promotion.Reason, message string) error {
	p.s.checkSilent(p.life, "event of "+env.String(), message)
	return p.call(ctx, "Store.Event", env.String(), speedStore, func() error {
		if err := p.reach(); err != nil {
			return err
		}
		if strings.TrimSpace(message) == "" {
			p.s.violated(p.life, "10: an event of %s with reason %s says nothing", env, reason)
		}
		p.s.clusters.counts[effectKey{env, announced}]++
		if len(p.s.store.events) < 10_000 {
			p.s.store.events = append(p.s.store.events, event{env, reason, message})
		}
		return nil
	})
}

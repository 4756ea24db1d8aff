package contract

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"testing"
	"time"

	"chaperone.dev/chaperone/internal/controller"
	"chaperone.dev/chaperone/internal/manifest"
	"chaperone.dev/chaperone/internal/promotion"
	"chaperone.dev/chaperone/internal/reconcile"
	"chaperone.dev/chaperone/internal/source"
	"chaperone.dev/chaperone/internal/state"
)

// StoreFixture is a daemon's namespace of its own, and two daemons that use it.
type StoreFixture struct {
	controller.Store
	Other controller.Store
	// Ask writes people's requests; nil takes one back.
	Pause  func(promotion.ID, *state.Pause)
	Retry  func(promotion.ID, state.Retry)
	Delete func(promotion.ID) // the record
	Set    func(name string) manifest.Set
}

var (
	staging = promotion.ID{Pipeline: "demo", Name: "staging"}
	qa      = promotion.ID{Pipeline: "demo", Name: "testing"}
	noon    = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
)

// record is one with something in most fields.
func record(id promotion.ID) state.Record {
	release := reconcile.Release{
		Revision: source.Revision("1111111111111111111111111111111111111111"), Digest: reconcile.Digest(manifest.DigestBytes([]byte("a"))), Policy: "sha256:p",
	}
	return state.Record{
		ID: id,
		Environment: promotion.Environment{
			ID: id, File: "environments/demo/" + id.Name + ".yaml", Path: "overlays/demo/" + id.Name, Data: promotion.DataPHI,
			Target: promotion.Target{Namespace: "demo"}, After: []promotion.ID{{Pipeline: "demo", Name: "development"}},
			Promotion: promotion.Promotion{Mode: promotion.ModeAutomatic, Soak: time.Hour}, Prune: true, Drift: promotion.DriftCorrect,
			OnFailure: promotion.FailureRevert, Verify: promotion.Verify{Timeout: time.Minute, Settle: time.Second}, MaxDeletePart: 0.5, MaxRevertsPerDay: 3,
		},
		Status:  reconcile.Status{Environment: id, Phase: reconcile.PhaseReady, Reason: promotion.UpToDate, Wanted: release},
		Message: "runs it", Since: noon, Evidence: "all is well",
		Journal: reconcile.Journal{
			Running: release, LastGood: release, Verified: []reconcile.Verified{{Release: release, At: noon.Add(123 * time.Nanosecond)}},
			Attempt:    reconcile.Attempt{Release: release, Stage: reconcile.StagePruning, Tries: 2, Started: noon},
			Quarantine: []reconcile.Digest{"sha256:bad"}, Retry: reconcile.Retry{Reason: promotion.Pruning, Digest: release.Digest, At: noon, Tries: 1},
		},
	}
}

func sameJournal(t *testing.T, got, want reconcile.Journal) {
	t.Helper()
	a, err := json.Marshal(got)
	must(t, err)
	b, err := json.Marshal(want)
	must(t, err)
	if string(a) != string(b) {
		t.Errorf("journal\n%s\nwant\n%s", a, b)
	}
}

func (f StoreFixture) save(t *testing.T, r state.Record) state.Record {
	t.Helper()
	saved, err := f.Save(t.Context(), r)
	must(t, err)
	return saved
}

// StoreCases are what a Store must do.
func StoreCases() []Case[StoreFixture] {
	return slices.Concat(recordCases(), fenceCases(), requestCases(), currentCases(), bundleCases())
}

func recordCases() []Case[StoreFixture] {
	return []Case[StoreFixture]{
		{"a record reads back as it was written", func(t *testing.T, f StoreFixture) {
			want := record(staging)
			saved := f.save(t, want)
			got, err := f.Other.Get(t.Context(), staging)
			must(t, err)
			sameJournal(t, got.Journal, want.Journal)
			if got.Version == "" || got.Version != saved.Version || got.Message != want.Message || got.Evidence != want.Evidence || !got.Since.Equal(noon) {
				t.Errorf("got %+v", got)
			}
			if got.Status.Reason != want.Status.Reason || got.Status.Phase != want.Status.Phase || got.Status.Wanted != want.Status.Wanted || got.ID != staging {
				t.Errorf("status %+v", got.Status)
			}
			if got.Environment.Path != want.Environment.Path || got.Environment.Promotion.Soak != time.Hour || !slices.Equal(got.Environment.After, want.Environment.After) {
				t.Errorf("environment %+v", got.Environment)
			}
		}},
		{"an environment whose file was never valid has a record too", func(t *testing.T, f StoreFixture) {
			r := record(staging)
			r.Environment = promotion.Environment{}
			f.save(t, r)
			got, err := f.Get(t.Context(), staging)
			must(t, err)
			if got.Environment.ID != (promotion.ID{}) || got.Message != r.Message {
				t.Errorf("got %+v", got)
			}
		}},
		{"all records are loaded, in order", func(t *testing.T, f StoreFixture) {
			f.save(t, record(qa))
			f.save(t, record(staging))
			all, err := f.Load(t.Context())
			must(t, err)
			if len(all) != 2 || all[0].ID != staging || all[1].ID != qa {
				t.Errorf("loaded %d", len(all))
			}
		}},
		{"a record that is not there", func(t *testing.T, f StoreFixture) {
			_, err := f.Get(t.Context(), staging)
			mustBe(t, err, state.ErrNotFound, false)
			all, err := f.Load(t.Context())
			if err != nil || len(all) != 0 {
				t.Errorf("loaded %d, %v", len(all), err)
			}
		}},
		{"a release and an event are taken, again and again", func(t *testing.T, f StoreFixture) {
			f.save(t, record(staging))
			release := state.Release{Environment: staging, Release: record(staging).Journal.Running, Phase: state.ReleaseVerifying, Started: noon, Subject: "s"}
			for range 2 {
				must(t, f.PutRelease(t.Context(), release))
				release.Phase = state.ReleaseVerified
				must(t, f.Event(t.Context(), staging, true, promotion.UpToDate, "it is"))
			}
		}},
		{"a call that is called off has no answer", func(t *testing.T, f StoreFixture) {
			f.save(t, record(staging))
			ctx, cancel := context.WithCancel(t.Context())
			cancel()
			if _, err := f.Get(ctx, staging); err == nil {
				t.Error("it has")
			}
		}},
	}
}

func fenceCases() []Case[StoreFixture] {
	return []Case[StoreFixture]{
		{"a write on top of an older version changes nothing", func(t *testing.T, f StoreFixture) {
			first := f.save(t, record(staging))
			theirs := first
			theirs.Message = "theirs"
			theirs.Journal.Hold = reconcile.Hold{Reason: promotion.RevertConflict, Digest: "sha256:d"}
			_, err := f.Other.Save(t.Context(), readBy(t, f.Other, theirs))
			must(t, err)
			ours := first
			ours.Message, ours.Journal.Hold = "ours", reconcile.Hold{}
			_, err = f.Save(t.Context(), ours)
			mustBe(t, err, state.ErrConflict, false)
			got, err := f.Get(t.Context(), staging)
			must(t, err)
			if got.Message != "theirs" || got.Journal.Hold.Reason != promotion.RevertConflict {
				t.Errorf("got %q", got.Message)
			}
		}},
		{"two that create the same record", func(t *testing.T, f StoreFixture) {
			f.save(t, record(staging))
			_, err := f.Other.Save(t.Context(), record(staging))
			mustBe(t, err, state.ErrConflict, false)
		}},
		{"a record that somebody deleted is not written as if it were there", func(t *testing.T, f StoreFixture) {
			saved := f.save(t, record(staging))
			f.Delete(staging)
			saved.Message = "still here"
			_, err := f.Save(t.Context(), saved)
			mustBe(t, err, state.ErrConflict, false)
			saved.Version = ""
			f.save(t, saved)
		}},
		{"one write after the other", func(t *testing.T, f StoreFixture) {
			r := f.save(t, record(staging))
			for i := range 3 {
				r.Journal.Attempt.Tries = i
				r.Environment.Drift = promotion.DriftReport
				r = f.save(t, r)
			}
			got, err := f.Get(t.Context(), staging)
			must(t, err)
			if got.Journal.Attempt.Tries != 2 || got.Version != r.Version {
				t.Errorf("tries %d at version %s, want 2 at %s", got.Journal.Attempt.Tries, got.Version, r.Version)
			}
		}},
		{"a status alone is a write", func(t *testing.T, f StoreFixture) {
			first := f.save(t, record(staging))
			second := first
			second.Message = "changed"
			if saved := f.save(t, second); saved.Version == first.Version {
				t.Error("the version is the same")
			}
			_, err := f.Save(t.Context(), first)
			mustBe(t, err, state.ErrConflict, false)
		}},
	}
}

// readBy is a record as another daemon has read it.
func readBy(t *testing.T, store controller.Store, r state.Record) state.Record {
	t.Helper()
	got, err := store.Get(t.Context(), r.ID)
	must(t, err)
	got.Message, got.Journal = r.Message, r.Journal
	return got
}

// told collects what a watch tells, until the test ends.
func told(t *testing.T, store controller.Store) func() (promotion.ID, state.Requests) {
	t.Helper()
	type news struct {
		id       promotion.ID
		requests state.Requests
	}
	all, ended := make(chan news, 100), make(chan error, 1)
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		ended <- store.WatchRequests(ctx, func(id promotion.ID, requests state.Requests) { all <- news{id, requests} })
	}()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err == nil {
			t.Error("the watch ended without an error")
		}
	})
	return func() (promotion.ID, state.Requests) {
		t.Helper()
		select {
		case n := <-all:
			return n.id, n.requests
		case <-time.After(30 * time.Second):
			t.Fatal("nothing is told")
			return promotion.ID{}, state.Requests{}
		}
	}
}

func requestCases() []Case[StoreFixture] {
	pause := &state.Pause{Reason: "look into it", By: "ann", At: noon, Until: noon.Add(time.Hour)}
	return []Case[StoreFixture]{
		{"people's requests are told, at first and as they change", func(t *testing.T, f StoreFixture) {
			f.save(t, record(staging))
			next := told(t, f.Store)
			if id, requests := next(); id != staging || requests.Pause != nil || requests.Retry != nil {
				t.Fatalf("%s: %+v, want no request", id, requests)
			}
			f.Pause(staging, pause)
			if _, requests := next(); requests.Pause == nil || requests.Pause.By != "ann" || !requests.Pause.Until.Equal(pause.Until) {
				t.Fatalf("%+v, want the pause", requests)
			}
			f.Retry(staging, state.Retry{ID: "1", By: "bob", At: noon})
			if _, requests := next(); requests.Retry == nil || requests.Retry.ID != "1" || requests.Pause == nil {
				t.Fatalf("%+v, want both", requests)
			}
			f.Pause(staging, nil)
			if _, requests := next(); requests.Pause != nil || requests.Retry == nil {
				t.Fatalf("%+v, want the retry alone", requests)
			}
		}},
		{"the daemon's own writes take no request along, and are no news", func(t *testing.T, f StoreFixture) {
			saved := f.save(t, record(staging))
			f.Pause(staging, pause)
			got, err := f.Get(t.Context(), staging)
			must(t, err)
			if got.Requests.Pause == nil || got.Version == saved.Version {
				t.Fatalf("requests %+v at version %s", got.Requests, got.Version)
			}
			next := told(t, f.Store)
			next()
			got.Message = "paused"
			f.save(t, got)
			f.Retry(staging, state.Retry{ID: "2", By: "bob", At: noon})
			if _, requests := next(); requests.Retry == nil || requests.Pause == nil {
				t.Errorf("%+v, want both", requests)
			}
		}},
		{"what is asked of a record that is gone is nothing", func(t *testing.T, f StoreFixture) {
			f.save(t, record(staging))
			f.Pause(staging, pause)
			next := told(t, f.Store)
			if _, requests := next(); requests.Pause == nil {
				t.Fatal("no pause")
			}
			f.Delete(staging)
			if id, requests := next(); id != staging || !requests.Equal(state.Requests{}) {
				t.Errorf("%s: %+v, want nothing", id, requests)
			}
		}},
	}
}

func currentCases() []Case[StoreFixture] {
	return []Case[StoreFixture]{
		{"a record is current until somebody writes it or asks for something", func(t *testing.T, f StoreFixture) {
			current := func(when string, r state.Record, want bool) {
				t.Helper()
				if got, err := f.Current(t.Context(), r); err != nil || got != want {
					t.Errorf("%s: %v, %v; want %v", when, got, err, want)
				}
			}
			current("never stored", record(staging), false)
			saved := f.save(t, record(staging))
			current("saved", saved, true)
			current("never stored, and there", record(staging), false)
			f.Pause(staging, &state.Pause{Reason: "look into it", By: "ann", At: noon})
			current("after a request", saved, false)
			read, err := f.Other.Get(t.Context(), staging)
			must(t, err)
			current("read anew", read, true)
			read.Message = "of another writer"
			_, err = f.Other.Save(t.Context(), read)
			must(t, err)
			current("after another writer", read, false)
			read, err = f.Get(t.Context(), staging)
			must(t, err)
			f.Delete(staging)
			current("deleted", read, false)
		}},
	}
}

func bundleCases() []Case[StoreFixture] {
	digest := func(t *testing.T, set manifest.Set) reconcile.Digest {
		t.Helper()
		d, err := set.Digest()
		must(t, err)
		return reconcile.Digest(d)
	}
	return []Case[StoreFixture]{
		{"a bundle reads back, and is the environment's own", func(t *testing.T, f StoreFixture) {
			set := f.Set("one")
			for range 2 {
				must(t, f.PutBundle(t.Context(), staging, digest(t, set), set))
			}
			got, err := f.Other.Bundle(t.Context(), staging, digest(t, set))
			must(t, err)
			if digest(t, got) != digest(t, set) {
				t.Error("it is another")
			}
			if _, err := f.Bundle(t.Context(), qa, digest(t, set)); !errors.Is(err, state.ErrNoBundle) {
				t.Errorf("error %v, want no bundle", err)
			}
		}},
		{"bundles that nobody needs are let go of", func(t *testing.T, f StoreFixture) {
			one, two := f.Set("one"), f.Set("two")
			must(t, f.PutBundle(t.Context(), staging, digest(t, one), one))
			must(t, f.PutBundle(t.Context(), staging, digest(t, two), two))
			must(t, f.PutBundle(t.Context(), qa, digest(t, one), one))
			must(t, f.KeepBundles(t.Context(), staging, digest(t, two)))
			if _, err := f.Bundle(t.Context(), staging, digest(t, one)); !errors.Is(err, state.ErrNoBundle) {
				t.Errorf("error %v, want no bundle", err)
			}
			for id, set := range map[promotion.ID]manifest.Set{staging: two, qa: one} {
				_, err := f.Bundle(t.Context(), id, digest(t, set))
				must(t, err)
			}
		}},
	}
}

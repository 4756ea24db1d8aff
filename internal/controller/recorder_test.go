package controller

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"

	"chaperone.dev/chaperone/internal/promotion"
	"chaperone.dev/chaperone/internal/reconcile"
	"chaperone.dev/chaperone/internal/state"
	"chaperone.dev/chaperone/internal/state/v1alpha1"
	"chaperone.dev/chaperone/internal/testkit/localcluster"
)

// away is a store that cannot be reached for its first writes.
type away struct {
	*memory
	writes int
	tried  int
}

var errAway = errors.New("no route to host")

func (a *away) Save(ctx context.Context, r state.Record) (state.Record, error) {
	if a.tried++; a.tried <= a.writes {
		return r, errAway
	}
	return a.memory.Save(ctx, r)
}

func recorderOf(t *testing.T, store Store) (*recorder, *int) {
	t.Helper()
	record, err := store.Get(t.Context(), staging)
	if err != nil && !errors.Is(err, state.ErrNotFound) {
		t.Fatal(err)
	}
	warned := 0
	return &recorder{
		store: store, record: record, warn: func(error) { warned++ }, turn: make(chan struct{}, 1), stagger: func(f func()) func() { return f },
	}, &warned
}

func running(digest string) func(*state.Record) {
	return func(r *state.Record) { r.Journal.Running.Digest = reconcile.Digest(digest) }
}

// A store that is away is tried until it is back, and every try is told of.
func TestRecorderOutlastsAnOutage(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := &away{memory: stored(reconcile.StageNone), writes: 5}
		r, warned := recorderOf(t, store)
		began := time.Now()
		if err := r.save(t.Context(), r.record.Journal, running("new")); err != nil {
			t.Fatal(err)
		}
		if store.record.Journal.Running.Digest != "new" || *warned != 5 {
			t.Errorf("stored %q after %d warnings", store.record.Journal.Running.Digest, *warned)
		}
		if took := time.Since(began); took < 5*time.Second || took > 30*time.Second {
			t.Errorf("five tries in vain took %s; want pauses that grow", took)
		}
	})
}

func TestRecorderEndsWithItsContext(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r, _ := recorderOf(t, &away{memory: stored(reconcile.StageNone), writes: 1000})
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if err := r.save(ctx, r.record.Journal, running("new")); !errors.Is(err, errAway) || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v; want both what was wrong and that the time was over", err)
		}
	})
}

// What a rival stored is met as a conflict by the effect, even when a status
// that was written in between has read it already.
func TestRecorderIsFencedThroughAStatus(t *testing.T) {
	t.Parallel()
	store := stored(reconcile.StageRestoring)
	mine, _ := recorderOf(t, store)
	base := mine.record.Journal
	rival, _ := recorderOf(t, store)
	if err := rival.save(t.Context(), base, running("rival's")); err != nil {
		t.Fatal(err)
	}
	mine.show(shown{message: "still at it"}, false)
	met, err := mine.flush(t.Context())
	if err != nil || !met {
		t.Errorf("the status met a rival: %t, %v; want true", met, err)
	}
	if err := mine.save(t.Context(), base, running("mine")); !errors.Is(err, state.ErrConflict) {
		t.Errorf("the effect's outcome: %v, want ErrConflict", err)
	}
	if got := store.record; got.Journal.Running.Digest != "rival's" || got.Message != "still at it" {
		t.Errorf("stored are %q and %q", got.Journal.Running.Digest, got.Message)
	}
}

// However writes overtake each other, the last status is the one that stays.
func TestRecorderKeepsTheNewestStatus(t *testing.T) {
	t.Parallel()
	store := stored(reconcile.StageNone)
	r, _ := recorderOf(t, store)
	c := replica(t, store, &actor{})
	const last = 200
	for i := range last + 1 {
		if r.show(shown{message: fmt.Sprint(i)}, false) {
			c.spawn(func() {
				if _, err := r.flush(t.Context()); err != nil {
					t.Error(err)
				}
			})
		}
		if i%50 == 0 {
			c.spawn(func() {
				if err := r.save(t.Context(), r.latest().Journal, func(*state.Record) {}); err != nil {
					t.Error(err)
				}
			})
		}
	}
	c.work.Wait()
	if store.record.Message != fmt.Sprint(last) {
		t.Errorf("stored is status %s, want %d", store.record.Message, last)
	}
	if store.version > last {
		t.Errorf("%d writes for %d statuses that came at once", store.version, last+1)
	}
}

// The same on a real API server: a label is no rival, another journal is, and
// a record that somebody deletes is written anew.
func TestRecorderOnACluster(t *testing.T) {
	t.Parallel()
	cluster := localcluster.Start(t)
	namespace := cluster.Namespace(t)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := state.InstallCRDs(ctx, cluster.Config()); err != nil {
		t.Fatal(err)
	}
	open := func() *recorder {
		store, err := state.New(cluster.Config(), namespace, time.Now)
		if err != nil {
			t.Fatal(err)
		}
		r, _ := recorderOf(t, store)
		r.record.ID = staging
		return r
	}
	mine, empty := open(), reconcile.Journal{}
	begun := func(r *state.Record) {
		running("one")(r)
		r.Journal.Attempt.Started = time.Now() // not as precise when read back
	}
	if err := mine.save(ctx, empty, begun); err != nil {
		t.Fatal(err)
	}
	client, err := dynamic.NewForConfig(cluster.Config())
	if err != nil {
		t.Fatal(err)
	}
	environments := client.Resource(v1alpha1.GroupVersion.WithResource("environments")).Namespace(namespace)
	label := []byte(`{"metadata":{"labels":{"team":"blue"}}}`)
	if _, err := environments.Patch(ctx, state.ObjectName(staging), types.MergePatchType, label, metav1.PatchOptions{}); err != nil {
		t.Fatal(err)
	}
	if err := mine.save(ctx, mine.record.Journal, running("two")); err != nil {
		t.Errorf("after somebody's label: %v", err)
	}

	base := mine.record.Journal
	rival := open()
	if err := rival.save(ctx, rival.record.Journal, running("three")); err != nil {
		t.Fatal(err)
	}
	if err := mine.save(ctx, base, running("four")); !errors.Is(err, state.ErrConflict) {
		t.Errorf("after a rival's journal: %v, want ErrConflict", err)
	}

	if err := environments.Delete(ctx, state.ObjectName(staging), metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	if err := rival.save(ctx, rival.record.Journal, running("five")); err != nil {
		t.Errorf("after it was deleted: %v", err)
	}
	if got := open().record.Journal.Running.Digest; got != "five" {
		t.Errorf("stored is %q, want five", got)
	}
}

// Pauses of rivals differ, and grow, and end.
func TestRivalsPause(t *testing.T) {
	t.Parallel()
	c, seen := New(Ports{}, Config{}), map[time.Duration]bool{}
	for before := range 100 {
		longest := time.Second << min(before, 5)
		pause := c.rivalPause(before)
		seen[pause] = true
		if pause < longest/4 || pause > longest+longest/4 {
			t.Errorf("after %d times in a row: %s", before, pause)
		}
	}
	if len(seen) < 50 {
		t.Errorf("%d pauses of 100 differ", len(seen))
	}
}

func TestPollsAreSpreadAndBounded(t *testing.T) {
	t.Parallel()
	const interval = 30 * time.Second
	c := New(Ports{}, Config{})
	for failures, want := range []time.Duration{interval, 2 * interval, 4 * interval, 8 * interval, 8 * interval} {
		for range 100 {
			if got := c.jittered(interval, failures, 0.1); got < want || got > want*11/10 {
				t.Errorf("after %d failures: %s, want about %s", failures, got, want)
			}
		}
	}
}

// What an effect stores of the file by which it ran is not undone by a status
// that was shown before it, and goes with the same write.
func TestRecorderKeepsTheFileOfAnEffect(t *testing.T) {
	t.Parallel()
	store := stored(reconcile.StageNone)
	r, _ := recorderOf(t, store)
	old, moved := promotion.Environment{ID: staging, Path: "overlays/old"}, promotion.Environment{ID: staging, Path: "overlays/new"}
	r.show(shown{message: "moving", file: old}, true)
	if err := r.save(t.Context(), r.record.Journal, func(record *state.Record) { record.Environment = moved }); err != nil {
		t.Fatal(err)
	}
	if got := store.record; got.Environment.Path != moved.Path || got.Message != "moving" {
		t.Errorf("stored are %s and %q; want %s and the status", got.Environment.Path, got.Message, moved.Path)
	}
}

package controller

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"chaperone.dev/chaperone/internal/promotion"
	"chaperone.dev/chaperone/internal/reconcile"
)

// watched runs the drift watch of an environment for a while, with the loop.
func watched(t *testing.T, here *actor, stage reconcile.Stage, during time.Duration) reconcile.Environment {
	t.Helper()
	store := stored(stage)
	store.record.Journal.Running = store.record.Journal.LastGood
	c := replica(t, store, here)
	ctx, stop := context.WithTimeout(t.Context(), during)
	defer stop()
	c.spawn(func() { drift{c: c, file: promotion.Environment{ID: staging}, digest: "good"}.run(ctx) })
	for {
		select {
		case event := <-c.events:
			event()
		case <-ctx.Done():
			c.work.Wait()
			e, _ := c.world.Find(staging)
			return e
		}
	}
}

// An object was deleted while the API server was in trouble: no further change
// comes to ask for another look.
func TestDriftIsLookedForAgainAfterAnError(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		here := &actor{drift: []func() ([]string, error){
			func() ([]string, error) { return nil, errors.New("no answer") },
			func() ([]string, error) { return nil, errors.New("no answer") },
			func() ([]string, error) { return []string{"create Deployment/demo/app"}, nil },
		}}
		if e := watched(t, here, reconcile.StageNone, time.Minute); !e.Drifted || len(here.done) != 3 {
			t.Errorf("drifted: %t after looks %v; want it seen by the third", e.Drifted, here.done)
		}
	})
}

// What no watch tells of is seen all the same, some time.
func TestDriftIsLookedForWithoutAWatch(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		here := &actor{drift: []func() ([]string, error){
			func() ([]string, error) { return nil, nil },
			func() ([]string, error) { return []string{"create Widget/demo/app"}, nil },
		}}
		if e := watched(t, here, reconcile.StageNone, 15*time.Minute); !e.Drifted || len(here.done) != 2 {
			t.Errorf("drifted: %t after %d looks; want it seen by the second", e.Drifted, len(here.done))
		}
	})
}

// A prune that a finalizer holds up for hours must not cost a look at the
// whole cluster every second.
func TestDriftIsNotLookedForDuringAnEffect(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		here := &actor{drift: []func() ([]string, error){func() ([]string, error) { return nil, nil }}}
		if watched(t, here, reconcile.StagePruning, time.Hour); len(here.done) != 0 {
			t.Errorf("%d looks in an hour, want none", len(here.done))
		}
	})
}

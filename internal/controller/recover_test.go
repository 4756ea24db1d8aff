package controller

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"chaperone.dev/chaperone/internal/promotion"
	"chaperone.dev/chaperone/internal/reconcile"
)

// A daemon that starts in the middle of a restore goes on with it at once, though
// Git has not answered yet; what else there is waits for that.
func TestRestoreGoesOnBeforeGitHasAnswered(t *testing.T) {
	t.Parallel()
	for stage, want := range map[reconcile.Stage][]string{
		reconcile.StageRestoring: {"restore"},
		reconcile.StageUndoing:   {"undo", "restore"},
		reconcile.StagePruning:   nil,
		reconcile.StageReverting: nil,
		reconcile.StageApplying:  nil,
	} {
		t.Run(string(stage), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				store, here := stored(stage), &actor{}
				c := replica(t, store, here)
				c.polled = false
				c.world.Environments[0].Fault = promotion.SourceUnavailable // as load leaves it
				ctx, stop := context.WithCancel(t.Context())
				for range len(want) + 1 {
					c.pass(ctx)
					synctest.Wait()
					c.takeWaiting()
				}
				stop()
				if len(here.done) != len(want) {
					t.Fatalf("did %v, want %v", here.done, want)
				}
				for i, what := range want {
					if here.done[i] != what {
						t.Errorf("did %v, want %v", here.done, want)
					}
				}
			})
		})
	}
}

func TestDrillHasItsTimeOfTheDay(t *testing.T) {
	t.Parallel()
	began := time.Date(2026, 3, 2, 9, 0, 0, 0, time.UTC)
	times := map[time.Duration]bool{}
	for _, name := range []string{"development", "testing", "staging", "production"} {
		id := promotion.ID{Pipeline: "shop", Name: name}
		count, last := 0, began
		for at := time.Duration(0); at < 72*time.Hour; at += 10 * time.Minute {
			if now := began.Add(at); drillDue(id, last, now) {
				times[at%drillEvery] = true
				count, last = count+1, now
			}
		}
		if count != 3 {
			t.Errorf("%s: %d drills in three days", id, count)
		}
		if drillDue(id, began, began) {
			t.Errorf("%s: a restart begins one", id)
		}
	}
	if len(times) != 4 {
		t.Errorf("four environments have %d times of the day", len(times))
	}
}

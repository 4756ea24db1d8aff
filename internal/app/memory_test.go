package app

import (
	"testing"
	"testing/synctest"
	"time"

	"chaperone.dev/chaperone/internal/reconcile"
)

// Memory is given back once after each piece of work, when nothing has been
// under way for a while, and never for nothing.
func TestTidy(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		given := 0
		tidy := &tidy{after: 3 * time.Second, free: func() { given++ }}
		rest := reconcile.World{Environments: make([]reconcile.Environment, 2)}
		working := reconcile.World{Environments: []reconcile.Environment{{}, {Busy: reconcile.ActionVerify}}}
		looking := reconcile.World{Environments: []reconcile.Environment{{Evaluating: "4f2c"}, {}}}
		for _, step := range []struct {
			what  string
			world reconcile.World
			then  time.Duration
			want  int
		}{
			{"nothing was done yet", rest, time.Minute, 0},
			{"work begins", working, time.Minute, 0},
			{"a moment between two steps", rest, time.Second, 0},
			{"the next step", looking, time.Minute, 0},
			{"it is over", rest, 2 * time.Second, 0},
			{"still", rest, 2 * time.Second, 1},
			{"later", rest, time.Hour, 1},
			{"work again", working, time.Second, 1},
			{"over again", rest, 4 * time.Second, 2},
			{"work at the end", working, time.Second, 2},
			{"and over", rest, time.Second, 2},
		} {
			tidy.decided(step.world, reconcile.Decision{})
			time.Sleep(step.then)
			synctest.Wait()
			if given != step.want {
				t.Fatalf("%s: given back %d times, want %d", step.what, given, step.want)
			}
		}
		tidy.close()
		time.Sleep(time.Hour)
		if given != 2 {
			t.Errorf("given back after the end")
		}
	})
}

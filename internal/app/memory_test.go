package app

import (
	"slices"
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

// Garbage is collected early at rest; while something is under way as much may
// lie about as there is room for, however much lives.
func TestPace(t *testing.T) {
	t.Parallel()
	live, set := uint64(0), []int{}
	p := &pace{live: func() uint64 { return live }, set: func(percent int) { set = append(set, percent) }}
	for _, step := range []struct {
		what string
		busy bool
		live uint64
		want []int
	}{
		{"at rest", false, 10 << 20, []int{25}},
		{"still", false, 10 << 20, nil},
		{"next to nothing lives", true, 1 << 20, []int{400}},
		{"about as much", true, 4500 << 10, nil},
		{"more", true, 8 << 20, []int{200}},
		{"many objects", true, 1 << 30, []int{50}},
		{"nothing is known", true, 0, []int{400}},
		{"at rest again", false, 32 << 20, []int{25}},
	} {
		set, live = nil, step.live
		p.follow(step.busy)
		if !slices.Equal(set, step.want) {
			t.Errorf("%s: set %v, want %v", step.what, set, step.want)
		}
	}
	var none *pace
	none.follow(true) // not the daemon's to choose
}

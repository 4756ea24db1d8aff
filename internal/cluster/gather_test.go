package cluster

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// asking is a gather whose runs take as long as a test likes.
type asking struct {
	gather[int, int]

	mu   sync.Mutex
	runs [][]int
	cut  int // runs whose context ended
}

func newAsking(takes time.Duration, most int) *asking {
	a := &asking{}
	a.gather = gather[int, int]{most: most, run: func(ctx context.Context, asked []int) ([]int, error) {
		a.mu.Lock()
		a.runs = append(a.runs, asked)
		a.mu.Unlock()
		answers := make([]int, len(asked))
		for i, q := range asked {
			answers[i] = 10 * q
		}
		if sleep(ctx, takes) != nil {
			a.mu.Lock()
			defer a.mu.Unlock()
			a.cut++
		}
		return answers, ctx.Err()
	}}
	return a
}

// Who asks while an answer is on its way gets the next one, with all others who
// wait: it begins after they have asked.
func TestGatherAnswersTogether(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a, began := newAsking(time.Second, 100), time.Now()
		var group sync.WaitGroup
		for q := range 20 {
			group.Go(func() {
				time.Sleep(time.Duration(q) * time.Millisecond)
				answer, err := a.ask(t.Context(), q)
				if err != nil || answer != 10*q {
					t.Errorf("asked %d: %d, %v", q, answer, err)
				}
			})
		}
		group.Wait()
		if took := time.Since(began); len(a.runs) != 2 || len(a.runs[0]) != 1 || took != 2*time.Second {
			t.Errorf("%d runs in %s, want the first's and the others'", len(a.runs), took)
		}
		if _, err := a.ask(t.Context(), 1); err != nil || len(a.runs) != 3 {
			t.Errorf("asked later: %v after %d runs; want one that began after it", err, len(a.runs))
		}
	})
}

func TestGatherIsBounded(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a := newAsking(time.Second, 3)
		var group sync.WaitGroup
		for q := range 8 {
			group.Go(func() {
				if answer, err := a.ask(t.Context(), q); err != nil || answer != 10*q {
					t.Errorf("asked %d: %d, %v", q, answer, err)
				}
			})
		}
		group.Wait()
		for _, asked := range a.runs {
			if len(asked) > 3 {
				t.Errorf("a run has %d questions", len(asked))
			}
		}
		if len(a.runs) != 4 { // 1, 3, 3, 1
			t.Errorf("%d runs: %v", len(a.runs), a.runs)
		}
	})
}

// One who does not wait any more does not take the answer from the others, and
// nothing is looked for that nobody waits for.
func TestGatherIsCalledOffByTheLast(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a := newAsking(time.Second, 100)
		impatient, goAway := context.WithCancel(t.Context())
		var group sync.WaitGroup
		gone := func(q int) {
			if _, err := a.ask(impatient, q); !errors.Is(err, context.Canceled) {
				t.Errorf("%d, who has gone, got %v", q, err)
			}
		}
		group.Go(func() { gone(0) })
		synctest.Wait()
		group.Go(func() { gone(1) })
		group.Go(func() {
			if answer, err := a.ask(t.Context(), 2); err != nil || answer != 20 {
				t.Errorf("%d, %v", answer, err)
			}
		})
		synctest.Wait()
		goAway()
		group.Wait()
		synctest.Wait()
		if a.cut != 1 || len(a.runs) != 2 {
			t.Errorf("%d of %d runs called off; want the first, which nobody waits for", a.cut, len(a.runs))
		}
		group.Go(func() { _, _ = a.ask(t.Context(), 3) })
		synctest.Wait()
		late, leave := context.WithCancel(t.Context())
		group.Go(func() { _, _ = a.ask(late, 4) })
		synctest.Wait()
		leave() // before its run began
		synctest.Wait()
		group.Go(func() {
			if answer, err := a.ask(t.Context(), 5); err != nil || answer != 50 {
				t.Errorf("asked after one who has gone: %d, %v", answer, err)
			}
		})
		group.Wait()
	})
}

func TestGatherTellsAllOfAnError(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		broken := errors.New("broken")
		fails := true
		g := gather[int, int]{most: 10, run: func(ctx context.Context, asked []int) ([]int, error) {
			if err := sleep(ctx, time.Second); err != nil || fails {
				return nil, errors.Join(err, broken)
			}
			return asked, nil
		}}
		var group sync.WaitGroup
		for q := range 5 {
			group.Go(func() {
				if _, err := g.ask(t.Context(), q); !errors.Is(err, broken) {
					t.Error(err)
				}
			})
		}
		group.Wait()
		fails = false
		if answer, err := g.ask(t.Context(), 7); err != nil || answer != 7 {
			t.Errorf("asked after an error: %d, %v", answer, err)
		}
	})
}

// An answer that does not come does not hold up those who ask after it.
func TestGatherGoesOnBesideOneThatHangs(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := gather[int, int]{most: 10, run: func(ctx context.Context, asked []int) ([]int, error) {
			if asked[0] == 0 {
				<-ctx.Done()
			}
			return asked, ctx.Err()
		}}
		hangs, end := context.WithCancel(t.Context())
		defer end()
		for range gatherRuns - 1 {
			go func() { _, _ = g.ask(hangs, 0) }()
			time.Sleep(gatherPatience)
		}
		began := time.Now()
		if answer, err := g.ask(t.Context(), 1); err != nil || answer != 1 || time.Since(began) > gatherPatience {
			t.Errorf("%d, %v after %s", answer, err, time.Since(began))
		}
		g.mu.Lock()
		defer g.mu.Unlock()
		if g.running > gatherRuns {
			t.Errorf("%d runs at once", g.running)
		}
	})
}

// More that wait than one run may have are seen to all the same while runs hang,
// also when nobody asks any more.
func TestGatherGoesOnThroughAllThatWait(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := gather[int, int]{most: 1, run: func(ctx context.Context, asked []int) ([]int, error) {
			if asked[0] == 0 {
				<-ctx.Done()
			}
			return asked, ctx.Err()
		}}
		hangs, end := context.WithCancel(t.Context())
		defer end()
		for range 2 {
			go func() { _, _ = g.ask(hangs, 0) }()
			synctest.Wait()
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		began := time.Now()
		if answer, err := g.ask(ctx, 1); err != nil || answer != 1 || time.Since(began) > 2*gatherPatience {
			t.Errorf("%d, %v after %s", answer, err, time.Since(began))
		}
	})
}

// Runs that are to be apart wait for those who ask soon after, and make nobody
// wait who asks later.
func TestGatherKeepsRunsApart(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a, began := newAsking(10*time.Millisecond, 100), time.Now()
		a.apart = time.Second
		var group sync.WaitGroup
		for q := range 9 {
			group.Go(func() {
				time.Sleep(time.Duration(q) * 100 * time.Millisecond)
				if answer, err := a.ask(t.Context(), q); err != nil || answer != 10*q {
					t.Errorf("asked %d: %d, %v", q, answer, err)
				}
			})
		}
		group.Wait()
		if took := time.Since(began); len(a.runs) != 2 || len(a.runs[0]) != 1 || took != time.Second+10*time.Millisecond {
			t.Errorf("%d runs in %s, want the first's and the others'", len(a.runs), took)
		}
		time.Sleep(5 * time.Second)
		began = time.Now()
		if _, err := a.ask(t.Context(), 1); err != nil || time.Since(began) != 10*time.Millisecond {
			t.Errorf("asked later: answered after %s (%v); want it without a wait", time.Since(began), err)
		}
	})
}

package verify

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// answers comes to a verdict after a time.
func answers(verdict Verdict, evidence string, after time.Duration) func(context.Context) (Result, error) {
	return func(ctx context.Context) (Result, error) {
		if err := SystemClock().Wait(ctx, after); err != nil {
			return Result{}, err
		}
		return Result{Verdict: verdict, Check: "errors", Evidence: evidence}, nil
	}
}

// beside has never enough.
func beside(ask func(context.Context) (Result, error)) func(context.Context, <-chan struct{}) (Result, error) {
	return func(ctx context.Context, _ <-chan struct{}) (Result, error) { return ask(ctx) }
}

// A fail is one of the release only where what it did not change is well over
// the same time (pitfall 31).
func TestPitfall31_ControlTellsAnOutageFromABadRelease(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		check, control Verdict
		want           Verdict
		evidence       string
		after          time.Duration
	}{
		{Fail, Pass, Fail, "6% failed; meanwhile, of what was not changed: 0% failed", 5 * time.Second},
		{Fail, Fail, Error, "something else is wrong, which was not changed: 0% failed; so it says nothing that 6% failed", 5 * time.Second},
		{Fail, Error, Error, "what was not changed cannot be judged", 5 * time.Second},
		{Fail, NoData, Error, "what was not changed cannot be judged", 5 * time.Second},
		{Pass, Fail, Pass, "6% failed", 3 * time.Second},
		{Error, Fail, Error, "6% failed", 3 * time.Second},
		{NoData, Pass, NoData, "6% failed", 3 * time.Second},
	} {
		synctest.Test(t, func(t *testing.T) {
			began := time.Now()
			check := Check{Name: "errors", Within: time.Minute, Ask: answers(test.check, "6% failed", 3*time.Second), Control: beside(answers(test.control, "0% failed", 5*time.Second))}
			got := New(nil, SystemClock(), 0).all(t.Context(), []Check{check}, false)
			if len(got) != 1 || got[0].Verdict != test.want || !strings.HasPrefix(got[0].Evidence, test.evidence) {
				t.Errorf("%s beside %s: %+v", test.check, test.control, got)
			}
			if time.Since(began) != test.after {
				t.Errorf("%s beside %s: after %s, want %s", test.check, test.control, time.Since(began), test.after)
			}
		})
	}
}

// A check that never ends is none, and neither is one that could never end.
func TestChecksHaveDeadlines(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		got := New(nil, SystemClock(), 0).all(t.Context(), []Check{
			{Name: "endless", Ask: answers(Fail, "", 0)},
			{Name: "hangs", Within: time.Minute, Ask: answers(Fail, "", time.Hour)},
			{Name: "breaks", Within: time.Minute, Ask: func(context.Context) (Result, error) { return Result{}, errors.New("out of luck") }},
			{Name: "hangs beside", Within: time.Minute, Ask: answers(Fail, "", 0), Control: beside(answers(Pass, "", time.Hour))},
		}, false)
		for i, want := range []string{`"endless" has no deadline`, `"hangs" came to nothing within 60s`, `"breaks" broke off: out of luck`, `"hangs beside" came to nothing within 60s`} {
			if got[i].Verdict != Error || got[i].Evidence != want {
				t.Errorf("got %+v, want %s", got[i], want)
			}
		}
	})
}

// Cancelling is no verdict (pitfall 29), wherever a check is by then.
func TestCancelledChecksHaveNone(t *testing.T) {
	t.Parallel()
	for after := range 8 {
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), time.Duration(after)*time.Second)
			defer cancel()
			_, err := New(nil, SystemClock(), 0).one(ctx, Check{Name: "errors", Within: time.Minute, Ask: answers(Fail, "", 3*time.Second), Control: beside(answers(Pass, "", 8*time.Second))})
			if !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("after %ds: %v", after, err)
			}
		})
	}
}

// At most parallelChecks run at once, and a fail does not wait for the rest.
func TestChecksRunSideBySide(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		began, running, most := time.Now(), 0, 0
		turn := make(chan struct{}, 1)
		count := func(by int) {
			turn <- struct{}{}
			running += by
			most = max(most, running)
			<-turn
		}
		checks := slices.Repeat([]Check{{Name: "a", Within: time.Minute, Ask: func(ctx context.Context) (Result, error) {
			count(1)
			defer count(-1)
			return answers(Pass, "", time.Second)(ctx)
		}}}, 3*parallelChecks)
		if got := New(nil, SystemClock(), 0).all(t.Context(), checks, false); len(got) != len(checks) || most != parallelChecks || time.Since(began) != 3*time.Second {
			t.Errorf("%d results after %s, %d at once", len(got), time.Since(began), most)
		}
	})
}

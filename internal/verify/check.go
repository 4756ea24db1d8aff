package verify

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"chaperone.dev/chaperone/internal/health"
	"chaperone.dev/chaperone/internal/promotion"
)

// Check is one question about a release that is ready, of whatever kind. The
// errors of its functions are ctx's and nothing else's.
type Check struct {
	Name string
	// Within is the longest that it takes. One without is not made: it could keep
	// a release waiting for ever.
	Within time.Duration
	// Ask comes to a verdict with its measurement, as early as that is certain.
	Ask func(context.Context) (Result, error)
	// Control asks the same, over the same time, of what the release did not
	// change, and judges what it has once that is enough; nil asks nothing.
	Control func(ctx context.Context, enough <-chan struct{}) (Result, error)
}

// Bounds of all checks.
const (
	parallelChecks = 8                // made at once
	checkGrace     = 10 * time.Second // beyond what one takes by its own account
)

// all makes checks at the same time, and cuts the others short once one fails, or
// while watching once one is tied to the release. What was cut short is left out.
func (v *Verifier) all(ctx context.Context, checks []Check, watching bool) []Result {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	var (
		running sync.WaitGroup
		slots   = make(chan struct{}, parallelChecks)
		results = make([]Result, len(checks))
	)
	for i, check := range checks {
		running.Go(func() {
			slots <- struct{}{}
			defer func() { <-slots }()
			result, err := v.one(ctx, check)
			if err != nil {
				return // cut short: no verdict
			}
			results[i] = result
			if result.Verdict == Fail && (result.Tied || !watching) {
				stop()
			}
		})
	}
	running.Wait()
	return slices.DeleteFunc(results, func(r Result) bool { return r.Verdict == "" })
}

// one makes a check and its control.
func (v *Verifier) one(ctx context.Context, check Check) (Result, error) {
	began := v.clock.Now()
	if ctx.Err() != nil {
		return Result{}, cancelled(ctx.Err())
	}
	if check.Within <= 0 {
		return Result{Verdict: Error, Check: check.Name, Evidence: fmt.Sprintf("%q has no deadline", check.Name), Started: began, Ended: began}, nil
	}
	bounded, cancel := context.WithTimeout(ctx, check.Within+checkGrace)
	defer cancel()
	result, err := v.controlled(bounded, check)
	switch {
	case ctx.Err() != nil:
		return Result{}, cancelled(ctx.Err())
	case err != nil && errors.Is(bounded.Err(), context.DeadlineExceeded):
		return Result{Verdict: Error, Check: check.Name, Started: began, Ended: v.clock.Now(),
			Evidence: fmt.Sprintf("%q came to nothing within %s", check.Name, health.Span(check.Within))}, nil
	case err != nil: // what is left out of a report would not be missed
		return Result{Verdict: Error, Check: check.Name, Started: began, Ended: v.clock.Now(), Evidence: fmt.Sprintf("%q broke off: %s", check.Name, brief(err))}, nil
	}
	return result, nil
}

// controlled holds a fail against what the release did not change. Only where
// that is well over the same time is the release at fault: an outage next door
// looks like a bad release otherwise, and there is nothing to take back.
func (v *Verifier) controlled(ctx context.Context, check Check) (Result, error) {
	if check.Control == nil {
		return check.Ask(ctx)
	}
	asked, stop := context.WithCancel(ctx)
	defer stop()
	var (
		running sync.WaitGroup
		control Result
		unasked error
		enough  = make(chan struct{})
	)
	running.Go(func() { control, unasked = check.Control(asked, enough) })
	result, err := check.Ask(ctx)
	if err != nil || result.Verdict != Fail {
		stop() // a pass needs no excuse
		running.Wait()
		return result, err
	}
	close(enough)
	running.Wait()
	if unasked != nil {
		return Result{}, unasked
	}
	result.Ended = v.clock.Now()
	switch control.Verdict {
	case Pass:
		result.Tied = true
		result.Evidence += "; meanwhile, of what was not changed: " + control.Evidence
	case Fail:
		result.Verdict = Error
		result.Evidence = "something else is wrong, which was not changed: " + control.Evidence + "; so it says nothing that " + result.Evidence
	default:
		result.Verdict = Error
		result.Evidence = "what was not changed cannot be judged: " + control.Evidence + "; so it says nothing that " + result.Evidence
	}
	return result, nil
}

// httpCheck is an HTTP check of an environment's file.
func (v *Verifier) httpCheck(c promotion.HTTPCheck, subject Subject) Check {
	full := withDefaults(c)
	rounds := 1
	if c.Each { // the last of them are asked after all others
		rounds = (maxEndpoints + parallelEndpoints - 1) / parallelEndpoints
	}
	check := Check{
		Name: c.Name, Within: max(time.Second, time.Duration(rounds*full.Count)*(max(full.Interval, 0)+full.Timeout)),
		Ask: func(ctx context.Context) (Result, error) { return v.http(ctx, c, subject, nil) },
	}
	if c.Control != nil {
		same := c
		same.Name, same.URL, same.Service, same.Port, same.Path = c.Name+" (control)", c.Control.URL, c.Control.Service, c.Control.Port, c.Control.Path
		same.Each = false
		check.Control = func(ctx context.Context, enough <-chan struct{}) (Result, error) {
			return v.http(ctx, same, subject, enough)
		}
	}
	return check
}

// pause waits, and reports whether there is enough already.
func (v *Verifier) pause(ctx context.Context, enough <-chan struct{}, d time.Duration) (over bool, err error) {
	waiting, stop := context.WithCancel(ctx)
	defer stop()
	if enough != nil {
		go func() {
			select {
			case <-enough:
				stop()
			case <-waiting.Done():
			}
		}()
	}
	if d > 0 {
		_ = v.clock.Wait(waiting, d)
	}
	if ctx.Err() != nil {
		return false, cancelled(ctx.Err())
	}
	select {
	case <-enough:
		return true, nil
	default:
		return false, nil
	}
}

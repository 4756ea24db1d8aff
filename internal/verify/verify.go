// Package verify asks a cluster, after an apply, whether the release works:
// are its objects ready and still so a while later, and do its endpoints
// answer. It guarantees that a verdict is a measurement:
//
//   - pass: everything was asked, and everything held.
//   - fail: what was asked answered, and the answer is wrong. Only a fail may
//     lead to a revert, so nothing that could also be the network's, the
//     proxy's or our own fault is one.
//   - error: it could not be asked.
//   - no-data: it was asked, and there was nothing to judge.
//
// A cancelled check has no verdict at all, only an error, whatever it had seen
// by then.
package verify

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"chaperone.dev/chaperone/internal/promotion"
)

// Verdict is a check's answer.
type Verdict string

// The verdicts, worst first.
const (
	Fail   Verdict = "fail"
	Error  Verdict = "error"
	NoData Verdict = "no-data"
	Pass   Verdict = "pass"
)

// severity has the definitive fail before what merely could not be told: when
// one endpoint answers wrongly, another one's silence excuses nothing.
var severity = []Verdict{Fail, Error, NoData, Pass}

// Worst is the verdict that counts among several; of none it is NoData.
func Worst(verdicts ...Verdict) Verdict {
	for _, v := range severity {
		if slices.Contains(verdicts, v) {
			return v
		}
	}
	return NoData
}

// Result is one check's verdict with its measurement.
type Result struct {
	Verdict  Verdict   `json:"verdict"`
	Check    string    `json:"check"`    // "ready", or the HTTP check's name
	Evidence string    `json:"evidence"` // one sentence with the measurement
	Started  time.Time `json:"started"`
	Ended    time.Time `json:"ended"`
}

// Report is the verdict over all checks that came to one, readiness first.
type Report struct {
	Result
	Checks []Result `json:"checks"`
}

// Clock is the time that verification goes by.
type Clock struct {
	Now  func() time.Time
	Wait func(ctx context.Context, d time.Duration) error // ctx's error when cut short
}

// SystemClock is the real time, or a test bubble's.
func SystemClock() Clock {
	return Clock{Now: time.Now, Wait: func(ctx context.Context, d time.Duration) error {
		timer := time.NewTimer(d)
		defer timer.Stop()
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-timer.C:
			return ctx.Err()
		}
	}}
}

// Verifier runs checks. It keeps nothing between them and is safe for
// concurrent use.
type Verifier struct {
	client *http.Client
	clock  Clock
	poll   time.Duration
}

// Default times.
const (
	DefaultPoll    = 2 * time.Second
	DefaultTimeout = 10 * time.Minute
	readTimeout    = 30 * time.Second // for one look at the cluster
)

// New takes the client for HTTP checks (nil is NewClient(nil)), the clock, and
// how often readiness is looked at (0 is DefaultPoll).
func New(client *http.Client, clock Clock, poll time.Duration) *Verifier {
	if client == nil {
		client = NewClient(nil)
	}
	if poll <= 0 {
		poll = DefaultPoll
	}
	return &Verifier{client: client, clock: clock, poll: poll}
}

// Run waits until the release is ready and stays so, then asks its endpoints,
// all at the same time. Endpoints are not asked about a release that is not
// ready. Once one of them fails for certain the others are cut short and left
// out of the report: the restore should not wait for them. The error is ctx's
// and nothing else's.
func (v *Verifier) Run(ctx context.Context, spec promotion.Verify, namespace string, live Live) (Report, error) {
	ready, err := v.Ready(ctx, live, spec.Timeout, spec.Settle)
	if err != nil {
		return Report{}, err
	}
	results := []Result{ready}
	if ready.Verdict == Pass {
		results = append(results, v.ask(ctx, spec.HTTP, namespace)...)
	}
	if err := ctx.Err(); err != nil {
		return Report{}, cancelled(err)
	}
	return combine(results, v.clock.Now()), nil
}

// parallelChecks bounds how many endpoints are asked at once.
const parallelChecks = 8

func (v *Verifier) ask(ctx context.Context, checks []promotion.HTTPCheck, namespace string) []Result {
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
			result, err := v.HTTP(ctx, check, namespace)
			if err != nil {
				return // cut short: no verdict
			}
			results[i] = result
			if result.Verdict == Fail {
				stop()
			}
		})
	}
	running.Wait()
	return slices.DeleteFunc(results, func(r Result) bool { return r.Verdict == "" })
}

// combine tells the evidence of the checks that decided, and no other.
func combine(results []Result, ended time.Time) Report {
	verdicts := make([]Verdict, len(results))
	for i, r := range results {
		verdicts[i] = r.Verdict
	}
	report := Report{Checks: results, Result: Result{Verdict: Worst(verdicts...), Check: "verification", Ended: ended}}
	var told []string
	for _, r := range results {
		if r.Verdict == report.Verdict {
			told = append(told, r.Evidence)
		}
		if report.Started.IsZero() || r.Started.Before(report.Started) {
			report.Started = r.Started
		}
	}
	const most = 3
	if more := len(told) - most; more > 0 {
		told = append(told[:most], fmt.Sprintf("and %d more alike", more))
	}
	report.Evidence = strings.Join(told, "; ")
	return report
}

func cancelled(err error) error { return fmt.Errorf("verify: %w", err) }

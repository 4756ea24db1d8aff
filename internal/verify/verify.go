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
	Check    string    `json:"check"`    // "ready", or the check's name
	Evidence string    `json:"evidence"` // one sentence with the measurement
	Started  time.Time `json:"started"`
	Ended    time.Time `json:"ended"`
	// Log is the last lines of a Job that did not pass, without secrets.
	Log string `json:"log,omitempty"`
	// Tied: it fails, and what was not changed did not over the same time; of a
	// report, one of its checks is.
	Tied bool `json:"tied,omitempty"`
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

	prometheus      Prometheus
	metricTransport http.RoundTripper // nil but in tests
}

// Default times.
const (
	DefaultPoll    = 2 * time.Second
	DefaultTimeout = 10 * time.Minute
	readTimeout    = 30 * time.Second // for one look at the cluster
	watchReady     = time.Minute      // for what was ready before to be so again
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

// Subject is what is verified.
type Subject struct {
	Namespace string
	Live      Live
	// Endpoints are the ready ones of a Service of Namespace, at one of its ports.
	Endpoints func(ctx context.Context, service string, port int) ([]Endpoint, error)
	// Jobs run smoke tests.
	Jobs Jobs
	// Applied is when the release, or the one that it takes the place of again,
	// was begun: pods that are older are not its own. Zero is unknown.
	Applied time.Time
	// Without is until when last good ran alone, for baselines of before the release;
	// zero is unknown.
	Without time.Time
	// Good is when last good passed; zero is never.
	Good time.Time
	// Watching: it passed before. Every check is made to its end, whatever the
	// others say, unless one ties a failure to the release.
	Watching bool
	// Only are the checks that count, by name; nil: all.
	Only []string
	// Asked is the Service to ask in the place of another; nil: as the check says.
	Asked func(service string) string
	// For is how long it has to go on passing; the checks are made again meanwhile.
	For time.Duration
}

func (s Subject) asks(service string) string {
	if service == "" || s.Asked == nil {
		return service
	}
	return s.Asked(service)
}

// Run makes every check once, and where it is to pass for a time goes on to make
// them until one does not pass or that time is over. What a check that has passed
// would do, such as a smoke test, is not done again. The error is ctx's.
func (v *Verifier) Run(ctx context.Context, spec promotion.Verify, subject Subject) (Report, error) {
	began := v.clock.Now()
	report, err := v.round(ctx, spec, subject, 0)
	for err == nil && report.Verdict == Pass && !subject.Watching {
		passed := v.clock.Now().Sub(began)
		left := subject.For - passed
		if left <= 0 {
			break
		}
		if err := v.clock.Wait(ctx, min(left, v.between(subject.For))); err != nil {
			return Report{}, cancelled(err)
		}
		again := spec
		again.Timeout, again.Settle, again.Jobs = min(spec.Timeout, watchReady), 0, nil
		report, err = v.round(ctx, again, subject, passed)
	}
	return report, err
}

// between is the pause between two rounds of checks.
func (v *Verifier) between(all time.Duration) time.Duration {
	const parts, longest = 30, 30 * time.Second
	return min(max(v.poll, all/parts), longest)
}

// round waits until the release is ready and stays so, then makes all other
// checks at the same time. They are not made of a release that is not ready.
// Once one of them fails for certain the others are cut short and left out of
// the report: the restore should not wait for them. The error is ctx's and
// nothing else's.
func (v *Verifier) round(ctx context.Context, spec promotion.Verify, subject Subject, passed time.Duration) (Report, error) {
	if subject.Watching {
		spec.Timeout, spec.Settle = min(spec.Timeout, watchReady), 0
		spec.Jobs = nil // they do things, and are for a release
	}
	ready, err := v.Ready(ctx, subject.Live, spec.Timeout, spec.Settle)
	if err != nil {
		return Report{}, err
	}
	results := []Result{ready}
	if ready.Verdict == Pass || subject.Watching {
		results = append(results, v.all(ctx, v.checks(spec, subject, passed), subject.Watching)...)
	}
	if ready.Verdict == Pass {
		// Last, so that what ended while the others asked counts as well.
		if r, asked, err := v.restarts(ctx, spec.Restarts, subject, spec.Watch.Every); err == nil && asked {
			results = append(results, r)
		}
	}
	if err := ctx.Err(); err != nil {
		return Report{}, cancelled(err)
	}
	return combine(results, v.clock.Now()), nil
}

// checks are those of an environment's file that count. Metrics need not look back
// further than the release has run already.
func (v *Verifier) checks(spec promotion.Verify, subject Subject, passed time.Duration) []Check {
	var checks []Check
	add := func(name string, check func() Check) {
		if subject.Only == nil || slices.Contains(subject.Only, name) {
			checks = append(checks, check())
		}
	}
	for _, c := range spec.HTTP {
		c.Service = subject.asks(c.Service)
		add(c.Name, func() Check { return v.httpCheck(c, subject) })
	}
	for _, c := range spec.Metrics {
		if subject.Watching {
			c.Baseline = spread(c.Baseline, spec.Watch, c.For)
		} else if subject.For > 0 {
			c.Baseline = spread(c.Baseline, promotion.Watch{For: subject.For, Every: v.between(subject.For)}, c.For)
		}
		add(c.Name, func() Check { return v.metricCheck(c, max(spec.Settle, passed), subject) })
	}
	for _, c := range spec.Jobs {
		add(c.Name, func() Check { return v.jobCheck(c, subject.Jobs) })
	}
	return checks
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
		report.Tied = report.Tied || r.Tied
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

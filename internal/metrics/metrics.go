// Package metrics counts what the daemon does and shows where every
// environment is. It guarantees that names and labels are the ones below, that
// gauges of an environment vanish with it, and that nothing is global: each
// Metrics lives on the registry it was given. Times are in seconds.
//
//	chaperone_build_info{version,revision,go_version}      gauge      always 1
//	chaperone_drill_success{environment}                   gauge      1 where last good could have been restored when it was tried last: alarm on 0
//	chaperone_drill_timestamp_seconds{environment}         gauge      when that was
//	chaperone_environment{environment,phase,reason}        gauge      1 for where each environment is; sum by (phase, reason) counts them
//	chaperone_release_step{environment,steps}              gauge      the step, of so many, that a release has come to; absent where none comes in steps
//	chaperone_last_good_age_seconds{environment}           gauge      since last good was verified; absent without one
//	chaperone_findings{environment,rule,action}            gauge      of the newest release judged; action is deny, warn, audit, waived or error
//	chaperone_policy_exception_expires_seconds{environment} gauge     until the first exception in force there ends; absent without one
//	chaperone_policies_refused{}                           gauge      1 while the newest policies are not in force, as they are wrong, older, or cannot be had
//	chaperone_pass_duration_seconds{step}                  histogram  step is source, render, policy, plan, or an action: evaluate, apply, verify, prune, restore, revert, …
//	chaperone_applies_total{environment,outcome}           counter    outcomes are those of package reconcile: done, retry, rejected, failed, …
//	chaperone_verifications_total{environment,outcome}     counter
//	chaperone_watches_total{environment,outcome}           counter
//	chaperone_prunes_total{environment,outcome}            counter
//	chaperone_restores_total{environment,outcome}          counter
//	chaperone_rollbacks_total{environment,outcome}         counter
//	chaperone_reverts_total{environment,outcome}           counter
//	chaperone_corrections_total{environment,outcome}       counter    of drift
//	chaperone_source_polls_total{outcome}                  counter    outcome is ok, or a reason such as SourceUnavailable
//	chaperone_source_fetches_total{outcome}                counter    polls that brought something new
//	chaperone_webhooks_total{forge,outcome}                counter    forge is github, gitlab, gitea or empty; outcomes are those of package web: accepted, unauthenticated, …
//	chaperone_api_requests_total{cluster,verb,code}        counter    to Kubernetes; code 0 is no answer
//
// Labels take few values: environments and rules are as many as the source and
// the policies define, the rest are constants.
package metrics

import (
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"chaperone.dev/chaperone/internal/promotion"
	"chaperone.dev/chaperone/internal/reconcile"
)

// Build is what chaperone_build_info tells.
type Build struct{ Version, Revision, GoVersion string }

// Metrics takes measurements. Its methods are safe for concurrent use.
type Metrics struct {
	steps    *prometheus.HistogramVec
	actions  map[reconcile.ActionKind]*prometheus.CounterVec
	polls    *prometheus.CounterVec
	fetches  *prometheus.CounterVec
	requests *prometheus.CounterVec
	webhooks *prometheus.CounterVec
	refused  prometheus.Gauge
	view     *view
}

// stepBuckets reach from a pass with nothing to do to a verification that
// takes its whole default timeout, and past it.
var stepBuckets = []float64{.005, .025, .1, .25, .5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600, 1200}

// counted are the actions that have a counter of their own.
var counted = map[reconcile.ActionKind][2]string{
	reconcile.ActionApply:   {"chaperone_applies_total", "Applies of a release, by outcome."},
	reconcile.ActionVerify:  {"chaperone_verifications_total", "Verifications of a release, by outcome."},
	reconcile.ActionWatch:   {"chaperone_watches_total", "Looks at a release that passed before, by outcome."},
	reconcile.ActionPrune:   {"chaperone_prunes_total", "Prunes after a verified release, by outcome."},
	reconcile.ActionUndo:    {"chaperone_rollbacks_total", "Runs of a failed release's rollback hooks, by outcome."},
	reconcile.ActionRestore: {"chaperone_restores_total", "Restores to last good, by outcome."},
	reconcile.ActionRevert:  {"chaperone_reverts_total", "Reverts of a commit on the source, by outcome."},
	reconcile.ActionCorrect: {"chaperone_corrections_total", "Corrections of drift, by outcome."},
}

// New registers everything on r. Ages are told as of now() at each scrape.
func New(r prometheus.Registerer, build Build, now func() time.Time) (*Metrics, error) {
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, labels)
	}
	m := &Metrics{
		steps: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "chaperone_pass_duration_seconds", Help: "How long a step of a pass took, in seconds.", Buckets: stepBuckets,
		}, []string{"step"}),
		actions:  map[reconcile.ActionKind]*prometheus.CounterVec{},
		polls:    counter("chaperone_source_polls_total", "Polls of the source, by outcome.", "outcome"),
		fetches:  counter("chaperone_source_fetches_total", "Polls of the source that brought something new, by outcome.", "outcome"),
		requests: counter("chaperone_api_requests_total", "Requests to Kubernetes API servers; code 0 is no answer.", "cluster", "verb", "code"),
		webhooks: counter("chaperone_webhooks_total", "Webhooks that came, by the forge they say they are from and by outcome.", "forge", "outcome"),
		refused: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "chaperone_policies_refused", Help: "Whether the newest policies are not in force.",
		}),
		view: newView(now),
	}
	collectors := []prometheus.Collector{m.steps, m.polls, m.fetches, m.requests, m.webhooks, m.refused, m.view, buildInfo(build)}
	for kind, described := range counted {
		m.actions[kind] = counter(described[0], described[1], "environment", "outcome")
		collectors = append(collectors, m.actions[kind])
	}
	var faults []error
	for _, c := range collectors {
		faults = append(faults, r.Register(c))
	}
	if err := errors.Join(faults...); err != nil {
		return nil, fmt.Errorf("register metrics: %w", err)
	}
	return m, nil
}

func buildInfo(b Build) prometheus.Collector {
	info := prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "chaperone_build_info", Help: "The build that runs; always 1.",
		ConstLabels: prometheus.Labels{"version": b.Version, "revision": b.Revision, "go_version": b.GoVersion},
	})
	info.Set(1)
	return info
}

// PoliciesRefused says whether the newest policies are not in force.
func (m *Metrics) PoliciesRefused(refused bool) {
	m.refused.Set(0)
	if refused {
		m.refused.Set(1)
	}
}

// Step took so long.
func (m *Metrics) Step(step string, took time.Duration) {
	m.steps.WithLabelValues(valid(step)...).Observe(took.Seconds())
}

// Polled the source, which had something new or not.
func (m *Metrics) Polled(outcome string, fetched bool) {
	m.polls.WithLabelValues(valid(outcome)...).Inc()
	if fetched {
		m.fetches.WithLabelValues(valid(outcome)...).Inc()
	}
}

// Ended counts how an action came out. Actions that only look have no counter.
func (m *Metrics) Ended(action reconcile.ActionKind, id promotion.ID, outcome reconcile.Outcome) {
	if c, found := m.actions[action]; found {
		c.WithLabelValues(valid(id.String(), string(outcome))...).Inc()
	}
}

// APIRequest to a cluster was answered with an HTTP status, or 0 for none.
func (m *Metrics) APIRequest(cluster, verb string, code int) {
	m.requests.WithLabelValues(valid(cluster, verb, strconv.Itoa(code))...).Inc()
}

// Webhook came from a forge, as far as it is known, and this came of it.
func (m *Metrics) Webhook(forge, outcome string) {
	m.webhooks.WithLabelValues(valid(forge, outcome)...).Inc()
}

// valid keeps a directory name that is not UTF-8 from bringing the daemon down:
// the client library panics on one.
func valid(labels ...string) []string {
	for i, label := range labels {
		labels[i] = strings.ToValidUTF8(label, "\uFFFD")
	}
	return labels
}

// Handler serves what g gathers. Scrapes are few at a time, so that a client
// that asks without end costs no memory.
func Handler(g prometheus.Gatherer) http.Handler {
	return promhttp.HandlerFor(g, promhttp.HandlerOpts{MaxRequestsInFlight: 4, Timeout: 10 * time.Second})
}

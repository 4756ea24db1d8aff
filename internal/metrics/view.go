package metrics

import (
	"maps"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"chaperone.dev/chaperone/internal/policy"
	"chaperone.dev/chaperone/internal/promotion"
	"chaperone.dev/chaperone/internal/reconcile"
)

// Environment is where one environment is.
type Environment struct {
	ID         promotion.ID
	Phase      reconcile.Phase
	Reason     promotion.Reason
	LastGoodAt time.Time // zero without a last good
	// ExceptionEnds is when the first exception in force there does; zero without one.
	ExceptionEnds time.Time
	// DrilledAt is when the last drill ended, and Restorable how; zero without one.
	DrilledAt  time.Time
	Restorable bool
	// Step of Steps is what a release that comes in steps has come to; zero without one.
	Step, Steps int
}

// Actions of a finding beside those of package policy.
const (
	actionWaived = "waived" // by an exception
	actionError  = "error"  // the rule could not be evaluated
)

// view is the part that is what it is rather than what happened. Its metrics
// are made at each scrape, so that nothing of an environment outlives it.
type view struct {
	now func() time.Time

	mu           sync.Mutex
	environments []Environment
	findings     map[promotion.ID]map[finding]int
}

type finding struct{ rule, action string }

var (
	environmentDesc = prometheus.NewDesc("chaperone_environment", "Where each environment is; always 1.",
		[]string{"environment", "phase", "reason"}, nil)
	ageDesc = prometheus.NewDesc("chaperone_last_good_age_seconds", "Time since the environment's last good release was verified, in seconds.",
		[]string{"environment"}, nil)
	exceptionDesc = prometheus.NewDesc("chaperone_policy_exception_expires_seconds",
		"Time until the first policy exception in force for the environment ends, in seconds; negative when it has.",
		[]string{"environment"}, nil)
	drillDesc = prometheus.NewDesc("chaperone_drill_success", "Whether last good could have been restored when it was tried last.",
		[]string{"environment"}, nil)
	drilledDesc = prometheus.NewDesc("chaperone_drill_timestamp_seconds", "When it was tried last whether last good could be restored.",
		[]string{"environment"}, nil)
	stepDesc = prometheus.NewDesc("chaperone_release_step", "The step that a release which comes in steps has come to.",
		[]string{"environment", "steps"}, nil)
	findingsDesc = prometheus.NewDesc("chaperone_findings", "Policy findings on the newest release judged for the environment.",
		[]string{"environment", "rule", "action"}, nil)
)

func newView(now func() time.Time) *view {
	return &view{now: now, findings: map[promotion.ID]map[finding]int{}}
}

// Environments replaces what is known; an ID that is not among them any more
// is forgotten with its findings. Of two with the same ID the first counts.
func (m *Metrics) Environments(all []Environment) {
	seen := make(map[promotion.ID]bool, len(all))
	kept := make([]Environment, 0, len(all))
	for _, e := range all {
		if !seen[e.ID] { // twice the same series would fail the whole scrape
			seen[e.ID] = true
			kept = append(kept, e)
		}
	}
	m.view.mu.Lock()
	defer m.view.mu.Unlock()
	m.view.environments = kept
	maps.DeleteFunc(m.view.findings, func(id promotion.ID, _ map[finding]int) bool { return !seen[id] })
}

// Judged replaces an environment's findings.
func (m *Metrics) Judged(id promotion.ID, report policy.Report) {
	counts := map[finding]int{}
	for _, f := range report.Findings {
		action := string(f.Action)
		if f.Exception != nil {
			action = actionWaived
		}
		counts[finding{f.Rule, action}]++
	}
	for _, e := range report.Errors {
		counts[finding{e.Rule, actionError}]++
	}
	m.view.mu.Lock()
	defer m.view.mu.Unlock()
	m.view.findings[id] = counts
}

// Describe implements prometheus.Collector.
func (v *view) Describe(descs chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{environmentDesc, ageDesc, exceptionDesc, drillDesc, drilledDesc, stepDesc, findingsDesc} {
		descs <- d
	}
}

// Collect implements prometheus.Collector.
func (v *view) Collect(metrics chan<- prometheus.Metric) {
	for _, m := range v.snapshot() {
		metrics <- m
	}
}

// snapshot is taken whole before it is sent: a slow scrape holds no lock.
func (v *view) snapshot() []prometheus.Metric {
	v.mu.Lock()
	defer v.mu.Unlock()
	now := v.now()
	gauge := func(d *prometheus.Desc, value float64, labels ...string) prometheus.Metric {
		return prometheus.MustNewConstMetric(d, prometheus.GaugeValue, value, valid(labels...)...)
	}
	metrics := make([]prometheus.Metric, 0, 2*len(v.environments))
	for _, e := range v.environments {
		metrics = append(metrics, gauge(environmentDesc, 1, e.ID.String(), string(e.Phase), string(e.Reason)))
		if !e.LastGoodAt.IsZero() {
			age := max(now.Sub(e.LastGoodAt), 0) // clocks of two replicas differ
			metrics = append(metrics, gauge(ageDesc, age.Seconds(), e.ID.String()))
		}
	}
	for _, e := range v.environments {
		if e.Step > 0 {
			metrics = append(metrics, gauge(stepDesc, float64(e.Step), e.ID.String(), strconv.Itoa(e.Steps)))
		}
		if !e.ExceptionEnds.IsZero() {
			metrics = append(metrics, gauge(exceptionDesc, e.ExceptionEnds.Sub(now).Seconds(), e.ID.String()))
		}
	}
	for _, e := range v.environments {
		if e.DrilledAt.IsZero() {
			continue
		}
		success := 0.0
		if e.Restorable {
			success = 1
		}
		metrics = append(metrics, gauge(drillDesc, success, e.ID.String()),
			gauge(drilledDesc, float64(e.DrilledAt.Unix()), e.ID.String()))
	}
	for _, id := range slices.SortedFunc(maps.Keys(v.findings), promotion.ID.Compare) {
		for f, n := range v.findings[id] {
			metrics = append(metrics, gauge(findingsDesc, float64(n), id.String(), f.rule, f.action))
		}
	}
	return metrics
}

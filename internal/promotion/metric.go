package promotion

import (
	"fmt"
	"math"
	"strconv"
	"time"

	"chaperone.dev/chaperone/internal/strictyaml"
)

// MetricCheck asks Prometheus a number of times for one number, and holds it
// against limits, a baseline, or both.
type MetricCheck struct {
	Name       string
	Prometheus string        // its address; "" is the daemon's setting verify.prometheus
	Query      string        // what is asked; a preset stands for one
	Range      time.Duration // how far Query looks back
	For        time.Duration // how long to go on; 5s to 24h
	Every      time.Duration // between two samples; default 15s
	Stale      time.Duration // older samples are none; default 2m
	Min, Max   *float64      // limits
	Failures   float64       // share of the samples that may be beyond them; default 0
	Samples    int           // least that must be had; default nine in ten
	Baseline   *Baseline
	Control    string // the same of what the release does not change; "" is none
}

// Count is how many samples a check takes.
func (m MetricCheck) Count() int { return int(m.For / m.Every) }

// Baseline is what a metric is compared with.
type Baseline struct {
	From    BaselineFrom  // default before
	Period  time.Duration // with periods: how far apart they are
	Periods int           // how many, 1 to 10; default 3
	By      Comparison    // default rank
	// Ratio is by how much it may be worse: 1.5 is half as much again. By ratio it
	// makes a limit of the baseline's median. By rank, less is not held against a
	// release however certain; default 1.2.
	Ratio float64
	// Significance is how often, at most, a release that changed nothing may fail
	// by rank, over all looks together; 0.0001 to 0.05, default 0.01.
	Significance float64
	Floor        *float64 // what is below is taken to be that; nil: not
	Worse        Worse    // default higher
}

// BaselineFrom is when a baseline was measured.
type BaselineFrom string

// The times of a baseline.
const (
	BaselineBefore   BaselineFrom = "before"    // right before the release
	BaselineLastGood BaselineFrom = "last-good" // when last good passed
	BaselinePeriods  BaselineFrom = "periods"   // at this time, some periods back
)

// Comparison is how a metric is held against its baseline.
type Comparison string

// The comparisons.
const (
	CompareRank  Comparison = "rank" // Mann-Whitney U test
	CompareRatio Comparison = "ratio"
)

// Worse is the direction that is.
type Worse string

// The directions.
const (
	WorseHigher Worse = "higher"
	WorseLower  Worse = "lower"
)

// Defaults and bounds of a metric check.
const (
	DefaultEvery        = 15 * time.Second
	DefaultStale        = 2 * time.Minute
	DefaultPeriods      = 3
	DefaultRatio        = 1.2
	DefaultSignificance = 0.01

	// RankLooks is how often samples are compared by rank in one verification.
	RankLooks = 5

	minMetricFor   = 5 * time.Second
	maxMetricCount = 2000
	// minRankSamples is the least of each side with which a rank test can be
	// certain enough at every one of its looks.
	minRankSamples = 10
	maxPeriod      = 28 * 24 * time.Hour
)

func decodeMetrics(verify *strictyaml.Object) []MetricCheck {
	limit(verify.Value("metrics"), maxChecks)
	everywhere := verify.String("prometheus", "", checkURL)
	var all []MetricCheck
	first := map[string]int{}
	for _, o := range verify.Objects("metrics") {
		m := decodeMetric(o, everywhere)
		if line, twice := first[m.Name]; twice && m.Name != "" {
			o.Value("name").Problem("%q names the check in line %d too; want a name of its own", m.Name, line)
		} else {
			first[m.Name] = o.Value("name").Line()
		}
		all = append(all, m)
	}
	return all
}

func decodeMetric(o *strictyaml.Object, everywhere string) MetricCheck {
	o.Require("name", "want a short name, such as errors: what a failure is reported under")
	o.Require("for", "want how long to go on asking, such as 5m: a check without an end would keep a release waiting for ever")
	m := MetricCheck{
		Name:       o.String("name", "", checkLabel),
		Prometheus: o.String("prometheus", everywhere, checkURL),
		For:        o.Duration("for", 5*time.Minute, minMetricFor, maxVerify),
		Every:      o.Duration("every", DefaultEvery, time.Second, time.Hour),
		Stale:      o.Duration("stale", DefaultStale, time.Second, time.Hour),
		Min:        decodeNumber(o.Value("min")),
		Max:        decodeNumber(o.Value("max")),
		Failures:   decodeFailures(o.Value("failures")),
		Baseline:   decodeBaseline(o.Object("baseline")),
	}
	decodeQueries(o, &m)
	count := max(1, m.Count())
	m.Samples = o.Int("samples", max(1, count-count/10), 1, count)
	m.check(o)
	return m
}

// check holds the fields against each other.
func (m *MetricCheck) check(o *strictyaml.Object) {
	switch {
	case m.For < m.Every:
		o.Value("every").Problem("want it at most as long as for, which is %s", strictyaml.FormatDuration(m.For))
	case m.Count() > maxMetricCount:
		o.Value("for").Problem("want at most %d samples, not %d; make for shorter, or every longer", maxMetricCount, m.Count())
	}
	if m.Min != nil && m.Max != nil && *m.Min > *m.Max {
		o.Value("min").Problem("want it at most as large as max")
	}
	b := m.Baseline
	if m.Min == nil && m.Max == nil && b == nil {
		o.Require("max", "want a limit (min or max), or a baseline to compare with: a check that nothing breaks checks nothing")
	}
	if b == nil || b.By != CompareRank {
		return
	}
	if m.Samples < minRankSamples {
		o.Value("baseline").Problem("want at least %d samples to compare by rank, not %d; make for longer, or every shorter, or compare by ratio", minRankSamples, m.Samples)
	}
	if m.Every < m.Range {
		o.Value("every").Problem("want at least %s, as far as the query looks back: samples that share what they are made of tell a rank test nothing new", strictyaml.FormatDuration(m.Range))
	}
}

// tells reports whether a rank test may fail at all where a release is looked at
// so often that each look has a small part of its significance: with as many
// samples, all of them worse than all of the baseline's.
func (m MetricCheck) tells(watch Watch) bool {
	b := m.Baseline
	if b == nil || b.By != CompareRank || m.Every <= 0 {
		return true
	}
	samples, others, chance := m.Count(), m.Count(), 1.0
	if b.From == BaselinePeriods {
		others *= b.Periods
	}
	for i := 1; i <= samples; i++ {
		chance *= float64(i) / float64(others+i)
	}
	return chance <= b.Significance/RankLooks/float64(watch.Looks(m.For))
}

func decodeBaseline(o *strictyaml.Object) *Baseline {
	b := Baseline{
		From:    strictyaml.Enum(o, "from", BaselineBefore, BaselineBefore, BaselineLastGood, BaselinePeriods),
		By:      strictyaml.Enum(o, "by", CompareRank, CompareRank, CompareRatio),
		Period:  o.Duration("period", 0, time.Minute, maxPeriod),
		Periods: o.Int("periods", DefaultPeriods, 1, 10),
		Ratio:   decodeShare(o.Value("ratio"), DefaultRatio, 1, 1000, "a factor from 1 to 1000, such as 1.5"),
		Significance: decodeShare(o.Value("significance"), DefaultSignificance, 0.0001, 0.05,
			"how often a good release may fail, from 0.0001 to 0.05, such as 0.01"),
		Floor: decodeNumber(o.Value("floor")),
		Worse: strictyaml.Enum(o, "worse", WorseHigher, WorseHigher, WorseLower),
	}
	if !o.Present() {
		return nil
	}
	if b.From == BaselinePeriods {
		o.Require("period", "want how far back, such as 24h or 168h")
	} else {
		for _, name := range []string{"period", "periods"} {
			if v := o.Value(name); v.Present() {
				v.Problem("goes with from: periods alone; remove it, or write from: periods")
			}
		}
	}
	if v := o.Value("significance"); v.Present() && b.By == CompareRatio {
		v.Problem("goes with by: rank alone; remove it: a ratio is no test of significance")
	}
	return &b
}

// decodeNumber reads a number that is one.
func decodeNumber(v strictyaml.Value) *float64 {
	text, written := v.Scalar()
	if !written {
		return nil
	}
	number, err := decodePart(v, 0)
	if err != nil {
		v.Problem(`want a number such as 0.05 or "5%%", not %.40q`, text)
	}
	return &number
}

func decodeShare(v strictyaml.Value, fallback, low, high float64, want string) float64 {
	text, written := v.Scalar()
	if !written {
		return fallback
	}
	number, err := strconv.ParseFloat(text, 64)
	if err != nil || math.IsNaN(number) || number < low || number > high {
		v.Problem("want %s, not %.40q", want, text)
		return fallback
	}
	return number
}

// String is how a baseline is told of.
func (b Baseline) String() string {
	switch b.From {
	case BaselineLastGood:
		return "when last good passed"
	case BaselinePeriods:
		return fmt.Sprintf("at this time in the last %d periods of %s", b.Periods, strictyaml.FormatDuration(b.Period))
	}
	return "before the release"
}

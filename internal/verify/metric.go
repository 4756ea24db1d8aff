package verify

import (
	"context"
	"fmt"
	"math"
	"time"

	"chaperone.dev/chaperone/internal/health"
	"chaperone.dev/chaperone/internal/promotion"
)

// metricCheck is a metric check of an environment's file.
func (v *Verifier) metricCheck(c promotion.MetricCheck, settle time.Duration, subject Subject) Check {
	lead := max(0, c.Range-settle)
	if subject.Watching {
		lead = 0 // all that it looks back on is the release
	}
	check := Check{
		Name: c.Name, Within: lead + c.For + 15*queryTimeout,
		Ask: func(ctx context.Context) (Result, error) { return v.metric(ctx, c, lead, subject, nil) },
	}
	if c.Control != "" {
		same := c
		same.Name, same.Query = c.Name+" (control)", c.Control
		check.Control = func(ctx context.Context, enough <-chan struct{}) (Result, error) {
			return v.metric(ctx, same, lead, subject, enough)
		}
	}
	return check
}

// metric asks Prometheus as often as the check says, first once the query looks
// back on nothing but the release.
//
// A query without one number to answer (nothing, NaN, several series, an answer
// that is partial, late, or none) is no sample, good or bad.
//
//   - fail, at once, when more samples than allowed are beyond the limits, or
//     when they are worse than the baseline by its test.
//   - pass when enough samples were had, and nothing was found; earlier where no
//     further sample could change that.
//   - error, or no-data where nothing was wrong but that there was none, when
//     there were fewer samples, or the baseline has too few.
//
// The error is ctx's and nothing else's.
func (v *Verifier) metric(ctx context.Context, check promotion.MetricCheck, lead time.Duration, subject Subject, enough <-chan struct{}) (Result, error) {
	m := &metered{check: check, planned: max(1, check.Count()), needed: check.Samples}
	result := Result{Check: check.Name, Started: v.clock.Now()}
	verdict, err := v.measure(ctx, m, lead, subject, enough)
	if err != nil {
		return Result{}, err
	}
	result.Verdict, result.Ended = verdict, v.clock.Now()
	result.Evidence = fmt.Sprintf("metric %q %s (%s)", check.Name, m.evidence(verdict), clipped(check.Query))
	return result, nil
}

func (v *Verifier) measure(ctx context.Context, m *metered, lead time.Duration, subject Subject, enough <-chan struct{}) (Verdict, error) {
	q, err := v.querier(m.check)
	if err != nil {
		m.unfit = unanswered(Error, "could not be asked: %s", brief(err))
		return Error, nil
	}
	defer q.close()
	if _, err := v.pause(ctx, nil, lead); err != nil {
		return "", err
	}
	began := v.clock.Now()
	if why := m.baseline(ctx, q, began, subject); ctx.Err() != nil {
		return "", cancelled(ctx.Err())
	} else if why.verdict != "" {
		m.unfit = why
		return why.verdict, nil
	}
	for tick := 0; tick < m.planned || enough != nil; tick++ {
		due := began.Add(time.Duration(tick) * m.check.Every)
		if enough == nil && v.clock.Now().Sub(due) >= m.check.Every {
			m.add(unanswered(Error, "Prometheus takes longer to answer than there is between two samples")) // the next one is the same scrape
			continue
		}
		over, err := v.pause(ctx, enough, due.Sub(v.clock.Now()))
		if over { // what has just begun next door may not be scraped yet
			_, err = v.pause(ctx, nil, min(m.check.Every, scrapedWithin))
		}
		if err != nil {
			return "", err
		}
		s := q.now(ctx, m.check.Query, v.clock.Now())
		if ctx.Err() != nil {
			return "", cancelled(ctx.Err())
		}
		m.add(s)
		if over {
			m.settleFor(tick + 1)
			break
		}
		if verdict := m.early(tick + 1); verdict == Fail || verdict == Pass && enough == nil {
			return verdict, nil
		}
	}
	return m.verdict(), nil
}

// scrapedWithin is the longest that a control waits for a sample which was scraped
// after the check had failed.
const scrapedWithin = time.Minute

// metered is what the samples of a check amount to. It decides without I/O.
type metered struct {
	check           promotion.MetricCheck
	planned, needed int
	against         *comparison
	low, high       float64 // limits

	unfit    sample // why nothing was asked at all
	values   []float64
	beyond   int // of values
	missing  []kind
	failures int // of missing, those that are errors
	worse    bool
	short    bool // a control, until it was enough
}

// baseline reads what the samples are compared with, and sets the limits.
func (m *metered) baseline(ctx context.Context, q *querier, began time.Time, subject Subject) sample {
	m.low, m.high = math.Inf(-1), math.Inf(1)
	if m.check.Min != nil {
		m.low = *m.check.Min
	}
	if m.check.Max != nil {
		m.high = *m.check.Max
	}
	if m.check.Baseline == nil {
		return sample{}
	}
	c := &comparison{Baseline: *m.check.Baseline}
	spans, why := m.spans(began, subject)
	if why.verdict != "" {
		return why
	}
	for _, from := range spans {
		samples, why := q.between(ctx, m.check.Query, from, from.Add(m.check.For-m.check.Every), m.check.Every)
		if why.verdict == Error {
			return unanswered(Error, "the baseline cannot be had: %s", why.why)
		}
		for _, s := range samples {
			if s.verdict == Pass {
				c.base = append(c.base, s.value)
			}
		}
	}
	if len(c.base) < m.needed {
		return unanswered(NoData, "the baseline %s has %d samples; want %d", c.Baseline, len(c.base), m.needed)
	}
	m.against = c
	return m.relate()
}

// relate makes limits of a comparison by ratio.
func (m *metered) relate() sample {
	c := m.against
	if c.By != promotion.CompareRatio {
		return sample{}
	}
	limit, ok := c.limit()
	switch {
	case !ok:
		return unanswered(NoData, "the baseline %s is %s, of which there is no ratio; want a floor above 0", c.Baseline, number(c.floored(median(c.base))))
	case c.Worse == promotion.WorseLower && c.Floor != nil && limit <= *c.Floor: // so is everything below
	case c.Worse == promotion.WorseLower:
		m.low = max(m.low, limit)
	default:
		m.high = min(m.high, limit)
	}
	return sample{}
}

// spans are when the baseline's measurements begin. They are as long as the
// check's own.
func (m *metered) spans(began time.Time, subject Subject) ([]time.Time, sample) {
	switch b := m.check.Baseline; b.From {
	case promotion.BaselineLastGood:
		if subject.Good.IsZero() {
			return nil, unanswered(NoData, "nothing has passed here yet, so there is no baseline")
		}
		return []time.Time{subject.Good.Add(-m.check.For)}, sample{}
	case promotion.BaselinePeriods:
		var spans []time.Time
		for i := range b.Periods {
			spans = append(spans, began.Add(-time.Duration(i+1)*b.Period))
		}
		return spans, sample{}
	}
	if subject.Without.IsZero() {
		return nil, unanswered(NoData, "nobody knows until when last good ran alone, so there is no baseline")
	}
	return []time.Time{subject.Without.Add(-m.check.For)}, sample{}
}

func (m *metered) add(s sample) {
	if s.verdict != Pass {
		m.missing = tallied(m.missing, s.why)
		if s.verdict == Error {
			m.failures++
		}
		return
	}
	m.values = append(m.values, s.value)
	if s.value < m.low || s.value > m.high {
		m.beyond++
	}
}

// settleFor judges what there is after so many samples, as a control.
func (m *metered) settleFor(ticks int) {
	m.needed = max(1, m.needed*ticks/m.planned)
	m.planned, m.short = ticks, true
}

func (m *metered) allowed() int { return int(m.check.Failures*float64(m.planned) + 1e-9) }

// early is the verdict after some of the samples, where there is one.
func (m *metered) early(ticks int) Verdict {
	if m.beyond > m.allowed() {
		return Fail
	}
	ranked := Verdict(Pass)
	if m.ranks() {
		if ranked = ""; m.isLook(ticks) {
			ranked = m.against.compare(m.values, m.check.Baseline.Significance/looks)
			m.worse = ranked == Fail
		}
	}
	switch {
	case m.worse:
		return Fail
	case ticks < m.planned && ranked == Pass && len(m.values) >= m.needed && m.beyond+m.planned-ticks <= m.allowed():
		return Pass
	}
	return ""
}

func (m *metered) ranks() bool { return m.against != nil && m.against.By == promotion.CompareRank }

// isLook: the fixed times at which samples are compared.
func (m *metered) isLook(ticks int) bool {
	return ticks*looks/m.planned > (ticks-1)*looks/m.planned
}

// verdict is that of all samples.
func (m *metered) verdict() Verdict {
	if m.short && m.ranks() {
		if len(m.values) < fewest {
			m.needed = fewest
		} else {
			m.worse = m.worse || m.against.compare(m.values, m.check.Baseline.Significance) == Fail
		}
	}
	switch {
	case m.short && m.ranks() && !m.worse && len(m.values) >= m.needed && m.against.hints(m.values):
		m.unfit = unanswered(Error, "cannot be judged: %s, against %s %s, may be chance or not", number(median(m.values)), number(median(m.against.base)), m.against.Baseline)
		return Error
	case m.worse, m.beyond > m.allowed():
		return Fail
	case len(m.values) >= m.needed:
		return Pass
	case m.failures > 0:
		return Error
	}
	return NoData
}

// evidence is one sentence with the measurement.
func (m *metered) evidence(verdict Verdict) string {
	switch {
	case m.unfit.verdict != "":
		return m.unfit.why
	case verdict == Fail && m.worse:
		return fmt.Sprintf("was %s, by %d and %d samples", m.against.describe(m.values), len(m.values), len(m.against.base))
	case verdict == Fail:
		return fmt.Sprintf("was %s in %d of %d samples (%d planned, of which %d may be; the median is %s)",
			m.limits(false), m.beyond, len(m.values), m.planned, m.allowed(), number(median(m.values)))
	case verdict == Pass:
		text := fmt.Sprintf("was %s in %d of %d samples", m.limits(true), len(m.values)-m.beyond, len(m.values))
		if m.ranks() {
			text += fmt.Sprintf(", and %s against %s %s", number(median(m.values)), number(median(m.against.base)), m.against.Baseline)
		}
		return text + m.missed()
	}
	return fmt.Sprintf("cannot be judged: %d samples over %s, where %d are wanted%s", len(m.values), health.Span(m.check.For), m.needed, m.missed())
}

func (m *metered) missed() string {
	if len(m.missing) == 0 {
		return ""
	}
	return "; otherwise " + common(m.missing)
}

// limits says where a value is, or is not.
func (m *metered) limits(within bool) string {
	low, high := !math.IsInf(m.low, -1), !math.IsInf(m.high, 1)
	word := map[bool]string{true: "within", false: "beyond"}[within]
	switch {
	case low && high:
		return fmt.Sprintf("%s %s and %s", word, number(m.low), number(m.high))
	case low && within, high && !within:
		return fmt.Sprintf("above %s", number(map[bool]float64{true: m.low, false: m.high}[low]))
	case high, low:
		return fmt.Sprintf("below %s", number(map[bool]float64{true: m.low, false: m.high}[low]))
	}
	return "there"
}

func clipped(query string) string {
	const most = 300
	if runes := []rune(query); len(runes) > most {
		return string(runes[:most]) + "…"
	}
	return query
}

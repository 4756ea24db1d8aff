package verify

import (
	"context"
	"math"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"chaperone.dev/chaperone/internal/promotion"
	"chaperone.dev/chaperone/internal/testkit/prometheus"
)

// leaping is a clock whose waits are over at once.
func leaping(from time.Time) Clock {
	var mu sync.Mutex
	now := from
	return Clock{
		Now: func() time.Time { mu.Lock(); defer mu.Unlock(); return now },
		Wait: func(ctx context.Context, d time.Duration) error {
			mu.Lock()
			defer mu.Unlock()
			now = now.Add(d)
			return ctx.Err()
		},
	}
}

// hurried is a clock that runs faster than time, for checks side by side.
func hurried(from time.Time, times int) Clock {
	began, real := time.Now(), SystemClock()
	return Clock{
		Now:  func() time.Time { return from.Add(time.Since(began) * time.Duration(times)) },
		Wait: func(ctx context.Context, d time.Duration) error { return real.Wait(ctx, d/time.Duration(times)) },
	}
}

func f(x float64) *float64 { return &x }

// story is what one server has seen: an hour before a release, and one after.
type story struct {
	server  *prometheus.Server
	release time.Time
}

// tell writes metrics that are one thing before a release and another after it.
func tell(t *testing.T) story {
	t.Helper()
	s := story{prometheus.Start(t, ""), time.Now().Add(-2 * time.Hour).Truncate(time.Minute)}
	wobble := func(at time.Time) float64 { return float64(at.Unix() / 15 * 7919 % 101) }
	step := func(before, after float64) func(time.Time) float64 {
		return func(at time.Time) float64 {
			if at.Before(s.release) {
				return before * (1 + wobble(at)/1000)
			}
			return after * (1 + wobble(at.Add(time.Hour))/1000)
		}
	}
	write := func(series prometheus.Series, from, to time.Time, value func(time.Time) float64) {
		s.server.Write(t, series.Every(15*time.Second, from, to, value))
	}
	from, to := s.release.Add(-time.Hour), s.release.Add(time.Hour)
	write(prometheus.Named("same"), from, to, step(100, 100))
	write(prometheus.Named("doubled"), from, to, step(100, 200))
	write(prometheus.Named("halved"), from, to, step(100, 50))
	write(prometheus.Named("appeared"), s.release, to, step(0, 5))
	write(prometheus.Named("nothing"), from, to, step(0, 0))
	write(prometheus.Named("two", "patient", "hunter2"), from, to, step(1, 1))
	write(prometheus.Named("two", "patient", "other"), from, to, step(1, 1))
	write(prometheus.Named("stopped"), from, s.release, step(1, 1))
	write(prometheus.Named("nan"), from, to, func(time.Time) float64 { return math.NaN() })
	ended := prometheus.Named("ended").Every(15*time.Second, from, s.release, step(1, 1))
	ended.Samples = append(ended.Samples, prometheus.Sample{At: s.release, Value: prometheus.Stale})
	s.server.Write(t, ended)
	write(prometheus.Named("daily"), from.Add(-24*time.Hour), to.Add(-24*time.Hour), step(190, 190))
	write(prometheus.Named("daily"), from, to, step(100, 200))
	total := func(share float64) (ok, failed func(time.Time) float64) {
		count := func(at time.Time) float64 { return at.Sub(from).Seconds() * 10 }
		return func(at time.Time) float64 { return count(at) - max(0, share*at.Sub(s.release).Seconds()*10) },
			func(at time.Time) float64 { return max(0, share*at.Sub(s.release).Seconds()*10) }
	}
	for job, share := range map[string]float64{"good": 0, "bad": 0.05} {
		ok, failed := total(share)
		write(prometheus.Named("http_requests_total", "job", job, "code", "200"), from, to, ok)
		if share > 0 {
			write(prometheus.Named("http_requests_total", "job", job, "code", "500"), from, to, failed)
		}
	}
	write(prometheus.Named("http_requests_total", "job", "idle", "code", "200"), from, to, func(time.Time) float64 { return 7 })
	for _, le := range []string{"0.1", "+Inf"} {
		write(prometheus.Named("http_request_duration_seconds_bucket", "job", "idle", "le", le), from, to, func(time.Time) float64 { return 7 })
	}
	return s
}

func (s story) check(query string, change func(*promotion.MetricCheck)) promotion.MetricCheck {
	m := promotion.MetricCheck{Name: "errors", Query: query, For: 5 * time.Minute, Every: 15 * time.Second, Stale: time.Minute, Samples: 18}
	change(&m)
	return m
}

func (s story) verifier() *Verifier {
	return New(nil, leaping(s.release.Add(10*time.Minute)), 0).WithPrometheus(Prometheus{URL: s.server.URL})
}

func limits(low, high *float64) func(*promotion.MetricCheck) {
	return func(m *promotion.MetricCheck) { m.Min, m.Max = low, high }
}

func against(b promotion.Baseline) func(*promotion.MetricCheck) {
	return func(m *promotion.MetricCheck) {
		if b.Ratio == 0 {
			b.Ratio = 1.5
		}
		if b.From == "" {
			b.From = promotion.BaselineBefore
		}
		b.Significance, b.Worse = 0.01, promotion.Worse(orElse(string(b.Worse), "higher"))
		m.Baseline = &b
	}
}

func orElse(s, other string) string {
	if s == "" {
		return other
	}
	return s
}

const errorRate = `(sum(rate(http_requests_total{job="JOB",code=~"5.."}[1m])) or vector(0)) / sum(rate(http_requests_total{job="JOB"}[1m]))`

// Each kind of check answers each of the four ways, by a real Prometheus
// (pitfall 27: what is not there is neither good nor bad).
func TestPitfall27_MetricsAnswerEachWay(t *testing.T) {
	t.Parallel()
	s := tell(t)
	rank, ratio := promotion.Baseline{By: promotion.CompareRank}, promotion.Baseline{By: promotion.CompareRatio}
	day := promotion.Baseline{By: promotion.CompareRank, From: promotion.BaselinePeriods, Period: 24 * time.Hour, Periods: 1}
	fewer := func(b promotion.Baseline) promotion.Baseline { b.Worse = promotion.WorseLower; return b }
	good := func(b promotion.Baseline) promotion.Baseline { b.From = promotion.BaselineLastGood; return b }
	floored := func(b promotion.Baseline) promotion.Baseline { b.Floor = f(10); return b }
	above := func(b promotion.Baseline) promotion.Baseline { b.Floor = f(1000); return b }
	presetOf := func(job string) string { return strings.ReplaceAll(errorRate, "JOB", job) }
	for name, test := range map[string]struct {
		check    promotion.MetricCheck
		verdict  Verdict
		evidence string
	}{
		"limit, within":             {s.check("same", limits(f(90), f(120))), Pass, `metric "errors" was within 90 and 120 in 20 of 20 samples (same)`},
		"limit, above":              {s.check("doubled", limits(nil, f(150))), Fail, `metric "errors" was above 150 in 1 of 1 samples (20 planned`},
		"limit, below":              {s.check("halved", limits(f(90), nil)), Fail, `was below 90 in 1 of 1`},
		"limit, two series":         {s.check("two", limits(nil, f(9))), Error, `0 samples over 5m, where 18 are wanted; otherwise 2 series where one is wanted`},
		"limit, broken query":       {s.check("rate(x)", limits(nil, f(9))), Error, `otherwise Prometheus answered 400 (bad_data)`},
		"limit, nothing":            {s.check("absent_thing", limits(nil, f(9))), NoData, `otherwise an empty answer`},
		"limit, NaN":                {s.check("nan", limits(nil, f(9))), NoData, `otherwise NaN`},
		"limit, infinite":           {s.check("same / 0", limits(nil, f(9))), NoData, `otherwise an infinite value`},
		"limit, no longer scraped":  {s.check("stopped", limits(nil, f(9))), NoData, `otherwise an empty answer`},
		"limit, target gone":        {s.check("ended", limits(nil, f(9))), NoData, `otherwise an empty answer`},
		"limit, a scalar":           {s.check("1 + 1", limits(nil, f(9))), Pass, `20 of 20`},
		"error rate, good":          {s.check(presetOf("good"), limits(nil, f(.01))), Pass, `was below 0.01 in 20 of 20`},
		"error rate, bad":           {s.check(presetOf("bad"), limits(nil, f(.01))), Fail, `was above 0.01 in 1 of 1`},
		"error rate, no requests":   {s.check(presetOf("idle"), limits(nil, f(.01))), NoData, `otherwise NaN`},
		"latency, no requests":      {s.check(`histogram_quantile(0.95, sum by (le) (rate(http_request_duration_seconds_bucket{job="idle"}[1m])))`, limits(nil, f(.01))), NoData, `otherwise NaN`},
		"rank, no requests":         {s.check(presetOf("idle"), against(rank)), NoData, `has 0 samples`},
		"error rate, no such job":   {s.check(presetOf("gone"), limits(nil, f(.01))), NoData, `otherwise an empty answer`},
		"ratio, same":               {s.check("same", against(ratio)), Pass, "in 20 of 20"},
		"ratio, doubled":            {s.check("doubled", against(ratio)), Fail, `was above 15`},
		"ratio, fewer, halved":      {s.check("halved", against(fewer(ratio))), Fail, `was below `},
		"ratio, no baseline":        {s.check("appeared", against(ratio)), NoData, `the baseline before the release has 0 samples; want 18`},
		"ratio, of nothing":         {s.check("nothing", against(ratio)), NoData, `is 0, of which there is no ratio; want a floor`},
		"ratio, below 0":            {s.check("-1 * same", against(ratio)), NoData, `of which there is no ratio; want a floor above 0`},
		"ratio, fewer, below floor": {s.check("same", against(fewer(above(ratio)))), Pass, `in 20 of 20`},
		"ratio, nothing, floor":     {s.check("nothing", against(floored(ratio))), Pass, `in 20 of 20`},
		"ratio, two series":         {s.check("two", against(ratio)), Error, `the baseline cannot be had: 2 series`},
		"rank, same":                {s.check("same", against(rank)), Pass, `against 10`},
		"rank, doubled":             {s.check("doubled", against(rank)), Fail, `by 4 and 20 samples`},
		"rank, better":              {s.check("halved", against(rank)), Pass, `against 10`},
		"rank, fewer, halved":       {s.check("halved", against(fewer(rank))), Fail, `by 4 and 20 samples`},
		"rank, no baseline":         {s.check("appeared", against(rank)), NoData, `has 0 samples`},
		"rank, two series":          {s.check("two", against(rank)), Error, `2 series`},
		"rank, gone after":          {s.check("stopped", against(rank)), NoData, `0 samples over 5m`},
		"rank, as every day":        {s.check("daily", against(day)), Pass, `at this time in the last 1 periods of 1d`},
		"rank, last good":           {s.check("doubled", against(good(rank))), Fail, `against 10`},
		"rank, nothing, nothing":    {s.check("nothing", against(rank)), Pass, `0 against 0`},
		"limit and rank, both well": {s.check("same", func(m *promotion.MetricCheck) { against(rank)(m); m.Max = f(150) }), Pass, `below 150`},
	} {
		t.Run(name, func(t *testing.T) {
			subject := Subject{Without: s.release, Good: s.release.Add(-20 * time.Minute)}
			got := s.verifier().all(t.Context(), []Check{s.verifier().metricCheck(test.check, time.Minute, subject)}, false)
			if len(got) != 1 || got[0].Verdict != test.verdict || !strings.Contains(got[0].Evidence, test.evidence) {
				t.Errorf("got  %+v\nwant %s: %s", got, test.verdict, test.evidence)
			}
			if strings.Contains(got[0].Evidence, "hunter2") {
				t.Errorf("a label's value is told: %s", got[0].Evidence)
			}
		})
	}
}

// A release is only at fault for what its neighbours do not have (pitfall 31).
func TestMetricControl(t *testing.T) {
	t.Parallel()
	s := tell(t)
	for control, want := range map[string]Verdict{"same": Fail, "doubled": Error, "absent_thing": Error, "two": Error} {
		check := s.check("doubled", func(m *promotion.MetricCheck) {
			against(promotion.Baseline{By: promotion.CompareRank})(m)
			m.Control = control
		})
		v := New(nil, hurried(s.release.Add(10*time.Minute), 600), 0).WithPrometheus(Prometheus{URL: s.server.URL})
		got := v.all(t.Context(), []Check{v.metricCheck(check, time.Minute, Subject{Without: s.release})}, false)
		if len(got) != 1 || got[0].Verdict != want {
			t.Errorf("beside %s: %+v, want %s", control, got, want)
		}
	}
}

// What is no answer of Prometheus is none, and says so without repeating it.
func TestPrometheusThatDoesNotAnswer(t *testing.T) {
	t.Parallel()
	other := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { t.Error("redirected to") }))
	t.Cleanup(other.Close)
	says := func(status int, body string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(status); _, _ = w.Write([]byte(body)) }
	}
	ok := `{"status":"success","data":{"resultType":"vector","result":[{"metric":{"patient":"hunter2"},"value":[1,"1"]}]}`
	for name, test := range map[string]struct {
		handler  http.HandlerFunc
		evidence string
	}{
		"a redirect":     {func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, other.URL+"/?hunter2", 307) }, "Prometheus answered 307, to ask elsewhere"},
		"metadata":       {func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "http://169.254.169.254/", 302) }, "Prometheus answered 302"},
		"503":            {says(503, `{"status":"error","errorType":"unavailable","error":"hunter2"}`), "Prometheus answered 503 (unavailable)"},
		"500 of nobody":  {says(500, `hunter2`), "Prometheus answered 500"},
		"422":            {says(422, `{"status":"error","errorType":"hunter2","error":"hunter2"}`), "Prometheus answered 422"},
		"error with 200": {says(200, `{"status":"error","errorType":"timeout","error":"hunter2"}`), "Prometheus answered 200 (timeout)"},
		"warnings":       {says(200, ok+`,"warnings":["hunter2"]}`), "partial, by 1 of its own warnings"},
		"isPartial":      {says(200, ok+`,"isPartial":true}`), "partial, by its own account"},
		"html":           {says(200, `<html>hunter2`), "none of Prometheus"},
		"cut off": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "999")
			_, _ = w.Write([]byte(ok))
		}, "broke off"},
		"no status":   {says(200, `{}`), "Prometheus answered 200"},
		"a text":      {says(200, `{"status":"success","data":{"resultType":"string","result":[1,"hunter2"]}}`), "no number"},
		"a histogram": {says(200, `{"status":"success","data":{"resultType":"vector","result":[{"metric":{},"histogram":[1,{}]}]}}`), "a histogram"},
		"words":       {says(200, `{"status":"success","data":{"resultType":"vector","result":[{"metric":{},"value":[1,"hunter2"]}]}}`), "holds no number"},
		"endless": {func(w http.ResponseWriter, r *http.Request) {
			for r.Context().Err() == nil {
				if _, err := w.Write(make([]byte, 64<<10)); err != nil {
					return
				}
			}
		}, "larger than 1024 KiB"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := httptest.NewServer(test.handler)
			t.Cleanup(server.Close)
			v := New(nil, leaping(time.Now()), 0).WithPrometheus(Prometheus{URL: server.URL})
			check := promotion.MetricCheck{Name: "errors", Query: "up", For: 30 * time.Second, Every: 15 * time.Second, Max: f(2), Samples: 1}
			got, err := v.metric(t.Context(), check, 0, Subject{}, nil)
			if err != nil || got.Verdict != Error || !strings.Contains(got.Evidence, test.evidence) || strings.Contains(got.Evidence, "hunter2") {
				t.Errorf("%v %+v, want %s", err, got, test.evidence)
			}
		})
	}
}

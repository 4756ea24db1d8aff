package verify

import (
	"fmt"
	"io"
	"net/http"
	"net/url"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"chaperone.dev/chaperone/internal/promotion"
	"chaperone.dev/chaperone/internal/testkit/prometheus"
)

// spent is the CPU time of this process; that of Prometheus is its own.
func spent() time.Duration {
	var usage syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &usage)
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}

// BenchmarkMetricsOf200Workloads makes the metric checks of 200 workloads at
// once, against a real Prometheus; its floor is the same requests without checks.
func BenchmarkMetricsOf200Workloads(b *testing.B) {
	const workloads, samples = 200, 20
	server := prometheus.Start(b, "")
	now := time.Now().Truncate(time.Minute)
	series := prometheus.Named("busy").Every(15*time.Second, now.Add(-time.Hour), now, func(at time.Time) float64 { return float64(at.Unix() % 7) })
	server.Write(b, series)
	check := promotion.MetricCheck{
		Query: "busy", For: samples * 15 * time.Second, Every: 15 * time.Second, Stale: time.Minute, Samples: 18, Max: f(9),
		Baseline: &promotion.Baseline{From: promotion.BaselineBefore, By: promotion.CompareRank, Ratio: 1.5, Significance: .01, Worse: promotion.WorseHigher},
	}
	subject := Subject{Without: now.Add(-20 * time.Minute)}
	per := func(b *testing.B, requests int64, began time.Duration) {
		b.ReportMetric(float64(requests)/float64(b.N)/workloads, "requests/check")
		b.ReportMetric(float64((spent()-began).Microseconds())/float64(requests), "cpu-µs/request")
	}
	b.Run("checks", func(b *testing.B) {
		var requests atomic.Int64
		began := spent()
		for b.Loop() {
			v := New(nil, leaping(now.Add(-15*time.Minute)), 0).WithPrometheus(Prometheus{URL: server.URL})
			v.metricTransport = &counting{NewClient(nil).Transport.(*http.Transport), &requests}
			var checks []Check
			for i := range workloads {
				one := check
				one.Name = fmt.Sprint("w", i)
				checks = append(checks, Check{Name: one.Name, Within: time.Hour, Ask: v.metricCheck(one, time.Minute, subject).Ask})
			}
			if got := v.all(b.Context(), checks, false); len(got) != workloads {
				b.Fatalf("%d verdicts: %+v", len(got), got[0])
			}
		}
		per(b, requests.Load(), began)
	})
	b.Run("bare requests", func(b *testing.B) {
		var requests int64
		began := spent()
		client := &http.Client{Transport: NewClient(nil).Transport}
		for b.Loop() {
			for range workloads * (samples + 1) {
				response, err := client.PostForm(server.URL+"/api/v1/query", url.Values{"query": {"busy"}, "time": {unix(now.Add(-time.Minute))}})
				if err != nil {
					b.Fatal(err)
				}
				_, _ = io.Copy(io.Discard, response.Body)
				_ = response.Body.Close()
				requests++
			}
		}
		per(b, requests, began)
	})
}

type counting struct {
	*http.Transport
	requests *atomic.Int64
}

func (c *counting) RoundTrip(r *http.Request) (*http.Response, error) {
	c.requests.Add(1)
	return c.Transport.RoundTrip(r)
}

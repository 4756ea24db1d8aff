package verify

import (
	"context"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"chaperone.dev/chaperone/internal/promotion"
)

func says(status int, body string) (*http.Response, error) {
	return &http.Response{StatusCode: status, Header: http.Header{}, Body: io.NopCloser(strings.NewReader(body))}, nil
}

// twoServices answer alike, and what befalls the first befalls the other a moment
// late.
func twoServices(began time.Time, answer func(since time.Duration) (status int, takes time.Duration), late time.Duration) roundTrip {
	return func(r *http.Request) (*http.Response, error) {
		since := time.Since(began)
		if strings.HasPrefix(r.URL.Host, "other.") {
			since -= late
		}
		status, takes := answer(since)
		if err := SystemClock().Wait(r.Context(), takes); err != nil {
			return nil, err
		}
		return says(status, "")
	}
}

// An outage next door meets the release first by chance, and what was not changed
// a moment later: what was asked before that is no excuse for blaming the release
// (pitfall 31).
func TestPitfall31_AControlIsAskedAfterTheFailure(t *testing.T) {
	t.Parallel()
	check := promotion.HTTPCheck{Name: "readiness", Service: "api", Port: 80, Path: "/", Count: 30, Interval: time.Second,
		Control: &promotion.Endpoint{Service: "other", Port: 80, Path: "/"}}
	slow := check
	slow.Count, slow.Latency = 100, &promotion.Latency{Percentile: 95, Under: 500 * time.Millisecond}
	failing := func(from time.Duration) func(time.Duration) (int, time.Duration) {
		return func(since time.Duration) (int, time.Duration) {
			if since >= from {
				return 500, time.Millisecond
			}
			return 200, time.Millisecond
		}
	}
	for name, test := range map[string]struct {
		check  promotion.HTTPCheck
		answer func(time.Duration) (int, time.Duration)
	}{
		"fails between two requests":   {check, failing(10 * time.Second)},
		"fails at the last request":    {check, failing(29 * time.Second)},
		"everything has become slower": {slow, func(time.Duration) (int, time.Duration) { return 200, 700 * time.Millisecond }},
	} {
		synctest.Test(t, func(t *testing.T) {
			client := &http.Client{Transport: twoServices(time.Now(), test.answer, 300*time.Millisecond)}
			v := New(client, SystemClock(), 0)
			got := v.all(t.Context(), []Check{v.httpCheck(test.check, Subject{Namespace: "shop"})}, false)
			if len(got) != 1 || got[0].Verdict != Error || got[0].Tied {
				t.Errorf("%s: %+v", name, got)
			}
		})
	}
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		client := &http.Client{Transport: roundTrip(func(r *http.Request) (*http.Response, error) {
			if strings.HasPrefix(r.URL.Host, "other.") {
				return says(200, "")
			}
			return says(500, "")
		})}
		v := New(client, SystemClock(), 0)
		got := v.all(t.Context(), []Check{v.httpCheck(check, Subject{Namespace: "shop"})}, false)
		if len(got) != 1 || got[0].Verdict != Fail || !got[0].Tied || time.Since(began) > 5*time.Second {
			t.Errorf("the release alone: after %s %+v", time.Since(began), got)
		}
	})
}

// A control is asked at a decent pace while its check gets no answer, and a check
// that fails beside a control that hangs waits for no more than tells it so.
func TestAControlIsBounded(t *testing.T) {
	t.Parallel()
	check := promotion.HTTPCheck{Name: "readiness", Service: "api", Port: 80, Path: "/", Count: 10, Timeout: 5 * time.Second, Failures: .9,
		Control: &promotion.Endpoint{Service: "other", Port: 80, Path: "/"}}
	run := func(check promotion.HTTPCheck, api, other func(*http.Request) (*http.Response, error)) (got []Result, asked int64, took time.Duration) {
		synctest.Test(t, func(t *testing.T) {
			var n atomic.Int64
			began := time.Now()
			v := New(&http.Client{Transport: roundTrip(func(r *http.Request) (*http.Response, error) {
				if strings.HasPrefix(r.URL.Host, "other.") {
					n.Add(1)
					return other(r)
				}
				return api(r)
			})}, SystemClock(), 0)
			got = v.all(t.Context(), []Check{v.httpCheck(check, Subject{Namespace: "shop"})}, false)
			asked, took = n.Load(), time.Since(began)
		})
		return got, asked, took
	}
	hangs := func(r *http.Request) (*http.Response, error) { return nil, SystemClock().Wait(r.Context(), time.Hour) }
	well := func(*http.Request) (*http.Response, error) { return says(200, "") }
	if got, asked, took := run(check, hangs, well); got[0].Verdict != Error || asked > 300 || took > 50*time.Second {
		t.Errorf("%d requests to a control in %s: %+v", asked, took, got)
	}
	check.Failures, check.Interval = 0, time.Second
	if got, _, took := run(check, func(*http.Request) (*http.Response, error) { return says(500, "") }, hangs); got[0].Verdict != Error || took > 10*time.Second {
		t.Errorf("beside a control that hangs, after %s: %+v", took, got)
	}
}

// The same for metrics: what is scraped of others is up to an interval older.
func TestPitfall31_AMetricControlIsAskedAfterTheFailure(t *testing.T) {
	t.Parallel()
	for _, lag := range []time.Duration{0, time.Millisecond, 10 * time.Second} {
		for _, outage := range []time.Duration{40 * time.Second, 4*time.Minute + 44*time.Second} {
			synctest.Test(t, func(t *testing.T) {
				began := time.Now()
				v := New(nil, SystemClock(), 0).WithPrometheus(Prometheus{URL: "http://prometheus.monitoring.svc"})
				v.metricTransport = roundTrip(func(r *http.Request) (*http.Response, error) {
					since, value := time.Since(began), 0
					if r.PostFormValue("query") == "other" {
						since -= lag
					}
					if since >= outage {
						value = 1
					}
					return says(200, fmt.Sprintf(`{"status":"success","data":{"resultType":"scalar","result":[1,"%d"]}}`, value))
				})
				check := promotion.MetricCheck{Name: "metric", Query: "mine", Control: "other", For: 5 * time.Minute, Every: 15 * time.Second, Max: f(.5), Samples: 18}
				got := v.all(t.Context(), []Check{v.metricCheck(check, 0, Subject{})}, false)
				if len(got) != 1 || got[0].Verdict != Error || got[0].Tied {
					t.Errorf("scraped %s later, from %s on: %+v", lag, outage, got)
				}
			})
		}
	}
}

// A server that takes its time is not asked for what it could not answer in time:
// all those samples would be one, and one bad one would be many.
func TestLateSamplesAreNone(t *testing.T) {
	t.Parallel()
	for takes, want := range map[time.Duration]Verdict{900 * time.Millisecond: Pass, 5 * time.Second: Error} {
		synctest.Test(t, func(t *testing.T) {
			began, asked := time.Now(), 0
			v := New(nil, SystemClock(), 0).WithPrometheus(Prometheus{URL: "http://prometheus.monitoring.svc"})
			v.metricTransport = roundTrip(func(r *http.Request) (*http.Response, error) {
				if asked++; asked == 3 {
					time.Sleep(takes)
				}
				bad := 0 // for a second, which is one sample
				if since := time.Since(began); since > 6500*time.Millisecond && since < 7500*time.Millisecond {
					bad = 1
				}
				return says(200, fmt.Sprintf(`{"status":"success","data":{"resultType":"scalar","result":[1,"%d"]}}`, bad))
			})
			check := promotion.MetricCheck{Name: "errors", Query: "1", For: 30 * time.Second, Every: time.Second, Max: f(.5), Failures: .1, Samples: 27}
			got := v.all(t.Context(), []Check{v.metricCheck(check, 0, Subject{})}, false)
			if len(got) != 1 || got[0].Verdict != want {
				t.Errorf("after %s: %+v, want %s", takes, got, want)
			}
		})
	}
}

// A proxy that is configured wrongly is quoted by Go, password and all; what is
// evidence here stands in a commit later.
func TestProxyPasswordsAreNotTold(t *testing.T) {
	t.Parallel()
	client := &http.Client{Transport: &http.Transport{Proxy: func(*http.Request) (*url.URL, error) {
		return nil, fmt.Errorf("invalid proxy address %q: %v", "http://chaperone:hunt/er2@proxy:99999x", "invalid port")
	}}}
	got, err := New(client, leaping(time.Now()), 0).HTTP(t.Context(), promotion.HTTPCheck{Name: "readiness", URL: "http://api.example.org/", Count: 1}, "")
	if err != nil || got.Verdict != Error || strings.Contains(got.Evidence, "er2") || !strings.Contains(got.Evidence, "proxy:99999x") {
		t.Errorf("%v: %+v", err, got)
	}
}

// What makes a release and its control worse alike is seldom taken for the
// release's fault, and what makes the release alone worse mostly is.
func TestControlsByRank(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewPCG(31, 31))
	side := func() *metered {
		b := promotion.Baseline{By: promotion.CompareRank, From: promotion.BaselineBefore, Ratio: promotion.DefaultRatio, Significance: .01, Worse: promotion.WorseHigher}
		m := &metered{check: promotion.MetricCheck{Baseline: &b, For: 20 * time.Minute, Every: time.Minute}, planned: 20, needed: 18,
			against: &comparison{Baseline: b}, low: math.Inf(-1), high: math.Inf(1)}
		for range 20 {
			m.against.base = append(m.against.base, math.Exp(random.NormFloat64()*.25))
		}
		return m
	}
	take := func(m *metered, by float64) {
		m.add(sample{value: by * math.Exp(random.NormFloat64()*.25), verdict: Pass})
	}
	for _, test := range []struct{ release, control, least, most float64 }{
		{2, 2, 0, .005}, {1.5, 1.5, 0, .03}, {2, 1.5, 0, .06}, {2, 1, .8, 1},
	} {
		failed, tied := 0, 0
		for range 1000 {
			release, control := side(), side()
			for i := range 20 {
				take(release, test.release)
				take(control, test.control)
				if release.early(i+1) == Fail {
					take(control, test.control)
					control.settleFor(i + 2)
					failed++
					if control.verdict() == Pass {
						tied++
					}
					break
				}
			}
		}
		share := float64(tied) / float64(failed)
		t.Logf("release worse by %g, control by %g: %d of 1000 fail, %.3f of them tied to the release", test.release, test.control, failed, share)
		if failed < 800 || share < test.least || share > test.most {
			t.Errorf("release worse by %g, control by %g: %.3f tied, want %g to %g", test.release, test.control, share, test.least, test.most)
		}
	}
}

// Every endpoint has its time, how many there may be.
func TestEachEndpointHasItsTime(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		v := New(&http.Client{Transport: roundTrip(func(*http.Request) (*http.Response, error) { return says(200, "") })}, SystemClock(), 0)
		check := promotion.HTTPCheck{Name: "readiness", Service: "api", Port: 80, Path: "/", Count: 10, Interval: time.Second, Timeout: 100 * time.Millisecond, Each: true}
		subject := Subject{Namespace: "shop", Endpoints: func(context.Context, string, int) (all []Endpoint, err error) {
			for i := range maxEndpoints {
				all = append(all, Endpoint{Pod: fmt.Sprintf("api-%d", i), Address: fmt.Sprintf("10.0.0.%d:80", i)})
			}
			return all, nil
		}}
		if got := v.all(t.Context(), []Check{v.httpCheck(check, subject)}, false); len(got) != 1 || got[0].Verdict != Pass {
			t.Errorf("%+v", got)
		}
	})
}

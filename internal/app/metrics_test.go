package app

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"chaperone.dev/chaperone/internal/controller"
	"chaperone.dev/chaperone/internal/promotion"
	"chaperone.dev/chaperone/internal/reconcile"
	"chaperone.dev/chaperone/internal/testkit/prometheus"
	"chaperone.dev/chaperone/internal/verify"
)

// scrapes has a real Prometheus look at services through the pods' network.
func (c checked) scrapes(t *testing.T, services ...string) *prometheus.Server {
	t.Helper()
	config := "global: {scrape_interval: 500ms, scrape_timeout: 500ms}\nscrape_configs:\n"
	for _, service := range services {
		config += fmt.Sprintf("- {job_name: %s, proxy_url: '%s', static_configs: [{targets: ['%s.%s.svc:80']}]}\n", service, c.local.Proxy, service, c.env.Target.Namespace)
	}
	return prometheus.Start(t, config)
}

// calls asks a service without end, as its callers do.
func (c checked) calls(t *testing.T, service string) {
	t.Helper()
	proxy, err := url.Parse(c.local.Proxy)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	client := &http.Client{Transport: &http.Transport{Proxy: http.ProxyURL(proxy)}}
	done := make(chan struct{})
	t.Cleanup(func() { stop(); <-done; client.CloseIdleConnections() })
	go func() {
		defer close(done)
		for ctx.Err() == nil {
			request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+service+"."+c.env.Target.Namespace+".svc/", nil)
			if err != nil {
				return
			}
			if response, err := client.Do(request); err == nil {
				_ = response.Body.Close()
			}
			time.Sleep(20 * time.Millisecond)
		}
	}()
}

// What pods tell of themselves is scraped by a real Prometheus, and judged.
func TestMetricsOfARealCluster(t *testing.T) {
	t.Parallel()
	c := newChecked(t)
	set := decoded(t, workload("good", "good", "api:1", 1), serviceOf("good"), workload("bad", "bad", "api:errors-20", 1), serviceOf("bad"),
		workload("worse", "worse", "api:errors-50", 1), serviceOf("worse"), workload("slow", "slow", "api:slow-400ms", 1), serviceOf("slow"),
		workload("idle", "idle", "api:1", 1), serviceOf("idle"))
	if err := c.on.Apply(t.Context(), c.env, set); err != nil {
		t.Fatal(err)
	}
	if got, err := c.on.Verify(t.Context(), c.env, set, controller.Against{}); err != nil || got.Outcome != reconcile.OutcomeDone {
		t.Fatal(got, err)
	}
	for _, service := range []string{"good", "bad", "worse", "slow"} {
		c.calls(t, service)
	}
	server := c.scrapes(t, "good", "bad", "worse", "slow", "idle")
	c.on.verifier = c.on.verifier.WithPrometheus(verify.Prometheus{URL: server.URL})
	rate := func(job string) string {
		return fmt.Sprintf(`(sum(rate(http_requests_total{job=%[1]q,code=~"5.."}[5s])) or vector(0)) / sum(rate(http_requests_total{job=%[1]q}[5s]))`, job)
	}
	latency := func(job string) string {
		return fmt.Sprintf(`histogram_quantile(0.95, sum by (le) (rate(http_request_duration_seconds_bucket{job=%q}[5s])))`, job)
	}
	const pass, fail, none, unasked = reconcile.OutcomeDone, reconcile.OutcomeFailed, reconcile.OutcomeNoData, reconcile.OutcomeError
	for _, test := range []struct {
		name, query, control string
		most                 float64
		outcome              reconcile.Outcome
		tied                 bool
		evidence             string
	}{
		{"good", rate("good"), "", .05, pass, false, "was below 0.05 in 4 of 4"},
		{"errors", rate("bad"), "", .05, fail, false, "was above 0.05 in"},
		{"errors, and not next door", rate("bad"), rate("good"), .05, fail, true, "meanwhile, of what was not changed"},
		{"errors next door as well", rate("bad"), rate("worse"), .05, unasked, false, "something else is wrong, which was not changed"},
		{"errors, and nobody asks next door", rate("bad"), rate("idle"), .05, unasked, false, "what was not changed cannot be judged"},
		{"quick", latency("good"), "", .2, pass, false, "4 of 4"},
		{"slow", latency("slow"), latency("good"), .2, fail, true, "was above 0.2"},
		{"nobody asks", rate("idle"), "", .05, none, false, "otherwise NaN"},
		{"no such job", rate("gone"), "", .05, none, false, "otherwise an empty answer"},
		{"two of them", "http_requests_total", "", .05, unasked, false, "series where one is wanted"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			env := c.env
			env.Verify.Metrics = []promotion.MetricCheck{{
				Name: "m", Query: test.query, Control: test.control, Max: &test.most, Range: 5 * time.Second, For: 4 * time.Second, Every: time.Second,
				Stale: 5 * time.Second, Samples: 4,
			}}
			got, err := c.on.Verify(t.Context(), env, set, controller.Against{})
			if err != nil || got.Outcome != test.outcome || got.Tied != test.tied || !strings.Contains(got.Evidence, test.evidence) {
				t.Errorf("%v %+v\nwant %s, %v: %s", err, got, test.outcome, test.tied, test.evidence)
			}
		})
	}
}

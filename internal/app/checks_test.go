package app

import (
	"context"
	"fmt"
	"log/slog"
	"net/url"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"chaperone.dev/chaperone/internal/controller"
	"chaperone.dev/chaperone/internal/promotion"
	"chaperone.dev/chaperone/internal/reconcile"
	"chaperone.dev/chaperone/internal/testkit/localcluster"
	"chaperone.dev/chaperone/internal/verify"
)

// checked is one release on the real local cluster, to be asked about.
type checked struct {
	on    *clusters
	env   promotion.Environment
	local *localcluster.Cluster
}

func newChecked(t *testing.T) checked {
	local := localcluster.Start(t)
	proxy, err := url.Parse(local.Proxy)
	if err != nil {
		t.Fatal(err)
	}
	on := &clusters{
		connections: &connections{own: local.Config(), namespace: "chaperone-checks", redactor: newRedactor(), log: slog.New(slog.DiscardHandler),
			request: func(string, string, int) {}, open: map[target]*connection{}},
		verifier: verify.New(verify.NewClient(proxy), verify.SystemClock(), 300*time.Millisecond),
	}
	t.Cleanup(on.Close)
	return checked{on, promotion.Environment{
		ID: promotion.ID{Pipeline: "demo", Name: "staging"}, Target: promotion.Target{Namespace: local.Namespace(t)}, Prune: true, MaxDeletePart: 0.5,
		Verify: promotion.Verify{Timeout: 90 * time.Second, Settle: 200 * time.Millisecond, Restarts: promotion.Restarts{Max: 2}},
	}, local}
}

func workload(name, service, image string, replicas int) string {
	return fmt.Sprintf(`{apiVersion: apps/v1, kind: Deployment, metadata: {name: %s}, spec: {replicas: %d, selector: {matchLabels: {app: %s}},
		template: {metadata: {labels: {app: %s, service: %s}}, spec: {containers: [{name: main, image: "registry.local/%s", ports: [{containerPort: 8000}]}]}}}}`,
		name, replicas, name, name, service, image)
}

func serviceOf(name string) string {
	return fmt.Sprintf(`{apiVersion: v1, kind: Service, metadata: {name: %s}, spec: {selector: {service: %s}, ports: [{name: http, port: 80, targetPort: 8000}]}}`, name, name)
}

func smokeOf(name, image string) string {
	return fmt.Sprintf(`{apiVersion: batch/v1, kind: CronJob, metadata: {name: %s}, spec: {suspend: true, schedule: "0 0 1 1 *", jobTemplate: {spec: {template: {
		spec: {restartPolicy: Never, containers: [{name: run, image: "registry.local/%s"}]}}}}}}`, name, image)
}

// Each kind of check, with what it must come to, on pods that behave so.
func TestChecksOnARealCluster(t *testing.T) {
	t.Parallel()
	c := newChecked(t)
	set := decoded(t, workload("good", "good", "api:1", 2), serviceOf("good"), workload("half", "half", "api:errors-50", 1), serviceOf("half"),
		workload("slow", "slow", "api:slow-400ms", 1), serviceOf("slow"), workload("late", "late", "api:fails-after-1s", 1), serviceOf("late"),
		workload("well", "mixed", "api:1", 3), workload("ill", "mixed", "api:errors-100", 1), serviceOf("mixed"), serviceOf("nobody"),
		smokeOf("passes", "smoke:1"), smokeOf("fails", "smoke:job-fail"), smokeOf("hangs", "smoke:never-ready"), smokeOf("absent", "smoke:image-missing"))
	if err := c.on.Apply(t.Context(), c.env, set); err != nil {
		t.Fatal(err)
	}
	request := func(service string, more func(*promotion.HTTPCheck)) promotion.Verify {
		check := promotion.HTTPCheck{Name: service, Service: service, Port: 80, Path: "/", Count: 20, Interval: time.Millisecond, Timeout: 5 * time.Second}
		if more != nil {
			more(&check)
		}
		return promotion.Verify{HTTP: []promotion.HTTPCheck{check}}
	}
	json := func(path, equals string) func(*promotion.HTTPCheck) {
		return func(h *promotion.HTTPCheck) { h.JSON = []promotion.JSONValue{{Path: path, Equals: equals}} }
	}
	each := func(h *promotion.HTTPCheck) { h.Each, h.Count = true, 5 }
	quick := func(h *promotion.HTTPCheck) {
		h.Latency = &promotion.Latency{Percentile: 95, Under: 300 * time.Millisecond}
	}
	job := func(cronJob string) promotion.Verify {
		return promotion.Verify{Jobs: []promotion.JobCheck{{Name: cronJob, CronJob: cronJob, Timeout: 8 * time.Second, Logs: 5}}}
	}
	const pass, fail, none, unasked = reconcile.OutcomeDone, reconcile.OutcomeFailed, reconcile.OutcomeNoData, reconcile.OutcomeError
	tests := []struct {
		name     string
		spec     promotion.Verify
		outcome  reconcile.Outcome
		evidence string
	}{
		{"status", request("good", nil), pass, "as expected in 20 of 20"},
		{"5xx at a rate", request("half", nil), fail, "answered 500 in 1 of"},
		{"5xx at a rate that is allowed", request("half", func(h *promotion.HTTPCheck) { h.Failures = 0.6 }), pass, "as expected in 10 of 20"},
		{"fine at first", request("late", func(h *promotion.HTTPCheck) { h.Count, h.Interval = 40, 100*time.Millisecond }), fail, "answered 500 in 1 of"},
		{"nobody behind the service", request("nobody", nil), unasked, "got no answer to any"},
		{"JSON", request("good", json(".service", "good")), pass, "as expected"},
		{"another value", request("good", json(".container", "sidecar")), fail, "with another value than"},
		{"quick", request("good", quick), pass, "limit p95 under 300ms"},
		{"slow", request("slow", quick), fail, "answered too slowly in 2 of 2"},
		{"the service hides one of four", request("mixed", func(h *promotion.HTTPCheck) { h.Failures = 0.5 }), pass, "as expected"},
		{"each endpoint does not", request("mixed", each), fail, "of pod ill-"},
		{"each endpoint is well", request("good", each), pass, "2 of 2 endpoints like it"},
		{"no endpoint", request("nobody", each), none, "has no ready endpoint at port 80"},
		{"no such port", request("good", func(h *promotion.HTTPCheck) { h.Each, h.Port = true, 81 }), unasked, "it has no port 81; want one of 80"},
		{"smoke test", job("passes"), pass, `job "passes" completed with 1 succeeded`},
		{"smoke test that fails", job("fails"), fail, `job "fails" failed after 1 failed pod`},
		{"smoke test without an image", job("absent"), unasked, "no pod of it came to run"},
		{"smoke test of nothing", job("gone"), unasked, "it does not exist; want a CronJob of the release"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			env := c.env
			env.Verify.HTTP, env.Verify.Jobs = test.spec.HTTP, test.spec.Jobs
			verdict, err := c.on.Verify(t.Context(), env, set, controller.Against{Begun: time.Now().Add(-time.Minute)})
			if err != nil || verdict.Outcome != test.outcome || !strings.Contains(verdict.Evidence, test.evidence) {
				t.Errorf("got %s: %s, %v; want %s: %s", verdict.Outcome, verdict.Evidence, err, test.outcome, test.evidence)
			}
		})
	}
}

// A smoke test that could not run is run when it can: the Job that says so is not
// asked for its result for as long as it is kept.
func TestSmokeTestThatCouldNotRunIsRunAgain(t *testing.T) {
	t.Parallel()
	c := newChecked(t)
	c.env.Verify.Jobs = []promotion.JobCheck{{Name: "smoke", CronJob: "smoke", Timeout: 5 * time.Second}}
	began := time.Now()
	set := decoded(t, smokeOf("smoke", "smoke:image-missing"))
	if err := c.on.Apply(t.Context(), c.env, set); err != nil {
		t.Fatal(err)
	}
	verdict, err := c.on.Verify(t.Context(), c.env, set, controller.Against{Begun: began})
	if err != nil || verdict.Outcome != reconcile.OutcomeError {
		t.Fatalf("got %s: %s, %v", verdict.Outcome, verdict.Evidence, err)
	}
	// The image is there now: the same release, by the same attempt.
	patch := []byte(`{"spec":{"jobTemplate":{"spec":{"template":{"spec":{"containers":[{"name":"run","image":"registry.local/smoke:1"}]}}}}}}`)
	if _, err := c.local.Client().BatchV1().CronJobs(c.env.Target.Namespace).Patch(t.Context(), "smoke", types.StrategicMergePatchType, patch, metav1.PatchOptions{}); err != nil {
		t.Fatal(err)
	}
	verdict, err = c.on.Verify(t.Context(), c.env, set, controller.Against{Begun: began})
	if err != nil || verdict.Outcome != reconcile.OutcomeDone {
		t.Errorf("got %s: %s, %v", verdict.Outcome, verdict.Evidence, err)
	}
}

// A smoke test whose Job somebody deletes while it runs is neither pass nor fail
// (kc#1578, argo-cd#23994, #23719).
func TestPitfall26_DeletedSmokeTestOnARealCluster(t *testing.T) {
	t.Parallel()
	c := newChecked(t)
	set := decoded(t, smokeOf("hangs", "smoke:never-ready"))
	if err := c.on.Apply(t.Context(), c.env, set); err != nil {
		t.Fatal(err)
	}
	c.env.Verify.Jobs = []promotion.JobCheck{{Name: "hangs", CronJob: "hangs", Timeout: time.Minute}}
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	jobs := c.local.Client().BatchV1().Jobs(c.env.Target.Namespace)
	go func() {
		for ctx.Err() == nil {
			list, err := jobs.List(ctx, metav1.ListOptions{})
			if err == nil && len(list.Items) > 0 && list.Items[0].Status.Active > 0 {
				background := metav1.DeletePropagationBackground
				_ = jobs.Delete(ctx, list.Items[0].Name, metav1.DeleteOptions{PropagationPolicy: &background})
				return
			}
			time.Sleep(100 * time.Millisecond)
		}
	}()
	verdict, err := c.on.Verify(t.Context(), c.env, set, controller.Against{Begun: time.Now()})
	if err != nil || verdict.Outcome != reconcile.OutcomeError || !strings.Contains(verdict.Evidence, "cannot be judged: its Job") {
		t.Errorf("got %s: %s, %v", verdict.Outcome, verdict.Evidence, err)
	}
}

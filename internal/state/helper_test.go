package state

import (
	"context"
	"sync"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/rest"

	"chaperone.dev/chaperone/internal/manifest"
	"chaperone.dev/chaperone/internal/policy"
	"chaperone.dev/chaperone/internal/promotion"
	"chaperone.dev/chaperone/internal/reconcile"
	"chaperone.dev/chaperone/internal/source"
	"chaperone.dev/chaperone/internal/testkit/localcluster"
)

// fixture is a daemon's namespace of its own on the shared cluster.
type fixture struct {
	*testing.T
	cluster   *localcluster.Cluster
	config    *rest.Config
	namespace string
	store     *Store
}

// installed installs the CRDs once for all tests of the process. Other
// packages do the same on the same cluster.
var installed = struct {
	sync.Mutex
	on map[string]bool
}{on: map[string]bool{}}

func newFixture(t *testing.T) *fixture {
	t.Helper()
	cluster := localcluster.Start(t)
	f := &fixture{T: t, cluster: cluster, config: cluster.Config(), namespace: cluster.Namespace(t)}
	installed.Lock()
	defer installed.Unlock()
	if !installed.on[f.config.Host] {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if err := InstallCRDs(ctx, f.config); err != nil {
			t.Fatal(err)
		}
		installed.on[f.config.Host] = true
	}
	f.store = f.another()
	return f
}

// another is a second daemon on the same state.
func (f *fixture) another() *Store {
	f.Helper()
	store, err := New(f.config, f.namespace, time.Now)
	if err != nil {
		f.Fatal(err)
	}
	return store
}

func (f *fixture) save(s *Store, r Record) Record {
	f.Helper()
	saved, err := s.Save(f.Context(), r)
	if err != nil {
		f.Fatal(err)
	}
	return saved
}

func (f *fixture) get(s *Store, id promotion.ID) Record {
	f.Helper()
	r, err := s.Get(f.Context(), id)
	if err != nil {
		f.Fatal(err)
	}
	return r
}

// raw is the environment as the server has it.
func (f *fixture) raw(id promotion.ID) *unstructured.Unstructured {
	f.Helper()
	o, err := f.store.environments().Get(f.Context(), ObjectName(id), metav1.GetOptions{})
	if err != nil {
		f.Fatal(err)
	}
	return o
}

var (
	staging = promotion.ID{Pipeline: "shop", Name: "staging"}
	first   = source.Revision("1111111111111111111111111111111111111111")
	second  = source.Revision("2222222222222222222222222222222222222222")
)

func releaseAt(revision source.Revision) reconcile.Release {
	return reconcile.Release{
		Revision: revision, Digest: reconcile.Digest(manifest.DigestBytes([]byte(revision))), Policy: "sha256:policy",
	}
}

// full is a record with something in every field that is stored.
func number(n float64) *float64 { return &n }

func full() Record {
	at := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	good, bad := releaseAt(first), releaseAt(second)
	undo := reconcile.Undo{Release: bad, Migrations: "0123456789ab", Begun: at, Round: 1, Forward: true}
	return Record{
		ID: staging,
		Environment: promotion.Environment{
			ID: staging, File: "environments/shop/staging.yaml", Path: "overlays/shop/staging",
			After: []promotion.ID{{Pipeline: "shop", Name: "testing"}}, Revision: first, Data: promotion.DataPHI,
			Target: promotion.Target{Kubeconfig: "far", Namespace: "shop", ServiceAccount: "deployer", Leave: true,
				Allow: []promotion.Allowance{{Namespace: "other"}, {Group: "example.org", Kind: "Thing", Name: "one"}}},
			Promotion: promotion.Promotion{Mode: promotion.ModePullRequest, Soak: time.Hour, Schedule: "0 6 * * *", TimeZone: "Europe/Berlin",
				Windows:  []promotion.Window{{Name: "office", Cron: "0 9 * * 1-5", Duration: 8 * time.Hour, TimeZone: "Europe/Berlin", From: at, To: at.Add(time.Hour)}},
				Freezes:  []promotion.Window{{Name: "holidays", Cron: "@yearly", Duration: time.Hour, TimeZone: "UTC", From: at, To: at.Add(48 * time.Hour)}},
				Approval: promotion.Approval{Required: 2, From: []string{"release-managers"}, NotAuthor: true}},
			MaxRevertsPerDay: 3, Formerly: []promotion.ID{{Pipeline: "shop", Name: "stage"}},
			Access: []string{"operations"}, Require: []promotion.Requirement{promotion.RequireSigned}, Prune: true, Drift: promotion.DriftReport, OnFailure: promotion.FailureHold,
			Governance: promotion.Governance{Owner: "team@example.org", RTO: time.Hour, RPO: time.Minute, AuditSink: "elsewhere", AuditRetention: 2190 * 24 * time.Hour,
				RuntimeSensor: "falco", Backup: &promotion.Backup{Full: "@daily", Incremental: "@hourly", Retention: time.Hour, Location: "here",
					Replica: "there", Encrypted: true, PointInTime: "wal-g", RestoreTested: "2026-01-31"},
				Deidentification: &promotion.Deidentification{Method: "safe-harbor", By: "someone", Date: "2026-01-31"}},
			Verify: promotion.Verify{Timeout: time.Minute, Settle: time.Second, HTTP: []promotion.HTTPCheck{{
				Name: "ready", URL: "http://api.shop.svc", Service: "api", Port: 80, Path: "/", Method: "GET", Headers: map[string]string{"Accept": "text/plain"},
				Status: []int{200, 204}, Body: "ok", Count: 3, Interval: time.Second, Timeout: time.Second, Failures: 0.25,
				JSON: []promotion.JSONValue{{Path: ".status", Equals: "ok"}}, Latency: &promotion.Latency{Percentile: 95, Under: time.Second},
				Certificate: time.Hour, Each: true, Control: &promotion.Endpoint{URL: "http://db.shop.svc", Service: "db", Port: 80, Path: "/"}}},
				Metrics: []promotion.MetricCheck{{Name: "errors", Prometheus: "http://prometheus.example", Query: "up", Range: time.Minute, For: time.Minute,
					Every: time.Second, Stale: time.Minute, Min: number(0.5), Max: number(1.5), Failures: 0.25, Samples: 3, Control: "up",
					Baseline: &promotion.Baseline{From: promotion.BaselinePeriods, Period: time.Hour, Periods: 3, By: promotion.CompareRatio, Ratio: 1.5,
						Significance: 0.01, Floor: number(0.1), Worse: promotion.WorseLower}}},
				Watch:    promotion.Watch{For: time.Hour, Every: time.Minute, RevertWithin: time.Minute},
				Health:   []promotion.HealthRule{{Group: "example.org", Kind: "Thing", Failed: "false", Ready: "true"}},
				Restarts: promotion.Restarts{Max: 2, OOMKills: 1, Written: true},
				Jobs:     []promotion.JobCheck{{Name: "smoke", CronJob: "smoke", Timeout: time.Minute, Retries: 1, Logs: 20}}},
			Strategies: []promotion.Strategy{{Deployment: "api", Service: "api", BlueGreen: &promotion.BlueGreen{Preview: time.Minute, Keep: time.Hour, Checks: []string{"ready"}},
				Canary: &promotion.Canary{Route: "api", Steps: []promotion.CanaryStep{{Weight: 10, For: time.Minute}}, Checks: []string{"ready"}}}},
			MaxDeletePart: 0.5, MaxDeletes: 7, Protect: []promotion.Protection{{Group: "apps", Kind: "StatefulSet", Name: "db"}},
			Adopt:        []promotion.Tool{promotion.ToolFlux},
			IgnoreDrift:  []promotion.Ignore{{Group: "apps", Kind: "Deployment", Name: "api", Fields: []string{"spec.replicas"}, Managers: []string{"scaler"}}},
			ApplyTimeout: time.Minute,
		},
		Status:  reconcile.Status{Environment: staging, Phase: reconcile.PhaseHeld, Reason: promotion.RevertConflict, Wanted: bad, Until: at.Add(time.Hour)},
		Message: "taking it back conflicts", Since: at.Add(time.Minute), Evidence: `http "ready" answered 500`,
		Drill:    Drill{At: at, Digest: good.Digest, Tried: 12, Problem: "read last good: it is gone", Untold: "a webhook does not answer"},
		Excepted: &policy.Countdown{Exception: "scratch-volume", Rule: "encryption/encrypted-volumes", Expires: at.Add(time.Hour)},
		Journal: reconcile.Journal{
			Running: good, LastGood: good,
			Verified: []reconcile.Verified{{Release: good, At: at.Add(123 * time.Nanosecond)}},
			Attempt: reconcile.Attempt{Release: bad, Stage: reconcile.StageReverting, Tries: 2, Failure: promotion.VerificationFailed, Guilty: second, Started: at,
				Irreversible: true, Override: true, Probe: true, Proven: true,
				Before: good, Held: reconcile.Hold{Reason: promotion.IrreversibleFailed, Digest: good.Digest},
				Undo: undo, Since: at, Regressed: at, Found: at.Add(time.Minute), Tied: true,
				Step: 2, Course: reconcile.Course{Steps: 4, Digest: good.Digest}, Reached: at.Add(time.Second), Replicas: "api=3,web=12"},
			Undo:       undo,
			Watched:    reconcile.Watched{Digest: good.Digest, Begun: at, Since: at.Add(time.Minute), Before: bad, Irreversible: true, Alarm: promotion.Regressed, Accepted: true},
			Quarantine: []reconcile.Digest{bad.Digest}, Unapplied: []reconcile.Digest{bad.Digest},
			Hold:       reconcile.Hold{Reason: promotion.RevertConflict, Digest: bad.Digest},
			Retry:      reconcile.Retry{Reason: promotion.SourceUnavailable, Digest: bad.Digest, At: at.Add(time.Hour), Tries: 3},
			LastRevert: reconcile.Revert{Guilty: second, Commit: first, Digest: bad.Digest, At: at},
			Search: reconcile.Search{Failed: bad, Started: at, Suspects: []reconcile.Suspect{{Revision: second, Digest: bad.Digest, Mixed: true}},
				Failing: []reconcile.Digest{bad.Digest}, Untested: []reconcile.Digest{good.Digest}},
			Reverts: []time.Time{at.Add(time.Minute), at},
			Proposal: reconcile.Proposal{Revision: second, Digest: bad.Digest, File: "file", Commit: first, Refused: promotion.PromotionRejected,
				Tries: 2, Again: at.Add(time.Minute)},
			Run:    reconcile.Run{At: at.Add(time.Second), Digest: good.Digest},
			Served: "one", Accepted: first, Branch: "main", Overridden: bad.Digest,
		},
	}
}

package metrics

import (
	"fmt"
	"go/parser"
	"go/token"
	"net/http/httptest"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"chaperone.dev/chaperone/internal/policy"
	"chaperone.dev/chaperone/internal/promotion"
	"chaperone.dev/chaperone/internal/reconcile"
)

var (
	development = promotion.ID{Pipeline: "novamind", Name: "development"}
	production  = promotion.ID{Pipeline: "novamind", Name: "production"}
	noon        = time.Date(2026, 1, 2, 12, 0, 0, 0, time.UTC)
)

func fresh(t *testing.T) (*Metrics, *prometheus.Registry) {
	t.Helper()
	registry := prometheus.NewPedanticRegistry()
	m, err := New(registry, Build{"v1.2.3", "4f2c", "go1.26"}, func() time.Time { return noon })
	if err != nil {
		t.Fatal(err)
	}
	return m, registry
}

func fill(m *Metrics) {
	m.Step("render", 30*time.Millisecond)
	m.Polled("ok", true)
	m.Polled("ok", false)
	m.Polled("SourceUnavailable", false)
	for kind := range counted {
		m.Ended(kind, production, reconcile.OutcomeDone)
	}
	m.Ended(reconcile.ActionRevert, production, reconcile.OutcomeConflict)
	m.Ended(reconcile.ActionEvaluate, production, reconcile.OutcomeDone)
	m.APIRequest("in-cluster", "apply", 200)
	m.APIRequest("in-cluster", "watch", 0)
	m.Webhook("gitlab", "accepted")
	m.Environments([]Environment{
		{development, reconcile.PhaseReady, promotion.UpToDate, noon.Add(-90 * time.Second), time.Time{}, noon, true, 0, 0},
		{production, reconcile.PhaseHeld, promotion.PolicyDenied, time.Time{}, noon.Add(time.Hour), noon, false, 2, 4},
	})
	m.Judged(production, policy.Report{
		Findings: []policy.Finding{
			{Rule: "image/digest", Action: policy.ActionDeny}, {Rule: "image/digest", Action: policy.ActionDeny},
			{Rule: "image/digest", Action: policy.ActionDeny, Exception: &policy.ExceptionRef{}},
			{Rule: "pod/probes", Action: policy.ActionWarn},
		},
		Errors: []policy.RuleError{{Rule: "pod/probes"}},
	})
}

// Everything but the histogram, whose buckets are not pinned.
const exposition = `
# HELP chaperone_api_requests_total Requests to Kubernetes API servers; code 0 is no answer.
# TYPE chaperone_api_requests_total counter
chaperone_api_requests_total{cluster="in-cluster",code="0",verb="watch"} 1
chaperone_api_requests_total{cluster="in-cluster",code="200",verb="apply"} 1
# HELP chaperone_applies_total Applies of a release, by outcome.
# TYPE chaperone_applies_total counter
chaperone_applies_total{environment="novamind/production",outcome="done"} 1
# HELP chaperone_build_info The build that runs; always 1.
# TYPE chaperone_build_info gauge
chaperone_build_info{go_version="go1.26",revision="4f2c",version="v1.2.3"} 1
# HELP chaperone_corrections_total Corrections of drift, by outcome.
# TYPE chaperone_corrections_total counter
chaperone_corrections_total{environment="novamind/production",outcome="done"} 1
# HELP chaperone_drill_success Whether last good could have been restored when it was tried last.
# TYPE chaperone_drill_success gauge
chaperone_drill_success{environment="novamind/development"} 1
chaperone_drill_success{environment="novamind/production"} 0
# HELP chaperone_drill_timestamp_seconds When it was tried last whether last good could be restored.
# TYPE chaperone_drill_timestamp_seconds gauge
chaperone_drill_timestamp_seconds{environment="novamind/development"} 1.7673552e+09
chaperone_drill_timestamp_seconds{environment="novamind/production"} 1.7673552e+09
# HELP chaperone_environment Where each environment is; always 1.
# TYPE chaperone_environment gauge
chaperone_environment{environment="novamind/development",phase="Ready",reason="UpToDate"} 1
chaperone_environment{environment="novamind/production",phase="Held",reason="PolicyDenied"} 1
# HELP chaperone_findings Policy findings on the newest release judged for the environment.
# TYPE chaperone_findings gauge
chaperone_findings{action="deny",environment="novamind/production",rule="image/digest"} 2
chaperone_findings{action="error",environment="novamind/production",rule="pod/probes"} 1
chaperone_findings{action="waived",environment="novamind/production",rule="image/digest"} 1
chaperone_findings{action="warn",environment="novamind/production",rule="pod/probes"} 1
# HELP chaperone_last_good_age_seconds Time since the environment's last good release was verified, in seconds.
# TYPE chaperone_last_good_age_seconds gauge
chaperone_last_good_age_seconds{environment="novamind/development"} 90
# HELP chaperone_policies_refused Whether the newest policies are not in force.
# TYPE chaperone_policies_refused gauge
chaperone_policies_refused 0
# HELP chaperone_policy_exception_expires_seconds Time until the first policy exception in force for the environment ends, in seconds; negative when it has.
# TYPE chaperone_policy_exception_expires_seconds gauge
chaperone_policy_exception_expires_seconds{environment="novamind/production"} 3600
# HELP chaperone_prunes_total Prunes after a verified release, by outcome.
# TYPE chaperone_prunes_total counter
chaperone_prunes_total{environment="novamind/production",outcome="done"} 1
# HELP chaperone_release_step The step that a release which comes in steps has come to.
# TYPE chaperone_release_step gauge
chaperone_release_step{environment="novamind/production",steps="4"} 2
# HELP chaperone_restores_total Restores to last good, by outcome.
# TYPE chaperone_restores_total counter
chaperone_restores_total{environment="novamind/production",outcome="done"} 1
# HELP chaperone_reverts_total Reverts of a commit on the source, by outcome.
# TYPE chaperone_reverts_total counter
chaperone_reverts_total{environment="novamind/production",outcome="conflict"} 1
chaperone_reverts_total{environment="novamind/production",outcome="done"} 1
# HELP chaperone_rollbacks_total Runs of a failed release's rollback hooks, by outcome.
# TYPE chaperone_rollbacks_total counter
chaperone_rollbacks_total{environment="novamind/production",outcome="done"} 1
# HELP chaperone_source_fetches_total Polls of the source that brought something new, by outcome.
# TYPE chaperone_source_fetches_total counter
chaperone_source_fetches_total{outcome="ok"} 1
# HELP chaperone_source_polls_total Polls of the source, by outcome.
# TYPE chaperone_source_polls_total counter
chaperone_source_polls_total{outcome="SourceUnavailable"} 1
chaperone_source_polls_total{outcome="ok"} 2
# HELP chaperone_verifications_total Verifications of a release, by outcome.
# TYPE chaperone_verifications_total counter
chaperone_verifications_total{environment="novamind/production",outcome="done"} 1
# HELP chaperone_watches_total Looks at a release that passed before, by outcome.
# TYPE chaperone_watches_total counter
chaperone_watches_total{environment="novamind/production",outcome="done"} 1
# HELP chaperone_webhooks_total Webhooks that came, by the forge they say they are from and by outcome.
# TYPE chaperone_webhooks_total counter
chaperone_webhooks_total{forge="gitlab",outcome="accepted"} 1
`

func TestNamesLabelsAndValues(t *testing.T) {
	t.Parallel()
	m, registry := fresh(t)
	fill(m)
	var names []string
	for _, line := range strings.Split(exposition, "\n") {
		if rest, found := strings.CutPrefix(line, "# TYPE "); found {
			names = append(names, strings.Fields(rest)[0])
		}
	}
	if err := testutil.GatherAndCompare(registry, strings.NewReader(exposition), names...); err != nil {
		t.Error(err)
	}
	all, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	if len(all) != len(names)+1 {
		t.Errorf("%d families, want those above and the histogram", len(all))
	}
	for _, family := range all {
		if family.GetName() != "chaperone_pass_duration_seconds" {
			continue
		}
		only := family.GetMetric()[0]
		if only.GetLabel()[0].GetName() != "step" || only.GetHistogram().GetSampleCount() != 1 || only.GetHistogram().GetSampleSum() != .03 {
			t.Errorf("got %v", only)
		}
	}
}

func TestLint(t *testing.T) {
	t.Parallel()
	m, registry := fresh(t)
	fill(m)
	problems, err := testutil.GatherAndLint(registry)
	if err != nil || len(problems) > 0 {
		t.Errorf("%v %v", problems, err)
	}
}

// What the package comment lists is what there is: it is the reference that
// dashboards and alerts are written from.
func TestPackageCommentListsEveryMetric(t *testing.T) {
	t.Parallel()
	m, registry := fresh(t)
	fill(m)
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	var real []string
	for _, family := range families {
		var labels []string
		for _, label := range family.GetMetric()[0].GetLabel() {
			labels = append(labels, label.GetName())
		}
		slices.Sort(labels)
		real = append(real, fmt.Sprintf("%s{%s} %s", family.GetName(), strings.Join(labels, ","), strings.ToLower(family.GetType().String())))
	}
	file, err := parser.ParseFile(token.NewFileSet(), "metrics.go", nil, parser.ParseComments|parser.PackageClauseOnly)
	if err != nil {
		t.Fatal(err)
	}
	var told []string
	for _, match := range regexp.MustCompile(`(chaperone_\w+)\{([a-z_,]*)\}\s+(\w+)`).FindAllStringSubmatch(file.Doc.Text(), -1) {
		labels := strings.Split(match[2], ",")
		slices.Sort(labels)
		told = append(told, fmt.Sprintf("%s{%s} %s", match[1], strings.Join(labels, ","), match[3]))
	}
	slices.Sort(told)
	slices.Sort(real)
	if !slices.Equal(told, real) {
		t.Errorf("told\n%s\nreal\n%s", strings.Join(told, "\n"), strings.Join(real, "\n"))
	}
}

func TestRefusedPoliciesShow(t *testing.T) {
	t.Parallel()
	m, registry := fresh(t)
	for _, want := range []string{"0", "1", "0"} {
		m.PoliciesRefused(want == "1")
		err := testutil.GatherAndCompare(registry, strings.NewReader(`
# HELP chaperone_policies_refused Whether the newest policies are not in force.
# TYPE chaperone_policies_refused gauge
chaperone_policies_refused `+want+"\n"), "chaperone_policies_refused")
		if err != nil {
			t.Error(err)
		}
	}
}

func TestRemovedEnvironmentsVanish(t *testing.T) {
	t.Parallel()
	m, registry := fresh(t)
	fill(m)
	m.Judged(development, policy.Report{Findings: []policy.Finding{{Rule: "a", Action: policy.ActionWarn}}})
	m.Environments([]Environment{
		{development, reconcile.PhaseProgressing, promotion.Verifying, noon.Add(time.Hour), time.Time{}, time.Time{}, false, 0, 0},
		{development, reconcile.PhaseHeld, promotion.Verifying, noon, time.Time{}, time.Time{}, false, 0, 0},
	})
	err := testutil.GatherAndCompare(registry, strings.NewReader(`
# HELP chaperone_environment Where each environment is; always 1.
# TYPE chaperone_environment gauge
chaperone_environment{environment="novamind/development",phase="Progressing",reason="Verifying"} 1
# HELP chaperone_findings Policy findings on the newest release judged for the environment.
# TYPE chaperone_findings gauge
chaperone_findings{action="warn",environment="novamind/development",rule="a"} 1
# HELP chaperone_last_good_age_seconds Time since the environment's last good release was verified, in seconds.
# TYPE chaperone_last_good_age_seconds gauge
chaperone_last_good_age_seconds{environment="novamind/development"} 0
`), "chaperone_environment", "chaperone_findings", "chaperone_last_good_age_seconds")
	if err != nil {
		t.Error(err)
	}
	m.Environments(nil)
	if n, err := testutil.GatherAndCount(registry, "chaperone_environment", "chaperone_findings", "chaperone_last_good_age_seconds"); n != 0 || err != nil {
		t.Errorf("%d series remain (%v)", n, err)
	}
}

// A directory's name may be any bytes.
func TestLabelsThatAreNotUTF8(t *testing.T) {
	t.Parallel()
	m, registry := fresh(t)
	odd := promotion.ID{Pipeline: "nova\xff", Name: "mind"}
	m.Environments([]Environment{{odd, reconcile.PhaseInvalid, promotion.InvalidEnvironment, noon, time.Time{}, time.Time{}, false, 0, 0}})
	m.Judged(odd, policy.Report{Findings: []policy.Finding{{Rule: "\xfe", Action: policy.ActionWarn}}})
	m.Ended(reconcile.ActionApply, odd, reconcile.OutcomeDone)
	if n, err := testutil.GatherAndCount(registry, "chaperone_environment", "chaperone_findings", "chaperone_applies_total"); n != 3 || err != nil {
		t.Errorf("%d series, %v", n, err)
	}
}

func TestTwoRegistriesAndTwiceOnOne(t *testing.T) {
	t.Parallel()
	one, first := fresh(t)
	_, second := fresh(t)
	one.Polled("ok", false)
	if n, _ := testutil.GatherAndCount(second, "chaperone_source_polls_total"); n != 0 {
		t.Error("one registry's counts show on the other")
	}
	if _, err := New(first, Build{}, time.Now); err == nil || !strings.HasPrefix(err.Error(), "register metrics: ") {
		t.Errorf("registered twice: got %v", err)
	}
}

func TestConcurrentUse(t *testing.T) {
	t.Parallel()
	m, registry := fresh(t)
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			for range 20 {
				fill(m)
				if _, err := registry.Gather(); err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
}

func TestHandler(t *testing.T) {
	t.Parallel()
	m, registry := fresh(t)
	fill(m)
	recorder := httptest.NewRecorder()
	Handler(registry).ServeHTTP(recorder, httptest.NewRequest("GET", "/metrics", nil))
	if recorder.Code != 200 || !strings.Contains(recorder.Body.String(), `chaperone_pass_duration_seconds_bucket{step="render",le="0.1"} 1`) {
		t.Errorf("got %d\n%s", recorder.Code, recorder.Body)
	}
}

package app

import (
	"strings"
	"sync/atomic"
	"time"

	"chaperone.dev/chaperone/internal/controller"
	"chaperone.dev/chaperone/internal/metrics"
	"chaperone.dev/chaperone/internal/policy"
	"chaperone.dev/chaperone/internal/promotion"
	"chaperone.dev/chaperone/internal/reconcile"
	"chaperone.dev/chaperone/internal/web"
)

// telemetry shows what the controller does: metrics, and the page.
type telemetry struct {
	*metrics.Metrics
	page    *web.Server
	branch  string
	reports *policyReports
	refused *atomic.Pointer[string] // why the newest policies are not in force
}

// policiesRefused alarms on metrics and on the page, until err is nil.
func (t telemetry) policiesRefused(err error) {
	t.PoliciesRefused(err != nil)
	if err == nil {
		t.refused.Store(nil)
		return
	}
	first, _, _ := strings.Cut(err.Error(), "\n") // the rest is in the log
	if len(first) > maxRefusal {
		first = strings.ToValidUTF8(first[:maxRefusal], "") + "…"
	}
	t.refused.Store(&first)
}

// maxRefusal bytes say on the page why policies are refused.
const maxRefusal = 600

// Judged implements controller.Telemetry.
func (t telemetry) Judged(id promotion.ID, report policy.Report) {
	t.Metrics.Judged(id, report)
	if t.reports != nil {
		t.reports.offer(id, report)
	}
}

// Published implements controller.Telemetry.
func (t telemetry) Published(v controller.View) {
	page := web.View{
		At: v.At, Branch: t.branch, Head: v.Head, Policy: v.Policy, Polled: v.Polled,
		SourceReason: v.SourceFault, SourceDetail: v.SourceDetail,
	}
	if refused := t.refused.Load(); refused != nil {
		page.PoliciesRefused = *refused
	}
	var gauges []metrics.Environment
	for _, e := range v.Environments {
		page.Environments = append(page.Environments, line(e))
		gauges = append(gauges, metrics.Environment{
			ID: e.ID, Phase: e.Status.Phase, Reason: e.Status.Reason, LastGoodAt: lastGoodAt(e.Journal),
			ExceptionEnds: endOf(e.Excepted), DrilledAt: e.Drill.At, Restorable: e.Drill.Problem == "",
			Step: stepOf(e.Journal.Attempt), Steps: e.Journal.Attempt.Course.Steps,
		})
	}
	t.Environments(gauges)
	t.page.Publish(page)
}

func line(e controller.EnvironmentView) web.Environment {
	shown := web.Environment{
		ID: e.ID, Phase: e.Status.Phase, Reason: e.Status.Reason, Sentence: e.Message, Since: e.Since,
		Running: e.Journal.Running, Wanted: e.Status.Wanted, LastGood: e.Journal.LastGood,
		Overridden: e.Journal.Overridden != "" && e.Journal.Overridden == e.Journal.Running.Digest,
	}
	if e.Status.Phase != reconcile.PhaseReady || e.Status.Reason != promotion.UpToDate {
		shown.Unblock = e.Status.Reason.Unblock()
	}
	return shown
}

func endOf(excepted *policy.Countdown) time.Time {
	if excepted == nil {
		return time.Time{}
	}
	return excepted.Expires
}

func lastGoodAt(j reconcile.Journal) time.Time {
	for _, v := range j.Verified {
		if v.Digest == j.LastGood.Digest {
			return v.At
		}
	}
	return time.Time{}
}

// stepOf is the step that is under way; 0 where none is, as while a release is
// taken back.
func stepOf(a reconcile.Attempt) int {
	switch a.Stage {
	case reconcile.StageApplying, reconcile.StageVerifying, reconcile.StagePruning:
		return a.Step
	}
	return 0
}

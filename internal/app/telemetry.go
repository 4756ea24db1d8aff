package app

import (
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
}

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
	var gauges []metrics.Environment
	for _, e := range v.Environments {
		page.Environments = append(page.Environments, line(e))
		gauges = append(gauges, metrics.Environment{
			ID: e.ID, Phase: e.Status.Phase, Reason: e.Status.Reason, LastGoodAt: lastGoodAt(e.Journal),
			ExceptionEnds: endOf(e.Excepted),
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

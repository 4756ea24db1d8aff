package controller

import (
	"context"
	"testing"
	"time"

	"chaperone.dev/chaperone/internal/manifest"
	"chaperone.dev/chaperone/internal/policy"
	"chaperone.dev/chaperone/internal/promotion"
	"chaperone.dev/chaperone/internal/reconcile"
	"chaperone.dev/chaperone/internal/source"
)

// answering gives one report, whatever it is asked.
type answering struct {
	silent
	report policy.Report
	asked  []policy.Input
}

func (a *answering) Judge(_ context.Context, in policy.Input) (policy.Report, error) {
	a.asked = append(a.asked, in)
	return a.report, nil
}

// A verdict that an exception opened ends when the exception does, not at the
// next hour.
func TestVerdictEndsWithItsException(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 5, 20, 12, 0, 0, 0, time.UTC)
	for name, test := range map[string]struct{ until, want time.Time }{
		"no exception":       {time.Time{}, now.Add(time.Hour)},
		"ends in a minute":   {now.Add(time.Minute), now.Add(time.Minute)},
		"ends in two months": {now.AddDate(0, 2, 0), now.Add(time.Hour)},
	} {
		countdown := &policy.Countdown{Exception: "e", Expires: test.until}
		policies := &answering{report: policy.Report{Verdict: policy.VerdictAllow, PolicyDigest: "p1", ByContent: true, Until: test.until, Excepted: countdown}}
		c := New(Ports{Policies: policies, Telemetry: silent{}, Source: &actor{}}, Config{Now: func() time.Time { return now }})
		v := &evaluation{c: c, policy: "p1", file: promotion.Environment{ID: staging}}
		candidate := reconcile.Candidate{Until: now.Add(time.Hour)}
		verdict, err := v.judge(t.Context(), manifest.Set{}, &candidate, source.Commit{}, surroundings{})
		if err != nil || verdict != reconcile.VerdictAllow {
			t.Fatalf("%s: %v, %v", name, verdict, err)
		}
		if !candidate.Until.Equal(test.want) || !v.allowed.until.Equal(test.want) {
			t.Errorf("%s: ends at %s, and what is remembered at %s; want %s", name, candidate.Until, v.allowed.until, test.want)
		}
		if !v.judged || v.excepted != countdown {
			t.Errorf("%s: the countdown is not told: %+v", name, v.excepted)
		}
	}
}

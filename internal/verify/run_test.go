package verify

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"chaperone.dev/chaperone/internal/promotion"
)

// hosts answers by the service that is asked.
func hosts(answers map[string]*script) *http.Client {
	return &http.Client{Transport: roundTrip(func(r *http.Request) (*http.Response, error) {
		name, _, _ := strings.Cut(r.URL.Hostname(), ".")
		return answers[name].RoundTrip(r)
	})}
}

func checks(names ...string) []promotion.HTTPCheck {
	var all []promotion.HTTPCheck
	for _, name := range names {
		all = append(all, promotion.HTTPCheck{Name: name, Service: name, Count: 5, Interval: time.Second, Timeout: time.Second})
	}
	return all
}

func TestRun(t *testing.T) {
	t.Parallel()
	good, bad := show(deployment(2, available)), show(deployment(1, ""))
	none := checks("none")
	none[0].Count = 0
	tests := []struct {
		name     string
		cluster  line
		http     []promotion.HTTPCheck
		verdict  Verdict
		evidence string
		told     string // names of the checks that came to a verdict
		after    time.Duration
	}{
		{"ready, no endpoints", line{0, good}, nil, Pass, "1 of 1 objects ready", "ready", 10 * time.Second},
		{"ready, endpoints well", line{0, good}, checks("well", "well"), Pass, `; http "well" answered as expected in 5 of 5`, "ready well well", 14 * time.Second},
		{"not ready: endpoints are not asked", line{0, bad}, checks("broken"), Fail, "1 of 1 objects not ready after 60s", "ready", 60 * time.Second},
		{"unreadable: endpoints are not asked", line{0, unreadable}, checks("well"), Error, "could not be read", "ready", 60 * time.Second},
		{"one broken", line{0, good}, checks("well", "broken"), Fail, `http "broken" answered 500 in 1 of 1`, "ready broken", 10 * time.Second},
		{"fail before error", line{0, good}, checks("silent", "late"), Fail, `http "late" answered 500`, "ready late", 13 * time.Second},
		{"one silent", line{0, good}, checks("well", "silent"), Error, `http "silent" got no answer`, "ready well silent", 14 * time.Second},
		{"error before no-data", line{0, good}, append(checks("silent"), none...), Error, `http "silent" got no answer`, "ready silent none", 14 * time.Second},
		{"no-data before pass", line{0, good}, append(checks("well"), none...), NoData, `http "none" asked nothing`, "ready well none", 14 * time.Second},
		{"more than run at once", line{0, good}, checks("well", "well", "well", "well", "well", "well", "well", "well", "well"), Pass, "and 7 more alike", "ready well well well well well well well well well", 18 * time.Second},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				began := time.Now()
				client := &http.Client{Transport: roundTrip(func(r *http.Request) (*http.Response, error) {
					name, _, _ := strings.Cut(r.URL.Hostname(), ".")
					played := map[string]step{"well": ok, "broken": broken, "silent": refused, "late": ok}[name]
					if name == "late" && time.Since(began) >= 13*time.Second {
						played = broken
					}
					return (&script{steps: []step{played}}).RoundTrip(r)
				})}
				spec := promotion.Verify{Timeout: time.Minute, Settle: 10 * time.Second, HTTP: test.http}
				report, err := New(client, SystemClock(), 0).Run(t.Context(), spec, Subject{Namespace: "novamind", Live: (&cluster{lines: []line{test.cluster}}).live()})
				if err != nil {
					t.Fatal(err)
				}
				var told []string
				for _, r := range report.Checks {
					told = append(told, r.Check)
				}
				if report.Verdict != test.verdict || !strings.Contains(report.Evidence, test.evidence) || strings.Join(told, " ") != test.told {
					t.Errorf("got  %s: %s %v\nwant %s: %s [%s]", report.Verdict, report.Evidence, told, test.verdict, test.evidence, test.told)
				}
				if !report.Started.Equal(began) || report.Ended.Sub(began) != test.after {
					t.Errorf("from %v to %v after it began, want %v", report.Started.Sub(began), report.Ended.Sub(began), test.after)
				}
			})
		})
	}
}

// A newer commit preempts a verification at any moment of it, and the report
// that was nearly there is not given (helm-controller#1557, kc#1625).
func TestPitfall29_CancelledRunHasNoVerdict(t *testing.T) {
	t.Parallel()
	for after := range 12 {
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), time.Duration(after)*time.Second+time.Millisecond)
			defer cancel()
			client := hosts(map[string]*script{"late": {steps: steps(4, ok, broken)}, "well": {steps: []step{ok}}})
			spec := promotion.Verify{Timeout: time.Minute, Settle: 8 * time.Second, HTTP: checks("late", "well")}
			report, err := New(client, SystemClock(), 0).Run(ctx, spec, Subject{Namespace: "novamind", Live: (&cluster{lines: []line{{0, show(deployment(2, available))}}}).live()})
			if !errors.Is(err, context.DeadlineExceeded) || report.Verdict != "" || report.Checks != nil {
				t.Errorf("cancelled after %ds: got %+v, %v", after, report, err)
			}
		})
	}
}

func TestWorst(t *testing.T) {
	t.Parallel()
	for i, v := range severity {
		if got := Worst(append([]Verdict{Pass}, severity[i:]...)...); got != v {
			t.Errorf("Worst of %v = %s", severity[i:], got)
		}
	}
	if got := Worst(); got != NoData {
		t.Errorf("of nothing: %s", got)
	}
}

package verify

import (
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"chaperone.dev/chaperone/internal/promotion"
)

// A step of a release is asked by the Service of its own, by those of the checks
// that count, and again and again as long as it is watched.
func TestStepsAreWatched(t *testing.T) {
	t.Parallel()
	good := show(deployment(2, available))
	for _, test := range []struct {
		name    string
		subject Subject
		fails   time.Duration // from when on the copy answers wrongly; 0 is never
		verdict Verdict
		least   time.Duration
		most    time.Duration
	}{
		{"as long as asked", Subject{For: 5 * time.Minute}, 0, Pass, 5 * time.Minute, 6 * time.Minute},
		{"once", Subject{}, 0, Pass, 5 * time.Second, 20 * time.Second},
		{"no longer than until it fails", Subject{For: 5 * time.Minute}, 2 * time.Minute, Fail, 2 * time.Minute, 3 * time.Minute},
		{"what does not count may fail", Subject{For: 5 * time.Minute, Only: []string{"other"}}, time.Minute, Pass, 5 * time.Minute, 6 * time.Minute},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				var mu sync.Mutex // of asked: checks are made at the same time
				began, asked := time.Now(), map[string]int{}
				client := &http.Client{Transport: roundTrip(func(r *http.Request) (*http.Response, error) {
					name, _, _ := strings.Cut(r.URL.Hostname(), ".")
					mu.Lock()
					asked[name]++
					mu.Unlock()
					played := ok
					if name == "well-next" && test.fails > 0 && time.Since(began) >= test.fails {
						played = broken
					}
					return (&script{steps: []step{played}}).RoundTrip(r)
				})}
				test.subject.Namespace, test.subject.Live = "novamind", (&cluster{lines: []line{{0, good}}}).live()
				test.subject.Asked = func(service string) string {
					if service == "well" {
						return "well-next"
					}
					return service
				}
				spec := promotion.Verify{Timeout: time.Minute, Settle: 5 * time.Second, HTTP: checks("well", "other")}
				report, err := New(client, SystemClock(), 0).Run(t.Context(), spec, test.subject)
				if err != nil {
					t.Fatal(err)
				}
				took := time.Since(began)
				if report.Verdict != test.verdict || took < test.least || took > test.most {
					t.Errorf("%s after %s: %s", report.Verdict, took, report.Evidence)
				}
				if asked["well"] > 0 || asked["well-next"] == 0 && test.subject.Only == nil || asked["well-next"] > 0 && test.subject.Only != nil {
					t.Errorf("asked %v", asked)
				}
			})
		})
	}
}

// The longer a step is watched, the less often its checks are made.
func TestPauseBetweenRounds(t *testing.T) {
	t.Parallel()
	v := New(nil, SystemClock(), 0)
	for watched, least := range map[time.Duration]time.Duration{time.Minute: 2 * time.Second, 5 * time.Minute: 10 * time.Second, 24 * time.Hour: 30 * time.Second} {
		if got := v.between(watched); got != least {
			t.Errorf("watched %s: looks every %s, want %s", watched, got, least)
		}
	}
}

package verify

import (
	"encoding/pem"
	"fmt"
	"math"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"chaperone.dev/chaperone/internal/promotion"
	"chaperone.dev/chaperone/internal/testkit/racing"
)

// The library's test is exact: by the critical values of Mann and Whitney's U
// (one-sided, 0.01 and 0.05; for instance Siegel, Nonparametric statistics, 1956,
// table K), and by counting every arrangement, ties among them.
func TestChanceIsExact(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ n1, n2, u01, u05 int }{
		{9, 9, 14, 21}, {10, 10, 19, 27}, {12, 15, 42, 55}, {20, 20, 114, 138}, {11, 16, 41, 54},
	} {
		for level, critical := range map[float64]int{.01: test.u01, .05: test.u05} {
			at := func(u int) float64 { return chance(arranged(test.n1, test.n2, u)) }
			if at(critical) > level || at(critical+1) <= level {
				t.Errorf("n=%d,%d: U=%d has %.4f, U=%d has %.4f; want the level %g between", test.n1, test.n2, critical, at(critical), critical+1, at(critical+1), level)
			}
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		value := rapid.IntRange(0, 4)
		a, b := rapid.SliceOfN(value, 1, 6).Draw(t, "a"), rapid.SliceOfN(value, 1, 6).Draw(t, "b")
		if got, want := chance(floats(a), floats(b)), byCounting(a, b); math.Abs(got-want) > 1e-9 && !allEqual(a, b) {
			t.Fatalf("%v, %v: %g, counted %g", a, b, got, want)
		}
	})
}

// arranged are two samples without ties whose smaller U is u.
func arranged(n1, n2, u int) (smaller, larger []float64) {
	for i := range n2 {
		larger = append(larger, float64(2*i))
	}
	for i := range n1 {
		wins := min(n2, max(0, u-i*n2)) // how many of larger this one is above
		smaller = append(smaller, float64(2*wins-1)-float64(i)*1e-3)
	}
	return smaller, larger
}

func floats(ints []int) []float64 {
	var all []float64
	for _, i := range ints {
		all = append(all, float64(i))
	}
	return all
}

func allEqual(a, b []int) bool {
	all := slices.Concat(a, b)
	return slices.Min(all) == slices.Max(all)
}

// byCounting goes through every way to draw the first sample from both.
func byCounting(a, b []int) float64 {
	all := slices.Concat(a, b)
	u := func(pick int) float64 {
		sum := 0.0
		for i := range all {
			for j := range all {
				if pick>>i&1 == 1 && pick>>j&1 == 0 {
					if all[i] > all[j] {
						sum++
					} else if all[i] == all[j] {
						sum += .5
					}
				}
			}
		}
		return sum
	}
	observed, below, total := u(1<<len(a)-1), 0.0, 0.0
	for pick := range 1 << len(all) {
		ones := 0
		for i := range all {
			ones += pick >> i & 1
		}
		if ones == len(a) {
			total++
			if u(pick) <= observed {
				below++
			}
		}
	}
	return below / total
}

// release plays a check whose samples come from two distributions, and is at
// which sample it failed; 0 is never.
func release(b promotion.Baseline, n int, before, after func() float64) int {
	m := &metered{
		check: promotion.MetricCheck{Baseline: &b, For: time.Duration(n) * time.Minute, Every: time.Minute}, planned: n, needed: n,
		against: &comparison{Baseline: b}, low: math.Inf(-1), high: math.Inf(1),
	}
	for range n {
		m.against.base = append(m.against.base, before())
	}
	for i := range n {
		m.add(sample{value: after(), verdict: Pass})
		if verdict := m.early(i + 1); verdict != "" {
			return map[Verdict]int{Fail: i + 1}[verdict]
		}
	}
	return 0
}

// Looking several times does not make a release that changed nothing fail more
// often than stated, and one that is worse is caught within the stated samples.
func TestFalseAlarmsAndCatches(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewPCG(7, 7))
	latency := func(p95 float64) func() float64 {
		return func() float64 { return p95 * math.Exp(random.NormFloat64()*.25) }
	}
	errorsOf := func(share float64, requests int) func() float64 {
		return func() float64 {
			failed := 0
			for range requests {
				if random.Float64() < share {
					failed++
				}
			}
			return float64(failed) / float64(requests)
		}
	}
	releases, caught := 10_000, 1_000
	if racing.Few() { // there is nothing to race, and it takes ten times as long
		releases, caught = 1_000, 100
	}
	plain := promotion.Baseline{By: promotion.CompareRank, From: promotion.BaselineBefore, Ratio: 1, Significance: .01, Worse: promotion.WorseHigher}
	usual := plain
	usual.Ratio = promotion.DefaultRatio
	for _, test := range []struct {
		name          string
		baseline      promotion.Baseline
		before, after func() float64
		within        int // samples, of 20
	}{
		{"p95 of 300 ms, doubled", usual, latency(.3), latency(.6), 12},
		{"p95 of 300 ms, doubled, any ratio", plain, latency(.3), latency(.6), 12},
		{"0.1 % errors of 200 requests, then 5 %", usual, errorsOf(.001, 200), errorsOf(.05, 200), 12},
		{"no errors, then 5 %", usual, errorsOf(0, 200), errorsOf(.05, 200), 12},
	} {
		alarms := 0
		for range releases {
			if release(test.baseline, 20, test.before, test.before) > 0 {
				alarms++
			}
		}
		late, at := 0, map[int]int{}
		for range caught {
			n := release(test.baseline, 20, test.before, test.after)
			at[n]++
			if n == 0 || n > test.within {
				late++
			}
		}
		t.Logf("%s: %d false alarms in %d releases (level %g: at most %g); of %d bad ones %d caught within %d samples of 20, by sample: %v",
			test.name, alarms, releases, test.baseline.Significance, test.baseline.Significance*float64(releases), caught, caught-late, test.within, at)
		if float64(alarms) > test.baseline.Significance*float64(releases) {
			t.Errorf("%s: %d false alarms in %d", test.name, alarms, releases)
		}
		if late > 2+caught/100 {
			t.Errorf("%s: %d of %d not caught within %d samples", test.name, late, caught, test.within)
		}
	}
}

// What comes in bursts, drifts, or is the same scrape read several times makes a
// test of so many independent samples of it. (Without that being weighed the
// shares are 0.07, 0.20, 0.19 and 0.12.)
func TestFalseAlarmsOfWhatHangsTogether(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewPCG(9, 9))
	drifting := func(phi float64) func() func() float64 {
		return func() func() float64 {
			x := random.NormFloat64()
			return func() float64 {
				x = phi*x + math.Sqrt(1-phi*phi)*random.NormFloat64()
				return math.Exp(x * .25)
			}
		}
	}
	repeated := func() func() float64 {
		i, x := 0, 0.0
		return func() float64 {
			if i%4 == 0 {
				x = math.Exp(random.NormFloat64() * .25)
			}
			i++
			return x
		}
	}
	bursts := func() func() float64 {
		on := random.Float64() < .2
		return func() float64 {
			on = on && random.Float64() >= .2 || !on && random.Float64() < .05
			return map[bool]float64{false: .001, true: .05}[on] * math.Exp(random.NormFloat64()*.25)
		}
	}
	usual := promotion.Baseline{By: promotion.CompareRank, From: promotion.BaselineBefore, Ratio: promotion.DefaultRatio, Significance: .01, Worse: promotion.WorseHigher}
	for name, test := range map[string]struct {
		series func() func() float64
		most   float64
	}{
		"drifting a little": {drifting(.5), .04}, "drifting": {drifting(.8), .07}, "four of each": {repeated, .01}, "bursts": {bursts, .10},
	} {
		alarms := 0
		for range 1000 {
			if next := test.series(); release(usual, 20, next, next) > 0 {
				alarms++
			}
		}
		t.Logf("%s: %d false alarms in 1000 releases", name, alarms)
		if float64(alarms) > 1000*test.most {
			t.Errorf("%s: %d false alarms in 1000, want at most %g", name, alarms, 1000*test.most)
		}
	}
}

// A watched release is looked at many times, and still fails in no more than the
// stated share of them all.
func TestWatchingSpreadsTheLevel(t *testing.T) {
	t.Parallel()
	b := &promotion.Baseline{By: promotion.CompareRank, Significance: .01}
	for _, test := range []struct {
		watch promotion.Watch
		want  float64
	}{
		{promotion.Watch{}, .01},
		{promotion.Watch{For: time.Hour, Every: 5 * time.Minute}, .01 / 7},
		{promotion.Watch{For: 24 * time.Hour, Every: 5 * time.Minute}, .01 / 145},
	} {
		if got := spread(b, test.watch, 5*time.Minute).Significance; math.Abs(got-test.want) > 1e-12 {
			t.Errorf("%+v: %g, want %g", test.watch, got, test.want)
		}
	}
	if spread(nil, promotion.Watch{For: time.Hour}, time.Minute) != nil || b.Significance != .01 {
		t.Error("what was written has changed")
	}
}

// The token goes to the daemon's own server and to no other that a file names.
func TestTheTokenIsForOneServer(t *testing.T) {
	t.Parallel()
	var heard []string
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		heard = append(heard, r.Header.Get("Authorization"))
		fmt.Fprint(w, `{"status":"success","data":{"resultType":"scalar","result":[1,"1"]}}`)
	}))
	t.Cleanup(server.Close)
	dir := t.TempDir()
	write := func(name, text string) string {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return filepath.Join(dir, name)
	}
	ca := write("ca", string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})))
	own := Prometheus{URL: server.URL, TokenFile: write("token", "hunter2\n"), CAFile: ca}
	for _, test := range []struct {
		own      Prometheus
		named    string
		verdict  Verdict
		evidence string
	}{
		{own, "", Pass, "1 of 1"},
		{own, strings.Replace(server.URL, "127.0.0.1", "localhost", 1), Error, "certificate"},
		{Prometheus{URL: server.URL, CAFile: write("other", "none")}, "", Error, "want certificates in PEM"},
		{Prometheus{URL: server.URL, TokenFile: write("two", "a\nb")}, "", Error, "want one line"},
		{Prometheus{URL: server.URL}, "", Error, "certificate"},
		{Prometheus{}, "", Error, "no Prometheus is named"},
		{Prometheus{}, "http://169.254.169.254", Error, "not asked"},
	} {
		v := New(nil, leaping(time.Now()), 0).WithPrometheus(test.own)
		got, err := v.metric(t.Context(), promotion.MetricCheck{Name: "up", Query: "1", Prometheus: test.named, For: time.Second, Every: time.Second, Max: f(2), Samples: 1}, 0, Subject{}, nil)
		if err != nil || got.Verdict != test.verdict || !strings.Contains(got.Evidence, test.evidence) || strings.Contains(got.Evidence, "hunter2") {
			t.Errorf("%q: %v %+v, want %s %s", test.named, err, got, test.verdict, test.evidence)
		}
	}
	if len(heard) != 1 || heard[0] != "Bearer hunter2" {
		t.Errorf("heard %q", heard)
	}
}

package reconcile

import (
	"fmt"
	"testing"
	"time"

	"chaperone.dev/chaperone/internal/promotion"
	"chaperone.dev/chaperone/internal/source"
)

// estate is a world of pipelines of four environments, three that follow the
// branch and a pinned one, all at rest; busy of them have a new commit to look at
// in each.
func estate(pipelines, busy int) World {
	history := make([]source.Revision, 64)
	for i := range history {
		history[i] = source.Revision(fmt.Sprintf("%040d", len(history)-i))
	}
	w := World{Now: noon, Head: history[0], History: history, Policy: "policy-1"}
	names := []string{"development", "production", "staging", "testing"}
	after := map[string]string{"testing": "development", "staging": "testing", "production": "staging"}
	for p := range pipelines {
		pipeline := fmt.Sprintf("pipeline-%04d", p)
		for _, name := range names {
			e := Environment{ID: promotion.ID{Pipeline: pipeline, Name: name}}
			e.Spec = Spec{OnFailure: promotion.FailureRevert, Drift: promotion.DriftCorrect, MaxReverts: 3}
			release := Release{Revision: w.Head, Digest: Digest(pipeline + name), Policy: w.Policy}
			c := Candidate{Release: release, Verdict: VerdictAllow, Since: release.Digest, Until: noon.Add(time.Hour)}
			if up := after[name]; up != "" {
				e.Spec.After = []promotion.ID{{Pipeline: pipeline, Name: up}}
				c.Upstream = []Upstream{{ID: e.Spec.After[0], Digest: Digest(pipeline + up)}}
			}
			if name == "production" {
				e.Spec.Pinned, e.Spec.Proposes, e.Spec.Pin = true, true, w.Head
				e.Spec.Calendar = calendarOf(promotion.Promotion{Windows: night})
			}
			e.Journal = Journal{Running: release, LastGood: release, Verified: []Verified{{Release: release, At: noon.Add(-time.Hour)}}}
			e.Candidates = []Candidate{c}
			if p < busy {
				e.Journal.LastGood.Digest, e.Journal.LastGood.Revision = "before", history[5]
				e.Candidates = nil
			}
			w.Environments = append(w.Environments, e)
		}
	}
	return w
}

// perEnvironment is how long one pass takes for each environment, the best of
// some.
func perEnvironment(w *World) float64 {
	var d Decision
	DecideInto(&d, w)
	best := time.Duration(1 << 62)
	for range 50 {
		began := time.Now()
		for range max(1, 4000/len(w.Environments)) {
			DecideInto(&d, w)
		}
		best = min(best, time.Since(began)/time.Duration(max(1, 4000/len(w.Environments))))
	}
	return float64(best.Nanoseconds()) / float64(len(w.Environments))
}

// BenchmarkDecide is one pass over all environments where nothing changed, and
// where one pipeline is busy. The ratio is what an environment costs among 1,000
// pipelines to what it costs among 10, in the same run.
func BenchmarkDecide(b *testing.B) {
	for _, busy := range []int{0, 1} {
		for _, pipelines := range []int{10, 100, 1000} {
			b.Run(fmt.Sprintf("busy=%d/pipelines=%d", busy, pipelines), func(b *testing.B) {
				w := estate(pipelines, busy)
				var d Decision
				DecideInto(&d, &w)
				b.ReportAllocs()
				b.ResetTimer()
				for range b.N {
					DecideInto(&d, &w)
				}
				b.StopTimer()
				b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(len(w.Environments)), "ns/env")
				if pipelines == 1000 {
					few, many := estate(10, busy), estate(1000, busy)
					b.ReportMetric(perEnvironment(&many)/perEnvironment(&few), "x-of-10-pipelines")
				}
			})
		}
	}
}

// A pass where nothing changed makes no garbage, however many environments.
func TestAPassWhereNothingChangedAllocatesNothing(t *testing.T) {
	w := estate(100, 0)
	var d Decision
	DecideInto(&d, &w)
	if len(d.Actions) > 0 {
		t.Fatalf("%v, want nothing to do", d.Actions[0])
	}
	if allocs := testing.AllocsPerRun(20, func() { DecideInto(&d, &w) }); allocs > 0 {
		t.Errorf("%.0f allocations for %d environments", allocs, len(w.Environments))
	}
}

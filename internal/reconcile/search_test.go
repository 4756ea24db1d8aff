package reconcile

import (
	"fmt"
	"math/bits"

	"chaperone.dev/chaperone/internal/promotion"
	"chaperone.dev/chaperone/internal/source"
)

// searches bisects among two to nine commits with each of them guilty. The guilty
// one is reverted after at most ⌈log2 n⌉ probes, and every probe that fails is
// taken back, and last good proven, before the next.
func searches(t reporter) {
	t.Helper()
	for n := 2; n <= 9; n++ {
		for guilty := range n {
			probes, found := search(t, n, guilty)
			if want := revisionNames[guilty+1]; found != want {
				t.Errorf("%d commits, %s guilty: %s is reverted", n, want, found)
			}
			if most := bits.Len(uint(n - 1)); probes > most {
				t.Errorf("%d commits, the %d. guilty: %d probes, want %d at most", n, guilty+1, probes, most)
			}
		}
	}
}

// search plays one: c1 is last good, what follows are the suspects, and from the
// guilty one on all fail.
func search(t reporter, n, guilty int) (probes int, reverted source.Revision) {
	t.Helper()
	w := World{Now: noon, Policy: "p1", Head: revisionNames[n]}
	var suspects []Suspect
	for i := n; i >= 0; i-- {
		w.History = append(w.History, revisionNames[i])
	}
	for i := 1; i <= n; i++ {
		suspects = append(suspects, Suspect{Revision: revisionNames[i], Digest: Digest(fmt.Sprintf("d%d", i+1))})
	}
	fails := func(r source.Revision) bool {
		for i := guilty + 1; i <= n; i++ {
			if revisionNames[i] == r {
				return true
			}
		}
		return false
	}
	e := running("dev", "c1", "d1")
	e.Journal.Quarantine = []Digest{suspects[n-1].Digest}
	e.Journal.Attempt = Attempt{
		Release: Release{Revision: w.Head, Digest: suspects[n-1].Digest, Policy: "p1"}, Stage: StageBlaming,
		Failure: promotion.VerificationFailed, Proven: true,
	}
	w.Environments = []Environment{e}
	for range 200 {
		d := Decide(w)
		if violations := Violations(w, d); len(violations) > 0 {
			t.Errorf("%d commits, the %d. guilty: %v", n, guilty+1, violations)
			return probes, ""
		}
		if len(d.Actions) == 0 {
			break
		}
		a := d.Actions[len(d.Actions)-1]
		r := Result{Action: a, Outcome: OutcomeDone}
		switch {
		case a.Kind == ActionRevert:
			return probes, a.Guilty
		case a.Kind == ActionBlame:
			r.Suspects = suspects
		case a.Kind == ActionApply:
			probes++
		case a.Kind == ActionVerify && fails(a.Release.Revision):
			r.Outcome, r.Reason = OutcomeFailed, promotion.VerificationFailed
		case a.Kind == ActionEvaluate:
			digest := Digest("d1")
			for _, s := range suspects {
				if s.Revision == a.Release.Revision {
					digest = s.Digest
				}
			}
			r.Candidate = Candidate{
				Release: Release{Revision: a.Release.Revision, Digest: digest, Policy: "p1"}, Verdict: VerdictAllow,
				Since: w.Environments[0].Journal.LastGood.Digest,
			}
		}
		w = Observe(Begin(w, a), r)
	}
	return probes, ""
}

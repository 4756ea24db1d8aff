package reconcile

import (
	"fmt"
	"slices"

	"chaperone.dev/chaperone/internal/promotion"
)

// Violations checks a decision against the rules that must never break
// (design.md §3; the number stands before each). Table tests, the exhaustive
// walk, property tests and the simulator all call it. What needs a whole
// history to be seen, such as a commit reverted twice, those tests check from
// their traces.
func Violations(w World, d Decision) []string {
	var found []string
	report := func(e promotion.ID, format string, args ...any) {
		found = append(found, e.String()+": "+fmt.Sprintf(format, args...))
	}
	begun := map[promotion.ID]int{}
	for _, a := range d.Actions {
		e, known := w.Find(a.Environment)
		if !known {
			report(a.Environment, "%s for an environment that is not there", a.Kind)
			continue
		}
		if a.Kind != ActionEvaluate && a.Kind != ActionCancel {
			begun[e.ID]++
			if e.Busy != ActionNone || begun[e.ID] > 1 {
				report(e.ID, "%s beside another effect", a.Kind)
			}
		}
		for _, violation := range violates(w, e, a) {
			report(e.ID, "%s", violation)
		}
	}
	for _, s := range d.Statuses {
		if s.Reason == "" || s.Phase == "" {
			report(s.Environment, "10: no reason (phase %q)", s.Phase)
		}
	}
	return found
}

func violates(w World, e Environment, a Action) []string {
	var found []string
	must := func(holds bool, rule string) {
		if !holds {
			found = append(found, rule)
		}
	}
	j := e.Journal
	switch a.Kind {
	case ActionApply:
		must(allowed(w, e, a.Release), "1: applied without an allow for this digest under the current policies")
		must(upstreamHas(w, e, a.Release), "2: applied before upstream verified it")
		must(!slices.Contains(j.Quarantine, a.Release.Digest), "7: applied from quarantine")
		must(w.SourceFault == "" || j.Attempt.Stage == StageApplying, "a new release begun while the source is not readable")
		must(j.Attempt.Stage != StageBlaming && j.Attempt.Stage != StageReverting, "applied in the middle of a revert")
		must(j.Hold.Reason == "" || j.Hold.Digest != a.Release.Digest, "8: applied what is held")
	case ActionCorrect:
		must(allowed(w, e, a.Release), "1: corrected without an allow under the current policies")
		must(a.Release.Digest == j.LastGood.Digest, "corrected to something other than last good")
	case ActionRestore:
		must(j.LastGood.Digest != "", "restored without a last good")
	case ActionBlame, ActionRevert:
		must(j.Attempt.Failure == promotion.VerificationFailed, "4: blamed without a definitive fail")
		must(e.Spec.OnFailure == promotion.FailureRevert || j.Attempt.Stage != StageBlaming, "blamed though the file says hold")
		must(a.Kind == ActionBlame || a.Guilty != "", "5: reverted without a guilty commit")
	case ActionPrune:
		must(j.Attempt.Stage == StagePruning && j.Attempt.Release.Digest == j.LastGood.Digest,
			"6: pruned before the release was verified")
	}
	if a.Kind != ActionEvaluate {
		must(!e.Spec.Paused, "8: acted while paused")
		unread := e.Fault == promotion.SourceUnavailable && w.SourceFault != "" // its last valid file counts
		must(e.Fault == "" || unread || a.Kind == ActionRestore, "acted on an invalid environment")
	}
	return found
}

func allowed(w World, e Environment, release Release) bool {
	for _, c := range e.Candidates {
		if c.Release == release && c.Verdict == VerdictAllow {
			return release.Policy == w.Policy && w.Policy != "" && release.Digest != ""
		}
	}
	return release.Policy == w.Policy && slices.ContainsFunc(e.Candidates, func(c Candidate) bool {
		return c.Release.Digest == release.Digest && c.Release.Policy == w.Policy && c.Verdict == VerdictAllow
	})
}

func upstreamHas(w World, e Environment, release Release) bool {
	for _, c := range e.Candidates {
		if c.Release != release {
			continue
		}
		for _, id := range e.Spec.After {
			if _, verified := upstreamVerified(w, c, id); !verified {
				return false
			}
		}
		return true
	}
	return len(e.Spec.After) == 0
}

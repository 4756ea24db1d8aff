package reconcile

import (
	"slices"

	"chaperone.dev/chaperone/internal/promotion"
	"chaperone.dev/chaperone/internal/source"
)

// bisecting: several commits may be guilty. The middle one of those that can be
// deployed is; its verification halves the rest, so that ⌈log2 n⌉ suffice. What
// cannot be told apart by deploying waits for a person.
func (v *verdict) bisecting() {
	search := &v.e.Journal.Search
	v.is(PhaseProgressing, promotion.Bisecting)
	switch {
	case v.e.Busy != ActionNone:
		return
	case v.still != "":
		v.stays()
		return
	}
	left := v.e.Journal.SuspectsLeft()
	for _, i := range fromTheMiddle(len(left) - 1) {
		suspect := left[i]
		if suspect.Mixed && on(guardMixed) || slices.Contains(search.Untested, suspect.Digest) && on(guardUntested) {
			continue
		}
		candidate, known := v.e.evaluated(suspect.Revision, v.w)
		if !known {
			v.lookFor(suspect)
			return
		}
		if candidate.Release.Digest != suspect.Digest && on(guardProbe) {
			continue // the environment's file has changed since, and with it what this commit makes of it
		}
		reason, until := gate(v.w, v.e, candidate)
		switch {
		case reason == "":
			v.begin(ActionApply, candidate, promotion.Bisecting)
			return
		case !until.IsZero():
			v.is(PhaseWaiting, reason)
			v.status.Until = until
			return
		}
	}
	v.act(ActionGiveUp, search.Failed, promotion.SeveralSuspects)
}

// lookFor has a suspect evaluated, or says why it cannot be. Any other
// evaluation can wait.
func (v *verdict) lookFor(suspect Suspect) {
	v.d.Actions = slices.DeleteFunc(v.d.Actions, func(a Action) bool {
		return a.Kind == ActionEvaluate && a.Environment == v.e.ID
	})
	switch {
	case v.w.Policy == "":
		v.is(PhaseWaiting, promotion.PolicyError)
	case !v.postponed(v.e.EvaluateAt):
		v.look(suspect.Revision)
	case v.w.SourceFault != "":
		v.is(PhaseWaiting, v.w.SourceFault)
	}
}

// fromTheMiddle are the numbers below n, the upper middle first, then outwards:
// of two, the later commit says more, for it may hold a fix of the earlier.
func fromTheMiddle(n int) []int {
	var order []int
	middle := n / 2
	for distance := 0; len(order) < n; distance++ {
		for _, i := range [...]int{middle + distance, middle - distance} {
			if i >= 0 && i < n && !slices.Contains(order, i) {
				order = append(order, i)
			}
		}
	}
	return order
}

// finishProbe: the apply of a probe was begun and did not end well. It is
// finished if it still may run, and taken back if not.
func (v *verdict) finishProbe() {
	attempt := &v.e.Journal.Attempt
	candidate, known := v.e.evaluated(attempt.Release.Revision, v.w)
	if !known && v.canLook() {
		v.is(PhaseProgressing, promotion.Bisecting)
		v.lookFor(Suspect{Revision: attempt.Release.Revision})
		return
	}
	if known {
		if reason, _ := gate(v.w, v.e, candidate); reason == "" && candidate.Release.Digest == attempt.Release.Digest {
			v.begin(ActionApply, candidate, promotion.Bisecting)
			return
		}
	}
	v.takeBack(attempt.Release, promotion.Restoring)
}

// SuspectsLeft are those that may still be guilty, oldest first: after the
// newest that is known to be good, up to the first after it that is known to
// fail. The last of them is the guilty one, or fails because of it.
func (j *Journal) SuspectsLeft() []Suspect {
	left := j.Search.Suspects
	for i := len(left) - 1; i >= 0; i-- {
		if j.knownGood(left[i].Digest) && on(guardNarrowGood) {
			left = left[i+1:]
			break
		}
	}
	for i := range left {
		if !left[i].Mixed && slices.Contains(j.Search.Failing, left[i].Digest) && on(guardNarrowBad) {
			return left[:i+1]
		}
	}
	return left
}

func (j *Journal) knownGood(d Digest) bool {
	return d == j.LastGood.Digest || slices.ContainsFunc(j.Verified, func(v Verified) bool { return v.Digest == d })
}

// knownToFail are the suspects that failed verification before, beside what
// failed now. One whose apply failed is quarantined as well, and nobody knows
// what it would have done.
func (j *Journal) knownToFail(suspects []Suspect, failed Digest) []Digest {
	failing := []Digest{failed}
	for _, s := range suspects {
		if !s.Mixed && s.Digest != failed && slices.Contains(j.Quarantine, s.Digest) && (!slices.Contains(j.Unapplied, s.Digest) || !on(guardUnapplied)) {
			failing = append(failing, s.Digest)
		}
	}
	return failing
}

// suspect goes on from the commits that may be guilty.
func (j *Journal) suspect(suspects []Suspect) {
	failed := j.Attempt.Release
	j.Search, j.Retry = Search{}, Retry{}
	switch {
	case len(suspects) == 0:
		j.hold(promotion.NoSuspect, failed.Digest)
	case len(suspects) > 1 && on(guardBisect):
		j.Search = Search{
			Failed: failed, Started: j.Attempt.Started, Suspects: suspects, Failing: j.knownToFail(suspects, failed.Digest),
		}
		j.search()
	default:
		j.blame(suspects[len(suspects)-1])
	}
}

// notTakenBack leaves out a commit that was taken back before what failed, and
// the commit that did it. What was pushed between the two still holds it, and
// would fail for it when deployed.
func (j *Journal) notTakenBack(suspects []Suspect) []Suspect {
	at := func(r source.Revision) int {
		return slices.IndexFunc(suspects, func(s Suspect) bool { return s.Revision == r })
	}
	guilty, back := at(j.LastRevert.Guilty), at(j.LastRevert.Commit)
	if guilty < 0 || back < guilty || !on(guardTakenBack) {
		return suspects
	}
	var left []Suspect
	for i, s := range suspects {
		s.Mixed = s.Mixed || guilty < i && i < back
		if i != guilty && i != back {
			left = append(left, s)
		}
	}
	return left
}

// search goes on with what is left of the suspects.
func (j *Journal) search() {
	j.Attempt = Attempt{
		Release: j.Search.Failed, Stage: StageBisecting, Failure: promotion.VerificationFailed,
		Started: j.Search.Started, Proven: true,
	}
	j.Retry, j.Hold = Retry{}, Hold{}
	switch left := j.SuspectsLeft(); len(left) {
	case 0:
		j.hold(promotion.NoSuspect, j.Search.Failed.Digest)
	case 1:
		j.blame(left[0])
	}
}

// blame has one commit taken back. One that was taken back already is on its
// way: what failed was deployed before that arrived. One that was never
// deployed without a commit taken back later is not proven guilty: another may
// have been hidden by that.
func (j *Journal) blame(suspect Suspect) {
	guilty := suspect.Revision
	if suspect.Mixed {
		j.hold(promotion.SeveralSuspects, j.Attempt.Release.Digest)
		return
	}
	if last := &j.LastRevert; guilty == last.Guilty && last.Commit != "" && on(guardBlameOnce) {
		last.Digest = j.Attempt.Release.Digest
		j.Attempt, j.Retry, j.Hold, j.Search = Attempt{}, Retry{}, Hold{}, Search{}
		return
	}
	j.Attempt.Stage, j.Attempt.Guilty = StageReverting, guilty
}

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
	if v.e.Busy != ActionNone {
		return
	}
	for _, i := range fromTheMiddle(len(search.Suspects) - 1) {
		suspect := search.Suspects[i]
		if suspect.Mixed || slices.Contains(search.Untested, suspect.Digest) {
			continue
		}
		candidate, known := v.e.evaluated(suspect.Revision, v.w)
		if !known {
			v.lookFor(suspect)
			return
		}
		if candidate.Release.Digest != suspect.Digest {
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

// lookFor has a suspect evaluated. Any other evaluation can wait.
func (v *verdict) lookFor(suspect Suspect) {
	v.d.Actions = slices.DeleteFunc(v.d.Actions, func(a Action) bool {
		return a.Kind == ActionEvaluate && a.Environment == v.e.ID
	})
	if !v.postponed(v.e.EvaluateAt) {
		v.look(suspect.Revision)
	}
}

// fromTheMiddle are the numbers below n, the middle first, then outwards.
func fromTheMiddle(n int) []int {
	var order []int
	middle := (n - 1) / 2
	for distance := 0; len(order) < n; distance++ {
		for _, i := range [...]int{middle - distance, middle + distance} {
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
	v.effect(ActionRestore, attempt.Release, promotion.Restoring)
}

// narrow leaves the suspects that may still be guilty: those after the newest
// that is known to be good, up to the first that is known to fail.
func (s *Search) narrow(j *Journal) {
	for i := len(s.Suspects) - 1; i >= 0; i-- {
		if s.Suspects[i].Digest == j.LastGood.Digest {
			s.Suspects = s.Suspects[i+1:]
			break
		}
	}
	for i := range s.Suspects {
		if slices.Contains(s.Failing, s.Suspects[i].Digest) {
			s.Suspects = s.Suspects[:i+1]
			break
		}
	}
}

// suspect goes on from the commits that may be guilty.
func (j *Journal) suspect(suspects []Suspect) {
	failed := j.Attempt.Release
	j.Search, j.Retry = Search{}, Retry{}
	switch {
	case len(suspects) == 0:
		j.hold(promotion.NoSuspect, failed.Digest)
	case len(suspects) > 1 && on(guardBisect):
		j.Search = Search{Failed: failed, Started: j.Attempt.Started, Suspects: suspects, Failing: []Digest{failed.Digest}}
		j.search()
	default:
		j.blame(suspects[len(suspects)-1].Revision)
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
	if guilty < 0 || back < guilty {
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
	search := j.Search
	search.narrow(j)
	j.Attempt = Attempt{
		Release: search.Failed, Stage: StageBisecting, Failure: promotion.VerificationFailed,
		Started: search.Started, Proven: true,
	}
	j.Search, j.Retry, j.Hold = search, Retry{}, Hold{}
	switch len(search.Suspects) {
	case 0:
		j.hold(promotion.NoSuspect, search.Failed.Digest)
	case 1:
		j.Search = Search{}
		j.blame(search.Suspects[0].Revision)
	}
}

// blame has one commit taken back. One that was taken back already is on its
// way: what failed was deployed before that arrived.
func (j *Journal) blame(guilty source.Revision) {
	if last := &j.LastRevert; guilty == last.Guilty && last.Commit != "" {
		last.Digest = j.Attempt.Release.Digest
		j.Attempt, j.Retry, j.Hold = Attempt{}, Retry{}, Hold{}
		return
	}
	j.Attempt.Stage, j.Attempt.Guilty = StageReverting, guilty
}

package reconcile

import (
	"slices"
	"time"

	"chaperone.dev/chaperone/internal/promotion"
)

// reverted takes done, already, conflict, rejected, failed and retry.
func (j *Journal) reverted(r Result, now time.Time) {
	failed := j.Attempt.Release.Digest
	isBack := func(s Suspect) bool { return r.Commit != "" && s.Revision == r.Commit }
	switch r.Outcome {
	case OutcomeAlready:
		if on(guardOtherCause) && slices.ContainsFunc(j.Search.Suspects, isBack) {
			// It was taken back before what failed, which another commit broke.
			j.hold(promotion.SeveralSuspects, failed)
			return
		}
		// It may be ours, pushed before a crash: it counts.
		j.takenBack(Revert{Guilty: r.Action.Guilty, Commit: r.Commit, Digest: failed, At: now})
	case OutcomeDone:
		j.takenBack(Revert{Guilty: r.Action.Guilty, Commit: r.Commit, Digest: failed, At: now})
	case OutcomeConflict, OutcomeRejected, OutcomeFailed:
		j.hold(r.Reason, failed)
	case OutcomeRetry:
		j.retry(r.Reason, failed, now)
	}
}

func (j *Journal) takenBack(last Revert) {
	j.LastRevert = last
	if last.Commit != "" {
		j.Reverts = bounded(append([]time.Time{last.At}, j.Reverts...), maxReverts)
	}
	j.Attempt, j.Retry, j.Hold, j.Search = Attempt{}, Retry{}, Hold{}, Search{}
}

// corrected takes done, rejected, failed, retry and interrupted. Beside a prune
// that waits it changes no journal: that is still to be done, and goes by its own tries.
func (e *Environment) corrected(r Result, now time.Time) {
	j := &e.Journal
	e.Drifted = e.Drifted && r.Outcome != OutcomeDone
	if j.Attempt.Stage == StagePruning {
		if r.Outcome != OutcomeDone {
			e.Uncorrected = j.Retry.Tries
		}
		return
	}
	switch r.Outcome {
	case OutcomeDone:
		j.Attempt, j.Retry = Attempt{}, Retry{}
	case OutcomeRejected, OutcomeFailed, OutcomeRetry:
		j.retry(r.Reason, r.Action.Release.Digest, now)
	}
}

// proposed takes done, already (an obsolete proposal), rejected and retry.
func (j *Journal) proposed(r Result, now time.Time) {
	p := &j.Proposal
	switch {
	case r.Outcome == OutcomeRetry, r.Outcome == OutcomeRejected:
		p.Refused = r.Reason
		p.later(now)
	case r.Outcome == OutcomeInterrupted:
	case r.Action.Kind == ActionWithdraw:
		*p = Proposal{}
	case r.Outcome == OutcomeAlready: // the branch has moved on, which is to be seen first
		*p = Proposal{Tries: p.Tries}
		p.later(now)
	default:
		p.Commit, p.Refused, p.Tries, p.Again = r.Commit, "", 0, time.Time{}
	}
}

func (p *Proposal) later(now time.Time) {
	p.Tries++
	p.Again = now.Add(backoff(p.Tries))
}

// retried lifts what a person asked to lift, once for each request. Only one
// that names nothing accepts that the branch was rewritten, and only where that
// is certain.
func (e *Environment) retried(a Action) {
	j := &e.Journal
	lift := a.Release.Digest
	j.Served, j.Retry = a.Request, Retry{}
	if e.Rewritten && (!e.AncestryUnknown && e.Requests.RetryDigest == "" || !on(guardAccept)) {
		j.Accepted = j.LastGood.Revision
	}
	if j.triedAgain(lift) {
		return // it failed all the same: it stays quarantined
	}
	e.accept(lift)
	j.letGo(lift)
	j.Quarantine, j.Unapplied = without(j.Quarantine, lift), without(j.Unapplied, lift)
	if j.Hold.Digest == lift {
		if j.Hold.Reason == promotion.TooManyReverts {
			j.Reverts = nil
		}
		j.Hold = Hold{}
	}
}

// letGo ends what is being done about a failure: what failed is tried again
// instead. A restore is finished first.
func (j *Journal) letGo(lift Digest) {
	a := &j.Attempt
	if lift == "" || lift != a.Release.Digest && lift != j.Search.Failed.Digest {
		return
	}
	switch a.Stage {
	case StageUndoing, StageRestoring:
		a.Failure, a.Probe = "", false
	case StageProving, StageBlaming, StageBisecting, StageReverting:
		j.Attempt = Attempt{}
	default:
		a.Probe = false
	}
	j.Search = Search{}
}

// moved begins anew in another place. What was verified or failed in the old
// one says nothing about the new one.
func (j *Journal) moved(r Result) {
	if r.Outcome == OutcomeDone {
		*j = Journal{Served: j.Served, Reverts: j.Reverts, Proposal: j.Proposal, LastRevert: j.LastRevert}
	}
}

func (j *Journal) retry(reason promotion.Reason, d Digest, now time.Time) {
	tries := 1
	if j.Retry.Digest == d {
		tries = j.Retry.Tries + 1
	}
	j.Retry = Retry{Reason: reason, Digest: d, Tries: tries, At: now.Add(backoff(tries))}
}

// longestWait bounds every pause between two tries.
const longestWait = 2 * time.Minute

// backoff is 1 s, 2 s, 4 s… up to 2 minutes.
func backoff(tries int) time.Duration {
	if tries > 7 {
		return longestWait
	}
	return min(longestWait, time.Second<<max(0, tries-1))
}

func without(list []Digest, gone Digest) []Digest {
	if !slices.Contains(list, gone) {
		return list
	}
	return slices.DeleteFunc(slices.Clone(list), func(d Digest) bool { return d == gone })
}

func bounded[T any](list []T, limit int) []T {
	return list[:min(len(list), limit)]
}

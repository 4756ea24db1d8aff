package reconcile

import (
	"slices"
	"time"

	"chaperone.dev/chaperone/internal/promotion"
)

// Begin is the world in which an action is under way: its intent is in the
// journal, which the caller writes down before the effect. Evaluate and Cancel
// leave the journal alone.
func Begin(w World, a Action) World {
	return w.change(a.Environment, func(e *Environment) {
		if a.Kind == ActionEvaluate {
			e.Evaluating = a.Release.Revision
			return
		}
		if a.Kind == ActionCancel {
			return
		}
		e.Busy = a.Kind
		begin(&e.Journal, a, w.Now)
	})
}

func begin(j *Journal, a Action, now time.Time) {
	switch a.Kind {
	case ActionApply:
		tries := 1
		if j.Attempt.Stage != StageNone {
			tries = j.Attempt.Tries + 1 // the cluster may hold part of what went before
		}
		started := now
		if j.Attempt.Release.Digest == a.Release.Digest {
			started = j.Attempt.Started
		}
		j.Attempt = Attempt{Release: a.Release, Stage: StageApplying, Tries: tries, Started: started}
		j.Running = a.Release
		j.Hold = Hold{}
	case ActionRestore:
		if j.Attempt.Stage != StageRestoring {
			j.Attempt = Attempt{Release: a.Release, Stage: StageRestoring, Started: now}
			j.Hold = Hold{}
		}
	case ActionCorrect:
		j.Attempt = Attempt{Release: a.Release, Stage: StageCorrecting, Started: now}
	}
	if j.Retry.Digest != a.Release.Digest {
		j.Retry = Retry{}
	}
}

// Observe folds the outcome of one action in. What it cannot place (a result
// that comes after the journal went on) changes nothing but the busy mark.
func Observe(w World, r Result) World {
	return w.change(r.Action.Environment, func(e *Environment) {
		if r.Action.Kind == ActionEvaluate {
			e.observeEvaluation(r, w)
			return
		}
		e.Busy = ActionNone
		j := &e.Journal
		switch r.Action.Kind {
		case ActionAdvance:
			j.advance(r.Action.Release)
		case ActionApply:
			j.applied(r, w.Now)
		case ActionVerify:
			j.judged(r, w.Now)
		case ActionPrune:
			j.pruned(r, w.Now)
		case ActionRestore:
			j.restored(r, e.Spec, w.Now)
			e.Drifted = e.Drifted && r.Outcome != OutcomeDone
		case ActionBlame:
			j.blamed(r, w.Now)
		case ActionRevert:
			j.reverted(r, w.Now)
		case ActionCorrect:
			j.corrected(r, w.Now)
			e.Drifted = e.Drifted && r.Outcome != OutcomeDone
		}
	})
}

func (w World) change(id promotion.ID, f func(*Environment)) World {
	w.Environments = slices.Clone(w.Environments)
	for i := range w.Environments {
		if w.Environments[i].ID == id {
			f(&w.Environments[i])
		}
	}
	return w
}

// maxCandidates bounds what is remembered of evaluations; they can be redone.
const maxCandidates = 80

func (e *Environment) observeEvaluation(r Result, w World) {
	e.Evaluating = ""
	if r.Outcome != OutcomeDone {
		e.EvaluateAt = w.Now.Add(backoff(3))
		return
	}
	if r.Candidate.Verdict == VerdictError {
		e.EvaluateAt = w.Now.Add(backoff(7))
	}
	kept := []Candidate{r.Candidate}
	for _, c := range e.Candidates {
		if c.Release.Revision != r.Candidate.Release.Revision && len(kept) < maxCandidates {
			kept = append(kept, c)
		}
	}
	e.Candidates = kept
}

// advance: the same content under a newer name.
func (j *Journal) advance(to Release) {
	if to.Digest != j.LastGood.Digest {
		return
	}
	j.Running, j.LastGood = to, to
	j.Verified = slices.Clone(j.Verified)
	for i := range j.Verified {
		if j.Verified[i].Digest == to.Digest {
			j.Verified[i].Release = to
		}
	}
	j.Hold, j.Retry = Hold{}, Retry{}
}

// applied takes done, rejected, failed (VerificationFailed when a hook gave
// the verdict), retry and interrupted.
func (j *Journal) applied(r Result, now time.Time) {
	switch r.Outcome {
	case OutcomeDone:
		j.Attempt.Stage, j.Retry = StageVerifying, Retry{}
	case OutcomeRejected:
		j.retry(r.Reason, r.Action.Release.Digest, now)
		switch {
		case j.Attempt.Tries <= 1:
			j.Running, j.Attempt = j.LastGood, Attempt{}
		case j.LastGood.Digest != "":
			j.Attempt.Stage, j.Attempt.Failure = StageRestoring, r.Reason
		}
	case OutcomeFailed:
		j.fail(r.Reason)
	case OutcomeRetry:
		j.retry(r.Reason, r.Action.Release.Digest, now)
	}
}

// fail quarantines the attempt's release and takes it back. That it passed
// here once, long ago perhaps, opens no downstream gate any more.
func (j *Journal) fail(reason promotion.Reason) {
	bad := j.Attempt.Release.Digest
	j.Verified = slices.DeleteFunc(slices.Clone(j.Verified), func(v Verified) bool { return v.Digest == bad })
	j.Attempt.Failure, j.Retry, j.Hold = reason, Retry{}, Hold{}
	if !slices.Contains(j.Quarantine, bad) {
		j.Quarantine = bounded(append([]Digest{bad}, j.Quarantine...), maxQuarantine)
	}
	if j.LastGood.Digest == "" {
		j.Hold = Hold{Reason: promotion.NoLastGood, Digest: bad}
		j.Attempt = Attempt{}
		return
	}
	j.Attempt.Stage = StageRestoring
}

// judged takes done (pass), failed, error, no-data and interrupted.
func (j *Journal) judged(r Result, now time.Time) {
	if j.Attempt.Stage != StageVerifying || j.Attempt.Release.Digest != r.Action.Release.Digest {
		return
	}
	switch r.Outcome {
	case OutcomeDone:
		release := j.Attempt.Release
		j.Attempt.Stage, j.LastGood, j.Retry, j.Hold = StagePruning, release, Retry{}, Hold{}
		passed := []Verified{{Release: release, At: now}}
		for _, v := range j.Verified {
			if v.Digest != release.Digest {
				passed = append(passed, v)
			}
		}
		j.Verified = bounded(passed, maxVerified)
	case OutcomeFailed:
		j.fail(promotion.VerificationFailed)
	case OutcomeError, OutcomeNoData:
		j.Hold = Hold{Reason: r.Reason, Digest: j.Attempt.Release.Digest}
		j.retry(r.Reason, j.Attempt.Release.Digest, now)
	}
}

func (j *Journal) pruned(r Result, now time.Time) {
	switch r.Outcome {
	case OutcomeDone:
		j.Attempt, j.Retry = Attempt{}, Retry{}
	case OutcomeRetry:
		j.retry(r.Reason, r.Action.Release.Digest, now)
	}
}

// restored takes done, failed, retry and interrupted. Only a failed
// verification goes on to look for the guilty commit.
func (j *Journal) restored(r Result, spec Spec, now time.Time) {
	failed := j.Attempt.Release.Digest
	switch r.Outcome {
	case OutcomeDone:
		j.Running, j.Retry = j.LastGood, Retry{}
		switch {
		case j.Attempt.Failure == "":
			j.Attempt = Attempt{}
		case !slices.Contains(j.Quarantine, failed): // rejected, which may pass
			j.retry(j.Attempt.Failure, failed, now)
			j.Attempt = Attempt{}
		case j.Attempt.Failure != promotion.VerificationFailed:
			j.hold(j.Attempt.Failure, failed)
		case spec.OnFailure != promotion.FailureRevert:
			j.hold(promotion.RevertDisabled, failed)
		default:
			j.Attempt.Stage = StageBlaming
		}
	case OutcomeFailed:
		j.retry(promotion.RestoreFailed, failed, now)
	case OutcomeRetry:
		j.retry(r.Reason, failed, now)
	}
}

func (j *Journal) hold(reason promotion.Reason, d Digest) {
	j.Hold = Hold{Reason: reason, Digest: d}
	j.Attempt, j.Retry = Attempt{}, Retry{}
}

// blamed takes done with suspects, failed (HistoryRewritten…) and retry.
func (j *Journal) blamed(r Result, now time.Time) {
	failed := j.Attempt.Release.Digest
	switch {
	case r.Outcome == OutcomeRetry:
		j.retry(r.Reason, failed, now)
	case r.Outcome == OutcomeFailed:
		j.hold(r.Reason, failed)
	case r.Outcome != OutcomeDone:
	case len(r.Suspects) == 0:
		j.hold(promotion.NoSuspect, failed)
	case len(r.Suspects) > 1:
		j.hold(promotion.SeveralSuspects, failed)
	default:
		j.Attempt.Stage, j.Attempt.Guilty, j.Retry = StageReverting, r.Suspects[0], Retry{}
	}
}

// reverted takes done, already, conflict, rejected, failed and retry.
func (j *Journal) reverted(r Result, now time.Time) {
	failed := j.Attempt.Release.Digest
	switch r.Outcome {
	case OutcomeDone, OutcomeAlready:
		j.LastRevert = Revert{Guilty: r.Action.Guilty, Commit: r.Commit, Digest: failed}
		j.Attempt, j.Retry, j.Hold = Attempt{}, Retry{}, Hold{}
	case OutcomeConflict, OutcomeRejected, OutcomeFailed:
		j.hold(r.Reason, failed)
	case OutcomeRetry:
		j.retry(r.Reason, failed, now)
	}
}

func (j *Journal) corrected(r Result, now time.Time) {
	switch r.Outcome {
	case OutcomeDone:
		j.Attempt, j.Retry = Attempt{}, Retry{}
	case OutcomeRejected, OutcomeFailed, OutcomeRetry:
		j.retry(r.Reason, r.Action.Release.Digest, now)
	}
}

func (j *Journal) retry(reason promotion.Reason, d Digest, now time.Time) {
	tries := 1
	if j.Retry.Digest == d {
		tries = j.Retry.Tries + 1
	}
	j.Retry = Retry{Reason: reason, Digest: d, Tries: tries, At: now.Add(backoff(tries))}
}

// backoff is 1 s, 2 s, 4 s… up to 2 minutes.
func backoff(tries int) time.Duration {
	const longest = 2 * time.Minute
	if tries > 7 {
		return longest
	}
	return min(longest, time.Second<<max(0, tries-1))
}

func bounded[T any](list []T, limit int) []T {
	return list[:min(len(list), limit)]
}

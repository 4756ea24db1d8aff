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
	return w.change(a.Environment, func(e *Environment) { e.start(a, w.Now) })
}

// BeginIn is Begin in the memory of w, which nobody else may look at meanwhile:
// copying thousands of environments for one of them takes its time.
func BeginIn(w *World, a Action) {
	if e := w.find(a.Environment); e != nil {
		e.start(a, w.Now)
	}
}

// ObserveIn is Observe in the memory of w, likewise.
func ObserveIn(w *World, r Result) {
	if e := w.find(r.Action.Environment); e != nil {
		e.fold(r, w.Now)
	}
}

func (e *Environment) start(a Action, now time.Time) {
	switch a.Kind {
	case ActionEvaluate:
		e.Evaluating = a.Release.Revision
	case ActionCancel:
	default:
		e.Busy = a.Kind
		e.begin(a, now)
	}
}

func (e *Environment) begin(a Action, now time.Time) {
	j := &e.Journal
	switch a.Kind {
	case ActionApply:
		e.beginApply(a, now)
	case ActionRestore:
		j.beginRestore(a, now)
	case ActionCorrect:
		j.Attempt = Attempt{Release: a.Release, Stage: StageCorrecting, Started: now}
	case ActionPropose:
		j.Proposal = Proposal{
			Revision: a.Release.Revision, Digest: a.Release.Digest, File: e.Spec.File,
			Refused: j.Proposal.Refused, Tries: j.Proposal.Tries, Again: j.Proposal.Again, // until an answer says otherwise
		}
	}
	if j.Retry.Digest != a.Release.Digest {
		j.Retry = Retry{}
	}
}

func (e *Environment) beginApply(a Action, now time.Time) {
	j := &e.Journal
	before := j.Attempt
	begun := Attempt{
		Release: a.Release, Stage: StageApplying, Tries: 1, Started: now,
		Irreversible: a.Irreversible, Override: a.Override, Probe: a.Probe,
	}
	if before.Stage != StageNone && before.Stage != StageBisecting {
		begun.Tries = before.Tries + 1 // the cluster may hold part of what went before
	}
	if before.Release.Digest == a.Release.Digest {
		begun.Started = before.Started
	}
	j.Overridden = ""
	if a.Override {
		j.Overridden = a.Release.Digest
	}
	if !a.Probe {
		j.Search = Search{}
	}
	j.Attempt, j.Running, j.Hold = begun, a.Release, Hold{}
	if last, _, scheduled := e.Spec.Calendar.Fired(now); scheduled {
		j.Run = Run{At: last, Digest: a.Release.Digest}
	}
}

// beginRestore takes back what was begun. A probe that was stopped half-way is
// one that could not be tried; one that is restored because last good is wanted
// again ends the search.
func (j *Journal) beginRestore(a Action, now time.Time) {
	if j.Attempt.Stage == StageRestoring {
		return
	}
	probe := j.Attempt.Probe && j.Attempt.Stage == StageApplying
	if !probe {
		j.Search = Search{}
	}
	j.Attempt = Attempt{Release: a.Release, Stage: StageRestoring, Started: now, Probe: probe}
	j.Hold = Hold{}
}

// Observe folds the outcome of one action in. What it cannot place (a result
// that comes after the journal went on) changes nothing but the busy mark.
func Observe(w World, r Result) World {
	return w.change(r.Action.Environment, func(e *Environment) { e.fold(r, w.Now) })
}

func (e *Environment) fold(r Result, now time.Time) {
	if r.Action.Kind == ActionEvaluate {
		e.observeEvaluation(r, now)
		return
	}
	e.Busy = ActionNone
	e.observe(r, now)
}

func (e *Environment) observe(r Result, now time.Time) {
	j := &e.Journal
	before := j.LastGood
	defer func() {
		if j.LastGood != before {
			j.Branch = e.Spec.Branch
		}
	}()
	switch r.Action.Kind {
	case ActionAdvance:
		j.advance(r.Action.Release, now)
	case ActionApply:
		j.applied(r, now)
	case ActionVerify:
		j.judged(r, e.Spec, now)
	case ActionPrune:
		j.pruned(r, now)
	case ActionRestore:
		j.restored(r, now)
		e.Drifted = e.Drifted && r.Outcome != OutcomeDone
	case ActionBlame:
		j.blamed(r, now)
	case ActionRevert:
		j.reverted(r, now)
	case ActionCorrect:
		j.corrected(r, now)
		e.Drifted = e.Drifted && r.Outcome != OutcomeDone
	case ActionPropose, ActionWithdraw:
		j.proposed(r, now)
	case ActionGiveUp:
		j.hold(r.Action.Reason, r.Action.Release.Digest)
	case ActionRetry:
		e.retried(r.Action)
	case ActionMove:
		j.moved(r)
		e.Moved = e.Moved && r.Outcome != OutcomeDone
	}
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

func (e *Environment) observeEvaluation(r Result, now time.Time) {
	e.Evaluating = ""
	if r.Outcome != OutcomeDone {
		e.EvaluateAt = now.Add(backoff(3))
		return
	}
	if r.Candidate.Verdict == VerdictError {
		e.AskAt = now.Add(backoff(7))
	}
	kept := []Candidate{r.Candidate}
	for _, c := range e.Candidates {
		if c.Release.Revision != r.Candidate.Release.Revision && len(kept) < maxCandidates {
			kept = append(kept, c)
		}
	}
	e.Candidates = kept
}

// advance: the same content under a newer name. A verification that a clock
// which ran ahead has dated is dated now.
func (j *Journal) advance(to Release, now time.Time) {
	if to.Digest != j.LastGood.Digest && on(guardSame) {
		return
	}
	j.Running, j.LastGood = to, to
	j.Verified = slices.Clone(j.Verified)
	for i := range j.Verified {
		if j.Verified[i].Digest == to.Digest {
			j.Verified[i].Release = to
		}
		if j.Verified[i].At.After(now) {
			j.Verified[i].At = now
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
		case j.Attempt.Tries <= 1 && j.Attempt.Probe:
			j.Running = j.LastGood
			j.untested()
		case j.Attempt.Tries <= 1 || !on(guardTouched):
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
	if on(guardUnverify) {
		j.Verified = slices.DeleteFunc(slices.Clone(j.Verified), func(v Verified) bool { return v.Digest == bad })
	}
	j.Attempt.Failure, j.Retry, j.Hold = reason, Retry{}, Hold{}
	if !slices.Contains(j.Quarantine, bad) && on(guardQuarantined) {
		j.Quarantine = bounded(append([]Digest{bad}, j.Quarantine...), maxQuarantine)
	}
	if j.Unapplied = without(j.Unapplied, bad); reason != promotion.VerificationFailed {
		j.Unapplied = bounded(append([]Digest{bad}, j.Unapplied...), maxQuarantine)
	}
	switch {
	case j.LastGood.Digest == "":
		j.hold(promotion.NoLastGood, bad)
	case j.Attempt.Irreversible && on(guardIrreversibleHold):
		j.hold(promotion.IrreversibleFailed, bad)
	default:
		j.Attempt.Stage = StageRestoring
	}
}

// judged takes done (pass), failed, error, no-data and interrupted, of the
// attempt's release or, while proving, of last good.
func (j *Journal) judged(r Result, spec Spec, now time.Time) {
	switch a := &j.Attempt; {
	case a.Stage == StageProving && j.LastGood.Digest == r.Action.Release.Digest:
		j.proved(r, spec, now)
		return
	case (a.Stage != StageVerifying || a.Release.Digest != r.Action.Release.Digest) && on(guardLate):
		return
	}
	switch {
	case r.Outcome == OutcomeDone:
		j.verified(now)
	case r.Outcome == OutcomeFailed, r.Outcome == OutcomeError && !on(guardErrorIsNoFailure), r.Outcome == OutcomeNoData && !on(guardNoDataIsNoFailure),
		r.Outcome == OutcomeInterrupted && !on(guardInterrupted):
		j.fail(promotion.VerificationFailed)
	case r.Outcome == OutcomeError, r.Outcome == OutcomeNoData:
		j.unclear(r, now)
	}
}

func (j *Journal) verified(now time.Time) {
	release := j.Attempt.Release
	j.Attempt.Stage, j.LastGood, j.Retry, j.Hold = StagePruning, release, Retry{}, Hold{}
	if !j.Attempt.Probe {
		j.Search = Search{}
	}
	passed := []Verified{{Release: release, At: now}}
	for _, v := range j.Verified {
		if v.Digest != release.Digest {
			passed = append(passed, v)
		}
	}
	j.Verified = bounded(passed, maxVerified)
}

// unclear holds until a check that gave no verdict gives one.
func (j *Journal) unclear(r Result, now time.Time) {
	j.Hold = Hold{Reason: r.Reason, Digest: j.Attempt.Release.Digest}
	j.retry(r.Reason, r.Action.Release.Digest, now)
}

// proved tells whose fault a failure was: last good that fails as well is not
// at fault, and then neither is what came after it.
func (j *Journal) proved(r Result, spec Spec, now time.Time) {
	failed := j.Attempt.Release.Digest
	switch {
	case r.Outcome == OutcomeFailed && j.Attempt.Probe && on(guardProven):
		j.Quarantine = without(j.Quarantine, failed) // nobody knows what it would do
		j.hold(promotion.RestoreFailed, j.Search.Failed.Digest)
	case r.Outcome == OutcomeFailed && on(guardProven):
		j.hold(promotion.RestoreFailed, failed)
	case r.Outcome == OutcomeError, r.Outcome == OutcomeNoData:
		j.unclear(r, now)
	case r.Outcome == OutcomeInterrupted:
	case j.Attempt.Probe:
		j.Search.Failing = bounded(append([]Digest{failed}, j.Search.Failing...), maxRevisions)
		j.search()
	case spec.OnFailure != promotion.FailureRevert && on(guardRevertDisabled):
		j.hold(promotion.RevertDisabled, failed)
	default:
		j.Attempt.Stage, j.Attempt.Proven, j.Retry, j.Hold = StageBlaming, r.Outcome == OutcomeDone, Retry{}, Hold{}
	}
}

func (j *Journal) pruned(r Result, now time.Time) {
	switch r.Outcome {
	case OutcomeDone:
		if j.Attempt.Probe {
			j.search()
			return
		}
		j.Attempt, j.Retry = Attempt{}, Retry{}
	case OutcomeRetry:
		j.retry(r.Reason, r.Action.Release.Digest, now)
	}
}

// restored takes done, failed, retry and interrupted. Only a failed
// verification goes on to look for the guilty commit.
func (j *Journal) restored(r Result, now time.Time) {
	failed := j.Attempt.Release.Digest
	switch r.Outcome {
	case OutcomeDone:
		j.Running, j.Retry = j.LastGood, Retry{}
		switch {
		case j.Attempt.Failure == promotion.VerificationFailed:
			j.Attempt.Stage = StageProving
		case j.Attempt.Probe:
			j.untested()
		case j.Attempt.Failure == "":
			j.Attempt = Attempt{}
		case !slices.Contains(j.Quarantine, failed): // rejected, which may pass
			j.retry(j.Attempt.Failure, failed, now)
			j.Attempt = Attempt{}
		default:
			j.hold(j.Attempt.Failure, failed)
		}
	case OutcomeFailed:
		j.retry(promotion.RestoreFailed, failed, now)
	case OutcomeRetry:
		j.retry(r.Reason, failed, now)
	}
}

// untested: a suspect could not be deployed; the search goes on without it.
func (j *Journal) untested() {
	j.Search.Untested = bounded(append([]Digest{j.Attempt.Release.Digest}, j.Search.Untested...), maxRevisions)
	j.search()
}

func (j *Journal) hold(reason promotion.Reason, d Digest) {
	j.Hold = Hold{Reason: reason, Digest: d}
	j.Attempt, j.Retry, j.Search = Attempt{}, Retry{}, Search{}
}

// blamed takes done with suspects, failed (HistoryRewritten…) and retry.
func (j *Journal) blamed(r Result, now time.Time) {
	failed := j.Attempt.Release.Digest
	switch {
	case r.Outcome == OutcomeRetry:
		j.retry(r.Reason, failed, now)
	case r.Outcome == OutcomeFailed:
		j.hold(r.Reason, failed)
	case r.Outcome == OutcomeDone:
		j.suspect(j.notTakenBack(r.Suspects))
	}
}

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
		j.takenBack(Revert{Guilty: r.Action.Guilty, Commit: r.Commit, Digest: failed, At: now})
	case OutcomeDone:
		j.takenBack(Revert{Guilty: r.Action.Guilty, Commit: r.Commit, Digest: failed, At: now})
		j.Reverts = bounded(append([]time.Time{now}, j.Reverts...), maxReverts)
	case OutcomeConflict, OutcomeRejected, OutcomeFailed:
		j.hold(r.Reason, failed)
	case OutcomeRetry:
		j.retry(r.Reason, failed, now)
	}
}

func (j *Journal) takenBack(last Revert) {
	j.LastRevert = last
	j.Attempt, j.Retry, j.Hold, j.Search = Attempt{}, Retry{}, Hold{}, Search{}
}

func (j *Journal) corrected(r Result, now time.Time) {
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
	case StageRestoring:
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

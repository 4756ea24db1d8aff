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
	case ActionUndo:
		j.beginUndo(a, now)
	case ActionRestore:
		j.beginRestore(a, now)
	case ActionCorrect:
		if j.Attempt.Stage != StagePruning || !on(guardUnpruned) {
			j.Attempt = Attempt{Release: a.Release, Stage: StageCorrecting, Started: now}
		}
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
		Release: a.Release, Stage: StageApplying, Tries: 1, Started: now, Since: now,
		Irreversible: a.Irreversible, Override: a.Override, Probe: a.Probe,
		Before: j.Running, Held: j.Hold, Undo: j.Undo,
	}
	if before.Stage != StageNone && before.Stage != StageBisecting {
		begun.Tries = before.Tries + 1 // the cluster may hold part of what went before
		begun.Before, begun.Held, begun.Undo = before.Before, before.Held, before.Undo
		if begun.Since = before.Since; begun.Since.IsZero() {
			begun.Since = before.Started
		}
	}
	if before.Release.Digest == a.Release.Digest {
		begun.Started = before.Started
	}
	begun.take(&before, &a)
	if j.Undo.Forward && !a.Migrations.Covers(j.Undo.Migrations) {
		begun.Irreversible = true // what it is applied over does not go back to last good either
		a.Irreversible = true
	}
	j.Overridden = ""
	if a.Override {
		j.Overridden = a.Release.Digest
	}
	if !a.Probe {
		j.Search = Search{}
	}
	j.Attempt, j.Running, j.Hold = begun, a.Release, Hold{}
	j.migrate(a, now)
	if last, _, scheduled := e.Spec.Calendar.Fired(now); scheduled && begun.Step < 2 {
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
	if r.Action.Kind != ActionPrune {
		e.Uncorrected = 0
	}
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
	case ActionUndo:
		j.undone(r, now)
	case ActionRestore:
		j.restored(r, now)
		e.Drifted = e.Drifted && r.Outcome != OutcomeDone
	case ActionBlame:
		j.blamed(r, now)
	case ActionRevert:
		j.reverted(r, now)
	case ActionCorrect:
		e.corrected(r, now)
	case ActionPropose, ActionWithdraw:
		j.proposed(r, now)
	case ActionGiveUp:
		j.hold(r.Action.Reason, r.Action.Release.Digest)
	case ActionRetry:
		e.retried(r.Action)
	case ActionWatch:
		e.watched(r, now)
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
	if j.Watched.Since.After(now) {
		j.Watched.Since = now
	}
	j.Hold, j.Retry = Hold{}, Retry{}
}

// applied takes done, rejected, failed (VerificationFailed when a hook gave
// the verdict), retry and interrupted.
func (j *Journal) applied(r Result, now time.Time) {
	switch r.Outcome {
	case OutcomeDone:
		j.Attempt.Stage, j.Retry = StageVerifying, Retry{}
		if j.Attempt.Step > 0 {
			j.Attempt.Reached = now
		}
	case OutcomeRejected:
		j.retry(r.Reason, r.Action.Release.Digest, now)
		switch {
		case j.Attempt.Tries <= 1 && j.Attempt.Probe:
			j.Running, j.Undo = j.LastGood, j.Attempt.Undo
			j.untested()
		case j.Attempt.Tries <= 1 || !on(guardTouched):
			j.untouched()
		case j.LastGood.Digest != "":
			j.Attempt.Stage, j.Attempt.Failure = j.takesBack(), r.Reason
		}
	case OutcomeFailed:
		j.fail(r.Reason)
	case OutcomeRetry:
		j.retry(r.Reason, r.Action.Release.Digest, now)
	}
}

// untouched: the attempt was refused before anything was changed. What cannot be
// taken back stays held.
func (j *Journal) untouched() {
	before, held := j.Attempt.Before, j.Attempt.Held
	if before.Digest == "" || held.Reason != promotion.IrreversibleFailed {
		before, held = j.LastGood, Hold{}
	}
	j.Running, j.Hold, j.Undo, j.Attempt = before, held, j.Attempt.Undo, Attempt{}
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
		j.Attempt.Stage = j.takesBack()
	}
}

// judged takes done (pass), failed, error, no-data and interrupted, of the
// attempt's release or, while proving, of last good.
func (j *Journal) judged(r Result, spec Spec, now time.Time) {
	switch a := &j.Attempt; {
	case a.Stage == StageProving && j.LastGood.Digest == r.Action.Release.Digest:
		j.proved(r, spec, now)
		return
	case (a.Stage != StageVerifying || a.Release.Digest != r.Action.Release.Digest || a.Step != r.Action.Step) && on(guardLate):
		return
	}
	switch {
	case r.Outcome == OutcomeDone && j.Attempt.Midway():
		j.stepPassed()
	case r.Outcome == OutcomeDone:
		j.verified(spec, now)
		if r.Pruned {
			j.pruned(r, now)
		}
	case r.Outcome == OutcomeFailed, r.Outcome == OutcomeError && !on(guardErrorIsNoFailure), r.Outcome == OutcomeNoData && !on(guardNoDataIsNoFailure),
		r.Outcome == OutcomeInterrupted && !on(guardInterrupted):
		j.fail(promotion.VerificationFailed)
	case r.Outcome == OutcomeError, r.Outcome == OutcomeNoData:
		j.unclear(r, now)
	}
}

func (j *Journal) verified(spec Spec, now time.Time) {
	release := j.Attempt.Release
	j.watch(spec, now)
	j.Attempt.Stage, j.LastGood, j.Retry, j.Hold, j.Undo = StagePruning, release, Retry{}, Hold{}, Undo{}
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
	case r.Outcome != OutcomeDone && r.Outcome != OutcomeFailed: // says nothing
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

package reconcile

import (
	"slices"
	"time"

	"chaperone.dev/chaperone/internal/promotion"
	"chaperone.dev/chaperone/internal/source"
)

// Decide says what to do next for every environment, each by itself: one that
// is stuck delays no other. Equal worlds give equal decisions.
func Decide(w World) Decision {
	var d Decision
	DecideInto(&d, &w)
	return d
}

// DecideInto is Decide into the memory of an earlier decision.
func DecideInto(d *Decision, w *World) {
	d.Actions, d.Statuses, d.LookAgain = d.Actions[:0], slices.Grow(d.Statuses[:0], len(w.Environments)), time.Time{}
	for i := range w.Environments {
		e := &w.Environments[i]
		d.Statuses = append(d.Statuses, Status{Environment: e.ID})
		v := verdict{w: w, e: e, d: d, status: &d.Statuses[i]}
		v.decideBesideWatch()
		for _, at := range [...]time.Time{v.status.Until, v.again} {
			if at.After(w.Now) {
				d.LookAgain = sooner(d.LookAgain, at)
			}
		}
	}
}

// verdict is the decision about one environment while it is being made.
type verdict struct {
	w      *World
	e      *Environment
	d      *Decision
	c      choice
	p      promotable
	status *Status
	again  time.Time
	still  promotion.Reason // why nothing new may be begun: a freeze, or a rewritten history
	until  time.Time        // of still
}

func (v *verdict) decide() {
	if v.stopped() {
		return
	}
	v.stillness()
	v.c = choose(v.w, v.e)
	if v.e.Moved && on(guardMoved) {
		v.c.onlyBegun(v.e)
	}
	v.status.Wanted = v.c.wantedRelease()
	if v.granted() {
		return
	}
	v.p = v.promotable()
	v.evaluate()
	v.staged()
}

// stopped: its file, its pipeline or a person keeps the environment from doing
// anything at all.
func (v *verdict) stopped() bool {
	attempt := &v.e.Journal.Attempt
	paused := v.e.paused(v.w.Now) && on(guardPause)
	switch {
	case v.e.Fault != "" && attempt.Stage == StageRestoring && !paused:
		// Recovery goes on with the last valid file: a typo pushed in the middle
		// of it must not leave a failed release running.
		v.effect(ActionRestore, attempt.Release, promotion.Restoring)
	case v.e.Fault != "" && attempt.Stage == StageUndoing && !paused:
		v.undoing()
	case v.e.Fault == promotion.Removed && on(guardRemoved):
		v.is(PhaseHeld, v.e.Fault)
	case v.e.Fault != "" && v.e.Fault != promotion.SourceUnavailable && v.e.Fault != promotion.Removed && on(guardInvalid):
		v.is(PhaseInvalid, v.e.Fault)
	case paused:
		v.is(PhaseHeld, promotion.Paused)
		v.status.Until = v.e.Requests.PausedUntil
	case v.e.Moved && v.e.letsGo() && on(guardMoved):
		v.is(PhaseProgressing, promotion.Moving)
		if v.e.Busy == ActionNone {
			v.act(ActionMove, v.e.Journal.Running, promotion.Moving)
		}
	default:
		// A file that was not read yet (SourceUnavailable) stops nothing: what was
		// begun goes on with the last one.
		return false
	}
	return true
}

// letsGo reports whether an environment that moves has nothing under way in its
// old place that can be expected to end there: what was begun is finished or
// taken back first, but the old cluster may be gone for good.
func (e *Environment) letsGo() bool {
	j := &e.Journal
	resting := j.Attempt.Stage == StageNone || j.Attempt.Stage == StageBisecting
	stuck := j.Retry.Tries > 0 || j.Hold.Reason != "" || j.LastGood.Digest == "" || e.rewritten()
	return resting || stuck
}

// onlyBegun leaves out what would be new: nothing more begins in the old place.
func (c *choice) onlyBegun(e *Environment) {
	if c.candidate != nil && !c.current && c.candidate.Release.Digest != e.Journal.Attempt.Release.Digest {
		c.candidate = nil
	}
}

// stillness finds what keeps everything but a restore from being begun.
func (v *verdict) stillness() {
	if until, frozen := v.e.Spec.Calendar.Frozen(v.w.Now); frozen && on(guardFreeze) {
		v.still, v.until = promotion.Frozen, until
	} else if v.e.rewritten() && on(guardRewritten) {
		v.still = promotion.HistoryRewritten
	}
}

// granted begins what a person asked for, once for each request.
func (v *verdict) granted() bool {
	request := v.e.Requests.Retry
	if request == "" || request == v.e.Journal.Served && on(guardServed) || v.e.Busy != ActionNone {
		return false
	}
	lift := v.e.Requests.RetryDigest
	if lift == "" {
		lift = v.e.Journal.Hold.Digest
	}
	if lift == "" {
		lift = v.c.wantedRelease().Digest
	}
	if lift == "" && v.c.pending && v.canLook() {
		return false // what is wanted is not known yet, and the request counts once
	}
	v.is(PhaseProgressing, promotion.Retrying)
	v.act(ActionRetry, Release{Digest: lift}, promotion.Retrying)
	return true
}

// staged goes on from where the attempt stands.
func (v *verdict) staged() {
	attempt := &v.e.Journal.Attempt
	switch attempt.Stage {
	case StageNone:
		v.idle()
	case StageApplying:
		v.finishApply()
	case StageVerifying:
		v.verifying()
	case StagePruning:
		v.pruning()
	case StageUndoing:
		v.undoing()
	case StageRestoring:
		v.restoring()
	case StageProving:
		v.proving()
	case StageBlaming:
		v.effect(ActionBlame, attempt.Release, promotion.Reverting)
	case StageBisecting:
		v.bisecting()
	case StageReverting:
		v.reverting()
	case StageCorrecting:
		v.correct()
	}
}

func (v *verdict) is(phase Phase, reason promotion.Reason) {
	v.status.Phase, v.status.Reason = phase, reason
}

// evaluate asks for a candidate beside whatever else goes on: a newer commit
// must be able to preempt a verification.
func (v *verdict) evaluate() {
	next := v.c.evaluate
	if next != "" && !v.c.pending && v.postponed(v.e.AskAt) {
		next = ""
	}
	if next == "" && !(v.p.asks && v.postponed(v.e.AskAt)) {
		next = v.p.evaluate
	}
	switch {
	case next != "" && !v.postponed(v.e.EvaluateAt):
		v.look(next)
	case next == "" && v.c.wanted != nil:
		v.again = sooner(v.again, v.c.wanted.Until)
	}
}

// postponed reports whether a time is to come, and looks again then. One that
// is further off than any was set by a clock that ran ahead.
func (v *verdict) postponed(until time.Time) bool {
	if !until.After(v.w.Now) || until.Sub(v.w.Now) > longestWait {
		return false
	}
	v.again = sooner(v.again, until)
	return true
}

// look evaluates a revision unless another is being evaluated.
func (v *verdict) look(revision source.Revision) {
	if v.w.Policy != "" && v.e.Evaluating == "" {
		v.act(ActionEvaluate, Release{Revision: revision}, promotion.Evaluating)
	}
}

func (v *verdict) act(kind ActionKind, release Release, reason promotion.Reason) {
	a := Action{
		Kind: kind, Environment: v.e.ID, Reason: reason, Release: release, LastGood: v.e.Journal.LastGood,
	}
	switch kind {
	case ActionRevert:
		a.Guilty = v.e.Journal.Attempt.Guilty
	case ActionRetry:
		a.Request = v.e.Requests.Retry
	case ActionVerify:
		if attempt := &v.e.Journal.Attempt; attempt.Stage == StageVerifying {
			a.Course, a.Step = attempt.Course, attempt.Step
		}
	}
	v.d.Actions = append(v.d.Actions, a)
}

// begin acts on a candidate: what is known of it goes along.
func (v *verdict) begin(kind ActionKind, c *Candidate, reason promotion.Reason) {
	before := len(v.d.Actions)
	v.effect(kind, c.Release, reason)
	for i := before; i < len(v.d.Actions); i++ {
		a := &v.d.Actions[i]
		a.Irreversible, a.Override, a.Probe = c.Irreversible, c.Override, reason == promotion.Bisecting
		a.Migrations = c.Migrations
		a.Course = v.e.Journal.courseTo(c)
		a.Step = v.e.Journal.Attempt.stepOf(c.Release.Digest, a.Course)
	}
}

// apply begins or finishes a release.
func (v *verdict) apply(c *Candidate) {
	reason := promotion.Applying
	if c.Override {
		reason = promotion.Overridden
	}
	v.begin(ActionApply, c, reason)
}

// effect starts an action unless one is under way, the same one was tried a
// moment ago, or nothing may be begun.
func (v *verdict) effect(kind ActionKind, release Release, reason promotion.Reason) {
	v.trying(release.Digest, reason)
	switch {
	case v.e.Busy != ActionNone && on(guardBusy):
	case v.still != "" && kind.changes():
		v.stays()
	case v.waits(release.Digest):
		v.status.Until = v.e.Journal.Retry.At
	default:
		v.act(kind, release, reason)
	}
}

// trying says what is being done. What failed before goes on to say why until
// an answer says otherwise: that it is tried again every other minute is no news.
func (v *verdict) trying(d Digest, reason promotion.Reason) {
	retry := &v.e.Journal.Retry
	switch {
	case retry.Digest != d || retry.Tries == 0 || retry.Reason == "":
		v.is(PhaseProgressing, reason)
	case retry.Reason == promotion.RestoreFailed:
		v.is(PhaseHeld, retry.Reason)
	default:
		v.is(PhaseWaiting, retry.Reason)
	}
}

// waits reports whether a release was tried a moment ago. A pause longer than
// any was set by a clock that ran ahead.
func (v *verdict) waits(d Digest) bool {
	retry := &v.e.Journal.Retry
	return on(guardBackoff) && retry.Digest == d && retry.At.After(v.w.Now) && retry.At.Sub(v.w.Now) <= longestWait
}

// stays says that nothing may be begun, and why.
func (v *verdict) stays() {
	v.is(PhaseWaiting, v.still)
	v.status.Until = v.until
	if v.still == promotion.HistoryRewritten {
		v.is(PhaseHeld, v.still)
	}
}

// idle: nothing is under way.
func (v *verdict) idle() {
	v.rest()
	if v.e.Blind != "" && v.status.Phase == PhaseReady {
		v.is(PhaseWaiting, v.e.Blind) // nobody knows whether what is said to run does
	}
}

func (v *verdict) rest() {
	switch {
	case v.e.Busy == ActionPropose || v.e.Busy == ActionWithdraw:
		v.promoting()
	case v.e.Busy != ActionNone:
		v.is(PhaseProgressing, promotion.Evaluating)
	case v.judgedAnew():
		v.is(PhaseReady, promotion.UpToDate)
		v.contended()
		v.status.Wanted = v.e.Journal.LastGood
		v.propose()
	case v.c.candidate == nil:
		v.wait()
		v.propose()
	case v.c.current && v.e.settled():
		v.settledAt()
		v.propose()
	case v.c.current && v.stuckForGood():
		v.is(PhaseHeld, v.e.Journal.Hold.Reason)
	case v.c.current:
		// Last good is wanted and something else was left running.
		v.takeBack(v.e.Journal.Running, v.restoringReason(v.e.Journal.Running))
	case v.revertUnseen():
		// What is on the branch as we know it still holds what was taken back.
		v.is(PhaseProgressing, promotion.Reverted)
	case (v.w.SourceFault == "" || !on(guardSource)) && !v.held() && !v.holdsBack(v.c.candidate):
		v.apply(v.c.candidate)
	default:
		v.wait()
	}
}

// judgedAnew: what is wanted runs and is verified, and its verdict is being asked
// for again, as happens every hour. That is no news for anybody.
func (v *verdict) judgedAnew() bool {
	wanted := v.w.Head
	if v.e.Spec.Pinned {
		wanted = v.e.Spec.Pin
	}
	return v.c.pending && v.c.wanted == nil && wanted != "" && wanted == v.e.Journal.LastGood.Revision &&
		v.e.settled() && v.w.SourceFault == "" && v.w.Policy != "" && v.still == "" && !v.e.Drifted
}

// stuckForGood: what runs failed and cannot be taken back. It stays until
// something newer may run, or a person asks for last good. A daemon that has not
// read the branch yet, or a pin that is gone, asks for nothing.
func (v *verdict) stuckForGood() bool {
	hold := &v.e.Journal.Hold
	asked := v.c.newest && (v.e.Spec.Pinned && v.e.Spec.Pin != "" || !v.e.Spec.Pinned && v.w.Head != "")
	return hold.Reason == promotion.IrreversibleFailed && hold.Digest == v.e.Journal.Running.Digest && !asked && on(guardStuck)
}

// settledAt: what runs is last good, and nothing newer may run.
func (v *verdict) settledAt() {
	running := v.e.Journal.LastGood
	allowed := v.allows(v.c.candidate)
	switch {
	case v.c.newest && (allowed || !on(guardAdvance)) && (v.c.candidate.Release != running || v.e.ahead(v.w.Now)):
		// The same content under a newer commit, or allowed by newer policies; or
		// verified by a clock that ran ahead.
		v.quiet()
		v.act(ActionAdvance, v.c.candidate.Release, promotion.UpToDate)
	case !v.e.Drifted:
		v.quiet()
		v.contended()
	case v.e.Spec.Drift != promotion.DriftCorrect && on(guardReport), v.held(), !allowed && on(guardCorrect), v.still != "":
		v.quiet()
		if v.status.Phase == PhaseReady {
			v.status.Reason = promotion.Drifted
		}
	default:
		v.effect(ActionCorrect, v.c.candidate.Release, promotion.Drifted)
	}
}

// contended tells of what is left to a fight. That it differs keeps nothing from
// being done: it is no reason not to release, or to promote.
func (v *verdict) contended() {
	if v.e.Contended && v.status.Phase == PhaseReady {
		v.status.Reason = promotion.Contended
	}
}

// allows reports whether the policies in force allow a release.
func (v *verdict) allows(c *Candidate) bool {
	return c.Verdict == VerdictAllow && (v.w.Policy != "" || !on(guardNoPolicy))
}

// ahead reports whether a verification is dated in the future.
func (e *Environment) ahead(now time.Time) bool {
	for i := range e.Journal.Verified {
		if e.Journal.Verified[i].At.Sub(now) > skew {
			return true
		}
	}
	return false
}

// quiet: nothing to do; say why the environment is not further.
func (v *verdict) quiet() {
	switch {
	case !v.c.newest:
		v.wait()
	case v.still == promotion.HistoryRewritten:
		v.stays()
	case v.w.SourceFault != "":
		v.is(PhaseReady, v.w.SourceFault)
	case v.c.candidate.Verdict == VerdictDeny:
		v.is(PhaseReady, promotion.PolicyDenied)
	default:
		v.is(PhaseReady, promotion.UpToDate)
	}
}

// holdsBack reports whether the hold is about a candidate.
func (v *verdict) holdsBack(c *Candidate) bool {
	hold := &v.e.Journal.Hold
	return hold.Reason != "" && c.Release.Digest == hold.Digest && on(guardHold)
}

// held reports whether the hold is about what is wanted now.
func (v *verdict) held() bool {
	hold := &v.e.Journal.Hold
	return hold.Reason != "" && v.c.wantedRelease().Digest == hold.Digest && on(guardHold)
}

// wait: a gate is closed, or there is nothing to run.
func (v *verdict) wait() {
	switch {
	case v.held():
		v.is(PhaseHeld, v.e.Journal.Hold.Reason)
	case v.w.SourceFault != "":
		v.is(PhaseWaiting, v.w.SourceFault)
	case v.w.Policy == "":
		v.is(PhaseWaiting, promotion.PolicyError)
	case v.still == promotion.HistoryRewritten:
		v.stays()
	case v.c.reason == promotion.Quarantined && v.revertComes():
		v.is(PhaseProgressing, promotion.Reverted)
	case v.c.reason != "":
		v.is(PhaseWaiting, v.c.reason)
		v.status.Until = v.c.until
	case v.e.Spec.Pinned && v.e.Spec.Pin == "":
		v.is(PhaseWaiting, promotion.WaitingForPromotion)
	default:
		v.is(PhaseWaiting, promotion.SourceUnavailable)
	}
}

// revertWait is how long a revert may take to be seen on the branch.
const revertWait = 10 * time.Minute

// revertComes reports whether what is wanted was taken back by a commit that
// is not on our line yet. One that is there already was overtaken: somebody
// brought the failed content back, and nothing is on its way. Nor is it when it
// should have been seen long ago: somebody rewrote the branch without it.
func (v *verdict) revertComes() bool {
	return v.e.Journal.LastRevert.Digest == v.c.wantedRelease().Digest && v.revertUnseen()
}

// revertUnseen reports whether our own revert is on its way to us.
func (v *verdict) revertUnseen() bool {
	last := &v.e.Journal.LastRevert
	if last.Commit == "" || slices.Contains(v.w.History, last.Commit) || !on(guardRevertSeen) {
		return false
	}
	over := last.At.Add(revertWait)
	if last.At.After(v.w.Now) || !over.After(v.w.Now) {
		return false
	}
	v.again = sooner(v.again, over)
	return true
}

// preempted reports whether a release other than the attempt's may be applied.
func (v *verdict) preempted() bool {
	return v.c.candidate != nil && !v.c.current && v.c.newest && v.w.SourceFault == "" && !v.holdsBack(v.c.candidate) &&
		v.c.candidate.Release.Digest != v.e.Journal.Attempt.Release.Digest
}

// unlessPreempted goes on with an effect that has been tried in vain only
// until there is something newer to run: a finalizer that never ends must not
// keep a fix away.
func (v *verdict) unlessPreempted(kind ActionKind, release Release, reason promotion.Reason) {
	if v.preempted() && v.e.Busy == ActionNone && (v.e.Journal.Retry.Tries > 0 || !on(guardFinish)) {
		v.apply(v.c.candidate)
		return
	}
	v.effect(kind, release, reason)
}

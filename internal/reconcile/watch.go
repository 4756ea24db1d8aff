package reconcile

import (
	"slices"
	"time"

	"chaperone.dev/chaperone/internal/promotion"
)

// decideBesideWatch decides as though nothing were being watched: a look at what
// passed keeps nothing else waiting, and is called off for it.
func (v *verdict) decideBesideWatch() {
	first, looking := len(v.d.Actions), v.e.Busy == ActionWatch
	if looking && on(guardWatchYields) {
		idle := *v.e
		idle.Busy = ActionNone
		v.e = &idle
	}
	v.decide()
	begins := slices.ContainsFunc(v.d.Actions[first:], func(a Action) bool { return a.Kind.effect() })
	switch {
	case looking && begins:
		kept := slices.DeleteFunc(v.d.Actions[first:], func(a Action) bool { return a.Kind.effect() })
		v.d.Actions = v.d.Actions[:first+len(kept)]
		v.act(ActionCancel, v.e.Journal.LastGood, v.status.Reason)
	case !looking && !begins && v.watches():
		v.lookAgain()
	}
	if alarm := v.e.Journal.Watched.Alarm; alarm != "" && v.status.Phase == PhaseReady && v.e.settled() && v.e.Journal.Watched.Digest == v.e.Journal.LastGood.Digest {
		v.status.Reason = alarm
	}
}

// watches reports whether what runs is to be looked at, and nothing keeps the
// daemon from doing anything.
func (v *verdict) watches() bool {
	unread := v.e.Fault == promotion.SourceUnavailable // its last valid file counts
	return v.e.Busy == ActionNone && (v.e.Fault == "" || unread) && !v.e.paused(v.w.Now) && !v.e.Moved && v.e.watchedNow(v.w.Now)
}

// lookAgain looks when it is time, first that long after it passed. A pause longer
// than any was set by a clock that ran ahead.
func (v *verdict) lookAgain() {
	at := v.e.Journal.Watched.Since.Add(v.e.Spec.Watch.Every)
	if v.e.WatchAt.After(at) {
		at = v.e.WatchAt
	}
	if at.After(v.w.Now) && at.Sub(v.w.Now) <= v.e.Spec.Watch.Every {
		v.again = sooner(v.again, at)
		return
	}
	v.act(ActionWatch, v.e.Journal.LastGood, promotion.Verifying)
}

// watchedNow: what runs is what passed, and not too long ago.
func (e *Environment) watchedNow(now time.Time) bool {
	w := &e.Journal.Watched
	return e.settled() && w.Digest == e.Journal.LastGood.Digest && now.Sub(w.Since) < e.Spec.Watch.For
}

// watch begins with a verification. Probes are looked at by the search.
func (j *Journal) watch(spec Spec, now time.Time) {
	a, before := &j.Attempt, j.LastGood
	if before.Digest == a.Release.Digest {
		before = j.Watched.Before
	}
	if j.forgetFailing(a.Release.Digest) {
		before = Release{} // it was not well when it was left
	}
	j.Watched = Watched{}
	if spec.Watch.For > 0 && !a.Probe {
		begun := a.Since
		if begun.IsZero() {
			begun = a.Started
		}
		j.Watched = Watched{Digest: a.Release.Digest, Begun: begun, Since: now, Before: before, Irreversible: a.Irreversible || j.Undo.Migrations != ""}
	}
}

// forgetFailing: what failed since it passed, and was not well again before
// something newer came, opens no gate downstream any more, and is not gone back to
// for a late failure.
func (j *Journal) forgetFailing(next Digest) bool {
	w := &j.Watched
	if w.Alarm != promotion.Regressed || w.Accepted || w.Digest == next || !on(guardForgotten) {
		return false
	}
	j.Verified = slices.DeleteFunc(slices.Clone(j.Verified), func(v Verified) bool { return v.Digest == w.Digest })
	return true
}

// watched takes done, failed, error, no-data and interrupted of what passed. Only
// what is tied to the release, soon after it passed, is taken for its fault; all
// else is told, and asked again.
func (e *Environment) watched(r Result, now time.Time) {
	w := &e.Journal.Watched
	e.WatchAt = now.Add(e.Spec.Watch.Every)
	if !e.settled() || w.Digest != r.Action.Release.Digest || w.Digest != e.Journal.LastGood.Digest {
		return
	}
	switch r.Outcome {
	case OutcomeDone:
		w.Alarm, w.Accepted = "", false
	case OutcomeFailed:
		if w.Alarm = promotion.Regressed; e.takesBack(r, now) {
			e.Journal.regress(r, now)
		}
	case OutcomeError, OutcomeNoData:
		if w.Alarm == "" {
			w.Alarm = r.Reason
		}
	}
}

// takesBack reports whether a late failure is a release's own, and soon enough.
func (e *Environment) takesBack(r Result, now time.Time) bool {
	w := &e.Journal.Watched
	late := now.Sub(w.Since)
	switch {
	case w.Before.Digest == "" || e.quarantined(w.Before.Digest):
		return false // there is nothing to go back to
	case !r.Tied && on(guardWatchTied):
		return false
	case (late < 0 || late > e.Spec.Watch.RevertWithin) && on(guardWatchSoon):
		return false
	case e.Spec.OnFailure != promotion.FailureRevert:
		return false
	}
	return !w.Irreversible
}

// Failing reports whether a release that passed here fails its checks since, and
// nobody has accepted that: until then it goes no further.
func (e *Environment) Failing(d Digest) bool {
	w := &e.Journal.Watched
	return d != "" && d == w.Digest && d == e.Journal.LastGood.Digest && w.Alarm == promotion.Regressed && !w.Accepted
}

// accept lets a release that fails since it passed go on downstream, until it is
// well. It is looked at again at once.
func (e *Environment) accept(d Digest) {
	if e.Failing(d) {
		e.Journal.Watched.Accepted, e.WatchAt = true, time.Time{}
	}
}

// regress is as though it had failed to begin with.
func (j *Journal) regress(r Result, now time.Time) {
	failed, w := j.LastGood, j.Watched
	j.LastGood, j.Watched = w.Before, Watched{}
	j.Attempt = Attempt{
		Release: failed, Stage: StageVerifying, Started: w.Begun, Regressed: w.Since, Found: now, Tied: r.Tied,
	}
	j.fail(promotion.VerificationFailed)
}

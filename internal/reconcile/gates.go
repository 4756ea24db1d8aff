package reconcile

import (
	"slices"
	"time"

	"chaperone.dev/chaperone/internal/promotion"
	"chaperone.dev/chaperone/internal/source"
)

// scheduleGrace is how long after a time of the schedule a release may still be
// started for it: the daemon may have been away, or upstream not done.
const scheduleGrace = time.Hour

// skew is how far ahead of ours another replica's clock may have been.
const skew = 5 * time.Minute

// gate answers why a candidate may not be applied, and until when; "" when it
// may. The first closed gate is the answer, from what the release is, over who
// agreed to it, to when it may start.
func gate(w *World, e *Environment, c *Candidate) (promotion.Reason, time.Time) {
	if reason := releaseGate(w, e, c); reason != "" {
		return reason, time.Time{}
	}
	if reason, until := upstreamGate(w, e, c); reason != "" {
		return reason, until
	}
	if reason := approvalGate(e, c); reason != "" {
		return reason, time.Time{}
	}
	return timeGate(w, e, c)
}

// releaseGate is about what the release is.
func releaseGate(w *World, e *Environment, c *Candidate) promotion.Reason {
	switch {
	case c.Fault != "":
		return c.Fault
	case c.Release.Digest == "":
		return promotion.RenderFailed
	case e.rewritten() && on(guardRewritten):
		return promotion.HistoryRewritten
	case e.quarantined(c.Release.Digest) && on(guardQuarantine):
		return promotion.Quarantined
	case c.Verdict == VerdictDeny && on(guardDeny):
		return promotion.PolicyDenied
	case c.Verdict != VerdictAllow && c.Verdict != VerdictDeny && on(guardVerdict):
		return promotion.PolicyError
	case w.Policy == "" && on(guardNoPolicy), c.Release.Policy != w.Policy && on(guardPolicyDigest):
		return promotion.PolicyError
	}
	return signatureGate(e, c)
}

// signatureGate is about what brought the release, so that it holds whatever
// else is agreed, and nothing is proposed that would have to wait there.
func signatureGate(e *Environment, c *Candidate) promotion.Reason {
	switch {
	case !e.Spec.Signed || c.Signed == SignedGood || !on(guardSigned):
		return ""
	case c.Signed == SignedUnknown:
		return promotion.SignersUnreadable
	}
	return promotion.SignatureRequired
}

// upstreamGate is open when every upstream environment verified what it would
// run at this very revision, and has run it for the soak time. What was
// verified here before had its upstream then: going back to it is no promotion.
func upstreamGate(w *World, e *Environment, c *Candidate) (promotion.Reason, time.Time) {
	if _, before := e.verifiedAt(c.Release.Digest); before || c.Override {
		return "", time.Time{}
	}
	return verifiedBefore(w, e, c)
}

// verifiedBefore is what upstream says, whatever this environment has run.
func verifiedBefore(w *World, e *Environment, c *Candidate) (promotion.Reason, time.Time) {
	var soaked time.Time
	for _, id := range e.Spec.After {
		at, verified := upstreamVerified(w, c, id)
		switch {
		case !verified && on(guardUpstream) && e.Spec.Pinned && c.Release.Revision == e.Spec.Pin:
			return promotion.UnverifiedRevision, time.Time{}
		case !verified && on(guardUpstream), failsUpstream(w, c, id) && on(guardRegressed):
			return promotion.WaitingForUpstream, time.Time{}
		}
		if until := at.Add(e.Spec.Soak); until.After(w.Now) && until.After(soaked) && on(guardSoak) {
			soaked = until
		}
		if !on(guardFanIn) {
			break
		}
	}
	if !soaked.IsZero() {
		return promotion.Soaking, soaked
	}
	return "", time.Time{}
}

func upstreamVerified(w *World, c *Candidate, id promotion.ID) (time.Time, bool) {
	upstream := w.find(id)
	if upstream == nil {
		return time.Time{}, false
	}
	for _, u := range c.Upstream {
		if u.ID == id && u.Digest != "" {
			return upstream.verifiedAt(u.Digest)
		}
	}
	return time.Time{}, false
}

// failsUpstream reports whether what passed in an upstream environment fails its
// checks there since.
func failsUpstream(w *World, c *Candidate, id promotion.ID) bool {
	upstream := w.find(id)
	return upstream != nil && slices.ContainsFunc(c.Upstream, func(u Upstream) bool { return u.ID == id && upstream.Failing(u.Digest) })
}

// approvalGate is about who has agreed.
func approvalGate(e *Environment, c *Candidate) promotion.Reason {
	switch {
	case c.Approval == ApprovalGiven:
		return ""
	case e.Spec.Approval && on(guardApproval):
		return promotion.ApprovalRequired
	case c.Irreversible && e.Spec.PHI && on(guardIrreversible):
		return promotion.IrreversibleUnapproved
	}
	return ""
}

// timeGate is about when a release may start. What was begun may be finished
// outside its windows, but not in a freeze.
func timeGate(w *World, e *Environment, c *Candidate) (promotion.Reason, time.Time) {
	if until, frozen := e.Spec.Calendar.Frozen(w.Now); frozen && on(guardFreeze) {
		return promotion.Frozen, until
	}
	a := &e.Journal.Attempt
	if a.Stage == StageApplying && a.Release.Digest == c.Release.Digest {
		return "", time.Time{}
	}
	if next, open := e.Spec.Calendar.Open(w.Now); !open && !c.Override && on(guardWindow) {
		return promotion.OutsideWindow, next
	}
	if next, due := e.due(w.Now, c); !due && on(guardSchedule) {
		return promotion.WaitingForSchedule, next
	}
	return "", time.Time{}
}

// due reports whether the schedule lets a candidate start, and when it will
// next. A time of the schedule starts one release; that one may be tried again.
// The probes of a search belong to the release that failed.
func (e *Environment) due(now time.Time, c *Candidate) (time.Time, bool) {
	last, next, scheduled := e.Spec.Calendar.Fired(now)
	if !scheduled || c.Urgent || e.Journal.Attempt.Stage == StageBisecting {
		return time.Time{}, true
	}
	run := &e.Journal.Run
	switch {
	case (last.IsZero() || now.Sub(last) >= scheduleGrace) && on(guardGrace):
		return next, false
	case run.At.Before(last) || run.At.After(now): // not served, or by a clock that ran ahead
		return time.Time{}, true
	}
	return next, run.Digest == c.Release.Digest || !on(guardOnce)
}

// choice is what an environment should run next.
type choice struct {
	wanted    *Candidate // the newest, whether its gates are open or not; nil while unknown
	candidate *Candidate // the newest with open gates, or the one that is last good; nil for none
	current   bool       // candidate is last good: there is nothing newer to run
	newest    bool       // candidate is wanted
	evaluate  source.Revision
	pending   bool             // evaluate has no verdict yet, and nothing older is looked at before
	reason    promotion.Reason // why wanted is not candidate
	until     time.Time
}

func (c *choice) wantedRelease() Release {
	if c.wanted == nil {
		return Release{}
	}
	return c.wanted.Release
}

// choose walks the revisions an environment could run, newest first, to the
// first that may run. It stops at one that is not evaluated yet: nothing older
// is taken before the newer one is known not to do.
func choose(w *World, e *Environment) choice {
	var c choice
	var buffer revisionBuffer
	lastGood := &e.Journal.LastGood
	failed := false
	for i, revision := range wantedRevisions(buffer[:0], w, e) {
		if failed && revision != lastGood.Revision && on(guardBetween) {
			continue // what lies between last good and what failed is suspect too
		}
		candidate, known := e.evaluated(revision, w)
		if !known {
			c.evaluate, c.pending = revision, true
			if c.reason == "" {
				c.reason = promotion.Evaluating
			}
			if on(guardPending) {
				return c
			}
			continue
		}
		if i == 0 {
			c.wanted = candidate
		}
		if candidate.Verdict == VerdictError && c.evaluate == "" {
			c.evaluate = revision // a rule that could not be asked may answer later
		}
		c.current = lastGood.Digest != "" && candidate.Release.Digest == lastGood.Digest
		if c.current && i == 0 {
			c.candidate, c.newest = candidate, true
			return c
		}
		reason, until := gate(w, e, candidate)
		failed = failed || reason == promotion.Quarantined
		if c.current || reason == "" {
			c.candidate, c.newest = candidate, i == 0
			return c
		}
		if i == 0 {
			c.reason, c.until = reason, until
		} else {
			c.until = sooner(c.until, until)
		}
	}
	return c
}

// sooner is the earlier of two times of which zero is never.
func sooner(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}

// verdictLasts bounds how far ahead a verdict can be believed: one that ends
// later was given by a clock that ran ahead.
const verdictLasts = 2 * time.Hour

// evaluated finds a candidate judged by the policies in force, against the
// last good of now, and not too long ago. Any other is as good as unknown.
func (e *Environment) evaluated(revision source.Revision, w *World) (*Candidate, bool) {
	for i := range e.Candidates {
		c := &e.Candidates[i]
		if c.Release.Revision != revision {
			continue
		}
		lastGood := e.Journal.LastGood.Digest
		fresh := c.Until.IsZero() || c.Until.After(w.Now) && c.Until.Sub(w.Now) <= verdictLasts
		compared := c.Since == lastGood || c.Release.Digest == lastGood || c.Fault != "" && c.Fault != promotion.StrategyImpossible
		judged := c.Release.Policy == w.Policy
		return c, (fresh || !on(guardFresh)) && (compared || !on(guardCompared)) && (judged || !on(guardPolicyDigest)) &&
			(c.Fault != "" || sameAround(w, c))
	}
	return nil, false
}

// sameAround reports whether the environments that the verdict looked at run
// what they did then.
func sameAround(w *World, c *Candidate) bool {
	for _, looked := range c.Looked {
		if e := w.find(looked.ID); e == nil || e.Journal.LastGood.Digest != looked.Digest {
			return false
		}
	}
	return true
}

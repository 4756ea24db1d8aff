package reconcile

import (
	"slices"
	"time"

	"chaperone.dev/chaperone/internal/promotion"
	"chaperone.dev/chaperone/internal/source"
)

// choice is what an environment should run next.
type choice struct {
	wanted    Candidate // the newest, whether its gates are open or not
	candidate Candidate // the newest with open gates, or the one that is last good
	found     bool      // candidate is set
	current   bool      // candidate is last good: there is nothing newer to run
	newest    bool      // candidate is wanted
	evaluate  source.Revision
	pending   bool             // evaluate has no verdict yet, and nothing older is looked at before
	reason    promotion.Reason // why wanted is not candidate
	until     time.Time
}

// choose walks the revisions an environment could run, newest first, to the
// first that may run. It stops at one that is not evaluated yet: nothing older
// is taken before the newer one is known not to do.
func choose(w World, e Environment) choice {
	var c choice
	failed := false
	for i, revision := range wantedRevisions(w, e) {
		if failed && revision != e.Journal.LastGood.Revision {
			continue // what lies between last good and what failed is suspect too
		}
		candidate, known := e.evaluated(revision, w)
		if !known {
			c.evaluate, c.pending = revision, true
			if c.reason == "" {
				c.reason = promotion.Evaluating
			}
			return c
		}
		if i == 0 {
			c.wanted = candidate
		}
		if candidate.Verdict == VerdictError {
			c.evaluate = revision // a rule that could not be asked may answer later
		}
		lastGood := e.Journal.LastGood.Digest
		c.current = lastGood != "" && candidate.Release.Digest == lastGood
		reason, until := gate(w, e, candidate)
		failed = failed || reason == promotion.Quarantined
		if c.current || reason == "" {
			c.candidate, c.found, c.newest = candidate, true, i == 0
			return c
		}
		if i == 0 {
			c.reason, c.until = reason, until
		} else if !until.IsZero() && (c.until.IsZero() || until.Before(c.until)) {
			c.until = until
		}
	}
	return c
}

// evaluated finds a candidate judged by the policies in force, and not too
// long ago. One judged by others is as good as unknown.
func (e Environment) evaluated(revision source.Revision, w World) (Candidate, bool) {
	for _, c := range e.Candidates {
		if c.Release.Revision == revision && c.Release.Policy == w.Policy {
			return c, c.Until.IsZero() || c.Until.After(w.Now)
		}
	}
	return Candidate{}, false
}

// wantedRevisions are those that an environment could run, newest first.
func wantedRevisions(w World, e Environment) []source.Revision {
	var revisions []source.Revision
	switch {
	case e.Spec.Pinned && e.Spec.Pin != "":
		revisions = []source.Revision{e.Spec.Pin}
	case e.Spec.Pinned || w.Head == "":
	case len(e.Spec.After) == 0:
		revisions = untilLastGood(w, e)
	default:
		revisions = upstreamRevisions(w, e)
	}
	// What was begun may be finished, and what is last good may stay and be put
	// right, whatever holds up the newer ones.
	if a := e.Journal.Attempt; a.Stage == StageApplying {
		revisions = append(revisions, a.Release.Revision)
	}
	if good := e.Journal.LastGood.Revision; good != "" {
		revisions = append(revisions, good)
	}
	return distinct(revisions)
}

// distinct keeps the first of each, in order.
func distinct(revisions []source.Revision) []source.Revision {
	kept := revisions[:0]
	for _, r := range revisions {
		if !slices.Contains(kept, r) {
			kept = append(kept, r)
		}
	}
	return kept
}

// untilLastGood is the branch's history that an environment has not verified.
func untilLastGood(w World, e Environment) []source.Revision {
	end := slices.Index(w.History, e.Journal.LastGood.Revision)
	switch {
	case end < 0 || e.Journal.LastGood.Revision == "":
		// Never verified, or verified on a history that is gone: only the newest
		// says anything about what is wanted now.
		return []source.Revision{w.Head}
	case end == 0:
		return []source.Revision{w.Head}
	}
	return slices.Clone(w.History[:end])
}

// upstreamRevisions are the head and what the upstream environments verified
// last, where that is newer than what this environment has.
func upstreamRevisions(w World, e Environment) []source.Revision {
	revisions := []source.Revision{w.Head}
	own := slices.Index(w.History, e.Journal.LastGood.Revision)
	for _, id := range e.Spec.After {
		upstream, found := w.Find(id)
		at := slices.Index(w.History, upstream.Journal.LastGood.Revision)
		if found && at > 0 && (own < 0 || at < own) {
			revisions = append(revisions, upstream.Journal.LastGood.Revision)
		}
	}
	slices.SortFunc(revisions, func(a, b source.Revision) int {
		return slices.Index(w.History, a) - slices.Index(w.History, b)
	})
	return revisions
}

// gate answers why a candidate may not be applied, and until when; "" when it may.
func gate(w World, e Environment, c Candidate) (promotion.Reason, time.Time) {
	switch {
	case c.Fault != "":
		return c.Fault, time.Time{}
	case c.Release.Digest == "":
		return promotion.RenderFailed, time.Time{}
	case e.quarantined(c.Release.Digest):
		return promotion.Quarantined, time.Time{}
	case c.Verdict == VerdictDeny:
		return promotion.PolicyDenied, time.Time{}
	case c.Verdict != VerdictAllow || w.Policy == "" || c.Release.Policy != w.Policy:
		return promotion.PolicyError, time.Time{}
	}
	return upstreamGate(w, e, c)
}

// upstreamGate is open when every upstream environment verified what it would
// run at this very revision, and has run it for the soak time.
func upstreamGate(w World, e Environment, c Candidate) (promotion.Reason, time.Time) {
	var soaked time.Time
	for _, id := range e.Spec.After {
		at, verified := upstreamVerified(w, c, id)
		if !verified {
			if e.Spec.Pinned {
				return promotion.UnverifiedRevision, time.Time{}
			}
			return promotion.WaitingForUpstream, time.Time{}
		}
		if until := at.Add(e.Spec.Soak); until.After(w.Now) && until.After(soaked) {
			soaked = until
		}
	}
	if !soaked.IsZero() {
		return promotion.Soaking, soaked
	}
	return "", time.Time{}
}

func upstreamVerified(w World, c Candidate, id promotion.ID) (time.Time, bool) {
	upstream, found := w.Find(id)
	if !found {
		return time.Time{}, false
	}
	for _, u := range c.Upstream {
		if u.ID == id && u.Digest != "" {
			return upstream.verifiedAt(u.Digest)
		}
	}
	return time.Time{}, false
}

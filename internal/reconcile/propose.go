package reconcile

import (
	"slices"
	"time"

	"chaperone.dev/chaperone/internal/promotion"
	"chaperone.dev/chaperone/internal/source"
)

// promotable is what could be promoted to an environment that a person pins.
type promotable struct {
	candidate *Candidate // nil for none
	evaluate  source.Revision
	asks      bool      // evaluate is known, and a rule was not to be asked
	unsure    bool      // something may come back: a rule errs, it soaks, upstream cannot be told
	until     time.Time // when something may come that soaks now
}

// promotable finds the newest revision after the pin that upstream verified,
// the policies allow, and that would change something here.
func (v *verdict) promotable() promotable {
	var p promotable
	e, w := v.e, v.w
	if !e.Spec.Proposes || w.SourceFault != "" || e.Fault != "" {
		return p
	}
	if e.Spec.Pin != "" && v.c.wanted == nil && on(guardPinKnown) {
		p.unsure = true // what the pin says is not known yet, so nobody can tell what would be new
		return p
	}
	var buffer revisionBuffer
	for _, revision := range upstreamRevisions(buffer[:0], w, e, e.Spec.Pin) {
		if revision == e.Spec.Pin {
			break
		}
		candidate, known := e.evaluated(revision, w)
		if !known {
			p.evaluate, p.asks = revision, false
			return p
		}
		if candidate.Verdict == VerdictError && p.evaluate == "" {
			p.evaluate, p.asks = revision, true
		}
		if candidate.Release.Digest != "" && candidate.Release.Digest == v.pinnedDigest() {
			return p // nothing that is not there
		}
		if reason := releaseGate(w, e, candidate); reason != "" && on(guardProposeRelease) {
			p.unsure = p.unsure || reason == promotion.PolicyError
			continue
		}
		reason, until := verifiedBefore(w, e, candidate)
		if reason == "" || !on(guardProposeUpstream) {
			p.candidate = candidate
			return p
		}
		p.until = sooner(p.until, until)
		p.unsure = p.unsure || reason == promotion.Soaking || !upstreamTold(w, e, candidate) || failsNow(w, e, candidate)
	}
	return p
}

// upstreamTold reports whether it is certain what upstream would run: its file
// is valid, and it rendered.
func upstreamTold(w *World, e *Environment, c *Candidate) bool {
	for _, id := range e.Spec.After {
		upstream := w.find(id)
		rendered := slices.ContainsFunc(c.Upstream, func(u Upstream) bool { return u.ID == id && u.Digest != "" })
		if upstream == nil || upstream.Fault != "" || !rendered {
			return false
		}
	}
	return true
}

// failsNow reports whether upstream verified a release that fails there since,
// which may pass.
func failsNow(w *World, e *Environment, c *Candidate) bool {
	return slices.ContainsFunc(e.Spec.After, func(id promotion.ID) bool { return failsUpstream(w, c, id) })
}

func (v *verdict) pinnedDigest() Digest {
	if v.e.Spec.Pin == "" {
		return ""
	}
	return v.c.wantedRelease().Digest
}

// propose keeps the promotion branch: pushed when there is something to
// promote, brought up to date, and withdrawn when it is obsolete.
func (v *verdict) propose() {
	if !v.e.Spec.Proposes || v.e.Busy != ActionNone || v.mayNotPropose() {
		return
	}
	proposal := &v.e.Journal.Proposal
	candidate := v.p.candidate
	switch {
	case candidate == nil && (v.p.evaluate != "" || v.p.unsure && on(guardUnsure) || proposal.Revision == ""):
		v.again = sooner(v.again, v.p.until)
		if proposal.Commit != "" || proposal.Refused != "" {
			v.proposed(v.openPromotion())
		}
	case candidate == nil:
		v.push(ActionWithdraw, Release{Revision: proposal.Revision, Digest: proposal.Digest})
		if proposal.Refused != "" {
			v.proposed(promotion.PromotionRejected)
		}
	case proposal.Revision == candidate.Release.Revision && proposal.File == v.e.Spec.File && proposal.Commit != "":
		v.proposed(promotion.WaitingForPromotion)
	case proposal.Digest == candidate.Release.Digest && proposal.File == v.e.Spec.File && proposal.Commit != "":
		v.proposed(promotion.WaitingForPromotion) // a newer commit with the same content
	default:
		v.push(ActionPropose, candidate.Release)
		v.proposed(v.openPromotion())
	}
}

// promoting: the promotion branch is being pushed, which changes nothing here.
func (v *verdict) promoting() {
	if v.c.candidate == nil || !v.c.current {
		v.wait()
	} else {
		v.quiet()
	}
	v.proposed(v.openPromotion())
}

// openPromotion is why a promotion that is not merged is not.
func (v *verdict) openPromotion() promotion.Reason {
	if v.e.Journal.Proposal.Refused != "" {
		return promotion.PromotionRejected
	}
	return promotion.WaitingForPromotion
}

// mayNotPropose: a hold, a freeze and a branch that cannot be read mean no
// promotion either.
func (v *verdict) mayNotPropose() bool {
	acting := slices.ContainsFunc(v.d.Actions, func(a Action) bool { return a.Environment == v.e.ID && a.Kind.effect() })
	held := v.e.Journal.Hold.Reason != "" && on(guardHeldProposal)
	return acting || held || v.e.Moved || v.revertUnseen() || v.still != "" || v.w.SourceFault != "" || v.w.Policy == ""
}

func (v *verdict) push(kind ActionKind, release Release) {
	if v.postponed(v.e.Journal.Proposal.Again) {
		return
	}
	v.act(kind, release, promotion.WaitingForPromotion)
}

// proposed tells of the proposal where nothing is more urgent to tell.
func (v *verdict) proposed(reason promotion.Reason) {
	if v.status.Reason == promotion.UpToDate || v.status.Reason == promotion.WaitingForPromotion {
		v.status.Reason = reason
	}
}

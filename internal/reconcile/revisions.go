package reconcile

import (
	"slices"

	"chaperone.dev/chaperone/internal/source"
)

// maxRevisions bounds the history that is looked at.
const maxRevisions = 66

// revisionBuffer keeps a pass over thousands of environments from allocating.
type revisionBuffer [maxRevisions]source.Revision

// wantedRevisions are those that an environment could run, newest first.
func wantedRevisions(into []source.Revision, w *World, e *Environment) []source.Revision {
	switch {
	case e.Spec.Pinned && e.Spec.Pin != "":
		into = append(into, e.Spec.Pin)
	case e.Spec.Pinned || w.Head == "":
	case len(e.Spec.After) == 0:
		into = untilLastGood(into, w, e)
	default:
		into = upstreamRevisions(into, w, e, e.Journal.LastGood.Revision)
	}
	// What was begun may be finished, and what is last good may stay and be put
	// right, whatever holds up the newer ones.
	if a := &e.Journal.Attempt; a.Stage == StageApplying {
		into = add(into, a.Release.Revision)
	}
	if good := e.Journal.LastGood.Revision; good != "" {
		into = add(into, good)
	}
	return into
}

// add appends what is not there yet.
func add(revisions []source.Revision, r source.Revision) []source.Revision {
	if slices.Contains(revisions, r) {
		return revisions
	}
	return append(revisions, r)
}

// untilLastGood is the branch's history that an environment has not verified.
func untilLastGood(into []source.Revision, w *World, e *Environment) []source.Revision {
	end := slices.Index(w.History, e.Journal.LastGood.Revision)
	if end <= 0 || e.Journal.LastGood.Revision == "" {
		// Never verified, or verified on a history that is gone: only the newest
		// says anything about what is wanted now.
		return append(into, w.Head)
	}
	return append(into, w.History[:min(end, maxRevisions-2)]...)
}

// upstreamRevisions are the head and what the upstream environments verified
// after the commit that this environment has.
func upstreamRevisions(into []source.Revision, w *World, e *Environment, has source.Revision) []source.Revision {
	end := slices.Index(w.History, has)
	if end < 0 || has == "" {
		end = len(w.History)
	}
	into = append(into, w.Head)
	for _, revision := range w.History[min(1, end):end] {
		if len(into) < maxRevisions-2 && verifiedUpstream(w, e, revision) {
			into = append(into, revision)
		}
	}
	return into
}

func verifiedUpstream(w *World, e *Environment, revision source.Revision) bool {
	for _, id := range e.Spec.After {
		upstream := w.find(id)
		if upstream == nil {
			continue
		}
		for i := range upstream.Journal.Verified {
			if upstream.Journal.Verified[i].Revision == revision {
				return true
			}
		}
	}
	return false
}

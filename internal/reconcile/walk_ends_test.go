package reconcile

import (
	"maps"
	"slices"
	"strings"

	"chaperone.dev/chaperone/internal/promotion"
	"chaperone.dev/chaperone/internal/source"
)

// end is one way in which an action ends, and the world in which it leaves what
// is outside.
type end struct {
	outside
	result  Result
	touched bool // something outside is another than before: a crash then is one more world
}

// ends are the ways in which an action may end here. The first is the one in
// which nothing goes wrong.
func (o *outside) ends(into []end, a *Action) []end {
	switch a.Kind {
	case ActionEvaluate:
		return append(into, o.evaluated(a))
	case ActionVerify:
		return o.verify(into, a)
	case ActionWatch:
		return o.watch(into, a)
	case ActionApply, ActionRestore, ActionCorrect:
		return o.place(into, a)
	case ActionUndo:
		return o.undo(into, a)
	case ActionPrune:
		return append(into, o.ended(a, OutcomeDone, ""), o.accident(a, OutcomeRetry, promotion.ClusterUnavailable))
	}
	if o.SourceFault != "" && (a.Kind == ActionBlame || a.Kind == ActionRevert || a.Kind == ActionPropose || a.Kind == ActionWithdraw) {
		return append(into, o.ended(a, OutcomeRetry, promotion.SourceUnavailable))
	}
	switch a.Kind {
	case ActionBlame:
		return append(into, o.blame(a), o.accident(a, OutcomeRetry, promotion.SourceUnavailable))
	case ActionRevert:
		return o.revert(into, a)
	case ActionPropose, ActionWithdraw:
		return o.propose(into, a)
	case ActionMove:
		moved, t := o.with(o.number(a.Environment))
		t.cluster, t.checked, t.passed, t.failed = "", "", nil, nil
		return append(into, moved.ended(a, OutcomeDone, ""))
	}
	return append(into, o.ended(a, OutcomeDone, ""))
}

func (o outside) ended(a *Action, outcome Outcome, reason promotion.Reason) end {
	return end{outside: o, result: Result{Action: *a, Outcome: outcome, Reason: reason}}
}

// accident ends an action badly, which uses adversity up.
func (o outside) accident(a *Action, outcome Outcome, reason promotion.Reason) end {
	o.adversity--
	return o.ended(a, outcome, reason)
}

func (o outside) evaluated(a *Action) end {
	if o.Head == "" { // a new pod, without a mirror to read from
		return o.ended(a, OutcomeRetry, promotion.SourceUnavailable)
	}
	r := o.ended(a, OutcomeDone, "")
	i := o.number(a.Environment)
	r.result.Candidate = o.candidate(i, a.Release.Revision)
	return r
}

func (o *outside) candidate(i int, revision source.Revision) Candidate {
	e := &o.Environments[i]
	c := Candidate{Release: Release{Revision: revision, Policy: o.Policy}, Since: e.Journal.LastGood.Digest}
	at := o.at(revision)
	if at < 0 {
		c.Fault = promotion.UnknownRevision
		return c
	}
	commit := o.branch[at]
	c.Release.Digest = commit.digests[i]
	if c.Release.Digest == "" {
		c.Fault = promotion.RenderFailed
		return c
	}
	c.Verdict, c.Urgent = o.judge(c.Release.Digest), commit.says.urgent
	if c.Signed = SignedGood; strings.Contains(string(c.Release.Digest), unsignedWord) {
		c.Signed = SignedMissing
	}
	c.Irreversible = o.irreversible(i, c.Release.Digest)
	c.Course = o.course(i, c.Release.Digest)
	c.Migrations = migrating(e.Journal.LastGood.Digest, c.Release.Digest)
	if mover := o.mover(i, revision, o.seen); mover != nil {
		c.Override = mover.says.override
		if !mover.says.unapproved {
			c.Approval = ApprovalGiven
		}
	}
	for _, id := range e.Spec.After {
		c.Upstream = append(c.Upstream, Upstream{ID: id, Digest: commit.digests[o.number(id)]})
	}
	return c
}

func (o *outside) irreversible(i int, d Digest) bool {
	lastGood := o.Environments[i].Journal.LastGood.Digest
	return lastGood != "" && strings.Contains(string(d), bigWord) && !strings.Contains(string(lastGood), bigWord)
}

// mover is the newest commit that moved a pin to where it is; of those that
// the daemon has seen, or of all. A property narrows it down.
func (o *outside) mover(i int, revision source.Revision, counts func(*commit) bool) *commit {
	name := o.Environments[i].ID.Name
	for k := len(o.branch) - 1; k >= 0 && o.Environments[i].Spec.Pinned; k-- {
		moved := k == 0 || o.branch[k-1].pins[name] != o.branch[k].pins[name]
		if moved && o.branch[k].pins[name] == revision && counts(o.branch[k]) {
			return o.branch[k]
		}
	}
	return nil
}

func anyCommit(*commit) bool { return true }

func (o *outside) seen(c *commit) bool { return slices.Contains(o.History, c.revision) }

// place puts a release on a cluster.
func (o *outside) place(into []end, a *Action) []end {
	digest := a.Release.Digest
	if a.Kind != ActionApply {
		digest = a.LastGood.Digest
	}
	i := o.number(a.Environment)
	if a.Kind == ActionCorrect && o.Environments[i].Journal.Attempt.Stage == StagePruning {
		// What stands there passed, but for what drifted, which is put back or not.
		return append(into, o.ended(a, OutcomeDone, ""), o.accident(a, OutcomeRetry, promotion.ClusterUnavailable),
			o.accident(a, OutcomeFailed, promotion.ApplyFailed))
	}
	all, t := o.with(i)
	t.cluster, t.checked = digest, ""
	half, h := o.with(i)
	h.cluster, h.checked = part, ""
	before := t.progress
	if t.progress, h.progress = (progress{}), (progress{}); a.Kind == ActionApply {
		t.progress = before
		t.progress.put(a)
		h.progress = t.progress
		t.schema = t.schema.and(migrationsIn(digest))
		h.schema = t.schema
	}
	done, lost := all.ended(a, OutcomeDone, ""), half.accident(a, OutcomeRetry, promotion.ClusterUnavailable)
	done.touched, lost.touched = true, true
	into = append(into, done, lost)
	if a.Kind == ActionRestore {
		return append(into, half.accident(a, OutcomeFailed, promotion.RestoreFailed))
	}
	return append(into, o.accident(a, OutcomeRejected, promotion.ApplyRejected), half.accident(a, OutcomeFailed, promotion.ApplyFailed))
}

func (o *outside) verify(into []end, a *Action) []end {
	verdict := o.ended(a, OutcomeDone, "")
	if badIn(a.Release.Digest, a.Environment.Name) && showsAt(a) || o.outage {
		verdict = o.ended(a, OutcomeFailed, promotion.VerificationFailed)
	}
	into = append(into, verdict)
	if verdict.result.Outcome == OutcomeDone {
		verdict.result.Pruned = true // there was nothing to prune
		into = append(into, verdict)
	}
	return append(into,
		o.accident(a, OutcomeError, promotion.VerificationError),
		o.accident(a, OutcomeNoData, promotion.VerificationNoData),
		o.accident(a, OutcomeInterrupted, ""))
}

// watch is a look at what passed. Where everything fails, so does what no release
// changed, and nobody can tell.
func (o *outside) watch(into []end, a *Action) []end {
	well, unknown := o.ended(a, OutcomeDone, ""), o.ended(a, OutcomeError, promotion.VerificationError)
	if o.outage {
		return append(into, unknown)
	}
	if strings.Contains(string(a.Release.Digest), lateWord) {
		tied := o.ended(a, OutcomeFailed, promotion.VerificationFailed)
		tied.result.Tied = true
		into = append(into, tied)
	}
	return append(into, well, o.accident(a, OutcomeFailed, promotion.Regressed), o.accident(a, OutcomeNoData, promotion.VerificationNoData),
		o.accident(a, OutcomeInterrupted, ""))
}

// blame is what the adapter promises: the commits that changed what the
// environment renders to; of a pinned one, the commit that moved the pin.
func (o *outside) blame(a *Action) end {
	i := o.number(a.Environment)
	done := o.ended(a, OutcomeDone, "")
	from, to := o.at(a.LastGood.Revision), o.at(a.Release.Revision)
	switch {
	case o.Environments[i].Spec.Pinned:
		if mover := o.mover(i, a.Release.Revision, anyCommit); mover != nil {
			done.result.Suspects = []Suspect{{Revision: mover.revision, Digest: a.Release.Digest}}
		}
		return done
	case from < 0 || to < 0:
		return o.ended(a, OutcomeFailed, promotion.HistoryRewritten)
	}
	for k := from + 1; k <= to; k++ {
		if d := o.branch[k].digests[i]; d != o.branch[k-1].digests[i] {
			done.result.Suspects = append(done.result.Suspects, Suspect{Revision: o.branch[k].revision, Digest: d})
		}
	}
	return done
}

// revert is what the adapter promises: an earlier revert is looked for first, a
// revert is never reverted, conflicts are found. An answer may be lost after
// the push.
func (o *outside) revert(into []end, a *Action) []end {
	guilty := o.at(a.Guilty)
	switch {
	case guilty < 0:
		return append(into, o.ended(a, OutcomeRejected, promotion.RevertRejected))
	case o.branch[guilty].guilty != "":
		return append(into, o.ended(a, OutcomeFailed, promotion.RevertOfRevert))
	}
	for _, c := range o.branch {
		if c.guilty == a.Guilty {
			already := o.ended(a, OutcomeAlready, "")
			already.result.Commit = c.revision
			return append(into, already)
		}
	}
	files, conflict := takenBack(o.tip().files, o.branch[guilty].files, o.branch[max(0, guilty-1)].files)
	pins, moved := takenBack(o.tip().pins, o.branch[guilty].pins, o.branch[max(0, guilty-1)].pins)
	if conflict || moved {
		return append(into, o.ended(a, OutcomeConflict, promotion.RevertConflict))
	}
	if maps.Equal(files, o.tip().files) && maps.Equal(pins, o.tip().pins) {
		return append(into, o.ended(a, OutcomeAlready, ""))
	}
	pushed := o.push(commit{files: files, pins: pins, guilty: a.Guilty})
	done, lost := pushed.ended(a, OutcomeDone, ""), pushed.accident(a, OutcomeRetry, promotion.SourceUnavailable)
	done.result.Commit, done.touched = pushed.tip().revision, true
	return append(into, done, lost, o.accident(a, OutcomeRejected, promotion.RevertRejected))
}

// takenBack merges what is now with what was before a commit.
func takenBack[T comparable](now, did, before map[string]T) (merged map[string]T, conflict bool) {
	merged = maps.Clone(now)
	for name := range now {
		was, had := before[name]
		switch {
		case did[name] == was:
		case now[name] == did[name] && !had:
			delete(merged, name)
		case now[name] == did[name]:
			merged[name] = was
		case now[name] != was:
			conflict = true
		}
	}
	return merged, conflict
}

func (o *outside) propose(into []end, a *Action) []end {
	pushed, t := o.with(o.number(a.Environment))
	done := pushed.ended(a, OutcomeDone, "")
	if t.proposal = a.Release.Revision; a.Kind == ActionWithdraw {
		t.proposal = ""
	} else {
		done.result.Commit = "proposal-" + a.Release.Revision
	}
	done.touched = true
	if a.Kind == ActionPropose && slices.Index(o.tip().history, a.Release.Revision) < 0 {
		return append(into, o.ended(a, OutcomeRejected, promotion.PromotionRejected))
	}
	return append(into, done, pushed.accident(a, OutcomeRetry, promotion.PromotionRejected),
		o.accident(a, OutcomeRejected, promotion.PromotionRejected))
}

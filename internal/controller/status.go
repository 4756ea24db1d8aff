package controller

import (
	"context"
	"fmt"
	"strings"
	"time"

	"chaperone.dev/chaperone/internal/policy"
	"chaperone.dev/chaperone/internal/promotion"
	"chaperone.dev/chaperone/internal/reconcile"
	"chaperone.dev/chaperone/internal/source"
	"chaperone.dev/chaperone/internal/state"
)

// publish makes what was decided visible: the view for pages and metrics, and
// for each environment whose status changed, its record, a log line and an Event.
func (c *Controller) publish(ctx context.Context, d reconcile.Decision) {
	view := View{
		At: c.world.Now, Head: c.world.Head, SourceFault: c.world.SourceFault, SourceDetail: c.sourceDetail,
		Polled: c.polled, Policy: c.world.Policy,
	}
	for i, status := range d.Statuses {
		world := c.world.Environments[i]
		e := c.environment(status.Environment)
		if e.onlyGlances(status, c.world.Now) {
			view.Environments = append(view.Environments, c.glanced(e, world, status))
			continue
		}
		message := e.besides(world, status, c.sentence(world, e, status, d))
		changed := status.Reason != e.status.Reason || e.since.IsZero()
		if changed {
			e.since = c.world.Now
			if e.foretold != nil {
				e.since = e.foretold.since
			}
		}
		if e.worthTelling(status, changed) {
			c.announce(ctx, status.Environment, status, message)
		}
		if now := (shown{status, message, e.since, e.file, e.excepted, e.drill}); e.worthStoring(now) {
			c.saveStatus(ctx, world, e, now, storesStatus(d, status.Environment))
		}
		e.status, e.message, e.exceptedShown, e.drillShown, e.foretold = status, message, e.excepted, e.drill, nil
		view.Environments = append(view.Environments, EnvironmentView{
			ID: status.Environment, Status: status, Message: message, Since: e.since, Journal: world.Journal, Excepted: e.excepted,
			Drill: e.drill, Movers: e.movedTo(status.Wanted.Revision, world.Journal.Attempt.Release.Revision),
		})
	}
	if c.pulls != nil {
		c.pulls.offer(view)
	}
	c.withdrawOffers(ctx, view)
	c.Telemetry.Published(view)
}

func sameCountdown(a, b *policy.Countdown) bool {
	if a == nil || b == nil {
		return a == b
	}
	return a.Exception == b.Exception && a.Rule == b.Rule && a.Expires.Equal(b.Expires)
}

// glance is how long an evaluation may take before it is worth telling: every
// commit has every environment looked at, and most of them stay as they are.
const glance = 2 * time.Second

// glanced is an environment as it was before a look at a new commit; one that is
// new has not been anything.
func (c *Controller) glanced(e *environment, world reconcile.Environment, status reconcile.Status) EnvironmentView {
	view := EnvironmentView{ID: world.ID, Status: e.status, Message: e.message, Since: e.since, Journal: world.Journal, Excepted: e.excepted, Drill: e.drill}
	if e.status.Reason == "" {
		view.Status, view.Message, view.Since = status, status.Reason.Explain(), e.glancing
	}
	return view
}

// onlyGlances reports whether a status is just a short look at a new commit.
func (e *environment) onlyGlances(status reconcile.Status, now time.Time) bool {
	if status.Reason != promotion.Evaluating {
		e.glancing = time.Time{}
		return false
	}
	if e.glancing.IsZero() {
		e.glancing = now
	}
	return now.Sub(e.glancing) < glance
}

// worthTelling reports whether operators are told. A prune that gets on is over in
// a moment, and what comes of it is told; one that is held up is told of.
func (e *environment) worthTelling(status reconcile.Status, changed bool) bool {
	brief := status.Reason == promotion.Pruning && status.Phase == reconcile.PhaseProgressing
	tell := !brief && (changed || e.untold)
	e.untold = brief && (changed || e.untold)
	return tell
}

// visible is what of a status is worth a write.
func visible(s reconcile.Status) reconcile.Status {
	return reconcile.Status{Environment: s.Environment, Phase: s.Phase, Reason: s.Reason, Wanted: s.Wanted}
}

// begins is the effect that a decision begins on an environment.
func begins(d reconcile.Decision, id promotion.ID) reconcile.ActionKind {
	for _, a := range d.Actions {
		if a.Environment == id && a.Kind != reconcile.ActionEvaluate && a.Kind != reconcile.ActionCancel {
			return a.Kind
		}
	}
	return reconcile.ActionNone
}

// storesStatus reports whether what a decision begins writes the journal at
// once, and the status with it: every commit advances every environment that it
// leaves as it is, and one write for each is enough.
func storesStatus(d reconcile.Decision, id promotion.ID) bool {
	switch begins(d, id) {
	case reconcile.ActionNone, reconcile.ActionVerify, reconcile.ActionWatch, reconcile.ActionBlame:
		return false
	}
	return true
}

// saveStatus writes a status beside the journal: with whatever is written next,
// or by itself.
func (c *Controller) saveStatus(ctx context.Context, world reconcile.Environment, e *environment, s shown, carried bool) {
	if e.recorder == nil {
		e.recorder = c.newRecorder(state.Record{ID: world.ID})
	}
	recorder := e.recorder
	if !recorder.show(s, carried) {
		return
	}
	c.spawn(func() {
		if rival, _ := recorder.flush(ctx); rival { // an error is the end of ctx
			c.refresh(ctx, world.ID, recorder.latest())
		}
	})
}

// refresh takes over what another writer stored, unless an effect is under
// way: that finds out by itself.
func (c *Controller) refresh(ctx context.Context, id promotion.ID, record state.Record) {
	c.post(ctx, func() {
		c.change(id, func(e *reconcile.Environment) {
			if e.Busy == reconcile.ActionNone {
				e.Journal = record.Journal
			}
		})
		c.environment(id).seen(record)
	})
}

// seen takes note of what is stored, so that what differs from it is stored
// again.
func (e *environment) seen(record state.Record) {
	e.status, e.message, e.foretold = record.Status, record.Message, nil
	if record.Evidence != "" {
		e.notes[promotion.VerificationFailed] = record.Evidence
	}
}

// sentence says for people what a status means in this case.
func (c *Controller) sentence(world reconcile.Environment, e *environment, status reconcile.Status, d reconcile.Decision) string {
	switch status.Reason {
	case promotion.PolicyDenied, promotion.PolicyError, promotion.RenderFailed, promotion.EmptyRender, promotion.StrategyImpossible, promotion.UnknownRevision:
		if problem := e.problems[status.Wanted.Revision]; problem != "" {
			return problem
		}
	case promotion.UnverifiedRevision:
		return strings.Join(filled(c.waitingFor(world, status, d), e.problems[status.Wanted.Revision]), "; ")
	case promotion.WaitingForUpstream:
		return c.waitingFor(world, status, d)
	case promotion.SourceUnavailable, promotion.BranchGone:
		if c.sourceDetail != "" {
			return c.sourceDetail
		}
	case promotion.ApprovalRequired, promotion.IrreversibleUnapproved, promotion.SignatureRequired, promotion.SignersUnreadable:
		if problem := e.problems[status.Wanted.Revision]; problem != "" {
			return problem
		}
	case promotion.WaitingForPromotion:
		return c.proposal(world, e)
	case promotion.Bisecting:
		return searching(world.Journal)
	case promotion.Frozen, promotion.OutsideWindow, promotion.WaitingForSchedule, promotion.Soaking:
		return until(status)
	case promotion.TooManyReverts:
		return fmt.Sprintf("%s It reverted %d times within a day, and at most %d are allowed.", status.Reason.Explain(),
			len(world.Journal.Reverts), world.Spec.MaxReverts)
	case promotion.UpToDate:
		runs := world.Journal.LastGood.Revision
		if begins(d, status.Environment) == reconcile.ActionAdvance {
			runs = status.Wanted.Revision
		}
		return fmt.Sprintf("runs %s, verified", runs.Short())
	case promotion.Applying, promotion.Verifying, promotion.Pruning:
		if note := e.notes[status.Reason]; note != "" && status.Phase == reconcile.PhaseWaiting {
			return note // tried in vain
		}
		revision := world.Journal.Attempt.Release.Revision
		if revision == "" {
			revision = status.Wanted.Revision
		}
		return fmt.Sprintf("%s %s%s", strings.ToLower(string(status.Reason)), revision.Short(), e.stepText(world.Journal.Attempt))
	case promotion.Reverted:
		return reverted(world.Journal.LastRevert)
	case promotion.RollingBack, promotion.Restoring, promotion.Reverting, promotion.Quarantined, promotion.NoLastGood, promotion.RevertDisabled:
		if evidence := e.notes[promotion.VerificationFailed]; evidence != "" {
			return status.Reason.Explain() + " " + evidence
		}
	}
	if note := e.notes[status.Reason]; note != "" {
		return refusedBefore(world, status) + note
	}
	return status.Reason.Explain()
}

// refusedBefore names the release that was refused where that is not the one wanted:
// it may run, and what is newer may not yet.
func refusedBefore(world reconcile.Environment, status reconcile.Status) string {
	retry := &world.Journal.Retry
	if retry.Tries == 0 || retry.Reason != status.Reason || retry.Digest == status.Wanted.Digest ||
		status.Wanted.Revision == "" || world.Journal.Attempt.Stage != reconcile.StageNone {
		return ""
	}
	for _, candidate := range world.Candidates {
		if candidate.Release.Digest == retry.Digest {
			return fmt.Sprintf("%s, the newest that may run before %s: ", candidate.Release.Revision.Short(), status.Wanted.Revision.Short())
		}
	}
	return ""
}

// besides tells of drift where a prune that waits is the reason that people see,
// and that it cannot be looked for where anything else is.
func (e *environment) besides(world reconcile.Environment, status reconcile.Status, message string) string {
	told := []string{message}
	if j := &world.Journal; j.Attempt.Stage == reconcile.StagePruning && j.Retry.Tries > 0 {
		if world.Drifted && status.Reason != promotion.Drifted {
			told = append(told, e.notes[promotion.Drifted])
		}
		if world.Contended {
			told = append(told, e.notes[promotion.Contended])
		}
	}
	if world.Blind != "" && status.Reason != world.Blind && world.Rests() {
		told = append(told, e.notes[world.Blind])
	}
	told = append(told, e.unrestorable(world))
	return strings.Join(filled(told...), "; ")
}

// proposal says what could be promoted, and how.
func (c *Controller) proposal(world reconcile.Environment, e *environment) string {
	p := world.Journal.Proposal
	switch {
	case p.Commit != "":
		text := fmt.Sprintf("%s is verified upstream; merge %s to promote it", p.Revision.Short(),
			e.pull.of(p.Commit, source.PromotionBranch(world.ID.String())))
		if running := world.Journal.LastGood.Revision; running != "" {
			text += fmt.Sprintf(" (it runs %s)", running.Short())
		}
		return text
	case p.Revision != "":
		return fmt.Sprintf("%s is verified upstream; its promotion branch is being pushed", p.Revision.Short())
	case world.Journal.LastGood.Revision != "":
		return fmt.Sprintf("a newer release is verified upstream; its promotion branch is being pushed (it runs %s)",
			world.Journal.LastGood.Revision.Short())
	}
	return promotion.WaitingForPromotion.Explain()
}

// searching says how far the search for the guilty commit is.
func searching(j reconcile.Journal) string {
	left := len(j.SuspectsLeft())
	if j.Attempt.Probe {
		return fmt.Sprintf("one of %d commits broke this; %s is deployed to find out which", left, j.Attempt.Release.Revision.Short())
	}
	return fmt.Sprintf("one of %d commits broke this; the next to deploy is being chosen", left)
}

// until says when a reason passes by itself.
func until(status reconcile.Status) string {
	if status.Until.IsZero() {
		return status.Reason.Explain()
	}
	return fmt.Sprintf("%s That ends at %s.", status.Reason.Explain(), status.Until.UTC().Format(time.RFC3339))
}

func reverted(r reconcile.Revert) string {
	if r.Commit == "" {
		return fmt.Sprintf("%s failed verification; it had been taken back already", r.Guilty.Short())
	}
	return fmt.Sprintf("%s failed verification and was taken back by %s", r.Guilty.Short(), r.Commit.Short())
}

// failing tells of an upstream environment in which what it verified fails since.
func (c *Controller) failing(id promotion.ID) string {
	text := fmt.Sprintf("in %s it passed, and fails its checks since (%s)", id, promotion.Regressed)
	if note := c.environment(id).notes[promotion.Regressed]; note != "" {
		text += ": " + note
	}
	return text + fmt.Sprintf("; `chaperone retry %s` lets it go on all the same", id)
}

// waitingFor names the upstream environments that have not verified what is
// wanted, and where they are.
func (c *Controller) waitingFor(world reconcile.Environment, status reconcile.Status, d reconcile.Decision) string {
	upstream := map[promotion.ID]reconcile.Status{}
	for _, s := range d.Statuses {
		upstream[s.Environment] = s
	}
	var waits []string
	how := "well in"
	for _, id := range world.Spec.After {
		s, found := upstream[id]
		if !found {
			waits, how = append(waits, fmt.Sprintf("%s does not exist", id)), "verified by"
			continue
		}
		if shown := c.environment(id).status; s.Reason == promotion.Evaluating && shown.Reason != "" {
			s = shown // a look at a new commit says nothing about it
		}
		before, _ := c.world.Find(id)
		if before.Failing(before.Journal.LastGood.Digest) {
			waits = append(waits, c.failing(id))
			continue
		}
		if s.Reason != promotion.UpToDate || before.Journal.LastGood.Revision != status.Wanted.Revision {
			waits, how = append(waits, fmt.Sprintf("%s is %s (%s)", id, s.Phase, s.Reason)), "verified by"
		}
	}
	return fmt.Sprintf("%s is not %s every environment before this one: %s",
		status.Wanted.Revision.Short(), how, strings.Join(waits, ", "))
}

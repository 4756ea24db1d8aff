package cli

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"chaperone.dev/chaperone/internal/promotion"
	"chaperone.dev/chaperone/internal/reconcile"
	"chaperone.dev/chaperone/internal/source"
	"chaperone.dev/chaperone/internal/state"
)

// arriving is the question about one environment.
type arriving struct {
	*tracer
	env      promotion.Environment
	record   state.Record
	target   source.Revision
	movesPin bool
	before   map[promotion.ID]arrival
}

// arrive says how far the commit has come in an environment; before holds the
// answers of those upstream.
func (t *tracer) arrive(ctx context.Context, env promotion.Environment, before map[promotion.ID]arrival) (arrival, error) {
	i := slices.IndexFunc(t.records, func(r state.Record) bool { return r.ID == env.ID })
	if i < 0 {
		return arrival{Environment: env.ID.String(), State: arrivalUnknown, Message: "the daemon does not know this environment yet"}, nil
	}
	if t.records[i].Unreadable != nil {
		return arrival{Environment: env.ID.String(), State: arrivalUnknown, Reason: string(promotion.UnreadableRecord),
			Message: t.records[i].Unreadable.Error(), Unblock: promotion.UnreadableRecord.Unblock()}, nil
	}
	a := arriving{tracer: t, env: env, record: t.records[i], before: before}
	var err error
	if a.target, a.movesPin, err = t.target(env); err != nil {
		return arrival{}, err
	}
	answer, err := a.answer(ctx)
	if errors.Is(err, errBehind) {
		answer, err = a.is(arrivalUnknown, "%v", err), nil
	}
	if a.movesPin {
		answer.MovesPinTo = a.target
	}
	return answer, err
}

func (a *arriving) is(state arrivalState, format string, args ...any) arrival {
	answer := arrival{Environment: a.env.ID.String(), State: state, Phase: a.record.Status.Phase, Message: fmt.Sprintf(format, args...)}
	if a.movesPin {
		answer.Message = fmt.Sprintf("moves the pin to %s: %s", a.target.Short(), answer.Message)
	}
	return answer
}

// because adds the environment's own reason.
func (a *arriving) because(answer arrival) arrival {
	reason := a.record.Status.Reason
	answer.Reason, answer.Since, answer.Unblock = string(reason), a.record.Since, reason.Unblock()
	return answer
}

// answer goes from what is certain to what is still to come.
func (a *arriving) answer(ctx context.Context) (arrival, error) {
	for _, ask := range []func(context.Context) (arrival, bool, error){a.absent, a.unchanged, a.here, a.underway, a.takenBack, a.failed} {
		if answer, certain, err := ask(ctx); certain || err != nil {
			return answer, err
		}
	}
	return a.waiting(ctx)
}

func (a *arriving) absent(ctx context.Context) (arrival, bool, error) {
	if a.clone == nil || a.onBranch {
		return arrival{}, false, nil
	}
	running := a.record.Journal.Running.Revision
	if has, err := a.has(ctx, a.target, running); has || err != nil {
		return a.because(a.is(arrivalAbsent, "runs it (%s), and it is no commit of %s any more", running.Short(), a.branch)), err == nil, err
	}
	return a.is(arrivalAbsent, "is no commit of %s; it comes nowhere before it is merged there", a.branch), true, nil
}

func (a *arriving) unchanged(ctx context.Context) (arrival, bool, error) {
	if a.clone == nil || a.movesPin {
		return arrival{}, false, nil
	}
	changes, err := a.changes(ctx, a.env, a.commit)
	if changes || err != nil {
		return arrival{}, false, err
	}
	return a.is(arrivalUnchanged, "does not change this environment: it renders the same with and without it"), true, nil
}

func (a *arriving) here(ctx context.Context) (arrival, bool, error) {
	j := a.record.Journal
	has, err := a.has(ctx, a.target, j.LastGood.Revision)
	if err != nil {
		return arrival{}, false, err
	}
	if !has {
		return a.wasHere()
	}
	answer := a.is(arrivalVerified, "runs it")
	if j.LastGood.Revision != a.target {
		answer = a.is(arrivalVerified, "runs it with %s", j.LastGood.Revision.Short())
	}
	for _, v := range j.Verified { // newest first
		has, err := a.has(ctx, a.target, v.Revision)
		if err != nil || !has {
			break // older ones may be gone from the clone
		}
		answer.Since = v.At
	}
	if !answer.Since.IsZero() {
		answer.Message += "; verified at " + stamp(answer.Since)
	}
	if j.Attempt.Stage != reconcile.StageNone && j.Attempt.Release.Revision != j.LastGood.Revision {
		answer.Message += fmt.Sprintf("; %s is on its way (%s)", j.Attempt.Release.Revision.Short(), j.Attempt.Stage)
	}
	return answer, true, nil
}

// wasHere is all that records tell without a clone of what was good before.
func (a *arriving) wasHere() (arrival, bool, error) {
	if a.clone != nil {
		return arrival{}, false, nil
	}
	for _, v := range a.record.Journal.Verified {
		if v.Revision == a.target {
			answer := a.is(arrivalVerified, "verified it at %s, and has %s now", stamp(v.At), a.record.Journal.LastGood.Revision.Short())
			answer.Since = v.At
			return answer, true, nil
		}
	}
	return arrival{}, false, nil
}

func (a *arriving) underway(ctx context.Context) (arrival, bool, error) {
	attempt := a.record.Journal.Attempt
	has, err := a.has(ctx, a.target, attempt.Release.Revision)
	if err != nil || !has || attempt.Stage == reconcile.StageNone {
		return arrival{}, false, err
	}
	with := ""
	if attempt.Release.Revision != a.target {
		with = " with " + attempt.Release.Revision.Short()
	}
	switch attempt.Stage {
	case reconcile.StageApplying, reconcile.StageVerifying:
		if attempt.Probe {
			with += ", to find out which of several commits is guilty"
		}
		answer := a.because(a.is(arrivalUnderway, "is %s%s: %s", attempt.Stage, with, orExplained(a.record)))
		answer.Since = attempt.Started
		return answer, true, nil
	}
	return a.because(a.is(arrivalFailed, "failed here%s, and last good is back or being brought back: %s", with, orExplained(a.record))), true, nil
}

func (a *arriving) takenBack(ctx context.Context) (arrival, bool, error) {
	last := a.record.Journal.LastRevert
	blamed := last.Guilty != "" && (last.Guilty == a.commit.Revision || last.Guilty == a.carrier)
	by := a.takenBackBy()
	if a.clone == nil && blamed {
		by = last.Commit
	}
	if by == "" {
		return arrival{}, false, nil
	}
	answer := a.is(arrivalReverted, "was taken back by %s before it came here", by.Short())
	if blamed {
		answer = a.is(arrivalTakenBack, "failed here, and was taken back by %s", by.Short())
	} else if had, err := a.had(ctx); err != nil {
		return arrival{}, false, err
	} else if had {
		answer = a.is(arrivalTakenBack, "was here, and was taken back by %s", by.Short())
	}
	answer.RevertedBy = by
	return answer, true, nil
}

// had reports whether the environment ever verified the commit.
func (a *arriving) had(ctx context.Context) (bool, error) {
	for _, v := range a.record.Journal.Verified {
		has, err := a.has(ctx, a.target, v.Revision)
		if errors.Is(err, errBehind) {
			continue
		}
		if has || err != nil {
			return has, err
		}
	}
	return false, nil
}

// failed: its release is quarantined.
func (a *arriving) failed(ctx context.Context) (arrival, bool, error) {
	if a.clone == nil || len(a.record.Journal.Quarantine) == 0 {
		return arrival{}, false, nil
	}
	digest, err := a.digest(ctx, a.env, a.target)
	if errors.Is(err, errNoRender) {
		return arrival{}, false, nil
	}
	if err != nil || !failedHere(a.record, digest) {
		return arrival{}, false, err
	}
	return a.because(a.is(arrivalFailed, "failed here before, and is quarantined; now: %s", orExplained(a.record))), true, nil
}

// waiting says what the commit waits for.
func (a *arriving) waiting(ctx context.Context) (arrival, error) {
	wants, err := a.has(ctx, a.target, a.record.Status.Wanted.Revision)
	if err != nil {
		return arrival{}, err
	}
	stopped := a.record.Status.Reason == promotion.Paused || invalid(a.record)
	missing := a.missing()
	switch {
	case stopped, wants && len(missing) == 0:
		return a.because(a.is(arrivalWaiting, "%s", orExplained(a.record))), nil
	case a.clone == nil && !wants:
		return a.is(arrivalUnknown, "has %s; whether that includes it only a clone can tell", orDash(a.record.Journal.LastGood.Revision.Short())), nil
	case len(missing) > 0:
		first := a.before[missing[0]]
		answer := a.is(arrivalWaiting, "%s", "is not there because "+first.Environment+" does not have it: "+first.Message)
		answer.Reason, answer.Since, answer.Unblock = string(promotion.WaitingForUpstream), a.record.Since, first.Unblock
		return answer, nil
	case a.env.Pinned():
		return a.waitingForPin(ctx)
	}
	answer := a.is(arrivalWaiting, "the daemon has not looked at it yet: it wants %s", orDash(a.record.Status.Wanted.Revision.Short()))
	answer.Reason, answer.Unblock = string(promotion.Evaluating), "Nobody needs to, if it is pushed: the daemon sees it at its next poll."
	return answer, nil
}

// missing are the upstream environments that do not have it.
func (a *arriving) missing() []promotion.ID {
	return slices.DeleteFunc(slices.Clone(a.env.After), func(id promotion.ID) bool {
		answer, known := a.before[id]
		return known && answer.there()
	})
}

func (a *arriving) waitingForPin(ctx context.Context) (arrival, error) {
	p := a.record.Journal.Proposal
	proposed, err := a.has(ctx, a.target, p.Revision)
	if err != nil {
		return arrival{}, err
	}
	pin := "nothing yet"
	if a.env.Revision != "" {
		pin = a.env.Revision.Short()
	}
	answer := a.is(arrivalWaiting, "is verified upstream, and the pin is at %s; `chaperone promote %s` moves it", pin, a.env.ID)
	if proposed && p.Commit != "" {
		answer = a.is(arrivalWaiting, "is verified upstream; merging %s promotes %s (the pin is at %s)",
			source.PromotionBranch(a.env.ID.String()), p.Revision.Short(), pin)
	}
	reason := promotion.WaitingForPromotion
	answer.Reason, answer.Since, answer.Unblock = string(reason), a.record.Since, reason.Unblock()
	if where := a.record.Status; where.Reason != promotion.UpToDate && where.Reason != reason {
		answer.Message += fmt.Sprintf("; it is %s (%s) now", where.Phase, where.Reason)
	}
	answer.Message = strings.TrimSpace(answer.Message)
	return answer, nil
}

package controller

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"chaperone.dev/chaperone/internal/forge"
	"chaperone.dev/chaperone/internal/reconcile"
	"chaperone.dev/chaperone/internal/source"
)

// maxStatuses bounds what is remembered of commit statuses.
const maxStatuses = 4096

// statusKey is one commit in one environment.
type statusKey struct {
	commit  source.Revision
	context string
}

// statuses is what merged commits are to say of themselves, and what they say.
type statuses struct {
	wanted, set map[statusKey]forge.Status
	good        map[string]source.Revision    // what each context verified last
	looked      map[statusKey]source.Revision // at which of these, for a commit that waits
}

// overtaken are commits that wait where another one was verified since: whether
// that one has them is to be looked up. Each is, once.
func (s *statuses) overtaken() map[statusKey]source.Revision {
	found := map[statusKey]source.Revision{}
	for key, status := range s.wanted {
		good := s.good[key.context]
		if status.State == forge.Pending && good != "" && good != key.commit && s.looked[key] != good {
			found[key] = good
		}
	}
	return found
}

// tell takes what one environment says. What a commit was told before stands
// until it is told something else: the environment goes on to the next one.
func (s *statuses) tell(e EnvironmentView) {
	if s.wanted == nil || len(s.wanted) >= maxStatuses {
		s.wanted, s.set = map[statusKey]forge.Status{}, map[statusKey]forge.Status{}
		s.good, s.looked = map[string]source.Revision{}, map[statusKey]source.Revision{}
	}
	s.good[statusPrefix+e.ID.String()] = e.Journal.LastGood.Revision
	told := statusesOf(e)
	for commit, status := range told {
		s.wanted[statusKey{commit, status.Context}] = status.Bounded()
	}
	if e.Journal.Attempt.Stage == reconcile.StageNone {
		s.settle(e, told)
	}
}

// settle tells what waited that it is verified, where nobody saw the moment: mostly
// nothing is to be pruned after that, and the environment is at rest at once.
func (s *statuses) settle(e EnvironmentView, told map[source.Revision]forge.Status) {
	good := e.Journal.LastGood.Revision
	for _, commit := range []source.Revision{good, e.Movers[good]} {
		key := statusKey{commit, statusPrefix + e.ID.String()}
		_, waits := told[commit] // the same commit is another release since its environment's file changed
		if status := s.wanted[key]; !waits && status.State == forge.Pending {
			status.State, status.Description = forge.Success, verifiedText
			s.wanted[key] = status
		}
	}
}

const verifiedText = "verified"

// due are those that are not set yet, in an order that is the same each time.
func (s *statuses) due() []statusKey {
	var keys []statusKey
	for key, status := range s.wanted {
		if s.set[key] != status {
			keys = append(keys, key)
		}
	}
	slices.SortFunc(keys, func(a, b statusKey) int {
		return slices.Compare([]string{string(a.commit), a.context}, []string{string(b.commit), b.context})
	})
	return keys
}

// statusesOf tells where commits are in an environment: pending until verified,
// and a failure once they have failed. Where an environment is pinned, so does the
// commit that moved the pin, which is what people merge. Commits that change
// nothing there say nothing.
func statusesOf(e EnvironmentView) map[source.Revision]forge.Status {
	var told map[source.Revision]forge.Status // most have nothing to tell
	tell := func(revision source.Revision, state forge.StatusState, text string) {
		for _, commit := range []source.Revision{revision, e.Movers[revision]} {
			if commit == "" {
				continue
			}
			if told == nil {
				told = map[source.Revision]forge.Status{}
			}
			told[commit] = forge.Status{Context: statusPrefix + e.ID.String(), State: state, Description: text}
		}
	}
	j, reason := e.Journal, string(e.Status.Reason)
	if back := j.LastRevert; back.Guilty != "" {
		text := "failed verification, and was taken back before"
		if back.Commit != "" {
			text = fmt.Sprintf("failed verification, and was taken back by %s", back.Commit.Short())
		}
		tell(back.Guilty, forge.Failure, text)
	}
	switch a := j.Attempt; {
	case a.Probe, a.Stage == reconcile.StageCorrecting:
	case a.Stage == reconcile.StagePruning:
		tell(a.Release.Revision, forge.Success, verifiedText)
	case a.Stage == reconcile.StageApplying, a.Stage == reconcile.StageVerifying:
		tell(a.Release.Revision, forge.Pending, reason+": "+e.Message)
	case a.Stage != reconcile.StageNone:
		tell(a.Release.Revision, forge.Failure, reason+": "+e.Message)
	case e.Status.Wanted.Digest == "" || e.Status.Wanted.Digest == j.LastGood.Digest: // at rest
	case slices.Contains(j.Quarantine, e.Status.Wanted.Digest):
		tell(e.Status.Wanted.Revision, forge.Failure, reason+": "+e.Message)
	default:
		tell(e.Status.Wanted.Revision, forge.Pending, reason+": "+e.Message)
	}
	return told
}

// overtake tells commits that wait, and that a newer one was verified with, that
// they are where they were to go: nobody will come back to them.
func (p *pulls) overtake(ctx context.Context) {
	p.mu.Lock()
	found := p.statuses.overtaken()
	p.mu.Unlock()
	for key, good := range found {
		_, err := p.c.Source.FirstParents(ctx, key.commit, good, maxHistory)
		if ctx.Err() != nil {
			return
		}
		p.mu.Lock()
		p.statuses.looked[key] = good
		if status := p.statuses.wanted[key]; err == nil && status.State == forge.Pending {
			status.State, status.Description = forge.Success, "verified with "+good.Short()
			p.statuses.wanted[key] = status
		}
		p.mu.Unlock()
	}
}

// setStatuses sets those that are due. One that the forge will not have is left
// as it is until it is to say something else.
func (p *pulls) setStatuses(ctx context.Context) error {
	p.overtake(ctx)
	p.mu.Lock()
	due, wanted := p.statuses.due(), maps.Clone(p.statuses.wanted)
	p.mu.Unlock()
	for _, key := range due {
		err := p.c.Forge.SetStatus(ctx, key.commit, wanted[key])
		refused := errors.Is(err, forge.ErrRejected) || errors.Is(err, forge.ErrNotFound)
		if err != nil && !refused {
			return err
		}
		if refused {
			p.c.Log.Warn("commit status is not set", "revision", key.commit, "detail", key.context, "err", err)
		}
		p.mu.Lock()
		p.statuses.set[key] = wanted[key]
		p.mu.Unlock()
	}
	return nil
}

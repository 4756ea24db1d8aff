package controller

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"chaperone.dev/chaperone/internal/fault"
	"chaperone.dev/chaperone/internal/promotion"
	"chaperone.dev/chaperone/internal/reconcile"
	"chaperone.dev/chaperone/internal/source"
)

// maxSuspectRange bounds how many commits may lie between last good and what
// failed for the guilty one to be looked for.
const maxSuspectRange = 200

// blame finds the commits that may be guilty of a failed release: for one that
// follows the branch, those since last good that changed its digest; for a
// pinned one, the commit that moved the pin.
func (j *job) blame(ctx context.Context) ended {
	find := j.digestChanges
	if j.file.Pinned() {
		find = j.pinMoves
	}
	suspects, err := find(ctx)
	if errors.Is(err, source.ErrNotAncestor) || errors.Is(err, source.ErrUnknownRevision) {
		// The mirror may be new and empty: only a source that was read can lack it.
		if _, err = j.c.Source.Poll(ctx); err == nil {
			suspects, err = find(ctx)
		} else {
			err = fmt.Errorf("%w: %w", source.ErrUnavailable, err)
		}
	}
	switch {
	case errors.Is(err, source.ErrUnavailable), errors.Is(err, source.ErrBranchGone):
		return failed(reconcile.OutcomeRetry, promotion.SourceUnavailable, err)
	case errors.Is(err, source.ErrNotAncestor), errors.Is(err, source.ErrUnknownRevision):
		return failed(reconcile.OutcomeFailed, promotion.HistoryRewritten, err)
	case errors.Is(err, source.ErrTooFar):
		return failed(reconcile.OutcomeFailed, promotion.SeveralSuspects, err)
	case err != nil:
		return failed(reconcile.OutcomeRetry, promotion.SourceUnavailable, err)
	}
	end := ended{result: reconcile.Result{Outcome: reconcile.OutcomeDone}}
	var names []string
	for _, suspect := range suspects {
		end.result.Suspects = append(end.result.Suspects, suspect.Revision)
		names = append(names, fmt.Sprintf("%s %q", suspect.Revision.Short(), suspect.Subject()))
	}
	if len(suspects) > 1 {
		end.note = fmt.Sprintf("%d commits since last good changed this environment: %s", len(suspects), strings.Join(names, ", "))
	}
	return end
}

// digestChanges are the first-parent commits between last good and what failed
// whose render of this environment differs from their parent's.
func (j *job) digestChanges(ctx context.Context) ([]source.Commit, error) {
	commits, err := j.c.Source.FirstParents(ctx, j.action.LastGood.Revision, j.action.Release.Revision, maxSuspectRange)
	if err != nil {
		return nil, err
	}
	var suspects []source.Commit
	before := string(j.action.LastGood.Digest)
	for i := len(commits) - 1; i >= 0; i-- {
		digest, err := j.digestAt(ctx, commits[i].Revision)
		if err != nil {
			return nil, err
		}
		if digest != before {
			suspects = append(suspects, commits[i])
		}
		before = digest
	}
	return suspects, nil
}

// digestAt is what identifies the environment's render at a revision. One that
// does not render is like no other.
func (j *job) digestAt(ctx context.Context, revision source.Revision) (string, error) {
	snapshot, err := j.c.Source.Snapshot(revision)
	if err != nil {
		return "", err
	}
	_, digest, err := j.c.Renderer.Render(ctx, snapshot, j.file.Path)
	if fault.IsTerminal(err) {
		return "does not render at " + string(revision), nil
	}
	return string(digest), err
}

// pinMoves is the newest commit that set the pin to what failed.
func (j *job) pinMoves(ctx context.Context) ([]source.Commit, error) {
	head, err := j.c.Source.Poll(ctx)
	if err != nil {
		return nil, err
	}
	commits, err := j.c.Source.FirstParents(ctx, "", head, maxSuspectRange)
	if err != nil && !errors.Is(err, source.ErrTooFar) {
		return nil, err
	}
	for i, commit := range commits {
		at, err := j.pinAt(commit.Revision)
		if err != nil {
			return nil, err
		}
		if at != j.action.Release.Revision {
			continue
		}
		var before source.Revision
		if i+1 < len(commits) {
			if before, err = j.pinAt(commits[i+1].Revision); err != nil {
				return nil, err
			}
		}
		if before != at {
			return []source.Commit{commit}, nil
		}
	}
	return nil, nil
}

// pinAt reads the pin as the environment's file said it at a revision; "" where
// there was none, or no valid file.
func (j *job) pinAt(revision source.Revision) (source.Revision, error) {
	snapshot, err := j.c.Source.Snapshot(revision)
	if err != nil {
		return "", err
	}
	set, err := promotion.Load(fs.FS(snapshot))
	if errors.Is(err, promotion.ErrNoEnvironments) {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	return set.Environments[j.file.ID].Revision, nil
}

// revert takes the guilty commit back on the source.
func (j *job) revert(ctx context.Context) ended {
	note := source.RevertNote{
		Environment: j.action.Environment.String(), Release: string(j.action.Release.Digest),
		Reason: string(promotion.VerificationFailed), Evidence: j.evidence,
	}
	result, err := j.c.Source.Revert(ctx, j.action.Guilty, note)
	if err != nil {
		if fault.IsTerminal(err) {
			return failed(reconcile.OutcomeRejected, promotion.RevertRejected, err)
		}
		return failed(reconcile.OutcomeRetry, promotion.SourceUnavailable, err)
	}
	end := ended{result: reconcile.Result{Outcome: result.Outcome, Reason: result.Reason, Commit: result.Commit}}
	switch {
	case len(result.Conflicts) > 0:
		end.note = fmt.Sprintf("taking back %s conflicts with later commits in %s; revert it by hand, or push a fix",
			j.action.Guilty.Short(), strings.Join(result.Conflicts, ", "))
	case result.Outcome == reconcile.OutcomeRejected:
		end.note = fmt.Sprintf("the source does not take the revert of %s: %s; let the daemon push there, or revert it by hand",
			j.action.Guilty.Short(), result.Detail)
	case result.Outcome != reconcile.OutcomeDone:
		end.note = result.Detail
	}
	return end
}

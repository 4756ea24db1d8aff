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
	case errors.Is(err, errUnexplained):
		return failed(reconcile.OutcomeFailed, promotion.NoSuspect, err)
	case err != nil:
		return failed(reconcile.OutcomeRetry, promotion.SourceUnavailable, err)
	}
	end := ended{result: reconcile.Result{Outcome: reconcile.OutcomeDone}}
	var names []string
	for _, s := range suspects {
		end.result.Suspects = append(end.result.Suspects, reconcile.Suspect{Revision: s.Revision, Digest: s.digest})
		names = append(names, fmt.Sprintf("%s %q", s.Revision.Short(), s.Subject()))
	}
	if len(suspects) > 1 {
		end.note = fmt.Sprintf("%d commits since last good changed this environment: %s", len(suspects), strings.Join(names, ", "))
	}
	return end
}

// suspect is a commit that changed the environment, and what it made of it.
type suspect struct {
	source.Commit
	digest reconcile.Digest
}

// errUnexplained: what failed differs from last good by more than commits.
var errUnexplained = errors.New("look for the cause by hand")

// digestChanges are the first-parent commits between last good and what failed
// whose render of this environment differs from their parent's. Both ends must
// be what was run: where the path is another by now, or this daemon renders
// otherwise than the one before, the difference is not any commit's.
func (j *job) digestChanges(ctx context.Context) ([]suspect, error) {
	good, bad := j.action.LastGood, j.action.Release
	commits, err := j.c.Source.FirstParents(ctx, good.Revision, bad.Revision, maxSuspectRange)
	if err != nil {
		return nil, err
	}
	before, err := j.digestAt(ctx, good.Revision)
	if err != nil {
		return nil, err
	}
	if before != "" && before != string(good.Digest) {
		return nil, fmt.Errorf("%s no longer renders to what was verified there; %w", good.Revision.Short(), errUnexplained)
	}
	before = string(good.Digest)
	var suspects []suspect
	for i := len(commits) - 1; i >= 0; i-- {
		digest, err := j.digestAt(ctx, commits[i].Revision)
		switch {
		case err != nil:
			return nil, err
		case digest == "": // it could not run here, so what came before ran on
		case digest != before:
			suspects, before = append(suspects, suspect{commits[i], reconcile.Digest(digest)}), digest
		}
	}
	if before != string(bad.Digest) {
		return nil, fmt.Errorf("%s does not render to what failed there; %w", bad.Revision.Short(), errUnexplained)
	}
	return suspects, nil
}

// digestAt is what identifies the environment's render at a revision, of the
// path that its file named there; "" where it had no valid file. One that does
// not render is like no other.
func (j *job) digestAt(ctx context.Context, revision source.Revision) (string, error) {
	snapshot, err := j.c.Source.Snapshot(revision)
	if err != nil {
		return "", err
	}
	file, _, err := j.fileAt(snapshot)
	if err != nil || file.Path == "" {
		return "", err
	}
	digest, err := j.c.Renderer.Digest(ctx, snapshot, file.Path)
	if fault.IsTerminal(err) {
		return "does not render at " + string(revision), nil
	}
	return string(digest), err
}

// fileAt is the environment's file in a snapshot, zero where there was none.
// invalid says that there was one that did not decode: the environment kept
// what it ran.
func (j *job) fileAt(snapshot source.Snapshot) (file promotion.Environment, invalid bool, err error) {
	file, _, err = promotion.LoadFile(fs.FS(snapshot), j.file.ID)
	if errors.Is(err, promotion.ErrInvalidFile) {
		return promotion.Environment{}, true, nil
	}
	return file, false, err
}

// pinMoves is the newest commit that set the pin to what failed.
func (j *job) pinMoves(ctx context.Context) ([]suspect, error) {
	if j.action.LastGood.Revision == j.action.Release.Revision {
		// That commit brought last good, too.
		return nil, fmt.Errorf("the pin has not moved since last good, what else its file says has; %w", errUnexplained)
	}
	head, err := j.c.Source.Poll(ctx)
	if err != nil {
		return nil, err
	}
	commits, err := j.c.Source.FirstParents(ctx, "", head, maxSuspectRange)
	if err != nil && !errors.Is(err, source.ErrTooFar) {
		return nil, err
	}
	var movers []suspect // the last one seen, from the newest down
	for _, commit := range commits {
		snapshot, err := j.c.Source.Snapshot(commit.Revision)
		if err != nil {
			return nil, err
		}
		file, invalid, err := j.fileAt(snapshot)
		switch {
		case err != nil:
			return nil, err
		case invalid:
		case file.Revision == j.action.Release.Revision:
			movers = []suspect{{commit, j.action.Release.Digest}}
		case movers != nil:
			return movers, nil
		}
	}
	if len(commits) >= maxSuspectRange {
		return nil, fmt.Errorf("the pin was moved more than %d commits ago; %w", maxSuspectRange, errUnexplained)
	}
	return movers, nil
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
	if result.Outcome == reconcile.OutcomeConflict || result.Outcome == reconcile.OutcomeRejected {
		return j.offerRevert(ctx, note, end)
	}
	return end
}

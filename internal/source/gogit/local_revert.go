package gogit

import (
	"context"
	"fmt"
	"time"

	"github.com/go-git/go-git/v5/plumbing"

	"chaperone.dev/chaperone/internal/fault"
)

// LocalRevert is a revert by hand.
type LocalRevert struct {
	RevertRequest
	Branch  string
	Author  Author           // default: user.name and user.email of Git's configuration
	Signing Signing          // default: as commit.gpgSign of that configuration has it
	Now     func() time.Time // default time.Now
	// Push sends the branch to where it comes from, afterwards.
	Push        bool
	Credentials Credentials
	Timeout     time.Duration
}

// Revert writes the commit that takes the guilty one back onto a branch of this
// repository. If the branch is checked out here, files and index follow, as
// with `git revert`; where changes that are not committed are in the way,
// nothing is touched and the outcome is Uncommitted. The guilty commit may be
// anywhere below the branch's head.
func (l *Local) Revert(ctx context.Context, request LocalRevert) (RevertResult, error) {
	object := fmt.Sprintf("%s on %s", request.Guilty.Short(), request.Branch)
	ref, err := branchRef(request.Branch)
	if err != nil {
		return RevertResult{}, fault.Terminal("revert", object, err)
	}
	result, err := l.revertOn(ctx, request, ref)
	if err != nil {
		return RevertResult{}, fault.Terminal("revert", object, err)
	}
	if result.Outcome == Reverted || result.Outcome == AlreadyReverted {
		err = l.pushReverts(ctx, request, ref, &result)
	}
	return result, fault.Retryable("push", object, err)
}

func (l *Local) pushReverts(ctx context.Context, request LocalRevert, ref plumbing.ReferenceName, last *RevertResult) error {
	if !request.Push {
		return nil
	}
	why, err := l.push(ctx, destination{request.Branch, request.Credentials, request.Timeout}, ref)
	if why != "" {
		last.Outcome, last.Detail = Rejected, why
	}
	return err
}

func (l *Local) revertOn(ctx context.Context, request LocalRevert, ref plumbing.ReferenceName) (RevertResult, error) {
	head, err := l.headCommit(request.Branch)
	if err != nil {
		return RevertResult{}, err
	}
	by := l.signer(request.Author, request.Now, request.Signing)
	plan, result, err := l.planRevert(ctx, request.RevertRequest, head, by, false)
	if err != nil || plan == nil {
		return result, err
	}
	inTheWay, err := l.advance(ref, head.hash, plan, by, "revert")
	switch {
	case err != nil:
		return result, err
	case len(inTheWay) > 0:
		result.Outcome, result.Conflicts, result.Detail = Uncommitted, inTheWay, inTheWayText
		return result, nil
	}
	result.Outcome, result.Commit, result.Head = Reverted, revisionOf(plan.commit), revisionOf(plan.commit)
	return result, nil
}

func (l *Local) headCommit(branch string) (commit, error) {
	revision, err := l.Head(branch)
	if err != nil {
		return commit{}, err
	}
	return l.commit(revision)
}

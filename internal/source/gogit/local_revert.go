package gogit

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/go-git/go-git/v5/plumbing"

	"chaperone.dev/chaperone/internal/fault"
	"chaperone.dev/chaperone/internal/source"
)

// LocalRevert is a revert by hand.
type LocalRevert struct {
	RevertRequest
	Branch string
	Author Author           // default: user.name and user.email of Git's configuration
	Now    func() time.Time // default time.Now
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
	by := newSigner(l.author(request.Author), request.Now)
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

// RevertedOne is what became of one commit among several.
type RevertedOne struct {
	Guilty source.Revision
	RevertResult
}

// RevertAll takes several commits back, the newest of them given first, with
// one commit each: what a rollback of a branch is. request.Guilty plays no
// part. It does all or nothing: where one of them cannot be taken back, its
// result is the only one, and nothing was written. A revert of the daemon's
// together with what it took back cancel each other out, and cost no commit.
// Where only the push is refused, the last result says so.
func (l *Local) RevertAll(ctx context.Context, request LocalRevert, guilty []source.Revision) ([]RevertedOne, error) {
	object := fmt.Sprintf("%d commits on %s", len(guilty), request.Branch)
	ref, err := branchRef(request.Branch)
	if err != nil {
		return nil, fault.Terminal("revert", object, err)
	}
	results, err := l.revertAllOn(ctx, request, ref, guilty)
	if err != nil {
		return nil, fault.Terminal("revert", object, err)
	}
	if len(results) == len(guilty) && len(guilty) > 0 && settled(results[len(results)-1].Outcome) {
		err = l.pushReverts(ctx, request, ref, &results[len(results)-1].RevertResult)
	}
	return results, fault.Retryable("push", object, err)
}

// settled: nothing of the commit is left.
func settled(o Outcome) bool { return o == Reverted || o == AlreadyReverted || o == NothingToRevert }

func (l *Local) revertAllOn(ctx context.Context, request LocalRevert, ref plumbing.ReferenceName, guilty []source.Revision) ([]RevertedOne, error) {
	start, err := l.headCommit(request.Branch)
	if err != nil {
		return nil, err
	}
	by := newSigner(l.author(request.Author), request.Now)
	var results []RevertedOne
	var last *plan
	head := start
	for _, g := range guilty {
		request.Guilty = g
		p, result, err := l.planRevert(ctx, request.RevertRequest, head, by, false)
		switch {
		case err != nil:
			return nil, fmt.Errorf("%s: %w", g.Short(), err)
		case p != nil:
			// On no branch yet, for the next revert to be made on.
			if err := p.made.save(); err != nil {
				return nil, err
			}
			if head, err = l.commitAt(p.commit); err != nil {
				return nil, err
			}
			last = p
			result.Outcome, result.Commit, result.Head = Reverted, head.Revision, head.Revision
		case result.Outcome == RefusedRevertOfRevert && l.cancels(g, guilty):
			result.Outcome, result.Detail = NothingToRevert, "what it took back is taken back as well"
		case !settled(result.Outcome):
			return []RevertedOne{{g, result}}, nil
		}
		results = append(results, RevertedOne{g, result})
	}
	if last == nil {
		return results, nil
	}
	inTheWay, err := l.advance(ref, start.hash, last, by, "revert")
	if len(inTheWay) > 0 {
		return []RevertedOne{{guilty[len(guilty)-1], RevertResult{
			Outcome: Uncommitted, Head: start.Revision, Conflicts: inTheWay, Detail: inTheWayText,
		}}}, nil
	}
	return results, err
}

// cancels reports whether the commit takes back another one of the list.
func (l *Local) cancels(revert source.Revision, guilty []source.Revision) bool {
	c, err := l.commit(revert)
	if err != nil {
		return false
	}
	original, found := l.revertedBy(c)
	return found && slices.Contains(guilty, original)
}

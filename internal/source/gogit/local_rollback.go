package gogit

import (
	"context"
	"fmt"
	"slices"

	"github.com/go-git/go-git/v5/plumbing"

	"chaperone.dev/chaperone/internal/fault"
	"chaperone.dev/chaperone/internal/source"
)

// RevertedOne is what became of one commit among several.
type RevertedOne struct {
	Guilty source.Revision
	RevertResult
}

// RevertAll takes several commits back, the newest of them given first, with
// one commit each: what a rollback of a branch is. request.Guilty plays no
// part. It does all or nothing: where one of them cannot be taken back, its
// result is the only one, and nothing was written. A revert of the daemon's
// together with what it took back cancel each other out, and cost no commit if
// that leads to the same. Commits that are all that the branch has above one of
// its commits always end at exactly that one's tree; only a revert of what is
// older is in the way. Where only the push is refused, the last result says so.
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
	if len(results) > 0 && allSettled(results) {
		err = l.pushReverts(ctx, request, ref, &results[len(results)-1].RevertResult)
	}
	return results, fault.Retryable("push", object, err)
}

// settled: nothing of the commit is left.
func settled(o Outcome) bool { return o == Reverted || o == AlreadyReverted || o == NothingToRevert }

func allSettled(results []RevertedOne) bool {
	return !slices.ContainsFunc(results, func(r RevertedOne) bool { return !settled(r.Outcome) })
}

func (l *Local) revertAllOn(ctx context.Context, request LocalRevert, ref plumbing.ReferenceName, guilty []source.Revision) ([]RevertedOne, error) {
	start, err := l.headCommit(request.Branch)
	if err != nil {
		return nil, err
	}
	r := rollingBack{Local: l, request: request.RevertRequest, guilty: guilty, by: l.signer(request.Author, request.Now, request.Signing)}
	results, end, err := r.chain(ctx, start, r.next)
	if err != nil {
		return nil, err
	}
	if want, whole, err := r.target(start); err != nil {
		return nil, err
	} else if whole && (end.tree != want || !allSettled(results)) {
		// What was left out was not all of it: others built on it meanwhile.
		if results, end, err = r.chain(ctx, start, r.nextStrictly); err != nil {
			return nil, err
		}
	}
	if end.hash == start.hash {
		return results, nil
	}
	p := &plan{head: start.hash, commit: end.hash, tree: end.tree, made: newWorkspace(l.objects)}
	inTheWay, err := l.advance(ref, start.hash, p, r.by, "revert")
	if len(inTheWay) > 0 {
		return []RevertedOne{{guilty[len(guilty)-1], RevertResult{
			Outcome: Uncommitted, Head: start.Revision, Conflicts: inTheWay, Detail: inTheWayText,
		}}}, nil
	}
	return results, err
}

// rollingBack is one call of RevertAll.
type rollingBack struct {
	*Local
	request RevertRequest
	guilty  []source.Revision
	by      signer
}

// chain makes one revert on top of the other, on no branch yet. It ends where
// it began if one of them is refused, whose result is then the only one.
func (r *rollingBack) chain(ctx context.Context, start commit, next func(context.Context, RevertRequest, commit) (*plan, RevertResult, error)) ([]RevertedOne, commit, error) {
	var results []RevertedOne
	end := start
	for _, guilty := range r.guilty {
		request := r.request
		request.Guilty = guilty
		p, result, err := next(ctx, request, end)
		if err != nil {
			return nil, start, fmt.Errorf("%s: %w", guilty.Short(), err)
		}
		if p != nil {
			if err := p.made.save(); err != nil { // for the next one to be made on
				return nil, start, err
			}
			if end, err = r.commitAt(p.commit); err != nil {
				return nil, start, err
			}
			result.Outcome, result.Commit, result.Head = Reverted, end.Revision, end.Revision
		}
		if !settled(result.Outcome) {
			result.Head = start.Revision
			return []RevertedOne{{guilty, result}}, start, nil
		}
		results = append(results, RevertedOne{guilty, result})
	}
	return results, end, nil
}

// next leaves out a revert together with what it took back.
func (r *rollingBack) next(ctx context.Context, request RevertRequest, on commit) (*plan, RevertResult, error) {
	p, result, err := r.planRevert(ctx, request, on, r.by, false)
	if err == nil && result.Outcome == RefusedRevertOfRevert && r.cancels(request.Guilty) {
		result.Outcome, result.Detail = NothingToRevert, "what it took back is taken back as well"
	}
	return p, result, err
}

// nextStrictly takes everything back, step by step, as it came.
func (r *rollingBack) nextStrictly(_ context.Context, request RevertRequest, on commit) (*plan, RevertResult, error) {
	guilty, err := r.commit(request.Guilty)
	if err != nil {
		return nil, RevertResult{}, err
	}
	original, isRevert, err := r.revertedBy(guilty)
	if err != nil {
		return nil, RevertResult{}, err
	}
	if isRevert && !slices.Contains(r.guilty, original) {
		return nil, refusedRevert(guilty, original), nil
	}
	return r.mergeRevert(request, guilty, on, r.by)
}

// cancels reports whether the commit takes back another one of the list.
func (r *rollingBack) cancels(revert source.Revision) bool {
	c, err := r.commit(revert)
	if err != nil {
		return false
	}
	original, found, err := r.revertedBy(c)
	return err == nil && found && slices.Contains(r.guilty, original)
}

// target is the tree below the commits, if they are the whole line from start
// down to there.
func (r *rollingBack) target(start commit) (tree plumbing.Hash, whole bool, err error) {
	at, more := start.hash, true
	for _, guilty := range r.guilty {
		if !more || revisionOf(at) != guilty {
			return tree, false, nil
		}
		c, err := r.commitAt(at)
		if err != nil {
			return tree, false, err
		}
		if tree, err = newWorkspace(r.objects).before(c); err != nil {
			return tree, false, err
		}
		at, more = c.firstParent()
	}
	return tree, len(r.guilty) > 0, nil
}

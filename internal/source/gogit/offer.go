package gogit

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/go-git/go-git/v5/plumbing"

	"chaperone.dev/chaperone/internal/fault"
	"chaperone.dev/chaperone/internal/source"
)

// OfferRevert keeps a branch whose merge takes the guilty commit back, for people
// to decide on: where the followed branch is protected, or where the commits after
// the guilty one are in the way. In the latter case the branch stands on the
// guilty commit itself, so that merging it meets the same conflicts and whoever
// merges resolves them. It may be called again after any error or crash; a branch
// that offers the revert already stays as it is.
func (r *Repository) OfferRevert(ctx context.Context, request RevertRequest) (ProposeResult, error) {
	object := fmt.Sprintf("%s in %s", request.Guilty.Short(), r.remote.object())
	ref, err := branchRef(source.RevertBranch(request.Guilty))
	if err == nil && ref == r.remote.branch {
		err = fmt.Errorf("the followed branch is called %s: want another", ref.Short())
	}
	if err != nil {
		return ProposeResult{}, fault.Terminal("offer revert", object, err)
	}
	return r.moveBranch(ctx, "offer revert", object, ref, func(ctx context.Context, at branches) (*plan, ProposeResult, error) {
		return r.planOffer(ctx, request, at, r.signer)
	})
}

func (o *objects) planOffer(ctx context.Context, request RevertRequest, at branches, by signer) (*plan, ProposeResult, error) {
	result := ProposeResult{Branch: at.proposal.Short(), Commit: tipOf(at.tip)}
	planned, revert, err := o.planRevert(ctx, request, at.head, by, true)
	if errors.Is(err, source.ErrNotAncestor) || errors.Is(err, source.ErrUnknownRevision) || errors.Is(err, source.ErrTooFar) {
		result.Outcome, result.Detail = Invalid, err.Error()
		return nil, result, nil
	}
	if err != nil {
		return nil, result, err
	}
	switch revert.Outcome {
	case AlreadyReverted, NothingToRevert:
		result.Outcome = Obsolete
		return nil, result, nil
	case RefusedRevertOfRevert:
		result.Outcome, result.Detail = Invalid, revert.Detail
		return nil, result, nil
	}
	if !at.tip.IsZero() {
		result.Outcome, result.Detail, err = o.offered(request.Guilty, at)
		return nil, result, err
	}
	if revert.Outcome == Conflict {
		planned, err = o.revertInPlace(request, at.head, by)
	}
	return planned, result, err
}

// offered looks at what the branch holds: whoever improved on the revert there
// keeps what they did.
func (o *objects) offered(guilty source.Revision, at branches) (Outcome, string, error) {
	tip, err := o.commitAt(at.tip)
	if err != nil {
		return "", "", o.lost(err)
	}
	for c, depth := tip, 0; depth < 50; depth++ {
		if takesBack(c, guilty) {
			return Current, "", nil
		}
		parent, found := c.firstParent()
		if !found {
			break
		}
		if c, err = o.commitAt(parent); err != nil {
			return "", "", o.lost(err)
		}
	}
	return Foreign, fmt.Sprintf("branch %s: %s by %q does not take %s back; delete the branch to have the revert offered there",
		at.proposal.Short(), tip.Revision.Short(), tip.Author.Name, guilty.Short()), nil
}

// revertInPlace takes a commit back right after it: it can conflict with nothing.
func (o *objects) revertInPlace(request RevertRequest, head commit, by signer) (*plan, error) {
	guilty, err := o.commit(request.Guilty)
	if err != nil {
		return nil, err
	}
	made := newWorkspace(o)
	before, err := made.before(guilty)
	if err != nil {
		return nil, err
	}
	hash, err := made.commit(before, plumbing.NewHash(string(guilty.Revision)), source.RevertMessage(guilty.Commit, request.Note), by)
	if err != nil {
		return nil, err
	}
	pack, err := made.pack()
	return &plan{head: head.hash, commit: hash, tree: before, made: made, pack: pack}, err
}

// WithdrawReverts deletes the branches that offer a revert, for when nobody waits
// for one any more: those that hold our own revert alone, or nothing that the
// followed branch does not. What people have put there stays. before is called
// with each branch that is about to be deleted; an error of it ends the call. It
// may be called again after any error or crash.
func (r *Repository) WithdrawReverts(ctx context.Context, before func(branch string) error) (withdrawn []string, err error) {
	const op = "withdraw reverts"
	names, err := r.offers(ctx)
	if err != nil {
		return nil, fault.Retryable(op, r.remote.object(), err)
	}
	for _, ref := range names {
		object := fmt.Sprintf("%s in %s", ref.Short(), r.remote.object())
		result, err := r.moveBranch(ctx, op, object, ref, func(ctx context.Context, at branches) (*plan, ProposeResult, error) {
			planned, result, err := r.planWithdrawal(ctx, at)
			if err == nil && planned != nil {
				err = before(at.proposal.Short())
			}
			return planned, result, err
		})
		if err != nil {
			return withdrawn, err
		}
		if result.Outcome == Withdrawn {
			withdrawn = append(withdrawn, ref.Short())
		}
	}
	return withdrawn, nil
}

// offers are the branches that may offer a revert. A name that we would not give
// is no name of ours.
func (r *Repository) offers(ctx context.Context) (names []plumbing.ReferenceName, err error) {
	if err := r.take(ctx); err != nil {
		return nil, err
	}
	defer r.give()
	s, err := r.remote.with(plumbing.NewBranchReferenceName(source.RevertBranches)).open(ctx, uploadPack)
	if err != nil {
		return nil, err
	}
	defer s.close()
	for _, ref := range s.below {
		if named, err := branchRef(ref.Short()); err == nil && named == ref && ref != r.remote.branch {
			names = append(names, ref)
		}
	}
	return names, nil
}

func (r *Repository) planWithdrawal(ctx context.Context, at branches) (*plan, ProposeResult, error) {
	result := ProposeResult{Outcome: Absent, Branch: at.proposal.Short(), Commit: tipOf(at.tip)}
	if at.tip.IsZero() {
		return nil, result, nil
	}
	tip, err := r.commitAt(at.tip)
	if err != nil {
		return nil, result, r.lost(err)
	}
	merged, err := r.contains(ctx, tip.Revision, at.head.Revision)
	if err != nil && !errors.Is(err, source.ErrTooFar) {
		return nil, result, err
	}
	guilty, reverts := tip.Reverts()
	ours := reverts && source.RevertBranch(guilty) == at.proposal.Short() && at.self != "" && strings.EqualFold(tip.Author.Email, at.self)
	if merged || ours {
		return &plan{head: at.head.hash}, result, nil // to no commit
	}
	result.Outcome, result.Detail = Foreign, fmt.Sprintf("branch %s: %s by %q is not the daemon's, and stays", at.proposal.Short(), tip.Revision.Short(), tip.Author.Name)
	return nil, result, nil
}

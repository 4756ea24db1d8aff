package gogit

import (
	"context"
	"errors"
	"fmt"

	"github.com/go-git/go-git/v5/plumbing"

	"chaperone.dev/chaperone/internal/fault"
	"chaperone.dev/chaperone/internal/source"
)

// Propose keeps the promotion branch of an environment: one commit, on top of
// the followed branch, that moves the pin in the environment's file and nothing
// else. It may be called again after any error or crash; a branch that proposes
// the same already stays as it is for as long as the file does. An error means
// that nobody knows yet, and wraps source.ErrUnavailable.
func (r *Repository) Propose(ctx context.Context, request ProposeRequest) (ProposeResult, error) {
	return r.movePromotion(ctx, "propose", request.Environment, func(ctx context.Context, at branches) (*plan, ProposeResult, error) {
		return r.planProposal(ctx, request, at, r.signer)
	})
}

// Withdraw deletes the promotion branch of an environment, unless it holds
// other people's work. It may be called again after any error or crash.
func (r *Repository) Withdraw(ctx context.Context, environment string) (ProposeResult, error) {
	return r.movePromotion(ctx, "withdraw", environment, func(ctx context.Context, at branches) (*plan, ProposeResult, error) {
		result := ProposeResult{Outcome: Absent, Branch: at.proposal.Short(), Commit: tipOf(at.tip)}
		if at.tip.IsZero() {
			return nil, result, nil
		}
		ours, why, err := r.ours(ctx, at)
		if ours != nil {
			why = ours.byHand
		}
		if err != nil || why != "" {
			result.Outcome, result.Detail = Foreign, why
			return nil, result, err
		}
		return &plan{head: at.head.hash}, result, nil // to no commit
	})
}

// decision plans one move of a promotion branch, or says why there is none.
type decision func(context.Context, branches) (*plan, ProposeResult, error)

func (r *Repository) movePromotion(ctx context.Context, op, environment string, decide decision) (ProposeResult, error) {
	object := fmt.Sprintf("promotion of %s in %s", environment, r.remote.object())
	ref, err := promotionRef(environment, r.remote.branch.Short())
	if err != nil {
		return ProposeResult{}, fault.Terminal(op, object, err)
	}
	return r.moveBranch(ctx, op, object, ref, decide)
}

func (r *Repository) moveBranch(ctx context.Context, op, object string, ref plumbing.ReferenceName, decide decision) (ProposeResult, error) {
	if err := r.take(ctx); err != nil {
		return ProposeResult{}, err
	}
	defer r.give()
	p := &promoting{Repository: r, at: r.remote.with(ref), decide: decide, tried: map[plumbing.Hash]bool{}}
	result, err := p.run(ctx)
	switch {
	case err == nil:
		return result, nil
	case fault.IsTerminal(err): // a directory that nobody can read
		return ProposeResult{}, fault.Terminal(op, object, err)
	}
	return ProposeResult{}, fault.Retryable(op, object, err)
}

// promoting is one call of Propose or Withdraw.
type promoting struct {
	*Repository
	at      *remote
	decide  decision
	now     branches
	plan    *plan
	from    plumbing.Hash          // where the branch is that plan moves
	tried   map[plumbing.Hash]bool // what a push was begun to; zero for a deletion
	refused int                    // times, with this plan
	reason  string
	lastErr error
}

func (p *promoting) run(ctx context.Context) (ProposeResult, error) {
	accepted := false
	for attempt := range revertAttempts + 1 {
		if !accepted {
			if err := pause(ctx, attempt); err != nil {
				return ProposeResult{}, err
			}
		}
		// What a push came to is seen here, in the refs, however it ended.
		if err := p.see(ctx); err != nil {
			return ProposeResult{}, err
		}
		result, done, err := p.next(ctx)
		if done || err != nil {
			return result, err
		}
		if attempt == revertAttempts {
			break
		}
		if accepted, err = p.push(ctx); err != nil {
			return ProposeResult{}, err
		}
	}
	switch {
	case p.reason != "":
		return p.rejected(), nil
	case p.lastErr != nil:
		return ProposeResult{}, p.lastErr
	}
	return ProposeResult{}, fmt.Errorf("%w: the branches moved during each of %d attempts", source.ErrUnavailable, revertAttempts)
}

// see looks at both branches, as they are at one time, and fetches what is new
// there.
func (p *promoting) see(ctx context.Context) error {
	for range revertAttempts {
		head, tip, err := p.look(ctx, p.at)
		if err != nil {
			return err
		}
		p.now = branches{followed: p.at.branch.Short(), head: head, proposal: p.at.also, tip: tip, self: p.signer.author.Email}
		if tip.IsZero() || p.large[tip] {
			return nil
		}
		if _, err := p.present(tip); !errors.Is(err, errAbsent) {
			return err
		}
		if moved, err := p.fetchTip(ctx); !moved || err != nil {
			return err
		}
	}
	return fmt.Errorf("%w: the branches moved during each of %d looks", source.ErrUnavailable, revertAttempts)
}

// next is done if there is nothing to push, or no use in pushing.
func (p *promoting) next(ctx context.Context) (ProposeResult, bool, error) {
	if p.large[p.now.tip] {
		return ProposeResult{
			Outcome: Foreign, Branch: p.now.proposal.Short(), Commit: tipOf(p.now.tip),
			Detail: foreignBranch(p.now, fmt.Sprintf("%s brings more than %d bytes", p.now.tip, p.tipLimit())),
		}, true, nil
	}
	if p.plan != nil && p.plan.head == p.now.head.hash && p.from == p.now.tip {
		if p.refused >= refusalsBelieved {
			return p.rejected(), true, nil
		}
		return ProposeResult{}, false, nil // the same commit again, so that it is one, come what may
	}
	p.refused, p.reason = 0, ""
	planned, result, err := p.decide(ctx, p.now)
	if err != nil {
		return ProposeResult{}, false, err
	}
	switch { // a push of ours, whatever was heard of it
	case result.Outcome == Current && p.tried[p.now.tip]:
		result.Outcome = Proposed
	case result.Outcome == Absent && planned == nil && p.tried[plumbing.ZeroHash]:
		result.Outcome = Withdrawn
	}
	p.plan, p.from = planned, p.now.tip
	return result, planned == nil, nil
}

func (p *promoting) rejected() ProposeResult {
	return ProposeResult{Outcome: Rejected, Branch: p.now.proposal.Short(), Commit: tipOf(p.now.tip), Detail: p.reason}
}

// push tries once. What it did not learn, the next look at the refs tells; an
// error is the caller's cancellation.
func (p *promoting) push(ctx context.Context) (accepted bool, err error) {
	p.pushes.Add(1)
	said, begun, err := p.say(ctx)
	var denied *problem
	p.lastErr = nil
	switch {
	case errors.As(err, &denied) && denied.denied:
		p.refused++
		p.reason = denied.text
	case err != nil:
		p.lastErr = err
	case begun && !said.accepted:
		p.refused++
		p.reason = orUnknown(said.reason)
	case begun && p.plan.made != nil:
		// If that fails, the next look fetches it.
		_ = p.plan.made.save()
	}
	return said.accepted, ctx.Err()
}

// say is not begun if somebody was faster.
func (p *promoting) say(ctx context.Context) (said report, begun bool, err error) {
	s, err := p.at.open(ctx, receivePack)
	if err != nil {
		return report{}, false, err
	}
	defer s.close()
	if s.also != p.from {
		return report{}, false, nil
	}
	p.tried[p.plan.commit] = true
	said, err = s.push(p.at.also, p.from, p.plan.commit, p.plan.pack)
	return said, true, err
}

const (
	// What a promotion branch may bring over the followed one, for it to be
	// looked at: our own commit is a few kilobytes.
	maxProposalBytes = 16 << 20
	rememberedLarge  = 1024
)

func (o *objects) tipLimit() int64 { return min(o.limits.Pack, maxProposalBytes) }

// fetchTip brings the commit that the promotion branch has into the mirror,
// whose own branch stays where it is.
func (p *promoting) fetchTip(ctx context.Context) (moved bool, err error) {
	haves, err := p.haves(ctx, p.Head())
	if err != nil {
		return false, err
	}
	s, err := p.at.open(ctx, uploadPack)
	if err != nil {
		return false, err
	}
	defer s.close()
	if s.tip != p.now.head.hash || s.also != p.now.tip {
		return true, nil
	}
	p.fetches.Add(1)
	err = p.receive(s, s.also, p.mirror.path(), haves, p.tipLimit())
	if isLarge(err) {
		p.remember(s.also)
		return false, nil
	}
	return false, err
}

func isLarge(err error) bool {
	var known *problem
	return errors.As(err, &known) && known.large
}

// receive takes a commit that the session offers into the repository in dir,
// with what haves do not hold of it. No branch of the repository moves.
func (o *objects) receive(s *session, want plumbing.Hash, dir string, haves []plumbing.Hash, limit int64) error {
	limits := o.limits
	limits.Pack = limit
	h := wantedHistory{wants: []plumbing.Hash{want}, haves: haves, dir: dir, limits: limits}
	if o.partial() {
		h.depth = tipDepth
	}
	if err := o.receiveHistory(s, h); err != nil {
		return err
	}
	if _, err := o.present(want); err != nil {
		return fmt.Errorf("%w: the server did not send what its branch names: %w", source.ErrUnavailable, err)
	}
	return nil
}

// remember that a commit is too much, so that it is not fetched at each call.
func (p *promoting) remember(tip plumbing.Hash) {
	if p.large == nil || len(p.large) >= rememberedLarge {
		p.Repository.large = map[plumbing.Hash]bool{}
	}
	p.large[tip] = true
}

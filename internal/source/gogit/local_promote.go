package gogit

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/go-git/go-git/v5/plumbing"

	"chaperone.dev/chaperone/internal/fault"
	"chaperone.dev/chaperone/internal/source"
)

// LocalPromote is a promotion by hand.
type LocalPromote struct {
	Environment string // <pipeline>/<name>
	File        string // its file in the repository
	To          source.Revision
	Note        source.PromoteNote // its Environment, To and Direct are these
	Branch      string             // the followed one
	// Direct commits on Branch itself instead of the promotion branch.
	Direct  bool
	Author  Author           // default: user.name and user.email of Git's configuration
	Signing Signing          // default: as commit.gpgSign of that configuration has it
	Now     func() time.Time // default time.Now
	// Push sends the commit to where Branch comes from.
	Push        bool
	Credentials Credentials
	Timeout     time.Duration
}

func (p LocalPromote) request() ProposeRequest {
	note := p.Note
	note.Direct = p.Direct
	return ProposeRequest{Environment: p.Environment, File: p.File, To: p.To, Note: note}
}

func (p LocalPromote) destination() destination {
	return destination{p.Branch, p.Credentials, p.Timeout}
}

// Promote writes the commit that moves the pin in an environment's file, and
// nothing else of it, onto the environment's promotion branch in this
// repository, as the daemon does; with Direct onto the followed branch, and
// where that is checked out, files and index follow. With Push the promotion
// branch is made on the followed branch as it is at its remote, and sent there;
// whoever proposed the same before, it is not proposed again. A branch with
// other people's work stays as it is, here and there. Where only the push is
// refused, the commit stays on the branch here.
func (l *Local) Promote(ctx context.Context, request LocalPromote) (ProposeResult, error) {
	object := fmt.Sprintf("%s to %s on %s", request.Environment, request.To.Short(), request.Branch)
	promote := l.propose
	if request.Direct {
		promote = l.promoteDirect
	}
	result, err := promote(ctx, request)
	if errors.Is(err, source.ErrUnavailable) {
		return result, fault.Retryable("promote", object, err)
	}
	return result, fault.Terminal("promote", object, err)
}

func (l *Local) promoteDirect(ctx context.Context, request LocalPromote) (ProposeResult, error) {
	ref, err := branchRef(request.Branch)
	if err != nil {
		return ProposeResult{}, err
	}
	head, err := l.headCommit(request.Branch)
	if err != nil {
		return ProposeResult{}, err
	}
	by := l.signer(request.Author, request.Now, request.Signing)
	// With a promotion branch that is not there, nothing else is looked at.
	at := branches{followed: request.Branch, head: head, proposal: ref}
	p, result, err := l.planProposal(ctx, request.request(), at, by)
	if err == nil && p != nil {
		result, err = l.advanceTo(ref, head.hash, p, by)
	}
	if err != nil || !request.Push || result.Outcome != Proposed && result.Outcome != Obsolete {
		return result, err
	}
	why, err := l.push(ctx, request.destination(), ref)
	if why != "" {
		result.Outcome, result.Detail = Rejected, why
	}
	return result, err
}

// advanceTo moves a branch to the commit that moves a pin.
func (l *Local) advanceTo(ref plumbing.ReferenceName, from plumbing.Hash, p *plan, by signer) (ProposeResult, error) {
	inTheWay, err := l.advance(ref, from, p, by, "promote")
	result := ProposeResult{Outcome: Proposed, Branch: ref.Short(), Commit: revisionOf(p.commit)}
	if len(inTheWay) > 0 {
		result.Outcome, result.Commit = Uncommitted, tipOf(from)
		result.Detail = strings.Join(inTheWay, ", ") + ": " + inTheWayText
	}
	return result, err
}

// propose keeps the promotion branch of this repository, and with Push the one
// that it is sent to.
func (l *Local) propose(ctx context.Context, request LocalPromote) (ProposeResult, error) {
	ref, err := promotionRef(request.Environment, request.Branch)
	if err != nil {
		return ProposeResult{}, err
	}
	head, err := l.headCommit(request.Branch)
	if err != nil {
		return ProposeResult{}, err
	}
	tip, err := l.tip(ref)
	if err != nil {
		return ProposeResult{}, err
	}
	here := branches{followed: request.Branch, head: head, proposal: ref, tip: tip}
	by := l.signer(request.Author, request.Now, request.Signing)
	if request.Push {
		return l.proposeThere(ctx, request, here, by)
	}
	p, result, err := l.planProposal(ctx, request.request(), here, by)
	if err != nil || p == nil {
		return result, err
	}
	return l.advanceTo(ref, tip, p, by)
}

// proposeThere decides by what is at the remote, so that a clone that is behind
// proposes what the daemon would.
func (l *Local) proposeThere(ctx context.Context, request LocalPromote, here branches, by signer) (ProposeResult, error) {
	to, err := l.upstream(request.destination())
	if err != nil {
		return ProposeResult{}, err
	}
	defer to.close()
	both := to.with(here.proposal)
	there, rejected, err := l.see(ctx, both, here)
	if err != nil || rejected.Outcome != "" {
		return rejected, err
	}
	p, result, err := l.planProposal(ctx, request.request(), there, by)
	if err != nil || p == nil {
		return result, err
	}
	if why, err := l.notOurs(ctx, here, there); why != "" || err != nil {
		return ProposeResult{Outcome: Foreign, Branch: here.proposal.Short(), Commit: tipOf(here.tip), Detail: why}, err
	}
	if result, err = l.advanceTo(here.proposal, here.tip, p, by); err != nil || result.Outcome != Proposed {
		return result, err
	}
	why, err := l.send(ctx, both, there.tip, p)
	if why != "" {
		result.Outcome, result.Detail = Rejected, rejectedPush(both, why)
	}
	return result, err
}

// notOurs says why the promotion branch here cannot be replaced: it may have
// been made on the followed branch as it is here, or as it is there.
func (l *Local) notOurs(ctx context.Context, here, there branches) (string, error) {
	_, why, err := l.ours(ctx, here)
	if why == "" || err != nil {
		return why, err
	}
	there.tip = here.tip
	_, why, err = l.ours(ctx, there)
	return why, err
}

// see looks at both branches at the remote, and takes their commits into this
// repository without moving any branch of it.
func (l *Local) see(ctx context.Context, to *remote, here branches) (there branches, rejected ProposeResult, err error) {
	rejected.Branch = here.proposal.Short()
	s, err := to.open(ctx, uploadPack)
	if err != nil {
		return there, rejected, err
	}
	advert := s.advert
	s.close()
	if advert.tip.IsZero() {
		rejected.Outcome, rejected.Detail = Rejected, fmt.Sprintf("%s: there is no such branch there", to.object())
		return there, rejected, nil
	}
	err = l.obtain(ctx, to, advert.tip, here.head.Revision, l.limits.Pack)
	if err == nil && !advert.also.IsZero() {
		if err = l.obtain(ctx, to, advert.also, revisionOf(advert.tip), l.tipLimit()); isLarge(err) {
			rejected.Outcome, rejected.Commit, err = Foreign, revisionOf(advert.also), nil
			rejected.Detail = foreignBranch(here, fmt.Sprintf("%s brings more than %d bytes", advert.also, l.tipLimit()))
		}
	}
	if err != nil || rejected.Outcome != "" {
		return there, rejected, err
	}
	head, err := l.commitAt(advert.tip)
	return branches{followed: to.branch.Short(), head: head, proposal: here.proposal, tip: advert.also}, rejected, err
}

// obtain fetches a commit that the remote names, if it is not here.
func (l *Local) obtain(ctx context.Context, to *remote, want plumbing.Hash, have source.Revision, limit int64) error {
	if _, err := l.present(want); !errors.Is(err, errAbsent) {
		return err
	}
	haves, err := l.haves(ctx, have)
	if err != nil {
		return err
	}
	s, err := to.open(ctx, uploadPack)
	if err != nil {
		return err
	}
	defer s.close()
	if s.tip != want && s.also != want {
		return fmt.Errorf("%w: %s moved meanwhile; try again", source.ErrUnavailable, to.object())
	}
	return l.receive(s, want, l.commonDir, haves, limit)
}

// send moves the promotion branch at the remote, if it is where it was seen,
// and says why not if that is refused.
func (l *Local) send(ctx context.Context, to *remote, from plumbing.Hash, p *plan) (why string, err error) {
	s, err := to.open(ctx, receivePack)
	var no *problem
	if errors.As(err, &no) && no.denied {
		return no.text, nil
	}
	if err != nil {
		return "", err
	}
	defer s.close()
	if s.also != from {
		return "the promotion branch moved there meanwhile; try again", nil
	}
	said, err := s.push(to.also, from, p.commit, p.pack)
	if err == nil && !said.accepted {
		return orUnknown(said.reason), nil
	}
	if err == nil {
		return "", nil
	}
	// The answer got lost; the refs tell.
	if now, listErr := to.open(ctx, uploadPack); listErr == nil {
		defer now.close()
		if now.also == p.commit {
			return "", nil
		}
	}
	return "", err
}

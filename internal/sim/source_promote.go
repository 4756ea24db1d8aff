package sim

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"

	"chaperone.dev/chaperone/internal/controller"
	"chaperone.dev/chaperone/internal/promotion"
	"chaperone.dev/chaperone/internal/reconcile"
	"chaperone.dev/chaperone/internal/source"
)

// Propose implements controller.Source.
func (p sourcePort) Propose(ctx context.Context, env promotion.ID, file string, note source.PromoteNote) (controller.ProposeResult, error) {
	p.s.checkSilent(p.life, "promotion message", note.Evidence)
	return p.promote(ctx, env, func(branch string) (*commit, *controller.ProposeResult, error) {
		return p.planProposal(branch, env, file, note)
	})
}

// Withdraw implements controller.Source.
func (p sourcePort) Withdraw(ctx context.Context, env promotion.ID) (controller.ProposeResult, error) {
	tried := false
	return p.promote(ctx, env, func(branch string) (*commit, *controller.ProposeResult, error) {
		tip, found := p.s.git.refs[branch]
		if !found && tried {
			return nil, &controller.ProposeResult{Outcome: reconcile.OutcomeDone}, nil
		}
		if !found {
			return nil, &controller.ProposeResult{Outcome: reconcile.OutcomeAlready}, nil
		}
		tried = true
		ours, why := p.ours(branch, tip)
		if ours != nil {
			why = ours.byHand
		}
		if why != "" { // nothing of ours is there
			return nil, &controller.ProposeResult{Outcome: reconcile.OutcomeAlready, Commit: tip, Detail: why}, nil
		}
		return nil, nil, nil // to no commit
	})
}

// promote plans a move of the promotion branch and pushes it, until the refs
// say that it is done.
func (p sourcePort) promote(ctx context.Context, env promotion.ID,
	plan func(branch string) (*commit, *controller.ProposeResult, error)) (controller.ProposeResult, error) {
	m := p.mirror()
	if err := take(ctx, m); err != nil {
		return controller.ProposeResult{}, err
	}
	defer give(m)
	branch := source.PromotionBranch(env.String())
	refused, reason := 0, ""
	for attempt := range pushAttempts {
		if err := p.pause(ctx, attempt); err != nil {
			return controller.ProposeResult{}, err
		}
		var result *controller.ProposeResult
		var made *commit
		var from source.Revision
		err := p.call(ctx, "Git.Fetch", env.String(), speedGit, func() (err error) {
			if _, err = p.fetch(); err == nil {
				from = p.s.git.refs[branch]
				made, result, err = plan(branch)
			}
			return err
		})
		if err != nil {
			return controller.ProposeResult{}, classified("propose", err)
		}
		if result != nil {
			return *result, nil
		}
		why, err := p.pushProposal(ctx, env, branch, from, made)
		switch {
		case why != "":
			if refused, reason = refused+1, why; refused >= 3 {
				return controller.ProposeResult{Outcome: reconcile.OutcomeRejected, Commit: from, Detail: reason}, nil
			}
		case ctx.Err() != nil || errors.Is(err, errGone):
			return controller.ProposeResult{}, err
		}
	}
	return controller.ProposeResult{}, classified("propose", fmt.Errorf("%w: the branches moved during each attempt", source.ErrUnavailable))
}

// pushProposal moves the promotion branch if it is still where it was. What came
// of it, the next look at the refs tells.
func (p sourcePort) pushProposal(ctx context.Context, env promotion.ID, branch string, from source.Revision, made *commit) (reason string, err error) {
	err = p.call(ctx, "Git.Push", env.String(), speedGit, func() error {
		g := p.s.git
		reason = ""
		for _, sneak := range g.between {
			sneak()
		}
		g.between = nil
		switch {
		case g.down:
			return fmt.Errorf("%w: connection refused", source.ErrUnavailable)
		case g.refs[branch] != from:
			return nil // somebody was faster
		case g.protectedPromotions != "":
			reason = g.protectedPromotions
			return nil
		case made == nil:
			g.move(branch, "")
			p.s.clusters.counts[effectKey{env, reconcile.ActionWithdraw}]++
			p.s.touched(nil)
			p.s.note(p.life, "delete branch", branch, "")
			return nil
		}
		p.s.checkProposed(p.life, env, made)
		p.pushed(branch, made)
		return nil
	})
	return reason, err
}

func (p sourcePort) planProposal(branch string, env promotion.ID, file string, note source.PromoteNote) (*commit, *controller.ProposeResult, error) {
	g, head := p.s.git, p.s.git.commits[p.mirror().head]
	tip := g.refs[branch]
	end := func(outcome reconcile.Outcome, detail string) (*commit, *controller.ProposeResult, error) {
		return nil, &controller.ProposeResult{Outcome: outcome, Commit: tip, Detail: detail}, nil
	}
	if !g.reachable(head.Revision)[note.To] {
		return end(reconcile.OutcomeRejected, fmt.Sprintf("%s is not a commit of %s", note.To, mainBranch))
	}
	content, found := head.files[file]
	if !found {
		return end(reconcile.OutcomeRejected, file+": there is no such file")
	}
	edited, err := promotion.SetRevision([]byte(content), note.To)
	if err != nil {
		return end(reconcile.OutcomeRejected, err.Error())
	}
	if bytes.Equal(edited, []byte(content)) {
		return end(reconcile.OutcomeAlready, "")
	}
	if tip != "" {
		ours, why := p.ours(branch, tip)
		if why != "" {
			return end(reconcile.OutcomeRejected, why)
		}
		if ours != nil && ours.to == note.To && ours.file == file && ours.before == content {
			return end(reconcile.OutcomeDone, "")
		}
		if ours != nil && ours.byHand != "" {
			return end(reconcile.OutcomeRejected, ours.byHand)
		}
	}
	tree := maps.Clone(head.files)
	tree[file] = string(edited)
	note.Environment = env.String()
	return p.sign(source.PromoteMessage(note), head, tree), nil, nil
}

// proposed is what a commit of ours on a promotion branch does.
type proposed struct {
	file, before string
	to           source.Revision
	byHand       string // why it is a person's, and not to be touched
}

// ours reads a promotion branch. It is nil where it has nothing that the
// followed branch has not; why says that it is somebody else's.
func (p sourcePort) ours(branch string, tip source.Revision) (found *proposed, why string) {
	g := p.s.git
	onLine := g.reachable(p.mirror().head)
	if onLine[tip] {
		return nil, ""
	}
	c := g.commits[tip]
	foreign := fmt.Sprintf("branch %s: commit %s by %s is not a proposal of chaperone's; delete the branch to have the promotion proposed there",
		branch, tip.Short(), c.Author.Name)
	to, promotes := c.Promotes()
	if !promotes || len(c.Parents) != 1 || !onLine[c.Parents[0]] {
		return nil, foreign
	}
	before := g.parentFiles(c)
	paths := changedPaths(before, c.files)
	if len(paths) != 1 {
		return nil, foreign
	}
	edited, err := promotion.SetRevision([]byte(before[paths[0]]), to)
	if err != nil || string(edited) != c.files[paths[0]] {
		return nil, foreign
	}
	found = &proposed{file: paths[0], before: before[paths[0]], to: to}
	if c.Author.Email != daemonEmail {
		found.byHand = fmt.Sprintf("branch %s: commit %s by %s was proposed by hand and waits to be merged", branch, tip.Short(), c.Author.Name)
	}
	return found, ""
}

package app

import (
	"context"
	"fmt"
	"time"

	"chaperone.dev/chaperone/internal/controller"
	"chaperone.dev/chaperone/internal/forge"
	"chaperone.dev/chaperone/internal/preview"
	"chaperone.dev/chaperone/internal/preview/between"
	"chaperone.dev/chaperone/internal/render"
	"chaperone.dev/chaperone/internal/source"
	"chaperone.dev/chaperone/internal/source/gogit"
)

// headPatience bounds the fetch of one pull request's head.
const headPatience = time.Minute

// previews compare what is proposed with the followed branch. What strangers
// wrote is read from a place of its own and rendered by itself within narrow
// bounds, so that nothing that the daemon lives on is pushed out or filled up.
// They ask no cluster: what they tell stands in the repository and the policies.
type previews struct {
	own, branches, forks *between.Previews
	heads                *gogit.Pulls
}

// forkLimits are for what anybody may have written. The time of a render goes
// with what it reads and writes, and so does its memory.
func forkLimits() render.Limits {
	return render.Limits{Files: 10_000, Bytes: 16 << 20, Output: 16 << 20, Time: 30 * time.Second, Kept: 8 << 20}
}

// previews is nil without a forge.
func (a *App) previews(ports controller.Ports, repository *repository) (*previews, error) {
	judges, known := ports.Policies.(policies)
	if ports.Forge == nil || !known {
		return nil, nil
	}
	heads, err := repository.Pulls()
	if err != nil {
		return nil, fmt.Errorf("place for pull requests: %w", err)
	}
	// Its marks of secret values are like no others: who can write a pull request
	// could otherwise compare values of its own with those in logs and pages.
	redactor := newRedactor()
	compare := func(from between.Commits, by between.Renderer) *between.Previews {
		return &between.Previews{Source: from, Renderer: by, Redact: redactor, Now: time.Now, Policies: func() between.Policies {
			if bundle := judges.current(); bundle != nil {
				return bundle
			}
			return nil
		}}
	}
	limits := render.DefaultLimits()
	limits.Kept = 16 << 20
	return &previews{
		own:      compare(followed{repository.Repository}, ports.Renderer),
		branches: compare(pulled{heads}, renderer{render.New(limits)}),
		forks:    compare(pulled{heads}, renderer{render.New(forkLimits())}), heads: heads,
	}, nil
}

func (p *previews) close() {
	if p != nil {
		p.heads.Close()
	}
}

// port is no interface that is nil inside.
func (p *previews) port() controller.Previews {
	if p == nil {
		return nil
	}
	return p
}

// Of implements controller.Previews.
func (p *previews) Of(ctx context.Context, branch, head source.Revision) (preview.Preview, error) {
	return p.own.Of(ctx, branch, head)
}

// OfPull implements controller.Previews.
func (p *previews) OfPull(ctx context.Context, branch source.Revision, pr forge.PullRequest) (preview.Preview, error) {
	if err := p.fetch(ctx, pr); err != nil {
		return preview.Preview{}, err
	}
	if pr.FromFork {
		return p.forks.Of(ctx, branch, pr.Head)
	}
	return p.branches.Of(ctx, branch, pr.Head)
}

func (p *previews) fetch(ctx context.Context, pr forge.PullRequest) error {
	ctx, cancel := context.WithTimeout(ctx, headPatience)
	defer cancel()
	return p.heads.Fetch(ctx, pr.Ref, pr.Head)
}

// followed is the mirror as a comparison reads it.
type followed struct{ *gogit.Repository }

func (f followed) Snapshot(revision source.Revision) (source.Snapshot, error) {
	return f.Repository.Snapshot(revision)
}

func (f followed) Contains(ctx context.Context, revision, head source.Revision) (bool, error) {
	return f.ContainedIn(ctx, revision, head)
}

// pulled are heads of pull requests as a comparison reads them.
type pulled struct{ *gogit.Pulls }

func (p pulled) Snapshot(revision source.Revision) (source.Snapshot, error) {
	return p.Pulls.Snapshot(revision)
}

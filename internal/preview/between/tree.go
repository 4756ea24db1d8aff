package between

import (
	"context"

	"chaperone.dev/chaperone/internal/evidence"
	"chaperone.dev/chaperone/internal/manifest"
	"chaperone.dev/chaperone/internal/policy"
	"chaperone.dev/chaperone/internal/promotion"
	"chaperone.dev/chaperone/internal/source"
)

// tree is what environments are judged in: files of one revision, and the
// environments of a side.
type tree struct {
	*Asker
	Side
	newest source.Snapshot // of the side, where evidence of images stands
	around Around
	places Places
}

func newTree(a *Asker, side Side) *tree {
	t := &tree{Asker: a, Side: side, newest: side.Snapshot}
	t.around = Around{Set: side.Set, Revision: side.Snapshot.Revision(), Policies: a.Policies, Redact: a.Redact,
		Render: func(ctx context.Context, env promotion.Environment) (manifest.Set, error) {
			set, _, err := a.Renderer.Render(ctx, side.Snapshot, env.Path)
			return set, err
		}}
	t.places = Places{Tree: side.Snapshot, Settings: side.Snapshot, Bundle: a.Bundle, Max: maxLocated}
	return t
}

// at are other files with the environments of the same side.
func (t *tree) at(snapshot source.Snapshot, commit source.Commit) *tree {
	other := newTree(t.Asker, Side{snapshot, commit, t.Set})
	other.newest, other.places.Settings = t.newest, t.newest
	return other
}

// judge asks the policies.
func (t *tree) judge(ctx context.Context, b built) (policy.Report, error) {
	in := policy.NewInput(b.env, b.set, policy.Release{
		Revision: t.Snapshot.Revision(), Digest: b.digest,
		Author: policy.PersonOf(t.Commit.Author), Committer: policy.PersonOf(t.Commit.Committer),
	}, nil, t.Now, t.Redact)
	t.around.Tell(ctx, &in, b.env)
	var err error
	if in.Recorded, err = evidence.List(t.newest, b.env.ID.Pipeline); err != nil {
		return policy.Report{}, err
	}
	return t.Policies.Evaluate(ctx, in)
}

// maxLocated bounds how many findings of one environment are looked for in files.
const maxLocated = 500

// located tells of each finding where it is to be changed.
func (t *tree) located(ctx context.Context, b built, findings []policy.Finding) error {
	return t.places.Locate(ctx, b.env, b.set, findings)
}

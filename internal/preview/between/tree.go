package between

import (
	"context"
	"io/fs"
	"path"
	"slices"
	"strings"

	"chaperone.dev/chaperone/internal/evidence"
	"chaperone.dev/chaperone/internal/manifest"
	"chaperone.dev/chaperone/internal/origin"
	"chaperone.dev/chaperone/internal/policy"
	"chaperone.dev/chaperone/internal/promotion"
	"chaperone.dev/chaperone/internal/source"
)

// tree is what environments are judged in: files of one revision, and the
// environments of a side. Rules that look at other environments see what the
// same files would run there: what they verified, and who approved, is known to
// the daemon only.
type tree struct {
	*Asker
	Side
	newest source.Snapshot // of the side, where evidence of images stands
	prints map[promotion.ID]policy.Footprint
	traces map[string]*origin.Trace
}

func newTree(a *Asker, side Side) *tree {
	return &tree{Asker: a, Side: side, newest: side.Snapshot, prints: map[promotion.ID]policy.Footprint{}, traces: map[string]*origin.Trace{}}
}

// at are other files with the environments of the same side.
func (t *tree) at(snapshot source.Snapshot, commit source.Commit) *tree {
	other := newTree(t.Asker, Side{snapshot, commit, t.Set})
	other.newest = t.newest
	return other
}

// judge asks the policies.
func (t *tree) judge(ctx context.Context, b built) (policy.Report, error) {
	in := policy.NewInput(b.env, b.set, policy.Release{
		Revision: t.Snapshot.Revision(), Digest: b.digest,
		Author: policy.PersonOf(t.Commit.Author), Committer: policy.PersonOf(t.Commit.Committer),
	}, nil, t.Now, t.Redact)
	in.LastGood.State, in.Approval.State = policy.StateUnknown, policy.ApprovalProposed
	t.lookAround(ctx, &in, b.env)
	var err error
	if in.Recorded, err = evidence.List(t.newest, b.env.ID.Pipeline); err != nil {
		return policy.Report{}, err
	}
	return t.Policies.Evaluate(ctx, in)
}

func (t *tree) lookAround(ctx context.Context, in *policy.Input, env promotion.Environment) {
	var files []promotion.Environment
	var unread []promotion.ID
	for _, id := range t.Set.IDs() {
		if file, valid := t.Set.Environments[id]; !valid {
			unread = append(unread, id)
		} else if id.Pipeline == env.ID.Pipeline {
			files = append(files, file)
		}
	}
	looks := t.Policies.Around(env.Data)
	in.Pipeline = policy.Neighbours(env, files, unread...)
	for i := range in.Pipeline {
		n := &in.Pipeline[i]
		print, known := t.footprint(ctx, n.Environment, looks.Pipeline && n.Compared(env))
		n.State, n.References = known, print.References
	}
	for _, id := range env.After {
		print, known := t.footprint(ctx, id, looks.Upstream)
		in.Upstream = append(in.Upstream, policy.Upstream{Environment: id, State: known, Revision: t.Snapshot.Revision(),
			Images: slices.Clone(print.Images), Workloads: slices.Clone(print.Workloads)})
	}
}

// footprint renders an environment where a rule looks at others. One that does
// not render is told of by itself, and not known here.
func (t *tree) footprint(ctx context.Context, id promotion.ID, looks bool) (policy.Footprint, policy.Knowledge) {
	env, valid := t.Set.Environments[id]
	if !valid || !looks {
		return policy.Footprint{}, policy.StateUnknown
	}
	if print, made := t.prints[id]; made {
		return print, policy.StateRendered
	}
	set, _, err := t.Renderer.Render(ctx, t.Snapshot, env.Path)
	if err != nil {
		return policy.Footprint{}, policy.StateUnknown
	}
	t.prints[id] = policy.FootprintOf(env, set, t.Policies.PodTemplates(), t.Redact)
	return t.prints[id], policy.StateRendered
}

// maxLocated bounds how many findings of one environment are looked for in files.
const maxLocated = 500

// located tells of each finding where it is to be changed.
func (t *tree) located(b built, findings []policy.Finding) []policy.Finding {
	for i := range findings {
		f := &findings[i]
		switch {
		case f.Source != nil: // of an exception
			f.Source = &policy.Place{File: path.Join(t.Bundle, f.Source.File), Line: f.Source.Line, Exact: f.Source.Exact}
		case i < maxLocated:
			place := t.place(b, *f)
			f.Source = &policy.Place{File: place.File, Line: place.Line, Exact: place.Exact}
		}
	}
	return findings
}

func (t *tree) place(b built, f policy.Finding) origin.Place {
	if f.Object == nil {
		return t.setting(b.env, f.Path)
	}
	o, found := b.set.Get(f.Object.ID())
	if !found { // a rule may name what is not there
		return t.setting(b.env, "")
	}
	if t.traces[b.env.Path] == nil {
		t.traces[b.env.Path] = origin.Of(t.Snapshot, b.env.Path)
	}
	return t.traces[b.env.Path].Field(o, f.Path)
}

// setting is a place in the environment's own file, whose fields rules know as
// input.environment.
func (t *tree) setting(env promotion.Environment, field string) origin.Place {
	first := origin.Place{File: env.File, Line: 1}
	content, err := fs.ReadFile(t.newest, env.File)
	if err != nil {
		return first
	}
	objects, err := manifest.Decode(env.File, content)
	field, isField := strings.CutPrefix(strings.TrimPrefix(field, "input."), "environment.")
	if err != nil || len(objects) != 1 || !isField {
		return first
	}
	return origin.OfFile(env.File, content).Field(objects[0], "spec."+field)
}

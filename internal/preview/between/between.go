// Package between finds out what lies between two revisions of a source: it
// renders both, has both judged by the same policies, and tells what merging one
// into the other would do (package preview). It asks no cluster, and guarantees
// that what cannot be rendered or judged is told as such and never taken for
// nothing. What the renderer remembers costs nothing again.
package between

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"time"

	"chaperone.dev/chaperone/internal/fault"
	"chaperone.dev/chaperone/internal/manifest"
	"chaperone.dev/chaperone/internal/policy"
	"chaperone.dev/chaperone/internal/preview"
	"chaperone.dev/chaperone/internal/promotion"
	"chaperone.dev/chaperone/internal/source"
)

// Source reads the repository. Its methods are called one after the other, and
// may be called again for the same.
type Source interface {
	Commit(source.Revision) (source.Commit, error)
	Snapshot(source.Revision) (source.Snapshot, error)
	// Contains reports whether a revision is head or in its history, along any parent.
	Contains(ctx context.Context, revision, head source.Revision) (bool, error)
}

// Renderer builds a directory of a snapshot, and remembers what it built. A
// terminal error means that this snapshot cannot be built.
type Renderer interface {
	Render(ctx context.Context, snap source.Snapshot, dir string) (manifest.Set, manifest.Digest, error)
}

// Policies judge. They must not change between two calls.
type Policies interface {
	Digest() manifest.Digest
	Evaluate(ctx context.Context, in policy.Input) (policy.Report, error)
	Around(data promotion.Data) policy.Looks
	PodTemplates() policy.PodTemplates
}

// Side is one of the two revisions.
type Side struct {
	Snapshot source.Snapshot
	Commit   source.Commit // of files that are not committed, that of the checkout
	Set      promotion.Set
}

// Open reads a revision's environments.
func Open(snapshot source.Snapshot, commit source.Commit) (Side, error) {
	set, err := promotion.Load(snapshot)
	return Side{snapshot, commit, set}, err
}

// Asker compares revisions.
type Asker struct {
	Source   Source
	Renderer Renderer
	Policies Policies
	// Judges is where the policies are from, for people, and Bundle is their
	// directory as findings about exceptions name it.
	Judges, Bundle string
	// Branch is the head of the followed branch, where base is behind it.
	Branch source.Revision
	Redact manifest.Redactor
	Now    time.Time
	// Known is what the daemon knows of an environment beside the repository, a
	// sentence each; nil where nobody is asked.
	Known func(preview.Environment) []string
	// Progress is told what takes its time; nil is nobody.
	Progress func(string)
}

// Ask is what merging head into base would do. An error means that it could not
// be found out.
func (a *Asker) Ask(ctx context.Context, base, head Side) (preview.Preview, error) {
	q := question{Asker: a, base: newTree(a, base), head: newTree(a, head)}
	p := preview.Preview{Base: base.Snapshot.Revision(), Head: head.Snapshot.Revision(), Policies: a.Policies.Digest(), Judges: a.Judges,
		Environments: []preview.Environment{}}
	for _, id := range q.order() {
		if a.Progress != nil {
			a.Progress(id.String())
		}
		env, touched, err := q.environment(ctx, id)
		if err != nil {
			return p, fmt.Errorf("%s: %w", id, err)
		}
		if !touched {
			continue
		}
		if a.Known != nil {
			env.Evidence = append(env.Evidence, a.Known(env)...)
		}
		p.Environments = append(p.Environments, env)
	}
	p.Notes = q.notes()
	return p, nil
}

// question is one comparison.
type question struct {
	*Asker
	base, head *tree
}

// order are the environments of either side as a change passes through them: as
// head says, then those that it has no valid file of.
func (q *question) order() []promotion.ID {
	var ids []promotion.ID
	for _, side := range []promotion.Set{q.head.Set, q.base.Set} {
		for _, pipeline := range side.Pipelines() {
			for _, id := range slices.Concat(side.Order(pipeline), faulty(side, pipeline)) {
				if !slices.Contains(ids, id) {
					ids = append(ids, id)
				}
			}
		}
	}
	slices.SortStableFunc(ids, func(a, b promotion.ID) int {
		return promotion.ID{Pipeline: a.Pipeline}.Compare(promotion.ID{Pipeline: b.Pipeline})
	})
	return ids
}

func faulty(set promotion.Set, pipeline string) (ids []promotion.ID) {
	for _, id := range set.IDs() {
		if _, broken := set.Faults[id]; broken && id.Pipeline == pipeline {
			ids = append(ids, id)
		}
	}
	return ids
}

// notes are about files that look like an environment's and are none.
func (q *question) notes() (notes []string) {
	known := map[string]bool{}
	for _, err := range q.base.Set.Misplaced {
		known[err.Error()] = true
	}
	for _, err := range q.head.Set.Misplaced {
		if !known[err.Error()] {
			notes = append(notes, err.Error())
		}
	}
	return notes
}

// environment is what happens to one; touched is false where nothing does.
func (q *question) environment(ctx context.Context, id promotion.ID) (env preview.Environment, touched bool, err error) {
	was, before := q.base.Set.Environments[id]
	now, after := q.head.Set.Environments[id]
	env = preview.Environment{ID: id, Effect: preview.Changed, Data: now.Data, After: now.After, Pinned: was.Revision, Pin: now.Revision}
	if problem, broken := q.head.Set.Fault(id); broken {
		return q.invalid(env, problem)
	}
	if !after {
		env.Effect, env.Data = preview.Removed, was.Data
		_, broken := q.base.Set.Fault(id)
		return env, before || broken, nil
	}
	if before {
		env.Settings = q.settings(was, now)
	}
	return q.compare(ctx, env, was, now, before)
}

// invalid is an environment whose file is wrong. Where the file is the same in
// both, it is another one that made it so: what it names in `after` is gone, say.
func (q *question) invalid(env preview.Environment, problem promotion.Fault) (preview.Environment, bool, error) {
	stands := false
	if earlier, broken := q.base.Set.Fault(env.ID); broken {
		stands = earlier.Reason == problem.Reason && earlier.Err.Error() == problem.Err.Error()
	}
	env.Effect = preview.Invalid
	env.Fault = &preview.Fault{Reason: problem.Reason, Text: problem.Err.Error(), Stands: stands}
	file := promotion.Dir + "/" + env.ID.String() + ".yaml"
	changed, err := q.differs(file)
	return env, changed || !stands, err
}

// differs compares contents: hashes of files on disk are not Git's.
func (q *question) differs(file string) (bool, error) {
	before, err := fs.ReadFile(q.base.Snapshot, file)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return false, err
	}
	after, err := fs.ReadFile(q.head.Snapshot, file)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return false, err
	}
	return !bytes.Equal(before, after), nil
}

func (q *question) settings(was, now promotion.Environment) []preview.Setting {
	before, err := fs.ReadFile(q.base.Snapshot, was.File)
	after, other := fs.ReadFile(q.head.Snapshot, now.File)
	if err != nil || other != nil {
		return nil // it was read a moment ago; what it says is in the comparison
	}
	return preview.Settings(before, after)
}

// build renders an environment in a tree. What cannot be built is a fault;
// what could not be read is an error.
func (q *question) build(ctx context.Context, t *tree, env promotion.Environment) (built, *preview.Fault, error) {
	set, digest, err := q.Renderer.Render(ctx, t.Snapshot, env.Path)
	switch {
	case ctx.Err() != nil:
		return built{}, nil, ctx.Err()
	case fault.IsTerminal(err):
		return built{}, &preview.Fault{Reason: promotion.RenderFailed, Text: err.Error()}, nil
	case err != nil:
		return built{}, nil, err
	case set.Len() == 0:
		return built{}, &preview.Fault{Reason: promotion.EmptyRender, Text: env.Path + " renders no object"}, nil
	}
	return built{t, env, set, digest}, nil, nil
}

// pinnedTree is the tree that a pinned environment runs.
func (q *question) pinnedTree(ctx context.Context, side *tree, env promotion.Environment) (*tree, *preview.Fault, error) {
	unknown := func(why string) *preview.Fault {
		return &preview.Fault{Reason: promotion.UnknownRevision, Text: fmt.Sprintf("%s: revision: %s %s", env.File, env.Revision, why)}
	}
	commit, err := q.Source.Commit(env.Revision)
	if errors.Is(err, source.ErrUnknownRevision) {
		return nil, unknown("is no commit of this repository"), nil
	}
	if err != nil {
		return nil, nil, err
	}
	contained, err := q.onBranch(ctx, side, env.Revision)
	if err != nil {
		return nil, nil, err
	}
	if !contained {
		return nil, unknown("is not a commit of the branch that is merged into, nor of what is merged"), nil
	}
	snapshot, err := q.Source.Snapshot(env.Revision)
	if err != nil {
		return nil, nil, err
	}
	return side.at(snapshot, commit), nil, nil
}

// onBranch reports whether a revision will be on the followed branch.
func (q *question) onBranch(ctx context.Context, side *tree, revision source.Revision) (bool, error) {
	for _, head := range []source.Revision{side.Commit.Revision, q.Branch} {
		if head == "" {
			continue
		}
		contained, err := q.Source.Contains(ctx, revision, head)
		if contained || err != nil && !errors.Is(err, source.ErrTooFar) {
			return contained, err
		}
	}
	return false, nil
}

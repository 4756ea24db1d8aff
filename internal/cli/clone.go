package cli

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/spf13/cobra"

	"chaperone.dev/chaperone/internal/manifest"
	"chaperone.dev/chaperone/internal/promotion"
	"chaperone.dev/chaperone/internal/reconcile"
	"chaperone.dev/chaperone/internal/render"
	"chaperone.dev/chaperone/internal/source"
	"chaperone.dev/chaperone/internal/source/gogit"
	"chaperone.dev/chaperone/internal/state"
)

// maxHistory bounds the first-parent line that commands look at.
const maxHistory = 5_000

// clone is a repository on this machine, the branch that the daemon follows in
// it, and the environments that the branch's head defines.
type clone struct {
	*gogit.Local
	branch   string
	head     source.Revision
	set      promotion.Set
	newest   source.Snapshot // of head
	line     []source.Commit // first parents from head, newest first
	renderer *render.Renderer
}

// errNoClone adds nothing to what is said.
var errNoClone = errors.New("")

// openClone opens the repository in dir. Without a branch it takes the one
// that is checked out.
func openClone(ctx context.Context, dir, branch string) (*clone, error) {
	if remote(dir) {
		return nil, fmt.Errorf("--repo %s: want the directory of a clone, not a URL", dir)
	}
	local, err := gogit.OpenLocal(dir, gogit.Limits{})
	if err != nil {
		return nil, fmt.Errorf("%w%w", errNoClone, err)
	}
	r := &clone{Local: local, branch: branch, renderer: render.New(render.DefaultLimits())}
	if err := r.read(ctx); err != nil {
		local.Close()
		return nil, err
	}
	return r, nil
}

func (r *clone) read(ctx context.Context) error {
	if r.branch == "" {
		if r.branch = r.Branch(); r.branch == "" {
			return errors.New("no branch is checked out; want --branch, the one that the daemon follows")
		}
	}
	var err error
	if r.head, err = r.Head(r.branch); err != nil {
		return err
	}
	if r.line, err = r.FirstParents(ctx, "", r.head, maxHistory); err != nil {
		return err
	}
	snapshot, err := r.Snapshot(r.head)
	if err != nil {
		return err
	}
	r.newest = snapshot
	r.set, err = promotion.Load(snapshot)
	return err
}

// environment finds one that the branch's head defines.
func (r *clone) environment(name string) (promotion.Environment, error) {
	return (&tree{set: r.set}).environment(name)
}

// place is where a commit stands on the branch's first-parent line, 0 for the
// head; negative if it does not.
func (r *clone) place(revision source.Revision) int {
	return slices.IndexFunc(r.line, func(c source.Commit) bool { return c.Revision == revision })
}

// errNoRender is a release that cannot be built.
var errNoRender = errors.New("does not render")

// digest is what the daemon would run of an environment at a commit: the path
// that its file names now, as it was then.
func (r *clone) digest(ctx context.Context, env promotion.Environment, at source.Revision) (reconcile.Digest, error) {
	snapshot, err := r.Snapshot(at)
	if err != nil {
		return "", err
	}
	return r.digestOf(ctx, snapshot, env.Path)
}

// digestThen is what it ran at a commit: of the path that its file named then,
// or of the present one where there was no such file.
func (r *clone) digestThen(ctx context.Context, env promotion.Environment, at source.Revision) (reconcile.Digest, error) {
	snapshot, err := r.Snapshot(at)
	if err != nil {
		return "", err
	}
	path := env.Path
	if file, found, err := promotion.LoadFile(snapshot, env.ID); err == nil && found {
		path = file.Path
	}
	return r.digestOf(ctx, snapshot, path)
}

// digestOf is what a directory renders to.
func (r *clone) digestOf(ctx context.Context, snapshot source.Snapshot, path string) (reconcile.Digest, error) {
	result, err := r.renderer.Render(ctx, snapshot, path)
	switch {
	case ctx.Err() != nil:
		return "", ctx.Err()
	case err != nil:
		return "", fmt.Errorf("%s at %s: %w: %w", path, snapshot.Revision().Short(), errNoRender, err)
	case result.Set.Len() == 0:
		return "", fmt.Errorf("%s at %s: %w: it holds no object", path, snapshot.Revision().Short(), errNoRender)
	}
	return reconcile.Digest(result.Digest), nil
}

// changes reports whether a commit changes what an environment renders to. Two
// commits that do not render differ all the same: nobody knows better.
func (r *clone) changes(ctx context.Context, env promotion.Environment, commit source.Commit) (bool, error) {
	if len(commit.Parents) == 0 {
		return true, nil
	}
	after, err := r.digestThen(ctx, env, commit.Revision)
	if err == nil {
		var before reconcile.Digest
		if before, err = r.digestThen(ctx, env, commit.Parents[0]); err == nil {
			return before != after, nil
		}
	}
	if errors.Is(err, errNoRender) {
		return true, nil
	}
	return false, err
}

// pinFlags are those of commands that move a pin.
type pinFlags struct {
	repo, branch string
	direct, push bool
	credentialFlags
	signingFlags
	clusterFlags
}

func (f *pinFlags) add(cmd *cobra.Command, c *command) {
	cmd.Flags().StringVar(&f.repo, "repo", ".", "directory of the repository")
	cmd.Flags().StringVar(&f.branch, "branch", "", "the branch that the daemon follows; default the one checked out")
	cmd.Flags().BoolVar(&f.direct, "direct", false, "commit on that branch itself, without a pull request")
	cmd.Flags().BoolVar(&f.push, "push", false, "push the commit afterwards")
	f.credentialFlags.add(cmd, c)
	f.signingFlags.add(cmd, c)
	f.clusterFlags.add(cmd, askSoon)
}

// bench is what moving a pin looks at: the clone, and what the daemon knows.
type bench struct {
	*clone
	env     promotion.Environment
	records []state.Record
	offline error // why the daemon's records are not known
}

func (f *pinFlags) open(ctx context.Context, c *command, name string) (*bench, error) {
	if err := f.credentialFlags.check(); err != nil {
		return nil, err
	}
	if _, err := promotion.ParseID(name); err != nil {
		return nil, err
	}
	repository, err := openClone(ctx, f.repo, f.branch)
	if err != nil {
		return nil, err
	}
	b := &bench{clone: repository}
	if b.env, err = repository.environment(name); err != nil {
		repository.Close()
		return nil, err
	}
	c.progress("asking the daemon's cluster")
	b.records, b.offline = f.everything(ctx, c)
	if _, known := b.record(b.env.ID); b.offline == nil && !known {
		b.offline = fmt.Errorf("the daemon in namespace %s does not know %s", f.namespace, b.env.ID)
	}
	c.progress("")
	if ctx.Err() != nil {
		repository.Close()
		return nil, ctx.Err()
	}
	return b, nil
}

// record is what the daemon knows of an environment.
func (b *bench) record(id promotion.ID) (state.Record, bool) {
	i := slices.IndexFunc(b.records, func(r state.Record) bool { return r.ID == id })
	if i < 0 || b.records[i].Unreadable != nil {
		return state.Record{}, false
	}
	return b.records[i], true
}

// resolve finds the commit that a person means, which has to be on the branch.
func (b *bench) resolve(ctx context.Context, flag, name string) (source.Revision, error) {
	revision, err := resolve(b.Local, name)
	if err != nil {
		return "", err
	}
	contained, err := b.Contains(ctx, revision, b.head)
	if err != nil {
		return "", err
	}
	if !contained {
		return "", refusal("%s %s: %s is no commit of %s; merge it there first, or bring the clone up to date", flag, name, revision.Short(), b.branch)
	}
	return revision, nil
}

// refusal is the answer no, with its reason.
func refusal(format string, args ...any) error {
	return &exitError{exitNo, fmt.Errorf(format, args...)}
}

// failedHere reports whether a digest is quarantined.
func failedHere(r state.Record, d reconcile.Digest) bool {
	return d != "" && slices.Contains(r.Journal.Quarantine, d)
}

func shortDigest(d reconcile.Digest) string { return manifest.Digest(d).Short() }

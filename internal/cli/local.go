package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"chaperone.dev/chaperone/internal/promotion"
	"chaperone.dev/chaperone/internal/render"
	"chaperone.dev/chaperone/internal/source"
	"chaperone.dev/chaperone/internal/source/gogit"
	"chaperone.dev/chaperone/internal/source/worktree"
)

// repoFlags say which files a local command looks at.
type repoFlags struct{ repo, branch, revision string }

func (f *repoFlags) add(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.repo, "repo", ".", "path or URL of the repository")
	cmd.Flags().StringVar(&f.branch, "branch", "", "branch, with --revision or a URL; default the one checked out, or main")
	cmd.Flags().StringVar(&f.revision, "revision", "", "commit, or head for the branch's; default the working tree")
}

// tree is a snapshot and the environments that its files define.
type tree struct {
	snapshot source.Snapshot
	commit   source.Commit // zero for the working tree
	set      promotion.Set
	close    func()
}

func (f *repoFlags) load(ctx context.Context) (*tree, error) {
	if f.revision == "" && !remote(f.repo) {
		return loadWorkTree(f.repo)
	}
	return f.loadCommit(ctx)
}

func remote(repo string) bool { return strings.Contains(repo, "://") || strings.Contains(repo, "@") }

func loadWorkTree(dir string) (*tree, error) {
	snapshot, err := worktree.Open(dir)
	if err != nil {
		return nil, err
	}
	t := &tree{snapshot: snapshot, close: func() { snapshot.Close() }}
	if t.set, err = promotion.Load(snapshot); err != nil {
		t.close()
		return nil, fmt.Errorf("%s: %w", dir, err)
	}
	return t, nil
}

// commits is where a tree is read from: a repository of this machine in place,
// or one elsewhere through a mirror.
type commits interface {
	Commit(source.Revision) (source.Commit, error)
	Snapshot(source.Revision) (*gogit.Snapshot, error)
}

// opened is a repository with the commits that were asked for.
type opened struct {
	commits
	head, revision source.Revision
	close          func()
}

// loadCommit reads a commit. A repository elsewhere is fetched into a
// directory that is removed afterwards.
func (f *repoFlags) loadCommit(ctx context.Context) (*tree, error) {
	open := f.openLocal
	if remote(f.repo) {
		open = f.fetch
	}
	from, err := open(ctx)
	if err != nil {
		return nil, err
	}
	t := &tree{close: from.close}
	if err := t.read(from); err != nil {
		t.close()
		return nil, err
	}
	return t, nil
}

func (f *repoFlags) openLocal(context.Context) (opened, error) {
	local, err := gogit.OpenLocal(f.repo, gogit.Limits{})
	if err != nil {
		return opened{}, err
	}
	branch := f.branch
	if branch == "" {
		branch = local.Branch()
	}
	head, err := local.Head(branch)
	revision := head
	if err == nil && !strings.EqualFold(f.revision, "head") {
		revision, err = local.Resolve(f.revision)
	}
	if err != nil {
		local.Close()
		return opened{}, err
	}
	return opened{local, head, revision, local.Close}, nil
}

func (f *repoFlags) fetch(ctx context.Context) (from opened, err error) {
	cache, err := os.MkdirTemp("", "chaperone-")
	if err != nil {
		return opened{}, err
	}
	discard := func() { os.RemoveAll(cache) }
	defer func() {
		if err != nil {
			discard()
		}
	}()
	branch := f.branch
	if branch == "" {
		branch = "main"
	}
	repository, err := gogit.Open(ctx, gogit.Options{URL: f.repo, Branch: branch, CacheDir: filepath.Join(cache, "mirror")})
	if err != nil {
		return opened{}, err
	}
	newest, err := repository.Poll(ctx)
	if err != nil {
		return opened{}, err
	}
	revision := newest.Revision
	if f.revision != "" && !strings.EqualFold(f.revision, "head") {
		revision, err = source.ParseRevision(f.revision)
	}
	return opened{repository, newest.Revision, revision, discard}, err
}

// read takes what a commit holds. Which environments exist is what the branch
// says now; what they run is the revision's.
func (t *tree) read(from opened) error {
	var err error
	if t.commit, err = from.Commit(from.revision); err != nil {
		return err
	}
	snapshot, err := from.Snapshot(from.revision)
	if err != nil {
		return err
	}
	t.snapshot = snapshot
	newest, err := from.Snapshot(from.head)
	if err != nil {
		return err
	}
	t.set, err = promotion.Load(newest)
	return err
}

// environment finds one by name; its file's faults are the error.
func (t *tree) environment(name string) (promotion.Environment, error) {
	id, err := promotion.ParseID(name)
	if err != nil {
		return promotion.Environment{}, err
	}
	if env, found := t.set.Environments[id]; found {
		return env, nil
	}
	if fault, found := t.set.Faults[id]; found {
		return promotion.Environment{}, fmt.Errorf("%s: %s: %w", id, fault.Reason, fault.Err)
	}
	var names []string
	for _, other := range t.set.IDs() {
		names = append(names, other.String())
	}
	return promotion.Environment{}, fmt.Errorf("environment %s: no file environments/%s.yaml; there are %s", id, id, strings.Join(names, ", "))
}

// environments are those named, or all; the faults of broken files are joined.
func (t *tree) environments(names []string) ([]promotion.Environment, error) {
	var chosen []promotion.Environment
	var faults error
	if len(names) > 0 {
		for _, name := range names {
			env, err := t.environment(name)
			faults = errors.Join(faults, err)
			chosen = append(chosen, env)
		}
		return chosen, faults
	}
	for _, id := range t.set.IDs() {
		if fault, broken := t.set.Faults[id]; broken {
			faults = errors.Join(faults, fmt.Errorf("%s: %s: %w", id, fault.Reason, fault.Err))
			continue
		}
		chosen = append(chosen, t.set.Environments[id])
	}
	slices.SortFunc(chosen, func(a, b promotion.Environment) int { return a.ID.Compare(b.ID) })
	return chosen, faults
}

// render builds an environment from the tree, whatever it is pinned to.
func (t *tree) render(ctx context.Context, renderer *render.Renderer, env promotion.Environment) (render.Result, error) {
	return renderer.Render(ctx, t.snapshot, env.Path)
}

package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

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
	cmd.Flags().StringVar(&f.branch, "branch", "", "branch, with --revision or a URL; default the repository's own, or main")
	cmd.Flags().StringVar(&f.revision, "revision", "", `commit, or "head"; default the working tree`)
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

// loadCommit reads a commit. Repositories elsewhere are fetched into a
// directory that is removed afterwards.
func (f *repoFlags) loadCommit(ctx context.Context) (*tree, error) {
	cache, err := os.MkdirTemp("", "chaperone-")
	if err != nil {
		return nil, err
	}
	t := &tree{close: func() { os.RemoveAll(cache) }}
	repository, err := gogit.Open(ctx, gogit.Options{
		URL: absolute(f.repo), Branch: f.branchName(), CacheDir: filepath.Join(cache, "mirror"), Timeout: 2 * time.Minute, Now: time.Now,
	})
	if err != nil {
		t.close()
		return nil, err
	}
	if err := t.read(ctx, repository, f.revision); err != nil {
		t.close()
		return nil, err
	}
	return t, nil
}

func (t *tree) read(ctx context.Context, repository *gogit.Repository, name string) error {
	head, err := repository.Poll(ctx)
	if err != nil {
		return err
	}
	revision := head.Revision
	if name != "" && !strings.EqualFold(name, "head") {
		if revision, err = source.ParseRevision(name); err != nil {
			return err
		}
	}
	if t.commit, err = repository.Commit(revision); err != nil {
		return err
	}
	if t.snapshot, err = repository.Snapshot(revision); err != nil {
		return err
	}
	// What exists is what the branch says now; what it runs is the revision's.
	newest, err := repository.Snapshot(head.Revision)
	if err != nil {
		return err
	}
	t.set, err = promotion.Load(newest)
	return err
}

func absolute(repo string) string {
	if remote(repo) {
		return repo
	}
	if path, err := filepath.Abs(repo); err == nil {
		return path
	}
	return repo
}

func (f *repoFlags) branchName() string {
	if f.branch != "" {
		return f.branch
	}
	head, err := os.ReadFile(filepath.Join(f.repo, ".git", "HEAD"))
	if err != nil {
		head, err = os.ReadFile(filepath.Join(f.repo, "HEAD"))
	}
	if name, found := strings.CutPrefix(strings.TrimSpace(string(head)), "ref: refs/heads/"); err == nil && found {
		return name
	}
	return "main"
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

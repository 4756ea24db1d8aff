package demo

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"chaperone.dev/chaperone/internal/source"
)

const (
	branch  = "main"
	gitWait = time.Minute // for one git command
)

// repository is the source, and a clone of it that people work in, one at a
// time. Git is the program: a bare repository and a clone are what people have,
// too.
type repository struct {
	bare, clone string
	environ     []string
	mu          sync.Mutex // one change of the clone at a time
}

// person is one of those who commit.
type person struct{ name, email string }

// approvers is the group that the sample's pinned environments ask for.
const approvers = "release-managers"

// Nobody approves what they wrote, so it takes two.
var (
	developer      = person{"Demo Developer", "developer@example.org"}
	releaseManager = person{"Demo Release Manager", "release-manager@example.org"}
)

// makeSource makes the repository that the daemon follows.
func (d *demo) makeSource(ctx context.Context) error {
	if err := checkSample(d.Repo); err != nil {
		return err
	}
	if _, err := exec.LookPath("git"); err != nil {
		return fmt.Errorf("make the repository: %w; want git installed", err)
	}
	r := &repository{bare: d.place.repository(), clone: d.place.clone(), environ: steady(d.Environ)}
	d.source = r
	if _, err := r.git(ctx, d.place.dir, "init", "-q", "--bare", "--initial-branch="+branch, r.bare); err != nil {
		return err
	}
	if _, err := r.git(ctx, d.place.dir, "clone", "-q", r.bare, r.clone); err != nil {
		return err
	}
	for _, name := range sample {
		if err := copyTree(filepath.Join(d.Repo, name), filepath.Join(r.clone, name)); err != nil {
			return fmt.Errorf("copy the sample: %w", err)
		}
	}
	if err := copyTree(filepath.Join(d.Repo, "policies"), d.place.policies()); err != nil {
		return fmt.Errorf("copy the policies: %w", err)
	}
	if _, err := r.git(ctx, r.clone, "checkout", "-q", "-B", branch); err != nil {
		return err
	}
	return d.commitPlatform(ctx)
}

// commitPlatform begins with what the systems stand on: until their namespaces
// and accounts are there, all that they would get is a refusal.
func (d *demo) commitPlatform(ctx context.Context) error {
	r := d.source
	for _, s := range []system{crohns(), novamind()} {
		if err := os.Rename(r.environments(s), filepath.Join(d.place.dir, s.name)); err != nil {
			return fmt.Errorf("begin with the platform: %w", err)
		}
	}
	if err := r.commit(ctx, "Give every environment a namespace and an account"); err != nil {
		return err
	}
	_, err := r.push(ctx)
	return err
}

// commitSystems adds the environments of the two systems. They begin at any
// time of the day, so the commit does not wait for a schedule.
func (d *demo) commitSystems(ctx context.Context) (source.Revision, error) {
	r := d.source
	for _, s := range []system{crohns(), novamind()} {
		if err := os.Rename(filepath.Join(d.place.dir, s.name), r.environments(s)); err != nil {
			return "", fmt.Errorf("bring in %s: %w", s.name, err)
		}
	}
	if err := r.commit(ctx, "Bring in Crohns and Novamind\n\n"+urgent); err != nil {
		return "", err
	}
	return r.push(ctx)
}

func (r *repository) environments(s system) string {
	return filepath.Join(r.clone, "environments", s.name)
}

// steady keeps the environment but for what steers git.
func steady(environ []string) []string {
	kept := without(environ, "GIT_")
	return append(kept, "LC_ALL=C", "GIT_CONFIG_GLOBAL="+os.DevNull, "GIT_CONFIG_NOSYSTEM=1", "GIT_TERMINAL_PROMPT=0")
}

func without(environ []string, prefix string) []string {
	return slices.DeleteFunc(slices.Clone(environ), func(v string) bool { return strings.HasPrefix(v, prefix) })
}

// git runs it in a directory, as the developer, and returns what it printed,
// trimmed.
func (r *repository) git(ctx context.Context, dir string, args ...string) (string, error) {
	return r.gitAs(ctx, developer, dir, args...)
}

func (r *repository) gitAs(ctx context.Context, who person, dir string, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, gitWait)
	defer cancel()
	cmd := exec.CommandContext(ctx, "git", args...)
	cmd.Dir, cmd.WaitDelay = dir, time.Second
	cmd.Env = append(slices.Clone(r.environ), "GIT_AUTHOR_NAME="+who.name, "GIT_AUTHOR_EMAIL="+who.email,
		"GIT_COMMITTER_NAME="+who.name, "GIT_COMMITTER_EMAIL="+who.email)
	var out, problem bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &problem
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("git %s: %w: %s", args[0], err, strings.TrimSpace(problem.String()))
	}
	return strings.TrimSpace(out.String()), nil
}

// edit is one file of a change.
type edit struct {
	path   string
	change func([]byte) ([]byte, error)
}

// work is one commit to be.
type work struct {
	message string
	edits   []edit
}

// change commits edits on top of the branch, as a developer who merges a pull
// request, and returns the commit.
func (r *repository) change(ctx context.Context, message string, edits ...edit) (source.Revision, error) {
	commits, err := r.changes(ctx, work{message, edits})
	if err != nil {
		return "", err
	}
	return commits[0], nil
}

// changes pushes several commits at once, and returns them in their order.
func (r *repository) changes(ctx context.Context, all ...work) ([]source.Revision, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if err := r.update(ctx); err != nil {
		return nil, err
	}
	for _, w := range all {
		for _, e := range w.edits {
			if err := e.apply(r.clone); err != nil {
				return nil, err
			}
		}
		if err := r.commit(ctx, w.message); err != nil {
			return nil, err
		}
	}
	if _, err := r.push(ctx); err != nil {
		return nil, err
	}
	var commits []source.Revision
	for i := range all {
		commit, err := r.resolve(ctx, r.clone, fmt.Sprintf("HEAD~%d", len(all)-1-i))
		if err != nil {
			return nil, err
		}
		commits = append(commits, commit)
	}
	return commits, nil
}

func (e edit) apply(clone string) error {
	path := filepath.Join(clone, filepath.FromSlash(e.path))
	content, err := os.ReadFile(path)
	if err != nil {
		return fmt.Errorf("edit: %w", err)
	}
	changed, err := e.change(content)
	if err != nil {
		return fmt.Errorf("edit %s: %w", e.path, err)
	}
	if err := os.WriteFile(path, changed, 0o644); err != nil {
		return fmt.Errorf("edit: %w", err)
	}
	return nil
}

// takeBack is the developer's own `git revert`.
func (r *repository) takeBack(ctx context.Context, commit source.Revision) (source.Revision, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if err := r.update(ctx); err != nil {
		return "", err
	}
	if _, err := r.git(ctx, r.clone, "revert", "--no-edit", string(commit)); err != nil {
		return "", err
	}
	return r.push(ctx)
}

// update takes over what the daemon pushed meanwhile.
func (r *repository) update(ctx context.Context) error {
	if _, err := r.git(ctx, r.clone, "fetch", "-q", "origin", branch); err != nil {
		return err
	}
	_, err := r.git(ctx, r.clone, "reset", "-q", "--hard", "origin/"+branch)
	return err
}

// merge is what the button of a pull request does: a merge commit of a branch
// of the repository, by who presses it. What is pushed in between is merged
// into, a few times.
func (r *repository) merge(ctx context.Context, who person, from string) (source.Revision, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	var last error
	for range pushes {
		if err := r.update(ctx); err != nil {
			return "", err
		}
		if _, err := r.git(ctx, r.clone, "fetch", "-q", "origin", from); err != nil {
			return "", err
		}
		if _, err := r.gitAs(ctx, who, r.clone, "merge", "-q", "--no-ff", "-m", "Merge branch "+from, "FETCH_HEAD"); err != nil {
			return "", err
		}
		_, err := r.gitAs(ctx, who, r.clone, "push", "-q", "origin", branch)
		if err == nil {
			return r.resolve(ctx, r.clone, "HEAD")
		}
		last = errors.Join(last, err)
	}
	return "", last
}

func (r *repository) commit(ctx context.Context, message string) error {
	if _, err := r.git(ctx, r.clone, "add", "--all"); err != nil {
		return err
	}
	_, err := r.git(ctx, r.clone, "commit", "-q", "-m", message)
	return err
}

const pushes = 3 // tries, where others push as well

// push tries again on top of what came in between, a few times.
func (r *repository) push(ctx context.Context) (source.Revision, error) {
	var last error
	for range pushes {
		_, err := r.git(ctx, r.clone, "push", "-q", "origin", branch)
		if err == nil {
			return r.resolve(ctx, r.clone, "HEAD")
		}
		last = errors.Join(last, err)
		if _, err := r.git(ctx, r.clone, "pull", "-q", "--rebase", "origin", branch); err != nil {
			return "", errors.Join(last, err)
		}
	}
	return "", last
}

func (r *repository) resolve(ctx context.Context, dir, name string) (source.Revision, error) {
	out, err := r.git(ctx, dir, "rev-parse", "--verify", name)
	if err != nil {
		return "", err
	}
	return source.ParseRevision(out)
}

// head is the newest commit of the branch.
func (r *repository) head(ctx context.Context) (source.Revision, error) {
	return r.resolve(ctx, r.bare, "refs/heads/"+branch)
}

// since lists the commits after one, newest first.
func (r *repository) since(ctx context.Context, commit source.Revision) ([]source.Commit, error) {
	out, err := r.git(ctx, r.bare, "rev-list", "--first-parent", string(commit)+"..refs/heads/"+branch)
	if err != nil {
		return nil, err
	}
	var commits []source.Commit
	for _, line := range strings.Fields(out) {
		revision, err := source.ParseRevision(line)
		if err != nil {
			return nil, err
		}
		message, err := r.git(ctx, r.bare, "log", "-1", "--format=%B", line)
		if err != nil {
			return nil, err
		}
		commits = append(commits, source.Commit{Revision: revision, Message: message})
	}
	return commits, nil
}

// sameTree reports whether two commits hold the same files.
func (r *repository) sameTree(ctx context.Context, a, b string) (bool, error) {
	first, err := r.git(ctx, r.bare, "rev-parse", "--verify", a+"^{tree}")
	if err != nil {
		return false, err
	}
	second, err := r.git(ctx, r.bare, "rev-parse", "--verify", b+"^{tree}")
	return first == second, err
}

// read is a file of the newest commit.
func (r *repository) read(ctx context.Context, path string) ([]byte, error) {
	out, err := r.git(ctx, r.bare, "cat-file", "blob", "refs/heads/"+branch+":"+path)
	return append([]byte(out), '\n'), err
}

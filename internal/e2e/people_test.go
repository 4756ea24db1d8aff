package e2e

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"chaperone.dev/chaperone/internal/promotion"
	"chaperone.dev/chaperone/internal/source"
	"chaperone.dev/chaperone/internal/testkit/gitserver"
)

// person works on the source with git itself, in a clone of their own.
type person struct {
	w           *world
	name, email string
	dir         string
}

func (w *world) person(name string) *person {
	w.Helper()
	email := strings.ToLower(name) + "@example.org"
	return &person{w: w, name: name, email: email, dir: w.repo.Clone(w.T, gitserver.Main)}
}

func (p *person) git(args ...string) string {
	p.w.Helper()
	cmd := exec.Command("git", args...)
	cmd.Dir = p.dir
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + p.dir, "LC_ALL=C", "GIT_CONFIG_GLOBAL=" + os.DevNull, "GIT_CONFIG_NOSYSTEM=1",
		"GIT_AUTHOR_NAME=" + p.name, "GIT_AUTHOR_EMAIL=" + p.email, "GIT_COMMITTER_NAME=" + p.name, "GIT_COMMITTER_EMAIL=" + p.email}
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		p.w.Fatalf("%s: git %s: %v\n%s", p.name, strings.Join(args, " "), err, stderr.String())
	}
	return strings.TrimSpace(string(out))
}

// pull brings the clone to the head of the branch.
func (p *person) pull() {
	p.w.Helper()
	p.git("fetch", "-q", "--prune", "origin")
	p.git("checkout", "-q", "-B", gitserver.Main, "origin/"+gitserver.Main)
}

func (p *person) write(message string, changes ...map[string]string) source.Revision {
	p.w.Helper()
	for _, change := range changes {
		for name, content := range change {
			write(p.w, filepath.Join(p.dir, name), content)
		}
	}
	p.git("add", "-A")
	p.git("commit", "-q", "-m", message)
	return p.head()
}

func (p *person) head() source.Revision {
	p.w.Helper()
	return source.Revision(p.git("rev-parse", "HEAD"))
}

// commit changes the followed branch.
func (p *person) commit(message string, changes ...map[string]string) source.Revision {
	p.w.Helper()
	p.pull()
	revision := p.write(message, changes...)
	p.git("push", "-q", "origin", gitserver.Main)
	return revision
}

// branch puts a change onto a branch of its own, from the followed one.
func (p *person) branch(name, message string, changes ...map[string]string) source.Revision {
	p.w.Helper()
	p.pull()
	p.git("checkout", "-q", "-B", name)
	revision := p.write(message, changes...)
	p.git("push", "-q", "--force", "origin", name)
	return revision
}

// merge takes a branch into the followed one, as a forge does.
func (p *person) merge(branch string) source.Revision {
	p.w.Helper()
	p.pull()
	p.git("merge", "-q", "--no-ff", "-m", "Merge branch "+branch, "origin/"+branch)
	p.git("push", "-q", "origin", gitserver.Main)
	return p.head()
}

// undo takes a merge back.
func (p *person) undo(merge source.Revision) source.Revision {
	p.w.Helper()
	p.pull()
	p.git("revert", "--no-edit", "-m", "1", string(merge))
	p.git("push", "-q", "origin", gitserver.Main)
	return p.head()
}

// rewrite takes the newest commit away and puts another in its place.
func (p *person) rewrite(message string, changes ...map[string]string) source.Revision {
	p.w.Helper()
	p.pull()
	p.git("reset", "-q", "--hard", "HEAD~1")
	revision := p.write(message, changes...)
	p.git("push", "-q", "--force", "origin", gitserver.Main)
	return revision
}

// refs are all branches of the repository, and where they are.
func (w *world) refs() string {
	w.Helper()
	return gitserver.Git(w.T, w.repo.Dir, "for-each-ref", "--format=%(refname:lstrip=2) %(objectname)", "refs/heads")
}

// proposals are the promotion branches, and where they are.
func (w *world) proposals() map[string]source.Revision {
	w.Helper()
	found := map[string]source.Revision{}
	for line := range strings.Lines(w.refs()) {
		name, commit, _ := strings.Cut(strings.TrimSpace(line), " ")
		if strings.HasPrefix(name, "chaperone/") {
			found[name] = source.Revision(commit)
		}
	}
	return found
}

// commits are those that a branch has and another has not.
func (w *world) commits(without, with string) []string {
	w.Helper()
	return strings.Fields(gitserver.Git(w.T, w.repo.Dir, "rev-list", with, "^"+without))
}

// between are the paths in which two commits differ.
func (w *world) between(a, b source.Revision) []string {
	w.Helper()
	return strings.Fields(gitserver.Git(w.T, w.repo.Dir, "diff", "--name-only", string(a), string(b)))
}

// says waits until an environment's sentence has all these parts.
func (w *world) says(id promotion.ID, parts ...string) {
	w.Helper()
	w.await(fmt.Sprintf("%s to say %q", id, parts), func() bool {
		message := w.record(id).Message
		return !slices.ContainsFunc(parts, func(part string) bool { return !strings.Contains(message, part) })
	})
}

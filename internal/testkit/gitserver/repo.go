// Package gitserver runs real Git servers for tests: bare repositories, smart
// HTTP through git's own http-backend, and SSH through a server in Go that runs
// git's own upload-pack and receive-pack. Servers listen on 127.0.0.1 only,
// stop with the test, keep their address when they go down and come up again,
// and count what they are asked for. Commits have fixed authors and times, so
// that the same test makes the same hashes.
package gitserver

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// Main is the branch that a new repository's HEAD names.
const Main = "main"

// Repo is a bare repository on disk.
type Repo struct {
	Dir string // ends in .git

	mu    sync.Mutex
	ticks int // commits made, for their times
}

// NewRepo makes an empty bare repository in a directory of the test.
func NewRepo(t testing.TB) *Repo {
	t.Helper()
	r := &Repo{Dir: filepath.Join(t.TempDir(), "source.git")}
	Git(t, "", "init", "-q", "--bare", "--initial-branch="+Main, r.Dir)
	Git(t, r.Dir, "config", "uploadpack.allowFilter", "true") // as forges do
	return r
}

// SendEverything makes it a repository whose server leaves nothing out of what it
// sends.
func (r *Repo) SendEverything(t testing.TB) {
	t.Helper()
	Git(t, r.Dir, "config", "uploadpack.allowFilter", "false")
}

// Commit says what a commit adds to the one before it.
type Commit struct {
	Branch  string // default Main
	Parent  string // default the branch's head
	Merge   string // a second parent
	Message string // default "change"
	// Files are written, by path; Executables and Links likewise (a link's
	// content is its target), Modules name a submodule's commit. Delete removes.
	Files, Executables, Links, Modules map[string]string
	Delete                             []string
	Fresh                              bool // without parent and without the files of any
}

// Commit makes a commit, moves the branch to it by force, and returns its hash.
func (r *Repo) Commit(t testing.TB, c Commit) string {
	t.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	if c.Branch == "" {
		c.Branch = Main
	}
	if c.Message == "" {
		c.Message = "change"
	}
	if c.Parent == "" && !c.Fresh {
		c.Parent = r.head(t, c.Branch)
	}
	r.ticks++
	var b bytes.Buffer
	if c.Parent == "" {
		fmt.Fprintf(&b, "reset refs/heads/%s\n", c.Branch)
	}
	fmt.Fprintf(&b, "commit refs/heads/%s\nmark :1\ncommitter Dev One <dev@example.org> %d +0000\ndata %d\n%s\n",
		c.Branch, time.Date(2024, 1, 1, 0, 0, r.ticks, 0, time.UTC).Unix(), len(c.Message), c.Message)
	if c.Parent != "" {
		fmt.Fprintf(&b, "from %s\n", c.Parent)
	}
	if c.Merge != "" {
		fmt.Fprintf(&b, "merge %s\n", c.Merge)
	}
	c.writeFiles(&b)
	b.WriteString("\nget-mark :1\ndone\n")
	out := gitInput(t, r.Dir, &b, "fast-import", "--quiet", "--force", "--done")
	return strings.TrimSpace(out)
}

func (c Commit) writeFiles(b *bytes.Buffer) {
	for _, path := range c.Delete {
		fmt.Fprintf(b, "D %s\n", quoted(path))
	}
	for _, path := range sortedKeys(c.Modules) {
		fmt.Fprintf(b, "M 160000 %s %s\n", c.Modules[path], quoted(path))
	}
	for _, kind := range []struct {
		mode  string
		files map[string]string
	}{{"100644", c.Files}, {"100755", c.Executables}, {"120000", c.Links}} {
		for _, path := range sortedKeys(kind.files) {
			content := kind.files[path]
			fmt.Fprintf(b, "M %s inline %s\ndata %d\n%s\n", kind.mode, quoted(path), len(content), content)
		}
	}
}

// quoted writes any bytes as fast-import reads a path.
func quoted(path string) string {
	var b strings.Builder
	b.WriteByte('"')
	for _, c := range []byte(path) {
		if c < ' ' || c >= 0x7f || c == '"' || c == '\\' {
			fmt.Fprintf(&b, "\\%03o", c)
			continue
		}
		b.WriteByte(c)
	}
	return b.String() + `"`
}

func sortedKeys(m map[string]string) []string {
	keys := make([]string, 0, len(m))
	for key := range m {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	return keys
}

// Head is the commit at the head of branch, empty if there is no such branch.
func (r *Repo) Head(t testing.TB, branch string) string {
	t.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.head(t, branch)
}

func (r *Repo) head(t testing.TB, branch string) string {
	t.Helper()
	return Git(t, r.Dir, "for-each-ref", "--format=%(objectname)", "refs/heads/"+branch)
}

// Move points branch at a commit, whatever it pointed at before.
func (r *Repo) Move(t testing.TB, branch, commit string) {
	t.Helper()
	Git(t, r.Dir, "update-ref", "refs/heads/"+branch, commit)
}

// Delete removes branch.
func (r *Repo) Delete(t testing.TB, branch string) {
	t.Helper()
	Git(t, r.Dir, "update-ref", "-d", "refs/heads/"+branch)
}

// File is the content of path at a commit or branch.
func (r *Repo) File(t testing.TB, commit, path string) string {
	t.Helper()
	return gitInput(t, r.Dir, nil, "cat-file", "blob", commit+":"+path)
}

// RefusePushes makes every push fail in a pre-receive hook that says message,
// as a protected branch does.
func (r *Repo) RefusePushes(t testing.TB, message string) {
	t.Helper()
	r.BeforePush(t, fmt.Sprintf("echo '%s' >&2; exit 1", strings.ReplaceAll(message, "'", "")))
}

// BeforePush runs a shell script in the repository when a push has arrived and
// before its refs are moved: the place where somebody else is faster. The
// script sees the push on its standard input, as a pre-receive hook does.
func (r *Repo) BeforePush(t testing.TB, script string) {
	t.Helper()
	// Within a push Git forbids to move refs, even those of others.
	body := "#!/bin/sh\nunset GIT_QUARANTINE_PATH GIT_OBJECT_DIRECTORY GIT_ALTERNATE_OBJECT_DIRECTORIES\n" + script + "\n"
	hook := filepath.Join(r.Dir, "hooks", "pre-receive")
	if err := os.MkdirAll(filepath.Dir(hook), 0o755); err != nil {
		t.Fatal(err)
	}
	// A script that is still open for writing cannot be run: rename it there.
	if err := os.WriteFile(hook+".new", []byte(body), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(hook+".new", hook); err != nil {
		t.Fatal(err)
	}
}

// AcceptPushes takes back RefusePushes and BeforePush.
func (r *Repo) AcceptPushes(t testing.TB) {
	t.Helper()
	if err := os.Remove(filepath.Join(r.Dir, "hooks", "pre-receive")); err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
}

// Clone checks branch out into a directory of the test, as a developer would.
func (r *Repo) Clone(t testing.TB, branch string) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "clone")
	Git(t, "", "clone", "-q", "--branch", branch, r.Dir, dir)
	return dir
}

// Git runs git in dir, away from this user's configuration, and returns its
// standard output, trimmed.
func Git(t testing.TB, dir string, args ...string) string {
	t.Helper()
	return strings.TrimSpace(gitInput(t, dir, nil, args...))
}

func gitInput(t testing.TB, dir string, stdin *bytes.Buffer, args ...string) string {
	t.Helper()
	cmd := exec.Command("git", args...)
	cmd.Dir = dir
	cmd.Env = environment()
	if stdin != nil {
		cmd.Stdin = stdin
	}
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("git %s: %v\n%s", strings.Join(args, " "), err, stderr.String())
	}
	return string(out)
}

// environment keeps the caller's, except what steers git.
func environment() []string {
	env := slices.DeleteFunc(os.Environ(), func(v string) bool { return strings.HasPrefix(v, "GIT_") })
	return append(env, "LC_ALL=C", "GIT_CONFIG_GLOBAL="+os.DevNull, "GIT_CONFIG_NOSYSTEM=1",
		"GIT_AUTHOR_NAME=Dev One", "GIT_AUTHOR_EMAIL=dev@example.org",
		"GIT_COMMITTER_NAME=Dev One", "GIT_COMMITTER_EMAIL=dev@example.org")
}

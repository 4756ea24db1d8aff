package gogit_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"chaperone.dev/chaperone/internal/fault"
	"chaperone.dev/chaperone/internal/source"
	"chaperone.dev/chaperone/internal/source/gogit"
	"chaperone.dev/chaperone/internal/testkit/gitserver"
)

func openLocal(t *testing.T, dir string) *gogit.Local {
	t.Helper()
	l, err := gogit.OpenLocal(dir, gogit.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(l.Close)
	return l
}

func byHand(bad string) gogit.LocalRevert {
	return gogit.LocalRevert{
		RevertRequest: gogit.RevertRequest{Guilty: source.Revision(bad)}, Branch: "main",
		Author: gogit.Author{Name: "Op Erator", Email: "op@example.org"},
		Now:    func() time.Time { return time.Unix(1_714_564_800, 0).UTC() },
	}
}

func revertLocal(t *testing.T, dir string, request gogit.LocalRevert) gogit.RevertResult {
	t.Helper()
	result, err := openLocal(t, dir).Revert(t.Context(), request)
	if err != nil {
		t.Fatal(err)
	}
	return result
}

func status(t *testing.T, dir string) string {
	t.Helper()
	return gitserver.Git(t, dir, "status", "--porcelain")
}

func TestLocalRevertBare(t *testing.T) {
	t.Parallel()
	repo := gitserver.NewRepo(t)
	bad, head := guilty(t, repo)
	gitserver.Git(t, repo.Dir, "pack-refs", "--all") // the branch is nowhere but there
	gitserver.Git(t, repo.Dir, "gc", "-q")
	result := revertLocal(t, repo.Dir, byHand(bad))
	expect(t, result, gogit.Reverted)
	if string(result.Commit) != repo.Head(t, "main") || gitserver.Git(t, repo.Dir, "rev-parse", "main^") != head {
		t.Errorf("result = %+v", result)
	}
	if got := repo.File(t, "main", "base/app.yaml"); got != strings.Replace(tenLines, "9\n", "nine\n", 1) {
		t.Errorf("app.yaml = %q", got)
	}
	if who := gitserver.Git(t, repo.Dir, "log", "-1", "--format=%an <%ae> %ct", "main"); who != "Op Erator <op@example.org> 1714564800" {
		t.Errorf("author = %s", who)
	}
	gitserver.Git(t, repo.Dir, "fsck", "--strict")
	expect(t, revertLocal(t, repo.Dir, byHand(bad)), gogit.AlreadyReverted)
}

// TestLocalRevertCheckedOut: files and index follow, as with git revert.
func TestLocalRevertCheckedOut(t *testing.T) {
	t.Parallel()
	repo := gitserver.NewRepo(t)
	repo.Commit(t, gitserver.Commit{
		Files:       map[string]string{"a": "1\n", "gone/deep/b": "1\n", "was-file": "1\n", "was-dir/x": "1\n", "other": "1\n"},
		Executables: map[string]string{"run": "1\n"}, Links: map[string]string{"link": "a"}, Modules: map[string]string{"module": strings.Repeat("1", 40)},
	})
	bad := repo.Commit(t, gitserver.Commit{
		Delete: []string{"gone", "was-file", "was-dir"}, Links: map[string]string{"link": "other"}, Modules: map[string]string{"module": strings.Repeat("2", 40)},
		Files: map[string]string{"a": "2\n", "new/deep/c": "1\n", "was-file/y": "1\n", "was-dir": "1\n", "run": "1\n"},
	})
	for _, where := range []string{"", "gone-in-the-meantime/deep"} {
		dir := repo.Clone(t, "main")
		write(t, filepath.Join(dir, "other"), "changed, and none of our business\n")
		write(t, filepath.Join(dir, "untracked"), "mine\n")
		below := filepath.Join(dir, where)
		if err := os.MkdirAll(below, 0o755); err != nil {
			t.Fatal(err)
		}
		result := revertLocal(t, below, byHand(bad))
		expect(t, result, gogit.Reverted)
		if got := status(t, dir); got != "M other\n?? untracked" {
			t.Errorf("status = %q", got)
		}
		if got := gitserver.Git(t, dir, "diff", "--stat", "HEAD", "HEAD~2"); got != "" {
			t.Errorf("the tree differs from the one before: %s", got)
		}
		if got := gitserver.Git(t, dir, "reflog", "-1", "--format=%H %gs"); got != string(result.Commit)+" revert: by chaperone" {
			t.Errorf("reflog = %q", got)
		}
		for name, want := range map[string]string{"a": "1\n", "gone/deep/b": "1\n", "was-dir/x": "1\n", "other": "changed, and none of our business\n"} {
			if got, err := os.ReadFile(filepath.Join(dir, name)); err != nil || string(got) != want {
				t.Errorf("%s = %q, %v", name, got, err)
			}
		}
		if _, err := os.Lstat(filepath.Join(dir, "new")); !os.IsNotExist(err) {
			t.Errorf("a directory is left empty: %v", err)
		}
		if info, err := os.Stat(filepath.Join(dir, "run")); err != nil || info.Mode()&0o111 == 0 {
			t.Errorf("run is not executable again: %v, %v", info, err)
		}
		if target, err := os.Readlink(filepath.Join(dir, "link")); err != nil || target != "a" {
			t.Errorf("link = %q, %v", target, err)
		}
		gitserver.Git(t, dir, "fsck", "--strict")
	}
}

// TestLocalRevertKeepsUncommittedWork: whatever would be lost stops it, and
// nothing is touched.
func TestLocalRevertKeepsUncommittedWork(t *testing.T) {
	t.Parallel()
	repo := gitserver.NewRepo(t)
	repo.Commit(t, gitserver.Commit{Files: map[string]string{"a": "1\n", "d/b": "1\n", "back": "1\n", "dir/x": "1\n", "f": "1\n"}})
	bad := repo.Commit(t, gitserver.Commit{Delete: []string{"back", "dir", "f"}, Files: map[string]string{"a": "2\n", "d/b": "2\n", "new": "1\n", "dir": "1\n", "f/g": "1\n"}})
	outside := t.TempDir()
	write(t, filepath.Join(outside, "b"), "2\n")
	for name, test := range map[string]struct {
		change func(t *testing.T, dir string)
		want   string
	}{
		"changed": {func(t *testing.T, dir string) { write(t, filepath.Join(dir, "a"), "mine\n") }, "a"},
		"staged": {func(t *testing.T, dir string) {
			write(t, filepath.Join(dir, "a"), "mine\n")
			gitserver.Git(t, dir, "add", "a")
		}, "a"},
		"staged, file as it was": {func(t *testing.T, dir string) {
			write(t, filepath.Join(dir, "a"), "mine\n")
			gitserver.Git(t, dir, "add", "a")
			write(t, filepath.Join(dir, "a"), "2\n")
		}, "a"},
		"deleted":             {func(t *testing.T, dir string) { removeAll(t, filepath.Join(dir, "new")) }, "new"},
		"untracked":           {func(t *testing.T, dir string) { write(t, filepath.Join(dir, "back"), "mine\n") }, "back"},
		"untracked directory": {func(t *testing.T, dir string) { write(t, filepath.Join(dir, "back", "x"), "mine\n") }, "back"},
		"mode":                {func(t *testing.T, dir string) { chmod(t, filepath.Join(dir, "a"), 0o755) }, "a"},
		"a link in place of a directory": {func(t *testing.T, dir string) {
			removeAll(t, filepath.Join(dir, "d"))
			if err := os.Symlink(outside, filepath.Join(dir, "d")); err != nil {
				t.Fatal(err)
			}
		}, "d/b"},
		"untracked beside what makes room for a file": {func(t *testing.T, dir string) { write(t, filepath.Join(dir, "f", "mine"), "mine\n") }, "f"},
		"changed file where a directory comes":        {func(t *testing.T, dir string) { write(t, filepath.Join(dir, "dir"), "mine\n") }, "dir"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := repo.Clone(t, "main")
			test.change(t, dir)
			before := status(t, dir)
			result := revertLocal(t, dir, byHand(bad))
			expect(t, result, gogit.Uncommitted)
			if got := strings.Join(result.Conflicts, " "); got != test.want || !strings.Contains(result.Detail, "commit or stash") {
				t.Errorf("in the way: %s, want %s; %s", got, test.want, result.Detail)
			}
			if after := status(t, dir); after != before || gitserver.Git(t, dir, "rev-parse", "HEAD") != bad {
				t.Errorf("status was %q, is %q", before, after)
			}
			leftovers, _ := filepath.Glob(filepath.Join(dir, ".git", "*.lock"))
			locks, _ := filepath.Glob(filepath.Join(dir, ".git", "refs", "heads", "*.lock"))
			if len(leftovers)+len(locks) > 0 {
				t.Errorf("locks are left: %v %v", leftovers, locks)
			}
		})
	}
	if content, err := os.ReadFile(filepath.Join(outside, "b")); err != nil || string(content) != "2\n" {
		t.Errorf("a file outside the repository became %q, %v", content, err)
	}
}

func chmod(t *testing.T, name string, mode os.FileMode) {
	t.Helper()
	if err := os.Chmod(name, mode); err != nil {
		t.Fatal(err)
	}
}

func TestLocalRevertOfAnotherBranch(t *testing.T) {
	t.Parallel()
	repo := gitserver.NewRepo(t)
	bad, _ := guilty(t, repo)
	dir := repo.Clone(t, "main")
	gitserver.Git(t, dir, "checkout", "-q", "-b", "work")
	write(t, filepath.Join(dir, "base/app.yaml"), "mine\n")
	result := revertLocal(t, dir, byHand(bad))
	expect(t, result, gogit.Reverted)
	if gitserver.Git(t, dir, "rev-parse", "main") != string(result.Commit) || status(t, dir) != "M base/app.yaml" {
		t.Errorf("result = %+v, status %q", result, status(t, dir))
	}
	linked := filepath.Join(t.TempDir(), "linked")
	gitserver.Git(t, dir, "worktree", "add", "-q", linked, "main")
	write(t, filepath.Join(linked, "after"), "1\n")
	gitserver.Git(t, linked, "add", "after")
	gitserver.Git(t, linked, "commit", "-q", "-m", "later")
	later := gitserver.Git(t, linked, "rev-parse", "HEAD")
	if _, err := openLocal(t, dir).Revert(t.Context(), byHand(later)); err == nil || !strings.Contains(err.Error(), "is checked out in "+linked) {
		t.Errorf("the branch is checked out elsewhere: %v", err)
	}
	l := openLocal(t, linked)
	if head, err := l.Resolve("HEAD"); err != nil || string(head) != later || l.Branch() != "main" {
		t.Errorf("HEAD there = %s, %v, on %q", head, err, l.Branch())
	}
	expect(t, revertLocal(t, linked, byHand(later)), gogit.Reverted)
	if status(t, linked) != "" {
		t.Errorf("status there = %q", status(t, linked))
	}
}

func TestLocalRevertRefuses(t *testing.T) {
	t.Parallel()
	repo := gitserver.NewRepo(t)
	bad, head := guilty(t, repo)
	dir := repo.Clone(t, "main")
	git := filepath.Join(dir, ".git")
	for name, test := range map[string]struct {
		file, want string
		request    gogit.LocalRevert
	}{
		"locked branch":   {"refs/heads/main.lock", "locked by another Git process", byHand(bad)},
		"locked index":    {"index.lock", "lock index, which another Git process may be using", byHand(bad)},
		"merge under way": {"MERGE_HEAD", "is under way", byHand(bad)},
		"no branch":       {"", "branch does not exist", func() gogit.LocalRevert { r := byHand(bad); r.Branch = "absent"; return r }()},
		"no commit":       {"", "unknown revision", byHand(strings.Repeat("1", 40))},
	} {
		if test.file != "" {
			write(t, filepath.Join(git, test.file), "")
		}
		_, err := openLocal(t, dir).Revert(t.Context(), test.request)
		if err == nil || !strings.Contains(err.Error(), test.want) || !fault.IsTerminal(err) {
			t.Errorf("%s: %v, want %q", name, err, test.want)
		}
		if test.file != "" {
			removeAll(t, filepath.Join(git, test.file)) // still there: it is not ours
		}
	}
	if gitserver.Git(t, dir, "rev-parse", "main") != head || status(t, dir) != "" {
		t.Error("something was changed")
	}
	side := repo.Commit(t, gitserver.Commit{Branch: "side", Files: map[string]string{"s": "1"}, Fresh: true})
	gitserver.Git(t, dir, "fetch", "-q", "origin", "side")
	if _, err := openLocal(t, dir).Revert(t.Context(), byHand(side)); !errors.Is(err, source.ErrNotAncestor) {
		t.Errorf("a commit of another branch: %v", err)
	}
}

// TestLocalRevertOfAMergedCommit: by hand, any commit below the head will do.
func TestLocalRevertOfAMergedCommit(t *testing.T) {
	t.Parallel()
	repo := gitserver.NewRepo(t)
	base := repo.Commit(t, one("a", "1\n"))
	repo.Commit(t, gitserver.Commit{Branch: "side", Parent: base, Files: map[string]string{"s": "1\n"}})
	side := repo.Commit(t, gitserver.Commit{Branch: "side", Files: map[string]string{"t": "1\n"}})
	repo.Commit(t, gitserver.Commit{Merge: side, Files: map[string]string{"s": "1\n", "t": "1\n"}})
	expect(t, revertLocal(t, repo.Dir, byHand(side)), gogit.Reverted)
	if files := gitserver.Git(t, repo.Dir, "ls-tree", "--name-only", "main"); files != "a\ns" {
		t.Errorf("files = %q", files)
	}
}

func TestOpenLocal(t *testing.T) {
	t.Parallel()
	repo := gitserver.NewRepo(t)
	bad, head := guilty(t, repo)
	dir := repo.Clone(t, "main")
	l := openLocal(t, filepath.Join(dir, "base"))
	for name, want := range map[string]string{
		"HEAD": head, "main": head, "origin/main": head, "HEAD~1": bad, bad: bad, bad[:10]: bad,
	} {
		if got, err := l.Resolve(name); err != nil || string(got) != want {
			t.Errorf("Resolve(%s) = %s, %v; want %s", name, got, err, want)
		}
	}
	for _, name := range []string{"absent", strings.Repeat("1", 40), ""} {
		if got, err := l.Resolve(name); !errors.Is(err, source.ErrUnknownRevision) {
			t.Errorf("Resolve(%q) = %s, %v", name, got, err)
		}
	}
	if got, err := l.Head("main"); err != nil || string(got) != head || l.Branch() != "main" {
		t.Errorf("Head = %s, %v on %q", got, err, l.Branch())
	}
	s, err := l.Snapshot(source.Revision(head))
	if err != nil {
		t.Fatal(err)
	}
	if content, err := s.ReadFile("base/new.yaml"); err != nil || string(content) != "x\n" {
		t.Errorf("new.yaml = %q, %v", content, err)
	}
	for dir, want := range map[string]string{
		t.TempDir():                          "neither this directory nor one above it is a Git repository",
		filepath.Join(t.TempDir(), "absent"): "no such file or directory",
	} {
		if _, err := gogit.OpenLocal(dir, gogit.Limits{}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("OpenLocal(%s): %v, want %q", dir, err, want)
		}
	}
	other := filepath.Join(t.TempDir(), "sha256")
	gitserver.Git(t, "", "init", "-q", "--object-format=sha256", other)
	if _, err := gogit.OpenLocal(other, gogit.Limits{}); err == nil || !strings.Contains(err.Error(), "SHA-256") {
		t.Errorf("a repository with SHA-256: %v", err)
	}
}

func TestLocalRevertPush(t *testing.T) {
	everywhere(t, func(t *testing.T, s *site) {
		bad, head := guilty(t, s.Repo)
		dir := s.Clone(t, "main")
		gitserver.Git(t, dir, "remote", "set-url", "origin", s.options.URL)
		write(t, filepath.Join(dir, "base/mine.yaml"), "not pushed yet\n")
		gitserver.Git(t, dir, "add", "base")
		gitserver.Git(t, dir, "commit", "-q", "-m", "mine")
		request := byHand(bad)
		request.Push, request.Credentials = true, s.options.Credentials

		s.RefusePushes(t, "not today")
		result := revertLocal(t, dir, request)
		expect(t, result, gogit.Rejected)
		if !strings.Contains(result.Detail, "the commit is on the local branch; pushing it to ") || !strings.Contains(result.Detail, "not today") || s.Head(t, "main") != head {
			t.Errorf("result = %+v", result)
		}
		s.AcceptPushes(t)
		result = revertLocal(t, dir, request)
		expect(t, result, gogit.AlreadyReverted)
		if s.Head(t, "main") != gitserver.Git(t, dir, "rev-parse", "main") || s.File(t, "main", "base/mine.yaml") != "not pushed yet\n" {
			t.Errorf("the remote is at %s", s.Head(t, "main"))
		}
		gitserver.Git(t, s.Dir, "fsck", "--strict")

		second := s.Commit(t, one("theirs", "1\n"))
		write(t, filepath.Join(dir, "base/more.yaml"), "1\n")
		gitserver.Git(t, dir, "add", "base")
		gitserver.Git(t, dir, "commit", "-q", "-m", "more")
		request.Guilty = source.Revision(gitserver.Git(t, dir, "rev-parse", "HEAD"))
		result = revertLocal(t, dir, request)
		expect(t, result, gogit.Rejected)
		if !strings.Contains(result.Detail, "commits that are not here: pull them first") || s.Head(t, "main") != second {
			t.Errorf("result = %+v", result)
		}
		gitserver.Git(t, dir, "fetch", "-q", s.Dir, "main")
		result = revertLocal(t, dir, request)
		expect(t, result, gogit.Rejected)
		if !strings.Contains(result.Detail, "commits that this branch does not: pull them first") || s.Head(t, "main") != second {
			t.Errorf("result = %+v", result)
		}
	})
}

func TestLocalRevertPushAnswerLost(t *testing.T) {
	remote(t, func(t *testing.T, s *site) {
		bad, _ := guilty(t, s.Repo)
		dir := s.Clone(t, "main")
		gitserver.Git(t, dir, "remote", "set-url", "origin", s.options.URL)
		request := byHand(bad)
		request.Push, request.Credentials = true, s.options.Credentials
		s.controls.LosePushAnswers(1)
		expect(t, revertLocal(t, dir, request), gogit.Reverted)
		if s.Head(t, "main") != gitserver.Git(t, dir, "rev-parse", "main") {
			t.Error("the push did not happen")
		}
	})
}

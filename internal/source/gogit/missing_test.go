package gogit_test

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"chaperone.dev/chaperone/internal/fault"
	"chaperone.dev/chaperone/internal/source"
	"chaperone.dev/chaperone/internal/source/gogit"
	"chaperone.dev/chaperone/internal/testkit/gitserver"
)

// monorepo has one base among more files than are fetched together.
func monorepo(t *testing.T, repo *gitserver.Repo) source.Revision {
	t.Helper()
	files := map[string]string{"base/shop/app.yaml": "kind: Deployment\n", "base/shop/db.yaml": "kind: StatefulSet\n", "odd/place/app.yaml": "kind: Job\n"}
	for i := range 2500 {
		files[fmt.Sprintf("others/%d/main.c", i)] = fmt.Sprintf("int x%d;\n", i)
	}
	return source.Revision(repo.Commit(t, gitserver.Commit{Files: files}))
}

func mirrored(t *testing.T, s *site, revision, file string) bool {
	t.Helper()
	hash := gitserver.Git(t, s.Dir, "rev-parse", revision+":"+file)
	return exec.Command("git", "-C", filepath.Join(s.options.CacheDir, "mirror.git"), "cat-file", "-e", hash).Run() == nil
}

// Of a monorepo only what is read is fetched: what stands where a source has its
// manifests with each poll, and other directories when something in them is read.
func TestMonorepoIsNotFetchedWhole(t *testing.T) {
	everywhere(t, func(t *testing.T, s *site) {
		if s.name == "http-version-0" {
			t.Skip("it sends everything")
		}
		first := monorepo(t, s.Repo)
		r := s.open(t)
		poll(t, r)
		if !mirrored(t, s, "main", "base/shop/db.yaml") || mirrored(t, s, "main", "others/7/main.c") || mirrored(t, s, "main", "odd/place/app.yaml") {
			t.Error("want base/, and nothing of the others")
		}
		if got := read(t, r, first, "odd/place/app.yaml"); got != "kind: Job\n" {
			t.Errorf("read %q", got)
		}
		second := source.Revision(s.Commit(t, gitserver.Commit{Files: map[string]string{
			"base/shop/db.yaml": "kind: Cluster\n", "odd/place/app.yaml": "kind: CronJob\n", "others/7/main.c": "int y;\n"}}))
		poll(t, r)
		if s.controls != nil {
			s.controls.Down()
		}
		if a, b := read(t, r, second, "base/shop/db.yaml"), read(t, r, second, "odd/place/app.yaml"); a != "kind: Cluster\n" || b != "kind: CronJob\n" {
			t.Errorf("after the poll, with nobody there: %q and %q", a, b)
		}
		if mirrored(t, s, "main", "others/7/main.c") {
			t.Error("somebody else's file was fetched")
		}
	})
}

// A file that cannot be fetched is unavailable for now. It must not seem that it
// does not exist: that would be another release.
func TestFileThatCannotBeFetched(t *testing.T) {
	remote(t, func(t *testing.T, s *site) {
		if s.name == "http-version-0" {
			t.Skip("it sends everything")
		}
		first := monorepo(t, s.Repo)
		r := s.open(t)
		poll(t, r)
		s.controls.Down()
		snapshot, err := r.Snapshot(first)
		if err != nil {
			t.Fatal(err)
		}
		for range 3 {
			_, err := fs.ReadFile(snapshot, "others/7/main.c")
			if !errors.Is(err, source.ErrUnavailable) || errors.Is(err, fs.ErrNotExist) || fault.IsTerminal(err) || !strings.Contains(err.Error(), "others/7/main.c") {
				t.Errorf("read: %v", err)
			}
			if _, err := fs.Stat(snapshot, "others/7/main.c"); !errors.Is(err, source.ErrUnavailable) {
				t.Errorf("stat: %v", err)
			}
		}
		s.controls.Up(t)
		poll(t, r)
		if got := read(t, r, first, "others/7/main.c"); got != "int x7;\n" {
			t.Errorf("with the server back: %q", got)
		}
	})
}

// A server that gave single files and gives none any more sends everything.
func TestServerThatLeavesNothingOutAnyMore(t *testing.T) {
	t.Parallel()
	repo := gitserver.NewRepo(t)
	first := monorepo(t, repo)
	server := gitserver.ServeHTTP(t, repo, "")
	s := &site{Repo: repo, options: gogit.Options{URL: server.URL, Branch: gitserver.Main, CacheDir: t.TempDir()}}
	r := s.open(t)
	poll(t, r)
	server.SpeakVersion0()
	poll(t, r)
	snapshot, err := r.Snapshot(first)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := fs.ReadFile(snapshot, "others/7/main.c"); !errors.Is(err, source.ErrUnavailable) {
		t.Errorf("read: %v", err)
	}
	poll(t, r)
	if got := read(t, r, first, "others/7/main.c"); got != "int x7;\n" || !mirrored(t, s, "main", "others/2499/main.c") {
		t.Errorf("once everything was sent: %q", got)
	}
}

// A revert in a monorepo needs the files of three trees that it merges.
func TestRevertInAMonorepo(t *testing.T) {
	everywhere(t, func(t *testing.T, s *site) {
		monorepo(t, s.Repo)
		bad := s.Commit(t, gitserver.Commit{Files: map[string]string{"odd/place/app.yaml": "kind: Job\nbad: true\n", "others/9/new.c": "int n;\n"}})
		s.Commit(t, one("odd/place/app.yaml", "# a comment above\nkind: Job\nbad: true\n"))
		r := s.open(t)
		poll(t, r)
		expect(t, revert(t, r, bad), gogit.Reverted)
		if got := s.File(t, "main", "odd/place/app.yaml"); got != "# a comment above\nkind: Job\n" {
			t.Errorf("after the revert: %q", got)
		}
	})
}

// A large file hinders nobody but who reads it, and those are told for good.
func TestLargeFileBesideWhatIsRead(t *testing.T) {
	everywhere(t, func(t *testing.T, s *site) {
		if s.name == "http-version-0" {
			t.Skip("it sends everything")
		}
		noise := make([]byte, 1<<20)
		_, _ = rand.Read(noise)
		first := s.Commit(t, gitserver.Commit{Files: map[string]string{"base/shop/app.yaml": "kind: Deployment\n", "base/other.yaml": "kind: Job\n", "base/shop/disk.img": string(noise)}})
		s.options.Limits.Object = 1 << 19
		r := s.open(t)
		poll(t, r)
		for name, want := range map[string]string{"base/shop/app.yaml": "kind: Deployment\n", "base/other.yaml": "kind: Job\n"} {
			if got := read(t, r, source.Revision(first), name); got != want {
				t.Errorf("%s reads %q", name, got)
			}
		}
		snapshot, err := r.Snapshot(source.Revision(first))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := snapshot.ReadFile("base/shop/disk.img"); !fault.IsTerminal(err) || !strings.Contains(err.Error(), "a file of 1048576 bytes, of which 524288 are allowed") {
			t.Errorf("the large file: %v", err)
		}
		if _, err := snapshot.Stat("base/shop/disk.img"); !fault.IsTerminal(err) {
			t.Errorf("its size: %v", err)
		}
		bad := s.Commit(t, gitserver.Commit{Files: map[string]string{"base/shop/app.yaml": "kind: DaemonSet\n", "base/shop/disk.img": string(noise) + "more"}})
		if head := poll(t, r); string(head.Revision) != bad || read(t, r, head.Revision, "base/shop/app.yaml") != "kind: DaemonSet\n" {
			t.Errorf("the next head is %s", head.Revision)
		}
		s.Commit(t, one("unrelated.yaml", "kind: Pod\n"))
		if _, err := r.Revert(t.Context(), gogit.RevertRequest{Guilty: source.Revision(bad), Note: note}); err != nil && !fault.IsTerminal(err) {
			t.Errorf("a revert of it: %v", err)
		}
	})
}

// A root that nobody can read is said to be one.
func TestRootOfTooManyNames(t *testing.T) {
	everywhere(t, func(t *testing.T, s *site) {
		first := s.Commit(t, one("a.yaml", "fine\n"))
		s.options.Limits.TreeEntries = 20
		r := s.open(t)
		poll(t, r)
		many := gitserver.Commit{Files: map[string]string{}}
		for i := range 30 {
			many.Files[fmt.Sprint(i)] = "x"
		}
		s.Commit(t, many)
		_, err := r.Poll(t.Context())
		if !errors.Is(err, source.ErrUnavailable) || !strings.Contains(err.Error(), "the root directory of ") || !strings.Contains(err.Error(), "more than 20 names in one directory") ||
			strings.Contains(err.Error(), "did not send") {
			t.Errorf("poll: %v", err)
		}
		if string(r.Head()) != first || read(t, r, r.Head(), "a.yaml") != "fine\n" {
			t.Errorf("the head is %s", r.Head())
		}
	})
}

package gogit_test

import (
	"bytes"
	"errors"
	"io/fs"
	"log/slog"
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

// filesBelow lists the files of a mirror whose path has all the parts.
func filesBelow(t *testing.T, dir string, parts ...string) []string {
	t.Helper()
	var found []string
	err := filepath.WalkDir(dir, func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		for _, part := range parts {
			if !strings.Contains(strings.TrimPrefix(name, dir), part) {
				return nil
			}
		}
		found = append(found, name)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// overwrite replaces a file that is read-only.
func overwrite(t *testing.T, name string, content []byte) {
	t.Helper()
	if err := os.Remove(name); err != nil {
		t.Fatal(err)
	}
	write(t, name, string(content))
}

// TestDamagedMirror: the mirror is a cache. Whatever is wrong with it, the next
// poll brings the source back, and says nothing is there that is not.
func TestDamagedMirror(t *testing.T) {
	t.Parallel()
	cutOff := func(t *testing.T, name string) {
		t.Helper()
		content, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		overwrite(t, name, content[:len(content)-5])
	}
	for name, damage := range map[string]func(t *testing.T, mirror string){
		"no head": func(t *testing.T, mirror string) { overwrite(t, filesBelow(t, mirror, "refs/heads/main")[0], nil) },
		"head names nothing": func(t *testing.T, mirror string) {
			overwrite(t, filesBelow(t, mirror, "refs/heads/main")[0], []byte(strings.Repeat("1", 40)))
		},
		"no objects":    func(t *testing.T, mirror string) { removeAll(t, filepath.Join(mirror, "objects")) },
		"pack cut off":  func(t *testing.T, mirror string) { cutOff(t, filesBelow(t, mirror, ".pack")[0]) },
		"index cut off": func(t *testing.T, mirror string) { cutOff(t, filesBelow(t, mirror, ".idx")[0]) },
		"no index":      func(t *testing.T, mirror string) { removeAll(t, filesBelow(t, mirror, ".idx")[0]) },
		"no marker":     func(t *testing.T, mirror string) { removeAll(t, filepath.Join(mirror, "chaperone.json")) },
		"half a marker": func(t *testing.T, mirror string) { cutOff(t, filepath.Join(mirror, "chaperone.json")) },
		"a file":        func(t *testing.T, mirror string) { removeAll(t, mirror); write(t, mirror, "") },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, want := largeSite(t)
			r := s.open(t)
			poll(t, r)
			r.Close()
			damage(t, filepath.Join(s.options.CacheDir, "mirror.git"))
			var log bytes.Buffer
			s.options.Logger = slog.New(slog.NewTextHandler(&log, nil))
			r = s.open(t)
			if r.Head() != "" || !strings.Contains(log.String(), "discarding the source's mirror") {
				t.Errorf("Head = %q of a damaged mirror, log %q", r.Head(), log.String())
			}
			if head := poll(t, r); string(head.Revision) != want || read(t, r, head.Revision, "a.yaml") != "1\n" {
				t.Errorf("poll = %+v, want %s", head, want)
			}
		})
	}
}

func removeAll(t *testing.T, name string) {
	t.Helper()
	if err := os.RemoveAll(name); err != nil {
		t.Fatal(err)
	}
}

// largeSite has enough files that the first fetch is kept as a pack.
func largeSite(t *testing.T) (s *site, head string) {
	t.Helper()
	repo := gitserver.NewRepo(t)
	repo.SendEverything(t)
	c := one("a.yaml", "1\n")
	for i := range 250 {
		c.Files["many/"+strings.Repeat("x", i+1)] = strings.Repeat("y", i)
	}
	head = repo.Commit(t, c)
	s = overFile(t, repo)
	s.options.Branch, s.options.CacheDir = gitserver.Main, t.TempDir()
	return s, head
}

// TestDamageInsideAnObject: a bit that flips is found when the object is read,
// and the mirror is made anew at the next poll.
func TestDamageInsideAnObject(t *testing.T) {
	t.Parallel()
	s, head := largeSite(t)
	r := s.open(t)
	poll(t, r)
	r.Close()
	pack := filesBelow(t, s.options.CacheDir, ".pack")[0]
	content, err := os.ReadFile(pack)
	if err != nil {
		t.Fatal(err)
	}
	for i := 300; i < len(content)-20; i += 50 { // past commit and root tree
		content[i] ^= 0x10
	}
	overwrite(t, pack, content)
	r, err = gogit.Open(t.Context(), s.options)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if string(r.Head()) == head {
		damaged := 0
		snapshot, err := r.Snapshot(r.Head())
		if err != nil {
			t.Fatal(err)
		}
		for i := range 250 {
			content, err := snapshot.ReadFile("many/" + strings.Repeat("x", i+1))
			switch {
			case err != nil:
				damaged++
			case string(content) != strings.Repeat("y", i):
				t.Errorf("file %d reads %q", i, content)
			}
		}
		if damaged == 0 {
			t.Error("no damage was found")
		}
	}
	fetches := r.Counters().Fetches
	poll(t, r)
	if r.Counters().Fetches != fetches+1 {
		t.Error("the damaged mirror was not made anew")
	}
	if got := read(t, r, source.Revision(head), "many/"+strings.Repeat("x", 100)); got != strings.Repeat("y", 99) {
		t.Errorf("after it was made anew, a file reads %q", got)
	}
}

// TestDamagedMirrorAndServerAway: what can still be read stays readable.
func TestDamagedMirrorAndServerAway(t *testing.T) {
	t.Parallel()
	repo := gitserver.NewRepo(t)
	first := source.Revision(repo.Commit(t, gitserver.Commit{Files: map[string]string{"a": "kept", "b": "lost"}}))
	s := overHTTP(t, repo)
	s.options.Branch, s.options.CacheDir = gitserver.Main, t.TempDir()
	r := s.open(t)
	poll(t, r)
	read(t, r, first, "b")
	lost := gitserver.Git(t, repo.Dir, "rev-parse", "main:b")
	removeAll(t, filesBelow(t, s.options.CacheDir, "objects/"+lost[:2]+"/"+lost[2:])[0])
	snapshot, err := r.Snapshot(first)
	if err != nil {
		t.Fatal(err)
	}
	s.controls.Down()
	if _, err := snapshot.ReadFile("b"); !errors.Is(err, source.ErrUnavailable) || errors.Is(err, fs.ErrNotExist) || fault.IsTerminal(err) {
		t.Errorf("reading a lost object: %v; it must not seem that the file does not exist", err)
	}
	if _, err := r.Poll(t.Context()); !errors.Is(err, source.ErrUnavailable) {
		t.Errorf("poll: %v", err)
	}
	if got := read(t, r, r.Head(), "a"); got != "kept" {
		t.Errorf("a reads %q", got)
	}
	s.controls.Up(t)
	poll(t, r)
	if content, err := snapshot.ReadFile("b"); err != nil || string(content) != "lost" {
		t.Errorf("through the old snapshot, after the mirror was made anew: %q, %v", content, err)
	}
}

func TestCacheOfAnotherSource(t *testing.T) {
	t.Parallel()
	one1, two := gitserver.NewRepo(t), gitserver.NewRepo(t)
	first := one1.Commit(t, one("a", "1"))
	second := two.Commit(t, one("a", "2"))
	s := overFile(t, one1)
	s.options.Branch, s.options.CacheDir = gitserver.Main, t.TempDir()
	r := s.open(t)
	poll(t, r)
	r.Close()
	r.Close()
	if _, err := r.Poll(t.Context()); err == nil || !strings.Contains(err.Error(), "closed") {
		t.Errorf("poll after Close: %v", err)
	}
	if _, err := r.Snapshot(r.Head()); err == nil {
		_, err = r.Changed(source.Revision(first), source.Revision(strings.Repeat("1", 40)))
		if !errors.Is(err, source.ErrUnknownRevision) {
			t.Errorf("reading after Close: %v", err)
		}
	}
	s.options.URL = two.Dir
	r = s.open(t)
	if r.Head() != "" {
		t.Errorf("Head = %s, which is of another source", r.Head())
	}
	if head := poll(t, r); string(head.Revision) != second {
		t.Errorf("poll = %+v, want %s", head, second)
	}
	if _, err := r.Commit(source.Revision(first)); !errors.Is(err, source.ErrUnknownRevision) {
		t.Errorf("a commit of the other source: %v", err)
	}
}

func TestCacheInUse(t *testing.T) {
	t.Parallel()
	repo := gitserver.NewRepo(t)
	repo.Commit(t, one("a", "1"))
	s := overFile(t, repo)
	s.options.Branch, s.options.CacheDir = gitserver.Main, t.TempDir()
	r := s.open(t)
	released := time.AfterFunc(300*time.Millisecond, r.Close)
	defer released.Stop()
	second := s.open(t) // waits for the first
	poll(t, second)
	write(t, filepath.Join(s.options.CacheDir, "mirror.new", "left"), "over")
	tmp := filepath.Join(s.options.CacheDir, "mirror.git", "objects", "pack", "tmp_pack_1")
	write(t, tmp, "half")
	second.Close()
	s.open(t)
	for _, name := range []string{tmp, filepath.Join(s.options.CacheDir, "mirror.new")} {
		if _, err := os.Stat(name); !os.IsNotExist(err) {
			t.Errorf("%s is still there: %v", name, err)
		}
	}
}

func TestOpenRefuses(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name    string
		options gogit.Options
		want    string
	}{
		{"no URL", gogit.Options{Branch: "main", CacheDir: "x"}, "no repository given"},
		{"no branch", gogit.Options{URL: "/srv/a.git", CacheDir: "x"}, `branch "": not a branch name`},
		{"a ref", gogit.Options{URL: "/srv/a.git", Branch: "refs/heads/main", CacheDir: "x"}, "not a branch name, want one such as main"},
		{"a bad branch", gogit.Options{URL: "/srv/a.git", Branch: "a..b", CacheDir: "x"}, "not a branch name"},
		{"no cache", gogit.Options{URL: "/srv/a.git", Branch: "main"}, "no cache directory given"},
		{"git protocol", gogit.Options{URL: "git://example.org/a.git", Branch: "main", CacheDir: "x"}, `repositories over "git" are not supported`},
	} {
		r, err := gogit.Open(t.Context(), test.options)
		if err == nil {
			r.Close()
		}
		if err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %v, want %q", test.name, err, test.want)
		}
	}
	s := &site{options: gogit.Options{URL: filepath.Join(t.TempDir(), "absent"), Branch: "main", CacheDir: t.TempDir()}}
	if _, err := s.open(t).Poll(t.Context()); !errors.Is(err, source.ErrUnavailable) || !strings.Contains(err.Error(), "no such file") {
		t.Errorf("a directory that is not there: %v", err)
	}
	s.options.URL, s.options.CacheDir = t.TempDir(), t.TempDir()
	if _, err := s.open(t).Poll(t.Context()); !errors.Is(err, source.ErrUnavailable) || !strings.Contains(err.Error(), "the server says: ") {
		t.Errorf("a directory that is no repository: %v", err)
	}
}

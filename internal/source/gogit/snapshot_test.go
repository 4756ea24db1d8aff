package gogit_test

import (
	"errors"
	"io"
	"io/fs"
	"strings"
	"sync"
	"testing"
	"testing/fstest"

	"chaperone.dev/chaperone/internal/source"
	"chaperone.dev/chaperone/internal/source/gogit"
	"chaperone.dev/chaperone/internal/testkit/gitserver"
)

// local polls a repository over file.
func local(t *testing.T, repo *gitserver.Repo, limits gogit.Limits) *gogit.Repository {
	t.Helper()
	s := overFile(t, repo)
	s.options.Branch, s.options.CacheDir, s.options.Limits = gitserver.Main, t.TempDir(), limits
	r := s.open(t)
	poll(t, r)
	return r
}

func snapshot(t *testing.T, r *gogit.Repository) *gogit.Snapshot {
	t.Helper()
	s, err := r.Snapshot(r.Head())
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestSnapshotIsAFileSystem(t *testing.T) {
	t.Parallel()
	repo := gitserver.NewRepo(t)
	repo.Commit(t, gitserver.Commit{
		Files:       map[string]string{"base/a.yaml": "a: 1\n", "base/deep/er/b.yaml": "", "base.yaml": "x", "z": "z"},
		Executables: map[string]string{"hook.sh": "#!/bin/sh\n"},
	})
	s := snapshot(t, local(t, repo, gogit.Limits{}))
	if err := fstest.TestFS(s, "base/a.yaml", "base/deep/er/b.yaml", "base.yaml", "hook.sh", "z"); err != nil {
		t.Error(err)
	}
	file, err := s.Open("base/a.yaml")
	if err != nil {
		t.Fatal(err)
	}
	content, err := io.ReadAll(file)
	if err != nil || string(content) != "a: 1\n" || file.Close() != nil {
		t.Errorf("read %q, %v", content, err)
	}
	if info, err := s.Stat("hook.sh"); err != nil || info.Mode() != 0o555 || info.Size() != 10 {
		t.Errorf("Stat of an executable = %v, %v", info, err)
	}
}

func TestSnapshotHash(t *testing.T) {
	t.Parallel()
	repo := gitserver.NewRepo(t)
	repo.Commit(t, gitserver.Commit{
		Files: map[string]string{"a": "hello\n", "same": "hello\n", "d/b": "x"}, Executables: map[string]string{"run": "hello\n"},
		Links: map[string]string{"link": "a", "to-d": "d"}, Modules: map[string]string{"module": strings.Repeat("1", 40)},
	})
	s := snapshot(t, local(t, repo, gogit.Limits{}))
	const hello = "ce013625030ba8dba906f756967f9e9ca394464a"
	for name, want := range map[string]string{
		"a": "100644:" + hello, "same": "100644:" + hello, "run": "100755:" + hello, "link": "120000:2e65efe2a145dda7ee51d1741299f848e5bf752e",
		"module": "160000:" + strings.Repeat("1", 40), "d": source.Dir, ".": source.Dir,
		"absent": "", "d/absent": "", "a/below": "", "to-d/b": "", "module/x": "",
	} {
		if got, err := s.Hash(name); err != nil || got != want {
			t.Errorf("Hash(%s) = %q, %v; want %q", name, got, err, want)
		}
	}
	for _, name := range []string{"", "/a", "../a", "d/../a", "\xff"} {
		if _, err := s.Hash(name); !errors.Is(err, fs.ErrInvalid) {
			t.Errorf("Hash(%q): %v", name, err)
		}
	}
}

// TestPitfall07_OddFiles: a submodule, a file name that is not UTF-8, a link, a
// large file; none stops the rest.
func TestPitfall07_OddFiles(t *testing.T) {
	t.Parallel()
	repo := gitserver.NewRepo(t)
	repo.Commit(t, gitserver.Commit{
		Files: map[string]string{
			"ok.yaml": "fine\n", "d/\xff\xfe.yaml": "x", "d/ok.yaml": "fine\n", "d/ü ü\n.yaml": "y", "large": strings.Repeat("l", 2000),
			"pointer": "version https://git-lfs.github.com/spec/v1\n", "\xc3/inner": "z",
		},
		Links:   map[string]string{"link": "d/ok.yaml", "out": "../../etc/passwd", "huge-link": strings.Repeat("x", 2000)},
		Modules: map[string]string{"module": strings.Repeat("2", 40)},
	})
	s := snapshot(t, local(t, repo, gogit.Limits{Blob: 1000}))
	for _, test := range []struct {
		err  error
		want string
	}{
		{errorOf(s.Open("link")), "open link: is a symbolic link, which is not followed"},
		{errorOf(s.ReadFile("module")), "read module: is a submodule, and submodules are not fetched"},
		{errorOf(s.Open("module")), "open module: is a submodule"},
		{errorOf(s.ReadFile("large")), "read large: blob "},
		{errorOf(s.ReadFile("large")), "too large: 2000 bytes, of which 1000 are allowed"},
		{errorOf(s.ReadLink("huge-link")), "too large"},
		{errorOf(s.ReadFile("d")), "read d: is a directory"},
		{errorOf(s.ReadDir("ok.yaml")), "read directory ok.yaml: not a directory"},
		{errorOf(s.ReadLink("ok.yaml")), "readlink ok.yaml: invalid argument"},
		{errorOf(s.ReadFile("link/x")), "read link/x: file does not exist"},
		{errorOf(s.ReadFile("d/\xff\xfe.yaml")), "invalid argument"},
	} {
		if test.err == nil || !strings.Contains(test.err.Error(), test.want) {
			t.Errorf("%v, want %q", test.err, test.want)
		}
	}
	if target, err := s.ReadLink("out"); err != nil || target != "../../etc/passwd" {
		t.Errorf("ReadLink = %q, %v", target, err)
	}
	if target, err := s.ReadFile("link"); err != nil || string(target) != "d/ok.yaml" {
		t.Errorf("ReadFile of a link = %q, %v", target, err)
	}
	kinds := map[string]fs.FileMode{}
	err := fs.WalkDir(s, ".", func(name string, d fs.DirEntry, err error) error {
		if err == nil {
			kinds[name] = d.Type()
			_, err = d.Info()
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
	for name, want := range map[string]fs.FileMode{
		"ok.yaml": 0, "link": fs.ModeSymlink, "module": fs.ModeIrregular, "d": fs.ModeDir, "d/ok.yaml": 0, "d/ü ü\n.yaml": 0,
		"d/\xff\xfe.yaml": fs.ModeIrregular, "\xc3": fs.ModeIrregular,
	} {
		if got, found := kinds[name]; !found || got != want {
			t.Errorf("%q is %v (found: %v), want %v", name, got, found, want)
		}
	}
	if _, err := s.ReadFile("d/ok.yaml"); err != nil {
		t.Error(err)
	}
}

func TestLimits(t *testing.T) {
	t.Parallel()
	repo := gitserver.NewRepo(t)
	many := gitserver.Commit{Files: map[string]string{"ok": "1", "large": strings.Repeat("0123456789abcdef", 40_000)}}
	for i := range 30 {
		many.Files["d/"+strings.Repeat("x", i+1)] = "1"
	}
	repo.Commit(t, many)
	s := snapshot(t, local(t, repo, gogit.Limits{TreeEntries: 20}))
	if _, err := s.ReadDir("d"); err == nil || !strings.Contains(err.Error(), "more than 20 names in one directory") {
		t.Errorf("ReadDir: %v", err)
	}
	if _, err := s.ReadFile("ok"); err != nil {
		t.Error(err)
	}
	for _, limits := range []gogit.Limits{{Object: 1000}, {Pack: 300}} {
		site := overFile(t, repo)
		site.options.Branch, site.options.CacheDir, site.options.Limits = "main", t.TempDir(), limits
		r := site.open(t)
		if _, err := r.Poll(t.Context()); err == nil || !strings.Contains(err.Error(), "allowed") || r.Head() != "" {
			t.Errorf("%+v: %v, Head %q", limits, err, r.Head())
		}
	}
}

// TestConcurrentReaders is for the race detector: reading, polling and
// fetching at once.
func TestConcurrentReaders(t *testing.T) {
	t.Parallel()
	repo := gitserver.NewRepo(t)
	repo.Commit(t, one("d/a.yaml", "0\n"))
	r := local(t, repo, gogit.Limits{})
	first := r.Head()
	stop := make(chan struct{})
	var readers sync.WaitGroup
	for range 4 {
		readers.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				s, err := r.Snapshot(r.Head())
				if err != nil {
					t.Error(err)
					return
				}
				_, err = s.ReadFile("d/a.yaml")
				_, err2 := s.Hash("d/a.yaml")
				_, err3 := s.ReadDir("d")
				_, err4 := r.FirstParents(t.Context(), first, r.Head(), 100)
				if err := errors.Join(err, err2, err3, err4); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	for i := range 12 {
		change := one("d/a.yaml", strings.Repeat("x", i+1)+"\n")
		if i%4 == 3 {
			for j := range 250 { // becomes a pack
				change.Files["many/"+strings.Repeat("y", i)+"/"+strings.Repeat("z", j+1)] = strings.Repeat("w", i+j)
			}
		}
		repo.Commit(t, change)
		poll(t, r)
	}
	close(stop)
	readers.Wait()
}

func errorOf[T any](_ T, err error) error { return err }

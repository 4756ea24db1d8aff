package worktree

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"testing/fstest"

	"chaperone.dev/chaperone/internal/source"
)

func write(t *testing.T, dir, name, content string) {
	t.Helper()
	file := filepath.Join(dir, name)
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

func open(t *testing.T, dir string) *Snapshot {
	t.Helper()
	s, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

func TestSnapshotIsAFileSystem(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write(t, dir, "base/a.yaml", "a: 1\n")
	write(t, dir, "base/deep/er/b.yaml", "")
	write(t, dir, "kustomization.yaml", "resources: [base]\n")
	write(t, dir, ".git/config", "secret")
	write(t, dir, "base/.GIT", "gitdir: elsewhere")
	s := open(t, dir)
	if err := fstest.TestFS(s, "base/a.yaml", "base/deep/er/b.yaml", "kustomization.yaml"); err != nil {
		t.Error(err)
	}
	if s.Revision() != source.WorkingTree {
		t.Errorf("Revision = %q", s.Revision())
	}
	var names []string
	err := fs.WalkDir(s, ".", func(name string, _ fs.DirEntry, err error) error {
		names = append(names, name)
		return err
	})
	want := ". base base/a.yaml base/deep base/deep/er base/deep/er/b.yaml kustomization.yaml"
	if got := strings.Join(names, " "); err != nil || got != want {
		t.Errorf("walked %s, %v; want %s", got, err, want)
	}
	for _, name := range []string{".git", ".git/config", "base/.GIT"} {
		if _, err := s.ReadFile(name); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("ReadFile(%s): %v, want not to exist", name, err)
		}
	}
}

func TestHash(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write(t, dir, "a", "one")
	write(t, dir, "same", "one")
	write(t, dir, "script", "one")
	write(t, dir, "d/b", "two")
	if err := errors.Join(os.Chmod(filepath.Join(dir, "script"), 0o755), os.Symlink("one", filepath.Join(dir, "link")), os.Symlink("d", filepath.Join(dir, "to-d"))); err != nil {
		t.Fatal(err)
	}
	s := open(t, dir)
	hash := func(name string) string {
		t.Helper()
		h, err := s.Hash(name)
		if err != nil {
			t.Errorf("Hash(%s): %v", name, err)
		}
		return h
	}
	const one = "sha256:7692c3ad3540bb803c020b3aee66cd8887123234ea0c6e7143c0add73ff431ed"
	for name, want := range map[string]string{
		"a": "100644:" + one, "same": "100644:" + one, "script": "100755:" + one, "link": "120000:" + one,
		"d": source.Dir, ".": source.Dir, "absent": "", "d/absent": "", "a/below-a-file": "", "to-d/b": "", ".git/config": "",
	} {
		if got := hash(name); got != want {
			t.Errorf("Hash(%s) = %q, want %q", name, got, want)
		}
	}
	before := hash("d/b")
	write(t, dir, "d/b", "three")
	if hash("d/b") == before {
		t.Error("the content changed, the hash did not")
	}
	if _, err := s.Hash("../outside"); !errors.Is(err, fs.ErrInvalid) {
		t.Errorf("Hash outside: %v", err)
	}
}

// TestPitfall03_LinksThatLeaveTheTree: CVE-2022-24877 read files outside of the
// source through symbolic links.
func TestPitfall03_LinksThatLeaveTheTree(t *testing.T) {
	t.Parallel()
	outside := t.TempDir()
	write(t, outside, "secret", "canary")
	dir := t.TempDir()
	write(t, dir, "a", "one")
	if err := errors.Join(
		os.Symlink(filepath.Join(outside, "secret"), filepath.Join(dir, "file")),
		os.Symlink(outside, filepath.Join(dir, "directory")),
		os.Symlink("../../../../../../etc", filepath.Join(dir, "up")),
	); err != nil {
		t.Fatal(err)
	}
	s := open(t, dir)
	for _, name := range []string{"directory/secret", "up/passwd"} {
		if _, err := fs.ReadFile(s, name); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("ReadFile(%s): %v, want not to exist", name, err)
		}
	}
	if _, err := s.Open("file"); err == nil || !strings.Contains(err.Error(), "open file: is a symbolic link") {
		t.Errorf("Open(file): %v", err)
	}
	if content, err := s.ReadFile("file"); err != nil || string(content) != filepath.Join(outside, "secret") {
		t.Errorf("ReadFile of a link = %q, %v; want its target's name", content, err)
	}
	if info, err := s.Stat("directory"); err != nil || info.Mode()&fs.ModeSymlink == 0 || info.IsDir() {
		t.Errorf("Stat of a link = %v, %v", info, err)
	}
	for _, name := range []string{"../a", "/etc/passwd", "a/../../x", "", "./a"} {
		if _, err := s.Open(name); !errors.Is(err, fs.ErrInvalid) {
			t.Errorf("Open(%q): %v, want invalid", name, err)
		}
	}
}

func TestErrors(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write(t, dir, "a", "one")
	if err := syscall.Mkfifo(filepath.Join(dir, "fifo"), 0o600); err != nil {
		t.Skip(err)
	}
	s := open(t, dir)
	for _, test := range []struct {
		what string
		err  error
		want string
	}{
		{"fifo", errorOf(s.Open("fifo")), "open fifo: is neither file nor directory"},
		{"read a directory", errorOf(s.ReadFile(".")), "read .: is neither file nor directory"},
		{"list a file", errorOf(s.ReadDir("a")), "read directory a: not a directory"},
		{"readlink of a file", errorOf(s.ReadLink("a")), "readlink a: invalid argument"},
		{"no such file", errorOf(s.Stat("b")), "stat b: no such file"},
		{"no such directory", errorOf(Open(filepath.Join(dir, "b"))), "open working tree: "},
	} {
		if test.err == nil || !strings.HasPrefix(test.err.Error(), test.want) {
			t.Errorf("%s: %v, want %q", test.what, test.err, test.want)
		}
		if test.what != "no such directory" && strings.Contains(test.err.Error(), dir) {
			t.Errorf("%s: %v tells where the directory is", test.what, test.err)
		}
	}
	if err := os.Truncate(filepath.Join(dir, "a"), maxFile+1); err != nil {
		t.Fatal(err)
	}
	if _, err := s.ReadFile("a"); err == nil || !strings.Contains(err.Error(), "more than the") {
		t.Errorf("a file above the limit: %v", err)
	}
}

func errorOf[T any](_ T, err error) error { return err }

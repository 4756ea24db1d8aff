// Package worktree is a snapshot of a directory as it is on disk, for commands
// that look at what is not committed yet. Like a snapshot of Git objects it
// follows no symbolic link, shows no .git, and never reaches outside its
// directory, not even through a link. It does not freeze the files: what
// changes while it is read is read as changed.
package worktree

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"

	"chaperone.dev/chaperone/internal/source"
)

// maxFile bounds what is read of one file.
const maxFile = 64 << 20

// The forms of Hash, after the modes that Git has.
const (
	regularMode    = "100644"
	executableMode = "100755"
	symlinkMode    = "120000"
)

// Snapshot is a directory on disk. It implements source.Snapshot and
// fs.ReadDirFS, fs.ReadFileFS, fs.StatFS, fs.ReadLinkFS. It is safe for
// concurrent use.
type Snapshot struct {
	root *os.Root
	dir  string
}

var (
	_ source.Snapshot = (*Snapshot)(nil)
	_ fs.ReadDirFS    = (*Snapshot)(nil)
	_ fs.ReadFileFS   = (*Snapshot)(nil)
	_ fs.StatFS       = (*Snapshot)(nil)
	_ fs.ReadLinkFS   = (*Snapshot)(nil)
)

// Open takes dir as a snapshot. Close it after use.
func Open(dir string) (*Snapshot, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, fmt.Errorf("open working tree: %w", err)
	}
	return &Snapshot{root: root, dir: dir}, nil
}

// Close releases the directory.
func (s *Snapshot) Close() error { return s.root.Close() }

// Revision is source.WorkingTree: the files have none.
func (s *Snapshot) Revision() source.Revision { return source.WorkingTree }

// Hash is the mode and the sha256 of the content or of a link's target.
func (s *Snapshot) Hash(name string) (string, error) {
	info, err := s.lstat("hash", name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return "", nil
	case err != nil:
		return "", err
	case info.IsDir():
		return source.Dir, nil
	}
	content, err := s.ReadFile(name)
	if err != nil {
		return "", err
	}
	mode := regularMode
	switch {
	case info.Mode()&fs.ModeSymlink != 0:
		mode = symlinkMode
	case info.Mode()&0o100 != 0:
		mode = executableMode
	}
	sum := sha256.Sum256(content)
	return mode + ":sha256:" + hex.EncodeToString(sum[:]), nil
}

// Open opens a regular file or a directory.
func (s *Snapshot) Open(name string) (fs.File, error) {
	info, err := s.lstat("open", name)
	if err != nil {
		return nil, err
	}
	switch {
	case info.IsDir():
		entries, err := s.ReadDir(name)
		return &directory{info: info, entries: entries}, err
	case !info.Mode().IsRegular():
		return nil, refuse("open", name, unreadable(info))
	}
	file, err := s.root.Open(name)
	return file, relative("open", name, err)
}

// ReadFile reads a regular file, or the target of a symbolic link.
func (s *Snapshot) ReadFile(name string) ([]byte, error) {
	info, err := s.lstat("read", name)
	switch {
	case err != nil:
		return nil, err
	case info.Mode()&fs.ModeSymlink != 0:
		target, err := s.ReadLink(name)
		return []byte(target), err
	case !info.Mode().IsRegular():
		return nil, refuse("read", name, unreadable(info))
	case info.Size() > maxFile:
		return nil, refuse("read", name, fmt.Errorf("has %d bytes, more than the %d allowed", info.Size(), maxFile))
	}
	file, err := s.root.Open(name)
	if err != nil {
		return nil, relative("read", name, err)
	}
	defer file.Close()
	content, err := io.ReadAll(io.LimitReader(file, maxFile))
	return content, relative("read", name, err)
}

// ReadDir lists a directory by name, without .git.
func (s *Snapshot) ReadDir(name string) ([]fs.DirEntry, error) {
	info, err := s.lstat("read directory", name)
	if err != nil {
		return nil, err
	}
	if !info.IsDir() {
		return nil, refuse("read directory", name, errors.New("not a directory"))
	}
	file, err := s.root.Open(name)
	if err != nil {
		return nil, relative("read directory", name, err)
	}
	defer file.Close()
	entries, err := file.ReadDir(-1)
	if err != nil {
		return nil, relative("read directory", name, err)
	}
	entries = slices.DeleteFunc(entries, func(e fs.DirEntry) bool { return hidden(e.Name()) })
	slices.SortFunc(entries, func(a, b fs.DirEntry) int { return strings.Compare(a.Name(), b.Name()) })
	return entries, nil
}

// Stat describes what stands at name; a symbolic link itself, not its target.
func (s *Snapshot) Stat(name string) (fs.FileInfo, error) { return s.lstat("stat", name) }

// Lstat is Stat.
func (s *Snapshot) Lstat(name string) (fs.FileInfo, error) { return s.lstat("lstat", name) }

// ReadLink returns where a symbolic link points, as it is written.
func (s *Snapshot) ReadLink(name string) (string, error) {
	info, err := s.lstat("readlink", name)
	if err != nil {
		return "", err
	}
	if info.Mode()&fs.ModeSymlink == 0 {
		return "", refuse("readlink", name, fs.ErrInvalid)
	}
	target, err := s.root.Readlink(name)
	return target, relative("readlink", name, err)
}

// lstat looks at name and at every directory above it: below a link there is
// nothing, as in a Git tree.
func (s *Snapshot) lstat(op, name string) (fs.FileInfo, error) {
	if !fs.ValidPath(name) {
		return nil, refuse(op, name, fs.ErrInvalid)
	}
	if slices.ContainsFunc(strings.Split(name, "/"), hidden) {
		return nil, refuse(op, name, fs.ErrNotExist)
	}
	for i, c := range name {
		if c != '/' {
			continue
		}
		info, err := s.root.Lstat(name[:i])
		if err == nil && !info.IsDir() {
			err = fs.ErrNotExist
		}
		if err != nil {
			return nil, relative(op, name, err)
		}
	}
	info, err := s.root.Lstat(name)
	return info, relative(op, name, err)
}

func hidden(element string) bool { return strings.EqualFold(element, ".git") }

func unreadable(info fs.FileInfo) error {
	if info.Mode()&fs.ModeSymlink != 0 {
		return errors.New("is a symbolic link, which is not followed")
	}
	return fmt.Errorf("is neither file nor directory (%s)", info.Mode().Type())
}

func refuse(op, name string, why error) error {
	return &fs.PathError{Op: op, Path: name, Err: why}
}

// relative names the path in the snapshot instead of one on this machine.
func relative(op, name string, err error) error {
	if err == nil {
		return nil
	}
	var inner *fs.PathError
	if errors.As(err, &inner) {
		err = inner.Err
	}
	return refuse(op, name, err)
}

// directory is an open directory; its entries are those of the moment it was
// opened.
type directory struct {
	info    fs.FileInfo
	entries []fs.DirEntry
	next    int
}

func (d *directory) Stat() (fs.FileInfo, error) { return d.info, nil }
func (d *directory) Close() error               { return nil }

func (d *directory) Read([]byte) (int, error) {
	return 0, refuse("read", path.Base(d.info.Name()), errors.New("is a directory"))
}

func (d *directory) ReadDir(n int) ([]fs.DirEntry, error) {
	rest := d.entries[d.next:]
	if n <= 0 {
		d.next = len(d.entries)
		return rest, nil
	}
	if len(rest) == 0 {
		return nil, io.EOF
	}
	rest = rest[:min(n, len(rest))]
	d.next += len(rest)
	return rest, nil
}

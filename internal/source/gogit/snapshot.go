package gogit

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"time"
	"unicode/utf8"

	"github.com/go-git/go-git/v5/plumbing"

	"chaperone.dev/chaperone/internal/source"
)

// Snapshot is the tree of one commit, read from Git objects as it is asked
// for. Symbolic links are shown as such and followed nowhere; submodules and
// names that are not UTF-8 are listed, and refuse to be opened. It is safe for
// concurrent use.
type Snapshot struct {
	objects  *objects
	revision source.Revision
	root     plumbing.Hash
}

var (
	_ source.Snapshot = (*Snapshot)(nil)
	_ fs.ReadDirFS    = (*Snapshot)(nil)
	_ fs.ReadFileFS   = (*Snapshot)(nil)
	_ fs.StatFS       = (*Snapshot)(nil)
	_ fs.ReadLinkFS   = (*Snapshot)(nil)
)

// Snapshot returns the tree of a commit, or an error that wraps
// source.ErrUnknownRevision.
func (o *objects) Snapshot(revision source.Revision) (*Snapshot, error) {
	c, err := o.commit(revision)
	if err != nil {
		return nil, fmt.Errorf("snapshot: %w", err)
	}
	return &Snapshot{objects: o, revision: revision, root: c.tree}, nil
}

// Revision is the commit.
func (s *Snapshot) Revision() source.Revision { return s.revision }

// Hash is the mode and the blob's hash, known without reading the blob.
func (s *Snapshot) Hash(name string) (string, error) {
	if !fs.ValidPath(name) {
		return "", refuse("hash", name, fs.ErrInvalid)
	}
	n, found, err := s.objects.find(s.root, name)
	switch {
	case err != nil:
		return "", refuse("hash", name, err)
	case !found:
		return "", nil
	case n.kind() == kindTree:
		return source.Dir, nil
	}
	return fmt.Sprintf("%o:%s", uint32(n.plainMode()), n.hash), nil
}

func (s *Snapshot) find(op, name string) (node, error) {
	if !fs.ValidPath(name) {
		return node{}, refuse(op, name, fs.ErrInvalid)
	}
	n, found, err := s.objects.find(s.root, name)
	if err == nil && !found {
		err = fs.ErrNotExist
	}
	if err != nil {
		return node{}, refuse(op, name, err)
	}
	if name == "." {
		n.name = "."
	}
	return n, nil
}

// Open opens a regular file or a directory.
func (s *Snapshot) Open(name string) (fs.File, error) {
	n, err := s.find("open", name)
	if err != nil {
		return nil, err
	}
	if n.kind() == kindTree {
		entries, err := s.ReadDir(name)
		return &directory{info: info{node: n}, entries: entries}, err
	}
	if n.kind() == kindSymlink {
		return nil, refuse("open", name, errors.New("is a symbolic link, which is not followed"))
	}
	content, err := s.content("open", name, n)
	if err != nil {
		return nil, err
	}
	return &file{info: info{node: n, size: int64(len(content))}, Reader: bytes.NewReader(content)}, nil
}

// ReadFile reads a regular file, or the target of a symbolic link.
func (s *Snapshot) ReadFile(name string) ([]byte, error) {
	n, err := s.find("read", name)
	if err != nil {
		return nil, err
	}
	return s.content("read", name, n)
}

func (s *Snapshot) content(op, name string, n node) ([]byte, error) {
	switch n.kind() {
	case kindFile, kindSymlink:
	case kindTree:
		return nil, refuse(op, name, errors.New("is a directory"))
	case kindModule:
		return nil, refuse(op, name, errors.New("is a submodule, and submodules are not fetched: its files have to be in this repository"))
	default:
		return nil, refuse(op, name, fmt.Errorf("is neither file nor directory (mode %o)", uint32(n.mode)))
	}
	content, err := s.objects.blobOr(n.hash, func() error { return s.objects.obtainAround(s.root, name, n.hash) })
	if err != nil {
		return nil, refuse(op, name, err)
	}
	return content, nil
}

// ReadDir lists a directory by name.
func (s *Snapshot) ReadDir(name string) ([]fs.DirEntry, error) {
	n, err := s.find("read directory", name)
	if err != nil {
		return nil, err
	}
	if n.kind() != kindTree {
		return nil, refuse("read directory", name, errors.New("not a directory"))
	}
	nodes, err := s.objects.tree(n.hash)
	if err != nil {
		return nil, refuse("read directory", name, err)
	}
	entries := make([]fs.DirEntry, len(nodes))
	for i, n := range nodes {
		entries[i] = entry{s, n}
	}
	return entries, nil
}

// Stat describes what stands at name; a symbolic link itself, not its target.
func (s *Snapshot) Stat(name string) (fs.FileInfo, error) {
	n, err := s.find("stat", name)
	if err != nil {
		return nil, err
	}
	return s.sized("stat", name, n)
}

// Lstat is Stat.
func (s *Snapshot) Lstat(name string) (fs.FileInfo, error) { return s.Stat(name) }

// ReadLink returns where a symbolic link points, as it is written.
func (s *Snapshot) ReadLink(name string) (string, error) {
	n, err := s.find("readlink", name)
	if err != nil {
		return "", err
	}
	if n.kind() != kindSymlink {
		return "", refuse("readlink", name, fs.ErrInvalid)
	}
	target, err := s.content("readlink", name, n)
	return string(target), err
}

func (s *Snapshot) sized(op, name string, n node) (info, error) {
	i := info{node: n}
	if n.kind() != kindFile && n.kind() != kindSymlink {
		return i, nil
	}
	size, err := s.objects.blobSize(n.hash, func() error { return s.objects.obtainAround(s.root, name, n.hash) })
	if err != nil {
		return i, refuse(op, name, err)
	}
	i.size = size
	return i, nil
}

func refuse(op, name string, why error) error {
	return &fs.PathError{Op: op, Path: name, Err: why}
}

// info describes a node. Commits hold no times of files: they are all zero.
type info struct {
	node
	size int64
}

func (i info) Name() string       { return i.name }
func (i info) Size() int64        { return i.size }
func (i info) ModTime() time.Time { return time.Time{} }
func (i info) IsDir() bool        { return i.Mode().IsDir() }
func (i info) Sys() any           { return nil }

func (i info) Mode() fs.FileMode {
	if !utf8.ValidString(i.name) {
		return fs.ModeIrregular // no path leads there
	}
	switch i.kind() {
	case kindTree:
		return fs.ModeDir | 0o555
	case kindSymlink:
		return fs.ModeSymlink | 0o777
	case kindFile:
		return 0o444 | fs.FileMode(i.node.mode&0o100)/0o100*0o111
	}
	return fs.ModeIrregular
}

// entry is a node in a listing; its size is looked up when asked for.
type entry struct {
	snapshot *Snapshot
	node     node
}

func (e entry) Name() string      { return e.node.name }
func (e entry) IsDir() bool       { return e.Type().IsDir() }
func (e entry) Type() fs.FileMode { return info{node: e.node}.Mode().Type() }

func (e entry) Info() (fs.FileInfo, error) {
	return e.snapshot.sized("stat", e.node.name, e.node)
}

type file struct {
	*bytes.Reader
	info info
}

func (f *file) Stat() (fs.FileInfo, error) { return f.info, nil }
func (f *file) Close() error               { return nil }

type directory struct {
	info    info
	entries []fs.DirEntry
	next    int
}

func (d *directory) Stat() (fs.FileInfo, error) { return d.info, nil }
func (d *directory) Close() error               { return nil }

func (d *directory) Read([]byte) (int, error) {
	return 0, refuse("read", d.info.name, errors.New("is a directory"))
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

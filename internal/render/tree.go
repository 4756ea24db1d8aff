package render

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"sigs.k8s.io/kustomize/kyaml/filesys"

	"chaperone.dev/chaperone/internal/fault"
	"chaperone.dev/chaperone/internal/source"
)

// mount is where kustomize sees the snapshot. It is not "/", because cleaning
// "/../x" gives "/x": a path that leaves the tree would come back into it.
const mount = "/snapshot"

// maxLinks is how many symbolic links one path may lead through, as on Linux.
const maxLinks = 40

// lfsPointer begins a file whose content is elsewhere.
const lfsPointer = "version https://git-lfs.github.com/spec/v1\n"

type kind int

const (
	absent kind = iota
	directory
	regular
	link
	irregular // a submodule, a device
)

// node is what stands at a name.
type node struct {
	kind   kind
	size   int64
	target string // of a link
}

// tree is a snapshot as kustomize's file system: read-only, bounded, recording
// all that was looked at. What it once answered it answers again, so that what
// the survey found harmless is what kustomize gets. It belongs to one build
// and one goroutine.
type tree struct {
	ctx     context.Context // filesys.FileSystem has no room for it
	snap    source.Snapshot
	limits  Limits
	closure source.Closure
	nodes   map[string]node
	content map[string][]byte
	stored  int64 // bytes held in content
	served  int64 // bytes given to kustomize, a file as often as it was asked for
	paths   int   // names in closure that are no directory

	// refused is the first error that kustomize must not explain away: it takes
	// a kustomization that it cannot read for one that does not exist.
	refused error
}

var _ filesys.FileSystem = (*tree)(nil)

func newTree(ctx context.Context, snap source.Snapshot, limits Limits) *tree {
	return &tree{ctx: ctx, snap: snap, limits: limits,
		closure: source.Closure{}, nodes: map[string]node{}, content: map[string][]byte{}}
}

func (t *tree) refuse(err error) error {
	if t.refused == nil {
		t.refused = err
	}
	return err
}

// lookup says what stands at name, whose parents are known to be directories,
// without following a link.
func (t *tree) lookup(name string) (node, error) {
	if n, seen := t.nodes[name]; seen {
		return n, nil
	}
	if t.refused != nil {
		return node{}, t.refused
	}
	if t.ctx.Err() != nil {
		return node{}, t.refuse(fault.Retryable("read", name, context.Cause(t.ctx)))
	}
	n, hash, err := t.stat(name)
	if err != nil {
		return node{}, t.refuse(unread("read", name, err))
	}
	if n.kind != directory {
		if t.paths++; t.paths > t.limits.Files {
			return node{}, t.refuse(fault.Terminal("read", name,
				fmt.Errorf("render looks at more than %d files; want a smaller closure or a higher limit", t.limits.Files)))
		}
	}
	t.nodes[name], t.closure[name] = n, hash
	return n, nil
}

func (t *tree) stat(name string) (node, string, error) {
	if !fs.ValidPath(name) {
		return node{}, "", nil // no such name can stand in a tree
	}
	info, err := fs.Lstat(t.snap, name)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrInvalid) {
		return node{}, "", nil
	}
	if err != nil {
		return node{}, "", err
	}
	n := node{kind: regular, size: info.Size()}
	switch {
	case info.IsDir():
		return node{kind: directory}, source.Dir, nil
	case info.Mode()&fs.ModeSymlink != 0:
		if n.target, err = t.readLink(name); err != nil {
			return node{}, "", err
		}
		n.kind = link
	case !info.Mode().IsRegular():
		n.kind = irregular
	}
	hash, err := t.snap.Hash(name)
	if err == nil && hash == "" {
		err = errors.New("vanished while it was read")
	}
	return n, hash, err
}

// readLink also serves a snapshot that presents a link as Git does: a file
// whose content is the target.
func (t *tree) readLink(name string) (string, error) {
	if _, able := t.snap.(fs.ReadLinkFS); able {
		return fs.ReadLink(t.snap, name)
	}
	file, err := t.snap.Open(name)
	if err != nil {
		return "", err
	}
	defer func() { _ = file.Close() }()
	target, err := io.ReadAll(io.LimitReader(file, 4096))
	return string(target), err
}

// resolve follows links to what a clean name stands for. It returns the name
// without links; where something is missing, the name of the first missing part.
func (t *tree) resolve(name string) (string, node, error) {
	parts, at, n, links := strings.Split(name, "/"), ".", node{kind: directory}, 0
	for len(parts) > 0 {
		part := parts[0]
		parts = parts[1:]
		if part == "" || part == "." {
			continue
		}
		if part == ".." { // only in a link's target, after another link
			if at == "." {
				return "", node{}, t.refuse(fault.Terminal("read", name, errors.New("symbolic links leave the tree")))
			}
			at = path.Dir(at)
			continue
		}
		full := path.Join(at, part)
		next, err := t.lookup(full)
		switch {
		case err != nil:
			return "", node{}, err
		case next.kind == irregular:
			return "", node{}, t.refuse(fault.Terminal("read", full, errors.New(
				"is neither file nor directory, perhaps a submodule; want its files in this repository")))
		case next.kind == absent, next.kind == regular && len(parts) > 0:
			return full, node{}, nil
		case next.kind == link:
			if links++; links > maxLinks {
				return "", node{}, t.refuse(fault.Terminal("read", name, errors.New("symbolic links lead in a circle")))
			}
			if leaves(at, next.target) {
				return "", node{}, t.refuse(fault.Terminal("read", full, fmt.Errorf(
					"symbolic link to %q leaves the tree; want a target inside the repository", next.target)))
			}
			parts = append(strings.Split(next.target, "/"), parts...)
		default:
			at, n = full, next
		}
	}
	return at, n, nil
}

// leaves reports whether a path that is read from directory dir points out of
// the tree, be it only on its way.
func leaves(dir, p string) bool {
	if path.IsAbs(p) {
		return true
	}
	depth := 0
	if dir != "." {
		depth = strings.Count(dir, "/") + 1
	}
	for part := range strings.SplitSeq(p, "/") {
		switch part {
		case "", ".":
		case "..":
			depth--
		default:
			depth++
		}
		if depth < 0 {
			return true
		}
	}
	return false
}

// read returns the content of a resolved regular file. It is not to be changed.
func (t *tree) read(name string) ([]byte, error) {
	if b, seen := t.content[name]; seen {
		return b, nil
	}
	n, err := t.lookup(name)
	if err != nil {
		return nil, err
	}
	if n.size > t.limits.Bytes-t.stored {
		return nil, t.refuse(t.tooManyBytes(name))
	}
	file, err := t.snap.Open(name)
	if err != nil {
		return nil, t.refuse(unread("read", name, err))
	}
	defer func() { _ = file.Close() }()
	b, err := io.ReadAll(io.LimitReader(file, t.limits.Bytes-t.stored+1))
	if err != nil {
		return nil, t.refuse(unread("read", name, err))
	}
	if t.stored += int64(len(b)); t.stored > t.limits.Bytes {
		return nil, t.refuse(t.tooManyBytes(name))
	}
	if strings.HasPrefix(string(b[:min(len(b), len(lfsPointer))]), lfsPointer) {
		return nil, t.refuse(fault.Terminal("read", name, errors.New(
			"is a Git LFS pointer, not the content; want the file itself in Git")))
	}
	t.content[name] = b
	return b, nil
}

// unread keeps the source's word that something can never be read; whatever else
// came in the way may pass.
func unread(op, name string, err error) error {
	if fault.IsTerminal(err) {
		return fault.Terminal(op, name, err)
	}
	return fault.Retryable(op, name, err)
}

func (t *tree) tooManyBytes(name string) error {
	return fault.Terminal("read", name, fmt.Errorf(
		"render reads more than %d bytes; want smaller files or a higher limit", t.limits.Bytes))
}

// name turns kustomize's absolute path into a name in the snapshot.
func (t *tree) name(p string) (string, error) {
	p = filepath.Clean(p)
	if p == mount {
		return ".", nil
	}
	if name, inside := strings.CutPrefix(p, mount+"/"); inside {
		return name, nil
	}
	if !filepath.IsAbs(p) && !leaves(".", p) {
		return p, nil
	}
	return "", t.refuse(fault.Terminal("read", p, errors.New(
		"path leaves the tree; want one inside the repository")))
}

func mounted(name string) string { return path.Join(mount, name) }

// find is resolve for kustomize's paths.
func (t *tree) find(p string) (string, node, error) {
	name, err := t.name(p)
	if err != nil {
		return "", node{}, err
	}
	real, n, err := t.resolve(name)
	if err == nil && n.kind == absent {
		err = &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
	}
	return real, n, err
}

// CleanedAbs resolves links, as on disk.
func (t *tree) CleanedAbs(p string) (filesys.ConfirmedDir, string, error) {
	real, n, err := t.find(p)
	if err != nil {
		return "", "", err
	}
	if n.kind == directory {
		return filesys.ConfirmedDir(mounted(real)), "", nil
	}
	return filesys.ConfirmedDir(mounted(path.Dir(real))), path.Base(real), nil
}

// ReadFile counts what it gives out each time, so that a thousand generators
// over one big file are bounded too.
func (t *tree) ReadFile(p string) ([]byte, error) {
	real, n, err := t.find(p)
	if err != nil {
		return nil, err
	}
	if n.kind == directory {
		return nil, &fs.PathError{Op: "read", Path: real, Err: errors.New("is a directory")}
	}
	b, err := t.read(real)
	if err != nil {
		return nil, err
	}
	return slices.Clone(b), t.serve(real, len(b))
}

// serve counts what kustomize gets.
func (t *tree) serve(name string, size int) error {
	if t.ctx.Err() != nil {
		return t.refuse(fault.Retryable("read", name, context.Cause(t.ctx)))
	}
	if t.served += int64(size); t.served > t.limits.Bytes {
		return t.refuse(t.tooManyBytes(name))
	}
	return nil
}

// IsDir is true for a link to a directory, too.
func (t *tree) IsDir(p string) bool {
	_, n, err := t.find(p)
	return err == nil && n.kind == directory
}

// Exists follows links.
func (t *tree) Exists(p string) bool {
	_, _, err := t.find(p)
	return err == nil
}

// unable refuses what a build never asks for: a snapshot cannot be written to,
// and a closure cannot say that a directory's list of names stayed the same.
func (t *tree) unable(op, p string) error {
	return t.refuse(fault.Terminal(op, p, errors.New("a snapshot can only be read, by name")))
}

func (t *tree) Create(p string) (filesys.File, error)    { return nil, t.unable("create", p) }
func (t *tree) Open(p string) (filesys.File, error)      { return nil, t.unable("open", p) }
func (t *tree) Mkdir(p string) error                     { return t.unable("mkdir", p) }
func (t *tree) MkdirAll(p string) error                  { return t.unable("mkdir", p) }
func (t *tree) RemoveAll(p string) error                 { return t.unable("remove", p) }
func (t *tree) WriteFile(p string, _ []byte) error       { return t.unable("write", p) }
func (t *tree) ReadDir(p string) ([]string, error)       { return nil, t.unable("list", p) }
func (t *tree) Glob(p string) ([]string, error)          { return nil, t.unable("list", p) }
func (t *tree) Walk(p string, _ filepath.WalkFunc) error { return t.unable("list", p) }

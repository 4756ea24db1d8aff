package gogit

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"sort"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/filemode"
	"github.com/go-git/go-git/v5/plumbing/format/index"

	"chaperone.dev/chaperone/internal/source/merge"
)

// files is the change of a checked-out branch's files and index, checked and
// ready. Everything outside of it stays as it is.
type files struct {
	made     *workspace
	root     *os.Root // the working tree
	index    *index.Index
	lock     *os.File // index.lock: no Git touches the index meanwhile
	lockName string
	changes  []change
	inTheWay []string
}

// change is one path whose file changes; nil where there is none.
type change struct {
	path         string
	before, then *node
}

// prepareFiles returns nil if the branch is not checked out.
func (l *Local) prepareFiles(ref plumbing.ReferenceName, from plumbing.Hash, p *plan) (*files, error) {
	if other := l.checkedOutElsewhere(ref); other != "" {
		return nil, fmt.Errorf("branch %s is checked out in %s: run this there", ref.Short(), other)
	}
	if l.workTree == "" || l.Branch() != ref.Short() {
		return nil, nil
	}
	for _, busy := range []string{"MERGE_HEAD", "REVERT_HEAD", "CHERRY_PICK_HEAD"} {
		if _, err := os.Stat(filepath.Join(l.gitDir, busy)); err == nil {
			return nil, fmt.Errorf("branch %s: a merge, revert or cherry-pick is under way in %s: finish or abort it first", ref.Short(), l.workTree)
		}
	}
	f := &files{made: p.made, lockName: filepath.Join(l.gitDir, "index.lock")}
	err := f.prepare(l, from, p.tree)
	if err != nil {
		f.release()
		return nil, err
	}
	return f, nil
}

func (f *files) prepare(l *Local, from, to plumbing.Hash) (err error) {
	if f.lock, err = os.OpenFile(f.lockName, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644); err != nil {
		return fmt.Errorf("lock index, which another Git process may be using: %w", err)
	}
	if f.root, err = os.OpenRoot(l.workTree); err != nil {
		return err
	}
	if f.index, err = readIndex(filepath.Join(l.gitDir, "index")); err != nil {
		return err
	}
	before := node{}
	if !from.IsZero() {
		before = node{mode: kindTree, hash: from}
	}
	if err := f.diff("", before, node{mode: kindTree, hash: to}); err != nil {
		return err
	}
	return f.check(l.config.Raw.Section("core").Option("filemode") != "false")
}

func readIndex(name string) (*index.Index, error) {
	content, err := os.ReadFile(name)
	if errors.Is(err, fs.ErrNotExist) {
		return &index.Index{Version: 2}, nil
	}
	if err != nil {
		return nil, err
	}
	read := &index.Index{}
	if err := index.NewDecoder(bytes.NewReader(content)).Decode(read); err != nil {
		return nil, fmt.Errorf("read index (a sparse or split one is not supported): %w", err)
	}
	return read, nil
}

// checkedOutElsewhere names another working tree of the repository that has
// the branch: its files would seem to undo the commit.
func (l *Local) checkedOutElsewhere(ref plumbing.ReferenceName) string {
	others, _ := filepath.Glob(filepath.Join(l.commonDir, "worktrees", "*"))
	if !l.config.Core.IsBare {
		others = append(others, l.commonDir)
	}
	for _, gitDir := range others {
		if gitDir == l.gitDir || headBranch(gitDir) != ref.Short() {
			continue
		}
		if dotGit, err := pointer(filepath.Join(gitDir, "gitdir"), ""); err == nil {
			return filepath.Dir(dotGit)
		}
		return filepath.Dir(gitDir)
	}
	return ""
}

// diff lists the files that differ between two trees.
func (f *files) diff(at string, before, then node) error {
	if before.hash == then.hash && before.plainMode() == then.plainMode() {
		return nil
	}
	old, err := f.entries(before)
	if err != nil {
		return err
	}
	fresh, err := f.entries(then)
	if err != nil {
		return err
	}
	for _, name := range names(old, fresh) {
		was, is := old[name], fresh[name]
		full := path.Join(at, name)
		if was.kind() == kindTree || is.kind() == kindTree {
			if err := f.diff(full, was, is); err != nil {
				return err
			}
		}
		if was.hash == is.hash && was.plainMode() == is.plainMode() {
			continue
		}
		if c := (change{full, leaf(was), leaf(is)}); c.before != nil || c.then != nil {
			f.changes = append(f.changes, c)
		}
	}
	return nil
}

func (f *files) entries(n node) (map[string]node, error) {
	byName := map[string]node{}
	if n.kind() != kindTree {
		return byName, nil
	}
	nodes, err := f.made.nodes(n.hash)
	for _, n := range nodes {
		byName[n.name] = n
	}
	return byName, err
}

func names(a, b map[string]node) []string {
	var all []string
	for _, m := range []map[string]node{a, b} {
		for name := range m {
			all = append(all, name)
		}
	}
	sort.Strings(all)
	return slices.Compact(all)
}

func leaf(n node) *node {
	if n.mode == 0 || n.kind() == kindTree {
		return nil
	}
	return &n
}

// check finds what would be lost.
func (f *files) check(modesCount bool) error {
	staged := map[string]*index.Entry{}
	for _, e := range f.index.Entries {
		if e.Stage != 0 {
			return fmt.Errorf("%s: a conflict is not resolved yet", e.Name)
		}
		staged[e.Name] = e
	}
	for _, c := range f.changes {
		asCommitted := f.stagedAs(staged[c.path], c.before)
		if asCommitted && c.before != nil && c.before.kind() != kindModule {
			same, err := f.onDisk(c.path, *c.before, modesCount)
			if err != nil {
				return err
			}
			asCommitted = same
		}
		if asCommitted && c.before == nil {
			asCommitted = f.free(c.path, staged)
		}
		if !asCommitted {
			f.inTheWay = append(f.inTheWay, c.path)
		}
	}
	return nil
}

func (f *files) stagedAs(e *index.Entry, want *node) bool {
	if e == nil || want == nil {
		return e == nil && want == nil
	}
	return e.Hash == want.hash && merge.Mode(e.Mode) == want.plainMode() && !e.SkipWorktree && !e.IntentToAdd
}

var errNotDirectory = errors.New("not below a directory")

// lstat looks at a path that no link leads to: what is behind a link belongs
// to another path, or to nobody here.
func (f *files) lstat(name string) (fs.FileInfo, error) {
	for i, c := range name {
		if c != '/' {
			continue
		}
		info, err := f.root.Lstat(name[:i])
		if err != nil {
			return nil, err
		}
		if !info.IsDir() {
			return nil, errNotDirectory
		}
	}
	return f.root.Lstat(name)
}

// onDisk reports whether the file is the one that was committed.
func (f *files) onDisk(name string, want node, modesCount bool) (bool, error) {
	info, err := f.lstat(name)
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, errNotDirectory):
		return false, nil
	case err != nil:
		return false, err
	}
	var content []byte
	switch want.kind() {
	case kindSymlink:
		if info.Mode()&fs.ModeSymlink == 0 {
			return false, nil
		}
		target, err := f.root.Readlink(name)
		if err != nil {
			return false, err
		}
		content = []byte(target)
	default:
		executable := info.Mode()&0o100 != 0
		if !info.Mode().IsRegular() || modesCount && executable != (want.plainMode() == merge.Executable) {
			return false, nil
		}
		if content, err = f.root.ReadFile(name); err != nil {
			return false, err
		}
	}
	return plumbing.ComputeHash(plumbing.BlobObject, content) == want.hash, nil
}

// free reports whether a new file would cover nothing that Git does not have.
func (f *files) free(name string, staged map[string]*index.Entry) bool {
	info, err := f.lstat(name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return true
	case err != nil:
		// What stands in a directory's place is looked at on its own account if
		// it goes.
		return errors.Is(err, errNotDirectory) && f.parentGoes(name)
	}
	if !info.IsDir() {
		return false
	}
	free := true
	_ = fs.WalkDir(f.root.FS(), name, func(inside string, d fs.DirEntry, err error) error {
		if err != nil || !d.IsDir() && (staged[inside] == nil || !f.goes(inside)) {
			free = false
			return fs.SkipAll
		}
		return nil
	})
	return free
}

func (f *files) goes(name string) bool {
	return slices.ContainsFunc(f.changes, func(c change) bool { return c.path == name && c.then == nil })
}

func (f *files) parentGoes(name string) bool {
	for dir := path.Dir(name); dir != "."; dir = path.Dir(dir) {
		if f.goes(dir) {
			return true
		}
	}
	return false
}

// apply changes files and index. A nil files has nothing to change.
func (f *files) apply() error {
	if f == nil {
		return nil
	}
	entries := map[string]*index.Entry{}
	for _, e := range f.index.Entries {
		entries[e.Name] = e
	}
	for _, c := range f.changes {
		if c.before != nil {
			delete(entries, c.path)
			if err := f.remove(c); err != nil {
				return fmt.Errorf("change files: %w", err)
			}
		}
	}
	for _, c := range f.changes {
		if c.then == nil {
			continue
		}
		e, err := f.write(c)
		if err != nil {
			return fmt.Errorf("change files: %w", err)
		}
		entries[c.path] = e
	}
	return f.writeIndex(entries)
}

// remove makes room; directories that become empty go, too.
func (f *files) remove(c change) error {
	if c.before.kind() == kindModule {
		return nil // what is checked out there is another repository's
	}
	if err := f.root.Remove(c.path); err != nil {
		return err
	}
	for dir := path.Dir(c.path); dir != "."; dir = path.Dir(dir) {
		if f.root.Remove(dir) != nil {
			return nil
		}
	}
	return nil
}

func (f *files) write(c change) (*index.Entry, error) {
	e := &index.Entry{Name: c.path, Hash: c.then.hash, Mode: filemode.FileMode(c.then.plainMode())}
	if c.then.kind() == kindModule {
		return e, f.root.MkdirAll(c.path, 0o755)
	}
	content, err := f.made.Blob(merge.Hash(c.then.hash))
	if err != nil {
		return nil, err
	}
	if dir := path.Dir(c.path); dir != "." {
		if err := f.root.MkdirAll(dir, 0o755); err != nil {
			return nil, err
		}
	}
	switch c.then.plainMode() {
	case merge.Symlink:
		err = f.root.Symlink(string(content), c.path)
	case merge.Executable:
		err = f.root.WriteFile(c.path, content, 0o755)
	default:
		err = f.root.WriteFile(c.path, content, 0o644)
	}
	if err != nil {
		return nil, err
	}
	info, err := f.root.Lstat(c.path)
	if err != nil {
		return nil, err
	}
	e.ModifiedAt, e.Size = info.ModTime(), uint32(info.Size())
	return e, nil
}

func (f *files) writeIndex(entries map[string]*index.Entry) error {
	written := &index.Index{Version: 2}
	for _, e := range entries {
		if e.SkipWorktree || e.IntentToAdd {
			written.Version = 3
		}
		written.Entries = append(written.Entries, e)
	}
	if err := index.NewEncoder(f.lock).Encode(written); err != nil {
		return fmt.Errorf("write index: %w", err)
	}
	if err := f.lock.Close(); err != nil {
		return fmt.Errorf("write index: %w", err)
	}
	return os.Rename(f.lockName, filepath.Join(filepath.Dir(f.lockName), "index"))
}

// release gives the index free; after apply there is nothing left to give.
func (f *files) release() {
	if f.lock != nil {
		if f.lock.Close() == nil { // not renamed away yet
			_ = os.Remove(f.lockName)
		}
	}
	if f.root != nil {
		_ = f.root.Close()
	}
}

// Package merge merges three Git trees as Git's own three-way merge does, on
// Git objects alone: nothing is checked out. What both sides changed is merged
// file by file, and inside regular text files line by line, with the hunks
// that Git would find. It guarantees that a result without conflicts is the
// one `git merge` comes to where no rename is involved.
//
// It never guesses. Renames are not followed: where Git would carry a change
// over to a renamed file, this reports a conflict, and so it does where both
// sides moved the same file, unchanged, to different places. A directory that
// one side renamed and the other added a file to is left as it is found; Git
// asks a person there. Merge drivers and attributes are not consulted.
package merge

import (
	"errors"
	"fmt"
	"sort"
)

// Hash names a Git object.
type Hash [20]byte

// Mode is what a tree says an entry is.
type Mode uint32

// The modes that Git writes.
const (
	Directory  Mode = 0o040000
	Regular    Mode = 0o100644
	Executable Mode = 0o100755
	Symlink    Mode = 0o120000
	Submodule  Mode = 0o160000
)

// kind drops what does not make an entry another sort of thing.
func (m Mode) kind() Mode { return m & 0o170000 }

// plain is the mode that Git compares by: old trees hold 100664.
func (m Mode) plain() Mode {
	switch {
	case m.kind() != Regular.kind():
		return m.kind()
	case m&0o100 != 0:
		return Executable
	}
	return Regular
}

// Entry is one name in a tree.
type Entry struct {
	Name string
	Mode Mode
	Hash Hash
}

// ErrTooLarge is what Objects.Blob wraps for a blob that is not to be read;
// merging it is then a conflict, not an error.
var ErrTooLarge = errors.New("too large to merge")

// Objects reads the trees to merge and takes the objects that a merge makes.
// Each object is asked for at most a few times; writing the same content twice
// gives the same hash.
type Objects interface {
	Tree(Hash) ([]Entry, error)
	Blob(Hash) ([]byte, error)
	WriteTree([]Entry) (Hash, error)
	WriteBlob([]byte) (Hash, error)
}

// Conflict is a path where both sides changed what cannot be had both ways.
type Conflict struct {
	Path   string
	Reason string
}

func (c Conflict) String() string { return c.Path + ": " + c.Reason }

// Why a path conflicts.
const (
	BothChangedLines  = "both sides changed the same lines"
	BothAdded         = "both sides added it with different content"
	ChangedAndDeleted = "one side changed it, the other deleted it"
	BothChangedBinary = "both sides changed a file that is not text"
	BothChangedLink   = "both sides changed where the link points"
	BothChangedModule = "both sides changed the submodule"
	BothChangedMode   = "both sides changed its mode"
	DifferentKinds    = "both sides made different kinds of it"
	FileAndDirectory  = "one side has a file where the other has a directory"
	BothMoved         = "both sides moved it, to different places"
	TooLarge          = "both sides changed it, and it is too large to merge"
	TooDeep           = "its directories nest too deep to merge"
	TooMany           = "there are too many names to look at"
)

// Result is the merged tree, or why there is none.
type Result struct {
	Tree      Hash
	Conflicts []Conflict // by path; Tree is unset if there are any
}

const (
	maxDepth     = 256
	maxConflicts = 1000
	// maxNames bounds the names that one merge looks at, each as often as it
	// does: directories that share what is in them can make a few objects into
	// more files than there is time for.
	maxNames = 2_000_000
)

// Trees merges what ours and theirs changed since base.
func Trees(o Objects, base, ours, theirs Hash) (Result, error) {
	m := &merger{objects: o, moves: &moves{}}
	root := func(h Hash) *Entry { return &Entry{Mode: Directory, Hash: h} }
	merged, err := m.entry("", 0, triple{root(base), root(ours), root(theirs)})
	if err != nil {
		return Result{}, err
	}
	if err := m.findMoves(); err != nil {
		return Result{}, err
	}
	if len(m.conflicts) > 0 {
		sort.Slice(m.conflicts, func(i, j int) bool { return m.conflicts[i].Path < m.conflicts[j].Path })
		return Result{Conflicts: m.conflicts}, nil
	}
	if merged == nil {
		empty, err := o.WriteTree(nil)
		return Result{Tree: empty}, err
	}
	return Result{Tree: merged.Hash}, nil
}

type merger struct {
	objects   Objects
	conflicts []Conflict
	moves     *moves
	names     int // looked at
}

// bounded reports whether what is below path may be looked into; if not, a
// person has to.
func (m *merger) bounded(path string, depth int) bool {
	switch {
	case m.names > maxNames:
		m.conflict(path, TooMany)
	case depth > maxDepth:
		m.conflict(path, TooDeep)
	default:
		return true
	}
	return false
}

func (m *merger) conflict(path, reason string) {
	if len(m.conflicts) < maxConflicts {
		m.conflicts = append(m.conflicts, Conflict{path, reason})
	}
}

// triple is one name on the three sides; nil where there is none.
type triple struct{ base, ours, theirs *Entry }

// settled is the outcome where at most one side changed anything.
func (t triple) settled() (*Entry, bool) {
	switch {
	case same(t.ours, t.theirs), same(t.base, t.theirs):
		return t.ours, true
	case same(t.base, t.ours):
		return t.theirs, true
	}
	return nil, false
}

func same(a, b *Entry) bool {
	if a == nil || b == nil {
		return a == b
	}
	return a.Mode.plain() == b.Mode.plain() && a.Hash == b.Hash
}

// only keeps those sides that are directories, or those that are not.
func (t triple) only(directories bool) triple {
	pick := func(e *Entry) *Entry {
		if e == nil || (e.Mode.kind() == Directory) != directories {
			return nil
		}
		return e
	}
	return triple{pick(t.base), pick(t.ours), pick(t.theirs)}
}

func (t triple) empty() bool { return t.base == nil && t.ours == nil && t.theirs == nil }

// entry returns what stands at path after the merge, nil for nothing or for a
// conflict.
func (m *merger) entry(path string, depth int, t triple) (*Entry, error) {
	if outcome, ok := t.settled(); ok {
		m.moves.note(path, t)
		return outcome, nil
	}
	if !m.bounded(path, depth) {
		return nil, nil
	}
	files := t.only(false)
	file, err := m.file(path, files)
	if err != nil {
		return nil, fmt.Errorf("merge %s: %w", path, err)
	}
	directories := t.only(true)
	if directories.empty() {
		return file, nil
	}
	directory, err := m.directory(path, depth, directories)
	if err != nil {
		return nil, err
	}
	if file != nil && directory != nil {
		m.conflict(path, FileAndDirectory)
	}
	if directory != nil {
		return directory, nil
	}
	return file, nil
}

func (m *merger) directory(path string, depth int, t triple) (*Entry, error) {
	if outcome, ok := t.settled(); ok {
		m.moves.note(path, t)
		return outcome, nil
	}
	names, err := m.children(t)
	if err != nil {
		return nil, fmt.Errorf("merge %s: %w", path, err)
	}
	var merged []Entry
	for _, child := range names {
		entry, err := m.entry(join(path, child.name), depth+1, child.triple)
		if err != nil {
			return nil, err
		}
		if entry != nil {
			merged = append(merged, Entry{child.name, entry.Mode, entry.Hash})
		}
	}
	if len(merged) == 0 {
		return nil, nil
	}
	Sort(merged)
	hash, err := m.objects.WriteTree(merged)
	return &Entry{Mode: Directory, Hash: hash}, err
}

func join(path, name string) string {
	if path == "" {
		return name
	}
	return path + "/" + name
}

type child struct {
	name string
	triple
}

func (m *merger) children(t triple) ([]*child, error) {
	byName := map[string]*child{}
	var all []*child
	for side, e := range []*Entry{t.base, t.ours, t.theirs} {
		if e == nil {
			continue
		}
		entries, err := m.objects.Tree(e.Hash)
		if err != nil {
			return nil, err
		}
		m.names += len(entries)
		for i := range entries {
			c, found := byName[entries[i].Name]
			if !found {
				c = &child{name: entries[i].Name}
				byName[c.name] = c
				all = append(all, c)
			}
			*[]**Entry{&c.base, &c.ours, &c.theirs}[side] = &entries[i]
		}
	}
	return all, nil
}

// Sort puts entries into the order that Git requires of a tree: by bytes, a
// directory as if its name ended in a slash.
func Sort(entries []Entry) {
	key := func(e Entry) string {
		if e.Mode.kind() == Directory {
			return e.Name + "/"
		}
		return e.Name
	}
	sort.Slice(entries, func(i, j int) bool { return key(entries[i]) < key(entries[j]) })
}

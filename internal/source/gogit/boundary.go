package gogit

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/go-git/go-git/v5/plumbing"
)

// boundary is where the history in a repository ends for now, though it goes on
// at the server. It is derived from what is there, and never from what a server
// says of it: a commit is part of it as long as a parent is absent. One too many
// does no harm; one too few would look like damage. So commits are noted before
// the objects of a fetch arrive, and struck off after.
type boundary struct {
	mu     sync.Mutex
	ends   map[plumbing.Hash]end
	beyond map[plumbing.Hash]bool // the absent parents, and whether they are the followed branch's
}

// end is one commit of a boundary.
type end struct {
	branch bool            // of the followed branch, or of another one
	here   bool            // the commit itself
	absent []plumbing.Hash // its parents that are not
}

const (
	shallowName = "shallow" // as git calls it, which can read it
	// maxEnds bounds what is kept; a history has as many ends as lines that were
	// merged into it around where it is cut off.
	maxEnds = 100_000
)

var errManyEnds = &problem{text: fmt.Sprintf("the server cuts the history off in more than the %d places allowed", maxEnds), large: true}

// isBeyond reports whether a commit is next below the boundary.
func (b *boundary) isBeyond(hash plumbing.Hash) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	_, found := b.beyond[hash]
	return found
}

// is reports whether there is one: whether anything may be absent.
func (b *boundary) is() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.ends) > 0
}

// commits are those at which the history ends, as a server is told.
func (b *boundary) commits() []plumbing.Hash {
	b.mu.Lock()
	defer b.mu.Unlock()
	var here []plumbing.Hash
	for hash, end := range b.ends {
		if end.here {
			here = append(here, hash)
		}
	}
	slices.SortFunc(here, compareHashes)
	return here
}

// next are the commits below the boundary that are fetched together: those of the
// branch, or of the others. hash is among them, and first, if it is one of these.
func (b *boundary) next(hash plumbing.Hash, max int) []plumbing.Hash {
	b.mu.Lock()
	defer b.mu.Unlock()
	branch, found := b.beyond[hash]
	var all []plumbing.Hash
	for other, is := range b.beyond {
		if other != hash && (is == branch || !found && is) {
			all = append(all, other)
		}
	}
	slices.SortFunc(all, compareHashes)
	if found {
		all = append([]plumbing.Hash{hash}, all...)
	}
	return all[:min(max, len(all))]
}

func compareHashes(a, b plumbing.Hash) int { return bytes.Compare(a[:], b[:]) }

// widen notes commits whose parents may not arrive, in dir as well.
func (b *boundary) widen(dir string, ends []plumbing.Hash, branch bool) error {
	if len(ends) == 0 {
		return nil
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.ends == nil {
		b.ends = map[plumbing.Hash]end{}
	}
	for _, hash := range ends {
		e := b.ends[hash]
		e.branch = e.branch || branch
		b.ends[hash] = e
	}
	if len(b.ends) > maxEnds {
		return errManyEnds
	}
	return b.write(dir)
}

// settle looks at what is there by now, and strikes off what ends no more.
// With whole, what is not there itself goes, too: no fetch is under way.
func (b *boundary) settle(dir string, o *objects, whole bool) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.ends) == 0 {
		return nil
	}
	before := len(b.ends)
	b.beyond = map[plumbing.Hash]bool{}
	for hash, e := range b.ends {
		c, err := o.present(hash)
		if err != nil && !errors.Is(err, errAbsent) {
			return err
		}
		e.here, e.absent = err == nil, nil
		if e.here {
			e.absent = o.absent(c.parents())
		}
		if e.here && len(e.absent) == 0 || !e.here && (whole || before > maxEnds/2) {
			delete(b.ends, hash)
			continue
		}
		b.ends[hash] = e
		for _, parent := range e.absent {
			b.beyond[parent] = b.beyond[parent] || e.branch
		}
	}
	return b.write(dir)
}

// adopt makes all of it the branch's, as another branch may have been merged.
func (b *boundary) adopt() {
	b.mu.Lock()
	defer b.mu.Unlock()
	for hash, e := range b.ends {
		e.branch = true
		b.ends[hash] = e
	}
	for hash := range b.beyond {
		b.beyond[hash] = true
	}
}

// write is called with mu held. Without dir nothing is noted.
func (b *boundary) write(dir string) error {
	if dir == "" {
		return nil
	}
	name := filepath.Join(dir, shallowName)
	if len(b.ends) == 0 {
		if err := os.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("note where the history ends: %w", err)
		}
		return nil
	}
	err := writeFile(name, func(w io.Writer) (err error) {
		for _, hash := range slices.SortedFunc(maps.Keys(b.ends), compareHashes) {
			_, err = fmt.Fprintln(w, hash)
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("note where the history ends: %w", err)
	}
	return nil
}

// load reads what was noted in dir, in place of what was known.
func (b *boundary) load(dir string, o *objects) error {
	content, err := os.ReadFile(filepath.Join(dir, shallowName))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return pathError(err)
	}
	ends := map[plumbing.Hash]end{}
	for line := range strings.FieldsSeq(string(content)) {
		if !plumbing.IsHash(line) {
			return fmt.Errorf("%s: %q is no commit", shallowName, line[:min(len(line), 60)])
		}
		ends[plumbing.NewHash(line)] = end{branch: true}
	}
	b.mu.Lock()
	b.ends, b.beyond = ends, nil
	b.mu.Unlock()
	return b.settle(o.notes(dir), o, true)
}

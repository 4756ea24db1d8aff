package gogit

import (
	"context"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-git/go-git/v5/plumbing"

	"chaperone.dev/chaperone/internal/fault"
	"chaperone.dev/chaperone/internal/source"
)

// A repository is followed without its files where its server can leave them
// out: a monorepo costs its history and directories, and of its files those that
// are read. They come together with what stands around them, so that a kustomize
// base is one request and not one for each file.
const (
	// maxTogether is how many files of a directory are fetched with one of them.
	maxTogether = 2000
	// failedFor is how long a server that did not answer is not asked again for
	// files: every file of a render would wait for it.
	failedFor = 5 * time.Second
	// slowest is how many times as long as a server may be silent a conversation
	// takes that a reader waits for.
	slowest = 5
	// maxRead bounds the directories that are remembered as read.
	maxRead = 64
)

// layout is where a source usually has what is read: everything, or in a monorepo
// these directories.
func layout() []string { return []string{".", "environments", "overlays", "base", "policies"} }

// missing fetches files that were left out.
type missing struct {
	repository *Repository
	ctx        context.Context // of the repository: readers have none
	objects    *objects        // that files are missing in
	dir        func() string   // where they are kept

	turn sync.Mutex // one request at a time; whoever waits finds it answered

	mu       sync.Mutex
	failed   error
	at       time.Time
	deepened atomic.Int64 // how often older commits were fetched since the head moved

	read []string // directories whose files were fetched, the newest last
}

var errNoSingles = errors.New("the server gives no single files any more")

// obtain fetches those of the files that are not there.
func (m *missing) obtain(hashes []plumbing.Hash) error {
	m.turn.Lock()
	defer m.turn.Unlock()
	absent := m.objects.absent(hashes)
	if len(absent) == 0 {
		return nil
	}
	if err := m.lately(); err != nil {
		return err
	}
	err := m.fetch(absent)
	m.ended(err)
	return err
}

// lately is how the last request failed, unless it is time for another.
func (m *missing) lately() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if time.Since(m.at) < failedFor {
		return m.failed
	}
	return nil
}

// ended takes note of how the server was found: nil is that it answers.
func (m *missing) ended(err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.failed, m.at = err, time.Now()
}

func (m *missing) fetch(hashes []plumbing.Hash) error {
	r := m.repository
	ctx, cancel := m.patience()
	defer cancel()
	s, err := r.remote.open(ctx, uploadPack)
	if err != nil {
		return fault.Retryable("fetch files", r.remote.object(), err)
	}
	defer s.close()
	if !s.v2 {
		m.objects.damaged.Store(true) // a mirror with all files takes its place
		return fault.Retryable("fetch files", r.remote.object(), fmt.Errorf("%w: %w", source.ErrUnavailable, errNoSingles))
	}
	if err := m.receive(s, hashes); err != nil {
		return fault.Retryable("fetch files", r.remote.object(), err)
	}
	return nil
}

// patience is how long a reader waits for a server that is always about to say
// something.
func (m *missing) patience() (context.Context, context.CancelFunc) {
	return context.WithTimeout(m.ctx, slowest*m.repository.remote.timeout)
}

// receive asks for files in a conversation.
func (m *missing) receive(s *session, hashes []plumbing.Hash) error {
	pack, err := s.fetchObjects(hashes, nil)
	if err != nil {
		return err
	}
	indexed, err := receivePackInto(m.dir(), looseWriter{m.objects}, pack, m.objects.limits)
	if indexed {
		m.objects.reindex()
	}
	return s.problem(err)
}

// remember that files of a directory are read, so that they are there when a new
// head is.
func (m *missing) remember(dir string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if slices.Contains(m.read, dir) {
		return
	}
	m.read = append(m.read, dir)
	if len(m.read) > maxRead {
		m.read = m.read[1:]
	}
}

// ahead fetches what a new head has in the directories that are read, in the
// conversation that brought it.
func (m *missing) ahead(s *session, root plumbing.Hash) error {
	m.mu.Lock()
	dirs := slices.Clone(m.read)
	m.mu.Unlock()
	var wanted []plumbing.Hash
	for _, dir := range dirs {
		n, found, err := m.repository.find(root, dir)
		if err != nil || !found || n.kind() != kindTree {
			continue // whoever reads it is told
		}
		files, whole := m.repository.filesBelow(n.hash)
		if whole {
			wanted = append(wanted, files...)
		}
	}
	absent := m.objects.absent(wanted)
	if len(absent) == 0 || !s.v2 {
		return nil
	}
	return m.receive(s, absent)
}

// absent are those of the objects that are neither here nor beneath.
func (o *objects) absent(hashes []plumbing.Hash) []plumbing.Hash {
	absent := o.absentHere(hashes)
	if o.beneath != nil && len(absent) > 0 {
		return o.beneath.absent(absent)
	}
	return absent
}

func (o *objects) absentHere(hashes []plumbing.Hash) []plumbing.Hash {
	o.mu.Lock()
	defer o.mu.Unlock()
	var absent []plumbing.Hash
	seen := map[plumbing.Hash]bool{}
	for _, hash := range hashes {
		if seen[hash] || o.storage == nil {
			continue
		}
		seen[hash] = true
		if o.storage.HasEncodedObject(hash) != nil {
			absent = append(absent, hash)
		}
	}
	return absent
}

func (o *objects) obtain(hash plumbing.Hash) error { return o.missing.obtain([]plumbing.Hash{hash}) }

// obtainAround fetches the file at name below root with what stands around it.
func (o *objects) obtainAround(root plumbing.Hash, name string, hash plumbing.Hash) error {
	dir, files := o.around(root, name)
	o.missing.remember(dir)
	return o.missing.obtain(append(files, hash))
}

// obtainChanged fetches, at once, what stands in each of the trees where the first
// two differ: what a merge of them looks into. The zero hash is a directory that
// is not there.
func (o *objects) obtainChanged(trees ...plumbing.Hash) error {
	if o.missing == nil {
		return nil
	}
	d := difference{objects: o}
	if err := d.trees("", trees[0], trees[1]); err != nil {
		return err
	}
	var files []plumbing.Hash
	for _, name := range d.paths {
		for _, tree := range trees {
			if tree.IsZero() {
				continue
			}
			n, found, err := o.find(tree, strings.TrimSuffix(name, "/"))
			if fault.IsTerminal(err) {
				continue // nobody can read it; whoever has to is told
			}
			if err != nil {
				return err
			}
			if found && (n.kind() == kindFile || n.kind() == kindSymlink) {
				files = append(files, n.hash)
			}
		}
	}
	return o.missing.obtain(files)
}

// around are the files of the largest directory on the way to path that has few
// enough of them; none where the way is longer than any that people go.
func (o *objects) around(root plumbing.Hash, name string) (dir string, files []plumbing.Hash) {
	dir = path.Dir(name)
	if strings.Count(name, "/") > maxNesting {
		return dir, nil
	}
	for at := dir; ; at = path.Dir(at) {
		n, found, err := o.find(root, at)
		if err != nil || !found {
			return dir, files
		}
		more, whole := o.filesBelow(n.hash)
		if !whole {
			return dir, files
		}
		if dir, files = at, more; at == "." {
			return dir, files
		}
	}
}

// filesBelow are the files in a tree, and whether these are all: there may be too
// many, or too many directories to look.
func (o *objects) filesBelow(tree plumbing.Hash) (files []plumbing.Hash, whole bool) {
	trees := []plumbing.Hash{tree}
	for looked := 0; len(trees) > 0; looked++ {
		nodes, err := o.tree(trees[0])
		if err != nil || looked+len(trees) > maxTogether {
			return nil, false
		}
		trees = trees[1:]
		for _, n := range nodes {
			switch n.kind() {
			case kindFile, kindSymlink:
				files = append(files, n.hash)
			case kindTree:
				trees = append(trees, n.hash)
			}
		}
		if len(files) > maxTogether {
			return nil, false
		}
	}
	return files, true
}

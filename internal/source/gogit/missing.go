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
	// maxBytesTogether is how much these may weigh, packed; maxApart is how many
	// directories are remembered that weigh more.
	maxBytesTogether = 64 << 20
	maxApart         = 1000
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

	apart map[string]bool // directories that are too much to fetch at once

	read []string // directories whose files were fetched, the newest last
}

var errNoSingles = errors.New("the server gives no single files any more")

// obtain fetches those of the files that are not there.
func (m *missing) obtain(hashes []plumbing.Hash) error {
	return m.obtainWithin(hashes, m.objects.limits)
}

func (m *missing) obtainWithin(hashes []plumbing.Hash, limits Limits) error {
	m.turn.Lock()
	defer m.turn.Unlock()
	absent := m.objects.absent(hashes)
	if len(absent) == 0 {
		return nil
	}
	if err := m.lately(); err != nil {
		return err
	}
	err := m.fetch(absent, limits)
	if isLarge(err) {
		m.ended(nil) // it answers
		return err
	}
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

func (m *missing) fetch(hashes []plumbing.Hash, limits Limits) error {
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
	err = m.receive(s, hashes, limits)
	var known *problem
	if len(hashes) == 1 && errors.As(err, &known) && known.huge {
		return fault.Terminal("fetch files", r.remote.object(), err)
	}
	return fault.Retryable("fetch files", r.remote.object(), err)
}

// patience is how long a reader waits for a server that is always about to say
// something.
func (m *missing) patience() (context.Context, context.CancelFunc) {
	return context.WithTimeout(m.ctx, slowest*m.repository.remote.timeout)
}

// receive asks for files in a conversation.
func (m *missing) receive(s *session, hashes []plumbing.Hash, limits Limits) error {
	pack, err := s.fetchObjects(hashes, nil)
	if err != nil {
		return err
	}
	indexed, err := receivePackInto(m.dir(), looseWriter{m.objects}, pack, limits)
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
	var from []string
	for _, dir := range dirs {
		if m.isApart(dir) {
			continue
		}
		n, found, err := m.repository.find(root, dir)
		if err != nil || !found || n.kind() != kindTree {
			continue // whoever reads it is told
		}
		files, whole := m.repository.filesBelow(n.hash)
		if absent := m.objects.absent(files); whole && len(absent) > 0 {
			wanted, from = append(wanted, absent...), append(from, dir)
		}
	}
	if len(wanted) == 0 || !s.v2 {
		return nil
	}
	err := m.receive(s, m.objects.absent(wanted), m.together())
	if !isLarge(err) {
		return err
	}
	for _, dir := range from {
		m.setApart(dir) // what is read of it comes then, with what is near
	}
	return nil
}

// together bounds what is fetched with a file that is read: it is for speed only.
func (m *missing) together() Limits {
	limits := m.objects.limits
	limits.Object, limits.Pack = min(limits.Object, maxBytesTogether), min(limits.Pack, maxBytesTogether)
	return limits
}

// setApart notes that the files of a directory are not fetched together any more.
func (m *missing) setApart(dir string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.apart == nil || len(m.apart) >= maxApart {
		m.apart = map[string]bool{}
	}
	m.apart[dir] = true
}

func (m *missing) isApart(dir string) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.apart[dir]
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
	for {
		dir, files := o.around(root, name)
		if len(o.absent(files)) == 0 {
			return o.missing.obtain([]plumbing.Hash{hash})
		}
		o.missing.remember(dir)
		err := o.missing.obtainWithin(append(files, hash), o.missing.together())
		if !isLarge(err) {
			return err
		}
		o.missing.setApart(dir) // something in it is large, and maybe nobody reads that
	}
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
	err := o.missing.obtain(files)
	if isLarge(err) {
		return nil // one of them is, and those that are looked into come one by one
	}
	return err
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
		if err != nil || !found || o.missing.isApart(at) {
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

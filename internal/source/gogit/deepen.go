package gogit

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/go-git/go-git/v5/plumbing"

	"chaperone.dev/chaperone/internal/fault"
	"chaperone.dev/chaperone/internal/source"
)

// A history is fetched from its newest end, and the rest of it as decisions need
// it: a parent that is absent is fetched when somebody goes there, with what lies
// below it, and nothing is said about what is further down before it was looked
// at.
const (
	// maxBoundary is how many ends of the history are moved by one fetch.
	maxBoundary = 1000
	// Each fetch goes twice as deep as the one before it, up to so many times
	// Limits.Depth: to the root of a long history it is few of them, and yet
	// none has to hold all of it.
	maxDeeper = 16
	// defaultDepth is what a new head is fetched with: further back than pins and
	// the last good release are found. What weighs is the newest tree, not its
	// history: of 100,000 files, 1 commit is 2.45 MB without the files themselves,
	// 200 are 2.53, and 10,000 are 6.6, which take five times the memory to index.
	defaultDepth = 200
	// maxDeepenings is how many there are at one head: more than any honest
	// server needs. A mirror of everything takes the place of this one then.
	maxDeepenings = 256
	// tipDepth is how much of a branch that somebody proposes is fetched at once.
	tipDepth = 20
)

var (
	errNotDeeper = errors.New("the server gives no more of the history")
	errCutOff    = errors.New("this clone has only the newest part of the history: run `git fetch --unshallow` in it")
)

// commitAt reads a commit, and has it fetched if it is below where the history
// ends for now.
func (o *objects) commitAt(hash plumbing.Hash) (commit, error) {
	c, err := o.present(hash)
	if !errors.Is(err, errAbsent) {
		return c, err
	}
	switch {
	case o.beneath != nil && !o.boundary.isBeyond(hash):
		return o.beneath.commitAt(hash)
	case !o.boundary.is():
		return c, err
	case o.missing == nil:
		return c, fmt.Errorf("commit %s: %w: %w", hash, source.ErrUnavailable, errCutOff)
	}
	if err := o.missing.deepen(hash); err != nil {
		return commit{}, err
	}
	return o.present(hash)
}

// partial reports whether there is more of the history at the server.
func (o *objects) partial() bool {
	return o.missing != nil && (o.boundary.is() || o.beneath != nil && o.beneath.boundary.is())
}

// deepen fetches what is below the boundary until a commit is there, or until
// there is nothing more.
func (m *missing) deepen(hash plumbing.Hash) error {
	m.turn.Lock()
	defer m.turn.Unlock()
	ctx, cancel := m.patience()
	defer cancel()
	d := &deepening{missing: m, ctx: ctx}
	defer d.close()
	for {
		if _, err := m.objects.present(hash); !errors.Is(err, errAbsent) {
			return nil // whoever reads it is told
		}
		wants := m.objects.boundary.next(hash, maxBoundary)
		if len(wants) == 0 {
			return nil
		}
		if err := m.lately(); err != nil {
			return err
		}
		err := d.step(wants)
		m.ended(err)
		if err != nil {
			return err
		}
	}
}

// deepening is one conversation about older commits.
type deepening struct {
	*missing
	ctx     context.Context
	session *session
}

func (d *deepening) close() {
	if d.session != nil {
		d.session.close()
	}
}

func (d *deepening) step(wants []plumbing.Hash) error {
	r := d.repository
	fail := func(err error) error {
		return fault.Retryable("fetch older commits", r.remote.object(), err)
	}
	if d.deepened.Add(1) > maxDeepenings {
		d.giveUp()
		return fail(fmt.Errorf("%w: it was asked %d times", withUnavailable(errNotDeeper), maxDeepenings))
	}
	if d.session == nil {
		r.fetches.Add(1)
		s, err := r.remote.open(d.ctx, uploadPack)
		if err != nil {
			return fail(err)
		}
		d.session = s
	}
	err := d.objects.receiveHistory(d.session, wantedHistory{
		wants: wants, haves: headOf(r.Head()), depth: d.depth(), dir: d.dir(), limits: d.objects.limits, branch: d.objects == r.objects,
	})
	var said *problem
	if errors.As(err, &said) && said.refused || errors.Is(err, errNotDeeper) {
		d.giveUp()
	}
	if err != nil {
		return fail(err)
	}
	if _, err := d.objects.present(wants[0]); errors.Is(err, errAbsent) {
		d.giveUp()
		return fail(fmt.Errorf("%w: it does not send %s", withUnavailable(errNotDeeper), wants[0]))
	}
	return nil
}

func withUnavailable(err error) error { return fmt.Errorf("%w: %w", source.ErrUnavailable, err) }

func headOf(head source.Revision) []plumbing.Hash {
	return []plumbing.Hash{plumbing.NewHash(string(head))}
}

// depth is how far the next fetch goes.
func (d *deepening) depth() int {
	return d.objects.limits.Depth * int(min(1<<min(d.deepened.Load()-1, 30), maxDeeper))
}

// giveUp on a server that does not give older commits. What is kept beside the
// mirror is not worth another one.
func (d *deepening) giveUp() {
	if d.objects == d.repository.objects {
		d.repository.needWhole()
	}
}

// needWhole has the next poll make a mirror of all of the history: the server does
// not give it in pieces.
func (r *Repository) needWhole() {
	r.whole.Store(true)
	r.damaged.Store(true)
}

// firstDepth is how much of the branch's history is fetched with a new head.
func (r *Repository) firstDepth(s *session) int {
	if r.whole.Load() || !s.canShallow() {
		return 0
	}
	return r.limits.Depth
}

// wantedHistory is what is asked of one.
type wantedHistory struct {
	wants, haves []plumbing.Hash
	depth        int // commits in a row; 0 is all of them
	dir          string
	limits       Limits
	branch       bool // the followed one
}

// receiveHistory takes commits into a repository that is in use, and notes where
// they end. Whoever asked looks for what must be there.
func (o *objects) receiveHistory(s *session, h wantedHistory) error {
	pack, ends, err := o.askHistory(s, h)
	if err != nil {
		return err
	}
	notes := o.notes(h.dir)
	if err := o.boundary.widen(notes, ends, h.branch); err != nil {
		return s.problem(err)
	}
	indexed, err := receivePackInto(h.dir, looseWriter{o}, pack, h.limits)
	if indexed {
		o.reindex()
	}
	if err != nil {
		return s.problem(err)
	}
	return o.boundary.settle(notes, o, false)
}

// notes is where the ends of the history are noted: nowhere in somebody's own
// repository, which is git's to keep.
func (o *objects) notes(dir string) string {
	if o.missing == nil {
		return ""
	}
	return dir
}

// askHistory leaves the answer to be read. A server that does not understand that
// our history ends somewhere would leave out what we do not have.
func (o *objects) askHistory(s *session, h wantedHistory) (pack io.Reader, ends []plumbing.Hash, err error) {
	shallow := o.boundary.commits()
	if o.beneath != nil {
		shallow = append(shallow, o.beneath.boundary.commits()...)
	}
	switch {
	case s.canShallow():
		return s.fetchCommits(h.wants, h.haves, shallow, h.depth)
	case len(shallow) == 0 && len(h.wants) == 1 || s.can["shallow"] && h.depth == 0:
		pack, err = s.fetch(h.wants[0], h.haves, shallow)
		return pack, nil, err
	}
	if o.missing != nil {
		o.missing.repository.needWhole()
	}
	return nil, nil, withUnavailable(errNotDeeper)
}

// known walks first parents as far as they are here: what nobody has to be asked
// for.
func (o *objects) known(ctx context.Context, head source.Revision, max int) ([]plumbing.Hash, error) {
	var line []plumbing.Hash
	for hash, more := plumbing.NewHash(string(head)), true; more && len(line) < max; {
		if err := cancelled(ctx, len(line)); err != nil {
			return nil, err
		}
		c, err := o.present(hash)
		if errors.Is(err, errAbsent) && len(line) > 0 && o.boundary.isBeyond(hash) {
			return line, nil
		}
		if err != nil {
			return nil, o.lost(err)
		}
		line = append(line, hash)
		hash, more = c.firstParent()
	}
	return line, nil
}

// Package gogit is the Git side of the source: it polls one branch of one
// repository over file, HTTP or SSH, keeps a bare mirror of it as a cache,
// reads commits and trees straight from Git objects, takes commits back, and
// keeps the branches that propose promotions.
//
// It guarantees that
//   - a poll without change costs one look at the refs, and only the followed
//     branch is ever fetched, with a promotion branch when it is that one's turn;
//   - after any error the mirror and the last known head are as before;
//   - where the server can leave files out, only those that are read are fetched;
//   - where it can leave out the older part of a history, that is fetched as far as
//     answers need it, and they are the same as if all of it were there: nothing is
//     said to be no ancestor, or unknown, before the server was asked;
//   - every object read is checked against its hash;
//   - a commit is pushed only onto the head that it was made for, a commit is
//     taken back at most once, and what became of a push is judged from the
//     refs, never from the words of the server;
//   - a promotion branch is one commit that moves one pin, and one that holds
//     anything else is somebody's work: it is neither overwritten nor deleted;
//   - no secret is in any error: URLs with credentials are refused, tokens are
//     read from files each time and cut out of what servers say;
//   - an SSH server is talked to only if its key is known beforehand.
//
// Errors wrap source.ErrUnavailable, ErrBranchGone, ErrUnknownRevision,
// ErrNotAncestor and ErrTooFar, and say through internal/fault whether trying
// again may help.
package gogit

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/storage/filesystem"

	"chaperone.dev/chaperone/internal/fault"
	"chaperone.dev/chaperone/internal/source"
)

// Options say what to follow and how.
type Options struct {
	URL         string // path, file://, http(s)://, ssh:// or host:path; never with a password
	Branch      string
	CacheDir    string // of this process alone; may be lost at any time
	Credentials Credentials
	Author      Author        // of reverts and promotions
	Signing     Signing       // of the same
	Signers     Signers       // whose signatures count
	Timeout     time.Duration // how long a server may be silent; default 1m
	Limits      Limits
	Now         func() time.Time // for the times of commits; default time.Now
	Logger      *slog.Logger     // hears of a mirror that is made anew; default none
}

// Author signs the commits that are made here.
type Author struct{ Name, Email string }

// DefaultAuthor is who signs where nobody is named.
var DefaultAuthor = Author{"Chaperone", "chaperone@chaperone.invalid"}

const (
	defaultTimeout = time.Minute
	maxRepairs     = 3
)

// Head is what a poll found.
type Head struct {
	Revision source.Revision
	Changed  bool // since the last successful poll of this Repository
}

// Counters count conversations with the server since Open.
type Counters struct{ Polls, Fetches, Pushes int64 }

// Repository follows one branch. It is safe for concurrent use; conversations
// with the server take turns, reading never waits for them.
type Repository struct {
	*objects
	remote  *remote
	mirror  *mirror
	signer  signer
	signers *signers
	log     *slog.Logger

	turn   chan struct{} // held during a conversation
	closed chan struct{}
	once   sync.Once
	head   atomic.Value // source.Revision, the last known
	whole  atomic.Bool  // the server gives its history only as a whole
	polled source.Revision

	repaired plumbing.Hash          // the head that the mirror was last made anew at
	repairs  int                    // how often, for this head
	large    map[plumbing.Hash]bool // commits that are too much to fetch; held with turn

	polls, fetches, pushes atomic.Int64
}

// Open prepares the cache and talks to nobody: a server that is away is for
// Poll to report. The end of ctx also ends the fetching of files that are read. A cache of another source, or a damaged one, is discarded.
func Open(ctx context.Context, o Options) (*Repository, error) {
	if o.Timeout <= 0 {
		o.Timeout = defaultTimeout
	}
	remote, err := newRemote(o.URL, o.Branch, o.Credentials, o.Timeout)
	if err != nil {
		return nil, fault.Terminal("open source", "", err)
	}
	r := &Repository{remote: remote, signer: newSigner(o.Author, o.Now, o.Signing.sign()), signers: newSigners(o.Signers, o.Now), log: o.Logger, turn: make(chan struct{}, 1), closed: make(chan struct{})}
	if r.log == nil {
		r.log = slog.New(slog.DiscardHandler)
	}
	r.head.Store(source.Revision(""))
	if r.objects, err = newObjects(o.Limits); err != nil {
		return nil, fault.Terminal("open source", remote.object(), err)
	}
	if r.mirror, err = openMirror(ctx, o.CacheDir, remote); err != nil {
		return nil, fault.Retryable("open source", remote.object(), err)
	}
	r.remote.blobless = true
	r.missing = &missing{repository: r, ctx: ctx, objects: r.objects, dir: r.mirror.path, read: layout()}
	if err := r.load(); err != nil {
		r.Close()
		return nil, fault.Retryable("open source", remote.object(), err)
	}
	return r, nil
}

func (r *Repository) load() error {
	if _, err := os.Stat(r.mirror.path()); errors.Is(err, os.ErrNotExist) {
		return nil
	}
	head, err := r.mirror.check(r.objects)
	if err == nil {
		r.head.Store(head.Revision)
		return nil
	}
	r.log.Warn("discarding the source's mirror", "source", r.remote.location.String(), "err", err)
	r.use(nil)
	return os.RemoveAll(r.mirror.path())
}

// Close waits for the conversation under way and releases the cache. Snapshots
// are of no use afterwards.
func (r *Repository) Close() {
	r.once.Do(func() {
		r.turn <- struct{}{} // and never given back
		close(r.closed)
		r.use(nil)
		r.mirror.close()
		r.remote.close()
	})
}

var errClosed = errors.New("the source is closed")

// Head is the last known head, without asking anybody; empty before the first
// successful poll of a new cache.
func (r *Repository) Head() source.Revision {
	head, _ := r.head.Load().(source.Revision)
	return head
}

// Counters returns how often the server was talked to.
func (r *Repository) Counters() Counters {
	return Counters{r.polls.Load(), r.fetches.Load(), r.pushes.Load()}
}

// Poll asks for the branch's head and fetches it if it is new. An error wraps
// source.ErrBranchGone or source.ErrUnavailable; everything then stays as it is.
func (r *Repository) Poll(ctx context.Context) (Head, error) {
	if err := r.take(ctx); err != nil {
		return Head{}, err
	}
	defer r.give()
	head, err := r.update(ctx)
	if err != nil {
		return Head{}, fault.Retryable("poll", r.remote.object(), err)
	}
	changed := head.Revision != r.polled
	r.polled = head.Revision
	return Head{Revision: head.Revision, Changed: changed}, nil
}

func (r *Repository) take(ctx context.Context) error {
	select {
	case r.turn <- struct{}{}:
		return nil
	case <-r.closed:
		return errClosed
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (r *Repository) give() { <-r.turn }

// update brings the mirror to the branch's head.
func (r *Repository) update(ctx context.Context) (commit, error) {
	head, _, err := r.look(ctx, r.remote)
	return head, err
}

// look is an update that tells where the second branch of at is, by the same
// look at the refs.
func (r *Repository) look(ctx context.Context, at *remote) (head commit, also plumbing.Hash, err error) {
	s, err := at.open(ctx, uploadPack)
	r.polls.Add(1)
	if err != nil {
		return commit{}, also, err
	}
	defer s.close()
	switch {
	case s.empty:
		return commit{}, also, fmt.Errorf("%w: the repository is empty", source.ErrBranchGone)
	case s.tip.IsZero():
		return commit{}, also, source.ErrBranchGone
	}
	r.missing.ended(nil)
	head, err = r.bring(ctx, s)
	return head, s.also, err
}

// bring fetches what the session offers, if it is new.
func (r *Repository) bring(ctx context.Context, s *session) (commit, error) {
	intact := r.Head() != "" && !r.repair(s.tip)
	if intact && revisionOf(s.tip) == r.Head() {
		return r.present(s.tip)
	}
	r.fetches.Add(1)
	if intact && (s.canShallow() || len(r.boundary.commits()) == 0) {
		return r.follow(ctx, s)
	}
	return r.clone(ctx, s)
}

// repair reports whether the mirror is damaged and making it anew may help: if
// it comes from the server like that, it does not.
func (r *Repository) repair(tip plumbing.Hash) bool {
	if !r.damaged.Load() {
		return false
	}
	if r.repaired != tip {
		r.repaired, r.repairs = tip, 0
	}
	r.repairs++
	return r.repairs <= maxRepairs
}

// follow fetches what is new since the last known head.
func (r *Repository) follow(ctx context.Context, s *session) (commit, error) {
	haves, err := r.haves(ctx, r.Head())
	if err != nil {
		return commit{}, err
	}
	err = r.receiveHistory(s, wantedHistory{
		wants: []plumbing.Hash{s.tip}, haves: haves, depth: r.firstDepth(s), dir: r.mirror.path(), limits: r.limits, branch: true,
	})
	if err != nil {
		return commit{}, err
	}
	if err := r.ahead(s); err != nil {
		return commit{}, err
	}
	return r.arrived(s.tip, r.mirror.path())
}

// ahead sees to it that a new head can be read where the one before was, though
// the server is away by then.
func (r *Repository) ahead(s *session) error {
	c, err := r.present(s.tip)
	if err != nil {
		return nil // arrived says so
	}
	return r.missing.ahead(s, c.tree)
}

// haves are the commits that we surely have with all that belongs to them:
// enough of them that a server whose branch was put back finds a common one.
func (o *objects) haves(ctx context.Context, head source.Revision) ([]plumbing.Hash, error) {
	const enough = 64
	return o.known(ctx, head, enough)
}

// clone fetches the branch, beside the mirror that there may be.
func (r *Repository) clone(ctx context.Context, s *session) (commit, error) {
	if err := os.RemoveAll(r.mirror.next()); err != nil {
		return commit{}, err
	}
	storage, err := r.mirror.create(r.mirror.next())
	if err != nil {
		return commit{}, err
	}
	defer storage.Close()
	pack, ends, err := r.askFirst(s)
	if err != nil {
		return commit{}, err
	}
	if _, err := receivePackInto(r.mirror.next(), storage, pack, r.limits); err != nil {
		return commit{}, s.problem(err)
	}
	if err := ctx.Err(); err != nil {
		return commit{}, err
	}
	r.missing.turn.Lock() // nobody fetches into what is thrown away
	defer r.missing.turn.Unlock()
	// Noted before there is what it is about; the mirror has a note of its own.
	if err := r.boundary.widen(r.mirror.next(), ends, true); err != nil {
		return commit{}, s.problem(err)
	}
	if err := r.replace(r.mirror); err != nil {
		return commit{}, err
	}
	if err := r.boundary.settle(r.mirror.path(), r.objects, true); err != nil {
		return commit{}, err
	}
	if err := r.ahead(s); err != nil {
		return commit{}, err
	}
	return r.arrived(s.tip, r.mirror.path())
}

// askFirst asks for a branch of which nothing is here.
func (r *Repository) askFirst(s *session) (pack io.Reader, ends []plumbing.Hash, err error) {
	if s.canShallow() {
		return s.fetchCommits([]plumbing.Hash{s.tip}, nil, nil, r.firstDepth(s))
	}
	pack, err = s.fetch(s.tip, nil, nil)
	return pack, nil, err
}

// arrived makes hash the head, once it is seen to be there.
func (r *Repository) arrived(hash plumbing.Hash, dir string) (commit, error) {
	c, err := r.present(hash)
	if err == nil {
		_, err = r.tree(c.tree)
	}
	switch {
	case fault.IsTerminal(err):
		return commit{}, fmt.Errorf("%w: the root directory of %s cannot be read: %w", source.ErrUnavailable, c.Revision.Short(), err)
	case err != nil:
		return commit{}, fmt.Errorf("%w: the server did not send what its branch names: %w", source.ErrUnavailable, err)
	}
	name := filepath.Join(dir, filepath.FromSlash(r.remote.branch.String()))
	if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
		return commit{}, err
	}
	err = writeFile(name, func(w io.Writer) error {
		_, err := fmt.Fprintln(w, hash)
		return err
	})
	if err != nil {
		return commit{}, err
	}
	r.boundary.adopt()
	r.missing.deepened.Store(0)
	r.head.Store(c.Revision)
	return c, nil
}

// reindex takes note of a new pack.
func (o *objects) reindex() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.storage.Reindex()
}

// looseWriter writes single objects while others read.
type looseWriter struct{ *objects }

func (w looseWriter) SetEncodedObject(o plumbing.EncodedObject) (plumbing.Hash, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.storage.SetEncodedObject(o)
}

var _ objectWriter = (*filesystem.Storage)(nil)

package gogit

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/go-git/go-git/v5/plumbing"

	"chaperone.dev/chaperone/internal/fault"
	"chaperone.dev/chaperone/internal/source"
)

const (
	// What a pull request may bring over the followed branch, packed and not.
	maxPullBytes    = 16 << 20
	maxPullInflated = 256 << 20
	// maxPullsBytes bounds all that is kept of pull requests on disk.
	maxPullsBytes = 256 << 20
)

// Pulls are heads of pull requests: what anybody may have written. They are read
// over the mirror, and kept beside it, so that they neither grow it nor damage it:
// when there is too much of them, all of it is thrown away, and fetched again as
// it is asked for. Conversations about them delay no others. Fetch is for one
// goroutine; what is read meanwhile may be gone.
type Pulls struct {
	*objects
	repository *Repository
	dir        string
	limit      int64 // bytes on disk
}

// Pulls makes the place for them, which is empty.
func (r *Repository) Pulls() (*Pulls, error) {
	limits := r.limits
	limits.Pack, limits.Object, limits.inflated = min(limits.Pack, maxPullBytes), min(limits.Object, maxPullBytes), maxPullInflated
	apart, err := newObjects(limits)
	if err != nil {
		return nil, err
	}
	p := &Pulls{objects: apart, repository: r, dir: filepath.Join(r.mirror.dir, "pulls.git"), limit: maxPullsBytes}
	p.beneath = r.objects
	p.missing = &missing{repository: r, ctx: r.missing.ctx, objects: apart, dir: func() string { return p.dir }}
	return p, p.empty()
}

// Close releases the place. Snapshots are of no use afterwards.
func (p *Pulls) Close() { p.use(nil) }

// empty throws everything away.
func (p *Pulls) empty() error {
	p.use(nil)
	if err := os.RemoveAll(p.dir); err != nil {
		return fmt.Errorf("empty %s: %w", filepath.Base(p.dir), err)
	}
	storage := openStorage(p.dir)
	if err := storage.Init(); err != nil {
		return fmt.Errorf("make %s: %w", filepath.Base(p.dir), err)
	}
	p.use(storage)
	return p.boundary.load(p.dir, p.objects)
}

// Contains reports whether revision is head or one of its ancestors along any
// parent.
func (p *Pulls) Contains(ctx context.Context, revision, head source.Revision) (bool, error) {
	return p.contains(ctx, revision, head)
}

// ContainedIn is Contains for any commit of the followed branch, and those that
// the daemon made.
func (r *Repository) ContainedIn(ctx context.Context, revision, head source.Revision) (bool, error) {
	return r.contains(ctx, revision, head)
}

// Fetch sees to it that a head is there with all that it brings over the followed
// branch. The forge keeps it at a ref such as refs/pull/7/head, also where it is
// from a fork. It wraps
// source.ErrTooMuch, source.ErrUnknownRevision where the server does
// not have it, and otherwise source.ErrUnavailable.
func (p *Pulls) Fetch(ctx context.Context, ref string, head source.Revision) error {
	object := fmt.Sprintf("%s at %s of %s", head.Short(), ref, p.repository.remote.object())
	if _, err := source.ParseRevision(string(head)); err != nil {
		return fault.Terminal("fetch", object, err)
	}
	name := plumbing.ReferenceName(ref)
	if !strings.HasPrefix(ref, "refs/") || name.Validate() != nil {
		return fault.Terminal("fetch", object, errors.New("want a ref below refs/"))
	}
	// What one has to be read for is not kept in memory for the next one.
	p.trees.Purge()
	p.wide.Purge()
	p.commits.Purge()
	hash := plumbing.NewHash(string(head))
	if p.damaged.Load() {
		if err := p.empty(); err != nil {
			return fault.Retryable("fetch", object, err)
		}
	}
	if _, err := p.present(hash); err == nil {
		return nil
	}
	err := p.bring(ctx, name, hash)
	switch {
	case isLarge(err):
		return fault.Terminal("fetch", object, fmt.Errorf("%w: %w", source.ErrTooMuch, err))
	case errors.Is(err, source.ErrUnknownRevision):
		return fault.Terminal("fetch", object, err)
	}
	return fault.Retryable("fetch", object, err)
}

func (p *Pulls) bring(ctx context.Context, ref plumbing.ReferenceName, head plumbing.Hash) error {
	if p.repository.Head() == "" {
		return fmt.Errorf("%w: no head is known yet", source.ErrUnavailable)
	}
	if err := p.room(); err != nil {
		return err
	}
	haves, err := p.repository.haves(ctx, p.repository.Head())
	if err != nil {
		return err
	}
	at := p.repository.remote.with(ref)
	// It brings few files, and all of them are looked at; where it begins further
	// down than the mirror goes, it brings all that there is.
	at.blobless = p.partial()
	s, err := at.open(ctx, uploadPack)
	if err != nil {
		return err
	}
	defer s.close()
	if !s.v2 && s.also != head { // an older server gives what its refs name
		return fmt.Errorf("%w: the server has %s there", source.ErrUnknownRevision, orUnknown(string(tipOf(s.also))))
	}
	p.repository.fetches.Add(1)
	err = p.receive(s, head, p.dir, haves, p.limits.Pack)
	if refusesWant(err) {
		return fmt.Errorf("%w: %w", source.ErrUnknownRevision, err)
	}
	return err
}

// refusesWant tells a server that does not have what is asked for from one that
// is away: it says so within the protocol.
func refusesWant(err error) bool {
	var said *problem
	return errors.As(err, &said) && strings.Contains(said.text, "not our ref")
}

// room makes some for one more.
func (p *Pulls) room() error {
	var held int64
	err := filepath.WalkDir(p.dir, func(_ string, entry os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if info, err := entry.Info(); err == nil {
			held += info.Size()
		}
		return nil
	})
	if err == nil && held+2*p.limits.Pack <= p.limit {
		return nil
	}
	return p.empty()
}

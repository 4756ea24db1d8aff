package rego

import (
	"context"
	"fmt"
	"io/fs"
	"path/filepath"
	"sync"

	"chaperone.dev/chaperone/internal/fault"
	"chaperone.dev/chaperone/internal/manifest"
)

// Store holds the bundle in force. A bundle that is refused leaves the one
// before in force. It is safe for concurrent use.
type Store struct {
	dir    string
	limits Limits

	reload sync.Mutex // one reload at a time
	mu     sync.Mutex
	bundle *Bundle
	status Status
	seen   Seen
}

// Status is what is known of a Store's bundle.
type Status struct {
	Digest   manifest.Digest // in force; "" when there is none yet
	Refused  manifest.Digest // of the newest content, when it was refused; "" when it could not even be read
	Err      error           // why the newest content is not in force; nil when it is
	WatchErr error           // why changes are only polled for; nil while they are watched
}

// NewStore follows the policies in dir. It holds no bundle before the first
// Reload or Offer.
func NewStore(dir string, limits Limits) *Store {
	if absolute, err := filepath.Abs(dir); err == nil {
		dir = absolute // events name files by the path that was watched
	}
	return &Store{dir: filepath.Clean(dir), limits: limits.withDefaults()}
}

// Current is the bundle in force, or nil when none was ever accepted. Without a
// bundle nothing may be allowed.
func (s *Store) Current() *Bundle {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.bundle
}

// Status tells what is in force, and what keeps newer content out.
func (s *Store) Status() Status {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.status
}

// Reload reads the directory, and puts its bundle in force if it is a new one
// that proves itself. Content that is known, accepted or refused, is not tried
// again. It reports whether anything changed: the bundle or why there is none.
func (s *Store) Reload(ctx context.Context) (changed bool, err error) {
	return s.offer(ctx, s.dir, func() (fileSet, error) { return readDir(s.dir, s.limits) })
}

// Offer is Reload for policies that come from elsewhere than the directory,
// such as a snapshot of the source.
func (s *Store) Offer(ctx context.Context, fsys fs.FS, from string) (changed bool, err error) {
	return s.offer(ctx, from, func() (fileSet, error) { return readFiles(fsys, s.limits) })
}

// OfferSigned is Reload for an archive that carries a signature.
func (s *Store) OfferSigned(ctx context.Context, archive []byte, key Key, from string) (changed bool, err error) {
	var newest Seen
	changed, err = s.offer(ctx, from, func() (fileSet, error) {
		files, err := readSigned(archive, key, s.limits)
		if err != nil {
			return nil, err
		}
		newest, err = s.Seen().next(files)
		return files, err
	})
	if err == nil {
		s.Recall(newest)
	}
	return changed, err
}

// Unavailable is Reload for policies that could not be had from where they come.
func (s *Store) Unavailable(from string, why error) (changed bool) {
	changed, _ = s.refuse("", fmt.Errorf("read policies from %s: %w", from, why))
	return changed
}

func (s *Store) offer(ctx context.Context, from string, read func() (fileSet, error)) (changed bool, err error) {
	s.reload.Lock()
	defer s.reload.Unlock()
	files, err := read()
	if err != nil {
		return s.refuse("", fmt.Errorf("read policies from %s: %w", from, err))
	}
	digest := files.digest()
	before := s.Status()
	switch digest { // never empty
	case before.Digest:
		return s.accept(nil, digest), nil
	case before.Refused:
		return false, before.Err
	}
	bundle, err := load(ctx, files, s.limits)
	if ctx.Err() != nil {
		// Not the content's fault: it is tried again.
		return false, fmt.Errorf("load policies from %s: %w", from, ctx.Err())
	}
	if err != nil {
		if !fault.IsTerminal(err) {
			digest = "" // time ran out: the same content is tried again
		}
		return s.refuse(digest, fmt.Errorf("%s: %w", from, err))
	}
	return s.accept(bundle, digest), nil
}

// accept puts a bundle in force, or says that the one in force is what the
// directory holds again.
func (s *Store) accept(bundle *Bundle, digest manifest.Digest) (changed bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	changed = bundle != nil || s.status.Err != nil
	if bundle != nil {
		s.bundle = bundle
	}
	s.status.Digest, s.status.Refused, s.status.Err = digest, "", nil
	return changed
}

func (s *Store) refuse(digest manifest.Digest, err error) (changed bool, _ error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	changed = s.status.Err == nil || s.status.Refused != digest || s.status.Err.Error() != err.Error()
	s.status.Refused, s.status.Err = digest, err
	return changed, err
}

func (s *Store) setWatchErr(err error) (changed bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	changed = (s.status.WatchErr == nil) != (err == nil)
	s.status.WatchErr = err
	return changed
}

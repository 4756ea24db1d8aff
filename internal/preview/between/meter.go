package between

import (
	"context"
	"errors"
	"io/fs"
	"sync/atomic"

	"chaperone.dev/chaperone/internal/fault"
	"chaperone.dev/chaperone/internal/source"
)

// maxLooks bounds what one comparison looks at: files, directories and the names
// in them, each as often as it does. A tree may hold itself a billion times over,
// and not weigh anything.
const maxLooks = 2_000_000

var errTooManyLooks = errors.New("too many files and directories for a preview")

// metered is a source whose snapshots are read until the context ends, and no
// further than the bound.
type metered struct {
	Commits
	ctx  context.Context
	left atomic.Int64
}

func meter(ctx context.Context, s Commits) *metered {
	m := &metered{Commits: s, ctx: ctx}
	m.left.Store(maxLooks)
	return m
}

// Snapshot implements Source.
func (m *metered) Snapshot(revision source.Revision) (source.Snapshot, error) {
	snapshot, err := m.Commits.Snapshot(revision)
	if err != nil {
		return nil, err
	}
	return meteredSnapshot{snapshot, m}, nil
}

// take allows so many more looks.
func (m *metered) take(looks int, name string) error {
	if m.left.Add(-int64(looks)) < 0 {
		return fault.Terminal("read", name, errTooManyLooks)
	}
	if err := m.ctx.Err(); err != nil {
		return fault.Retryable("read", name, err)
	}
	return nil
}

// spent is why what was found out is worth nothing; nil where it is whole. Who
// reads a tree may take one part that could not be read for broken.
func (m *metered) spent() error {
	if err := m.ctx.Err(); err != nil {
		return err
	}
	if m.left.Load() < 0 {
		return fault.Terminal("preview", "", errTooManyLooks)
	}
	return nil
}

type meteredSnapshot struct {
	source.Snapshot
	meter *metered
}

var (
	_ fs.ReadDirFS  = meteredSnapshot{}
	_ fs.ReadFileFS = meteredSnapshot{}
	_ fs.StatFS     = meteredSnapshot{}
	_ fs.ReadLinkFS = meteredSnapshot{}
)

// Hash implements source.Snapshot.
func (s meteredSnapshot) Hash(name string) (string, error) {
	if err := s.meter.take(1, name); err != nil {
		return "", err
	}
	return s.Snapshot.Hash(name)
}

// Open implements fs.FS.
func (s meteredSnapshot) Open(name string) (fs.File, error) {
	if err := s.meter.take(1, name); err != nil {
		return nil, err
	}
	return s.Snapshot.Open(name)
}

// ReadFile implements fs.ReadFileFS.
func (s meteredSnapshot) ReadFile(name string) ([]byte, error) {
	if err := s.meter.take(1, name); err != nil {
		return nil, err
	}
	return fs.ReadFile(s.Snapshot, name)
}

// ReadDir implements fs.ReadDirFS.
func (s meteredSnapshot) ReadDir(name string) ([]fs.DirEntry, error) {
	if err := s.meter.take(1, name); err != nil {
		return nil, err
	}
	entries, err := fs.ReadDir(s.Snapshot, name)
	if err == nil {
		err = s.meter.take(len(entries), name)
	}
	return entries, err
}

// Stat implements fs.StatFS.
func (s meteredSnapshot) Stat(name string) (fs.FileInfo, error) {
	if err := s.meter.take(1, name); err != nil {
		return nil, err
	}
	return fs.Stat(s.Snapshot, name)
}

// Lstat implements fs.ReadLinkFS.
func (s meteredSnapshot) Lstat(name string) (fs.FileInfo, error) {
	if err := s.meter.take(1, name); err != nil {
		return nil, err
	}
	return fs.Lstat(s.Snapshot, name)
}

// ReadLink implements fs.ReadLinkFS.
func (s meteredSnapshot) ReadLink(name string) (string, error) {
	if err := s.meter.take(1, name); err != nil {
		return "", err
	}
	return fs.ReadLink(s.Snapshot, name)
}

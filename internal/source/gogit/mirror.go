package gogit

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/storage/filesystem"
)

// mirror is the cache on disk: a bare repository with one branch, in a
// directory that one process has to itself.
//
//	lock         held while the directory is in use
//	mirror.git   the repository
//	mirror.new   one that is being cloned to take its place
type mirror struct {
	dir    string
	lock   *os.File
	source markerFile
}

// markerFile says what the mirror is a mirror of; another one is discarded.
type markerFile struct {
	Version int    `json:"version"`
	URL     string `json:"url"`
	Branch  string `json:"branch"`
}

const (
	markerVersion = 2 // 1 had no history that ends somewhere
	markerName    = "chaperone.json"
	lockPause     = 50 * time.Millisecond
	lockPatience  = 10 * time.Second
)

func openMirror(ctx context.Context, dir string, of *remote) (*mirror, error) {
	if dir == "" {
		return nil, errors.New("no cache directory given")
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("cache directory: %w", err)
	}
	lock, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("cache directory: %w", err)
	}
	m := &mirror{dir: dir, lock: lock, source: markerFile{markerVersion, of.location.String(), of.branch.Short()}}
	if err := m.take(ctx); err != nil {
		_ = lock.Close()
		return nil, err
	}
	return m, errors.Join(os.RemoveAll(m.next()), m.clear(m.path()))
}

// take waits a while: a predecessor may be about to end.
func (m *mirror) take(ctx context.Context) error {
	for end := time.Now().Add(lockPatience); ; {
		taken, err := tryLock(m.lock)
		switch {
		case err != nil:
			return fmt.Errorf("lock cache directory %s: %w", m.dir, err)
		case taken:
			return nil
		case time.Now().After(end):
			return fmt.Errorf("cache directory %s is in use by another process: give each its own", m.dir)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(lockPause):
		}
	}
}

func (m *mirror) close() { _ = m.lock.Close() }

func (m *mirror) path() string { return filepath.Join(m.dir, "mirror.git") }
func (m *mirror) next() string { return filepath.Join(m.dir, "mirror.new") }

// clear removes what a process left behind that was killed while it wrote.
func (m *mirror) clear(dir string) error {
	leftovers, err := filepath.Glob(filepath.Join(dir, "objects", "*", "tmp_*"))
	for _, name := range leftovers {
		err = errors.Join(err, os.Remove(name))
	}
	if err != nil {
		return fmt.Errorf("clear cache directory: %w", err)
	}
	return nil
}

// create makes an empty mirror.
func (m *mirror) create(dir string) (*filesystem.Storage, error) {
	storage := openStorage(dir)
	if err := storage.Init(); err != nil {
		return nil, fmt.Errorf("create mirror: %w", err)
	}
	head := plumbing.NewSymbolicReference(plumbing.HEAD, plumbing.NewBranchReferenceName(m.source.Branch))
	if err := storage.SetReference(head); err != nil {
		return nil, fmt.Errorf("create mirror: %w", err)
	}
	marker, err := json.Marshal(m.source)
	if err != nil {
		return nil, err
	}
	return storage, writeFile(filepath.Join(dir, markerName), func(w io.Writer) error {
		_, err := w.Write(marker)
		return err
	})
}

// promote puts the new mirror in the place of the old one.
func (m *mirror) promote() error {
	if err := os.RemoveAll(m.path()); err != nil {
		return err
	}
	return os.Rename(m.next(), m.path())
}

// check tells whether the mirror can be gone on with, and where its branch is.
// It looks at what a crash or a full disk leaves behind; damage inside a pack
// shows when the object is read.
func (m *mirror) check(o *objects) (commit, error) {
	content, err := os.ReadFile(filepath.Join(m.path(), markerName))
	if err != nil {
		return commit{}, pathError(err)
	}
	var found markerFile
	if json.Unmarshal(content, &found) != nil || found != m.source {
		return commit{}, errors.New("it is of another source")
	}
	if err := checkPacks(filepath.Join(m.path(), "objects", "pack")); err != nil {
		return commit{}, err
	}
	o.use(openStorage(m.path()))
	if err := o.boundary.load(m.path(), o); err != nil {
		return commit{}, err
	}
	head, err := readRef(m.path(), plumbing.NewBranchReferenceName(m.source.Branch))
	if err != nil {
		return commit{}, err
	}
	c, err := o.present(head)
	if err != nil {
		return commit{}, err
	}
	_, err = o.tree(c.tree)
	return c, err
}

// checkPacks: each index names the sum that ends its pack.
func checkPacks(dir string) error {
	packs, err := filepath.Glob(filepath.Join(dir, "pack-*.pack"))
	if err != nil {
		return err
	}
	for _, pack := range packs {
		inPack, err := tail(pack, 20)
		if err != nil {
			return err
		}
		index, err := tail(strings.TrimSuffix(pack, ".pack")+".idx", 40)
		if err != nil {
			return err
		}
		if !bytes.Equal(inPack, index[:20]) {
			return fmt.Errorf("%s is cut off", filepath.Base(pack))
		}
	}
	return nil
}

func tail(name string, n int64) ([]byte, error) {
	file, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	if _, err := file.Seek(-n, io.SeekEnd); err != nil {
		return nil, fmt.Errorf("%s is cut off", filepath.Base(name))
	}
	content := make([]byte, n)
	_, err = io.ReadFull(file, content)
	return content, err
}

package rego

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"
	"time"

	"github.com/fsnotify/fsnotify"
)

// Timing of Watch.
const (
	// settle is how long a directory must be quiet: an editor or a checkout
	// writes many files, and a bundle of half of them is broken.
	settle = 200 * time.Millisecond
	// settleAtMost bounds the wait in a directory that is never quiet.
	settleAtMost = 2 * time.Second
	// unwatchedPoll is the interval while the system grants no watches: it
	// bounds how many processes may have some.
	unwatchedPoll = 5 * time.Second
	// maxWatched bounds the directories watched; changes below the others are
	// found by polling.
	maxWatched = 500
)

// Watch keeps the store up to date until ctx ends: as soon as the directory
// changes, and every poll interval in case an event was lost, as network file
// systems do. It calls changed after every Reload that made a difference, from
// one goroutine. It reloads once at the start.
func (s *Store) Watch(ctx context.Context, poll time.Duration, changed func(Status)) {
	w := &watching{store: s, changed: changed}
	defer w.close()
	w.reload(ctx)
	timer := time.NewTimer(w.interval(poll))
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		case event, open := <-w.events():
			if !open {
				w.close()
				continue
			}
			if !w.concerns(event.Name) {
				continue
			}
			w.awaitQuiet(ctx)
		case <-w.errors(): // the queue overflowed: look for oneself
		}
		w.reload(ctx)
		timer.Reset(w.interval(poll))
	}
}

// interval is shorter where polling is all there is.
func (w *watching) interval(poll time.Duration) time.Duration {
	if w.store.Status().WatchErr != nil {
		return min(poll, unwatchedPoll)
	}
	return poll
}

// watching is a Watch in progress.
type watching struct {
	store   *Store
	changed func(Status)
	watcher *fsnotify.Watcher
	real    string // the directory without symbolic links: events name it so
}

func (w *watching) events() <-chan fsnotify.Event {
	if w.watcher == nil {
		return nil
	}
	return w.watcher.Events
}

func (w *watching) errors() <-chan error {
	if w.watcher == nil {
		return nil
	}
	return w.watcher.Errors
}

func (w *watching) close() {
	if w.watcher != nil {
		// Nothing to lose: a watcher holds no data, and a new one is made.
		_ = w.watcher.Close()
		w.watcher = nil
	}
}

// reload watches first and reads then, so that no change falls in between.
func (w *watching) reload(ctx context.Context) {
	if ctx.Err() != nil {
		return
	}
	watchChanged := w.store.setWatchErr(w.watch())
	// Its error is in the Status that changed is told.
	changed, _ := w.store.Reload(ctx)
	if (changed || watchChanged) && ctx.Err() == nil && w.changed != nil {
		w.changed(w.store.Status())
	}
}

// watch watches everything anew: directories come and go, and the kubelet's
// swap leaves watches on what was deleted. The watcher itself is kept, as the
// system may not grant another.
func (w *watching) watch() (err error) {
	if w.watcher == nil {
		w.watcher, err = fsnotify.NewWatcher()
		if err != nil {
			return fmt.Errorf("watch %s: %w", w.store.dir, err)
		}
	}
	for _, name := range w.watcher.WatchList() {
		_ = w.watcher.Remove(name) // an error says that it is gone already
	}
	// The parent sees the directory itself being replaced, or appearing.
	if err := w.watcher.Add(filepath.Dir(w.store.dir)); err != nil {
		return fmt.Errorf("watch %s: %w", w.store.dir, err)
	}
	// Walking does not follow a link at its root, but the directory may be one.
	w.real, err = filepath.EvalSymlinks(w.store.dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil // its parent will tell
	}
	if err != nil {
		return fmt.Errorf("watch %s: %w", w.store.dir, err)
	}
	return w.watchTree()
}

func (w *watching) watchTree() error {
	watched := 0
	walk := func(name string, entry fs.DirEntry, err error) error {
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return nil // it went while we looked; its parent told so
		case err != nil:
			return err
		case !entry.IsDir():
			return nil
		case name != w.real && strings.HasPrefix(entry.Name(), "."):
			return fs.SkipDir
		case watched >= maxWatched:
			return fmt.Errorf("more than %d directories", maxWatched)
		}
		watched++
		if err := w.watcher.Add(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		return nil
	}
	if err := filepath.WalkDir(w.real, walk); err != nil {
		return fmt.Errorf("watch %s: %w", w.store.dir, err)
	}
	return nil
}

// concerns leaves out what happens beside the directory in its parent.
func (w *watching) concerns(name string) bool {
	within := func(dir string) bool {
		return name == dir || strings.HasPrefix(name, dir+string(filepath.Separator))
	}
	return within(w.store.dir) || (w.real != "" && within(w.real))
}

// awaitQuiet returns when no event came for a while.
func (w *watching) awaitQuiet(ctx context.Context) {
	latest := time.NewTimer(settleAtMost)
	defer latest.Stop()
	quiet := time.NewTimer(settle)
	defer quiet.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-latest.C:
			return
		case <-quiet.C:
			return
		case _, open := <-w.events():
			if !open {
				return
			}
			quiet.Reset(settle)
		case <-w.errors():
		}
	}
}

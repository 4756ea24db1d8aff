package app

import (
	"context"
	"fmt"
	"log/slog"
	"path/filepath"
	"strings"
	"time"

	"github.com/fsnotify/fsnotify"

	"chaperone.dev/chaperone/internal/config"
)

// Settings are where a configuration comes from.
type Settings struct {
	Load  func() (config.Config, error) // reads all places anew
	Files []string                      // those that may change, directories included
	Log   func(config.Config) *slog.Logger
}

// Serve runs the daemon, and runs it anew with each new configuration that is
// valid. One that is not leaves the one before in force. What is under way at
// a change is taken up again from the journal. It takes the process for itself,
// as far as the collection of garbage goes.
func Serve(ctx context.Context, s Settings, build Build, started func(*App)) error {
	current, err := s.Load()
	if err != nil {
		return err
	}
	for {
		log := s.Log(current)
		running, stop := context.WithCancel(ctx)
		changed := make(chan config.Config, 1)
		watched := make(chan struct{})
		go func() {
			defer close(watched)
			s.watch(running, current, log, changed)
		}()
		daemon := New(current, build, log)
		daemon.alone = true
		if started != nil {
			started(daemon)
		}
		ended := make(chan error, 1)
		go func() { ended <- daemon.Run(running) }()
		var next *config.Config
		select {
		case c := <-changed:
			next = &c
			stop()
			err = <-ended
		case err = <-ended:
			stop()
		}
		<-watched
		if next == nil || ctx.Err() != nil {
			return err
		}
		if err != nil {
			log.Warn("stop for a new configuration", "err", err)
		}
		current = *next
	}
}

// reloadPoll is how often settings are read though no event came, as network
// file systems lose some.
const reloadPoll = time.Minute

// watch reports the first configuration that is valid and differs.
func (s Settings) watch(ctx context.Context, current config.Config, log *slog.Logger, changed chan<- config.Config) {
	events, problems, closeWatch := s.events(log)
	defer closeWatch()
	refused := ""
	for {
		select {
		case <-ctx.Done():
			return
		case <-events:
			if !pause(ctx, 100*time.Millisecond) { // a swap is several events
				return
			}
		case <-problems: // events were lost: look for oneself
		case <-time.After(reloadPoll):
		}
		next, err := s.Load()
		if err != nil {
			if err.Error() != refused {
				refused = err.Error()
				log.Error("configuration refused; the one before stays in force", "err", err)
			}
			continue
		}
		if keys := config.Changed(current, next); len(keys) > 0 {
			log.Info("configuration changed; taking it up", "settings", strings.Join(keys, ", "))
			changed <- next
			return
		}
	}
}

// events watches the directories of the files: Kubernetes does not write a
// mounted file, it swaps the link of its directory.
func (s Settings) events(log *slog.Logger) (<-chan fsnotify.Event, <-chan error, func()) {
	if len(s.Files) == 0 {
		return nil, nil, func() {}
	}
	watcher, err := fsnotify.NewWatcher()
	if err != nil {
		log.Warn("watch configuration; it is only polled for", "err", err)
		return nil, nil, func() {}
	}
	for _, file := range s.Files {
		for _, dir := range []string{file, filepath.Dir(file)} {
			if err := watcher.Add(dir); err != nil {
				log.Warn("watch configuration; it is only polled for", "err", fmt.Errorf("%s: %w", dir, err))
			}
		}
	}
	return watcher.Events, watcher.Errors, func() { watcher.Close() }
}

func pause(ctx context.Context, d time.Duration) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(d):
		return true
	}
}

package app

import (
	"os"
	"runtime/debug"
	"sync"
	"time"

	"chaperone.dev/chaperone/internal/reconcile"
)

// gcPercent collects garbage twice as early as Go does by default. The daemon
// rests most of the time, on some ten MiB of live objects, and what it needs
// for a release is many times that: the processor time of more collections is
// little, and the memory between them is what the pod has to be given.
const gcPercent = 50

// Frugal has garbage collected early in this process, unless whoever runs it
// has chosen with GOGC. It is for a process that is the daemon and nothing else.
func Frugal() {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(gcPercent)
	}
}

// tidyAfter is how long nothing has to be under way before memory is given
// back: a release is several steps, with moments between them.
const tidyAfter = 3 * time.Second

// tidy gives memory back to the system once the work that needed it is over.
// Go by itself collects garbage every other minute while nothing is allocated,
// and keeps what one release took as if the next one came at once.
type tidy struct {
	after time.Duration
	free  func()

	mu    sync.Mutex
	busy  bool        // something was under way since memory was given back
	timer *time.Timer // runs while nothing is under way after that
}

func newTidy() *tidy { return &tidy{after: tidyAfter, free: debug.FreeOSMemory} }

// decided is told of each decision of the loop. It does not block.
func (t *tidy) decided(w reconcile.World, _ reconcile.Decision) {
	t.see(underWay(w))
}

func underWay(w reconcile.World) bool {
	for i := range w.Environments {
		if e := &w.Environments[i]; e.Busy != reconcile.ActionNone || e.Evaluating != "" {
			return true
		}
	}
	return false
}

func (t *tidy) see(busy bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if busy {
		t.busy = true
		t.stop()
		return
	}
	if t.busy && t.timer == nil {
		t.timer = time.AfterFunc(t.after, t.give)
	}
}

func (t *tidy) stop() {
	if t.timer != nil {
		t.timer.Stop()
		t.timer = nil
	}
}

func (t *tidy) give() {
	t.mu.Lock()
	wanted := t.timer != nil
	t.timer = nil
	t.busy = t.busy && !wanted
	t.mu.Unlock()
	if wanted {
		t.free()
	}
}

// close gives up on what was to come.
func (t *tidy) close() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.busy = false
	t.stop()
}

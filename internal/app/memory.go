package app

import (
	"os"
	"runtime/debug"
	"runtime/metrics"
	"sync"
	"time"

	"chaperone.dev/chaperone/internal/reconcile"
)

// How early garbage is collected, in percent of what lives.
const (
	// gcAtRest collects four times as early as Go does by default. The daemon
	// rests most of the time, on some tens of MiB of live objects, and the memory
	// between collections is what the pod has to be given.
	gcAtRest = 25
	// gcAtLeast and gcAtMost are for work, on very much and on next to nothing.
	gcAtLeast, gcAtMost = 50, 400
	// workingGarbage is how much may lie about while a release is under way: many
	// times what lives passes through then, and every collection takes processor
	// time that the API server next door could use. Twice as much saves 5 % of the
	// daemon's own, and leaves what stays scattered over 10 MiB more.
	workingGarbage = 16 << 20 // bytes
)

// pace is how early garbage is collected: early at rest, and by what lives
// while something is under way. It is for a process that is the daemon and
// nothing else, and whose user has not chosen with GOGC.
type pace struct {
	live func() uint64 // bytes found alive by the last collection
	set  func(percent int)

	percent int
}

func newPace(alone bool) *pace {
	if !alone || os.Getenv("GOGC") != "" {
		return nil
	}
	p := &pace{live: liveHeap, set: func(percent int) { debug.SetGCPercent(percent) }}
	p.follow(false)
	return p
}

func liveHeap() uint64 {
	sample := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
	metrics.Read(sample)
	if sample[0].Value.Kind() != metrics.KindUint64 {
		return 0
	}
	return sample[0].Value.Uint64()
}

// follow sets the pace, unless it is about what it should be: setting it stops
// the program for a moment.
func (p *pace) follow(busy bool) {
	if p == nil {
		return
	}
	wanted := gcAtRest
	if busy {
		wanted = int(min(max(workingGarbage*100/max(p.live(), 1), gcAtLeast), gcAtMost))
	}
	const about = 20 // percent
	if off := wanted - p.percent; p.percent == 0 || busy && max(off, -off)*100 > about*p.percent || !busy && off != 0 {
		p.percent = wanted
		p.set(wanted)
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
	pace  *pace

	mu    sync.Mutex
	busy  bool        // something was under way since memory was given back
	timer *time.Timer // runs while nothing is under way after that
}

func newTidy(alone bool) *tidy {
	return &tidy{after: tidyAfter, free: debug.FreeOSMemory, pace: newPace(alone)}
}

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
		t.pace.follow(true)
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
	if wanted {
		t.pace.follow(false)
	}
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

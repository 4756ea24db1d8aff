package e2e

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"

	"chaperone.dev/chaperone/internal/promotion"
	"chaperone.dev/chaperone/internal/reconcile"
	"chaperone.dev/chaperone/internal/state"
)

// moment is when in a request to the API server the daemon dies.
type moment int

const (
	alive  moment = iota // not at this one
	before               // the server does not get it
	after                // the server has done it, and the daemon does not know
)

// mortal is a daemon that is killed and started again, with the same settings
// and the same cache.
type mortal struct {
	*world
	settings map[string]string
	process  atomic.Pointer[process]
}

func (w *world) mortal(change ...map[string]string) *mortal {
	w.Helper()
	merged := map[string]string{}
	for _, c := range change {
		maps.Copy(merged, c)
	}
	m := &mortal{world: w, settings: w.settings(merged)}
	m.revive()
	return m
}

// revive starts it. What it is doomed to is its own to set, before or after.
func (m *mortal) revive() {
	m.Helper()
	m.process.Store(m.spawn(m.settings))
}

// die is kill -9 now.
func (m *mortal) die() { m.process.Load().kill() }

// doom has it killed at the first request of which when says so. wait returns
// once it is dead.
func (m *mortal) doom(what string, when func(call) moment) (wait func()) {
	dead := make(chan struct{})
	kill := func() { m.die(); close(dead) }
	m.api.set(once(func(c call) fate {
		switch when(c) {
		case before:
			return fate{lose: true, then: kill}
		case after:
			return fate{lose: true, sent: true, then: kill}
		}
		return fate{}
	}))
	return func() {
		m.Helper()
		m.awaitDone("the daemon to die "+what, dead)
	}
}

// awaitDone waits until a channel is closed.
func (w *world) awaitDone(what string, done <-chan struct{}) {
	w.Helper()
	w.await(what, func() bool {
		select {
		case <-done:
			return true
		default:
			return false
		}
	})
}

// awaitSeen waits until a daemon knows the newest commit.
func (w *world) awaitSeen(p *process) {
	w.Helper()
	seen := `"msg":"new head","revision":"` + string(w.head())
	w.await("the newest commit to be seen", func() bool { return contains(p.log, seen) })
}

// reborn is a daemon that was killed and has looked at everything again.
func (m *mortal) reborn() {
	m.Helper()
	m.die()
	m.revive()
	m.awaitSeen(m.process.Load())
}

// doomInPush has it killed in the middle of the next push: with before the
// branches have not moved and do not move, with after they have, and the daemon
// has not heard of it.
func (m *mortal) doomInPush(at moment) (wait func()) {
	m.Helper()
	hook, dir := filepath.Join(m.repo.Dir, "hooks", "post-receive"), m.TempDir()
	script := "exit 0"
	if at == before {
		hook, script = filepath.Join(m.repo.Dir, "hooks", "pre-receive"), "exit 1"
	}
	arrived, dead := filepath.Join(dir, "arrived"), filepath.Join(dir, "dead")
	body := fmt.Sprintf("#!/bin/sh\ntouch '%s'\ni=0\nwhile [ ! -e '%s' ] && [ $i -lt 4000 ]; do sleep 0.05; i=$((i+1)); done\n%s\n", arrived, dead, script)
	if err := os.WriteFile(hook+".new", []byte(body), 0o755); err != nil {
		m.Fatal(err)
	}
	if err := os.Rename(hook+".new", hook); err != nil {
		m.Fatal(err)
	}
	there := func(file string) bool { _, err := os.Stat(file); return err == nil }
	return func() {
		m.Helper()
		m.await("a push", func() bool { return there(arrived) })
		m.die()
		if err := os.Remove(hook); err != nil {
			m.Fatal(err)
		}
		write(m, dead, "")
	}
}

// journaled is the moment at which a journal of a kind is stored for an
// environment.
func journaled(id promotion.ID, at moment, is func(reconcile.Journal) bool) func(call) moment {
	return func(c call) moment {
		if journal, stored := c.stored(state.ObjectName(id)); stored && is(journal) {
			return at
		}
		return alive
	}
}

// staged is the moment at which an attempt comes to a stage.
func staged(id promotion.ID, at moment, stage reconcile.Stage) func(call) moment {
	return journaled(id, at, func(j reconcile.Journal) bool { return j.Attempt.Stage == stage })
}

// changing is the moment at which an object of a kind is changed in an
// environment; name is the beginning of its name.
func (w *world) changing(id promotion.ID, at moment, resource, name string) func(call) moment {
	namespace := w.namespaces[id.String()]
	return func(c call) moment {
		if c.changes(namespace, resource+"/"+name) {
			return at
		}
		return alive
	}
}

// quiet is how long to look whether nothing happens: several polls.
const quiet = 2500 * time.Millisecond

// untouched makes sure that for a while nothing is changed in an environment's
// namespace, and nothing pushed, however busy the daemon is.
func (m *mortal) untouched(id promotion.ID) {
	m.Helper()
	m.untouchedUntil(id, time.Now().Add(quiet))
}

func (m *mortal) untouchedUntil(id promotion.ID, until time.Time) {
	m.Helper()
	for first := m.standing(id); ; time.Sleep(100 * time.Millisecond) {
		now := m.standing(id)
		if time.Now().After(until) {
			return // what is seen now may have happened after the end
		}
		if now != first {
			m.Fatalf("%s was touched: before %+v, now %+v\n%s", id, first, now, m.scene())
		}
	}
}

// standing is all that a release of an environment changes in the world.
type standing struct {
	changes int    // asked for by the daemon, in the namespace
	refs    string // of the repository
	objects string // UIDs
	runs    string
}

func (m *mortal) standing(id promotion.ID) standing {
	m.Helper()
	return standing{m.api.changesIn(m.namespaces[id.String()]), m.refs(), m.uids(id), m.runs(id)}
}

// kept makes sure of what was there before a test began to hurt.
func (w *world) kept(what string, before, after any) {
	w.Helper()
	if fmt.Sprint(before) != fmt.Sprint(after) {
		w.Errorf("%s: was %v, is %v\n%s", what, before, after, w.scene())
	}
}

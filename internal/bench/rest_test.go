package bench

import (
	"fmt"
	"testing"
	"time"
)

// BenchmarkUnchanged measures what it costs that nothing is to be done: polls,
// a commit that no environment reads anything of, and a restart.
func BenchmarkUnchanged(b *testing.B) {
	for _, c := range sizes[1:] {
		environments, each := c.environments, size(c.each)
		if smoke() {
			environments = min(environments, 2)
		}
		b.Run(fmt.Sprintf("%d-in-%d", c.environments*c.each, c.environments), func(b *testing.B) {
			g := newGround(b)
			w := g.deployed(environments, each)
			s := newSamples()
			to := results.section("nothing changed: %d objects in %d environments, %d rounds", w.objects(), environments, rounds())
			commits := 0
			for b.Loop() {
				for range rounds() {
					commits++
					w.polls(s, to)
					w.idleCommit(s, to, commits)
					w.restart(s, to)
				}
			}
			s.report(b, to)
		})
	}
}

const while = 3 * time.Second // for what a commit brings

// spell is one of plain polls, one a second.
func spell() time.Duration {
	if smoke() {
		return 2 * time.Second
	}
	return 10 * time.Second
}

// polls is a spell in which nothing happens.
func (w *world) polls(s *samples, to *section) {
	w.Helper()
	quiet(w, w.daemon.pid())
	w.calm()
	before := requestsSoFar(w, w.client)
	cpu, server, rendered := cpuOf(w, w.daemon.pid()), cpuOf(w, w.cluster.PID), w.daemon.ran("render")
	time.Sleep(spell())
	s.add("poll-cpu-ms", (cpuOf(w, w.daemon.pid())-cpu).Seconds()*1000/spell().Seconds())
	s.add("poll-server-cpu-ms", (cpuOf(w, w.cluster.PID)-server).Seconds()*1000/spell().Seconds())
	requests := requestsSoFar(w, w.client).since(before)
	s.add("poll-requests", float64(requests.of(released).total()))
	s.add("poll-renders", float64(w.daemon.ran("render")-rendered))
	if len(s.values["poll-cpu-ms"]) == 1 {
		to.say("in %s of polls: %s; for itself: %s", spell(), requests.of(released), requests.of(own))
	}
}

// idleCommit is one that touches no closure.
func (w *world) idleCommit(s *samples, to *section, n int) {
	w.Helper()
	before := requestsSoFar(w, w.client)
	cpu, rendered := cpuOf(w, w.daemon.pid()), w.daemon.spent("render")
	head := w.push("readme", map[string]string{"README.md": fmt.Sprintf("# Version %d\n", n)})
	w.daemon.followed(head)
	time.Sleep(while)
	quiet(w, w.daemon.pid())
	s.took("commit-cpu-s", cpuOf(w, w.daemon.pid())-cpu)
	s.took("commit-render-s", w.daemon.spent("render")-rendered)
	requests := requestsSoFar(w, w.client).since(before)
	s.add("commit-requests", float64(requests.of(released).total()))
	s.add("commit-own-requests", float64(requests.of(own).total()-requests.of([]string{"leases"}).total()))
	if len(s.values["commit-cpu-s"]) == 1 {
		to.say("of a commit that touches nothing: %s; for itself: %s", requests.of(released), requests.of(own))
	}
}

// restart is a rolling update's: what the daemon asks until it is at rest again.
func (w *world) restart(s *samples, to *section) {
	w.Helper()
	before := requestsSoFar(w, w.client)
	server := cpuOf(w, w.cluster.PID)
	w.daemon.stop()
	w.start()
	w.daemon.followed(w.repo.Head(w, "main"))
	time.Sleep(while)
	quiet(w, w.daemon.pid())
	s.took("restart-cpu-s", cpuOf(w, w.daemon.pid()))
	s.took("restart-server-cpu-s", cpuOf(w, w.cluster.PID)-server)
	requests := requestsSoFar(w, w.client).since(before)
	s.add("restart-lists/environment", float64(requests.of(released).verb("LIST"))/float64(len(w.spaces)))
	s.add("restart-requests", float64(requests.of(released).total()))
	s.resident(w, "restart-")
	if len(s.values["restart-cpu-s"]) == 1 {
		to.say("of a restart: %s; for itself: %s", requests.of(released), requests.of(own))
	}
}

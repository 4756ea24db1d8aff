package bench

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"

	"chaperone.dev/chaperone/internal/manifest"
)

// deadline is the failed release's own: no verdict can come before it is over.
const deadline = 3 * time.Second

// broken is what never gets ready, among objects that all have changed.
func broken(stamp string) string {
	return strings.Replace(strings.Replace(app(0, stamp), "replicas: 0", fmt.Sprintf("replicas: 1\n  progressDeadlineSeconds: %d", int(deadline.Seconds())), 1),
		image, "registry.example.org/bench/api:never-ready", 1)
}

// BenchmarkRecovery measures the way back: from the apply of a release of which
// one part never gets ready to the verdict, from there to last good on the
// cluster again, and to the revert on the branch. Each stands beside its floor:
// the release's own deadline, a bare apply of the same objects, a commit.
func BenchmarkRecovery(b *testing.B) {
	for _, each := range []int{100, 1000} {
		b.Run(fmt.Sprint(each), func(b *testing.B) {
			g := newGround(b)
			w := g.deployed(1, size(each))
			s := newSamples()
			to := results.section("recovery: %d objects changed, and one of them never ready, %d rounds", w.objects(), rounds())
			bare := g.namespaces(1)[0]
			g.bare(decoded(g, bare, w.size, "first"))
			fails := 0
			for b.Loop() {
				for range rounds() {
					fails++
					w.recovers(s, bare, fmt.Sprint("bad-", fails))
				}
			}
			s.report(b, to)
			to.say("last good again %.1f times a bare apply", s.median("good-again-s")/s.median("bare-apply-s"))
			to.say("the verdict %.1f s after the deadline of %s", s.median("verdict-s")-deadline.Seconds(), deadline)
		})
	}
}

func (w *world) recovers(s *samples, bare, stamp string) {
	w.Helper()
	files := map[string]string{}
	for i := range w.size / perApp {
		files[appFile(overlayPath(0), i)] = app(i, stamp)
	}
	files[appFile(overlayPath(0), 0)] = broken(stamp)
	committed := time.Now()
	bad := w.push(stamp, files)
	s.took("commit-s", time.Since(committed))
	again := w.watchAgain(stamp)
	w.daemon.await("the revert of "+stamp, patience, func([]event) bool { return !w.daemon.steps(bad)["end revert"].IsZero() })
	at, failed := w.daemon.steps(bad), w.failed(bad)
	s.took("verdict-s", failed.Sub(at["end apply"]))
	s.took("good-again-s", again().Sub(failed))
	s.took("restore-s", at["end restore"].Sub(at["begin restore"]))
	s.took("reverted-s", at["end revert"].Sub(failed))
	s.took("revert-s", at["end revert"].Sub(at["begin revert"]))
	began := time.Now()
	w.bare(decoded(w, bare, w.size, stamp))
	s.took("bare-apply-s", time.Since(began))
	w.calm()
}

// watchAgain waits for the release, and gives what waits for last good after it.
func (w *world) watchAgain(stamp string) func() time.Time {
	w.Helper()
	w.watch.await(w, patience, w.objects(), stamp, w.spaces...)
	return func() time.Time { return w.watch.await(w, patience, w.objects(), "first", w.spaces...) }
}

// failed is when the verdict on a commit was given.
func (w *world) failed(revision string) (at time.Time) {
	w.daemon.mu.Lock()
	defer w.daemon.mu.Unlock()
	for _, e := range w.daemon.events {
		if e.Msg == "end" && e.Action == "verify" && e.Revision == revision && e.Outcome == "failed" {
			return e.Time
		}
	}
	w.Fatalf("no verdict on %s", revision)
	return at
}

// bare applies and does nothing else, not even a dry run.
func (g *ground) bare(objects []*manifest.Object) {
	g.Helper()
	config := rest.CopyConfig(g.cluster.Config())
	config.QPS = -1
	client, err := dynamic.NewForConfig(config)
	if err != nil {
		g.Fatal(err)
	}
	if err := applyAll(g.Context(), client, objects, workersOf, nil); err != nil {
		g.Fatal(err)
	}
}

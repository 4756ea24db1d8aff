package bench

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"chaperone.dev/chaperone/internal/manifest"
	"chaperone.dev/chaperone/internal/render"
	"chaperone.dev/chaperone/internal/source/worktree"
)

const patience = 5 * time.Minute

// BenchmarkCold measures a first release: commit to everything applied, and to
// everything verified and pruned.
func BenchmarkCold(b *testing.B) {
	for _, c := range []struct{ environments, each int }{{1, 500}, {20, 100}, {1, 2000}} {
		environments, each := c.environments, size(c.each)
		if smoke() {
			if environments = min(environments, 3); c.each > 500 {
				continue // it would be of the same size as the first
			}
		}
		b.Run(fmt.Sprintf("%d-in-%d", c.environments*c.each, c.environments), func(b *testing.B) {
			s := newSamples()
			to := results.section("cold: %d objects in %d environments, %d rounds, floor with %d workers", environments*each, environments,
				rounds(), floorWorkers(environments))
			for b.Loop() {
				for range rounds() {
					cold(b, s, to, environments, each)
				}
			}
			s.report(b, to)
		})
	}
}

// coldFloor is the floor's turn, on a cluster of its own: a second floor on the same
// cluster costs the API server 4 to 17 % more than the first, for all that is there
// by then.
func coldFloor(b *testing.B, environments, each int) measured {
	b.Helper()
	g := newGround(b)
	defer g.end()
	spaces := g.namespaces(environments)
	return g.measure(func() time.Time {
		var all []*manifest.Object
		for _, namespace := range spaces {
			all = append(all, decoded(g, namespace, each, "one")...)
		}
		floor(g, g.cluster.Config(), all, floorWorkers(environments))
		return g.watch.await(g, patience, len(all), "one", spaces...)
	})
}

// cold is one round: the floor's turn, then the daemon's.
func cold(b *testing.B, s *samples, to *section, environments, each int) {
	b.Helper()
	theirs := coldFloor(b, environments, each)
	g := newGround(b)
	defer g.end()
	spaces := g.namespaces(environments)
	w := g.newWorld()
	files := w.fill(spaces, each, "one")
	rendering := renderTime(g, files, environments)
	var finished time.Time
	var head string
	ours := g.measure(func() time.Time {
		w.door.expect()
		head = w.push("everything", files)
		applied := g.watch.await(g, patience, w.objects(), "one", spaces...)
		finished = w.daemon.settled(head, environments, patience)
		return applied
	})
	asked := w.door.asked()
	applied := ours.until.Sub(asked)
	s.took("applied-s", applied)
	s.took("finished-s", finished.Sub(asked))
	s.took("floor-s", theirs.until.Sub(theirs.began))
	s.took("render-s", rendering)
	s.add("x-floor", (applied-rendering).Seconds()/theirs.until.Sub(theirs.began).Seconds())
	s.path(w, head, asked)
	s.add("requests/object", float64(ours.requests.of(released).total())/float64(w.objects()))
	s.add("floor-requests/object", float64(theirs.requests.of(released).total())/float64(w.objects()))
	s.add("own-requests", float64(ours.requests.of(own).total()))
	s.add("server-cpu-ms/object", ours.cpu.Seconds()*1000/float64(w.objects()))
	s.add("floor-server-cpu-ms/object", theirs.cpu.Seconds()*1000/float64(w.objects()))
	s.add("server-cpu-x", ours.cpu.Seconds()/theirs.cpu.Seconds())
	s.took("daemon-cpu-s", cpuOf(g, w.daemon.pid()))
	s.resident(w, "")
	if len(s.values["applied-s"]) == 1 {
		to.say("requests: %s", ours.requests.of(released))
		to.say("of the floor: %s", theirs.requests.of(released))
		to.say("for itself: %s", ours.requests.of(own))
		to.say("beside: %s", ours.requests.others())
		to.say("beside the floor: %s", theirs.requests.others())
	}
	w.daemon.stop()
}

// path tells how long after the poll each step of a commit's way came.
func (s *samples) path(w *world, head string, asked time.Time) {
	s.took("  head-s", w.daemon.followed(head).Sub(asked))
	steps := w.daemon.steps(head)
	for _, name := range []string{"begin apply", "end apply", "begin verify", "end verify", "end prune"} {
		if at, found := steps[name]; found {
			s.took("  "+name+"-s", at.Sub(asked))
		}
	}
}

// measured is what something cost the API server.
type measured struct {
	began, until time.Time // all applied
	requests     counts
	cpu          time.Duration // until the cluster's own controllers are done, too
}

func (g *ground) measure(do func() time.Time) measured {
	g.Helper()
	before := requestsSoFar(g, g.client)
	g.calm()
	cpu := cpuOf(g, g.cluster.PID)
	m := measured{began: time.Now()}
	m.until = do()
	g.calm()
	m.cpu = cpuOf(g, g.cluster.PID) - cpu
	m.requests = requestsSoFar(g, g.client).since(before)
	return m
}

// renderTime is what rendering alone takes, of environments side by side.
func renderTime(tb testing.TB, files map[string]string, environments int) time.Duration {
	tb.Helper()
	dir := tb.TempDir()
	for name, content := range files {
		file := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			tb.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
			tb.Fatal(err)
		}
	}
	snapshot, err := worktree.Open(dir)
	if err != nil {
		tb.Fatal(err)
	}
	defer snapshot.Close()
	const workers = 4 // as many as the daemon has by default
	began := time.Now()
	renderer := render.New(render.DefaultLimits())
	group, ctx := errgroup.WithContext(tb.Context())
	group.SetLimit(workers)
	for i := range environments {
		group.Go(func() error { return renderOne(ctx, renderer, snapshot, overlayPath(i)) })
	}
	if err := group.Wait(); err != nil {
		tb.Fatal(err)
	}
	return time.Since(began)
}

func renderOne(ctx context.Context, renderer *render.Renderer, snapshot *worktree.Snapshot, path string) error {
	_, err := renderer.Render(ctx, snapshot, path)
	return err
}

package bench

import (
	"context"
	"testing"
	"time"

	"chaperone.dev/chaperone/internal/cluster"
	"chaperone.dev/chaperone/internal/manifest"
	"chaperone.dev/chaperone/internal/promotion"
)

// auditPause is what the daemon leaves between two objects.
const auditPause = 50 * time.Millisecond

// BenchmarkAudit measures the dry run of everything that is applied: as fast as
// it goes, which is its cost, and how much of the API server's time that is at
// the daemon's own pace.
func BenchmarkAudit(b *testing.B) {
	g := newGround(b)
	w := g.deployed(1, size(500))
	w.daemon.stop()
	set, err := manifest.NewSet(decoded(b, w.spaces[0], w.size, "first"))
	if err != nil {
		b.Fatal(err)
	}
	on, err := cluster.Connect(g.cluster.Config(), cluster.Options{})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(on.Close)
	owner := cluster.OwnerOf(promotion.Environment{
		ID: promotion.ID{Pipeline: "bench", Name: environment(0)}, Target: promotion.Target{Namespace: w.spaces[0]},
	})
	g.follow(on, owner, set)
	s := newSamples()
	to := results.section("audit: %d objects in one environment, %d rounds", w.objects(), rounds())
	for b.Loop() {
		for range rounds() {
			g.audit(s, on, owner, set)
		}
	}
	s.add("share-of-server", s.median("server-cpu-ms/object")/float64(auditPause.Milliseconds()))
	s.report(b, to)
}

// follow watches what an environment owns, until that is known.
func (g *ground) follow(on *cluster.Cluster, owner cluster.Owner, set manifest.Set) {
	g.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = on.Watch(ctx, owner, func(manifest.ID) {}) // it ends with ctx
	}()
	g.Cleanup(func() { cancel(); <-ended })
	for end := time.Now().Add(time.Minute); ; time.Sleep(100 * time.Millisecond) {
		found, err := on.Audit(g.Context(), owner, set, 0)
		if err == nil && found.Tried == set.Len() {
			return
		}
		if time.Now().After(end) {
			g.Fatalf("audited %d of %d objects: %v", found.Tried, set.Len(), err)
		}
	}
}

func (g *ground) audit(s *samples, on *cluster.Cluster, owner cluster.Owner, set manifest.Set) {
	g.Helper()
	var found cluster.Audited
	m := g.measure(func() time.Time {
		var err error
		if found, err = on.Audit(g.Context(), owner, set, 0); err != nil {
			g.Fatal(err)
		}
		return time.Now()
	})
	if found.Tried != set.Len() || len(found.Differ)+len(found.Altered)+len(found.Rejected) > 0 {
		g.Fatalf("audit of what was just applied: %+v", found)
	}
	s.took("audit-s", m.until.Sub(m.began))
	s.add("requests/object", float64(m.requests.of(released).total())/float64(set.Len()))
	s.add("server-cpu-ms/object", m.cpu.Seconds()*1000/float64(set.Len()))
}

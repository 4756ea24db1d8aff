package bench

import (
	"fmt"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// sizes are environments and objects of each, for what must not depend on them.
var sizes = []struct{ environments, each int }{{1, 100}, {20, 100}, {1, 2000}}

// deployed is a world with everything applied, verified and at rest.
func (g *ground) deployed(environments, each int, change ...map[string]string) *world {
	g.Helper()
	w := g.newWorld()
	files := w.fill(g.namespaces(environments), each, "first")
	for _, c := range change {
		for name, content := range c {
			files[name] = strings.ReplaceAll(content, "NAMESPACE", w.spaces[0])
		}
	}
	head := w.push("everything", files)
	g.watch.await(g, patience, w.objects(), "first", w.spaces...)
	w.daemon.settled(head, environments, patience)
	g.calm()
	quiet(g, w.daemon.pid())
	return w
}

// BenchmarkChange measures one changed object of many: commit to seen on the
// cluster, and to verified and pruned.
func BenchmarkChange(b *testing.B) {
	for _, c := range sizes {
		environments, each := c.environments, size(c.each)
		if smoke() {
			if environments = min(environments, 2); c.each > 100 {
				continue // it would be of the same size as the first
			}
		}
		b.Run(fmt.Sprintf("1-of-%d-in-%d", c.environments*c.each, c.environments), func(b *testing.B) {
			g := newGround(b)
			w := g.deployed(environments, each)
			s := newSamples()
			to := results.section("change: 1 of %d objects in %d environments, %d rounds", w.objects(), environments, rounds())
			changes := 0
			for b.Loop() {
				for range rounds() {
					changes++
					w.change(s, to, fmt.Sprint("change-", changes))
				}
			}
			s.report(b, to)
		})
	}
}

// change is one round: one ConfigMap of the last environment.
func (w *world) change(s *samples, to *section, stamp string) {
	w.Helper()
	at := len(w.spaces) - 1
	text := configMap("app-00000", stamp) + "---\n" + app(0, "first")[len(configMap("app-00000", "first"))+len("---\n"):]
	var finished time.Time
	var head string
	cpu := cpuOf(w, w.daemon.pid())
	rendered := w.daemon.spent("render")
	m := w.measure(func() time.Time {
		w.door.expect()
		head = w.push(stamp, map[string]string{appFile(overlayPath(at), 0): text})
		seen := w.watch.await(w, patience, 1, stamp, w.spaces[at])
		finished = w.daemon.settled(head, 1, patience)
		return seen
	})
	asked := w.door.asked()
	s.took("visible-s", m.until.Sub(asked))
	s.took("finished-s", finished.Sub(asked))
	s.took("render-s", w.daemon.spent("render")-rendered)
	s.path(w, head, asked)
	s.took("daemon-cpu-s", cpuOf(w, w.daemon.pid())-cpu)
	s.took("server-cpu-s", m.cpu)
	s.add("requests", float64(m.requests.of(released).total()))
	s.add("applies", float64(m.requests.of(released).verb("APPLY")+m.requests.of(released).verb("APPLY dry")))
	s.add("status-writes", float64(m.requests[request{"PUT", "environments/status"}]))
	s.add("own-requests", float64(m.requests.of(own).total()))
	if len(s.values["visible-s"]) == 1 {
		to.say("requests: %s", m.requests.of(released))
		to.say("for itself: %s", m.requests.of(own))
	}
}

// BenchmarkManualEdit measures drift: edited on the cluster to put back.
func BenchmarkManualEdit(b *testing.B) {
	g := newGround(b)
	w := g.deployed(1, size(500))
	s := newSamples()
	to := results.section("manual edit: 1 of %d objects, put back, %d rounds", w.objects(), 4*rounds())
	client := g.client.CoreV1().ConfigMaps(w.spaces[0])
	edits := 0
	for b.Loop() {
		for range 4 * rounds() {
			edits++
			name, stamp := fmt.Sprintf("app-%05d", edits%(w.size/perApp)), fmt.Sprint("edit-", edits)
			before := requestsSoFar(g, g.client)
			patch := fmt.Sprintf(`{"metadata":{"annotations":{%q:%q}},"data":{"stamp":"edited"}}`, stampKey, stamp)
			if _, err := client.Patch(b.Context(), name, types.MergePatchType, []byte(patch), metav1.PatchOptions{}); err != nil {
				b.Fatal(err)
			}
			began := time.Now()
			g.watch.await(g, patience, 1, stamp, w.spaces[0])
			corrected := g.watch.await(g, patience, w.objects(), "first", w.spaces[0])
			s.took("corrected-s", corrected.Sub(began))
			time.Sleep(2 * time.Second) // edits are apart, or they would be a fight
			s.add("requests", float64(requestsSoFar(g, g.client).since(before).of(released).total()-1))
		}
	}
	s.report(b, to)
	to.say("longest: %s s", number(s.most("corrected-s")))
}

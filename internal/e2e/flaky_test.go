package e2e

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"
)

// One request in seven fails, at random: refused with 429 or 5xx, lost on the
// way, or done with the answer lost. Releases are applied, verified and pruned
// all the same; nothing is reverted or blamed for it, and the server is not
// hammered.
func TestPitfall23_DaemonOnAFlakyServer(t *testing.T) {
	quick(t)
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	chance := rand.New(rand.NewPCG(seed, seed))
	w := newWorld(t, alone(), with("one"))
	asked, failed := 0, 0
	began := time.Now()
	w.api.set(func(call) fate { // one at a time
		asked++
		if chance.IntN(7) > 0 {
			return fate{}
		}
		failed++
		return []fate{{code: 429}, {code: 500}, {code: 503}, {code: 504}, {lose: true}, {lose: true, sent: true}}[chance.IntN(6)]
	})
	w.start()
	w.awaitRuns(development, w.first)
	next := w.push("add and drop", with("two", "three"), version("1.0.1"))
	w.awaitRuns(development, next)
	next = w.push("again", with("three", "four"), version("1.0.2"))
	w.awaitRuns(development, next)
	w.api.set(nil)
	rate := float64(asked) / time.Since(began).Seconds()
	t.Logf("%d of %d requests failed; %.1f a second", failed, asked, rate)
	if failed < 20 || rate > 60 {
		t.Errorf("%d of %d requests failed; %.1f a second", failed, asked, rate)
	}
	w.wantApp(development, "1.0.2")
	if len(w.reverts()) > 0 || len(w.record(development).Journal.Quarantine) > 0 {
		t.Errorf("the server's faults are blamed on commits: %v, %+v", w.reverts(), w.record(development).Journal)
	}
	if d := w.diff(development, 0); len(d.Changes) > 0 {
		t.Errorf("left undone: %+v", d)
	}
}

// with is a base that also holds some ConfigMaps.
func with(names ...string) map[string]string {
	text := ""
	for _, name := range names {
		text += fmt.Sprintf("---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: %s}\ndata: {a: b}\n", name)
	}
	return map[string]string{
		"base/demo/kustomization.yaml": kustomization("deployment.yaml", "service.yaml", "more.yaml"),
		"base/demo/more.yaml":          text,
	}
}

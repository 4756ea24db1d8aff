//go:build mutation

package sim

import (
	"os"
	"path/filepath"
	"regexp"
	"testing"

	"chaperone.dev/chaperone/internal/reconcile"
)

// TestMutationIsSeen takes each guard of the decision away in turn: then a
// scenario or a world by chance must fail. It shows what the simulation sees by
// itself, beside the walks and tables of package reconcile.
func TestMutationIsSeen(t *testing.T) {
	defer reconcile.TakeAway("")
	text, err := os.ReadFile("../reconcile/guards.go")
	if err != nil {
		t.Fatal(err)
	}
	guards := regexp.MustCompile(`guard = "([^"]+)"`).FindAllStringSubmatch(string(text), -1)
	if len(guards) < 20 {
		t.Fatalf("%d guards; want all of the list", len(guards))
	}
	paths, err := filepath.Glob("testdata/scenarios/*.txt")
	if err != nil {
		t.Fatal(err)
	}
	seeds, missed := number(t, "N", 60), 0
	for _, g := range guards {
		reconcile.TakeAway(g[1])
		if by := firstToFail(t, paths, seeds); by != "" {
			t.Logf("without %q: %s", g[1], by)
			continue
		}
		missed++
		t.Logf("without %q: nothing is seen", g[1])
	}
	t.Logf("%d of %d seen", len(guards)-missed, len(guards))
	if missed > len(guards)/5 {
		t.Errorf("%d of %d guards can be taken away unseen", missed, len(guards))
	}
}

// firstToFail names a scenario or a seed that fails.
func firstToFail(t *testing.T, paths []string, seeds uint64) string {
	t.Helper()
	for _, path := range paths {
		if o := Play(t, load(t, path), 1); o.Failed() {
			return filepath.Base(path) + ": " + kindOf(o)
		}
	}
	for seed := range seeds {
		sc, err := Random(seed)
		if err != nil {
			t.Fatal(err)
		}
		if o := Play(t, sc, seed); o.Failed() {
			return sc.Name + ": " + kindOf(o)
		}
	}
	return ""
}

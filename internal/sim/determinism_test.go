package sim

import (
	"fmt"
	"runtime"
	"testing"

	"chaperone.dev/chaperone/internal/testkit/racing"
)

// TestReplaysExactly: the same scenario and seed give the same trace, byte for
// byte, however many processors there are.
func TestReplaysExactly(t *testing.T) {
	seeds := uint64(12)
	if racing.Few() {
		seeds = 3
	}
	before := runtime.GOMAXPROCS(0)
	defer runtime.GOMAXPROCS(before)
	for seed := range seeds {
		sc, err := Random(1000 + seed)
		if err != nil {
			t.Fatal(err)
		}
		first := Play(t, sc, seed).Trace()
		for _, processors := range []int{1, 2, 4} {
			runtime.GOMAXPROCS(processors)
			if again := Play(t, sc, seed).Trace(); again != first {
				t.Fatalf("seed %d, %d processors: another trace:\n%s", 1000+seed, processors, difference(first, again))
			}
		}
	}
}

// TestSeedsDiffer: the seed is what decides.
func TestSeedsDiffer(t *testing.T) {
	t.Parallel()
	sc := load(t, "testdata/scenarios/mode_automatic.txt")
	if Play(t, sc, 7).Trace() == Play(t, sc, 8).Trace() {
		t.Error("two seeds give the same trace")
	}
}

// TestListedMishapsReplay: mishaps that came by chance, written out as lines,
// give the same run. That is what shrinking stands on.
func TestListedMishapsReplay(t *testing.T) {
	t.Parallel()
	met := 0
	for seed := uint64(1); seed <= 10; seed++ {
		sc, err := Random(seed)
		if err != nil {
			t.Fatal(err)
		}
		first := Play(t, sc, seed)
		listed := withListed(sc, first.mishaps)
		if listed == nil {
			t.Fatalf("seed %d: the mishaps cannot be written as lines", seed)
		}
		met += len(first.mishaps)
		if again := Play(t, listed, seed); again.Trace() != first.Trace() {
			t.Fatalf("seed %d: another trace:\n%s", seed, difference(first.Trace(), again.Trace()))
		}
	}
	if met == 0 {
		t.Error("no mishap came by chance; the test shows nothing")
	}
}

// difference shows the first lines that differ.
func difference(a, b string) string {
	at := 0
	for at < min(len(a), len(b)) && a[at] == b[at] {
		at++
	}
	cut := func(s string) string { return s[max(0, at-1500):min(len(s), at+500)] }
	return fmt.Sprintf("%s\n=== and ===\n%s", cut(a), cut(b))
}

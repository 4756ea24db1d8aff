package sim

import (
	"runtime"
	"testing"
)

// TestReplaysExactly: the same scenario and seed give the same trace, byte for
// byte, however many processors there are.
func TestReplaysExactly(t *testing.T) {
	sc := load(t, "testdata/scenarios/mode_automatic.txt")
	first := Play(t, sc, 7).Trace()
	for _, processors := range []int{1, 2, 4} {
		before := runtime.GOMAXPROCS(processors)
		again := Play(t, sc, 7).Trace()
		runtime.GOMAXPROCS(before)
		if again != first {
			t.Fatalf("with %d processors another trace:\n%s", processors, difference(first, again))
		}
	}
	if Play(t, sc, 8).Trace() == first {
		t.Error("another seed gives the same trace")
	}
}

// difference shows the first lines that differ.
func difference(a, b string) string {
	at := 0
	for at < min(len(a), len(b)) && a[at] == b[at] {
		at++
	}
	cut := func(s string) string { return s[max(0, at-1500):min(len(s), at+500)] }
	return cut(a) + "\n=== and ===\n" + cut(b)
}

// Package racing tells tests whether the race detector is on.
//
// It makes what computes much some ten times slower. What has nothing to race
// that other tests have not is left to the run of `make test` without it, which
// finds such tests by their asking here (see internal/lint).
package racing

import "testing"

// Without skips a test that only computes, and takes minutes with the detector.
func Without(t testing.TB) {
	t.Helper()
	if Few() {
		t.Skip("long: see `make test`")
	}
}

// Few reports whether to try less than the whole, for the same reason.
func Few() bool { return detector || testing.Short() }

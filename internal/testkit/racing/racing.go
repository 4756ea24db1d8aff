// Package racing tells tests whether the race detector is on.
//
// It makes what computes much some ten times slower. What has nothing to race
// that other tests have not is left to the runs of `make test` without it.
package racing

import "testing"

// Without skips a test that only computes, and takes minutes with the detector.
func Without(t testing.TB) {
	t.Helper()
	if Detector || testing.Short() {
		t.Skip("long: see `make test`")
	}
}

//go:build race

package reconcile

// raceDetector makes the walk some ten times slower, and there is nothing in
// it to race: most worlds are left to the run without it.
const raceDetector = true

//go:build race

package rego

// raceDetector makes judging some ten times slower, and there is nothing in it
// to race that other tests do not: most pods are left to the run without it.
const raceDetector = true

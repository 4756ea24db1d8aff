//go:build race

package racing

// Detector is on.
const Detector = true

//go:build !race

package racing

// Detector is off.
const Detector = false

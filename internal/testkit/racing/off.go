//go:build !race

package racing

// detector is off.
const detector = false

//go:build race

package racing

// detector is on.
const detector = true

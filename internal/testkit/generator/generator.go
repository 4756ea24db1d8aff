// Package generator makes rapid's generators fit for parallel tests.
package generator

import "pgregory.net/rapid"

// Shared returns a generator that tests may draw from at the same time. A generator
// of rapid writes its own name when it is first asked for it, and reads it, unguarded,
// at each draw: so the name is asked for here, before any test runs.
func Shared[V any](g *rapid.Generator[V]) *rapid.Generator[V] {
	_ = g.String()
	return g
}

package cluster

import (
	"context"

	"chaperone.dev/chaperone/internal/manifest"
	"chaperone.dev/chaperone/internal/plan"
)

// drifted compares with a release that is applied already.
func (f *fixture) drifted(set manifest.Set) ([]plan.Change, error) {
	return f.c.Drift(f.Context(), f.owner, func(context.Context) (manifest.Set, error) { return set, nil })
}

package cluster

import (
	"context"

	"chaperone.dev/chaperone/internal/manifest"
	"chaperone.dev/chaperone/internal/plan"
)

// drift compares with a release that is applied already.
func (f *fixture) drift(set manifest.Set) ([]plan.Change, error) {
	return f.c.Drift(f.Context(), f.owner, func(context.Context) (manifest.Set, error) { return set, nil })
}

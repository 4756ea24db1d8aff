package sim

import (
	"context"
	"fmt"
	"strings"

	"chaperone.dev/chaperone/internal/controller"
	"chaperone.dev/chaperone/internal/manifest"
	"chaperone.dev/chaperone/internal/promotion"
)

// Drill implements controller.Cluster. What is there already is tried as well.
func (p clusterPort) Drill(ctx context.Context, env promotion.Environment, good controller.LastGood) (controller.Drill, error) {
	set, err := good.Read(ctx)
	if err != nil {
		return controller.Drill{}, err
	}
	made, found := knownSet(set), controller.Drill{Tried: set.Len()}
	err = p.call(ctx, "Cluster.Drill", env.ID.String(), speedCluster, func() error {
		value, rule := p.s.clusters.refused[env.ID]
		for _, o := range made.set.Objects() {
			if at := manifest.IDOf(o); rule && strings.Contains(made.texts[at], fmt.Sprintf(`"value":%q`, value)) {
				found.Problem = fmt.Sprintf("%s: dry run: an admission rule refuses it", at)
			}
		}
		return p.reach(env)
	})
	return found, err
}

package sim

import (
	"fmt"
	"slices"

	"chaperone.dev/chaperone/internal/manifest"
	"chaperone.dev/chaperone/internal/promotion"
)

// guard refuses to delete everything, or too much at once.
func (p clusterPort) guard(env promotion.Environment, made *rendered) error {
	doomed, total := p.doomed(env, made)
	objects := p.s.clusters.on(env.Target.Kubeconfig)
	doomed = slices.DeleteFunc(doomed, func(at manifest.ID) bool { return objects[at].isCopy(at) })
	switch {
	case made.set.Len() == 0 && total > 0:
		return refusal(promotion.EmptyRender, fmt.Errorf("nothing was rendered, and %d objects are owned", total))
	case len(doomed) >= 5 && float64(len(doomed)) > env.MaxDeletePart*float64(total):
		return refusal(promotion.MassDeletion, fmt.Errorf("%d of %d owned objects would be deleted", len(doomed), total))
	}
	return nil
}

// doomed are the objects that a prune to a set would delete, of so many.
func (p clusterPort) doomed(env promotion.Environment, made *rendered) (doomed []manifest.ID, total int) {
	for at, object := range p.s.clusters.on(env.Target.Kubeconfig) {
		if object.owner != env.ID && !slices.Contains(env.Formerly, object.owner) {
			continue
		}
		copied := object.isCopy(at)
		if !copied {
			total++
		}
		if _, kept := made.texts[at]; !kept && (env.Prune || copied) && !manifest.KeptUnlessAllowed(at.GroupKind()) {
			doomed = append(doomed, at)
		}
	}
	slices.SortFunc(doomed, manifest.ID.Compare)
	return doomed, total
}

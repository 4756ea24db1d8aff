package plan

import (
	"chaperone.dev/chaperone/internal/manifest"
	"chaperone.dev/chaperone/internal/promotion"
)

// Foresee is what Prune will decide about the objects that one release has and
// the next has not, as far as manifests tell: what somebody did on the cluster
// meanwhile is not known. A refusal is of the whole release.
func Foresee(g Guards, from, to manifest.Set) ([]Change, *Refusal) {
	if to.Len() == 0 && from.Len() > 0 {
		return nil, &Refusal{Reason: promotion.EmptyRender, Text: "nothing is rendered; an empty render never deletes what runs"}
	}
	live := make(map[manifest.ID]*manifest.Object, from.Len())
	var owned, unwanted []Owned
	var changes []Change
	for _, o := range from.Objects() {
		if manifest.StageOf(o) == manifest.StageRollback {
			continue // applied by a restore only, and so owned by nobody
		}
		entry := Owned{ID: manifest.IDOf(o)}
		live[entry.ID], owned = o, append(owned, entry)
		if _, found := to.Get(entry.ID); found {
			continue
		}
		c := Change{ID: entry.ID, Action: Delete, Stage: manifest.StageOf(o)}
		if reason := protected(g, o); reason != "" {
			c.Action, c.Reason = Keep, reason
		}
		changes, unwanted = append(changes, c), append(unwanted, entry)
	}
	changes, refusal := guardShare(g, owned, keepHolders(owned, changes, live), live)
	return inReverse(changes, unwanted, live), refusal
}

// GuardsOf are the limits that an environment's file sets.
func GuardsOf(env promotion.Environment) Guards {
	return Guards{Prune: env.Prune, MaxDeletePart: env.MaxDeletePart, MaxDeletes: env.MaxDeletes, Protect: env.Protect}
}

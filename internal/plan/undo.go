package plan

import (
	"slices"

	"chaperone.dev/chaperone/internal/manifest"
)

// undo puts deletions in the reverse of the order in which their objects would
// be applied, and counts the waves: what is in one is deleted side by side.
// Custom resources whose definition is to go as well go first of all: what
// finalizes them is likely to go with it.
func undo(deletes []Change, unwanted []Owned, live map[manifest.ID]*manifest.Object) []Change {
	if len(deletes) == 0 {
		return deletes
	}
	for i, c := range deletes {
		deletes[i].Object = live[c.ID]
	}
	slices.SortFunc(deletes, func(a, b Change) int { return -a.ID.Compare(b.ID) })
	g, cyclic := ordered(deletes)
	if cyclic != nil { // no release had both annotations: they are of different ones
		g = stagesOnly(deletes)
	}
	g.customFirst(unwanted, live)
	return g.waves()
}

func (g *graph) customFirst(unwanted []Owned, live map[manifest.ID]*manifest.Object) {
	var crds []*manifest.Object
	for _, entry := range unwanted {
		if o := live[entry.ID]; o != nil && entry.GroupKind() == customResource {
			crds = append(crds, o)
		}
	}
	first := 1 + slices.Max(g.level)
	defined := Definitions(crds)
	for i, c := range g.changes {
		if defined[c.ID.GroupKind()] != nil {
			g.level[i] = first
		}
	}
}

func (g *graph) waves() []Change {
	dependents := make([][]int, len(g.after))
	for node, edges := range g.after {
		for _, e := range edges {
			dependents[e.from] = append(dependents[e.from], node)
		}
	}
	order := g.inStages()
	slices.Reverse(order)
	sorted := make([]Change, 0, len(g.changes))
	wave, last, in := 0, -1, map[int]int{}
	for _, node := range order {
		apart := last >= 0 && (g.level[node] != g.level[last] || g.stage(node) != g.stage(last))
		before := slices.ContainsFunc(dependents[node], func(d int) bool { return in[d] == wave && d != node })
		if _, begun := in[last]; begun && (apart || before) {
			wave++
		}
		in[node], last = wave, node
		if node < len(g.changes) {
			c := g.changes[node]
			c.Wave, c.Holders, c.Object = wave, g.holders(node, dependents[node]), nil
			sorted = append(sorted, c)
		}
	}
	return sorted
}

// holders are those that must be gone before an object is deleted: custom
// resources before their definition, and what depends on it by its own word.
func (g *graph) holders(node int, dependents []int) []manifest.ID {
	var ids []manifest.ID
	for _, d := range dependents {
		for _, e := range g.after[d] {
			holds := e.why == whyDefined || e.why == whyDepends || e.until == UntilAvailable
			if e.from == node && holds && d < len(g.changes) {
				ids = append(ids, g.changes[d].ID)
			}
		}
	}
	slices.SortFunc(ids, manifest.ID.Compare)
	return ids
}

// stagesOnly is a graph without the order that objects ask for.
func stagesOnly(changes []Change) *graph {
	g := newGraph(changes)
	for node, edges := range g.after {
		g.after[node] = slices.DeleteFunc(edges, func(e edge) bool { return e.why == whyDepends })
	}
	g.asked = false
	g.levels(g.sorted(g.all()))
	return g
}

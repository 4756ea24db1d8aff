package plan

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/runtime/schema"

	"chaperone.dev/chaperone/internal/manifest"
)

// Until is what an object must be before what depends on it may follow.
type Until string

// What is waited for.
const (
	UntilApplied   Until = "applied"
	UntilActive    Until = "active"    // a Namespace
	UntilServed    Until = "served"    // a CRD: established, and found by discovery
	UntilAvailable Until = "available" // an APIService
	UntilReady     Until = "ready"     // healthy, by its own status
	UntilComplete  Until = "complete"  // a hook
)

// Why something comes after something else, where a rule goes by it.
const (
	whyIn      = "is in"
	whyDefined = "is defined by"
	whyDepends = "depends on"
	whyServed  = "is served by"
)

// edge says that something comes after something else.
type edge struct {
	from  int // a node
	until Until
	why   string // as in "A <why> B", where B comes first
}

// graph holds what comes before what. Its first nodes are the changes of a
// plan; the few after them stand for "all the pre-deploy hooks" and the like,
// so that the edges do not grow with the square of the objects.
type graph struct {
	changes []Change
	index   map[manifest.ID]int
	after   [][]edge                    // by node
	beyond  []beyond                    // the nodes beyond the changes
	level   []int                       // by node, see levels
	asked   bool                        // an object asks for an order by itself
	plural  map[schema.GroupKind]string // of the kinds that the release defines
}

// beyond is a node that is no change.
type beyond struct {
	name  string
	stage manifest.Stage
}

func newGraph(changes []Change) *graph {
	g := &graph{changes: changes, index: make(map[manifest.ID]int, len(changes)), after: make([][]edge, len(changes), len(changes)+8)}
	for i, c := range changes {
		g.index[c.ID] = i
	}
	g.hardEdges()
	return g
}

func (g *graph) node(stage manifest.Stage, name string) int {
	g.after = append(g.after, nil)
	g.beyond = append(g.beyond, beyond{name, stage})
	return len(g.after) - 1
}

func (g *graph) add(node, from int, until Until, why string) {
	if node != from {
		g.after[node] = append(g.after[node], edge{from, until, why})
	}
}

// addID adds an edge where the other object is part of the release.
func (g *graph) addID(node int, id manifest.ID, until Until, why string) {
	if from, found := g.index[id]; found {
		g.add(node, from, until, why)
	}
}

func (g *graph) stage(node int) manifest.Stage {
	if node < len(g.changes) {
		return g.changes[node].Stage
	}
	return g.beyond[node-len(g.changes)].stage
}

func (g *graph) name(node int) string {
	if node < len(g.changes) {
		return g.changes[node].ID.String()
	}
	return g.beyond[node-len(g.changes)].name
}

// hardEdges are those without which the API server refuses an object, or which
// the object itself asks for.
func (g *graph) hardEdges() {
	crds := definitionsOf(g.changes)
	for i, c := range g.changes {
		if c.ID.Namespace != "" {
			g.addID(i, manifest.ID{Kind: "Namespace", Name: c.ID.Namespace}, UntilActive, whyIn)
		}
		if crd, defined := crds[c.ID.GroupKind()]; defined {
			g.addID(i, manifest.IDOf(crd), UntilServed, whyDefined)
		}
		if IsBinding(c.ID.GroupKind()) {
			role, _ := roleOf(c.Object)
			g.addID(i, role, UntilApplied, "binds")
		}
		ids, err := dependsOn(c.Object)
		if err != nil {
			continue // refused by Build
		}
		for _, id := range ids {
			g.asked = true
			if from, found := g.index[id]; found {
				g.add(i, from, readyAs(g.changes[from]), whyDepends)
			}
		}
	}
	g.hookEdges()
}

// readyAs is when an object that another depends on is ready.
func readyAs(c Change) Until {
	switch {
	case c.Reason == ReasonCompleted:
		return UntilApplied // it has run, and has gone by itself
	case IsHook(c.Object):
		return UntilComplete
	case isNamespace(c.ID):
		return UntilActive
	case c.ID.GroupKind() == customResource:
		return UntilServed
	case c.ID.GroupKind() == apiService:
		return UntilAvailable
	}
	return UntilReady
}

// hookEdges put the pre-deploy hooks before the workloads, and everything
// before the post-deploy hooks. What a hook needs that is no Job itself is there
// before the hook's Jobs.
func (g *graph) hookEdges() {
	pre := g.hookStage(manifest.StagePreDeploy, -1)
	others := -1
	if g.has(manifest.StagePostDeploy) {
		others = g.node(manifest.StagePostDeploy, "everything before the post-deploy hooks")
		if pre >= 0 {
			g.add(others, pre, UntilApplied, "includes")
		}
	}
	for i, c := range g.changes {
		switch {
		case c.Stage == manifest.StagePostDeploy:
			continue
		case pre >= 0 && (c.Stage == manifest.StageWorkload || c.Stage == manifest.StageWebhook):
			g.add(i, pre, UntilApplied, "comes after")
		}
		if others >= 0 {
			g.add(others, i, UntilApplied, "includes")
		}
	}
	if others >= 0 {
		g.hookStage(manifest.StagePostDeploy, others)
	}
}

func (g *graph) has(stage manifest.Stage) bool {
	return slices.ContainsFunc(g.changes, func(c Change) bool { return c.Stage == stage })
}

// hookStage links the objects of a hook stage, and returns a node that is over
// when its hooks are complete, or -1 where there is nothing in the stage.
func (g *graph) hookStage(stage manifest.Stage, before int) int {
	if !g.has(stage) {
		return -1
	}
	aids := g.node(stage, "what the "+stage.String()+" hooks come with")
	all := g.node(stage, "the "+stage.String()+" hooks")
	for i, c := range g.changes {
		if c.Stage != stage {
			continue
		}
		if before >= 0 {
			g.add(i, before, UntilApplied, "comes after")
		}
		if IsHook(c.Object) {
			g.add(i, aids, UntilApplied, "comes after")
			g.add(all, i, UntilComplete, "include")
		} else {
			g.add(aids, i, UntilApplied, "include")
		}
	}
	g.add(all, aids, UntilApplied, "include")
	g.orderHooks(stage)
	return all
}

// orderHooks puts the hooks of one order after those of the order before it.
func (g *graph) orderHooks(stage manifest.Stage) {
	hooks := map[int][]int{} // by order
	for i, c := range g.changes {
		if c.Stage == stage && IsHook(c.Object) {
			order, _ := hookOrder(c.Object) // what is wrong with it is refused by Build
			hooks[order] = append(hooks[order], i)
		}
	}
	if len(hooks) < 2 {
		return
	}
	before := -1
	for _, order := range slices.Sorted(maps.Keys(hooks)) {
		own := g.node(stage, fmt.Sprintf("the %s hooks of order %d", stage, order))
		for _, i := range hooks[order] {
			if before >= 0 {
				g.add(i, before, UntilApplied, "comes after")
			}
			g.add(own, i, UntilComplete, "include")
		}
		before = own
	}
}

// cycle finds nodes that wait for each other, each with the one that it waits for;
// none where there are none.
func (g *graph) cycle() []edge {
	const unseen, open, over = 0, 1, 2
	state := make([]int, len(g.after))
	var path []edge // from the start, each with what leads to it
	var visit func(node int) []edge
	visit = func(node int) []edge {
		state[node] = open
		for _, e := range g.after[node] {
			switch state[e.from] {
			case open:
				at := slices.IndexFunc(path, func(p edge) bool { return p.from == e.from })
				return append(slices.Clone(path[at+1:]), e)
			case unseen:
				path = append(path, e)
				if found := visit(e.from); found != nil {
					return found
				}
				path = path[:len(path)-1]
			}
		}
		state[node] = over
		return nil
	}
	for node := range g.after {
		if state[node] == unseen {
			path = append(path[:0], edge{from: node})
			if found := visit(node); found != nil {
				return found
			}
		}
	}
	return nil
}

// maxCycle bounds how many objects of a cycle are named.
const maxCycle = 12

// sentence says what cannot be, as "A depends on B, which is in A".
func (g *graph) sentence(cycle []edge) string {
	start := g.name(cycle[len(cycle)-1].from)
	var b strings.Builder
	b.WriteString(start)
	for i, e := range cycle {
		if i == maxCycle {
			b.WriteString(", and so on until " + start)
			break
		}
		if i > 0 {
			b.WriteString(", which")
		}
		b.WriteString(" " + e.why + " " + g.name(e.from))
	}
	return b.String()
}

// ancestors marks everything that comes before some nodes, and those nodes.
func (g *graph) ancestors(nodes ...int) []bool {
	marked := make([]bool, len(g.after))
	for len(nodes) > 0 {
		node := nodes[len(nodes)-1]
		nodes = nodes[:len(nodes)-1]
		if marked[node] {
			continue
		}
		marked[node] = true
		for _, e := range g.after[node] {
			if !marked[e.from] {
				nodes = append(nodes, e.from)
			}
		}
	}
	return marked
}

// levels gives every node its round. In a round, objects follow each other in
// the order of the stages. An object whose own stage is over when what it
// depends on is there comes a round later; what nothing of that depends on, and
// comes after it by its stage, waits for it: configuration stays before the
// workloads, except before those that it waits for itself.
func (g *graph) levels(order []int) {
	g.level = make([]int, len(g.after))
	g.settle(order)
	late := 0
	var those []int
	for i, c := range g.changes {
		if g.level[i] > 0 && c.Stage <= manifest.StageConfiguration {
			late = max(late, g.level[i])
			those = append(those, i)
		}
	}
	if late == 0 {
		return
	}
	needed := g.ancestors(those...)
	for _, stage := range []manifest.Stage{manifest.StageWorkload, manifest.StageWebhook} {
		for i, c := range g.changes {
			if c.Stage == stage && !needed[i] {
				g.level[i] = max(g.level[i], late)
			}
		}
		g.settle(order)
		for i, c := range g.changes {
			if c.Stage == stage {
				late = max(late, g.level[i])
			}
		}
	}
}

// settle raises levels until every edge is satisfied, from the nodes without
// dependencies on.
func (g *graph) settle(order []int) {
	for _, node := range order {
		for _, e := range g.after[node] {
			level := g.level[e.from]
			if g.stage(e.from) > g.stage(node) {
				level++
			}
			g.level[node] = max(g.level[node], level)
		}
	}
}

func (g *graph) all() []int {
	nodes := make([]int, len(g.after))
	for i := range nodes {
		nodes[i] = i
	}
	return nodes
}

// inStages are the nodes in the order by level, stage and place, dependencies first.
func (g *graph) inStages() []int {
	nodes := g.all()
	slices.SortStableFunc(nodes, func(a, b int) int {
		return cmp.Or(cmp.Compare(g.level[a], g.level[b]), cmp.Compare(g.stage(a), g.stage(b)))
	})
	return g.sorted(nodes)
}

// sorted are the given nodes, in their order but for dependencies, which come first.
func (g *graph) sorted(nodes []int) []int {
	order := make([]int, 0, len(g.after))
	seen := make([]bool, len(g.after))
	var visit func(node int)
	visit = func(node int) {
		if seen[node] {
			return
		}
		seen[node] = true
		for _, e := range g.after[node] {
			visit(e.from)
		}
		order = append(order, node)
	}
	for _, node := range nodes {
		visit(node)
	}
	return order
}

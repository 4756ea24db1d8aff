package promotion

import "slices"

// topological orders ids, which are sorted, so that each follows its edges. An
// edge that leads out of ids is passed over. Ids on a cycle are left out.
func topological(ids []ID, edges func(ID) []ID) []ID {
	waiting := make(map[ID]bool, len(ids))
	for _, id := range ids {
		waiting[id] = true
	}
	ordered := make([]ID, 0, len(ids))
	for {
		next := slices.IndexFunc(ids, func(id ID) bool {
			return waiting[id] && !slices.ContainsFunc(edges(id), func(up ID) bool { return waiting[up] })
		})
		if next < 0 {
			return ordered
		}
		waiting[ids[next]] = false
		ordered = append(ordered, ids[next])
	}
}

// cycle is one circle of edges among ids, which are sorted, such as a, b, a;
// nil when there is none. It starts at its smallest ID.
func cycle(ids []ID, edges func(ID) []ID) []ID {
	ordered := topological(ids, edges)
	if len(ordered) == len(ids) {
		return nil
	}
	// Every ID that is left has an edge to another that is left, or to itself:
	// following them must come back to where it has been.
	left := make(map[ID]bool, len(ids))
	for _, id := range ids {
		left[id] = !slices.Contains(ordered, id)
	}
	at := ids[slices.IndexFunc(ids, func(id ID) bool { return left[id] })]
	var path []ID
	for !slices.Contains(path, at) {
		path = append(path, at)
		ups := edges(at)
		at = ups[slices.IndexFunc(ups, func(up ID) bool { return left[up] })]
	}
	circle := path[slices.Index(path, at):]
	smallest := slices.Index(circle, slices.MinFunc(circle, ID.Compare))
	circle = append(slices.Clone(circle[smallest:]), circle[:smallest]...)
	return append(circle, circle[0])
}

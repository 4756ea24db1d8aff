package merge

// slide gives every group of changed lines the one place, among those that
// mean the same, that Git gives it: as far down as it goes, or else level with
// the last group of changes in the other text that it can stand level with.
// Groups that run into each other become one. Without this, two people who
// insert the same block would be seen to insert it at two places.
func slide(lines []int, own, other []bool) {
	g := &slider{lines: lines, own: group{flags: own}, other: group{flags: other}}
	g.own.init()
	g.other.init()
	for {
		if g.own.start < g.own.end {
			g.settle()
		}
		if !g.own.following() {
			return
		}
		g.other.following()
	}
}

// group is a run of changed lines, maybe empty, between two unchanged ones.
// The n-th group of one text stands level with the n-th of the other.
type group struct {
	flags      []bool
	start, end int
}

func (g *group) init() {
	for at(g.flags, g.end) {
		g.end++
	}
}

func (g *group) following() bool {
	if g.end >= len(g.flags) {
		return false
	}
	g.start = g.end + 1
	g.end = g.start
	g.init()
	return true
}

func (g *group) preceding() {
	if g.start == 0 {
		return
	}
	g.end = g.start - 1
	g.start = g.end
	g.growUp()
}

func (g *group) growUp() {
	for g.start > 0 && g.flags[g.start-1] {
		g.start--
	}
}

func (g *group) empty() bool { return g.start == g.end }

type slider struct {
	lines []int
	own   group
	other group
}

func (s *slider) settle() {
	level, highest := -1, 0
	for size := -1; size != s.own.end-s.own.start; {
		size = s.own.end - s.own.start
		level = -1
		for s.up() {
			s.other.preceding()
		}
		highest = s.own.end
		if !s.other.empty() {
			level = s.own.end
		}
		for s.down() {
			s.other.following()
			if !s.other.empty() {
				level = s.own.end
			}
		}
	}
	if s.own.end == highest || level < 0 {
		return
	}
	for s.other.empty() {
		if !s.up() {
			return
		}
		s.other.preceding()
	}
}

// up moves the group one line up where that leaves the same text.
func (s *slider) up() bool {
	g := &s.own
	if g.start == 0 || s.lines[g.start-1] != s.lines[g.end-1] {
		return false
	}
	g.start--
	g.end--
	g.flags[g.start], g.flags[g.end] = true, false
	g.growUp()
	return true
}

func (s *slider) down() bool {
	g := &s.own
	if g.end >= len(g.flags) || s.lines[g.start] != s.lines[g.end] {
		return false
	}
	g.flags[g.start], g.flags[g.end] = false, true
	g.start++
	g.end++
	g.init()
	return true
}

package merge

// How lines are paired decides which changes touch, and so what is a conflict.
// The pairing here is the one that Git's merge uses (the "histogram" strategy:
// anchor on the longest run that holds the rarest line, then the same on both
// sides of it), so that a revert by the daemon and one by hand end alike.

const (
	// commonLine is how often a line may occur before it is no anchor: blank
	// lines and "---" would pair unrelated blocks.
	commonLine = 64
	// diffBudget bounds the comparisons spent on one pair of texts. Texts made
	// to be expensive come out as one big change, which at worst is a conflict.
	diffBudget = 50_000_000
)

// diff says which lines of a are gone and which of b are new. The ids of both
// are below known.
func diff(a, b []int, known int) (removed, added []bool) {
	d := &differ{
		a: a, b: b,
		removed: make([]bool, len(a)),
		added:   make([]bool, len(b)),
		first:   make([]int, known),
		count:   make([]int, known),
		next:    make([]int, len(a)),
		budget:  diffBudget,
	}
	d.compare(span{0, len(a), 0, len(b)})
	slide(a, d.removed, d.added)
	slide(b, d.added, d.removed)
	return d.removed, d.added
}

// span is lines [a0, a1) of a against lines [b0, b1) of b.
type span struct{ a0, a1, b0, b1 int }

type differ struct {
	a, b           []int
	removed, added []bool
	// Where each line occurs within the span at hand: the first place, the
	// next one after each place (-1: none), and how many.
	first, next, count []int
	budget             int
}

func (d *differ) compare(s span) {
	for {
		if s.a0 == s.a1 || s.b0 == s.b1 {
			d.mark(s)
			return
		}
		run, found, tooCommon := d.anchor(s)
		switch {
		case d.budget < 0:
			d.mark(s)
			return
		case tooCommon:
			d.shortest(s)
			return
		case !found:
			d.mark(s)
			return
		}
		d.compare(span{s.a0, run.a0, s.b0, run.b0})
		s = span{run.a1, s.a1, run.b1, s.b1}
	}
}

// mark calls every line of the span changed.
func (d *differ) mark(s span) {
	for i := s.a0; i < s.a1; i++ {
		d.removed[i] = true
	}
	for i := s.b0; i < s.b1; i++ {
		d.added[i] = true
	}
}

func (d *differ) index(s span) {
	d.budget -= s.a1 - s.a0
	for i := s.a1 - 1; i >= s.a0; i-- {
		id := d.a[i]
		d.next[i] = -1
		if d.count[id] > 0 {
			d.next[i] = d.first[id]
		}
		d.first[id] = i
		d.count[id]++
	}
}

func (d *differ) unindex(s span) {
	for _, id := range d.a[s.a0:s.a1] {
		d.count[id] = 0
	}
}

// anchor finds the run of equal lines to pair first. tooCommon: there are
// equal lines, all of them too frequent to go by.
func (d *differ) anchor(s span) (best span, found, tooCommon bool) {
	d.index(s)
	defer d.unindex(s)
	rarest, common := commonLine+1, false
	for b := s.b0; b < s.b1 && d.budget >= 0; {
		following := b + 1
		occurrences := d.count[d.b[b]]
		common = common || occurrences > 0
		if occurrences == 0 || occurrences > rarest {
			b = following
			d.budget--
			continue
		}
		for a := d.first[d.b[b]]; a >= 0; {
			run, frequency := d.extend(s, a, b)
			following = max(following, run.b1)
			if longer := found && run.a1-run.a0 > best.a1-best.a0 || !found && run.a1-run.a0 > 1; longer || frequency < rarest {
				best, rarest, found = run, frequency, true
			}
			a = d.next[a]
			for a >= 0 && a < run.a1 {
				a = d.next[a]
				d.budget--
			}
		}
		b = following
	}
	return best, found, common && rarest > commonLine
}

// extend grows the pair (a, b) in both directions while lines are equal, and
// tells how often the rarest line of the run occurs.
func (d *differ) extend(s span, a, b int) (run span, frequency int) {
	run = span{a, a + 1, b, b + 1}
	frequency = d.count[d.a[a]]
	for run.a0 > s.a0 && run.b0 > s.b0 && d.a[run.a0-1] == d.b[run.b0-1] {
		run.a0--
		run.b0--
		frequency = min(frequency, d.count[d.a[run.a0]])
	}
	for run.a1 < s.a1 && run.b1 < s.b1 && d.a[run.a1] == d.b[run.b1] {
		frequency = min(frequency, d.count[d.a[run.a1]])
		run.a1++
		run.b1++
	}
	d.budget -= run.a1 - run.a0
	return run, frequency
}

package merge

import "slices"

// Where a span's equal lines are all too frequent to anchor on, the shortest
// edit path is taken instead, as Git does: equal ends are trimmed, lines that
// could only pair by accident are set aside, and the rest is searched from
// both ends at once (Myers, "An O(ND) Difference Algorithm", section 4b).

const (
	// maxEdits is where the search for the shortest path stops and the part at
	// hand counts as changed.
	maxEdits = 256
	// accidentLimit and accidentWindow: a line with so many partners is set
	// aside if the lines around it, at most so far away, mostly have none.
	accidentLimit  = 1024
	accidentWindow = 100
	accidentRatio  = 4
)

func (d *differ) shortest(whole span) {
	s := whole
	for s.a0 < s.a1 && s.b0 < s.b1 && d.a[s.a0] == d.b[s.b0] {
		s.a0++
		s.b0++
	}
	for s.a0 < s.a1 && s.b0 < s.b1 && d.a[s.a1-1] == d.b[s.b1-1] {
		s.a1--
		s.b1--
	}
	all := side{d.a[whole.a0:whole.a1], d.b[whole.b0:whole.b1]}
	keepA := worthPairing(all, d.a, s.a0, s.a1)
	keepB := worthPairing(side{all.other, all.own}, d.b, s.b0, s.b1)
	d.mark(s)
	newPath(d, keepA, keepB).search(span{0, len(keepA), 0, len(keepB)})
}

// side is one text of a span, and the other one.
type side struct{ own, other []int }

// worthPairing returns the places in ids[lo:hi) that take part in the search.
func worthPairing(all side, ids []int, lo, hi int) []int {
	partners := map[int]int{}
	for _, id := range all.other {
		partners[id]++
	}
	limit := min(roughRoot(len(all.own)), accidentLimit)
	kind := make([]pairing, hi-lo)
	for i := range kind {
		switch n := partners[ids[lo+i]]; {
		case n >= limit:
			kind[i] = manyPartners
		case n > 0:
			kind[i] = somePartners
		}
	}
	var keep []int
	for i, k := range kind {
		if k == somePartners || k == manyPartners && !accidental(kind, i) {
			keep = append(keep, lo+i)
		}
	}
	return keep
}

type pairing byte

const (
	noPartner pairing = iota
	somePartners
	manyPartners
)

// accidental reports whether the line at i stands in a run of lines without
// partner, on both sides, that outnumber those with many.
func accidental(kind []pairing, i int) bool {
	none, many := 0, 0
	for _, step := range []int{-1, 1} {
		found := 0
		many++
		for j := i + step; j >= 0 && j < len(kind) && abs(j-i) <= accidentWindow && kind[j] != somePartners; j += step {
			if kind[j] == noPartner {
				found++
			} else {
				many++
			}
		}
		if found == 0 {
			return false
		}
		none += found
	}
	return many*accidentRatio < many+none
}

func abs(n int) int { return max(n, -n) }

// roughRoot is a power of two near the square root of n.
func roughRoot(n int) int {
	root := 1
	for ; n > 0; n >>= 2 {
		root <<= 1
	}
	return root
}

// path searches the lines worth pairing. What it leaves unpaired stays marked.
type path struct {
	d          *differ
	x, y       []int // line ids
	atX, atY   []int // their places in the differ's texts
	fore, back []int // furthest x on each diagonal, from either end
	middle     int   // index of diagonal 0
}

func newPath(d *differ, atX, atY []int) *path {
	p := &path{d: d, atX: atX, atY: atY, middle: len(atY) + 1}
	for _, i := range atX {
		p.x = append(p.x, d.a[i])
	}
	for _, i := range atY {
		p.y = append(p.y, d.b[i])
	}
	p.fore = make([]int, len(atX)+len(atY)+3)
	p.back = slices.Clone(p.fore)
	return p
}

func (p *path) pair(x, y int) {
	p.d.removed[p.atX[x]] = false
	p.d.added[p.atY[y]] = false
}

func (p *path) search(s span) {
	for s.a0 < s.a1 && s.b0 < s.b1 && p.x[s.a0] == p.y[s.b0] {
		p.pair(s.a0, s.b0)
		s.a0++
		s.b0++
	}
	for s.a0 < s.a1 && s.b0 < s.b1 && p.x[s.a1-1] == p.y[s.b1-1] {
		s.a1--
		s.b1--
		p.pair(s.a1, s.b1)
	}
	if s.a0 == s.a1 || s.b0 == s.b1 {
		return
	}
	x, y, found := p.split(s)
	if !found {
		return
	}
	p.search(span{s.a0, x, s.b0, y})
	p.search(span{x, s.a1, y, s.b1})
}

// split finds a point on a shortest path through s.
func (p *path) split(s span) (x, y int, found bool) {
	lowest, highest := s.a0-s.b1, s.a1-s.b0
	f := frontier{at: p.fore, lo: s.a0 - s.b0, hi: s.a0 - s.b0}
	b := frontier{at: p.back, lo: s.a1 - s.b1, hi: s.a1 - s.b1}
	odd := (f.lo-b.lo)&1 != 0
	p.fore[p.middle+f.lo], p.back[p.middle+b.lo] = s.a0, s.a1
	for edits := 0; edits < maxEdits && p.d.budget >= 0; edits++ {
		f.widen(lowest, highest, p.middle, -1)
		for k := f.hi; k >= f.lo; k -= 2 {
			x, y = p.forward(s, k)
			if odd && b.lo <= k && k <= b.hi && p.back[p.middle+k] <= x {
				return x, y, true
			}
		}
		b.widen(lowest, highest, p.middle, len(p.x)+1)
		for k := b.hi; k >= b.lo; k -= 2 {
			x, y = p.backward(s, k)
			if !odd && f.lo <= k && k <= f.hi && x <= p.fore[p.middle+k] {
				return x, y, true
			}
		}
		p.d.budget -= f.hi - f.lo + b.hi - b.lo
	}
	return 0, 0, false
}

// frontier is the range of diagonals that one direction has reached.
type frontier struct {
	at     []int
	lo, hi int
}

// widen takes in one more diagonal on each side, or gives one up where the
// span ends; outside is what no path reaches.
func (f *frontier) widen(lowest, highest, middle, outside int) {
	if f.lo > lowest {
		f.lo--
		f.at[middle+f.lo-1] = outside
	} else {
		f.lo++
	}
	if f.hi < highest {
		f.hi++
		f.at[middle+f.hi+1] = outside
	} else {
		f.hi--
	}
}

func (p *path) forward(s span, k int) (x, y int) {
	below, above := p.fore[p.middle+k-1], p.fore[p.middle+k+1]
	x = above
	if below >= above {
		x = below + 1
	}
	for y = x - k; x < s.a1 && y < s.b1 && p.x[x] == p.y[y]; {
		x++
		y++
	}
	p.fore[p.middle+k] = x
	return x, y
}

func (p *path) backward(s span, k int) (x, y int) {
	below, above := p.back[p.middle+k-1], p.back[p.middle+k+1]
	x = above - 1
	if below < above {
		x = below
	}
	for y = x - k; x > s.a0 && y > s.b0 && p.x[x-1] == p.y[y-1]; {
		x--
		y--
	}
	p.back[p.middle+k] = x
	return x, y
}

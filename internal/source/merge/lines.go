package merge

import "bytes"

// Lines merges what ours and theirs changed since base, line by line. It
// reports false, and no text, when both changed the same lines or lines that
// touch, unless both made the very same change. A line is its bytes up to and
// with "\n": CRLF and a missing final newline are kept, and are changes like
// any other.
func Lines(base, ours, theirs []byte) ([]byte, bool) {
	t := newTexts(base, ours, theirs)
	toOurs := t.hunks(0, 1)
	toTheirs := t.hunks(0, 2)
	switch {
	case len(toOurs) == 0:
		return theirs, true
	case len(toTheirs) == 0:
		return ours, true
	}
	picked, ok := t.pick(toOurs, toTheirs)
	if !ok {
		return nil, false
	}
	return t.apply(picked), true
}

// texts holds the three versions as lines, each line also as a number that is
// the same wherever its bytes are the same.
type texts struct {
	lines [3][][]byte
	ids   [3][]int
	known int
}

func newTexts(versions ...[]byte) *texts {
	t := &texts{}
	seen := map[string]int{}
	for v, text := range versions {
		for len(text) > 0 {
			end := bytes.IndexByte(text, '\n') + 1
			if end == 0 {
				end = len(text)
			}
			id, found := seen[string(text[:end])]
			if !found {
				id = len(seen)
				seen[string(text[:end])] = id
			}
			t.lines[v] = append(t.lines[v], text[:end])
			t.ids[v] = append(t.ids[v], id)
			text = text[end:]
		}
	}
	t.known = len(seen)
	return t
}

// hunk replaces base lines [baseStart, baseEnd) by lines [start, end) of a
// version.
type hunk struct {
	version            int
	baseStart, baseEnd int
	start, end         int
}

func (t *texts) hunks(base, version int) []hunk {
	removed, added := diff(t.ids[base], t.ids[version], t.known)
	var result []hunk
	i, j := 0, 0
	for i < len(removed) || j < len(added) {
		if !at(removed, i) && !at(added, j) {
			i++
			j++
			continue
		}
		h := hunk{version: version, baseStart: i, start: j}
		for at(removed, i) {
			i++
		}
		for at(added, j) {
			j++
		}
		h.baseEnd, h.end = i, j
		result = append(result, h)
	}
	return result
}

func at(flags []bool, i int) bool { return i < len(flags) && flags[i] }

// pick orders the hunks of both sides by their place in base. Hunks of two
// sides that overlap or touch are a conflict: Git sees it so too, since a
// change next to a change was likely made without knowing of the other.
func (t *texts) pick(ours, theirs []hunk) ([]hunk, bool) {
	var picked []hunk
	for len(ours) > 0 && len(theirs) > 0 {
		a, b := ours[0], theirs[0]
		switch {
		case a.baseEnd < b.baseStart:
			picked, ours = append(picked, a), ours[1:]
		case b.baseEnd < a.baseStart:
			picked, theirs = append(picked, b), theirs[1:]
		case t.same(a, b):
			picked, ours, theirs = append(picked, a), ours[1:], theirs[1:]
		default:
			return nil, false
		}
	}
	picked = append(picked, ours...)
	return append(picked, theirs...), true
}

func (t *texts) same(a, b hunk) bool {
	if a.baseStart != b.baseStart || a.baseEnd != b.baseEnd || a.end-a.start != b.end-b.start {
		return false
	}
	for i := range a.end - a.start {
		if t.ids[a.version][a.start+i] != t.ids[b.version][b.start+i] {
			return false
		}
	}
	return true
}

func (t *texts) apply(picked []hunk) []byte {
	var out bytes.Buffer
	next := 0
	write := func(lines [][]byte) {
		for _, line := range lines {
			out.Write(line)
		}
	}
	for _, h := range picked {
		write(t.lines[0][next:h.baseStart])
		write(t.lines[h.version][h.start:h.end])
		next = h.baseEnd
	}
	write(t.lines[0][next:])
	return out.Bytes()
}

package merge

import "fmt"

// moves remembers every part that the merge settled without a closer look, to
// find afterwards a file that both sides moved, to different places: the merge
// alone would keep both copies.
type moves struct {
	both, ours, theirs []change
}

// change is what stood at path in base, and what stands there now.
type change struct {
	path       string
	base, side *Entry
}

func (v *moves) note(path string, t triple) {
	switch {
	case same(t.ours, t.theirs):
		v.both = append(v.both, change{path, t.base, t.ours})
	case same(t.base, t.theirs):
		v.ours = append(v.ours, change{path, t.base, t.ours})
	default:
		v.theirs = append(v.theirs, change{path, t.base, t.theirs})
	}
}

// emptyBlob is no evidence of a move.
var emptyBlob = Hash{0xe6, 0x9d, 0xe2, 0x9b, 0xb2, 0xd1, 0xd6, 0x43, 0x4b, 0x8b, 0x29, 0xae, 0x77, 0x5a, 0xd8, 0xc2, 0xe4, 0x8c, 0x53, 0x91}

// findMoves reports files that are gone from where they were and stand, byte
// for byte, at a new place on each side.
func (m *merger) findMoves() error {
	gone, err := m.files(m.moves.both, false)
	if err != nil || len(gone) == 0 {
		return err
	}
	toOurs, err := m.files(m.moves.ours, true)
	if err != nil || len(toOurs) == 0 {
		return err
	}
	toTheirs, err := m.files(m.moves.theirs, true)
	if err != nil {
		return err
	}
	for hash, path := range gone {
		if hash != emptyBlob && toOurs[hash] != "" && toTheirs[hash] != "" {
			m.conflict(path, BothMoved)
		}
	}
	return nil
}

// files collects by content the regular files that the changes added, or those
// that they removed.
func (m *merger) files(changes []change, added bool) (map[Hash]string, error) {
	found := map[Hash]string{}
	for _, c := range changes {
		if !added {
			c.base, c.side = c.side, c.base
		}
		if err := m.appeared(c, 0, found); err != nil {
			return nil, fmt.Errorf("merge %s: %w", c.path, err)
		}
	}
	return found, nil
}

// appeared collects the regular files that side has where base has none.
func (m *merger) appeared(c change, depth int, into map[Hash]string) error {
	if c.side == nil || same(c.base, c.side) {
		return nil
	}
	switch c.side.Mode.kind() {
	case Regular.kind():
		if c.base == nil || c.base.Mode.kind() != Regular.kind() {
			into[c.side.Hash] = c.path
		}
		return nil
	case Directory:
	default:
		return nil
	}
	if !m.bounded(c.path, depth) {
		return nil
	}
	children, err := m.children(triple{base: c.base, ours: c.side}.only(true))
	if err != nil {
		return err
	}
	for _, child := range children {
		err := m.appeared(change{join(c.path, child.name), child.base, child.ours}, depth+1, into)
		if err != nil {
			return err
		}
	}
	return nil
}

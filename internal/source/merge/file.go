package merge

import (
	"bytes"
	"errors"
)

// file merges one name among entries that are not directories.
func (m *merger) file(path string, t triple) (*Entry, error) {
	if outcome, ok := t.settled(); ok {
		m.moves.note(path, t)
		return outcome, nil
	}
	switch {
	case t.ours == nil || t.theirs == nil:
		m.conflict(path, ChangedAndDeleted)
	case t.ours.Mode.kind() != t.theirs.Mode.kind():
		m.conflict(path, DifferentKinds)
	case t.ours.Mode.kind() == Submodule:
		m.conflict(path, BothChangedModule)
	case t.ours.Mode.kind() == Symlink:
		m.conflict(path, BothChangedLink)
	default:
		return m.regular(path, t)
	}
	return nil, nil
}

func (m *merger) regular(path string, t triple) (*Entry, error) {
	mode, clean := mergeModes(t)
	if !clean {
		m.conflict(path, BothChangedMode)
		return nil, nil
	}
	if t.base != nil && t.base.Mode.kind() != Regular.kind() {
		t.base = nil // what it was before is nothing to compare lines with
	}
	hash, reason, err := m.content(t)
	if err != nil {
		return nil, err
	}
	if reason != "" {
		m.conflict(path, reason)
		return nil, nil
	}
	return &Entry{Mode: mode, Hash: hash}, nil
}

func mergeModes(t triple) (Mode, bool) {
	ours, theirs, base := t.ours.Mode.plain(), t.theirs.Mode.plain(), Mode(0)
	if t.base != nil {
		base = t.base.Mode.plain()
	}
	switch base {
	case theirs:
		return t.ours.Mode, true
	case ours:
		return t.theirs.Mode, true
	}
	return t.ours.Mode, ours == theirs
}

// content merges the bytes. The reason is empty where it could.
func (m *merger) content(t triple) (hash Hash, reason string, err error) {
	switch {
	case t.ours.Hash == t.theirs.Hash:
		return t.ours.Hash, "", nil
	case t.base != nil && t.base.Hash == t.theirs.Hash:
		return t.ours.Hash, "", nil
	case t.base != nil && t.base.Hash == t.ours.Hash:
		return t.theirs.Hash, "", nil
	}
	var texts [3][]byte
	for i, e := range []*Entry{t.base, t.ours, t.theirs} {
		if e == nil {
			continue
		}
		texts[i], err = m.objects.Blob(e.Hash)
		if errors.Is(err, ErrTooLarge) {
			return Hash{}, TooLarge, nil
		}
		if err != nil {
			return Hash{}, "", err
		}
		if binary(texts[i]) {
			return Hash{}, BothChangedBinary, nil
		}
	}
	merged, clean := Lines(texts[0], texts[1], texts[2])
	switch {
	case !clean && t.base == nil:
		return Hash{}, BothAdded, nil
	case !clean:
		return Hash{}, BothChangedLines, nil
	}
	hash, err = m.objects.WriteBlob(merged)
	return hash, "", err
}

// binary is Git's own test: a NUL among the first bytes.
func binary(content []byte) bool {
	return bytes.IndexByte(content[:min(len(content), 8000)], 0) >= 0
}

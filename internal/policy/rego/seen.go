package rego

import (
	"fmt"
	"math"

	"chaperone.dev/chaperone/internal/manifest"
)

// Seen is the newest signed archive that was in force. Every archive stays signed
// for ever: without it, whoever can write where archives lie could bring back
// rules that were made stricter since.
type Seen struct {
	Revision int64 // as the archive says it; 0 is none
	Digest   manifest.Digest
}

// Seen is what a daemon keeps for when it starts again.
func (s *Store) Seen() Seen {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.seen
}

// Recall says what was in force before, or that what was no longer counts.
func (s *Store) Recall(seen Seen) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.seen = seen
}

// next refuses what is older than what was in force. A team that numbers nothing
// is not kept from replacing its archives.
func (s Seen) next(files fileSet) (Seen, error) {
	revision, err := revisionOf(files)
	next := Seen{Revision: revision, Digest: files.digest()}
	switch {
	case err != nil:
		return Seen{}, err
	case revision < s.Revision:
		return Seen{}, fmt.Errorf("revision %d is older than %d, which was in force; want a higher one in bundle/data.yaml", revision, s.Revision)
	case revision > 0 && revision == s.Revision && s.Digest != next.Digest:
		return Seen{}, fmt.Errorf("revision %d was in force with another content; want a higher one in bundle/data.yaml", revision)
	}
	return next, nil
}

// revisionOf is data.bundle.revision of an archive.
func revisionOf(files fileSet) (int64, error) {
	data, err := parseData(files.of(dataFile))
	if err != nil {
		return 0, err
	}
	value, found := lookup(data, []string{"bundle", "revision"})
	if !found {
		return 0, nil
	}
	revision, number := value.(float64)
	if !number || revision < 1 || revision > 1<<53 || revision != math.Trunc(revision) {
		return 0, fmt.Errorf("bundle/data.yaml: revision: want a whole number from 1, such as the seconds of `date +%%s`, not %.40v", value)
	}
	return int64(revision), nil
}

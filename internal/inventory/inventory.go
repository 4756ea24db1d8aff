// Package inventory holds what an environment owns on its cluster. It
// guarantees that an entry is only ever dropped by name, never by being left
// out: a merge is a union, so that an object whose apply or deletion failed
// half way is still known to the next pass.
package inventory

import (
	"iter"
	"maps"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/runtime/schema"

	"chaperone.dev/chaperone/internal/manifest"
)

// Entry is one object that the environment owns, or is about to create.
type Entry struct {
	manifest.ID
	Version string `json:"version,omitempty"` // API version it was applied in, to find it again
	UID     string `json:"uid,omitempty"`     // "" until the cluster has confirmed it
	Release string `json:"release,omitempty"` // the release that applied it last, in short
	Applied string `json:"applied,omitempty"` // digest of what was applied; Jobs only, as they may be gone when asked for
	Kept    bool   `json:"kept,omitempty"`    // no longer rendered, not deleted either
	// Rebuilt: the inventory was lost, and the marks on the object are all that
	// tells of it. It is not deleted until a person agrees.
	Rebuilt bool `json:"rebuilt,omitempty"`
	// Sent names what was sent last, and Owned the fields of it that the
	// environment owns as the server answered; see plan.SentDigest and
	// plan.OwnedDigest. While both are what they were, nothing has to be asked.
	Sent  string `json:"sent,omitempty"`
	Owned string `json:"owned,omitempty"`
}

// Inventory is a sorted set of entries. Its methods return changed copies.
type Inventory struct {
	entries map[manifest.ID]Entry
	release string
}

// New holds the given entries; the last of one identity wins.
func New(entries ...Entry) Inventory {
	return Inventory{}.Merge(entries)
}

// Len is the number of entries.
func (i Inventory) Len() int { return len(i.entries) }

// Release is the digest of the release that was applied last, from beginning to
// end; "" while one is under way, or stopped half-way.
func (i Inventory) Release() string { return i.release }

// Complete says which release the entries are of.
func (i Inventory) Complete(release string) Inventory {
	i.release = release
	return i
}

// All goes through the entries in no order.
func (i Inventory) All() iter.Seq2[manifest.ID, Entry] { return maps.All(i.entries) }

// Get finds an entry by identity.
func (i Inventory) Get(id manifest.ID) (Entry, bool) {
	e, found := i.entries[id]
	return e, found
}

// Entries are sorted by identity.
func (i Inventory) Entries() []Entry {
	return slices.SortedFunc(maps.Values(i.entries), func(a, b Entry) int { return a.ID.Compare(b.ID) })
}

// Merge is the union of both. It is written before anything is applied, so
// what is known of an entry (its UID, what was applied) stays until something
// newer is known: the object is still the old one until the cluster says so.
func (i Inventory) Merge(entries []Entry) Inventory {
	merged := make(map[manifest.ID]Entry, len(i.entries)+len(entries))
	maps.Copy(merged, i.entries)
	for _, e := range entries {
		old := merged[e.ID]
		if e.UID == "" {
			e.UID = old.UID
		}
		if e.Applied == "" {
			e.Applied = old.Applied
		}
		if e.Sent == "" {
			e.Sent, e.Owned = old.Sent, old.Owned
		}
		merged[e.ID] = e
	}
	return Inventory{merged, i.release}
}

// Carry adds the entries of an inventory that this one takes over. What this
// one knows of an object itself is newer, and stays.
func (i Inventory) Carry(former Inventory) Inventory {
	carried := maps.Clone(former.entries)
	if carried == nil {
		return i
	}
	maps.Copy(carried, i.entries)
	return Inventory{carried, i.release}
}

// Drop forgets the objects whose deletion is confirmed, or which turned out to
// be somebody else's.
func (i Inventory) Drop(ids ...manifest.ID) Inventory {
	left := maps.Clone(i.entries)
	for _, id := range ids {
		delete(left, id)
	}
	return Inventory{left, i.release}
}

// Keep marks objects that are no longer wanted and not deleted either.
func (i Inventory) Keep(ids ...manifest.ID) Inventory {
	marked := maps.Clone(i.entries)
	for _, id := range ids {
		if e, found := marked[id]; found {
			e.Kept = true
			marked[id] = e
		}
	}
	return Inventory{marked, i.release}
}

// Agree lets what was rebuilt be deleted.
func (i Inventory) Agree() Inventory {
	return i.confirm(func(manifest.ID) bool { return true })
}

// Confirm makes ordinary entries of what was rebuilt and is rendered.
func (i Inventory) Confirm(rendered manifest.Set) Inventory {
	return i.confirm(func(id manifest.ID) bool {
		_, found := rendered.Get(id)
		return found
	})
}

func (i Inventory) confirm(which func(manifest.ID) bool) Inventory {
	confirmed := maps.Clone(i.entries)
	for id, e := range confirmed {
		if e.Rebuilt && which(id) {
			e.Rebuilt = false
			confirmed[id] = e
		}
	}
	return Inventory{confirmed, i.release}
}

// Unwanted are the entries that are not wanted, sorted.
func (i Inventory) Unwanted(wanted func(manifest.ID) bool) []Entry {
	var left []Entry
	for id, e := range i.entries {
		if !wanted(id) {
			left = append(left, e)
		}
	}
	slices.SortFunc(left, func(a, b Entry) int { return a.ID.Compare(b.ID) })
	return left
}

// GroupKinds are the kinds of the entries, sorted by name.
func (i Inventory) GroupKinds() []schema.GroupKind {
	seen := map[schema.GroupKind]bool{}
	for id := range i.entries {
		seen[id.GroupKind()] = true
	}
	return slices.SortedFunc(maps.Keys(seen), func(a, b schema.GroupKind) int {
		return strings.Compare(a.String(), b.String())
	})
}

// Namespaces are those of the entries, sorted; cluster-scoped ones add none.
func (i Inventory) Namespaces() []string {
	seen := map[string]bool{}
	for id := range i.entries {
		if id.Namespace != "" {
			seen[id.Namespace] = true
		}
	}
	return slices.Sorted(maps.Keys(seen))
}

// Equal reports whether both hold the same entries, of the same release.
func (i Inventory) Equal(other Inventory) bool {
	return i.release == other.release && maps.Equal(i.entries, other.entries)
}

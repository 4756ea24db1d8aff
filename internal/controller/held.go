package controller

import (
	"sync"

	"chaperone.dev/chaperone/internal/manifest"
	"chaperone.dev/chaperone/internal/promotion"
	"chaperone.dev/chaperone/internal/reconcile"
)

// maxHeld bounds the objects of all releases under way that are kept decoded.
// What is beyond it is read from the store for each step.
const maxHeld = 16384

// held keeps the objects of a release from when its bundle is stored until it
// is verified and pruned, so that the steps between need not read the bundle
// and decode it again. At rest it holds nothing. It holds only what is stored:
// a release that could not be restored later is not found in it.
type held struct {
	mu      sync.Mutex
	sets    map[promotion.ID]heldSet
	objects int
}

type heldSet struct {
	digest reconcile.Digest
	set    manifest.Set
}

func (h *held) put(id promotion.ID, digest reconcile.Digest, set manifest.Set) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.remove(id)
	if h.objects+set.Len() > maxHeld {
		return
	}
	if h.sets == nil {
		h.sets = map[promotion.ID]heldSet{}
	}
	h.sets[id] = heldSet{digest, set}
	h.objects += set.Len()
}

func (h *held) get(id promotion.ID, digest reconcile.Digest) (manifest.Set, bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	found := h.sets[id]
	return found.set, found.digest == digest && digest != ""
}

func (h *held) drop(id promotion.ID) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.remove(id)
}

func (h *held) remove(id promotion.ID) {
	h.objects -= h.sets[id].set.Len()
	delete(h.sets, id)
}

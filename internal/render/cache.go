package render

import (
	"sync"
	"time"

	"chaperone.dev/chaperone/internal/manifest"
	"chaperone.dev/chaperone/internal/source"
)

// cachedPerDir is how many results of one directory are kept: enough for head,
// last good and the commits of a bisection between them.
const cachedPerDir = 8

// maxCached bounds the bytes of all cached results.
const maxCached = 64 << 20

// cache holds the newest results first, packed, within a budget of bytes.
type cache struct {
	budget  int64
	entries []entry
}

// entry is a result without its decoded objects. A pass over an environment
// that did not change needs no more than its digest and closure.
type entry struct {
	dir     string
	digest  manifest.Digest
	closure source.Closure
	packed  *packed
}

// bytes is about what e holds. Names and hashes are mostly shared with the
// entries of the same directory, so that a path costs little more than its
// place in the map.
func (e entry) bytes() int64 {
	const perPath = 48
	return int64(len(e.packed.deflated) + perPath*len(e.closure))
}

func (c *cache) of(dir string) []entry {
	var found []entry
	for _, e := range c.entries {
		if e.dir == dir {
			found = append(found, e)
		}
	}
	return found
}

func (c *cache) add(added entry) {
	if earlier := c.of(added.dir); len(earlier) > 0 {
		share(added.closure, earlier[0].closure)
	}
	kept := []entry{added}
	size, same := added.bytes(), 1
	for _, e := range c.entries {
		if e.dir == added.dir {
			if same++; same > cachedPerDir {
				continue
			}
		}
		if size += e.bytes(); size > c.budget {
			break
		}
		kept = append(kept, e)
	}
	c.entries = kept
}

// share lets a closure use the strings of an earlier one.
func share(closure, earlier source.Closure) {
	for name, hash := range earlier {
		if own, found := closure[name]; found && own == hash {
			delete(closure, name) // else the map keeps its own key
			closure[name] = hash
		}
	}
}

// keptFresh is how long the objects of one result stay decoded: a release that
// is being judged is asked for again when it is stored and applied.
const keptFresh = 20 * time.Second

// maxFresh is the size, as JSON, above which objects are rather decoded again.
const maxFresh = 4 << 20

// fresh is the one result that is still decoded, if any.
type fresh struct {
	mu     sync.Mutex
	packed *packed
	set    manifest.Set
	expiry *time.Timer
}

func (f *fresh) of(p *packed) (manifest.Set, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.set, f.packed == p
}

func (f *fresh) keep(p *packed, set manifest.Set) {
	if p.size > maxFresh {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.expiry != nil {
		f.expiry.Stop()
	}
	f.packed, f.set = p, set
	f.expiry = time.AfterFunc(keptFresh, func() { f.forget(p) })
}

func (f *fresh) forget(p *packed) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.packed == p {
		f.packed, f.set = nil, manifest.Set{}
	}
}

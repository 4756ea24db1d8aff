package cluster

import (
	"context"
	"reflect"
	"sync"
	"time"

	"chaperone.dev/chaperone/internal/manifest"
	"chaperone.dev/chaperone/internal/plan"
)

// mirror is what an environment owns as watches tell it, with the inventory
// that says so: what it knows costs no request. It holds the objects under the
// environment's label and no others, so it grows with them and not with the
// cluster. It is a cache: whatever is deleted or taken over is read first.
type mirror struct {
	c        *Cluster
	w        Owner
	onChange func(manifest.ID)

	mu        sync.Mutex
	objects   map[manifest.ID]*tracked
	watching  map[place]*scope
	settled   map[manifest.ID]settled
	noted     map[manifest.ID]string // what was sent for the answer that is in objects
	doubted   map[manifest.ID]bool   // an audit found that sending them would change them
	gone      map[manifest.ID]string // at which version; answers may come after it
	inventory *stored                // nil: has to be read
	newest    string                 // version of the inventory's parent that a watch told of
	deaf      bool                   // that watch has failed since
	writing   bool                   // the inventory is being written by us
	wake      chan struct{}          // the inventory may have grown
	begun     bool                   // what the inventory has is being watched
}

// settled is a pair that an answer of the server has shown to go together: this
// was sent, and that is how it looks.
type settled struct{ sent, owned string }

func newMirror(c *Cluster, w Owner, onChange func(manifest.ID)) *mirror {
	return &mirror{c: c, w: w, onChange: onChange,
		objects: map[manifest.ID]*tracked{}, watching: map[place]*scope{}, settled: map[manifest.ID]settled{},
		noted: map[manifest.ID]string{}, doubted: map[manifest.ID]bool{}, gone: map[manifest.ID]string{}, wake: make(chan struct{}, 1)}
}

// mirrorOf is the mirror that runs for an environment, or nil.
func (c *Cluster) mirrorOf(w Owner) *mirror {
	c.mu.Lock()
	defer c.mu.Unlock()
	m := c.mirrors[w.key()]
	if m == nil || !reflect.DeepEqual(m.w.Leave, w.Leave) {
		return nil // it was told by other rules what is the environment's
	}
	return m
}

// key tells apart also environments whose inventories would have one name.
func (w Owner) key() string { return w.Environment.String() + " " + w.setID() }

// setMirror begins a mirror. An inventory that was written before it was there
// counts once a watch tells that it is the newest.
func (c *Cluster) setMirror(w Owner, m *mirror) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.mirrors[w.key()] = m
	if s, found := c.written[w.key()]; found {
		m.inventory, m.deaf = &s, true
		delete(c.written, w.key())
	}
}

// keepWritten has the mirror keep an inventory, or the next one: who watches only
// once all is applied needs not read what was just written.
func (c *Cluster) keepWritten(w Owner, s stored) {
	if m := c.mirrorOf(w); m != nil {
		m.keepStored(s)
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.written[w.key()] = s
}

// dropMirror forgets a mirror whose watches end, unless another has its place.
func (c *Cluster) dropMirror(w Owner, m *mirror) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.mirrors[w.key()] == m {
		delete(c.mirrors, w.key())
	}
}

// covers reports whether all objects of a place are known, so that one which
// is not there is not under the environment's label. A nil mirror covers nothing.
func (m *mirror) covers(k kind, at place) bool {
	if m == nil {
		return false
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	s := m.watching[at]
	return s != nil && s.told() && s.resource == k.resource
}

func (m *mirror) get(id manifest.ID) *tracked {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.objects[id]
}

// put takes an object in, unless something newer is known. notify says whether
// a change is news to who watches.
func (m *mirror) put(t *tracked, notify bool) {
	m.mu.Lock()
	old := m.objects[t.id]
	stale := old != nil && !newer(t.version, old.version) || old == nil && !notify && m.left(t)
	if !stale || old != nil && old.version == t.version && notify {
		m.objects[t.id] = t
		delete(m.gone, t.id)
	}
	if notify && (!stale || old.version == t.version) {
		m.confirm(old, t)
	}
	news := t.differs(old) || !m.rests(t)
	m.mu.Unlock()
	if notify && !stale && news {
		m.onChange(t.id)
	}
}

// rests reports whether what the environment owns of an object is as it was left;
// by the mirror's lock. A field that somebody has taken is not owned any more:
// what becomes of it then, and that it is given back, shows in nothing of ours.
func (m *mirror) rests(t *tracked) bool {
	if m.settled[t.id].owned == t.owned {
		return true
	}
	if m.inventory == nil {
		return false
	}
	e, found := m.inventory.Get(t.id)
	return found && e.Owned == t.owned
}

// confirm ends what is noted of an object when the server tells of it by itself.
// The answer to a write may have values as they were sent; what is stored is in
// the server's own form. By the mirror's lock.
func (m *mirror) confirm(old, t *tracked) {
	if sent := m.noted[t.id]; sent != "" && old != nil && old.version == t.version {
		m.settled[t.id] = settled{sent, t.owned}
	}
	delete(m.noted, t.id)
}

// relist takes in a list of a place: what it has is so, and what it does not have
// is gone, unless an answer to us is newer than the list.
func (m *mirror) relist(at place, list map[manifest.ID]*tracked, version string) {
	m.mu.Lock()
	var changed []manifest.ID
	if s := m.watching[at]; s != nil {
		s.listed = version
	}
	for id, t := range list {
		old := m.objects[id]
		if old != nil && old.version != t.version && old.outlives(version) {
			continue
		}
		m.confirm(old, t)
		m.objects[id] = t
		if (old == nil || old.version != t.version) && t.differs(old) {
			changed = append(changed, id)
		}
	}
	for id, old := range m.objects {
		if (place{id.GroupKind(), id.Namespace}) == at && list[id] == nil && !old.outlives(version) {
			m.forget(id)
			changed = append(changed, id)
		}
	}
	m.mu.Unlock()
	for _, id := range changed {
		m.onChange(id)
	}
}

// left reports whether an object that is not there was, and has gone since it
// was written; by the mirror's lock.
func (m *mirror) left(t *tracked) bool {
	if at := m.gone[t.id]; at != "" && !newer(t.version, at) {
		return true
	}
	s := m.watching[place{t.id.GroupKind(), t.id.Namespace}]
	return s != nil && s.listed != "" && !newer(t.version, s.listed)
}

// maxBuried bounds what is remembered of objects that are gone.
const maxBuried = 1000

// bury remembers that an object was gone at a version; by the mirror's lock.
func (m *mirror) bury(id manifest.ID, version string) {
	if len(m.gone) >= maxBuried {
		clear(m.gone) // answers that are as late as that are none
	}
	m.gone[id] = version
}

// forget what is known of an object; by the mirror's lock.
func (m *mirror) forget(id manifest.ID) {
	delete(m.objects, id)
	delete(m.settled, id)
	delete(m.noted, id)
	delete(m.doubted, id)
}

// leave takes an object out that was deleted, or lost its label, at a version.
func (m *mirror) leave(id manifest.ID, version string) {
	m.mu.Lock()
	old := m.objects[id]
	gone := old != nil && !newer(old.version, version)
	if gone || old == nil {
		m.forget(id)
		m.bury(id, version)
	}
	m.mu.Unlock()
	if gone {
		m.onChange(id)
	}
}

// note takes in what the server answered to a write of ours, before a watch
// tells of it: the next look must not be at what was there before.
func (m *mirror) note(id manifest.ID, sent string, answer *manifest.Object) {
	if m == nil {
		return
	}
	t, err := track(id, answer, m.w.Leave, m.c.options.FieldManager)
	if err != nil {
		return
	}
	t.answered = time.Now()
	m.mu.Lock()
	if m.watching[place{id.GroupKind(), id.Namespace}] == nil {
		m.mu.Unlock()
		return // the first list of its kind will have it
	}
	switch old := m.objects[id]; {
	case old != nil && old.version == t.version:
		m.settled[id] = settled{sent, old.owned} // the watch was faster
	case old == nil || newer(t.version, old.version):
		m.noted[id] = sent
	}
	delete(m.doubted, id)
	m.mu.Unlock()
	m.put(t, false)
}

// settle remembers that sending an object would change nothing.
func (m *mirror) settle(id manifest.ID, sent, owned string) {
	if m == nil || sent == "" || owned == "" {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.settled[id] = settled{sent, owned}
	delete(m.doubted, id)
}

// doubt has an object sent the next time, however it looks.
func (m *mirror) doubt(id manifest.ID) {
	m.mu.Lock()
	m.doubted[id] = true
	m.mu.Unlock()
	m.onChange(id)
}

func (m *mirror) doubts(id manifest.ID) bool {
	if m == nil {
		return false
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.doubted[id]
}

// same reports whether an object is for certain as sending it would make it: it
// is the one that was written down, and has looked like this before when this
// very object was sent.
func (m *mirror) same(t *tracked, known settled, uid, sent string) bool {
	if t.deleting || t.uid != uid || t.owned == "" || sent == "" || t.handedBack(sent) {
		return false
	}
	now := settled{sent, t.owned}
	if now == known {
		return true
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.settled[t.id] == now
}

// stored is the inventory as it was last read or written.
func (m *mirror) stored() (stored, bool) {
	if m == nil {
		return stored{}, false
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.inventory == nil || m.deaf || m.newest != "" && (m.inventory.parent == nil || newer(m.newest, m.inventory.parent.GetResourceVersion())) {
		return stored{}, false
	}
	return *m.inventory, true
}

// beginWrite keeps others from reading an inventory that changes under them.
func (m *mirror) beginWrite() {
	if m == nil {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.writing = true
}

// told is what a watch says of the inventory's parent; "" is that it is gone.
func (m *mirror) told(version string) {
	m.mu.Lock()
	m.newest, m.deaf = version, false
	if version == "" {
		m.inventory = nil
	}
	wake := !m.writing
	m.mu.Unlock()
	if wake {
		m.look()
	}
}

// deafen: until the inventory is read again, or a watch tells of it, it may be
// another than the one that is known.
func (m *mirror) deafen() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.deaf = true
}

// look has what is new in the inventory watched.
func (m *mirror) look() {
	select {
	case m.wake <- struct{}{}:
	default:
	}
}

func (m *mirror) keepStored(s stored) {
	if m == nil {
		return
	}
	m.mu.Lock()
	m.inventory, m.writing, m.deaf = &s, false, false
	m.mu.Unlock()
	m.look()
}

// forgetStored has the inventory read again.
func (m *mirror) forgetStored() {
	if m == nil {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.inventory, m.writing = nil, false
}

// Quiet reports whether everything that an environment owns is for certain as
// its release made it, by what watches have told: it makes no request. False
// says only that it has to be looked at. w.Digest names the release.
func (c *Cluster) Quiet(w Owner) bool {
	m := c.mirrorOf(w)
	s, known := m.stored()
	if !known || s.changed || w.Digest == "" || s.Release() != string(w.Digest) || len(w.formers()) > 0 {
		return false
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	for id, e := range s.All() {
		if e.Kept || e.Rebuilt || e.Applied != "" {
			continue // kept for what it is, or until a person agrees; or a Job, which has run and may be gone
		}
		t := m.objects[id]
		if t == nil || t.deleting || t.uid != e.UID || t.handedBack(e.Sent) {
			return false
		}
		if now := (settled{e.Sent, t.owned}); e.Sent == "" || t.owned == "" || t.owned != e.Owned && m.settled[id] != now {
			return false
		}
	}
	return m.allSynced() && len(m.doubted) == 0
}

// clear forgets what is known of a place; by the mirror's lock.
func (m *mirror) clear(at place) {
	for id := range m.objects {
		if (place{id.GroupKind(), id.Namespace}) == at {
			m.forget(id)
		}
	}
}

// firstList is how long a comparison waits, looking every firstLook, for the first lists of the watches
// rather than make its own.
const (
	firstList = 5 * time.Second
	firstLook = 20 * time.Millisecond
)

// awaitFirst waits until what is watched was listed once.
func (m *mirror) awaitFirst(ctx context.Context) {
	if m == nil {
		return
	}
	ctx, stop := context.WithTimeout(ctx, firstList)
	defer stop()
	for !m.listed() && sleep(ctx, firstLook) == nil {
	}
}

func (m *mirror) listed() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, s := range m.watching {
		if !s.synced && !s.failing { // one that is only asked for is on its way
			return false
		}
	}
	return m.begun
}

func (m *mirror) allSynced() bool {
	for _, s := range m.watching {
		if !s.told() {
			return false
		}
	}
	return len(m.watching) > 0
}

// light is as much of an object as a plan asks of one that does not change. Its
// marks are ours: they are among the fields that are the same.
func light(o *manifest.Object, t *tracked) *manifest.Object {
	seen := &manifest.Object{Object: map[string]any{"apiVersion": o.GetAPIVersion(), "kind": o.GetKind(), "metadata": map[string]any{
		"name": t.id.Name, "namespace": t.id.Namespace, "uid": t.uid, "resourceVersion": t.version,
		"labels":      map[string]any{plan.LabelPartOf: o.GetLabels()[plan.LabelPartOf]},
		"annotations": map[string]any{plan.AnnotationEnvironment: o.GetAnnotations()[plan.AnnotationEnvironment]},
	}}}
	return seen
}

package cluster

import (
	"context"

	"chaperone.dev/chaperone/internal/health"
	"chaperone.dev/chaperone/internal/manifest"
)

// Looks are what earlier looks at a release have found, so that the next one asks
// only for what has happened since. An object of the same UID and resourceVersion
// is the very same, as the server says now: nothing is taken on trust from a
// watch. The zero value has not looked. It is for one look at a time.
type Looks struct {
	found map[manifest.ID]glimpse
	calm  map[place]bool // all that was looked at there was ready
}

// glimpse is an object as it was found, compressed.
type glimpse struct {
	kind         kind
	uid, version string
	content      packed
}

// unchanged finds out which objects are as they were found before, from their
// metadata alone, and returns the others for a look at the whole of them.
func (c *Cluster) unchanged(ctx context.Context, w Owner, wants []want, before *Looks) (same map[manifest.ID]*manifest.Object, rest []want, err error) {
	likely, rest := before.split(wants)
	if len(likely) == 0 {
		return nil, rest, nil
	}
	r, err := c.read(ctx, w, likely)
	if err != nil {
		return nil, nil, err
	}
	same = map[manifest.ID]*manifest.Object{}
	for _, one := range likely {
		if o := before.recall(one, r.live[one.id]); o != nil {
			same[one.id] = o
			continue
		}
		one.outline = false
		rest = append(rest, one)
	}
	return same, rest, nil
}

// split parts what is likely to be as it was, to be asked for in outline, from all
// else. What is being waited for changes: there the metadata would only come on
// top. So it would where objects are read one by one.
func (l *Looks) split(wants []want) (likely, rest []want) {
	count := map[place]int{}
	for _, one := range wants {
		count[placeOf(one.id)]++
	}
	for _, one := range wants {
		at := placeOf(one.id)
		if l != nil && !one.outline && one.kind.namespaced && l.calm[at] && count[at] > fewWants {
			one.outline = true
			likely = append(likely, one)
		} else {
			rest = append(rest, one)
		}
	}
	return likely, rest
}

func placeOf(id manifest.ID) place { return place{id.GroupKind(), id.Namespace} }

// recall is an object as it was found, if it is still that.
func (l *Looks) recall(one want, now *manifest.Object) *manifest.Object {
	seen, found := l.found[one.id]
	if !found || now == nil || seen.kind != one.kind || seen.version == "" ||
		seen.version != now.GetResourceVersion() || seen.uid != string(now.GetUID()) {
		return nil
	}
	o, err := seen.content.object()
	if err != nil {
		return nil
	}
	return o
}

// keep remembers what was looked at, as far as more than its metadata count.
func (l *Looks) keep(looked []want, live map[manifest.ID]*manifest.Object) {
	if l == nil {
		return
	}
	if l.found == nil {
		l.found, l.calm = map[manifest.ID]glimpse{}, map[place]bool{}
	}
	calm := map[place]bool{}
	for _, one := range looked {
		if one.outline {
			continue
		}
		o, at := live[one.id], placeOf(one.id)
		ready := o != nil && health.Of(o).State == health.Current && l.put(one, o)
		if before, told := calm[at]; told {
			ready = ready && before
		}
		calm[at] = ready
	}
	for at, ready := range calm {
		l.calm[at] = ready
	}
}

func (l *Looks) put(one want, o *manifest.Object) bool {
	content, err := pack(o)
	if err != nil {
		delete(l.found, one.id)
		return false
	}
	l.found[one.id] = glimpse{one.kind, string(o.GetUID()), o.GetResourceVersion(), content}
	return true
}

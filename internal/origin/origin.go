// Package origin finds the line of a source file that a field of a rendered
// object comes from: in the base, a component, a patch, a generator or another
// directive of a kustomization. It guarantees that a place it calls exact sets
// the field itself, and that every answer names an existing file: the nearest
// one it knows when the field cannot be traced. It follows what kustomize does
// with names, order and targets closely enough for that, and renders nothing.
// What it reads is bounded.
package origin

import (
	"io/fs"
	"path"
	"strings"

	yaml "go.yaml.in/yaml/v3"

	"chaperone.dev/chaperone/internal/manifest"
)

// Place is a line in a source file.
type Place struct {
	File  string `json:"file"`
	Line  int    `json:"line"`
	Exact bool   `json:"exact"` // the line sets the field; otherwise it is the nearest that is known
}

// Trace knows where every object of one render comes from. It is not changed
// once made, and safe for concurrent use.
type Trace struct {
	root    Place // of the kustomization, for what cannot be traced
	objects []*tracked
	byName  map[string][]*tracked // by kind and group
}

// Of reads the kustomization in directory dir of a tree, and all that it is made
// of. What cannot be read is left out: a render has told what is wrong with it.
func Of(tree fs.FS, dir string) *Trace {
	w := &walker{tree: tree, bytes: maxBytes, files: maxFiles}
	dir = path.Clean(strings.TrimSuffix(dir, "/"))
	objects := w.directory(dir, nil)
	root := Place{File: dir, Line: 1}
	if k := w.kustomization(dir); k != nil {
		root.File = k.file
	}
	return newTrace(root, objects)
}

// OfFile is the trace of manifests that stand in a file by themselves.
func OfFile(name string, content []byte) *Trace {
	return newTrace(Place{File: name, Line: 1}, definitions(name, content))
}

func newTrace(root Place, objects []*tracked) *Trace {
	t := &Trace{root: root, objects: objects, byName: map[string][]*tracked{}}
	for _, o := range objects {
		t.byName[o.kindKey()] = append(t.byName[o.kindKey()], o)
	}
	return t
}

// Object is the beginning of what defines an object; ok is false for one that
// is not known here.
func (t *Trace) Object(o *manifest.Object) (Place, bool) {
	found := t.find(o)
	if found == nil {
		return t.root, false
	}
	return found.place(), true
}

// Field is where a field of a rendered object is set: by the last patch or
// directive that gave it its value, else by its definition. Of a field that is
// absent, the place of what removed it, or of its nearest parent.
func (t *Trace) Field(o *manifest.Object, field string) Place {
	found := t.find(o)
	if found == nil {
		return t.root
	}
	at := locate(o.Object, field)
	if at.rest == "" && len(at.steps) > 0 {
		if place, ok := found.setter(o, at); ok {
			return place
		}
	}
	if at.rest != "" {
		if place, ok := found.remover(o, at); ok {
			return place
		}
	}
	return found.holder(o, at)
}

// Root is the kustomization itself, for what is about no object.
func (t *Trace) Root() Place { return t.root }

// find is the tracked object that became a rendered one.
func (t *Trace) find(o *manifest.Object) *tracked {
	id := manifest.IDOf(o)
	var best *tracked
	for _, candidate := range t.byName[id.Kind+"."+id.Group] {
		if !candidate.named(id.Name) {
			continue
		}
		if candidate.namespace() == id.Namespace {
			return candidate
		}
		if best == nil {
			best = candidate
		}
	}
	return best
}

// tracked is an object on its way through the kustomizations.
type tracked struct {
	group, kind string
	names       []string // that it has had, the present one last
	namespaces  []string
	generated   bool // its name gets a hash
	definition  *source
	changes     []change // in the order in which they are made
}

func (o *tracked) kindKey() string   { return o.kind + "." + o.group }
func (o *tracked) name() string      { return o.names[len(o.names)-1] }
func (o *tracked) namespace() string { return o.namespaces[len(o.namespaces)-1] }
func (o *tracked) place() Place {
	return Place{File: o.definition.file, Line: o.definition.line(o.definition.node), Exact: true}
}

// named allows for the hash that kustomize puts behind a generated name.
func (o *tracked) named(name string) bool {
	const hash = 11 // with the hyphen
	rest, found := strings.CutPrefix(name, o.name())
	return found && (rest == "" || o.generated && len(rest) == hash && rest[0] == '-')
}

// change is something that changes an object after its definition.
type change struct {
	source
	selector selector // what it is for; labels are asked of the rendered object
	effect   effect
}

// effect is what a change does to fields.
type effect interface {
	// hit tells how far it says something of a field.
	hit(at location) hit
	// removes is where it takes a field away; nil if it does not.
	removes(at location) *yaml.Node
}

// source is a part of a file: a node, and what its lines are to be counted from.
type source struct {
	file   string
	node   *yaml.Node
	offset int  // of a document inside another
	fixed  bool // no line of its own counts: quoted text in another document
}

func (s source) line(n *yaml.Node) int {
	if s.fixed || n == nil || n.Line == 0 {
		return max(s.offset, 1)
	}
	return s.offset + n.Line
}

// setter is the last change that gave a scalar field its value. A change that
// sets the field to something else is kept for the case that nothing fits.
func (o *tracked) setter(rendered *manifest.Object, at location) (Place, bool) {
	if !isScalar(at.value) {
		return Place{}, false
	}
	var near *Place
	for i := len(o.changes) - 1; i >= 0; i-- {
		c := o.changes[i]
		if !c.selector.matchesRendered(rendered) {
			continue
		}
		h := c.effect.hit(at)
		if h.node == nil || h.depth < len(at.steps) {
			continue
		}
		place := Place{File: c.file, Line: c.line(h.node), Exact: true}
		if h.sets(at.value) {
			return place, true
		}
		if near == nil {
			place.Exact = false
			near = &place
		}
	}
	h := descend(o.definition.node, at.steps)
	switch {
	case h.depth == len(at.steps) && (h.sets(at.value) || near == nil):
		return Place{File: o.definition.file, Line: o.definition.line(h.node), Exact: h.sets(at.value)}, true
	case near != nil:
		return *near, true
	}
	return Place{}, false
}

// remover is the last change that took a field, or what holds it, away.
func (o *tracked) remover(rendered *manifest.Object, at location) (Place, bool) {
	for i := len(o.changes) - 1; i >= 0; i-- {
		c := o.changes[i]
		if n := c.effect.removes(at); n != nil && c.selector.matchesRendered(rendered) {
			return Place{File: c.file, Line: c.line(n), Exact: true}, true
		}
	}
	return Place{}, false
}

// holder is the definition of a field that holds others, or of the nearest
// parent that there is: the first that has most of it.
func (o *tracked) holder(rendered *manifest.Object, at location) Place {
	best := descend(o.definition.node, at.steps)
	place := Place{File: o.definition.file, Line: o.definition.line(best.node)}
	for _, c := range o.changes {
		if !c.selector.matchesRendered(rendered) {
			continue
		}
		if h := c.effect.hit(at); h.node != nil && h.depth > best.depth {
			best = h
			place = Place{File: c.file, Line: c.line(h.node)}
		}
	}
	place.Exact = best.depth == len(at.steps) && at.rest == "" && !isScalar(at.value)
	return place
}

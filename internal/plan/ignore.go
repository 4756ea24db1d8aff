package plan

import (
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/structured-merge-diff/v6/fieldpath"
	"sigs.k8s.io/structured-merge-diff/v6/value"

	"chaperone.dev/chaperone/internal/manifest"
	"chaperone.dev/chaperone/internal/promotion"
)

// Leave says which fields belong to others once others have written them, so
// that they are left out of what is sent: what an environment's ignoreDrift
// names, and what autoscalers decide. A field that only we have written is sent
// as it is rendered: leaving it out would remove it.
type Leave []leave

type leave struct {
	kind     schema.GroupKind // no Kind: any; no Group: of any group
	name     string           // "": any
	fields   []Path           // none: all
	managers []string         // none: all
}

// LeaveOf reads an environment's rules.
func LeaveOf(rules []promotion.Ignore) Leave {
	var all Leave
	for _, rule := range rules {
		l := leave{kind: schema.GroupKind{Group: rule.Group, Kind: rule.Kind}, name: rule.Name, managers: rule.Managers}
		for _, text := range rule.Fields {
			// One that cannot be read was refused with its file; it gives nothing away.
			if path, err := ParsePath(text); err == nil {
				l.fields = append(l.fields, path)
			}
		}
		if len(l.fields) == len(rule.Fields) && len(l.fields)+len(l.managers) > 0 {
			all = append(all, l)
		}
	}
	return all
}

func (l leave) matches(o *manifest.Object) bool {
	gvk := o.GroupVersionKind()
	group := l.kind.Group == "" || l.kind.Group == gvk.Group
	return (l.kind.Kind == "" || l.kind.Kind == gvk.Kind && group) && (l.name == "" || l.name == o.GetName())
}

func (l leave) names(manager string) bool {
	return len(l.managers) == 0 || slices.Contains(l.managers, manager)
}

func (l leave) covers(field fieldpath.Path) bool {
	return len(l.fields) == 0 || slices.ContainsFunc(l.fields, func(p Path) bool { return p.covers(field) })
}

// ownMarks are the owner's: they are never left to anybody.
var ownMarks = fieldpath.NewSet(
	fieldpath.MakePathOrDie("metadata", "labels", LabelPartOf),
	fieldpath.MakePathOrDie("metadata", "annotations", AnnotationEnvironment),
)

// others are the fields of an object that others have written and that are left
// to them, in the order of their writers.
func (all Leave) others(live *manifest.Object, manager string) (left []theirs) {
	rules := slices.DeleteFunc(slices.Clone(all), func(l leave) bool { return !l.matches(live) })
	if len(rules) == 0 && !Autoscaled(live) {
		return nil // as with nearly all objects
	}
	for _, w := range others(live, manager) {
		scales := w.autoscales()
		w.fields.Leaves().Iterate(func(path fieldpath.Path) {
			given := scales || slices.ContainsFunc(rules, func(l leave) bool { return l.names(w.entry.Manager) && l.covers(path) })
			if given && !ownMarks.Has(path) {
				left = append(left, theirs{by: w, path: path.Copy(), scaled: scales})
			}
			for _, l := range rules {
				for _, p := range l.fields {
					// A field within a whole that has one owner.
					if l.names(w.entry.Manager) && len(p) > len(path) && p.leads(path) {
						left = append(left, theirs{by: w, path: path.Copy(), within: p})
					}
				}
			}
		})
	}
	return left
}

// theirs is one field that is left to others.
type theirs struct {
	by     writer
	path   fieldpath.Path
	scaled bool // it is an autoscaler's
	within Path // the field that is named, where what they own is the whole around it
}

// Send is what to send for an object that is there: without what is left to
// others. scaled says whether an autoscaler that has written to it is there
// still. Where the release says 0 that is sent: it turns an autoscaler off.
func (all Leave) Send(sent, live *manifest.Object, manager string, scaled bool) *manifest.Object {
	left := all.others(live, manager)
	if len(left) == 0 {
		return sent
	}
	sent = sent.DeepCopy()
	for _, field := range left {
		switch {
		case field.scaled && (!scaled || isZero(at(sent.Object, field.path))):
		case field.within != nil:
			graft(sent.Object, live.Object, field.within)
		case isWhole(live, sent, field.path):
			without(sent.Object, field.path, nil)
		}
	}
	return sent
}

// Witness names who has written what is left to others, and "" where nobody has.
// While it is the same, and what we own too, an object is as it was.
func (all Leave) Witness(live *manifest.Object, manager string) string {
	var lines []string
	for _, field := range all.others(live, manager) {
		lines = append(lines, field.by.entry.Manager+" "+field.by.entry.Subresource+" "+pathText(field.path)+" "+field.within.String())
	}
	slices.Sort(lines)
	return strings.Join(lines, "\n")
}

// isWhole reports whether what others own is all that a path leads to. The
// record of a map that somebody else has filled is not: it says who made it.
func isWhole(live, sent *manifest.Object, path fieldpath.Path) bool {
	switch node := at(sent.Object, path).(type) {
	case map[string]any:
		if len(node) == 0 {
			return true
		}
	case []any:
		if len(node) == 0 {
			return true
		}
	default:
		return true
	}
	for _, w := range writersOf(live) {
		if w.opaque || deeper(w.fields, path) {
			return false
		}
	}
	return !isEmpty(at(live.Object, path))
}

func deeper(set *fieldpath.Set, path fieldpath.Path) bool {
	for _, element := range path {
		if set = set.WithPrefix(element); set.Empty() {
			return false
		}
	}
	return true
}

func isEmpty(node any) bool {
	switch node := node.(type) {
	case nil:
		return true
	case map[string]any:
		return len(node) == 0
	case []any:
		return len(node) == 0
	}
	return false
}

// without takes a field out, and the maps that become empty by it. A list item
// stays, and so does its key: the item may be ours for what else it holds.
func without(node any, path fieldpath.Path, key *value.FieldList) (rest any, gone bool) {
	if len(path) == 0 {
		return nil, true
	}
	element := path[0]
	switch node := node.(type) {
	case map[string]any:
		name := element.FieldName
		if name == nil || isKey(*name, key) {
			return node, false
		}
		child, found := node[*name]
		if !found {
			return node, false
		}
		if rest, gone := without(child, path[1:], nil); gone {
			delete(node, *name)
		} else {
			node[*name] = rest
		}
		return node, len(node) == 0
	case []any:
		return withoutItem(node, path)
	}
	return node, false
}

func withoutItem(items []any, path fieldpath.Path) (rest any, gone bool) {
	element := path[0]
	if element.Value != nil && len(path) == 1 {
		left := slices.DeleteFunc(slices.Clone(items), func(item any) bool { return equal(item, (*element.Value).Unstructured()) })
		return left, len(left) == 0
	}
	if item := descend(items, element); element.Key != nil && item != nil {
		without(item, path[1:], element.Key)
	}
	return items, false
}

func isKey(name string, key *value.FieldList) bool {
	return key != nil && slices.ContainsFunc(*key, func(f value.Field) bool { return f.Name == name })
}

// graft puts the value that a field has on the cluster in place of the rendered
// one, or takes it away where there is none. It follows a path only where it
// leads somewhere in both.
func graft(sent, live any, path Path) {
	for i, s := range path {
		now, _, there := s.find(live)
		mine, at, rendered := s.find(sent)
		if !rendered {
			return
		}
		if i < len(path)-1 {
			if !there {
				return
			}
			sent, live = mine, now
			continue
		}
		switch node := sent.(type) {
		case map[string]any:
			if there {
				node[s.text] = now
			} else {
				delete(node, s.text)
			}
		case []any:
			if there {
				node[at] = now
			}
		}
	}
}

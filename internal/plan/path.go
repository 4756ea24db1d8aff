package plan

import (
	"fmt"
	"strings"

	"sigs.k8s.io/structured-merge-diff/v6/fieldpath"
)

// Path names a field as people write it, and as diffs show it:
// spec.template.spec.containers[name=api].image, or
// metadata.annotations[example.org/note].
type Path []step

// step is one name, or what stands in brackets: the key of a map, the keys or
// the value of a list item.
type step struct {
	text    string
	bracket bool
}

// ParsePath reads a path.
func ParsePath(text string) (Path, error) {
	var path Path
	rest := text
	for {
		end := strings.IndexAny(rest, ".[]")
		if end < 0 {
			end = len(rest)
		}
		if end == 0 {
			return nil, badPath(text)
		}
		path = append(path, step{text: rest[:end]})
		rest = rest[end:]
		for strings.HasPrefix(rest, "[") {
			inside, after, closed := strings.Cut(rest[1:], "]")
			if !closed || inside == "" || strings.Contains(inside, "[") {
				return nil, badPath(text)
			}
			path = append(path, step{text: inside, bracket: true})
			rest = after
		}
		if rest == "" {
			return path, nil
		}
		if rest[0] != '.' {
			return nil, badPath(text)
		}
		rest = rest[1:]
	}
}

func badPath(text string) error {
	return fmt.Errorf("field %.120q: want names with dots between, and list items or odd keys in brackets, such as "+
		"spec.template.spec.containers[name=api].image or metadata.annotations[example.org/note]", text)
}

func (p Path) String() string {
	var text strings.Builder
	for i, s := range p {
		switch {
		case s.bracket:
			text.WriteString("[" + s.text + "]")
		case i > 0:
			text.WriteString("." + s.text)
		default:
			text.WriteString(s.text)
		}
	}
	return text.String()
}

// means reports whether a step leads the way of an element.
func (s step) means(element fieldpath.PathElement) bool {
	switch {
	case element.FieldName != nil:
		return s.text == *element.FieldName
	case !s.bracket:
		return false
	case element.Key != nil:
		return s.meansItem(func(name string) (string, bool) {
			for _, field := range *element.Key {
				if field.Name == name {
					return plain(field.Value.Unstructured()), true
				}
			}
			return "", false
		})
	case element.Value != nil:
		return s.text == plain((*element.Value).Unstructured())
	}
	return false
}

// meansItem reports whether a step such as [containerPort=80,protocol=TCP] means
// the item with these fields.
func (s step) meansItem(field func(name string) (string, bool)) bool {
	for part := range strings.SplitSeq(s.text, ",") {
		name, want, pair := strings.Cut(part, "=")
		got, found := field(name)
		if !pair || !found || got != want {
			return false
		}
	}
	return true
}

// covers reports whether a field is the one that is named, or in it.
func (p Path) covers(field fieldpath.Path) bool {
	return len(field) >= len(p) && p.leads(field)
}

// leads reports whether a path and a field go the same way as far as both go.
func (p Path) leads(field fieldpath.Path) bool {
	for i := range min(len(p), len(field)) {
		if !p[i].means(field[i]) {
			return false
		}
	}
	return true
}

// find follows one step in an object; index is where in a list.
func (s step) find(node any) (child any, index int, found bool) {
	switch node := node.(type) {
	case map[string]any:
		child, found = node[s.text]
		return child, 0, found
	case []any:
		for i, item := range node {
			if s.bracket && s.is(item) {
				if found {
					return nil, 0, false // which of them is meant, nobody can tell
				}
				child, index, found = item, i, true
			}
		}
	}
	return child, index, found
}

func (s step) is(item any) bool {
	switch item := item.(type) {
	case map[string]any:
		return s.meansItem(func(name string) (string, bool) {
			v, found := item[name]
			return plain(v), found
		})
	case []any:
		return false
	}
	return plain(item) == s.text
}

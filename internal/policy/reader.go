package policy

import (
	"fmt"
	"slices"
	"strings"

	yaml "go.yaml.in/yaml/v3"
)

// reader reads YAML strictly and collects what is wrong, each with its line.
type reader struct {
	file     string
	problems []error
}

type fields struct {
	at     *yaml.Node
	values map[string]*yaml.Node
}

func (f fields) field(name string) *yaml.Node { return f.values[name] }

// maxProblems bounds what one file may complain about.
const maxProblems = 50

func (r *reader) wrong(node *yaml.Node, format string, args ...any) {
	if len(r.problems) >= maxProblems {
		return
	}
	line := 1
	if node != nil {
		line = max(1, node.Line)
	}
	r.problems = append(r.problems, fmt.Errorf("%s:%d: %s", r.file, line, fmt.Sprintf(format, args...)))
}

// mapping takes a mapping apart and refuses fields that are not known.
func (r *reader) mapping(node *yaml.Node, what string, known ...string) fields {
	if node != nil && node.Kind == yaml.DocumentNode && len(node.Content) == 1 {
		node = node.Content[0]
	}
	out := fields{at: node, values: map[string]*yaml.Node{}}
	if node == nil || node.Kind != yaml.MappingNode {
		r.wrong(node, "%s: want a mapping of %s", what, strings.Join(known, ", "))
		return out
	}
	for i := 0; i+1 < len(node.Content); i += 2 {
		key := node.Content[i]
		switch {
		case !slices.Contains(known, key.Value):
			r.wrong(key, "%s: no field %.60q; want %s", what, key.Value, strings.Join(known, ", "))
		case out.values[key.Value] != nil:
			r.wrong(key, "%s: %s stands twice", what, key.Value)
		default:
			out.values[key.Value] = node.Content[i+1]
		}
	}
	return out
}

// text is a field that must be there and not be empty.
func (r *reader) text(f fields, name string) string {
	node := f.values[name]
	if node == nil {
		if f.at != nil && f.at.Kind == yaml.MappingNode { // said already otherwise
			r.wrong(f.at, "%s is missing", name)
		}
		return ""
	}
	return r.scalar(node, name)
}

func (r *reader) scalar(node *yaml.Node, name string) string {
	if node.Kind != yaml.ScalarNode || node.Tag == "!!null" || strings.TrimSpace(node.Value) == "" {
		r.wrong(node, "%s: want a text", name)
		return ""
	}
	return strings.TrimSpace(node.Value)
}

func (r *reader) equal(f fields, name, want string) {
	if got := r.text(f, name); got != "" && got != want {
		r.wrong(f.values[name], "%s %.60q: want %s", name, got, want)
	}
}

// items is a list that must be there and not be empty.
func (r *reader) items(f fields, name string, limit int) []*yaml.Node {
	node := f.values[name]
	switch {
	case node == nil:
		if f.at != nil && f.at.Kind == yaml.MappingNode {
			r.wrong(f.at, "%s is missing", name)
		}
	case node.Kind != yaml.SequenceNode || len(node.Content) == 0:
		r.wrong(node, "%s: want a list with at least one entry", name)
	case len(node.Content) > limit:
		r.wrong(node, "%s: %d entries are over-broad; want at most %d", name, len(node.Content), limit)
	default:
		return node.Content
	}
	return nil
}

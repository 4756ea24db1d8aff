package origin

import (
	"strconv"
	"strings"

	yaml "go.yaml.in/yaml/v3"
)

// merged is a patch that looks like a part of the object.
type merged struct{ node *yaml.Node }

func (m merged) hit(at location) hit { return descend(m.node, at.steps) }

// removes finds a null, and `$patch: delete` in a parent.
func (m merged) removes(at location) *yaml.Node {
	h := descend(m.node, at.steps)
	if _, deletes := member(h.value, "$patch", maxMerges); deletes != nil && deletes.Value == "delete" {
		return h.node
	}
	if h.depth < len(at.steps) {
		return nil
	}
	for key, value := range members(h.value) {
		if begins(at.rest, key.Value) && resolved(value).Kind == yaml.ScalarNode && resolved(value).Tag == "!!null" {
			return key
		}
	}
	return nil
}

func members(n *yaml.Node) func(yield func(key, value *yaml.Node) bool) {
	return func(yield func(key, value *yaml.Node) bool) {
		n = resolved(n)
		if n == nil || n.Kind != yaml.MappingNode {
			return
		}
		for i := 0; i+1 < len(n.Content); i += 2 {
			if resolved(n.Content[i+1]) != nil && !yield(n.Content[i], n.Content[i+1]) {
				return
			}
		}
	}
}

func begins(rest, key string) bool {
	after, found := strings.CutPrefix(rest, key)
	return found && key != "" && (after == "" || after[0] == '.' || after[0] == '[')
}

// operations are a JSON patch (RFC 6902).
type operations []operation

type operation struct {
	op    string
	path  []string
	node  *yaml.Node // of the operation
	sets  *yaml.Node // the key `value`
	value *yaml.Node
}

func operationsOf(list *yaml.Node) operations {
	var ops operations
	if list = resolved(list); list == nil || list.Kind != yaml.SequenceNode {
		return nil
	}
	for _, entry := range list.Content {
		_, op := member(entry, "op", maxMerges)
		_, path := member(entry, "path", maxMerges)
		if op == nil || path == nil {
			continue
		}
		sets, value := member(entry, "value", maxMerges)
		ops = append(ops, operation{op: op.Value, path: pointer(path.Value), node: entry, sets: sets, value: value})
	}
	return ops
}

func (o operations) hit(at location) hit {
	var best hit
	for i := len(o) - 1; i >= 0; i-- {
		if h := o[i].hit(at); h.node != nil && (best.node == nil || h.depth > best.depth) {
			best = h
		}
	}
	return best
}

func (o operation) hit(at location) hit {
	if o.op != "add" && o.op != "replace" || o.value == nil {
		return hit{}
	}
	n, all := along(o.path, at.steps)
	switch {
	case !all:
		return hit{}
	case n > 0 && o.path[n-1] == "-":
		s := at.steps[n-1]
		s.entries = -1 // its place in the list tells nothing
		if entryOf(&yaml.Node{Kind: yaml.SequenceNode, Content: []*yaml.Node{o.value}}, s) == nil {
			return hit{}
		}
	}
	h := descend(o.value, at.steps[n:])
	if h.depth == 0 {
		h.node = o.sets
	}
	h.depth += n
	return h
}

func (o operations) removes(at location) *yaml.Node {
	for i := len(o) - 1; i >= 0; i-- {
		if o[i].op != "remove" {
			continue
		}
		n, all := along(o[i].path, at.steps)
		if !all && n == len(at.steps) && n < len(o[i].path) && begins(at.rest, o[i].path[n]) {
			return o[i].node
		}
	}
	return nil
}

// directive is a line of a kustomization that sets the fields it matches.
type directive struct {
	node    *yaml.Node
	matches func(at location) bool
}

func (d directive) hit(at location) hit {
	if at.rest != "" || len(at.steps) == 0 || !d.matches(at) {
		return hit{}
	}
	return hit{depth: len(at.steps), node: d.node}
}

func (d directive) removes(location) *yaml.Node { return nil }

func setsField(path ...string) func(location) bool {
	return func(at location) bool {
		keys := keysOf(at.steps)
		return len(keys) == len(path) && endsWith(keys, path...)
	}
}

// setsNamespace is metadata.namespace, and the subjects of role bindings.
func setsNamespace(value string) func(location) bool {
	return func(at location) bool {
		keys := keysOf(at.steps)
		inMetadata := len(keys) == 2 && endsWith(keys, "metadata", "namespace")
		inSubjects := len(keys) == 3 && endsWith(keys, "subjects", "", "namespace")
		return at.value == any(value) && (inMetadata || inSubjects)
	}
}

// setsLabel is a key wherever labels, selectors or annotations have it with
// the value.
func setsLabel(key, value string, below ...string) func(location) bool {
	return func(at location) bool {
		keys := keysOf(at.steps)
		for _, parent := range below {
			if endsWith(keys, parent, key) {
				return at.value == any(value)
			}
		}
		return false
	}
}

// imageDirective is an entry of `images`.
type imageDirective struct{ name, newName, newTag, digest string }

// made reports whether a container's image is what the entry makes of it.
func (i imageDirective) made(at location) bool {
	keys := keysOf(at.steps)
	image, _ := at.value.(string)
	if !endsWith(keys, "", "image") || image == "" {
		return false
	}
	name := i.newName
	if name == "" {
		name = i.name
	}
	rest, found := strings.CutPrefix(image, name)
	switch {
	case !found || rest != "" && rest[0] != ':' && rest[0] != '@':
		return false
	case i.digest != "":
		return strings.HasSuffix(rest, "@"+i.digest)
	case i.newTag != "":
		return rest == ":"+i.newTag || strings.HasPrefix(rest, ":"+i.newTag+"@")
	}
	return i.newName != ""
}

// fieldPath is a path of a replacement's target: keys by dots, [key=value] or
// a number for an entry of a list, * for any.
type fieldPath []string

func fieldPathOf(text string) fieldPath {
	var parts fieldPath
	for rest := text; rest != ""; {
		part := rest
		if strings.HasPrefix(rest, "[") {
			end := strings.IndexByte(rest, ']')
			if end < 0 {
				return nil
			}
			part, rest = rest[:end+1], strings.TrimPrefix(rest[end+1:], ".")
		} else {
			part, rest, _ = strings.Cut(rest, ".")
		}
		parts = append(parts, part)
	}
	return parts
}

func (f fieldPath) matches(at location) bool {
	if len(f) != len(at.steps) {
		return false
	}
	for i, s := range at.steps {
		if f[i] != "*" && !s.is(f[i]) {
			return false
		}
	}
	return true
}

// is compares a step with a part of a fieldPath.
func (s step) is(part string) bool {
	inner, bracket := strings.CutPrefix(part, "[")
	inner = strings.TrimSuffix(inner, "]")
	if s.key != "" {
		return s.key == inner
	}
	if !bracket {
		return part == strconv.Itoa(s.index)
	}
	key, want, found := strings.Cut(inner, "=")
	if !found {
		return inner == strconv.Itoa(s.index)
	}
	fields, _ := s.entry.(map[string]any)
	value, _ := fields[key].(string)
	return value == want
}

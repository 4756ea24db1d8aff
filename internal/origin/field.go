package origin

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	yaml "go.yaml.in/yaml/v3"
)

// step is one step from an object's root to a field.
type step struct {
	key     string
	index   int // of a list's entry; key is "" then
	entry   any // as rendered
	entries int // of the rendered list
}

// location is a field of a rendered object.
type location struct {
	steps []step // as far as the object has the field
	rest  string // of the path, which it does not have
	value any    // at the end of steps
}

// locate follows a path such as spec.containers[0].image. A key may have dots,
// so the longest that the object has is taken.
func locate(object map[string]any, field string) location {
	at := location{value: object, rest: strings.TrimPrefix(field, ".")}
	for at.rest != "" {
		var next location
		switch value := at.value.(type) {
		case map[string]any:
			next = intoKey(value, at.rest)
		case []any:
			next = intoEntry(value, at.rest)
		}
		if len(next.steps) == 0 {
			return at
		}
		at.steps = append(at.steps, next.steps...)
		at.value, at.rest = next.value, strings.TrimPrefix(next.rest, ".")
	}
	return at
}

func intoKey(mapping map[string]any, rest string) location {
	if key, after, found := quotedKey(rest); found {
		if value, has := mapping[key]; has {
			return location{steps: []step{{key: key}}, rest: after, value: value}
		}
		return location{}
	}
	best, found := "", false
	for key := range mapping {
		after, is := strings.CutPrefix(rest, key)
		if is && key != "" && (after == "" || after[0] == '.' || after[0] == '[') && len(key) >= len(best) {
			best, found = key, true
		}
	}
	if !found {
		return location{}
	}
	return location{steps: []step{{key: best}}, rest: rest[len(best):], value: mapping[best]}
}

// quotedKey reads ["key"] and ['key'].
func quotedKey(rest string) (key, after string, found bool) {
	if len(rest) < 4 || rest[0] != '[' || rest[1] != '"' && rest[1] != '\'' {
		return "", "", false
	}
	end := strings.Index(rest[2:], string(rest[1])+"]")
	if end < 0 {
		return "", "", false
	}
	return rest[2 : 2+end], rest[2+end+2:], true
}

func intoEntry(list []any, rest string) location {
	text, after := rest, ""
	if strings.HasPrefix(rest, "[") {
		inside, behind, found := strings.Cut(rest[1:], "]")
		if !found {
			return location{}
		}
		text, after = inside, behind
	} else if dot := strings.IndexByte(rest, '.'); dot >= 0 {
		text, after = rest[:dot], rest[dot:]
	}
	index, err := strconv.Atoi(text)
	if err != nil || index < 0 || index >= len(list) {
		return location{}
	}
	return location{steps: []step{{index: index, entry: list[index], entries: len(list)}}, rest: after, value: list[index]}
}

// mergeKeys tell the entries of Kubernetes' lists apart, the usual ones first.
var mergeKeys = []string{"name", "containerPort", "port", "mountPath", "devicePath", "ip", "topologyKey", "key", "uid", "type"}

// hit is how far a source says something of a field.
type hit struct {
	depth int
	node  *yaml.Node // where it stands: the key, or a list's entry
	value *yaml.Node // nil: a directive, which sets what it matches
}

func (h hit) sets(value any) bool {
	return h.value == nil || h.value.Kind == yaml.ScalarNode && sameScalar(h.value, value)
}

// descend follows steps into a node as far as it goes.
func descend(node *yaml.Node, steps []step) hit {
	h := hit{node: node, value: node}
	for _, s := range steps {
		place, value := child(h.value, s)
		if value == nil {
			return h
		}
		h = hit{depth: h.depth + 1, node: place, value: value}
	}
	return h
}

func child(n *yaml.Node, s step) (place, value *yaml.Node) {
	n = resolved(n)
	switch {
	case n == nil:
	case n.Kind == yaml.MappingNode && s.key != "":
		return member(n, s.key, maxMerges)
	case n.Kind == yaml.SequenceNode && s.key == "":
		entry := entryOf(n, s)
		return entry, entry
	}
	return nil, nil
}

const maxMerges = 8 // `<<` inside `<<`

// member finds a key of a mapping, also through `<<`.
func member(n *yaml.Node, key string, merges int) (place, value *yaml.Node) {
	if n = resolved(n); n == nil || n.Kind != yaml.MappingNode {
		return nil, nil
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		if n.Content[i].Value == key {
			return n.Content[i], n.Content[i+1]
		}
	}
	for i := 0; i+1 < len(n.Content) && merges > 0; i += 2 {
		if n.Content[i].Tag != "!!merge" {
			continue
		}
		sources := []*yaml.Node{n.Content[i+1]}
		if list := resolved(n.Content[i+1]); list != nil && list.Kind == yaml.SequenceNode {
			sources = list.Content
		}
		for _, merged := range sources {
			if place, value = member(merged, key, merges-1); value != nil {
				return place, value
			}
		}
	}
	return nil, nil
}

// entryOf finds a list's entry by what tells entries apart, else by its place in
// a list of the same length.
func entryOf(list *yaml.Node, s step) *yaml.Node {
	is, keyed := s.told()
	var inPlace *yaml.Node
	if len(list.Content) == s.entries {
		inPlace = list.Content[s.index]
		if is(inPlace) { // as a rule: a long list is not searched for each of its entries
			return inPlace
		}
	}
	if i := slices.IndexFunc(list.Content, is); i >= 0 {
		return list.Content[i]
	}
	if keyed {
		return nil
	}
	return inPlace
}

// told is by what the step's entry is told from others, and whether that is one
// of mergeKeys.
func (s step) told() (is func(*yaml.Node) bool, keyed bool) {
	fields, mapping := s.entry.(map[string]any)
	if !mapping {
		return func(n *yaml.Node) bool { return sameScalar(n, s.entry) }, false
	}
	for _, key := range mergeKeys {
		if want, has := fields[key]; has && isScalar(want) {
			return func(n *yaml.Node) bool {
				_, value := member(n, key, maxMerges)
				return value != nil && sameScalar(value, want)
			}, true
		}
	}
	return func(n *yaml.Node) bool { return sameMapping(n, fields) }, false
}

func resolved(n *yaml.Node) *yaml.Node {
	if n != nil && n.Kind == yaml.DocumentNode && len(n.Content) > 0 {
		n = n.Content[0]
	}
	if n != nil && n.Kind == yaml.AliasNode {
		return n.Alias
	}
	return n
}

func isScalar(value any) bool {
	switch value.(type) {
	case map[string]any, []any:
		return false
	}
	return true
}

// sameScalar compares what a file says with what was rendered: 1 and "1" are
// the same here, as kustomize may have turned one into the other.
func sameScalar(n *yaml.Node, value any) bool {
	n = resolved(n)
	if n == nil || n.Kind != yaml.ScalarNode {
		return false
	}
	if value == nil {
		return n.Tag == "!!null"
	}
	text := fmt.Sprint(value)
	if n.Value == text {
		return true
	}
	var decoded any
	return n.Decode(&decoded) == nil && fmt.Sprint(decoded) == text
}

func sameMapping(n *yaml.Node, fields map[string]any) bool {
	var decoded map[string]any
	return n.Decode(&decoded) == nil && fmt.Sprint(decoded) == fmt.Sprint(fields)
}

// pointer reads a JSON pointer.
func pointer(text string) []string {
	if text == "" {
		return nil
	}
	parts := strings.Split(strings.TrimPrefix(text, "/"), "/")
	for i, part := range parts {
		parts[i] = strings.NewReplacer("~1", "/", "~0", "~").Replace(part)
	}
	return parts
}

// along counts how many steps a pointer takes together with them; all is true
// if it leads nowhere else.
func along(parts []string, steps []step) (n int, all bool) {
	for n < len(parts) && n < len(steps) {
		s, part := steps[n], parts[n]
		same := s.key == part
		if s.key == "" {
			same = part == strconv.Itoa(s.index) || part == "-" && n == len(parts)-1
		}
		if !same {
			return n, false
		}
		n++
	}
	return n, n == len(parts)
}

// keysOf are the keys of steps, entries of lists as "".
func keysOf(steps []step) []string {
	keys := make([]string, 0, len(steps))
	for _, s := range steps {
		keys = append(keys, s.key)
	}
	return keys
}

func endsWith(keys []string, tail ...string) bool {
	return len(keys) >= len(tail) && slices.Equal(keys[len(keys)-len(tail):], tail)
}

package render

import (
	"regexp"
	"slices"
	"strings"

	yaml "go.yaml.in/yaml/v3"
	"sigs.k8s.io/kustomize/api/konfig"
)

// sheet is what a file of objects holds, as far as dividing a build needs it.
type sheet struct {
	docs  []sheetDoc
	whole bool // its documents cannot be told apart, or not without changing what they are
}

type sheetDoc struct {
	text   string
	heads  []head
	values []string
	spaced bool // it may refer to an object of a namespace that it names
}

// head is what an object is called.
type head struct{ apiVersion, kind, namespace, name string }

// maxName is the longest name of a Kubernetes object; what is longer refers to none.
const maxName = 253

// plainSeparator is one that kustomize accepts.
var plainSeparator = regexp.MustCompile(`^\n---\s*(#.*)?\n$`)

// outline remembers what a file holds. Where a name cannot be read without
// doubt, nothing is divided.
func (s *survey) outline(name string, content []byte, documents []document) {
	if s.uncertain || s.sheets[name] != nil {
		return
	}
	text := strings.ReplaceAll(string(content), "\r\n", "\n")
	separators := separator.FindAllString(text, -1)
	for _, found := range separators {
		s.uncertain = s.uncertain || !plainSeparator.MatchString(found)
	}
	of := &sheet{whole: strings.Contains(text, "\r\n")}
	for _, d := range documents {
		root := d.node.Content[0]
		if root.ShortTag() == "!!null" {
			continue
		}
		doc := sheetDoc{text: d.text}
		var certain bool
		if doc.heads, certain = heads(root); !certain {
			s.uncertain = true
			return
		}
		if len(separators) > 0 && isListKind(root) { // a list by itself is taken apart in another way
			of.whole = true
		}
		found, certain := references(root)
		if !certain {
			s.uncertain = true
			return
		}
		own := 0
		for _, h := range doc.heads {
			if h.namespace != "" {
				own++
			}
		}
		doc.values, doc.spaced = found.values, found.aliases || found.subjects || found.namespaces > own
		of.docs = append(of.docs, doc)
	}
	s.sheets[name] = of
}

func isListKind(root *yaml.Node) bool {
	kind := field(root, "kind")
	return kind != nil && kind.Kind == yaml.ScalarNode && strings.HasSuffix(kind.Value, "List")
}

// heads are those of an object, or of all that a list holds.
func heads(root *yaml.Node) ([]head, bool) {
	if root.Kind != yaml.MappingNode || field(root, "<<") != nil {
		return nil, false
	}
	if items := field(root, "items"); items != nil && isListKind(root) {
		if items.Kind != yaml.SequenceNode {
			return nil, false
		}
		var found []head
		for _, item := range items.Content {
			more, certain := heads(item)
			if !certain {
				return nil, false
			}
			found = append(found, more...)
		}
		return found, true
	}
	metadata := field(root, "metadata")
	if metadata == nil || metadata.Kind != yaml.MappingNode || field(metadata, "<<") != nil {
		return nil, false
	}
	var h head
	for _, at := range []struct {
		in    *yaml.Node
		field string
		value *string
	}{{root, "apiVersion", &h.apiVersion}, {root, "kind", &h.kind}, {metadata, "namespace", &h.namespace}, {metadata, "name", &h.name}} {
		n := field(at.in, at.field)
		if n != nil && n.Kind != yaml.ScalarNode {
			return nil, false
		}
		if n != nil {
			*at.value = n.Value
		}
	}
	return []head{h}, h.kind != "" && usualName(h.name)
}

// usualName is false for what kustomize's own lists of names cannot hold.
func usualName(name string) bool {
	return name != "" && len(name) <= maxName && !strings.ContainsAny(name, ",\n")
}

// mentions is what a document says that could be about another object.
type mentions struct {
	values     []string // that may be names
	namespaces int      // keys of that name
	subjects   bool
	aliases    bool
}

// references looks through a document. It is not certain where an object brings
// annotations that kustomize takes for its own.
func references(root *yaml.Node) (mentions, bool) {
	var found mentions
	certain := true
	scalarsOf(root, func(n *yaml.Node, key bool) {
		certain = certain && !strings.Contains(n.Value, konfig.ConfigAnnoDomain)
		switch {
		case key && n.Value == "namespace":
			found.namespaces++
		case key && n.Value == "subjects":
			found.subjects = true
		case n.Kind == yaml.AliasNode:
			found.aliases = true
		case !key && usualName(n.Value):
			found.values = append(found.values, n.Value)
		}
	})
	slices.Sort(found.values)
	found.values = slices.Clip(slices.Compact(found.values))
	return found, certain
}

// scalarsOf visits the scalars of a document once, and its aliases.
func scalarsOf(n *yaml.Node, visit func(n *yaml.Node, key bool)) {
	for i, child := range n.Content {
		if child.Kind == yaml.ScalarNode || child.Kind == yaml.AliasNode {
			visit(child, n.Kind == yaml.MappingNode && i%2 == 0)
		}
		scalarsOf(child, visit)
	}
}

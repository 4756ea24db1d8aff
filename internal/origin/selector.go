package origin

import (
	"regexp"
	"slices"

	yaml "go.yaml.in/yaml/v3"
	"k8s.io/apimachinery/pkg/labels"

	"chaperone.dev/chaperone/internal/manifest"
)

// selector is the target of a patch, or the select of a replacement.
type selector struct {
	group, kind, name, namespace *regexp.Regexp // nil: any
	labels, annotations          labels.Selector
	impossible                   bool // not understood: it matches nothing
}

// selectorOf reads a target, whose texts are regular expressions for the whole.
func selectorOf(n *yaml.Node) selector {
	var s selector
	for key, into := range map[string]**regexp.Regexp{"group": &s.group, "kind": &s.kind, "name": &s.name, "namespace": &s.namespace} {
		text := textOf(n, key)
		if text == "" {
			continue
		}
		pattern, err := regexp.Compile("^(?:" + text + ")$")
		s.impossible = s.impossible || err != nil
		*into = pattern
	}
	for key, into := range map[string]*labels.Selector{"labelSelector": &s.labels, "annotationSelector": &s.annotations} {
		text := textOf(n, key)
		if text == "" {
			continue
		}
		parsed, err := labels.Parse(text)
		s.impossible = s.impossible || err != nil
		*into = parsed
	}
	return s
}

// exactly selects the object that a patch names itself.
func exactly(d *tracked) selector {
	s := selector{group: literal(d.group), kind: literal(d.kind), name: literal(d.name())}
	if d.namespace() != "" {
		s.namespace = literal(d.namespace())
	}
	return s
}

func literal(text string) *regexp.Regexp {
	return regexp.MustCompile("^" + regexp.QuoteMeta(text) + "$")
}

// matches asks everything but labels and annotations, which an object may still
// be given.
func (s selector) matches(o *tracked) bool {
	fits := func(pattern *regexp.Regexp, texts ...string) bool {
		return pattern == nil || slices.ContainsFunc(texts, pattern.MatchString)
	}
	return !s.impossible && fits(s.group, o.group) && fits(s.kind, o.kind) && fits(s.name, o.names...) &&
		fits(s.namespace, o.namespaces...)
}

func (s selector) matchesRendered(o *manifest.Object) bool {
	return (s.labels == nil || s.labels.Matches(labels.Set(o.GetLabels()))) &&
		(s.annotations == nil || s.annotations.Matches(labels.Set(o.GetAnnotations())))
}

func textOf(n *yaml.Node, key string) string {
	if _, value := member(n, key, maxMerges); value != nil {
		return resolved(value).Value
	}
	return ""
}

package origin

import (
	"path"

	yaml "go.yaml.in/yaml/v3"
	"sigs.k8s.io/kustomize/kyaml/resid"
)

// transform adds a directory's changes to the objects, in kustomize's order.
func (w *walker) transform(k *kustomization, objects []*tracked) {
	for _, key := range []string{"patchesStrategicMerge", "patches"} {
		for _, entry := range k.list(key) {
			w.patch(k, resolved(entry), objects)
		}
	}
	k.namespace(objects)
	k.names(objects)
	for _, entry := range k.list("labels") {
		_, pairs := member(entry, "pairs", maxMerges)
		k.pairs(pairs, objects, "labels", "matchLabels", "selector")
	}
	k.pairsOf("commonLabels", objects, "labels", "matchLabels", "selector")
	k.pairsOf("commonAnnotations", objects, "annotations")
	for _, entry := range k.list("patchesJson6902") {
		w.patch(k, resolved(entry), objects)
	}
	for _, entry := range k.list("replicas") {
		name := textOf(entry, "name")
		k.direct(lineOf(entry, "count"), objects, selector{name: literal(name)}, setsField("spec", "replicas"))
	}
	for _, entry := range append(k.list("images"), k.list("imageTags")...) {
		image := imageDirective{textOf(entry, "name"), textOf(entry, "newName"), textOf(entry, "newTag"), textOf(entry, "digest")}
		k.direct(lineOf(entry, "newTag", "digest", "newName"), objects, selector{}, image.made)
	}
	for _, entry := range k.list("replacements") {
		w.replace(k, resolved(entry), objects)
	}
}

// lineOf is the first of the keys that an entry has, or the entry.
func lineOf(entry *yaml.Node, keys ...string) *yaml.Node {
	for _, key := range keys {
		if place, value := member(entry, key, maxMerges); value != nil {
			return place
		}
	}
	return entry
}

// direct adds a directive to the objects that it is for.
func (k *kustomization) direct(n *yaml.Node, objects []*tracked, s selector, matches func(location) bool) {
	src := source{file: k.file, node: n}
	add(objects, change{source: src, selector: s, effect: directive{node: n, matches: matches}})
}

func add(objects []*tracked, c change) {
	for _, o := range objects {
		if c.selector.matches(o) {
			o.changes = append(o.changes, c)
		}
	}
}

func (k *kustomization) namespace(objects []*tracked) {
	place, value := member(k.root, "namespace", maxMerges)
	if value == nil || value.Value == "" {
		return
	}
	k.direct(place, objects, selector{}, setsNamespace(value.Value))
	k.direct(place, objects, selector{kind: literal("Namespace")}, setsField("metadata", "name"))
	for _, o := range objects {
		if o.kind == "Namespace" && o.group == "" { // kustomize names it so
			o.names = append(o.names, value.Value)
		}
		if !resid.NewGvk(o.group, "", o.kind).IsClusterScoped() {
			o.namespaces = append(o.namespaces, value.Value)
		}
	}
}

func (k *kustomization) names(objects []*tracked) {
	for _, key := range []string{"namePrefix", "nameSuffix"} {
		place, value := member(k.root, key, maxMerges)
		if value == nil || value.Value == "" {
			continue
		}
		k.direct(place, objects, selector{}, setsField("metadata", "name"))
		for _, o := range objects {
			switch {
			case o.kind == "Namespace" || o.kind == "CustomResourceDefinition" || o.kind == "APIService":
			case key == "namePrefix":
				o.names = append(o.names, value.Value+o.name())
			default:
				o.names = append(o.names, o.name()+value.Value)
			}
		}
	}
}

func (k *kustomization) pairsOf(key string, objects []*tracked, below ...string) {
	_, pairs := member(k.root, key, maxMerges)
	k.pairs(pairs, objects, below...)
}

func (k *kustomization) pairs(pairs *yaml.Node, objects []*tracked, below ...string) {
	for key, value := range members(pairs) {
		k.direct(key, objects, selector{}, setsLabel(key.Value, resolved(value).Value, below...))
	}
}

// patch adds one patch: a file, text inside the kustomization, or a path by
// itself, as older kustomizations have it.
func (w *walker) patch(k *kustomization, entry *yaml.Node, objects []*tracked) {
	src, documents := w.patchText(k, entry)
	_, target := member(entry, "target", maxMerges)
	for _, document := range documents {
		src.node = document
		c := change{source: src, selector: selectorOf(target)}
		if ops := operationsOf(document); ops != nil {
			c.effect = ops
		} else {
			c.effect = merged{document}
			if target == nil {
				named := trackedOf(document)
				if named == nil {
					continue
				}
				c.selector = exactly(named)
			}
		}
		add(objects, c)
	}
}

func (w *walker) patchText(k *kustomization, entry *yaml.Node) (source, []*yaml.Node) {
	text, file := entry, ""
	switch entry.Kind {
	case yaml.MappingNode:
		file = textOf(entry, "path")
		_, text = member(entry, "patch", maxMerges)
	case yaml.ScalarNode:
		if content := w.read(path.Join(k.dir, entry.Value)); content != nil {
			return source{file: path.Join(k.dir, entry.Value)}, parse(content)
		}
	}
	if file != "" {
		return source{file: path.Join(k.dir, file)}, parse(w.read(path.Join(k.dir, file)))
	}
	if text = resolved(text); text == nil {
		return source{}, nil
	}
	src := source{file: k.file, offset: text.Line}
	src.fixed = text.Style&yaml.LiteralStyle == 0 // only there are its lines the file's
	return src, parse([]byte(text.Value))
}

// replace adds the targets of a replacement, which may stand in a file.
func (w *walker) replace(k *kustomization, entry *yaml.Node, objects []*tracked) {
	if name := textOf(entry, "path"); name != "" {
		file := path.Join(k.dir, name)
		for _, document := range parse(w.read(file)) {
			entries := []*yaml.Node{document}
			if document.Kind == yaml.SequenceNode {
				entries = document.Content
			}
			for _, e := range entries {
				replacement(file, resolved(e), objects)
			}
		}
		return
	}
	replacement(k.file, entry, objects)
}

func replacement(file string, entry *yaml.Node, objects []*tracked) {
	_, targets := member(entry, "targets", maxMerges)
	if targets = resolved(targets); targets == nil {
		return
	}
	for _, target := range targets.Content {
		_, chosen := member(target, "select", maxMerges)
		_, paths := member(target, "fieldPaths", maxMerges)
		if paths = resolved(paths); paths == nil {
			continue
		}
		for _, p := range paths.Content {
			add(objects, change{source: source{file: file, node: p}, selector: selectorOf(chosen),
				effect: directive{node: p, matches: fieldPathOf(resolved(p).Value).matches}})
		}
	}
}

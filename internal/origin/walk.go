package origin

import (
	"bytes"
	"io"
	"io/fs"
	"path"
	"slices"
	"strings"

	yaml "go.yaml.in/yaml/v3"
)

// Bounds on what is read, well above what a render accepts.
const (
	maxFiles = 20_000
	maxBytes = 64 << 20
	maxDepth = 64 // of directories that lead to others
)

// walker follows kustomizations in the order in which kustomize does: what is
// in a directory, its generators, its components, then what changes them all.
type walker struct {
	tree  fs.FS
	files int
	bytes int
	open  []string // directories on the way to the present one
}

// read gives a file's content, nil if it is not to be had.
func (w *walker) read(name string) []byte {
	if w.files <= 0 || w.bytes <= 0 || !fs.ValidPath(name) {
		return nil
	}
	w.files--
	info, err := fs.Stat(w.tree, name)
	if err != nil || info.IsDir() || info.Size() > int64(w.bytes) {
		return nil
	}
	file, err := w.tree.Open(name)
	if err != nil {
		return nil
	}
	defer file.Close()
	content, err := io.ReadAll(io.LimitReader(file, int64(w.bytes)))
	if w.bytes -= len(content); err != nil {
		return nil
	}
	return content
}

// kustomization is one directory's.
type kustomization struct {
	file string
	dir  string
	root *yaml.Node
}

func (w *walker) kustomization(dir string) *kustomization {
	for _, name := range []string{"kustomization.yaml", "kustomization.yml", "Kustomization"} {
		file := path.Join(dir, name)
		content := w.read(file)
		if content == nil {
			continue
		}
		if documents := parse(content); len(documents) > 0 {
			return &kustomization{file: file, dir: dir, root: documents[0]}
		}
	}
	return nil
}

// directory adds to the objects there are what a directory brings, and changes
// those that it is to change: its own, and in a component those before, too.
func (w *walker) directory(dir string, before []*tracked) []*tracked {
	if len(w.open) > maxDepth || slices.Contains(w.open, dir) { // a circle; a render has refused it
		return before
	}
	k := w.kustomization(dir)
	if k == nil {
		return before
	}
	w.open = append(w.open, dir)
	defer func() { w.open = w.open[:len(w.open)-1] }()
	objects := slices.Clone(before)
	for _, name := range append(k.texts("resources"), k.texts("bases")...) {
		target := path.Join(dir, name)
		if content := w.read(target); content != nil {
			objects = append(objects, definitions(target, content)...)
			continue
		}
		objects = append(objects, w.directory(target, nil)...)
	}
	objects = w.generate(k, objects)
	for _, name := range k.texts("components") {
		objects = w.directory(path.Join(dir, name), objects)
	}
	w.transform(k, objects)
	return objects
}

// texts is a list of the kustomization.
func (k *kustomization) texts(key string) []string {
	var texts []string
	for _, entry := range k.list(key) {
		texts = append(texts, resolved(entry).Value)
	}
	return texts
}

func (k *kustomization) list(key string) []*yaml.Node {
	_, value := member(k.root, key, maxMerges)
	if value = resolved(value); value == nil || value.Kind != yaml.SequenceNode {
		return nil
	}
	return slices.DeleteFunc(slices.Clone(value.Content), func(n *yaml.Node) bool { return resolved(n) == nil })
}

func parse(content []byte) (documents []*yaml.Node) {
	// The parser has panicked on bad input before.
	defer func() { _ = recover() }()
	decoder := yaml.NewDecoder(bytes.NewReader(content))
	for {
		var document yaml.Node
		if decoder.Decode(&document) != nil {
			return documents
		}
		if n := resolved(&document); n != nil && n.Kind != yaml.DocumentNode {
			documents = append(documents, n)
		}
	}
}

// definitions are the objects in a file, those of lists one by one.
func definitions(file string, content []byte) []*tracked {
	var found []*tracked
	for _, document := range parse(content) {
		nodes := []*yaml.Node{document}
		if _, items := member(document, "items", 0); strings.HasSuffix(textOf(document, "kind"), "List") && resolved(items) != nil {
			nodes = resolved(items).Content
		}
		for _, n := range nodes {
			if o := trackedOf(n); o != nil {
				o.definition = &source{file: file, node: n}
				found = append(found, o)
			}
		}
	}
	return found
}

// trackedOf reads an object's identity; nil if it has none.
func trackedOf(n *yaml.Node) *tracked {
	_, metadata := member(n, "metadata", maxMerges)
	group, _, versioned := strings.Cut(textOf(n, "apiVersion"), "/")
	if !versioned {
		group = ""
	}
	o := &tracked{group: group, kind: textOf(n, "kind"), names: []string{textOf(metadata, "name")}, namespaces: []string{textOf(metadata, "namespace")}}
	if o.kind == "" || o.name() == "" {
		return nil
	}
	return o
}

// generate makes ConfigMaps and Secrets, or adds to those that are there.
func (w *walker) generate(k *kustomization, objects []*tracked) []*tracked {
	for key, kind := range map[string]string{"configMapGenerator": "ConfigMap", "secretGenerator": "Secret"} {
		for _, entry := range k.list(key) {
			name := textOf(entry, "name")
			effect := w.generator(k, entry)
			changed := false
			if behavior := textOf(entry, "behavior"); behavior == "merge" || behavior == "replace" {
				for _, o := range objects {
					if o.kind == kind && slices.Contains(o.names, name) {
						o.changes = append(o.changes, effect...)
						changed = true
					}
				}
			}
			if !changed && name != "" {
				objects = append(objects, &tracked{kind: kind, names: []string{name}, namespaces: []string{textOf(entry, "namespace")},
					generated: true, definition: &source{file: k.file, node: entry}, changes: effect})
			}
		}
	}
	return objects
}

// generator is where the keys of generated data come from.
func (w *walker) generator(k *kustomization, entry *yaml.Node) []change {
	var changes []change
	add := func(src source, key string) {
		changes = append(changes, change{source: src, effect: directive{node: src.node, matches: func(at location) bool {
			keys := keysOf(at.steps)
			return len(keys) == 2 && endsWith(keys, keys[0], key) && strings.HasSuffix(strings.ToLower(keys[0]), "data")
		}}})
	}
	each := func(list string, visit func(n *yaml.Node, text string)) {
		if _, value := member(entry, list, maxMerges); resolved(value) != nil {
			for _, n := range resolved(value).Content {
				visit(n, resolved(n).Value)
			}
		}
	}
	each("literals", func(n *yaml.Node, text string) {
		key, _, _ := strings.Cut(text, "=")
		add(source{file: k.file, node: n}, key)
	})
	each("files", func(_ *yaml.Node, text string) {
		key, name, named := strings.Cut(text, "=")
		if !named {
			key, name = path.Base(text), text
		}
		add(source{file: path.Join(k.dir, name), node: &yaml.Node{Line: 1}}, key)
	})
	visitEnv := func(_ *yaml.Node, name string) {
		file := path.Join(k.dir, name)
		number := 0
		for line := range strings.Lines(string(w.read(file))) {
			number++
			if key, _, set := strings.Cut(strings.TrimSpace(line), "="); set && !strings.HasPrefix(key, "#") {
				add(source{file: file, node: &yaml.Node{Line: number}}, strings.TrimSpace(key))
			}
		}
	}
	each("envs", visitEnv)
	if env := textOf(entry, "env"); env != "" {
		visitEnv(nil, env)
	}
	return changes
}

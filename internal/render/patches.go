package render

import (
	"encoding/json"
	"path"
	"regexp"
	"slices"
	"strings"

	yaml "go.yaml.in/yaml/v3"
	"sigs.k8s.io/kustomize/api/konfig"
	"sigs.k8s.io/kustomize/api/types"
	sigsyaml "sigs.k8s.io/yaml"
)

// dividePatches makes parts of the patches of a section.
func (d *division) dividePatches(sec *section) error {
	for _, p := range sec.k.Patches {
		if p.Options != nil && (p.Options.AllowNameChange || p.Options.AllowKindChange) {
			return errUncertain
		}
	}
	for _, list := range []struct {
		patches []types.Patch
		parts   *[]int
	}{{sec.k.Patches, &sec.patches}, {sec.k.PatchesJson6902, &sec.jsons}} {
		for _, p := range list.patches {
			text := strings.TrimSpace(p.Patch)
			if p.Path != "" {
				text = d.patchFile(sec.k.dir, p.Path)
			}
			i, err := d.patch(text, p.Target)
			if err != nil {
				return err
			}
			*list.parts = append(*list.parts, i)
		}
	}
	for _, p := range sec.k.PatchesStrategicMerge {
		text := string(p)
		if !d.survey.isObject(text) {
			text = d.patchFile(sec.k.dir, text)
		}
		i, err := d.patch(text, nil)
		if err != nil {
			return err
		}
		sec.merges = append(sec.merges, i)
	}
	return nil
}

// patchFile is the content of a file that the survey has read; "" is no patch.
func (d *division) patchFile(dir, file string) string {
	if leaves(dir, file) {
		return ""
	}
	real, n, err := d.survey.tree.resolve(path.Join(dir, file))
	if err != nil || n.kind != regular {
		return ""
	}
	content, err := d.survey.tree.read(real)
	if err != nil {
		return ""
	}
	return string(content)
}

// patch makes a part of one, unless it is for objects of any name.
func (d *division) patch(text string, target *types.Selector) (int, error) {
	p, err := d.mergePatch(text)
	if err != nil {
		p, err = d.jsonPatch(text)
		if err != nil || target == nil {
			return 0, errUncertain
		}
	}
	if target != nil {
		if !literalName.MatchString(target.Name) {
			d.common, d.spaced, d.drops = append(d.common, p.values...), d.spaced || p.spaced, d.drops || p.deletes
			return everywhere, nil
		}
		p.names = []string{target.Name}
	}
	return d.add(p), nil
}

// literalName is a selector's regular expression that stands for itself.
var literalName = regexp.MustCompile(`^[A-Za-z0-9-]+$`)

// mergePatch reads a strategic merge patch. It changes no names unless it is
// allowed to by an option.
func (d *division) mergePatch(text string) (part, error) {
	objects, err := d.survey.factory.RF().SliceFromBytes([]byte(text))
	if err != nil || len(objects) == 0 {
		return part{}, errUncertain
	}
	var p part
	for _, object := range objects {
		found, certain := references(object.YNode())
		if name := object.GetName(); certain && usualName(name) {
			p.names, p.values = append(p.names, name), slices.Concat(p.values, found.values)
			p.spaced = p.spaced || found.namespaces > 0 || found.subjects
			p.deletes = p.deletes || directive(object.YNode()) == "delete"
			d.drops = d.drops || drops(object.YNode())
			continue
		}
		return part{}, errUncertain
	}
	return p, nil
}

// directive is what a strategic merge patch says of a mapping itself.
func directive(mapping *yaml.Node) string {
	if n := field(mapping, "$patch"); n != nil {
		return n.Value
	}
	return ""
}

// drops: a patch may take away the annotations in which kustomize keeps what an
// object was called.
func drops(root *yaml.Node) bool {
	if is := directive(root); is != "" && is != "delete" {
		return true
	}
	for at, name := range []string{"metadata", "annotations"} {
		n := field(root, name)
		if n == nil {
			return false
		}
		if n.Kind != yaml.MappingNode || directive(n) != "" {
			return true
		}
		if root = n; at == 1 {
			return false
		}
	}
	return false
}

// jsonPatch reads a JSON patch that changes neither name nor kind.
func (d *division) jsonPatch(text string) (part, error) {
	content := []byte(text)
	if !strings.HasPrefix(text, "[") {
		var err error
		if content, err = sigsyaml.YAMLToJSON(content); err != nil {
			return part{}, errUncertain
		}
	}
	var operations []map[string]any
	if json.Unmarshal(content, &operations) != nil || len(operations) == 0 {
		return part{}, errUncertain
	}
	var p part
	for _, o := range operations {
		for _, at := range []string{"path", "from"} {
			pointer, given := o[at]
			text, _ := pointer.(string)
			if (given || at == "path") && !harmless(text) {
				return part{}, errUncertain
			}
			d.drops = d.drops || strings.HasSuffix(text, "/annotations")
		}
		all, err := json.Marshal(o)
		if err != nil || strings.Contains(string(all), konfig.ConfigAnnoDomain) {
			return part{}, errUncertain
		}
		p.spaced = p.spaced || strings.Contains(string(all), "namespace") || strings.Contains(string(all), "subjects")
		p.values = append(p.values, scalars(o["value"])...)
	}
	return p, nil
}

// harmless is a JSON pointer to what no object is told from another by.
func harmless(pointer string) bool {
	steps := strings.Split(pointer, "/")
	for i, step := range steps {
		steps[i] = strings.NewReplacer("~1", "/", "~0", "~").Replace(step)
	}
	if len(steps) < 2 {
		return false
	}
	switch steps[1] {
	case "", "kind", "apiVersion":
		return false
	case "metadata":
		return len(steps) > 2 && (steps[2] == "labels" || steps[2] == "annotations")
	}
	return true
}

package render

import (
	"bytes"
	"encoding/json"
	"reflect"
	"slices"
	"strings"

	"sigs.k8s.io/kustomize/api/types"
)

// rewordedTree is a tree in which some files read otherwise.
type rewordedTree struct {
	*tree
	files map[string][]byte // by resolved name
}

// ReadFile serves what was reworded, within the same bounds.
func (t *rewordedTree) ReadFile(p string) ([]byte, error) {
	real, _, err := t.find(p)
	if err != nil {
		return nil, err
	}
	content, found := t.files[real]
	if !found {
		return t.tree.ReadFile(p)
	}
	return slices.Clone(content), t.serve(real, len(content))
}

// choice are the parts that one build has.
type choice struct {
	in   func(part int) bool
	live map[*section]bool
}

func choose(in func(part int) bool) *choice { return &choice{in: in, live: map[*section]bool{}} }

// lives: some part of the section, or of what it lists, is in the build.
func (c *choice) lives(sec *section) bool {
	live, known := c.live[sec]
	if known {
		return live
	}
	for _, list := range [][]int{sec.configMaps, sec.secrets, sec.replicas, sec.patches, sec.merges, sec.jsons} {
		live = live || slices.ContainsFunc(list, func(part int) bool { return part != everywhere && c.in(part) })
	}
	live = live || slices.ContainsFunc(sec.components, c.lives) || slices.ContainsFunc(sec.resources, func(l listed) bool {
		return l.section != nil && c.lives(l.section) || slices.ContainsFunc(l.parts, c.in)
	})
	c.live[sec] = live
	return live
}

// kustomization is that of a section without the parts that are not in the
// build. A base without any is left out, a component only if nothing would be
// left of it: what it does, it does to objects of others, too.
func (c *choice) kustomization(sec *section) types.Kustomization {
	k := sec.k.Kustomization
	k.Resources = only(k.Resources, sec.resources, func(l listed) bool {
		return l.section == nil && len(l.parts) == 0 || l.section != nil && c.lives(l.section) || slices.ContainsFunc(l.parts, c.in)
	})
	k.Components = only(k.Components, sec.components, c.component)
	k.ConfigMapGenerator = only(k.ConfigMapGenerator, sec.configMaps, c.in)
	k.SecretGenerator = only(k.SecretGenerator, sec.secrets, c.in)
	k.Replicas = only(k.Replicas, sec.replicas, c.in)
	k.Patches = only(k.Patches, sec.patches, c.in)
	k.PatchesStrategicMerge = only(k.PatchesStrategicMerge, sec.merges, c.in)
	k.PatchesJson6902 = only(k.PatchesJson6902, sec.jsons, c.in)
	if len(k.CommonLabels) > 0 { // its successor, of which kustomize does not complain to the process's standard error
		k.Labels = append(k.Labels[:len(k.Labels):len(k.Labels)], types.Label{Pairs: k.CommonLabels, IncludeSelectors: true})
		k.CommonLabels = nil
	}
	return k
}

// component: a component is in the build.
func (c *choice) component(sec *section) bool {
	all := choose(func(int) bool { return true })
	return c.lives(sec) || !all.lives(sec) || !reflect.DeepEqual(c.kustomization(sec), types.Kustomization{TypeMeta: sec.k.TypeMeta})
}

// only keeps the entries of a list whose parts are chosen.
func only[E, P any](entries []E, parts []P, chosen func(P) bool) []E {
	var kept []E
	for i, entry := range entries {
		if chosen(parts[i]) {
			kept = append(kept, entry)
		}
	}
	return kept
}

// reworded are the files of the snapshot that read otherwise if a build has
// only some of the parts.
func (d *division) reworded(in func(part int) bool) (map[string][]byte, error) {
	files := map[string][]byte{}
	if err := choose(in).reword(d.top, files); err != nil {
		return nil, err
	}
	for file, parts := range d.files {
		if len(parts) < 2 {
			continue
		}
		var texts []string
		for i, p := range parts {
			if in(p) {
				texts = append(texts, d.survey.sheets[file].docs[i].text)
			}
		}
		if 0 < len(texts) && len(texts) < len(parts) {
			files[file] = []byte(strings.Join(texts, separatorLine))
		}
	}
	return files, nil
}

// reword writes the kustomizations of a section and of what it loads.
func (c *choice) reword(sec *section, files map[string][]byte) error {
	if _, done := files[sec.k.file]; done {
		return nil
	}
	content, err := written(c.kustomization(sec))
	if err != nil {
		return err
	}
	files[sec.k.file] = content
	for _, l := range sec.resources {
		if l.section != nil && c.lives(l.section) {
			if err := c.reword(l.section, files); err != nil {
				return err
			}
		}
	}
	for _, component := range sec.components {
		if c.component(component) {
			if err := c.reword(component, files); err != nil {
				return err
			}
		}
	}
	return nil
}

// loads is how many kustomizations are in the build.
func (c *choice) loads(d *division) int {
	count := 0
	for _, sec := range d.sections {
		if c.lives(sec) {
			count++
		}
	}
	return count
}

// written is a kustomization that kustomize reads as the given one.
func written(k types.Kustomization) ([]byte, error) {
	content, err := json.Marshal(k)
	if err != nil {
		return nil, err
	}
	var read types.Kustomization
	if err := read.Unmarshal(content); err != nil {
		return nil, errUncertain
	}
	read.FixKustomization()
	if again, err := json.Marshal(read); err != nil || !bytes.Equal(again, content) {
		return nil, errUncertain
	}
	return content, nil
}

// eachOnce: whatever stands in a kustomization is built at least once, so that
// no error is passed over.
func (d *division) eachOnce(b *bundles, batches []batch) bool {
	built := map[*section]bool{}
	for _, one := range batches {
		c := choose(b.in(one))
		for _, sec := range d.sections {
			for _, l := range sec.resources {
				built[l.section] = built[l.section] || l.section == nil || c.lives(l.section)
			}
			for _, component := range sec.components {
				built[component] = built[component] || c.component(component)
			}
		}
	}
	for _, sec := range d.sections {
		if sec != d.top && !built[sec] {
			return false
		}
	}
	return true
}

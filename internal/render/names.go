package render

import (
	"slices"

	"sigs.k8s.io/kustomize/kyaml/resid"
)

// bearer is an object on its way through the kustomizations, and all names
// that it can have borne.
type bearer struct {
	part    int
	kind    string
	first   string   // namespace; "" if it is in none
	last    string   // namespace, so far
	names   []string // so far, current ones included
	current []string
}

// maxNames is how many names one object may go through.
const maxNames = 64

// name adds to each part the names that its objects bear after one
// kustomization and the next, each use of a base counted.
func (d *division) name() error {
	built := map[*section][]bearer{}
	all, err := d.accumulate(d.top, nil, built)
	if err != nil {
		return err
	}
	for _, b := range all {
		p := &d.parts[b.part]
		p.objects++
		d.space(b)
		for _, name := range b.names {
			if !slices.Contains(p.names, name) {
				p.names = append(p.names, name)
			}
		}
	}
	for _, p := range d.parts {
		if slices.ContainsFunc(p.names, func(name string) bool { return !usualName(name) }) {
			return errUncertain
		}
	}
	return nil
}

func (d *division) space(b bearer) {
	if b.first == "" {
		return
	}
	if d.spaces[b.first] == nil {
		d.spaces[b.first] = map[string][]int{}
	}
	in := d.spaces[b.first]
	if in[b.last] == nil {
		in[b.last] = []int{}
	}
	if d.parts[b.part].certain {
		in[b.last] = append(in[b.last], b.part)
	}
}

// accumulate is what kustomize's method of that name does with a section, for
// names alone: its resources and generators come to what is there, its
// components work on all of it, and then it renames all of it.
func (d *division) accumulate(sec *section, there []bearer, built map[*section][]bearer) ([]bearer, error) {
	for _, l := range sec.resources {
		if l.section != nil {
			if _, seen := built[l.section]; !seen {
				objects, err := d.accumulate(l.section, nil, built)
				if err != nil {
					return nil, err
				}
				built[l.section] = objects
			}
			there = append(there, built[l.section]...)
		}
		for i, p := range l.parts {
			there = d.bear(there, p, d.heads(l, i))
		}
	}
	for i, args := range sec.k.ConfigMapGenerator {
		there = d.bear(there, sec.configMaps[i], []head{{"v1", "ConfigMap", args.Namespace, args.Name}})
	}
	for i, args := range sec.k.SecretGenerator {
		there = d.bear(there, sec.secrets[i], []head{{"v1", "Secret", args.Namespace, args.Name}})
	}
	for _, component := range sec.components {
		var err error
		if there, err = d.accumulate(component, there, built); err != nil {
			return nil, err
		}
	}
	if len(there) > d.survey.tree.limits.Objects {
		return nil, errUncertain // kustomize's own build says that
	}
	return sec.rename(there)
}

func (d *division) bear(there []bearer, part int, heads []head) []bearer {
	for _, h := range heads {
		b := bearer{part: part, kind: h.kind, names: []string{h.name}, current: []string{h.name}}
		group, version := resid.ParseGroupVersion(h.apiVersion)
		if id := resid.NewResIdWithNamespace(resid.NewGvk(group, version, h.kind), h.name, h.namespace); !id.IsClusterScoped() {
			b.first, b.last = id.EffectiveNamespace(), id.EffectiveNamespace()
		}
		there = append(there, b)
	}
	return there
}

// heads are those of a part of a file.
func (d *division) heads(l listed, i int) []head {
	known := d.survey.sheets[l.file]
	if !known.whole {
		return known.docs[i].heads
	}
	var all []head
	for _, doc := range known.docs {
		all = append(all, doc.heads...)
	}
	return all
}

// keepNames are kinds that kustomize may leave without prefix and suffix. It
// does not matter which it does: they are taken for both.
var keepNames = []string{"CustomResourceDefinition", "APIService", "Namespace"}

// rename returns new bearers, for those of a base are shared.
func (sec *section) rename(there []bearer) ([]bearer, error) {
	k := sec.k
	if k.Namespace == "" && k.NamePrefix == "" && k.NameSuffix == "" {
		return there, nil
	}
	renamed := make([]bearer, len(there))
	for i, b := range there {
		b.names, b.current = slices.Clone(b.names), slices.Clone(b.current)
		if k.Namespace != "" && b.first != "" {
			b.last = k.Namespace
		}
		if k.Namespace != "" && b.kind == "Namespace" { // the namespace transformer renames it
			b.turn(func(string) string { return k.Namespace }, true)
		}
		keep := slices.Contains(keepNames, b.kind)
		if k.NamePrefix != "" {
			b.turn(func(name string) string { return k.NamePrefix + name }, keep)
		}
		if k.NameSuffix != "" {
			b.turn(func(name string) string { return name + k.NameSuffix }, keep)
		}
		if len(b.names) > maxNames {
			return nil, errUncertain
		}
		renamed[i] = b
	}
	return renamed, nil
}

// turn changes the current names, which may keep what they are, too.
func (b *bearer) turn(change func(string) string, keep bool) {
	var current []string
	if keep {
		current = slices.Clone(b.current)
	}
	for _, name := range b.current {
		current = append(current, change(name))
	}
	slices.Sort(current)
	b.current = slices.Compact(current)
	for _, name := range b.current {
		if !slices.Contains(b.names, name) {
			b.names = append(b.names, name)
		}
	}
}

package render

import (
	"encoding/json"
	"errors"
	"path"
	"slices"
	"strings"

	"sigs.k8s.io/kustomize/api/konfig"
	"sigs.k8s.io/kustomize/api/types"
)

// errUncertain: nobody can be sure that building in parts gives what building
// in one piece does, so it is built in one piece.
var errUncertain = errors.New("cannot be divided")

// part is what a build can leave out: a document, a generator, a patch of
// objects of one name, a number of replicas.
//
// Kustomize's objects only ever meet by name. Two of the same kind and name
// collide, a generator merges into one of its name, a patch or a number of
// replicas asks for a name, and a field refers to another object by a name that
// this bears or bore. So parts that share no name, and none of which holds a
// name of the other, can be built apart.
type part struct {
	names     []string // that its objects bear at some stage, or that it asks for
	values    []string // that may be references
	objects   int
	spaced    bool // it may refer to an object of a namespace that it names
	generated bool
	certain   bool // it makes its objects, whatever else there is
	deletes   bool // a patch that may take objects away
}

// section is one kustomization and its parts: an index into the parts for each
// entry of its lists, or everywhere.
type section struct {
	k          *kustomization
	resources  []listed
	components []*section
	configMaps []int
	secrets    []int
	replicas   []int
	patches    []int
	merges     []int // patchesStrategicMerge
	jsons      []int // patchesJson6902
}

// everywhere is for entries that go into each build: they are there for
// objects of any name.
const everywhere = -1

// listed is an entry of `resources`.
type listed struct {
	section *section // of a directory
	file    string
	parts   []int // of a file
}

// division is a directory taken apart.
type division struct {
	survey   *survey
	top      *section
	sections map[string]*section
	files    map[string][]int
	parts    []part
	common   []string // values that any object may be given
	spaced   bool     // any object may be given a reference with a namespace
	drops    bool     // some object may lose the annotations that tell what it was, or go
	// spaces are the parts that make namespaced objects by the namespace that they
	// first have, and the one that they end in. Where a reference gives a
	// namespace, kustomize looks among the objects that were in it first, and only
	// if there is none at all among those that are in it now. So a build that has
	// such a reference needs one of each.
	spaces map[string]map[string][]int
}

// divide takes apart what a survey has seen.
func divide(s *survey, dir string) (*division, error) {
	if s.uncertain || s.ownSchema {
		return nil, errUncertain
	}
	d := &division{survey: s, sections: map[string]*section{}, files: map[string][]int{}, spaces: map[string]map[string][]int{}}
	var err error
	if d.top, err = d.section(dir); err != nil {
		return nil, err
	}
	if o := d.top.k.SortOptions; o != nil && o.Order != types.LegacySortOrder {
		return nil, errUncertain
	}
	if err := d.aliens(); err != nil {
		return nil, err
	}
	return d, d.name()
}

func (d *division) add(p part) int {
	d.parts = append(d.parts, p)
	return len(d.parts) - 1
}

func (d *division) section(dir string) (*section, error) {
	if known, seen := d.sections[dir]; seen {
		return known, nil
	}
	k := d.survey.kustomizations[dir]
	if k == nil || !divisible(k) {
		return nil, errUncertain
	}
	sec := &section{k: k}
	d.sections[dir] = sec
	for _, entry := range k.Resources {
		l, err := d.listed(k, entry)
		if err != nil {
			return nil, err
		}
		sec.resources = append(sec.resources, l)
	}
	for _, entry := range k.Components {
		l, err := d.listed(k, entry)
		if err != nil || l.section == nil {
			return nil, errUncertain
		}
		sec.components = append(sec.components, l.section)
	}
	for _, args := range k.ConfigMapGenerator {
		sec.configMaps = append(sec.configMaps, d.generator(args.GeneratorArgs))
	}
	for _, args := range k.SecretGenerator {
		sec.secrets = append(sec.secrets, d.generator(args.GeneratorArgs))
	}
	for _, r := range k.Replicas {
		sec.replicas = append(sec.replicas, d.add(part{names: []string{r.Name}}))
	}
	d.common = append(d.common, commonValues(k)...)
	return sec, d.dividePatches(sec)
}

// divisible is false where a kustomization does what is not by name alone, or
// tells kustomize more of what a reference is.
func divisible(k *kustomization) bool {
	text, err := json.Marshal(k.Kustomization)
	if err != nil || strings.Contains(string(text), konfig.ConfigAnnoDomain) {
		return false
	}
	for _, label := range k.Labels {
		for _, at := range label.FieldSpecs {
			if !strings.HasPrefix(at.Path, "spec/") {
				return false
			}
		}
	}
	return len(k.OpenAPI) == 0 && len(k.Replacements) == 0 && len(k.Vars) == 0 && len(k.Crds) == 0 &&
		len(k.Configurations) == 0 && len(k.Generators) == 0 && len(k.Transformers) == 0 && len(k.Validators) == 0 &&
		len(k.BuildMetadata) == 0 && len(k.HelmCharts) == 0 && k.HelmGlobals == nil &&
		!strings.Contains(k.NamePrefix+k.NameSuffix+k.Namespace, ",")
}

func (d *division) generator(args types.GeneratorArgs) int {
	values := make([]string, len(args.LiteralSources))
	for i, literal := range args.LiteralSources {
		_, values[i], _ = strings.Cut(literal, "=")
	}
	return d.add(part{names: []string{args.Name}, values: values, generated: true,
		certain: args.Behavior == "" || args.Behavior == "create"})
}

// commonValues are what a kustomization may write into any object.
func commonValues(k *kustomization) []string {
	values := []string{k.Namespace}
	maps := []map[string]string{k.CommonLabels, k.CommonAnnotations}
	for _, label := range k.Labels {
		maps = append(maps, label.Pairs)
	}
	if o := k.GeneratorOptions; o != nil {
		maps = append(maps, o.Labels, o.Annotations)
	}
	for _, m := range maps {
		for _, value := range m {
			values = append(values, value)
		}
	}
	for _, image := range k.Images {
		values = append(values, image.NewName)
	}
	return values
}

func (d *division) listed(k *kustomization, entry string) (listed, error) {
	real, n, err := d.survey.tree.resolve(path.Join(k.dir, entry))
	if err != nil {
		return listed{}, err
	}
	if n.kind == directory {
		sec, err := d.section(real)
		return listed{section: sec}, err
	}
	known := d.survey.sheets[real]
	if known == nil {
		return listed{}, errUncertain
	}
	if parts, seen := d.files[real]; seen {
		return listed{file: real, parts: parts}, nil
	}
	parts := []int{}
	for _, doc := range known.docs {
		p := part{values: doc.values, spaced: doc.spaced, certain: true}
		for _, h := range doc.heads {
			p.names = append(p.names, h.name)
		}
		if known.whole && len(parts) > 0 {
			only := &d.parts[parts[0]]
			only.names, only.values = append(only.names, p.names...), slices.Concat(only.values, p.values)
			only.spaced = only.spaced || p.spaced
			continue
		}
		parts = append(parts, d.add(p))
	}
	d.files[real] = parts
	return listed{file: real, parts: parts}, nil
}

// aliens refuses where a file that a build in parts is given in another wording
// is also read for something else.
func (d *division) aliens() error {
	reworded := map[string]bool{}
	for file, parts := range d.files {
		reworded[file] = len(parts) > 1
	}
	for _, sec := range d.sections {
		reworded[sec.k.file] = true
	}
	for _, sec := range d.sections {
		paths := generatorPaths(sec.k.ConfigMapGenerator, configMapSources)
		paths = append(paths, generatorPaths(sec.k.SecretGenerator, secretSources)...)
		for _, p := range slices.Concat(sec.k.Patches, sec.k.PatchesJson6902) {
			paths = append(paths, p.Path)
		}
		for _, p := range sec.k.PatchesStrategicMerge {
			paths = append(paths, string(p))
		}
		for _, p := range paths {
			if _, file, keyed := strings.Cut(p, "="); keyed {
				p = file
			}
			if p == "" || leaves(sec.k.dir, p) {
				continue
			}
			if real, _, err := d.survey.tree.resolve(path.Join(sec.k.dir, p)); err != nil || reworded[real] {
				return errUncertain
			}
		}
	}
	return nil
}

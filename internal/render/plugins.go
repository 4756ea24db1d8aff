package render

import (
	"errors"
	"fmt"
	"path"
	"strings"

	"sigs.k8s.io/kustomize/api/konfig"
	"sigs.k8s.io/kustomize/api/resmap"
	"sigs.k8s.io/kustomize/api/resource"
	"sigs.k8s.io/kustomize/api/types"

	"chaperone.dev/chaperone/internal/fault"
)

// plugin surveys an entry of generators, transformers or validators: the
// configuration itself, or a path to it. Kustomize decides by parsing it.
func (s *survey) plugin(k *kustomization, field, entry, base string) (int, error) {
	if err := s.inline(k, entry); err != nil {
		return 0, err
	}
	objects, err := s.factory.NewResMapFromBytes([]byte(entry))
	if err != nil {
		return s.resource(k, field, entry, base)
	}
	return 0, s.configurations(fmt.Sprintf("%s:%d", k.file, lineOf(k.content, entry)), base, objects)
}

func (s *survey) configurations(where, base string, objects resmap.ResMap) error {
	for _, object := range objects.Resources() {
		if err := s.configuration(object, base); err != nil {
			return fault.Terminal("render", where, fmt.Errorf("%s: %w", object.GetKind(), err))
		}
	}
	return nil
}

// configuration lets only kustomize's own plugins pass, and of those only what
// reads files of the snapshot.
func (s *survey) configuration(object *resource.Resource, base string) error {
	gvk := object.GetGvk()
	if gvk.Group != "" || gvk.Version != konfig.BuiltinPluginApiVersion {
		return fmt.Errorf("exec, Go and function plugins are refused; want apiVersion %s", konfig.BuiltinPluginApiVersion)
	}
	if gvk.Kind == "HelmChartInflationGenerator" {
		return errHelm
	}
	fields, err := object.Map()
	if err != nil {
		return errors.New("is not an object")
	}
	if address, found := remoteInPlugin(fields, false); found {
		return fmt.Errorf("%q: remote files are refused; want a path inside the repository", address)
	}
	for field, value := range fields {
		if err := s.pluginField(gvk.Kind, strings.ToLower(field), scalars(value), base); err != nil {
			return err
		}
	}
	return nil
}

// pluginField surveys the texts of one field and the files that it names.
func (s *survey) pluginField(kind, field string, values []string, base string) error {
	for _, value := range values {
		if err := s.patch(field, value); err != nil {
			return errors.Unwrap(err)
		}
		isPatch := strings.HasPrefix(kind, "Patch") && (field == "path" || field == "paths")
		if isPatch && !s.isObject(value) {
			if err := s.patchFile(base, value); err != nil {
				return err
			}
		}
		if kind == "SecretGenerator" {
			s.secret(base, field == "literals", value)
		}
	}
	return nil
}

// secret remembers what must not show up in an error.
func (s *survey) secret(dir string, literal bool, source string) {
	if literal {
		s.secrets = append(s.secrets, secretSource{literal: source})
		return
	}
	if _, file, keyed := strings.Cut(source, "="); keyed {
		source = file
	}
	s.secrets = append(s.secrets, secretSource{file: path.Join(dir, source)})
}

var errHelm = errors.New("helm charts are refused; want the rendered manifests in the repository")

// scalars are all strings in a decoded value.
func scalars(value any) []string {
	var found []string
	switch v := value.(type) {
	case string:
		return []string{v}
	case []any:
		for _, item := range v {
			found = append(found, scalars(item)...)
		}
	case map[string]any:
		for _, item := range v {
			found = append(found, scalars(item)...)
		}
	}
	return found
}

// files surveys what a kustomization names besides its lists.
func (s *survey) files(k *kustomization) error {
	if len(k.HelmCharts) > 0 || k.HelmGlobals != nil {
		return fault.Terminal("render", k.file, errHelm)
	}
	for _, args := range k.SecretGenerator {
		for _, literal := range args.LiteralSources {
			s.secret(k.dir, true, literal)
		}
		for _, file := range generatorPaths([]types.SecretArgs{args}, secretSources) {
			s.secret(k.dir, false, file)
		}
	}
	for _, list := range []struct {
		field string
		paths []string
	}{
		{"openapi", []string{k.OpenAPI["path"]}},
		{"configurations", k.Configurations},
		{"crds", k.Crds},
		{"replacements", replacementPaths(k.Replacements)},
		{"configMapGenerator", generatorPaths(k.ConfigMapGenerator, configMapSources)},
		{"secretGenerator", generatorPaths(k.SecretGenerator, secretSources)},
	} {
		for _, p := range list.paths {
			if remoteSource(p) {
				return s.refuse(k, p, "%s: %q: remote files are refused; want a path inside the repository", list.field, p)
			}
		}
	}
	if err := s.patches(k); err != nil {
		return err
	}
	return s.schema(k)
}

func replacementPaths(replacements []types.ReplacementField) []string {
	var paths []string
	for _, r := range replacements {
		paths = append(paths, r.Path)
	}
	return paths
}

func configMapSources(a types.ConfigMapArgs) types.KvPairSources { return a.KvPairSources }
func secretSources(a types.SecretArgs) types.KvPairSources       { return a.KvPairSources }

func generatorPaths[A any](args []A, sources func(A) types.KvPairSources) []string {
	var paths []string
	for _, a := range args {
		paths = append(append(paths, sources(a).FileSources...), sources(a).EnvSources...)
	}
	return paths
}

// patches surveys patches, which stand inline or in a file.
func (s *survey) patches(k *kustomization) error {
	var texts, files []string
	for _, patch := range append(k.Patches[:len(k.Patches):len(k.Patches)], k.PatchesJson6902...) {
		texts, files = append(texts, patch.Patch), append(files, patch.Path)
	}
	for _, patch := range k.PatchesStrategicMerge {
		texts, files = append(texts, string(patch)), append(files, string(patch))
	}
	for _, text := range texts {
		if err := s.inline(k, text); err != nil {
			return err
		}
	}
	for _, file := range files {
		if remoteFile(file) {
			return s.refuse(k, file, "patches: %q: remote files are refused; want a path inside the repository", file)
		}
		if s.isObject(file) {
			continue // a strategic merge patch where a path could stand
		}
		if err := s.patchFile(k.dir, file); err != nil {
			return err
		}
	}
	return nil
}

func (s *survey) isObject(text string) bool {
	_, err := s.factory.RF().SliceFromBytes([]byte(text))
	return err == nil
}

func (s *survey) patchFile(dir, file string) error {
	content, name, err := s.optional(dir, file)
	if err != nil {
		return err
	}
	return s.patch(name, string(content))
}

// schema surveys what tells kustomize about types.
func (s *survey) schema(k *kustomization) error {
	if len(k.OpenAPI) > 0 {
		s.ownSchema = true
		content, _, err := s.optional(k.dir, k.OpenAPI["path"])
		if err != nil {
			return err
		}
		if content != nil {
			s.schemas = append(s.schemas, content)
		}
	}
	for _, file := range k.Crds {
		content, name, err := s.optional(k.dir, file)
		if err != nil {
			return err
		}
		if err := endlessCRDs(content); err != nil {
			return fault.Terminal("render", name, err)
		}
	}
	return nil
}

// optional reads a file that kustomize may read from dir. That it is missing
// or out of bounds is kustomize's to say.
func (s *survey) optional(dir, file string) ([]byte, string, error) {
	if file == "" || leaves(dir, file) {
		return nil, "", nil
	}
	real, n, err := s.tree.resolve(path.Join(dir, file))
	if err != nil || n.kind != regular || !within(real, dir) {
		return nil, "", err
	}
	content, err := s.tree.read(real)
	return content, real, err
}

package render

import (
	"encoding/json"
	"errors"
	"fmt"
	"path"
	"strings"

	yaml "go.yaml.in/yaml/v3"
	"sigs.k8s.io/kustomize/api/konfig"
	"sigs.k8s.io/kustomize/api/provider"
	"sigs.k8s.io/kustomize/api/resmap"
	"sigs.k8s.io/kustomize/api/types"

	"chaperone.dev/chaperone/internal/fault"
)

// survey walks every kustomization that kustomize is going to load, before it
// does, and refuses what would fetch, execute, crash or not end. It decodes
// with kustomize's own types and parsers, so that the two cannot read one file
// differently.
type survey struct {
	tree           *tree
	factory        *resmap.Factory
	loads          map[visit]int             // kustomizations loaded from here on down; -1 while it is being counted
	kustomizations map[string]*kustomization // of objects, by directory
	sheets         map[string]*sheet         // files of objects
	uncertain      bool                      // something could not be read as kustomize will read it
	ownSchema      bool                      // some kustomization sets `openapi`
	schemas        [][]byte
	secrets        []secretSource
}

// visit is one directory in one of two roles: what it lists are objects; or,
// with base, configurations of plugins that read their files from there.
type visit struct{ dir, base string }

// kustomization is one decoded file.
type kustomization struct {
	types.Kustomization
	dir     string
	file    string
	content []byte
}

func newSurvey(t *tree) *survey {
	return &survey{tree: t, loads: map[visit]int{}, kustomizations: map[string]*kustomization{}, sheets: map[string]*sheet{},
		factory: resmap.NewFactory(provider.NewDefaultDepProvider().GetResourceFactory())}
}

// refuse says that an entry of k cannot be, and where it stands.
func (s *survey) refuse(k *kustomization, entry, format string, args ...any) error {
	return fault.Terminal("render", fmt.Sprintf("%s:%d", k.file, lineOf(k.content, entry)), fmt.Errorf(format, args...))
}

// lineOf finds the first scalar of that value; 1 if there is none.
func lineOf(content []byte, value string) int {
	var document yaml.Node
	if yaml.Unmarshal(content, &document) != nil {
		return 1
	}
	pending := []*yaml.Node{&document}
	for len(pending) > 0 {
		n := pending[0]
		pending = append(n.Content[:len(n.Content):len(n.Content)], pending[1:]...)
		if n.Kind == yaml.ScalarNode && n.Value == value {
			return n.Line
		}
	}
	return 1
}

// visit surveys the kustomization in a directory, which is known to be one,
// and returns how many kustomizations kustomize loads for it.
func (s *survey) visit(v visit) (int, error) {
	loads, seen := s.loads[v]
	if seen {
		return loads, nil
	}
	s.loads[v] = -1
	k, err := s.load(v.dir)
	if err != nil {
		return 0, err
	}
	if v.base == "" {
		s.kustomizations[v.dir] = k
	} else if err := s.listsOnly(k); err != nil {
		return 0, err
	}
	if err := s.files(k); err != nil {
		return 0, err
	}
	loads = 1
	for _, list := range []struct {
		field   string
		entries []string
		survey  func(k *kustomization, field, entry, base string) (int, error)
		base    string
	}{
		{"resources", k.Resources, s.resource, v.base},
		{"components", k.Components, s.resource, v.base},
		{"generators", k.Generators, s.plugin, k.dir},
		{"transformers", k.Transformers, s.plugin, k.dir},
		{"validators", k.Validators, s.plugin, k.dir},
	} {
		for _, entry := range list.entries {
			more, err := list.survey(k, list.field, entry, list.base)
			if err != nil {
				return 0, err
			}
			if loads += more; loads > s.tree.limits.Files {
				return 0, s.refuse(k, entry, "%s: %q: loads more than %d kustomizations, counted each time; want fewer paths to the same base",
					list.field, entry, s.tree.limits.Files)
			}
		}
	}
	s.loads[v] = loads
	return loads, nil
}

// load finds and decodes the kustomization of a directory. A link to one
// elsewhere is none, as kustomize has it.
func (s *survey) load(dir string) (*kustomization, error) {
	var found []string
	for _, name := range konfig.RecognizedKustomizationFileNames() {
		real, n, err := s.tree.resolve(path.Join(dir, name))
		if err != nil {
			return nil, err
		}
		if n.kind == regular && within(real, dir) {
			found = append(found, real)
		}
	}
	names := strings.Join(konfig.RecognizedKustomizationFileNames(), ", ")
	switch len(found) {
	case 0:
		return nil, fault.Terminal("render", dir, fmt.Errorf("no kustomization in this directory; want one of %s", names))
	case 1:
	default:
		return nil, fault.Terminal("render", dir, fmt.Errorf("several kustomizations in this directory; want only one of %s", names))
	}
	content, err := s.tree.read(found[0])
	if err != nil {
		return nil, err
	}
	k := &kustomization{dir: dir, file: found[0], content: content}
	if err := k.Unmarshal(content); err != nil {
		return nil, fault.Terminal("render", k.file, errors.New(clean(err.Error(), nil)))
	}
	k.FixKustomization()
	return k, nil
}

func within(name, dir string) bool { return dir == "." || strings.HasPrefix(name, dir+"/") }

// listsOnly keeps the configurations of plugins what their files say. A patch
// or replacement could put an address together that no reader finds in a file.
func (s *survey) listsOnly(k *kustomization) error {
	rest := k.Kustomization
	rest.TypeMeta, rest.MetaData, rest.BuildMetadata, rest.Resources = types.TypeMeta{}, nil, nil, nil
	if fields, err := json.Marshal(rest); err != nil || string(fields) != "{}" {
		return fault.Terminal("render", k.file, errors.New(
			"is used as generators, transformers or validators; want nothing but a list of resources"))
	}
	return nil
}

// resource surveys an entry that kustomize takes for a file, else for a
// directory, else for a repository to clone.
func (s *survey) resource(k *kustomization, field, entry, base string) (int, error) {
	if remoteFile(entry) || remoteRepository(entry) {
		return 0, s.refuse(k, entry, "%s: %q: remote bases are refused; want a path inside the repository that begins with ./ or ../", field, entry)
	}
	if leaves(k.dir, entry) {
		return 0, s.refuse(k, entry, "%s: %q: leaves the tree; want a relative path inside the repository", field, entry)
	}
	real, n, err := s.tree.resolve(path.Join(k.dir, entry))
	if err != nil {
		return 0, err
	}
	switch n.kind {
	case directory:
		if s.loads[visit{real, base}] < 0 {
			return 0, s.refuse(k, entry, "%s: %q: cycle: this directory is being built already", field, entry)
		}
		return s.visit(visit{real, base})
	case regular:
		if !within(real, k.dir) {
			return 0, nil // kustomize refuses it by itself
		}
		return 0, s.file(real, base)
	}
	return 0, s.refuse(k, entry, "%s: %q: no such file or directory in the repository", field, entry)
}

// file surveys a file of objects.
func (s *survey) file(name, base string) error {
	content, err := s.tree.read(name)
	if err != nil {
		return err
	}
	documents, err := s.text(name, string(content))
	if err != nil {
		return err
	}
	if base == "" {
		s.outline(name, content, documents)
		return nil
	}
	objects, err := s.factory.NewResMapFromBytes(content)
	if err != nil {
		return fault.Terminal("render", name, errors.New(clean(err.Error(), nil)))
	}
	return s.configurations(name, base, objects)
}

// text examines what kustomize will parse as objects or patches.
func (s *survey) text(name, text string) ([]document, error) {
	documents, err := parse(text)
	if err == nil {
		err = examine(documents)
	}
	if at := (*textError)(nil); errors.As(err, &at) {
		return nil, fault.Terminal("render", fmt.Sprintf("%s:%d", name, at.line), err)
	}
	return documents, err
}

// patch examines a text that may be a patch. One that is no YAML may still be
// JSON with tabs, or a path, or is kustomize's to refuse.
func (s *survey) patch(name, text string) error {
	_, err := s.text(name, text)
	if at := (*textError)(nil); errors.As(err, &at) && at.malformed {
		return nil
	}
	return err
}

// inline examines a text that stands in k itself.
func (s *survey) inline(k *kustomization, text string) error {
	if err := s.patch(k.file, text); err != nil {
		return s.refuse(k, text, "inline text: %w", errors.Unwrap(err))
	}
	return nil
}

package rego

import (
	"errors"
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"

	"github.com/open-policy-agent/opa/v1/storage"
	"github.com/open-policy-agent/opa/v1/storage/inmem"
	sigsyaml "sigs.k8s.io/yaml"

	"chaperone.dev/chaperone/internal/policy"
	"chaperone.dev/chaperone/internal/strictyaml"
)

// parseData mounts every data file at the directory it stands in, as OPA's own
// bundles do: policies/params/data.yaml is data.params.
func parseData(files fileSet) (map[string]any, error) {
	data := map[string]any{}
	var problems []error
	for _, f := range files {
		var content map[string]any
		if err := sigsyaml.UnmarshalStrict(f.content, &content); err != nil {
			problems = append(problems, fmt.Errorf("%s: want a mapping: %w", f.name, err))
			continue
		}
		var steps []string
		if dir := path.Dir(f.name); dir != "." {
			steps = strings.Split(dir, "/")
		}
		if err := mount(data, steps, content); err != nil {
			problems = append(problems, fmt.Errorf("%s:1: %w", f.name, err))
		}
	}
	return data, errors.Join(problems...)
}

func mount(data map[string]any, steps []string, content map[string]any) error {
	for _, step := range steps {
		if _, found := data[step]; !found {
			data[step] = map[string]any{}
		}
		next, ok := data[step].(map[string]any)
		if !ok {
			return fmt.Errorf("%s holds a value from another data file; want a mapping", step)
		}
		data = next
	}
	return merge(data, content)
}

func merge(into, content map[string]any) error {
	for key, value := range content {
		existing, found := into[key]
		below, both := existing.(map[string]any)
		values, mapping := value.(map[string]any)
		switch {
		case !found:
			into[key] = value
		case both && mapping:
			if err := merge(below, values); err != nil {
				return fmt.Errorf("%s: %w", key, err)
			}
		default:
			return fmt.Errorf("%s is there already from another data file", key)
		}
	}
	return nil
}

// podTemplates takes data.params.pod_templates, or the standard table, and puts
// what counts there for rules to find.
func podTemplates(data map[string]any) (policy.PodTemplates, error) {
	templates := policy.StandardPodTemplates()
	params, _ := data["params"].(map[string]any)
	if value, found := params["pod_templates"]; found {
		var err error
		if templates, err = policy.ParsePodTemplates(value); err != nil {
			return nil, err
		}
		delete(params, "pod_templates")
	}
	table := map[string]any{}
	for kind, paths := range templates {
		list := make([]any, 0, len(paths))
		for _, path := range paths {
			list = append(list, path)
		}
		table[kind] = list
	}
	return templates, mount(data, []string{"params"}, map[string]any{"pod_templates": table})
}

// occupied reports whether data stands where a rule is to stand: at its path,
// or at one of the steps to it.
func occupied(data map[string]any, path []string) bool {
	for _, step := range path {
		value, found := data[step]
		if !found {
			return false
		}
		next, mapping := value.(map[string]any)
		if !mapping {
			return true
		}
		data = next
	}
	return true
}

// withParams is the bundle with other values in data.params, for an example
// that holds only with them: a security team changes a value, and need not
// change the examples of every rule that reads it.
func (b *Bundle) withParams(params map[string]any) (*Bundle, error) {
	if len(params) == 0 {
		return b, nil
	}
	existing, _ := b.data["params"].(map[string]any)
	changed := maps.Clone(existing)
	for name, value := range params {
		if _, found := existing[name]; !found {
			return nil, fmt.Errorf("params.%.60s: there is no such parameter; %s", name,
				strictyaml.DidYouMean(name, slices.Sorted(maps.Keys(existing))))
		}
		changed[name] = value
	}
	data := maps.Clone(b.data)
	data["params"] = changed
	templates, err := podTemplates(data)
	if err != nil {
		return nil, err
	}
	return &Bundle{
		limits: b.limits, digest: b.digest, rules: b.rules, exceptions: b.exceptions, templates: templates,
		compiler: b.compiler, data: data, store: storeOf(data), queries: map[string]*prepared{},
		byContent: b.byContent, sees: b.sees, recorded: b.recorded, documents: b.documents,
	}, nil
}

// storeOf keeps data in the form that evaluation takes it in.
func storeOf(data map[string]any) storage.Store {
	return inmem.NewFromObjectWithOpts(data, inmem.OptReturnASTValuesOnRead(true))
}

package render

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"runtime"
	"sync"

	"golang.org/x/sync/semaphore"
	"k8s.io/kube-openapi/pkg/validation/spec"
	"sigs.k8s.io/kustomize/kyaml/openapi"
	"sigs.k8s.io/yaml"
)

// schemaGuard shares out kustomize's OpenAPI schema, which is one per process
// and read without a lock. Once it is parsed, builds that do not name a schema
// of their own only read it, and may run side by side. One that does replaces
// it for the whole process and never puts it back, so it runs alone, from a
// fresh schema, and leaves a fresh one. Being shared out, the guard is also
// what bounds the number of builds at work, abandoned ones included.
type schemaGuard struct {
	slots int64
	sem   *semaphore.Weighted

	mu   sync.Mutex
	warm bool // the built-in schema is parsed, and nothing else
}

// guard is global because what it guards is: two renderers in one process
// share kustomize's variables.
var guard = newSchemaGuard(max(4, int64(runtime.GOMAXPROCS(0))))

func newSchemaGuard(slots int64) *schemaGuard {
	return &schemaGuard{slots: slots, sem: semaphore.NewWeighted(slots)}
}

// share runs f among builds that use the built-in schema.
func (g *schemaGuard) share(ctx context.Context, f func() error) error {
	if err := g.sem.Acquire(ctx, 1); err != nil {
		return context.Cause(ctx)
	}
	defer g.sem.Release(1)
	g.heat()
	return f()
}

// heat parses the built-in schema before the first of several builds could do
// it under the eyes of the others.
func (g *schemaGuard) heat() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if !g.warm {
		openapi.ResetOpenAPI()
		openapi.Schema()
		g.warm = true
	}
}

// alone runs f while no other build runs, if the schemas that it may set can
// be followed to an end.
func (g *schemaGuard) alone(ctx context.Context, schemas [][]byte, f func() error) error {
	if err := g.sem.Acquire(ctx, g.slots); err != nil {
		return context.Cause(ctx)
	}
	defer g.sem.Release(g.slots)
	for _, schema := range schemas {
		g.heat()
		if err := endlessSchema(schema, openapi.Schema().Definitions); err != nil {
			return err
		}
	}
	g.mu.Lock()
	g.warm = false
	g.mu.Unlock()
	openapi.ResetOpenAPI()
	return f()
}

// maxReferences is how many $ref may follow one another.
const maxReferences = 64

// endlessSchema refuses an OpenAPI schema whose references lead in a circle
// without a property between them: kustomize follows them for ever. What does
// not parse is left to kustomize to refuse.
func endlessSchema(content []byte, builtin spec.Definitions) error {
	if len(content) > 0 && content[0] != '{' {
		var err error
		if content, err = yaml.YAMLToJSON(content); err != nil {
			return nil
		}
	}
	var swagger spec.Swagger
	if err := swagger.UnmarshalJSON(content); err != nil {
		return nil
	}
	root := &spec.Schema{SchemaProps: spec.SchemaProps{Definitions: maps.Clone(builtin)}}
	if root.Definitions == nil {
		root.Definitions = spec.Definitions{}
	}
	maps.Copy(root.Definitions, swagger.Definitions)
	for name, definition := range swagger.Definitions {
		if err := endless(&definition, root); err != nil {
			return fmt.Errorf("openapi: definition %q: %w", name, err)
		}
	}
	return nil
}

func endless(schema, root *spec.Schema) error {
	for at, steps := schema, 0; at != nil && at.Ref.String() != ""; steps++ {
		if steps > maxReferences {
			return errors.New("$ref leads in a circle")
		}
		next, err := openapi.Resolve(&at.Ref, root)
		if err != nil {
			break
		}
		at = next
	}
	var parts []*spec.Schema
	for _, property := range schema.Properties {
		parts = append(parts, &property)
	}
	if schema.AdditionalProperties != nil && schema.AdditionalProperties.Schema != nil {
		parts = append(parts, schema.AdditionalProperties.Schema)
	}
	if schema.Items != nil && schema.Items.Schema != nil {
		parts = append(parts, schema.Items.Schema)
	}
	for _, part := range parts {
		if err := endless(part, root); err != nil {
			return err
		}
	}
	return nil
}

// maxDepth is how deep types may be nested.
const maxDepth = 1_000

// crd is what kustomize reads of one type in a file of `crds`.
type crd struct{ Schema spec.Schema }

// endlessCRDs refuses a file of `crds` whose types contain each other in a
// circle, or one another so often that writing them out does not end soon:
// kustomize recurses through them until the stack overflows.
func endlessCRDs(content []byte) error {
	types := map[string]crd{}
	decode := func(b []byte, into any) error { return yaml.Unmarshal(b, into) }
	if bytes.HasPrefix(content, []byte("{")) {
		decode = json.Unmarshal
	}
	if err := decode(content, &types); err != nil {
		return nil // kustomize says so
	}
	sizes := map[string]int{}
	for name, of := range types {
		if !of.isObject() {
			continue // kustomize starts from objects only
		}
		if _, err := crdSize(types, name, sizes, 0); err != nil {
			return err
		}
	}
	return nil
}

func (c crd) isObject() bool {
	for _, field := range []string{"kind", "apiVersion", "metadata"} {
		if _, found := c.Schema.Properties[field]; !found {
			return false
		}
	}
	return true
}

func crdSize(types map[string]crd, name string, sizes map[string]int, depth int) (int, error) {
	of, known := types[name]
	if !known {
		return 0, nil
	}
	if depth > maxDepth {
		return 0, fmt.Errorf("crds: types are nested more than %d deep", maxDepth)
	}
	if size, seen := sizes[name]; seen {
		if size < 0 {
			return 0, fmt.Errorf("crds: type %q contains itself", name)
		}
		return size, nil
	}
	sizes[name] = -1
	total := 1
	for _, property := range of.Schema.Properties {
		size, err := crdSize(types, property.Ref.String(), sizes, depth+1)
		if err != nil {
			return 0, err
		}
		if total += size + 1; total > maxNodes {
			return 0, fmt.Errorf("crds: type %q stands for more than %d properties", name, maxNodes)
		}
	}
	sizes[name] = total
	return total, nil
}

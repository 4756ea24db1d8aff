package rego

import (
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/dependencies"
)

// checkReferences refuses a name below `data` that neither a rule nor a data
// file defines: to OPA it is merely undefined, so that a misspelled list of
// forbidden things forbids nothing.
func checkReferences(compiler *ast.Compiler, data map[string]any) error {
	var problems []error
	for _, name := range slices.Sorted(maps.Keys(compiler.Modules)) {
		ast.WalkRefs(compiler.Modules[name], func(ref ast.Ref) bool {
			if len(ref) > 0 && ref[0].Equal(ast.DefaultRootDocument) && !defined(compiler, data, ref) {
				problems = append(problems, fmt.Errorf("%s: %s is defined by no rule and no data file",
					at(ref[0].Location), groundPrefix(ref)))
			}
			return false
		})
		if len(problems) >= maxErrors {
			break
		}
	}
	return errors.Join(problems...)
}

// defined follows the constant beginning of a reference through the rules, and
// through the base data where no rule stands.
func defined(compiler *ast.Compiler, data map[string]any, ref ast.Ref) bool {
	prefix := groundPrefix(ref)
	node := compiler.RuleTree
	for _, term := range prefix {
		if node = node.Child(term.Value); node == nil {
			break
		}
		if len(node.Values) > 0 {
			return true
		}
	}
	if node != nil {
		return true
	}
	keys := make([]string, 0, len(prefix))
	for _, term := range prefix[1:] {
		key, ok := term.Value.(ast.String)
		if !ok {
			break // an index into a list: its length is not known
		}
		keys = append(keys, string(key))
	}
	_, found := lookup(data, keys)
	return found
}

func groundPrefix(ref ast.Ref) ast.Ref {
	for i, term := range ref {
		if i > 0 {
			if _, constant := term.Value.(ast.String); !constant {
				return ref[:i]
			}
		}
	}
	return ref
}

func lookup(data map[string]any, path []string) (any, bool) {
	var value any = data
	for _, key := range path {
		object, ok := value.(map[string]any)
		if !ok {
			return nil, false
		}
		if value, ok = object[key]; !ok {
			return nil, false
		}
	}
	return value, true
}

// checkScope refuses a rule whose kinds and whose use of input.object do not
// agree: asked once per release, it would find input.object undefined and stay
// silent; asked per object without looking at it, it would repeat itself.
func checkScope(compiler *ast.Compiler, r *rule, where string) error {
	looks := false
	for _, compiled := range r.module.Rules {
		bases, err := dependencies.Base(compiler, compiled)
		if err != nil {
			return fmt.Errorf("%s: follow references: %w", where, err)
		}
		looks = looks || slices.ContainsFunc(bases, isObjectRef)
	}
	switch {
	case looks && !r.PerObject():
		return fmt.Errorf("%s: %s looks at input.object, but custom.kinds does not say of which kinds", where, r.module.Package.Path)
	case !looks && r.PerObject():
		return fmt.Errorf("%s: %s has custom.kinds but does not look at input.object; want it, or no kinds", where, r.module.Package.Path)
	}
	return nil
}

func isObjectRef(ref ast.Ref) bool {
	return len(ref) > 1 && ref[0].Equal(ast.InputRootDocument) && ref[1].Value.Compare(ast.String("object")) == 0
}

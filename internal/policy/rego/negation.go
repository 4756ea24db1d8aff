package rego

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/open-policy-agent/opa/v1/ast"
)

// checkNegations refuses `not f(x.y)` where x.y may be undefined. OPA moves
// the operands of a call in front of it, out of the negation: when x.y is
// missing the whole body is undefined, not true, so that a rule that wants
// every image to start with something is silent about one without an image
// (open-policy-agent/opa#1877).
func checkNegations(compiler *ast.Compiler, data map[string]any) error {
	c := &negations{compiler: compiler, data: data, schema: schemaTree()}
	for _, name := range slices.Sorted(maps.Keys(compiler.Modules)) {
		ast.WalkBodies(compiler.Modules[name], func(body ast.Body) bool {
			c.check(body)
			return len(c.problems) >= maxErrors
		})
	}
	return errors.Join(c.problems...)
}

type negations struct {
	compiler *ast.Compiler
	data     map[string]any
	schema   map[string]any
	problems []error
}

func (c *negations) check(body ast.Body) {
	produced := map[ast.Var]*ast.Expr{}
	for _, expr := range body {
		if output, ok := outputOf(expr); ok {
			produced[output] = expr
		}
	}
	for _, expr := range body {
		if !expr.Negated {
			continue
		}
		if partial := c.partialOperand(expr, produced, len(body)); partial != nil {
			c.problems = append(c.problems, fmt.Errorf("%s: in `%s`, `%s` may be undefined, and then the whole body is, instead of "+
				"the negation being true; want it bound before, or given a default with object.get",
				at(expr.Location), sourceOf(expr), sourceOf(partial)))
		}
	}
}

// outputOf is the variable that an expression moved out of another one gives.
func outputOf(expr *ast.Expr) (ast.Var, bool) {
	terms, isCall := expr.Terms.([]*ast.Term)
	if !expr.Generated || !isCall || len(terms) < 2 {
		return "", false
	}
	output := terms[len(terms)-1]
	if expr.IsEquality() {
		output = terms[1]
	}
	v, ok := output.Value.(ast.Var)
	return v, ok
}

// partialOperand finds, among the expressions moved out of this one, the first
// that may be undefined. The depth bounds a chain that would lead in a circle.
func (c *negations) partialOperand(expr *ast.Expr, produced map[ast.Var]*ast.Expr, depth int) *ast.Expr {
	var found *ast.Expr
	own, _ := outputOf(expr)
	ast.WalkVars(expr, func(v ast.Var) bool {
		source := produced[v]
		if found != nil || source == nil || v == own || depth <= 0 {
			return false
		}
		if !c.total(source) {
			found = source
		} else {
			found = c.partialOperand(source, produced, depth-1)
		}
		return false
	})
	return found
}

// total reports whether a moved expression always has a value. A built-in
// function has: without one it is an error, which is never lost.
func (c *negations) total(expr *ast.Expr) bool {
	if expr.IsEquality() {
		ref, isRef := expr.Operand(1).Value.(ast.Ref)
		return !isRef || c.definedRef(ref)
	}
	operator := expr.Operator()
	if _, builtin := ast.BuiltinMap[operator.String()]; builtin {
		return true
	}
	return slices.ContainsFunc(c.compiler.GetRulesExact(operator), func(r *ast.Rule) bool { return r.Default })
}

func (c *negations) definedRef(ref ast.Ref) bool {
	if prefix := groundPrefix(ref); len(prefix) != len(ref) {
		return false
	}
	keys := make([]string, 0, len(ref))
	for _, term := range ref[1:] {
		keys = append(keys, string(term.Value.(ast.String)))
	}
	switch {
	case ref[0].Equal(ast.InputRootDocument):
		return inSchema(c.schema, keys)
	case !ref[0].Equal(ast.DefaultRootDocument):
		return len(keys) == 0
	}
	if rules := c.compiler.GetRulesExact(ref); len(rules) > 0 {
		return alwaysDefined(rules)
	}
	_, found := lookup(c.data, keys)
	return found
}

// alwaysDefined: a set or mapping that rules add to is there even when empty.
func alwaysDefined(rules []*ast.Rule) bool {
	partial := true
	for _, r := range rules {
		if r.Default {
			return true
		}
		kind := r.Head.RuleKind()
		partial = partial && kind == ast.MultiValue
	}
	return partial
}

func schemaTree() map[string]any {
	var schema map[string]any
	// Embedded; a test reads it. Without it nothing counts as defined.
	_ = json.Unmarshal(inputSchema, &schema)
	return schema
}

// inSchema reports whether the path is a field that every input has. That
// input.object is there where a rule looks at it is checkScope's work.
func inSchema(schema map[string]any, path []string) bool {
	for _, key := range path {
		properties, _ := schema["properties"].(map[string]any)
		next, ok := properties[key].(map[string]any)
		if !ok {
			return false
		}
		schema = next
	}
	return true
}

func sourceOf(expr *ast.Expr) string {
	if expr.Location != nil && len(expr.Location.Text) > 0 {
		return string(expr.Location.Text)
	}
	return expr.String()
}

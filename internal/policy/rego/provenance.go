package rego

import (
	"github.com/open-policy-agent/opa/v1/ast"
)

// byContent reports whether no rule looks at who made a release, or by which
// commit: then two releases of the same objects get the same verdict while
// nothing around them changes. Where it cannot be told what is looked at, the
// answer is no.
func byContent(modules map[string]*ast.Module) bool {
	return !anyRef(modules, func(ref ast.Ref) bool {
		switch part(ref, 1) {
		case "object", "objects", "environment", "images", "references", "schedules", "now",
			"upstream", "pipeline", "lastGood", "approval", "evidence":
			return false
		case "release":
			return part(ref, 2) != "digest"
		}
		return true // the whole input, or a part that is computed
	})
}

// anyRef looks among what rules read of the input.
func anyRef(modules map[string]*ast.Module, is func(ast.Ref) bool) bool {
	found := false
	for _, module := range modules {
		ast.WalkRefs(module, func(ref ast.Ref) bool {
			found = found || len(ref) > 0 && ref[0].Equal(ast.InputRootDocument) && is(ref)
			return false
		})
	}
	return found
}

// part is the i-th step of a reference, "" where it is not written out.
func part(ref ast.Ref, i int) string {
	if i >= len(ref) {
		return ""
	}
	text, _ := ref[i].Value.(ast.String)
	return string(text)
}

package rego

import (
	"github.com/open-policy-agent/opa/v1/ast"
)

// byContent reports whether no rule looks at who made a release, by which
// commit, or at what is verified upstream: then two releases of the same objects
// get the same verdict. Where it cannot be told what is looked at, the answer is
// no.
func byContent(modules map[string]*ast.Module) bool {
	only := true
	for _, module := range modules {
		ast.WalkRefs(module, func(ref ast.Ref) bool {
			only = only && !beyondContent(ref)
			return false
		})
	}
	return only
}

func beyondContent(ref ast.Ref) bool {
	if len(ref) == 0 || !ref[0].Equal(ast.InputRootDocument) {
		return false
	}
	switch part(ref, 1) {
	case "object", "objects", "environment", "images", "now":
		return false
	case "release":
		return part(ref, 2) != "digest"
	}
	return true // upstream, the whole input, or a part that is computed
}

// part is the i-th step of a reference, "" where it is not written out.
func part(ref ast.Ref, i int) string {
	if i >= len(ref) {
		return ""
	}
	text, _ := ref[i].Value.(ast.String)
	return string(text)
}

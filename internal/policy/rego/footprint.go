package rego

import (
	"encoding/json"
	"maps"
	"math/bits"
	"slices"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/util"
)

// footprint is the set of parts of the input that a rule may look at. A rule is
// a pure function of them: it has no clock, no chance and no network. So an
// answer holds for as long as they are what they were.
type footprint uint64

// parts are the fields of the input, in the order of a footprint's bits.
var parts = partsOfInput()

// everything is the footprint of a rule of which it cannot be told.
var everything = footprint(1)<<len(parts) - 1

// partsOfInput reads them from the schema, which a test holds to the input.
func partsOfInput() []string {
	var schema struct {
		Properties map[string]json.RawMessage `json:"properties"`
	}
	// Embedded; a test reads it. Without it no field would be known, and every
	// reference to one would count as a reference to all.
	_ = json.Unmarshal(inputSchema, &schema)
	return slices.Sorted(maps.Keys(schema.Properties))
}

func (f footprint) has(part string) bool {
	i := slices.Index(parts, part)
	return i >= 0 && f&(1<<i) != 0
}

// names are the parts in it.
func (f footprint) names() []string {
	names := make([]string, 0, bits.OnesCount64(uint64(f)))
	for i, part := range parts {
		if f&(1<<i) != 0 {
			names = append(names, part)
		}
	}
	return names
}

// footprints follow everything that rules refer to, through other rules and
// functions. The compiler's graph has an edge wherever a reference might lead,
// so what is not found is not looked at.
type footprints struct {
	compiler *ast.Compiler
	known    map[util.T]footprint
}

func footprintOf(compiler *ast.Compiler, module *ast.Module) (sees footprint) {
	all := footprints{compiler: compiler, known: map[util.T]footprint{}}
	for _, r := range module.Rules {
		sees |= all.of(r)
	}
	return sees
}

// of a rule. Rules do not refer to themselves: such a bundle does not compile.
func (f footprints) of(node util.T) footprint {
	sees, known := f.known[node]
	if known {
		return sees
	}
	ast.WalkRefs(node, func(ref ast.Ref) bool {
		sees |= partOf(ref)
		return false
	})
	for next := range f.compiler.Graph.Dependencies(node) {
		sees |= f.of(next)
	}
	f.known[node] = sees
	return sees
}

// partOf is the part of the input that a reference leads to: every part where
// it is the whole input, or computed.
func partOf(ref ast.Ref) footprint {
	if len(ref) == 0 || !ref[0].Equal(ast.InputRootDocument) {
		return 0
	}
	if i := slices.Index(parts, part(ref, 1)); i >= 0 {
		return 1 << i
	}
	return everything
}

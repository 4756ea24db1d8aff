package lint

import (
	"fmt"
	"go/ast"
	"maps"
	"path"
	"slices"
	"strings"
)

// Layers of design.md §9. A package imports only what stands in a layer below
// its own; inside a layer, the rule of that layer.
const (
	pure     = 0    // words: no I/O, no clock, no chance
	rules    = 1    // decisions, as pure
	adapter  = 2    // I/O
	loop     = 3    // the loop, and what looks at it
	wiring   = 4    // puts everything together
	program  = 5    // main
	testOnly = 1000 // imported by tests alone
)

// packages is the one list. Add a new package here, in its layer; inside a layer
// the order matters where packages of it may import each other.
var packages = []struct {
	layer int
	names []string
}{
	{pure, []string{"fault", "strictyaml", "expression", "manifest", "source", "promotion", "forge"}},
	{rules, []string{"inventory", "health", "plan", "strategy", "evidence", "policy", "webhook", "origin", "ledger", "config", "source/merge", "source/signature", "state/v1alpha1", "reconcile", "preview"}},
	{adapter, []string{"source/gogit", "source/githubapp", "source/worktree", "render", "policy/rego", "policy/oci", "cluster", "verify", "state", "preview/between", "forge/wire", "forge/client", "forge/gitea", "forge/github", "forge/gitlab"}},
	{loop, []string{"metrics", "web", "controller"}},
	{wiring, []string{"app", "demo", "cli"}},
	{program, []string{"cmd/chaperone"}},
	{testOnly, []string{"testkit/*", "sim", "sim/contract", "forge/contract", "e2e", "bench", "lint"}},
}

// siblings says, for each layer, why its packages do not import each other;
// where there is no reason, they may import those listed before them.
var siblings = map[int]string{
	adapter: "adapters know the words and rules below them and never each other, so that each can be replaced, and tested, alone",
	loop:    "the loop, the metrics and the pages meet in app, so that none of them waits for another",
}

// place is where a package stands in the list; ok is false for none.
func place(name string) (layer, at int, ok bool) {
	for _, group := range packages {
		for i, listed := range group.names {
			if prefix, all := strings.CutSuffix(listed, "*"); listed == name || all && strings.HasPrefix(name, prefix) {
				return group.layer, i, true
			}
		}
	}
	return 0, 0, false
}

func layered(f *File) bool { return !f.inNested() }

func servesTests(f *File) bool {
	layer, _, ok := place(f.Package())
	return ok && layer == testOnly
}

// checkListed keeps the list whole: a package that is not in it is under no
// rule.
func checkListed(t *Tree) []Finding {
	first := map[string]*File{}
	for _, f := range t.Files {
		if _, _, ok := place(f.Package()); !ok && layered(f) && first[f.Package()] == nil {
			first[f.Package()] = f
		}
	}
	var findings []Finding
	for _, name := range slices.Sorted(maps.Keys(first)) {
		f := first[name]
		findings = append(findings, f.find(f.Syntax.Name,
			"package %s is in no layer; add it to `packages` in internal/lint/layers.go, in the lowest layer that its imports allow", name))
	}
	return findings
}

func checkLayers(t *Tree) []Finding {
	return t.each(func(f *File) bool { return noTest(f) && layered(f) }, func(f *File) []Finding {
		var findings []Finding
		for _, spec := range f.Syntax.Imports {
			target, own := strings.CutPrefix(importPath(spec), Module+"/internal/")
			if !own {
				continue
			}
			if why := forbidden(f.Package(), target); why != "" {
				findings = append(findings, f.find(spec, "%s imports %s: %s", f.Package(), target, why))
			}
		}
		return findings
	})
}

// forbidden says why one package must not import another; "" is that it may.
func forbidden(from, to string) string {
	layer, at, listed := place(from)
	below, atBelow, known := place(to)
	switch {
	case !listed || !known:
		return "" // checkListed reports it
	case layer == testOnly:
		return ""
	case below == testOnly:
		return "what serves tests is no part of the program; only files named _test.go import it"
	case layer == program && below != wiring:
		return "main only exits; what it needs is in cli"
	case below > layer:
		return fmt.Sprintf("layer %d imports only layers below it, and %s is in layer %d; turn the dependency around with an interface "+
			"that stands with its consumer", layer, to, below)
	case below < layer || siblings[layer] == "" && atBelow < at || strings.HasPrefix(to, from+"/"):
		return ""
	case siblings[layer] != "":
		return siblings[layer]
	}
	return fmt.Sprintf("inside layer %d a package imports only those listed before it in internal/lint/layers.go, so that there is one "+
		"order to read them in", layer)
}

// checkReconcile keeps the decision to the words it needs: whoever reads it, or
// enumerates its worlds, needs nothing else.
func checkReconcile(t *Tree) []Finding {
	allowed := []string{Module + "/internal/promotion", Module + "/internal/source"}
	return t.each(func(f *File) bool { return noTest(f) && f.Package() == "reconcile" }, func(f *File) []Finding {
		var findings []Finding
		for _, spec := range f.Syntax.Imports {
			target := importPath(spec)
			standard := !strings.Contains(strings.Split(target, "/")[0], ".")
			if !standard && !slices.Contains(allowed, target) {
				findings = append(findings, f.find(spec, "reconcile imports %s: it decides from the standard library, promotion and source alone, "+
					"so that every reachable world can be enumerated", target))
			}
		}
		return findings
	})
}

// What makes a result depend on more than the arguments.
var (
	impureImports = map[string]string{
		"context": "there is nothing to cancel", "os": "it does I/O", "os/exec": "it does I/O", "os/signal": "it does I/O",
		"net": "it does I/O", "net/http": "it does I/O", "syscall": "it does I/O", "log": "it does I/O", "io/ioutil": "it does I/O",
		"path/filepath": "it depends on the machine; want path", "math/rand": "it is chance", "math/rand/v2": "it is chance",
		"crypto/rand": "it is chance", "runtime": "it depends on the machine", "unsafe": "nothing here needs it",
	}
	impurePrefixes = []string{"k8s.io/client-go/", "github.com/go-git/", "golang.org/x/net/", "github.com/prometheus/"}
	// pureImports are pure packages of modules that do I/O.
	pureImports = []string{"k8s.io/client-go/util/jsonpath", "github.com/prometheus/prometheus/promql/parser"}
	clock       = []string{"Now", "Since", "Until", "Sleep", "After", "AfterFunc", "Tick", "NewTimer", "NewTicker", "Local"}
)

func checkPurity(t *Tree) []Finding {
	isPure := func(f *File) bool {
		layer, _, ok := place(f.Package())
		return ok && layer <= rules && noTest(f) && layered(f)
	}
	return t.each(isPure, func(f *File) []Finding {
		var findings []Finding
		for _, spec := range f.Syntax.Imports {
			target := importPath(spec)
			why := impureImports[target]
			if !slices.Contains(pureImports, target) &&
				slices.ContainsFunc(impurePrefixes, func(prefix string) bool { return strings.HasPrefix(target+"/", prefix) }) {
				why = "it does I/O"
			}
			if why != "" {
				findings = append(findings, f.find(spec, "%s imports %s: %s, and layers 0 and 1 give the same answer to the same question; "+
					"take what is needed as an argument", f.Package(), target, why))
			}
		}
		imports := f.imports()
		ast.Inspect(f.Syntax, func(n ast.Node) bool {
			selector, ok := n.(*ast.SelectorExpr)
			if !ok {
				return true
			}
			if target, name := selected(selector, imports); target == "time" && slices.Contains(clock, name) {
				findings = append(findings, f.find(n, "time.%s: layers 0 and 1 have no clock, so that a test can be any time; take now as an argument", name))
			}
			return true
		})
		return findings
	})
}

// checkTemplates keeps templates out of the program: they find methods by name
// while it runs, and so the linker keeps every method of every type that it has,
// Kubernetes' and OPA's among them, whoever calls it or not.
func checkTemplates(t *Tree) []Finding {
	inProgram := func(f *File) bool { return noTest(f) && layered(f) && !servesTests(f) }
	return t.each(inProgram, func(f *File) []Finding {
		var findings []Finding
		for _, spec := range f.Syntax.Imports {
			if target := importPath(spec); target == "text/template" || target == "html/template" {
				findings = append(findings, f.find(spec, "%s imports %s: with it the program is half as large again, on disk and resident; "+
					"write text with fmt, and pages as internal/web does", f.Package(), target))
			}
		}
		return findings
	})
}

// checkPackageNames refuses names that say nothing: everything ends up there.
func checkPackageNames(t *Tree) []Finding {
	empty := []string{"util", "utils", "common", "types", "helper", "helpers", "misc"}
	return t.each(anyFile, func(f *File) []Finding {
		name := strings.TrimSuffix(f.Syntax.Name.Name, "_test")
		if slices.Contains(empty, name) || slices.Contains(empty, path.Base(path.Dir(f.Path))) {
			return []Finding{f.find(f.Syntax.Name, "package %s: want a noun of the field; a name that says nothing collects everything", name)}
		}
		return nil
	})
}

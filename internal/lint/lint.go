// Package lint holds the rules of the house. It guarantees that what design.md
// says about layers, purity, sizes and wording is true of every Go file of the
// repository, nested modules included, or that a test fails with the file,
// the line and the reason for the rule.
package lint

import (
	"cmp"
	"fmt"
	"slices"
)

// Finding is one place that breaks a rule.
type Finding struct {
	File string // from the root of the repository
	Line int
	Rule string
	Text string // what is wrong, why it matters, and what would be right
}

func (f Finding) String() string { return fmt.Sprintf("%s:%d: %s: %s", f.File, f.Line, f.Rule, f.Text) }

// Rule looks at the whole tree.
type Rule struct {
	Name  string
	Check func(*Tree) []Finding
}

// Rules are all of them.
func Rules() []Rule {
	return []Rule{
		{"listed", checkListed},
		{"layers", checkLayers},
		{"reconcile", checkReconcile},
		{"purity", checkPurity},
		{"templates", checkTemplates},
		{"package-comment", checkPackageComments},
		{"package-name", checkPackageNames},
		{"file-length", checkFileLength},
		{"function-length", checkFunctionLength},
		{"error-text", checkErrorTexts},
		{"panic", checkPanics},
		{"skip", checkSkips},
		{"generator", checkGenerators},
		{"racing", checkRacing},
		{"gofmt", checkFormat},
	}
}

// Check applies every rule.
func Check(tree *Tree) []Finding {
	var all []Finding
	for _, rule := range Rules() {
		for _, finding := range rule.Check(tree) {
			finding.Rule = rule.Name
			all = append(all, finding)
		}
	}
	slices.SortFunc(all, func(a, b Finding) int {
		return cmp.Or(cmp.Compare(a.File, b.File), cmp.Compare(a.Line, b.Line), cmp.Compare(a.Rule, b.Rule))
	})
	return all
}

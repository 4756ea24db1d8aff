package rego

import (
	"errors"
	"slices"
	"strings"

	"chaperone.dev/chaperone/internal/policy"
)

// Frameworks are the lists of controls in the bundle, ordered by name.
func (b *Bundle) Frameworks() []policy.Framework { return slices.Clone(b.frameworks) }

// applyFrameworks reads the lists of controls, refuses those that do not fit the
// rules, and lets the profiles among them tighten the rules.
func applyFrameworks(files fileSet, rules []*rule) ([]policy.Framework, error) {
	var frameworks []policy.Framework
	var problems []error
	for _, f := range files {
		framework, err := policy.ParseFramework(f.name, f.content)
		if err != nil {
			problems = append(problems, err)
			continue
		}
		frameworks = append(frameworks, framework)
	}
	if len(problems) > 0 {
		return nil, errors.Join(problems...)
	}
	slices.SortFunc(frameworks, func(a, b policy.Framework) int { return strings.Compare(a.Name, b.Name) })
	metadata := make([]policy.Rule, 0, len(rules))
	for _, r := range rules {
		metadata = append(metadata, r.Rule)
	}
	for i, tightened := range policy.Enforce(frameworks, metadata) {
		rules[i].Waivable = tightened.Waivable
	}
	return frameworks, policy.CheckFrameworks(frameworks, metadata)
}

package promotion

import (
	"fmt"
	"slices"

	"chaperone.dev/chaperone/internal/expression"
	"chaperone.dev/chaperone/internal/strictyaml"
)

const maxHealthRules = 50

// unreported are kinds that no controller writes a status for: an object of them
// is as good as it will ever be once it is stored.
var unreported = []string{"ConfigMap", "Secret", "ServiceAccount"}

func decodeHealth(verify *strictyaml.Object) []HealthRule {
	limit(verify.Value("health"), maxHealthRules)
	var all []HealthRule
	for _, o := range verify.Objects("health") {
		o.Require("kind", "want the kind that it is about, such as Widget.example.org")
		o.Require("ready", "want a condition in CEL, such as self.status.phase == 'Ready'")
		rule := HealthRule{Ready: o.String("ready", "", checkCondition), Failed: o.String("failed", "", checkCondition)}
		v := o.Value("kind")
		text, written := v.Scalar()
		if !written {
			continue
		}
		var err error
		rule.Group, rule.Kind, err = parseKind(text)
		switch {
		case err != nil:
			v.Problem("%v", err)
		case rule.Group == "" && slices.Contains(unreported, rule.Kind):
			v.Problem("nobody reports on a %s; want a kind that has a status", rule.Kind)
		case slices.ContainsFunc(all, func(other HealthRule) bool { return other.Group == rule.Group && other.Kind == rule.Kind }):
			v.Problem("%q has a rule above; keep one", text)
		default:
			all = append(all, rule)
		}
	}
	return all
}

// checkCondition compiles a condition, to tell here what is wrong with it.
func checkCondition(text string) error {
	if _, err := expression.Compile(text); err != nil {
		return fmt.Errorf("%w; want a condition in CEL over self, such as self.status.phase == 'Ready'", err)
	}
	return nil
}

package cli

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"chaperone.dev/chaperone/internal/policy"
	"chaperone.dev/chaperone/internal/policy/rego"
	"chaperone.dev/chaperone/internal/strictyaml"
)

func newPolicy(c *command) *cobra.Command {
	cmd := &cobra.Command{
		Use: "policy", Short: "Write, prove and explain policies",
		Long: `Policy is for those who write rules: begin one, run its tests, see what it is
for, and what it would stop before anybody enforces it.
` + exitHelp,
		Example: `  chaperone policy new network/no-node-ports
  chaperone policy test
  chaperone policy replay --bundle policies --last 50`,
		Args: knownCommand,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newPolicyTest(c), newPolicyList(c), newPolicyExplain(c), newPolicyNew(c), newPolicyReplay(c))
	return cmd
}

// policiesFlag is --policies of commands that need nothing else.
func policiesFlag(cmd *cobra.Command, dir *string) {
	cmd.Flags().StringVar(dir, "policies", "policies", "directory of the policies")
}

// inspect compiles policies; whether they pass their tests is another question.
func inspect(ctx context.Context, dir string) (*rego.Inspection, error) {
	return rego.Inspect(ctx, dir, rego.DefaultLimits())
}

// ruleNamed finds a rule by its id or its code.
func ruleNamed(rules []policy.Rule, name string) (policy.Rule, error) {
	var ids []string
	for _, r := range rules {
		if r.ID == name || r.Code != "" && strings.EqualFold(r.Code, name) {
			return r, nil
		}
		ids = append(ids, r.ID)
	}
	advice := strictyaml.DidYouMean(name, ids)
	return policy.Rule{}, fmt.Errorf("no rule %q; %s", name, cmp.Or(advice, "see `chaperone policy list`"))
}

// completeRules offers the rules of --policies.
func completeRules(cmd *cobra.Command, args []string, begun string) ([]string, cobra.ShellCompDirective) {
	dir := "policies"
	if flag := cmd.Flags().Lookup("policies"); flag != nil {
		dir = flag.Value.String()
	}
	inspection, err := inspect(cmd.Context(), dir)
	if err != nil || len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	var ids []string
	for _, r := range inspection.Rules() {
		if strings.HasPrefix(r.ID, begun) {
			ids = append(ids, r.ID)
		}
	}
	return ids, cobra.ShellCompDirectiveNoFileComp
}

// listedRule is what `policy list` and `policy explain` print for programs: the
// metadata in its own shape.
type listedRule struct {
	ID          string          `json:"id"`
	Code        string          `json:"code"`
	Title       string          `json:"title"`
	Description string          `json:"description"`
	Severity    policy.Severity `json:"severity"`
	Data        []string        `json:"data"`
	Kinds       []string        `json:"kinds"`
	Controls    map[string]any  `json:"controls"`
	Waivable    bool            `json:"waivable"`
	Remediation string          `json:"remediation"`
	File        string          `json:"file"`
}

func describe(r policy.Rule) listedRule {
	l := listedRule{ID: r.ID, Code: r.Code, Title: r.Title, Description: r.Description, Severity: r.Severity, Data: []string{},
		Kinds: append([]string{}, r.Kinds...), Controls: map[string]any{}, Waivable: r.Waivable, Remediation: r.Remediation, File: r.File}
	for _, d := range r.Data {
		l.Data = append(l.Data, string(d))
	}
	ids := map[string][]string{}
	versions := map[string]string{}
	for _, cited := range r.Cited {
		ids[cited.Framework] = append(ids[cited.Framework], cited.ID)
		versions[cited.Framework] = cited.Version
	}
	for framework, list := range ids {
		switch {
		case framework == "hipaa":
			l.Controls[framework] = r.HIPAA
		case versions[framework] != "":
			l.Controls[framework] = map[string]any{"version": versions[framework], "ids": list}
		default:
			l.Controls[framework] = list
		}
	}
	return l
}

func dataOf(r policy.Rule) string {
	if len(r.Data) == len(everyData) {
		return "all"
	}
	var classes []string
	for _, d := range r.Data {
		classes = append(classes, string(d))
	}
	return strings.Join(slices.Compact(classes), ", ")
}

package cli

import (
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"chaperone.dev/chaperone/internal/policy"
	"chaperone.dev/chaperone/internal/policy/rego"
)

// explainedRule is what `policy explain -o json` prints.
type explainedRule struct {
	listedRule
	Examples []rego.Example `json:"examples"`
}

func newPolicyExplain(c *command) *cobra.Command {
	var dir string
	var output format
	cmd := &cobra.Command{
		Use: "explain RULE", Short: "Tell what a rule asks, why, and how to comply",
		Long: `Explain prints a rule's text, what it cites and why, what to do about a finding,
and manifests that it denies and that it lets pass. RULE is an id such as
pod/run-as-non-root, or a code such as POD-009.
` + exitHelp,
		Example: "  chaperone policy explain pod/run-as-non-root\n  chaperone policy explain POD-009 -o json",
		Args:    exactly(1, "one rule, such as pod/run-as-non-root"), ValidArgsFunction: completeRules,
		RunE: func(cmd *cobra.Command, args []string) error {
			inspection, err := inspect(cmd.Context(), dir)
			if err != nil {
				return err
			}
			rule, err := ruleNamed(inspection.Rules(), args[0])
			if err != nil {
				return err
			}
			examples := inspection.Examples(rule.ID)
			return c.print(output, explainedRule{describe(rule), examples}, func(w io.Writer) { c.explainRule(w, rule, examples) })
		},
	}
	policiesFlag(cmd, &dir)
	outputFlag(cmd, &output)
	return cmd
}

func (c *command) explainRule(w io.Writer, r policy.Rule, examples []rego.Example) {
	fmt.Fprintf(w, "%s (%s): %s\n\n", r.ID, orDash(r.Code), clean(r.Title))
	paragraph(w, "", r.Description)
	t := table{}
	t.add("severity", string(r.Severity))
	t.add("data", dataOf(r)+stops(r))
	t.add("asked about", askedAbout(r))
	t.add("exceptions", map[bool]string{true: "possible, reviewed and until a date", false: "none: it cannot be waived"}[r.Waivable])
	t.add("file", r.File)
	t.write(w)
	fmt.Fprintln(w, "\nTo comply:")
	paragraph(w, "  ", r.Remediation)
	fmt.Fprintln(w, "Cites:")
	for _, h := range r.HIPAA {
		paragraphs(w, "  ", "45 CFR "+h.Cite+": "+h.Why)
	}
	if len(r.Controls) > 0 {
		paragraphs(w, "  ", strings.Join(r.Controls, ", "))
	}
	for _, example := range examples {
		what := "It lets this pass"
		if example.Denied {
			what = "It denies this"
		}
		fmt.Fprintf(w, "\n%s (%s):\n", what, example.File)
		for line := range strings.Lines(strings.TrimSpace(example.Content)) {
			fmt.Fprintln(w, strings.TrimRight("  "+clean(strings.TrimRight(line, "\n")), " "))
		}
	}
}

func stops(r policy.Rule) string {
	for _, d := range r.Data {
		if r.Severity.AtLeast(policy.Threshold(d)) {
			return fmt.Sprintf(" (a denial stops a release from %s on)", d)
		}
	}
	return " (it is reported, and stops nothing)"
}

func askedAbout(r policy.Rule) string {
	if !r.PerObject() {
		return "the release as a whole"
	}
	return "each of " + strings.Join(r.Kinds, ", ")
}

// paragraph is wrapped text with an empty line behind it.
func paragraph(w io.Writer, indent, text string) {
	paragraphs(w, indent, text)
	fmt.Fprintln(w)
}

func paragraphs(w io.Writer, indent, text string) {
	for _, line := range wrapText(text, tableWidth-len(indent)) {
		fmt.Fprintln(w, indent+line)
	}
}

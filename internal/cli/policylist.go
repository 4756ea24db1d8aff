package cli

import (
	"fmt"
	"io"

	"github.com/spf13/cobra"
)

func newPolicyList(c *command) *cobra.Command {
	var dir, framework string
	var output format
	cmd := &cobra.Command{
		Use: "list", Short: "List the rules of policies",
		Long: `List prints every rule: how bad it is to break it, which data it protects, and
what it asks. -o json and yaml print all of its metadata. With --framework it
prints the controls of hipaa, nist-800-53r5 or another framework of the bundle
instead: how much of each is checked, by which rules, and what is not checkable.
` + exitHelp,
		Example: "  chaperone policy list\n  chaperone policy list -o json\n  chaperone policy list --framework hipaa",
		Args:    exactly(0, "no arguments"),
		RunE: func(cmd *cobra.Command, _ []string) error {
			inspection, err := inspect(cmd.Context(), dir)
			if err != nil {
				return err
			}
			if framework != "" {
				return c.listFramework(inspection, framework, output)
			}
			rules := inspection.Rules()
			all := make([]listedRule, 0, len(rules))
			for _, r := range rules {
				all = append(all, describe(r))
			}
			return c.print(output, all, func(w io.Writer) {
				t := table{header: []string{"RULE", "CODE", "SEVERITY", "DATA"}}
				for _, r := range rules {
					t.add(r.ID, orDash(r.Code), string(r.Severity), dataOf(r))
					t.note(r.Title)
				}
				t.write(w)
				fmt.Fprintf(w, "%d rules (policies %s)\n", len(rules), inspection.Digest().Short())
			})
		},
	}
	policiesFlag(cmd, &dir)
	cmd.Flags().StringVar(&framework, "framework", "", "print how the controls of this framework are covered")
	_ = cmd.RegisterFlagCompletionFunc("framework", completeFrameworks)
	outputFlag(cmd, &output)
	return cmd
}

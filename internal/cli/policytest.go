package cli

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"chaperone.dev/chaperone/internal/policy"
	"chaperone.dev/chaperone/internal/policy/rego"
)

func newPolicyTest(c *command) *cobra.Command {
	var dir string
	var threshold float64
	var output format
	cmd := &cobra.Command{
		Use: "test", Short: "Run the tests and examples of policies, with coverage",
		Long: `Test runs what a bundle has to pass before it is in force: its tests
(*_test.rego), and each rule's examples, which it must deny (testdata/fail) or
find nothing in (testdata/pass). It answers no (exit code 1) when one does not
come out as it must, or less of the rules is covered than --threshold asks for.
Policies that do not compile are wrong configuration (exit code 2).
` + exitHelp,
		Example: `  chaperone policy test
  chaperone policy test --policies policies --threshold 90
  chaperone policy test -o json`,
		Args: exactly(0, "no arguments"),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if threshold < 0 || threshold > 100 {
				return fmt.Errorf("--threshold: want a percentage from 0 to 100, not %v", threshold)
			}
			c.progress("testing the policies")
			defer c.progress("")
			inspection, err := inspect(cmd.Context(), dir)
			if err != nil {
				return err
			}
			trial, err := inspection.Try(cmd.Context())
			if err != nil {
				return err
			}
			c.progress("")
			if err := c.print(output, trial, func(w io.Writer) { c.trialTable(w, inspection.Rules(), trial, threshold) }); err != nil {
				return err
			}
			if !trial.Passed() || trial.Coverage < threshold {
				return no()
			}
			return nil
		},
	}
	policiesFlag(cmd, &dir)
	cmd.Flags().Float64Var(&threshold, "threshold", 0, "least percentage of lines that tests and examples cover")
	outputFlag(cmd, &output)
	return cmd
}

func (c *command) trialTable(w io.Writer, rules []policy.Rule, trial rego.Trial, threshold float64) {
	t := table{header: []string{"RULE", "TESTS", "EXAMPLES", "COVERAGE"}}
	for _, r := range rules {
		coverage := "-"
		for _, file := range trial.Files {
			if file.File == r.File {
				coverage = fmt.Sprintf("%.0f%%", file.Percent)
				if len(file.Uncalled) > 0 {
					coverage += " (not line " + strings.Join(file.Uncalled[:min(len(file.Uncalled), 5)], ", ") + ")"
				}
			}
		}
		t.add(r.ID, tally(trial, r.ID, "test"), tally(trial, r.ID, "fail", "pass"), coverage)
	}
	t.write(w)
	failures, all := 0, 0
	for _, p := range trial.Proofs {
		all++
		if p.Problem != "" {
			failures++
			fmt.Fprintln(w, c.painted(red, "FAIL"), cleanLines(p.Problem))
		}
	}
	verdict := c.painted(green, "pass")
	if failures > 0 {
		verdict = c.painted(red, "fail")
	}
	fmt.Fprintf(w, "%s: %d of %d tests and examples, %.1f%% of lines (policies %s)\n", verdict, all-failures, all, trial.Coverage, trial.Digest.Short())
	if trial.Coverage < threshold {
		fmt.Fprintf(w, "%s: less than the %.1f%% that --threshold asks for\n", c.painted(red, "fail"), threshold)
	}
}

// tally is how many of a rule's proofs passed, of how many.
func tally(trial rego.Trial, rule string, kinds ...string) string {
	passed, all := 0, 0
	for _, p := range trial.Proofs {
		if p.Rule != rule || !slices.Contains(kinds, p.Kind) {
			continue
		}
		if all++; p.Problem == "" {
			passed++
		}
	}
	if passed == all {
		return fmt.Sprint(all)
	}
	return fmt.Sprintf("%d of %d", passed, all)
}

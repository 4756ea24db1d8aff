package cli

import (
	"cmp"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"chaperone.dev/chaperone/internal/policy"
	"chaperone.dev/chaperone/internal/policy/rego"
)

// coverageTable is what `policy list --framework -o json` prints.
type coverageTable struct {
	Framework string                  `json:"framework"`
	Title     string                  `json:"title"`
	Cited     string                  `json:"cited"`
	Profile   string                  `json:"profile,omitempty"`
	Enforced  bool                    `json:"enforced"`
	Totals    map[policy.Coverage]int `json:"totals"`
	Controls  []coveredControl        `json:"controls"`
}

type coveredControl struct {
	ID             string          `json:"id"`
	Title          string          `json:"title"`
	Implementation string          `json:"implementation,omitempty"`
	Coverage       policy.Coverage `json:"coverage"`
	Reason         string          `json:"reason"`
	Engine         bool            `json:"engine"` // Chaperone itself
	Rules          []string        `json:"rules"`
}

func coverageOf(f policy.Framework, rules []policy.Rule) coverageTable {
	t := coverageTable{Framework: f.Name, Title: f.Title, Cited: f.Cited, Profile: f.Profile, Enforced: f.Enforced, Totals: map[policy.Coverage]int{}}
	for _, c := range f.Controls {
		covered, reason := f.Covered(c, rules), c.Reason
		if covered != c.Coverage {
			reason = "No rule here looks at it."
		}
		t.Totals[covered]++
		t.Controls = append(t.Controls, coveredControl{ID: c.ID, Title: c.Title, Implementation: c.Implementation, Coverage: covered,
			Reason: reason, Engine: c.Engine, Rules: append([]string{}, f.RulesOf(c, rules)...)})
	}
	return t
}

func (c *command) listFramework(inspection *rego.Inspection, name string, output format) error {
	var names []string
	for _, f := range inspection.Frameworks() {
		if f.Name == name {
			t := coverageOf(f, inspection.Rules())
			return c.print(output, t, func(w io.Writer) { c.writeCoverage(w, t) })
		}
		names = append(names, f.Name)
	}
	return fmt.Errorf("--framework: no %q in these policies; there is %s", name, cmp.Or(strings.Join(names, ", "), "none"))
}

func (c *command) writeCoverage(w io.Writer, t coverageTable) {
	fmt.Fprintf(w, "%s (%s)\n", t.Title, t.Cited)
	if t.Profile != "" {
		state := "not in force: spec.enforced of its file is false"
		if t.Enforced {
			state = fmt.Sprintf("in force: no rule that cites %s can be waived", t.Profile)
		}
		fmt.Fprintf(w, "A profile of %s, %s.\n", t.Profile, state)
	}
	fmt.Fprintln(w)
	out := table{header: []string{"CONTROL", "COVERAGE", "TITLE"}}
	for _, control := range t.Controls {
		title := control.Title
		if control.Implementation != "" && control.Implementation != "standard" {
			title += " (" + control.Implementation + ")"
		}
		out.add(control.ID, string(control.Coverage), title)
		by := control.Rules
		if control.Engine {
			by = append([]string{"Chaperone itself"}, by...)
		}
		out.note(strings.Join(by, ", "))
		out.note(control.Reason)
	}
	out.write(w)
	fmt.Fprintf(w, "\n%d controls: %d automated, %d partial, %d manual, %d not checkable from a release\n", len(t.Controls),
		t.Totals[policy.CoverageAutomated], t.Totals[policy.CoveragePartial], t.Totals[policy.CoverageManual], t.Totals[policy.CoverageNotCheckable])
}

// completeFrameworks offers those of --policies.
func completeFrameworks(cmd *cobra.Command, _ []string, begun string) ([]string, cobra.ShellCompDirective) {
	dir := "policies"
	if flag := cmd.Flags().Lookup("policies"); flag != nil {
		dir = flag.Value.String()
	}
	inspection, err := inspect(cmd.Context(), dir)
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	var names []string
	for _, f := range inspection.Frameworks() {
		if strings.HasPrefix(f.Name, begun) {
			names = append(names, f.Name)
		}
	}
	return names, cobra.ShellCompDirectiveNoFileComp
}

package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"chaperone.dev/chaperone/internal/app"
	"chaperone.dev/chaperone/internal/manifest"
	"chaperone.dev/chaperone/internal/plan"
	"chaperone.dev/chaperone/internal/promotion"
	"chaperone.dev/chaperone/internal/render"
)

type diffFlags struct {
	repoFlags
	clusterFlags
}

// diffLine is one object in `diff -o json`.
type diffLine struct {
	Object manifest.ID        `json:"object"`
	Action plan.Action        `json:"action"`
	Reason string             `json:"reason,omitempty"`
	Fields []plan.FieldChange `json:"fields,omitempty"`
}

func newDiff(c *command) *cobra.Command {
	var flags diffFlags
	var output format
	var all bool
	cmd := &cobra.Command{
		Use: "diff ENV", Short: "Show what would change on the cluster",
		Long: `Diff plans the release as the daemon would, with server-side dry runs, and shows
what it would create, update field by field, replace and delete. Values of
Secrets are not shown. It answers no (exit code 1) when there is a difference.
` + exitHelp,
		Example: "  chaperone diff novamind/production\n  chaperone diff novamind/production --revision head -o json",
		Args:    exactly(1, "one environment, such as novamind/production"), ValidArgsFunction: completeEnvironments(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			env, p, err := flags.plan(cmd.Context(), c, args[0])
			var refusal *plan.Refusal
			var rejected *plan.Rejected
			if err != nil && !errors.As(err, &refusal) && !errors.As(err, &rejected) {
				return err
			}
			lines := diffLines(p, all)
			if printed := c.print(output, lines, func(w io.Writer) { c.diffTable(w, env, p, lines) }); printed != nil {
				return printed
			}
			if err != nil {
				return &exitError{code: exitNo, err: err}
			}
			if !p.Quiet() {
				return no()
			}
			return nil
		},
	}
	flags.repoFlags.add(cmd, c)
	flags.clusterFlags.add(cmd, 2*time.Minute)
	cmd.Flags().BoolVar(&all, "all", false, "show unchanged objects too")
	outputFlag(cmd, &output)
	return cmd
}

func (f *diffFlags) plan(ctx context.Context, c *command, name string) (env promotion.Environment, p plan.Plan, err error) {
	config, err := f.connect(c)
	if err != nil {
		return env, p, err
	}
	t, err := f.load(ctx, c)
	if err != nil {
		return env, p, err
	}
	defer t.close()
	if env, err = t.environment(name); err != nil {
		return env, p, err
	}
	c.progress("comparing " + name + " with the cluster")
	defer c.progress("")
	result, err := t.render(ctx, render.New(render.DefaultLimits()), env)
	if err != nil {
		return env, p, err
	}
	err = f.ask(ctx, func(ctx context.Context) error {
		p, err = app.Plan(ctx, config, f.namespace, env, result.Set)
		return err
	})
	return env, p, err
}

func diffLines(p plan.Plan, all bool) []diffLine {
	lines := []diffLine{}
	for _, change := range p.Changes {
		if change.Action == plan.Unchanged && !all {
			continue
		}
		lines = append(lines, diffLine{Object: change.ID, Action: change.Action, Reason: change.Reason, Fields: change.Fields})
	}
	return lines
}

func (c *command) diffTable(w io.Writer, env promotion.Environment, p plan.Plan, lines []diffLine) {
	fmt.Fprintf(w, "%s: %s\n", env.ID, p.Summary())
	colours := map[string]string{
		string(plan.Create): green, string(plan.Update): yellow, string(plan.Replace): red, string(plan.Delete): red,
	}
	t := table{indent: 2, paint: func(column int, text string) string {
		if column > 0 {
			return text
		}
		return c.painted(colours[text], text)
	}}
	for _, l := range lines {
		text := l.Object.String()
		if l.Reason != "" {
			text += " (" + l.Reason + ")"
		}
		t.add(string(l.Action), text)
		for _, field := range l.Fields {
			t.note(field.String())
		}
	}
	t.write(w)
}

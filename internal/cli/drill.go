package cli

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"chaperone.dev/chaperone/internal/app"
	"chaperone.dev/chaperone/internal/plan"
	"chaperone.dev/chaperone/internal/source"
	"chaperone.dev/chaperone/internal/state"
)

// drillResult is what `drill -o json` prints.
type drillResult struct {
	Environment string          `json:"environment"`
	Revision    source.Revision `json:"revision,omitempty"`
	Digest      string          `json:"digest,omitempty"`
	Restorable  bool            `json:"restorable"`
	Problem     string          `json:"problem,omitempty"`
	Tried       int             `json:"tried"`           // objects that a dry run has accepted
	Hooks       []string        `json:"hooks,omitempty"` // rollback hooks that would run first
	Changes     []drillChange   `json:"changes"`         // in their order
	Rejected    []drillRejected `json:"rejected,omitempty"`
}

// drillChange is what a restore would do to one object.
type drillChange struct {
	Object string `json:"object"`
	Action string `json:"action"`
	Reason string `json:"reason,omitempty"`
	Loses  string `json:"loses,omitempty"`
}

type drillRejected struct {
	Object string `json:"object"`
	Error  string `json:"error"`
}

func newDrill(c *command) *cobra.Command {
	var flags clusterFlags
	var output format
	cmd := &cobra.Command{
		Use: "drill ENV", Short: "Try whether last good could be restored right now",
		Long: `Drill tries, without changing anything, whether what the environment verified last
could be restored right now: it reads the stored bundle, asks for every right
that the environment's account needs, and sends each object to the server in a
dry run, those that are as they should be too. It shows what a restore would
create, update, replace and delete, and the rollback hooks that would run before
it, which are tried, too. Git is not needed, and policies are not asked: a restore does not either.

A webhook that does not answer, or takes no dry runs because it has side effects,
leaves untold what it looks at: that is exit code 3, or 1 with its own words.

The daemon does the same once a day in each environment; the metric
chaperone_drill_success, the condition Restorable of the Environment object and
chaperone why tell what came of it. Where the bundle is gone or broken the daemon
makes it anew, as long as Git renders to the very same. It answers no
(exit code 1) where last good could not be restored, or where there is none.
` + exitHelp,
		Example: "  chaperone drill novamind/production\n  chaperone drill novamind/production -o json",
		Args:    exactly(1, "one environment, such as novamind/production"), ValidArgsFunction: completeEnvironments(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			result, err := flags.drill(cmd.Context(), c, args)
			if err != nil {
				return err
			}
			if err := c.print(output, result, func(w io.Writer) { drillTable(w, result) }); err != nil {
				return err
			}
			if !result.Restorable {
				return no()
			}
			return nil
		},
	}
	flags.add(cmd, 5*time.Minute)
	outputFlag(cmd, &output)
	return cmd
}

func (f *clusterFlags) drill(ctx context.Context, c *command, names []string) (drillResult, error) {
	records, err := f.records(ctx, c, names)
	if err != nil {
		return drillResult{}, err
	}
	config, err := f.connect(c)
	if err != nil {
		return drillResult{}, err
	}
	c.progress("trying to restore " + names[0])
	defer c.progress("")
	var found app.Drill
	err = f.ask(ctx, func(ctx context.Context) error {
		found, err = app.RunDrill(ctx, config, f.namespace, records[0].ID)
		return notAsked(err)
	})
	if err != nil {
		return drillResult{}, fmt.Errorf("drill %s: %w", names[0], err)
	}
	return drillResultOf(found, records[0]), nil
}

func drillResultOf(d app.Drill, r state.Record) drillResult {
	result := drillResult{
		Environment: r.ID.String(), Revision: d.LastGood.Revision, Digest: string(d.LastGood.Digest),
		Restorable: d.Problem == "", Problem: d.Problem, Tried: d.Tried, Changes: []drillChange{},
	}
	for _, hook := range d.Hooks {
		result.Hooks = append(result.Hooks, hook.String())
	}
	for _, change := range d.Changes {
		if change.Action != plan.Unchanged {
			result.Changes = append(result.Changes, drillChange{change.ID.String(), string(change.Action), change.Reason, change.Loses})
		}
	}
	for _, one := range d.Rejected {
		result.Rejected = append(result.Rejected, drillRejected{one.ID.String(), one.Err.Error()})
	}
	return result
}

func drillTable(w io.Writer, r drillResult) {
	switch {
	case r.Restorable:
		fmt.Fprintf(w, "%s: last good (%s) could be restored now; %d objects tried.\n", r.Environment, r.Revision.Short(), r.Tried)
	case r.Digest == "":
		fmt.Fprintf(w, "%s: %s.\n", r.Environment, r.Problem)
	default:
		fmt.Fprintf(w, "%s: last good (%s) could not be restored now: %s\n", r.Environment, r.Revision.Short(), r.Problem)
	}
	if len(r.Changes)+len(r.Hooks) > 0 {
		fmt.Fprintln(w, "A restore would:")
	}
	for _, hook := range r.Hooks {
		fmt.Fprintf(w, "  run      %s (a rollback hook)\n", hook)
	}
	for _, change := range r.Changes {
		fmt.Fprintf(w, "  %-8s %s", change.Action, change.Object)
		if change.Reason != "" {
			fmt.Fprintf(w, " (%s)", change.Reason)
		}
		if change.Loses != "" {
			fmt.Fprintf(w, ", loses %s", change.Loses)
		}
		fmt.Fprintln(w)
	}
}

package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"chaperone.dev/chaperone/internal/reconcile"
	"chaperone.dev/chaperone/internal/state"
)

func newWhy(c *command) *cobra.Command {
	var flags traceFlags
	var output format
	cmd := &cobra.Command{
		Use: "why [ENV…]", Short: "Say what holds an environment, or where a commit is on its way",
		Long: `Why says for each environment (all of them by default) what it runs, what it
should run, which gate stands between the two, the evidence, since when, until
when if it passes by itself, and who can change that; and what people asked for:
a pause, a retry, a break-glass override. Where a hook or a smoke test failed it
shows the last lines that this wrote, to whoever may read the daemon's Secrets.
It answers no (exit code 1) when one of them is not Ready.

With --revision it says where a commit is on its way to production, environment
by environment: here since when, on its way, waiting for what, taken back by which
commit, or of no effect there. Arguments are then environments or pipelines. It
answers no (exit code 1) when the commit is not everywhere where it should be.
What depends on the history and on what a commit changes comes from the clone in
--repo; without one, it says what the daemon's records tell.

With one environment named, -o json and yaml print it alone, else a list.
` + exitHelp,
		Example: `  chaperone why
  chaperone why novamind/production -o json
  chaperone why --revision 3c9e21f7
  chaperone why --revision HEAD~2 --repo ~/platform novamind`,
		ValidArgsFunction: completeEnvironments(0),
		RunE: func(cmd *cobra.Command, args []string) error {
			flags.explicit = cmd.Flags().Changed("repo") || cmd.Flags().Changed("branch")
			if flags.revision != "" {
				return flags.trace(cmd.Context(), c, output, args)
			}
			if flags.explicit {
				return errors.New("why: --repo and --branch are for --revision; want it, too, or neither of them")
			}
			if _, err := parseIDs(args); err != nil {
				return err
			}
			all, err := flags.everything(cmd.Context(), c)
			if err != nil {
				return err
			}
			return c.why(cmd.Context(), output, all, args, &flags.clusterFlags)
		},
	}
	flags.add(cmd, 30*time.Second)
	cmd.Flags().StringVar(&flags.revision, "revision", "", "commit to look for, in place of what holds an environment")
	cmd.Flags().StringVar(&flags.repo, "repo", ".", "with --revision: directory of a clone")
	cmd.Flags().StringVar(&flags.branch, "branch", "", "with --revision: the branch that the daemon follows; default the one checked out")
	outputFlag(cmd, &output)
	return cmd
}

// why explains the environments named.
func (c *command) why(ctx context.Context, output format, all []state.Record, names []string, flags *clusterFlags) error {
	ids, err := parseIDs(names)
	if err != nil {
		return err
	}
	records, err := flags.chosen(all, ids)
	if err != nil {
		return err
	}
	logs, err := flags.logsOf(ctx, c, records)
	if err != nil {
		return err
	}
	explanations := make([]explanation, 0, len(records))
	ready := len(records) > 0
	for _, r := range records {
		e := explain(r, all, time.Now())
		e.Log = logs[r.ID]
		explanations = append(explanations, e)
		ready = ready && e.Phase == reconcile.PhaseReady
	}
	err = c.print(output, oneOrAll(names, explanations), func(w io.Writer) {
		if len(records) == 0 {
			c.statusTable(w, nil, flags.namespace)
		}
		for i, e := range explanations {
			if i > 0 {
				fmt.Fprintln(w)
			}
			c.whyTable(w, e)
		}
	})
	if err != nil || ready {
		return err
	}
	return no()
}

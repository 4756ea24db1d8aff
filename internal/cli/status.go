package cli

import (
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"chaperone.dev/chaperone/internal/reconcile"
	"chaperone.dev/chaperone/internal/state"
)

// statusLine is one environment in `status -o json`.
type statusLine struct {
	Environment string            `json:"environment"`
	Phase       reconcile.Phase   `json:"phase"`
	Reason      string            `json:"reason"`
	Message     string            `json:"message"`
	Running     reconcile.Release `json:"running,omitzero"`
	Wanted      reconcile.Release `json:"wanted,omitzero"`
	LastGood    reconcile.Release `json:"lastGood,omitzero"`
	Since       time.Time         `json:"since,omitzero"`
}

func statusOf(r state.Record) statusLine {
	return statusLine{
		Environment: r.ID.String(), Phase: r.Status.Phase, Reason: string(r.Status.Reason), Message: r.Message,
		Running: r.Journal.Running, Wanted: r.Status.Wanted, LastGood: r.Journal.LastGood, Since: r.Since,
	}
}

func newStatus(c *command) *cobra.Command {
	var flags clusterFlags
	var output format
	cmd := &cobra.Command{
		Use: "status [ENV…]", Short: "Show every environment: running, wanted, phase, reason, since",
		Long: `Status shows where every environment is, as the daemon last wrote it down. It
answers no (exit code 1) when one of them is not Ready.
` + exitHelp,
		Example: "  chaperone status\n  chaperone status novamind/production -o json",
		RunE: func(cmd *cobra.Command, args []string) error {
			records, err := flags.records(cmd.Context(), args)
			if err != nil {
				return err
			}
			lines := make([]statusLine, 0, len(records))
			ready := true
			for _, r := range records {
				lines = append(lines, statusOf(r))
				ready = ready && r.Status.Phase == reconcile.PhaseReady
			}
			if err := c.print(output, lines, func(w io.Writer) { c.statusTable(w, lines) }); err != nil || ready {
				return err
			}
			return no()
		},
	}
	flags.add(cmd, c)
	outputFlag(cmd, &output)
	return cmd
}

func (c *command) statusTable(w io.Writer, lines []statusLine) {
	if len(lines) == 0 {
		fmt.Fprintln(w, "The daemon has not seen an environment yet.")
		return
	}
	t := table{header: []string{"ENVIRONMENT", "PHASE", "RUNNING", "WANTED", "SINCE", "REASON"}, paint: c.phaseColour(1)}
	now := time.Now()
	for _, l := range lines {
		t.add(l.Environment, orDash(string(l.Phase)), orDash(l.Running.Revision.Short()), orDash(l.Wanted.Revision.Short()),
			ago(l.Since, now), orDash(l.Reason))
	}
	t.write(w)
}

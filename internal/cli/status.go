package cli

import (
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"chaperone.dev/chaperone/internal/promotion"
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
	Pause       *state.Pause      `json:"pause,omitempty"`    // asked for by a person, and not over
	Override    bool              `json:"override,omitempty"` // break-glass let in what is under way
}

func statusOf(r state.Record) statusLine {
	l := statusLine{
		Environment: r.ID.String(), Phase: r.Status.Phase, Reason: string(r.Status.Reason), Message: r.Message,
		Running: r.Journal.Running, Wanted: r.Status.Wanted, LastGood: r.Journal.LastGood, Since: r.Since,
		Override: r.Journal.Attempt.Override || r.Journal.Overridden != "" && r.Journal.Overridden == r.Journal.Running.Digest,
	}
	if !over(r.Requests.Pause, time.Now()) {
		l.Pause = r.Requests.Pause
	}
	if r.Unreadable != nil {
		l.Phase, l.Reason, l.Message = reconcile.PhaseInvalid, string(promotion.UnreadableRecord), r.Unreadable.Error()
	}
	return l
}

// marks are what a person should not overlook, beside the reason.
func (l statusLine) marks() string {
	var marks []string
	if l.Pause != nil && l.Reason != string(promotion.Paused) {
		marks = append(marks, "paused")
	}
	if l.Override {
		marks = append(marks, "overridden")
	}
	if len(marks) == 0 {
		return orDash(l.Reason)
	}
	return orDash(l.Reason) + " (" + strings.Join(marks, ", ") + ")"
}

func newStatus(c *command) *cobra.Command {
	var flags clusterFlags
	var output format
	cmd := &cobra.Command{
		Use: "status [ENV…]", Short: "Show every environment: running, wanted, phase, reason, since",
		Long: `Status shows where every environment is, as the daemon last wrote it down. It
answers no (exit code 1) when one of them is not Ready, or when there is none.
Beside the reason it says which are paused, though the reason is another, and
into which a release goes that break-glass let in (overridden).

With one environment named, -o json and yaml print it alone, else a list.
` + exitHelp,
		Example:           "  chaperone status\n  chaperone status novamind/production -o json",
		ValidArgsFunction: completeEnvironments(0),
		RunE: func(cmd *cobra.Command, args []string) error {
			records, err := flags.records(cmd.Context(), c, args)
			if err != nil {
				return err
			}
			lines := make([]statusLine, 0, len(records))
			ready := len(records) > 0
			for _, r := range records {
				lines = append(lines, statusOf(r))
				ready = ready && r.Status.Phase == reconcile.PhaseReady
			}
			table := func(w io.Writer) { c.statusTable(w, lines, flags.namespace) }
			if err := c.print(output, oneOrAll(args, lines), table); err != nil || ready {
				return err
			}
			return no()
		},
	}
	flags.add(cmd, 30*time.Second)
	outputFlag(cmd, &output)
	return cmd
}

func (c *command) statusTable(w io.Writer, lines []statusLine, namespace string) {
	if len(lines) == 0 {
		fmt.Fprintf(w, "No environment in namespace %s: the daemon has not seen one yet, or runs in another (--namespace).\n", namespace)
		return
	}
	phases := c.paintPhases(1)
	t := table{header: []string{"ENVIRONMENT", "PHASE", "RUNNING", "WANTED", "SINCE", "REASON"}, paint: func(column int, text string) string {
		if column == 5 && strings.Contains(text, "overridden") {
			return c.painted(red, text)
		}
		return phases(column, text)
	}}
	now := time.Now()
	for _, l := range lines {
		t.add(l.Environment, orDash(string(l.Phase)), orDash(l.Running.Revision.Short()), orDash(l.Wanted.Revision.Short()),
			ago(l.Since, now), l.marks())
	}
	t.write(w)
}

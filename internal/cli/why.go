package cli

import (
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"chaperone.dev/chaperone/internal/reconcile"
)

// explanation is what `why -o json` prints.
type explanation struct {
	statusLine
	Explanation string             `json:"explanation"`
	Evidence    string             `json:"evidence,omitempty"`
	Unblock     string             `json:"unblock,omitempty"`
	LastRevert  *reconcile.Revert  `json:"lastRevert,omitempty"`
	Attempt     *reconcile.Attempt `json:"attempt,omitempty"`
}

func newWhy(c *command) *cobra.Command {
	var flags clusterFlags
	var output format
	cmd := &cobra.Command{
		Use: "why ENV", Short: "Say what holds an environment, the evidence, and who can unblock it",
		Long: `Why says for one environment what it runs, what it should run, what stands
between the two since when, what was measured, and who can change that.
` + exitHelp,
		Example: "  chaperone why novamind/production",
		Args:    exactly(1, "one environment, such as novamind/production"),
		RunE: func(cmd *cobra.Command, args []string) error {
			records, err := flags.records(cmd.Context(), args)
			if err != nil {
				return err
			}
			r := records[0]
			e := explanation{statusLine: statusOf(r), Explanation: r.Status.Reason.Explain(), Unblock: r.Status.Reason.Unblock()}
			if r.Status.Phase != reconcile.PhaseReady {
				e.Evidence = r.Evidence
			}
			if r.Journal.LastRevert.Guilty != "" {
				e.LastRevert = &r.Journal.LastRevert
			}
			if r.Journal.Attempt.Stage != reconcile.StageNone {
				e.Attempt = &r.Journal.Attempt
			}
			if err := c.print(output, e, func(w io.Writer) { why(w, e) }); err != nil || r.Status.Phase == reconcile.PhaseReady {
				return err
			}
			return no()
		},
	}
	flags.add(cmd, c)
	outputFlag(cmd, &output)
	return cmd
}

func why(w io.Writer, e explanation) {
	t := table{header: []string{e.Environment, fmt.Sprintf("%s (%s) for %s", e.Phase, e.Reason, ago(e.Since, time.Now()))}}
	say := func(what, text string) {
		if text != "" {
			t.add(what, text)
		}
	}
	say("now", e.Message)
	if e.Explanation != e.Message {
		say("meaning", e.Explanation)
	}
	say("evidence", e.Evidence)
	say("running", string(e.Running.Revision))
	if e.Wanted.Revision != e.Running.Revision {
		say("wanted", string(e.Wanted.Revision))
	}
	if e.LastGood.Revision != e.Running.Revision {
		say("last good", string(e.LastGood.Revision))
	}
	if e.LastRevert != nil {
		say("last revert", fmt.Sprintf("%s took back %s", e.LastRevert.Commit, e.LastRevert.Guilty))
	}
	if e.Phase != reconcile.PhaseReady || e.Reason != "UpToDate" {
		say("unblock", e.Unblock)
	}
	t.write(w)
}

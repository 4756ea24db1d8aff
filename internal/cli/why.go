package cli

import (
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"chaperone.dev/chaperone/internal/promotion"
	"chaperone.dev/chaperone/internal/reconcile"
	"chaperone.dev/chaperone/internal/state"
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
between the two since when, what was measured, and who can change that. It
answers no (exit code 1) when the environment is not Ready.
` + exitHelp,
		Example: "  chaperone why novamind/production\n  chaperone why novamind/production -o json",
		Args:    exactly(1, "one environment, such as novamind/production"), ValidArgsFunction: completeEnvironments(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			records, err := flags.records(cmd.Context(), c, args)
			if err != nil {
				return err
			}
			e := explain(records[0])
			if err := c.print(output, e, func(w io.Writer) { c.whyTable(w, e) }); err != nil || e.Phase == reconcile.PhaseReady {
				return err
			}
			return no()
		},
	}
	flags.add(cmd, 30*time.Second)
	outputFlag(cmd, &output)
	return cmd
}

func explain(r state.Record) explanation {
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
	return e
}

func (c *command) whyTable(w io.Writer, e explanation) {
	fmt.Fprintf(w, "%s: %s (%s) for %s\n", e.Environment,
		c.painted(phaseColour(e.Phase), orDash(string(e.Phase))), orDash(e.Reason), ago(e.Since, time.Now()))
	t := table{indent: 2}
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
		say("last revert", tookBack(*e.LastRevert))
	}
	if e.Reason != string(promotion.UpToDate) {
		say("unblock", e.Unblock)
	}
	t.write(w)
}

// tookBack has no commit where the change had been taken back already.
func tookBack(r reconcile.Revert) string {
	if r.Commit == "" {
		return string(r.Guilty) + " had been taken back already"
	}
	return fmt.Sprintf("%s took back %s", r.Commit, r.Guilty)
}

package cli

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"chaperone.dev/chaperone/internal/promotion"
	"chaperone.dev/chaperone/internal/state"
)

// historyLine is one release in `history -o json`.
type historyLine struct {
	Started  time.Time `json:"started"`
	Ended    time.Time `json:"ended,omitzero"`
	Revision string    `json:"revision"`
	Digest   string    `json:"digest"`
	Phase    string    `json:"phase"`
	Reason   string    `json:"reason,omitempty"`
	Author   string    `json:"author,omitempty"`
	Subject  string    `json:"subject,omitempty"`
	Evidence string    `json:"evidence,omitempty"`
	Guilty   string    `json:"guilty,omitempty"`
	Revert   string    `json:"revert,omitempty"`
}

func newHistory(c *command) *cobra.Command {
	var flags clusterFlags
	var output format
	cmd := &cobra.Command{
		Use: "history ENV", Short: "Show an environment's releases, newest first",
		Long:    "History shows the newest 20 releases of an environment and how each ended.\n" + exitHelp,
		Example: "  chaperone history novamind/staging",
		Args:    exactly(1, "one environment, such as novamind/production"),
		RunE: func(cmd *cobra.Command, args []string) error {
			id, err := promotion.ParseID(args[0])
			if err != nil {
				return err
			}
			if _, err := flags.records(cmd.Context(), args); err != nil {
				return err
			}
			lines, err := flags.history(cmd.Context(), id)
			if err != nil {
				return err
			}
			return c.print(output, lines, func(w io.Writer) { historyTable(w, lines) })
		},
	}
	flags.add(cmd, c)
	outputFlag(cmd, &output)
	return cmd
}

func (f *clusterFlags) history(ctx context.Context, id promotion.ID) ([]historyLine, error) {
	store, err := f.open()
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, f.timeout)
	defer cancel()
	releases, err := store.Releases(ctx, id)
	if err != nil {
		return nil, notAsked(err)
	}
	lines := make([]historyLine, 0, len(releases))
	for _, r := range releases {
		lines = append(lines, historyOf(r))
	}
	return lines, nil
}

func historyOf(r state.Release) historyLine {
	l := historyLine{
		Started: r.Started, Ended: r.Ended, Revision: string(r.Release.Revision), Digest: string(r.Release.Digest),
		Phase: string(r.Phase), Reason: string(r.Reason), Subject: r.Subject, Evidence: r.Evidence,
		Guilty: string(r.Guilty), Revert: string(r.Revert),
	}
	if r.Author.Name != "" {
		l.Author = r.Author.String()
	}
	return l
}

func historyTable(w io.Writer, lines []historyLine) {
	if len(lines) == 0 {
		fmt.Fprintln(w, "No release yet.")
		return
	}
	t := table{header: []string{"STARTED", "REVISION", "PHASE", "WHAT"}}
	for _, l := range lines {
		what := l.Subject
		if l.Phase != string(state.ReleaseVerified) && l.Evidence != "" {
			what += ": " + l.Evidence
		}
		if l.Revert != "" {
			what += " (reverted by " + l.Revert[:min(12, len(l.Revert))] + ")"
		}
		t.add(l.Started.UTC().Format("2006-01-02 15:04:05Z"), l.Revision[:min(12, len(l.Revision))], l.Phase, what)
	}
	t.write(w)
}

package cli

import (
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"chaperone.dev/chaperone/internal/promotion"
	"chaperone.dev/chaperone/internal/source"
	"chaperone.dev/chaperone/internal/state"
)

// historyLine is one release in `history -o json`.
type historyLine struct {
	Started  time.Time       `json:"started"`
	Ended    time.Time       `json:"ended,omitzero"`
	Revision source.Revision `json:"revision"`
	Digest   string          `json:"digest"`
	Phase    string          `json:"phase"`
	Reason   string          `json:"reason,omitempty"`
	Author   string          `json:"author,omitempty"`
	Subject  string          `json:"subject,omitempty"`
	Evidence string          `json:"evidence,omitempty"`
	Log      string          `json:"log,omitempty"`
	Guilty   source.Revision `json:"guilty,omitempty"`
	Revert   source.Revision `json:"revert,omitempty"`
	Approved []string        `json:"approvedBy,omitempty"`
	Merged   string          `json:"mergedBy,omitempty"`
	Request  string          `json:"pullRequest,omitempty"`
}

func newHistory(c *command) *cobra.Command {
	var flags clusterFlags
	var output format
	cmd := &cobra.Command{
		Use: "history ENV", Short: "Show an environment's releases, newest first",
		Long:    "History shows the newest 20 releases of an environment, how each ended, whose\napproval counted, and, where there is a forge, who merged it.\n" + exitHelp,
		Example: "  chaperone history novamind/staging\n  chaperone history novamind/staging -o json",
		Args:    exactly(1, "one environment, such as novamind/production"), ValidArgsFunction: completeEnvironments(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			records, err := flags.records(cmd.Context(), c, args)
			if err != nil {
				return err
			}
			lines, err := flags.history(cmd.Context(), c, records[0].ID)
			if err != nil {
				return err
			}
			return c.print(output, lines, func(w io.Writer) { c.historyTable(w, lines) })
		},
	}
	flags.add(cmd, 30*time.Second)
	outputFlag(cmd, &output)
	return cmd
}

func (f *clusterFlags) history(ctx context.Context, c *command, id promotion.ID) ([]historyLine, error) {
	lines := []historyLine{}
	err := f.asked(ctx, c, func(ctx context.Context, store *state.Store) error {
		releases, err := store.Releases(ctx, id)
		if err != nil {
			return notAsked(err)
		}
		logs, err := store.Logs(ctx, id)
		for _, r := range releases {
			line := historyOf(r)
			line.Log = state.LogOf(logs, r)
			lines = append(lines, line)
		}
		return notAsked(err)
	})
	return lines, err
}

func historyOf(r state.Release) historyLine {
	l := historyLine{
		Started: r.Started, Ended: r.Ended, Revision: r.Release.Revision, Digest: string(r.Release.Digest),
		Phase: string(r.Phase), Reason: string(r.Reason), Subject: r.Subject, Evidence: r.Evidence,
		Guilty: r.Guilty, Revert: r.Revert, Approved: r.ApprovedBy, Merged: r.MergedBy, Request: r.PullRequest,
	}
	if r.Author.Name != "" {
		l.Author = r.Author.String()
	}
	return l
}

func (c *command) historyTable(w io.Writer, lines []historyLine) {
	if len(lines) == 0 {
		fmt.Fprintln(w, "No release yet.")
		return
	}
	t := table{header: []string{"STARTED", "REVISION", "PHASE", "COMMIT"}, paint: func(column int, text string) string {
		if column != 2 {
			return text
		}
		return c.painted(releaseColour(state.ReleasePhase(text)), text)
	}}
	for _, l := range lines {
		t.add(l.Started.UTC().Format("2006-01-02 15:04:05Z"), l.Revision.Short(), l.Phase, orDash(l.Subject))
		if len(l.Approved) > 0 {
			t.note("approved by " + strings.Join(l.Approved, ", "))
		}
		if l.Merged != "" {
			t.note("merged by " + l.Merged + " (" + l.Request + ")")
		}
		if l.Phase == string(state.ReleaseVerified) {
			continue
		}
		t.note(l.Evidence)
		for line := range strings.Lines(l.Log) {
			t.note("| " + strings.TrimRight(line, "\n"))
		}
		switch {
		case l.Revert != "":
			t.note(fmt.Sprintf("%s took back %s", l.Revert.Short(), l.Guilty.Short()))
		case l.Guilty != "":
			t.note("guilty: " + string(l.Guilty.Short()))
		}
	}
	t.write(w)
}

func releaseColour(phase state.ReleasePhase) string {
	switch phase {
	case state.ReleaseVerified:
		return green
	case state.ReleaseApplying, state.ReleaseVerifying:
		return cyan
	case state.ReleaseReplaced:
		return ""
	}
	return red
}

package cli

import (
	"context"
	"time"

	"github.com/spf13/cobra"

	"chaperone.dev/chaperone/internal/promotion"
	"chaperone.dev/chaperone/internal/state"
)

func newResume(c *command) *cobra.Command {
	var flags requestFlags
	var output format
	cmd := &cobra.Command{
		Use: "resume [ENV…]", Short: "End the pause of environments",
		Long: `Resume takes a pause back; one that cannot be read, too. The daemon goes on from
where things stand. An environment that is not paused is left alone, which is
said, and is no error.

Resume waits for the daemon to take note, and says so (exit code 3) if it has
not.
` + exitHelp,
		Example:           "  chaperone resume novamind/production\n  chaperone resume --all",
		ValidArgsFunction: completeEnvironments(0),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := flags.check(cmd, args); err != nil {
				return err
			}
			done, err := flags.resume(cmd.Context(), c, args)
			return flags.told(c, output, args, done, err)
		},
	}
	flags.addMany(cmd)
	outputFlag(cmd, &output)
	return cmd
}

func (f *requestFlags) resume(ctx context.Context, c *command, names []string) ([]requested, error) {
	store, _, before, err := f.openRequest(ctx, c, names)
	if err != nil {
		return nil, err
	}
	was := map[promotion.ID]*state.Pause{}
	count, err := f.each(ctx, before, func(ctx context.Context, r state.Record) error {
		was[r.ID] = r.Requests.Pause
		if r.Requests.Pause == nil {
			return nil
		}
		return store.SetPause(ctx, r.ID, nil)
	})
	noted := func(r state.Record) bool { return was[r.ID] == nil || r.Status.Reason != promotion.Paused }
	var done []requested
	for _, r := range f.heard(ctx, c, store, before[:count], noted) {
		done = append(done, resumed(r, was[r.ID], noted(r), time.Now()))
	}
	return done, err
}

func resumed(now state.Record, was *state.Pause, noted bool, at time.Time) requested {
	r := requested{Environment: now.ID.String(), Outcome: "Resumed", Pause: was, Noted: noted}
	r.now(now)
	switch {
	case was == nil:
		r.Outcome, r.text = "NotPaused", "is not paused"
	case over(was, at):
		r.text = "is resumed; its pause was over since " + stamp(was.Until)
	case noted:
		r.text = "is resumed; it was paused" + pausedBy(*was)
	default:
		r.text = "is to be resumed; it is paused" + pausedBy(*was)
	}
	return r
}

package cli

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"chaperone.dev/chaperone/internal/promotion"
	"chaperone.dev/chaperone/internal/state"
)

type pauseFlags struct {
	requestFlags
	reason, lasts, until string
}

func newPause(c *command) *cobra.Command {
	var flags pauseFlags
	var output format
	cmd := &cobra.Command{
		Use: "pause [ENV…]", Short: "Keep environments as they are, until a time or until resumed",
		Long: `Pause has the daemon change nothing in the environments named: no apply, delete,
promotion, revert or restore. What was begun ends with the step that it is in.
The reason, who asked (as the cluster knows them) and until when are kept with
the environment, and shown wherever its state is. A second pause takes the place
of the first.

Pause waits for the daemon to take note, and says so (exit code 3) if it has
not: the pause stands all the same, and holds as soon as the daemon sees it.
` + exitHelp,
		Example: `  chaperone pause novamind/production --reason "audit until noon" --for 2h
  chaperone pause --pipeline novamind --reason "holidays" --until "2026-12-27T08:00[Europe/Berlin]"`,
		ValidArgsFunction: completeEnvironments(0),
		RunE: func(cmd *cobra.Command, args []string) error {
			pause, err := flags.pause(time.Now())
			if err := errors.Join(flags.check(cmd, args), err); err != nil {
				return err
			}
			done, err := flags.run(cmd.Context(), c, args, pause)
			return flags.told(c, output, args, done, err)
		},
	}
	flags.addMany(cmd)
	cmd.Flags().StringVar(&flags.reason, "reason", "", "why, in one sentence; required")
	cmd.Flags().StringVar(&flags.lasts, "for", "", "how long, such as 90m, 2h or 3d; default until resumed")
	cmd.Flags().StringVar(&flags.until, "until", "", "until when, such as 2026-12-27T08:00 on this machine's clock, 2026-12-27T08:00+01:00 or 2026-12-27T08:00[Europe/Berlin]")
	outputFlag(cmd, &output)
	return cmd
}

// pause is what the flags ask for.
func (f *pauseFlags) pause(now time.Time) (state.Pause, error) {
	p := state.Pause{Reason: strings.TrimSpace(f.reason), At: now.UTC().Truncate(time.Second)}
	switch {
	case p.Reason == "":
		return p, errors.New("pause: want --reason, why in one sentence; people will read it while everything waits")
	case f.lasts != "" && f.until != "":
		return p, errors.New("pause: want --for or --until, not both")
	case f.lasts != "":
		lasts, err := parseLasting(f.lasts)
		p.Until = p.At.Add(lasts)
		return p, err
	case f.until != "":
		until, err := parseUntil(f.until, time.Local)
		if err == nil && !until.After(now) {
			err = fmt.Errorf("--until %s: that is over since %s; want a time to come", f.until, stamp(until))
		}
		p.Until = until
		return p, err
	}
	return p, nil
}

func (f *pauseFlags) run(ctx context.Context, c *command, names []string, pause state.Pause) ([]requested, error) {
	store, who, before, err := f.openRequest(ctx, c, names)
	if err != nil {
		return nil, err
	}
	pause.By = who
	count, err := f.each(ctx, before, func(ctx context.Context, r state.Record) error { return store.SetPause(ctx, r.ID, &pause) })
	was := map[promotion.ID]state.Record{}
	for _, r := range before {
		was[r.ID] = r
	}
	noted := func(r state.Record) bool { return pauseNoted(was[r.ID], r, pause) }
	var done []requested
	for _, r := range f.heard(ctx, c, store, before[:count], noted) {
		done = append(done, paused(was[r.ID], r, pause, noted(r)))
	}
	return done, err
}

// pauseNoted reports whether the daemon has taken note of a pause. One that was
// paused before shows so anyway; then its sentence has to tell of this pause.
func pauseNoted(before, now state.Record, p state.Pause) bool {
	if now.Status.Reason != promotion.Paused {
		return invalid(now)
	}
	return before.Status.Reason != promotion.Paused || strings.Contains(now.Message, p.Reason)
}

func paused(before, now state.Record, p state.Pause, noted bool) requested {
	r := requested{Environment: now.ID.String(), Outcome: "Paused", Pause: &p, Noted: noted}
	r.now(now)
	r.text = "is paused" + pausedBy(p)
	if !noted {
		r.text = "is to be paused" + pausedBy(p)
	}
	if earlier := before.Requests.Pause; earlier != nil {
		r.notes = append(r.notes, "in place of: paused"+pausedBy(*earlier))
	}
	if what := underWay(now); what != "" {
		r.notes = append(r.notes, what)
	}
	if invalid(now) {
		r.notes = append(r.notes, "it stands still anyway: "+now.Message)
	}
	return r
}

// pausedBy is who, until when, and why.
func pausedBy(p state.Pause) string {
	text := ""
	if p.By != "" {
		text += " by " + p.By
	}
	if p.Until.IsZero() {
		text += " until it is resumed"
	} else {
		text += " until " + stamp(p.Until)
	}
	return text + ": " + p.Reason
}

// over reports whether a pause has ended by itself.
func over(p *state.Pause, now time.Time) bool {
	return p != nil && !p.Until.IsZero() && !p.Until.After(now)
}

// stamp is a time for people who sit in several time zones.
func stamp(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05Z") }

package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"chaperone.dev/chaperone/internal/promotion"
	"chaperone.dev/chaperone/internal/reconcile"
	"chaperone.dev/chaperone/internal/state"
)

// requestFlags are how a person asks the daemon for something.
type requestFlags struct {
	clusterFlags
	wait     time.Duration
	pipeline string
	all      bool
}

func (f *requestFlags) add(cmd *cobra.Command) {
	f.clusterFlags.add(cmd, 30*time.Second)
	cmd.Flags().DurationVar(&f.wait, "wait", 15*time.Second, "how long to wait for the daemon to take note; 0 does not wait")
}

// addMany is for what may be asked of several environments at once.
func (f *requestFlags) addMany(cmd *cobra.Command) {
	f.add(cmd)
	cmd.Flags().StringVar(&f.pipeline, "pipeline", "", "all environments of this pipeline")
	cmd.Flags().BoolVar(&f.all, "all", false, "all environments")
	_ = cmd.RegisterFlagCompletionFunc("pipeline", completePipelines)
}

// check wants the environments to be said in one way.
func (f *requestFlags) check(cmd *cobra.Command, names []string) error {
	ways := 0
	for _, way := range []bool{len(names) > 0, f.pipeline != "", f.all} {
		if way {
			ways++
		}
	}
	switch {
	case f.wait < 0:
		return fmt.Errorf("--wait: want a time of zero or above, such as 15s, not %s", f.wait)
	case ways == 1:
		return nil
	case ways == 0:
		return fmt.Errorf("%s: want environments such as novamind/production, --pipeline NAME, or --all", cmd.Name())
	}
	return fmt.Errorf("%s: want one of environments, --pipeline and --all, not %d of them", cmd.Name(), ways)
}

// these are the records of the environments that were asked for.
func (f *requestFlags) these(all []state.Record, names []string) ([]state.Record, error) {
	ids, err := parseIDs(names)
	if err != nil {
		return nil, err
	}
	if len(all) == 0 {
		return nil, fmt.Errorf("the daemon in namespace %s knows no environment yet", f.namespace)
	}
	if f.pipeline == "" {
		return f.chosen(all, ids)
	}
	records := slices.DeleteFunc(inOrder(all), func(r state.Record) bool { return r.ID.Pipeline != f.pipeline })
	if len(records) == 0 {
		return nil, fmt.Errorf("--pipeline %s: the daemon knows no such pipeline; it knows %s", f.pipeline, strings.Join(pipelinesOf(all), ", "))
	}
	return records, nil
}

func pipelinesOf(records []state.Record) []string {
	var names []string
	for _, r := range records {
		names = append(names, r.ID.Pipeline)
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// requested is what came of one request; `pause -o json` and the like print it.
type requested struct {
	Environment string          `json:"environment"`
	Outcome     string          `json:"outcome"`
	Request     string          `json:"request,omitempty"` // of a retry: its ID
	Pause       *state.Pause    `json:"pause,omitempty"`
	Noted       bool            `json:"noted"` // the daemon has taken note
	Phase       reconcile.Phase `json:"phase,omitempty"`
	Reason      string          `json:"reason,omitempty"`
	Message     string          `json:"message,omitempty"`

	text  string   // what was done
	notes []string // what else there is to know
}

func (r *requested) now(record state.Record) {
	r.Phase, r.Reason, r.Message = record.Status.Phase, string(record.Status.Reason), record.Message
}

func (r requested) write(w io.Writer) {
	for _, line := range wrapText(r.Environment+" "+r.text, tableWidth) {
		fmt.Fprintln(w, line)
	}
	for _, note := range r.notes {
		for _, line := range wrapText(note, tableWidth-noteIndent) {
			fmt.Fprintln(w, strings.Repeat(" ", noteIndent)+line)
		}
	}
}

// told prints what was done, and then says what failed, or of whom the daemon
// has not taken note: the request stands, but nobody should believe that it is
// heeded yet.
func (f *requestFlags) told(c *command, output format, names []string, done []requested, failed error) error {
	if len(done) == 0 && failed != nil {
		return failed
	}
	err := c.print(output, oneOrAll(names, done), func(w io.Writer) {
		for _, r := range done {
			r.write(w)
		}
	})
	var unheard []string
	for _, r := range done {
		if !r.Noted {
			unheard = append(unheard, r.Environment)
		}
	}
	switch {
	case err != nil || failed != nil:
		return errors.Join(err, failed)
	case len(unheard) == 0 || f.wait == 0:
		return nil
	}
	return notAsked(fmt.Errorf("the daemon has not taken note within %s (--wait): %s; what was asked stands, and is heeded as soon as the daemon "+
		"sees it; does it run? `kubectl get pods --namespace %s`", f.wait, strings.Join(unheard, ", "), f.namespace))
}

const lookEvery = 200 * time.Millisecond

// heard looks at the records until the daemon has answered every request, or
// the wait is over. It returns them as they are then.
func (f *requestFlags) heard(ctx context.Context, c *command, store *state.Store, last []state.Record, answered func(state.Record) bool) []state.Record {
	if f.wait <= 0 {
		return last
	}
	c.progress("waiting for the daemon")
	defer c.progress("")
	ctx, cancel := context.WithTimeout(ctx, f.wait)
	defer cancel()
	for {
		// An error may pass, and what was asked stands in any case.
		if all, err := store.Load(ctx); err == nil {
			last = refreshed(last, all)
		}
		if !slices.ContainsFunc(last, func(r state.Record) bool { return !answered(r) }) {
			return last
		}
		select {
		case <-ctx.Done():
			return last
		case <-time.After(lookEvery):
		}
	}
}

func refreshed(records, all []state.Record) []state.Record {
	fresh := slices.Clone(records)
	for i := range fresh {
		if at := slices.IndexFunc(all, func(r state.Record) bool { return r.ID == fresh[i].ID }); at >= 0 {
			fresh[i] = all[at]
		}
	}
	return fresh
}

// openRequest reads who asks, and what is known of the environments.
func (f *requestFlags) openRequest(ctx context.Context, c *command, names []string) (store *state.Store, who string, records []state.Record, err error) {
	if _, err = parseIDs(names); err != nil {
		return nil, "", nil, err
	}
	err = f.asked(ctx, c, func(ctx context.Context, opened *state.Store) error {
		store = opened
		if records, err = store.Load(ctx); err != nil {
			return notAsked(err)
		}
		who, err = store.WhoAmI(ctx)
		return notAsked(err)
	})
	if err != nil {
		return nil, "", nil, err
	}
	records, err = f.these(records, names)
	return store, who, records, err
}

// each asks for something of every environment. Where one request fails, those
// before it stand, and are told.
func (f *requestFlags) each(ctx context.Context, records []state.Record, ask func(context.Context, state.Record) error) (int, error) {
	for i, r := range records {
		err := f.ask(ctx, func(ctx context.Context) error { return ask(ctx, r) })
		if errors.Is(err, state.ErrNotFound) {
			err = fmt.Errorf("%s: its object is gone; did the daemon let go of it? %w", r.ID, err)
		}
		if err != nil {
			return i, err
		}
	}
	return len(records), nil
}

// underWay says what a pause finds in the middle, "" for nothing.
func underWay(r state.Record) string {
	attempt := r.Journal.Attempt
	if attempt.Stage == reconcile.StageNone {
		return ""
	}
	return fmt.Sprintf("%s %s was under way: the step that was begun ends, and nothing follows it", attempt.Stage, attempt.Release.Revision.Short())
}

// invalid reports whether the environment stands still for another reason, which
// its status shows in place of a pause.
func invalid(r state.Record) bool {
	return r.Status.Phase == reconcile.PhaseInvalid || r.Status.Reason == promotion.Removed || r.Unreadable != nil
}

package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"

	"github.com/spf13/cobra"

	"chaperone.dev/chaperone/internal/policy"
	"chaperone.dev/chaperone/internal/policy/rego"
	"chaperone.dev/chaperone/internal/promotion"
	"chaperone.dev/chaperone/internal/render"
	"chaperone.dev/chaperone/internal/source"
)

// maxReplay bounds how far back a replay goes.
const maxReplay = 1000

type replayFlags struct {
	repo, branch string
	bundle, now  string
	last         int
}

func newPolicyReplay(c *command) *cobra.Command {
	var flags replayFlags
	var output format
	cmd := &cobra.Command{
		Use: "replay [ENV…]", Short: "Tell what other policies would have said of past releases",
		Long: `Replay judges releases by the policies in force and by others, and tells where
the verdict would be another, object by object: of what each environment is to
run now (what it pins, or the branch's newest), and of its releases in the last
commits of the branch. Nothing is enforced, and no cluster is asked. Both judge
each release as of now.

It answers no (exit code 1) when something that is to run now, and is allowed,
would be allowed no longer.
` + exitHelp,
		Example: `  chaperone policy replay --bundle ../stricter --last 50
  chaperone policy replay novamind/production --bundle ../stricter --bundle-now policies -o json`,
		ValidArgsFunction: completeEnvironments(0),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := flags.check(); err != nil {
				return err
			}
			all, err := flags.run(cmd.Context(), c, args)
			if err != nil {
				return err
			}
			if err := c.print(output, all, func(w io.Writer) { c.replayTable(w, all) }); err != nil {
				return err
			}
			for _, r := range all {
				if r.stopsNow() {
					return no()
				}
			}
			return nil
		},
	}
	cmd.Flags().StringVar(&flags.repo, "repo", ".", "directory of the repository")
	cmd.Flags().StringVar(&flags.branch, "branch", "", "the branch that the daemon follows; default the one checked out")
	cmd.Flags().StringVar(&flags.bundle, "bundle", "", "directory of the policies to try")
	cmd.Flags().StringVar(&flags.now, "bundle-now", "", "directory of the policies in force; default policies/ in the directory --repo")
	cmd.Flags().IntVar(&flags.last, "last", 50, fmt.Sprintf("how many commits to go back, at most %d", maxReplay))
	outputFlag(cmd, &output)
	return cmd
}

func (f *replayFlags) check() error {
	switch {
	case f.bundle == "":
		return errors.New("policy replay: want --bundle, the directory of the policies to try")
	case f.last < 0 || f.last > maxReplay:
		return fmt.Errorf("--last: want 0 to %d commits, not %d", maxReplay, f.last)
	}
	return nil
}

// replayed is what comes out for one environment.
type replayed struct {
	Environment string         `json:"environment"`
	Releases    int            `json:"releases"`    // that were judged
	Unrendered  int            `json:"notRendered"` // commits at which it does not build
	Changes     []changedWords `json:"changes"`
}

// changedWords is a release of which the two bundles say different things.
type changedWords struct {
	Revision source.Revision  `json:"revision"` // the newest with this content
	Subject  string           `json:"subject"`
	Now      bool             `json:"now"` // it is to run now
	Commits  int              `json:"commits"`
	Before   policy.Verdict   `json:"before"`
	After    policy.Verdict   `json:"after"`
	Stopped  []policy.Finding `json:"stopped"` // by the new bundle alone
	Freed    []policy.Finding `json:"freed"`   // from the old bundle's denials
	Errors   []string         `json:"errors,omitempty"`
}

func (r replayed) stopsNow() bool {
	for _, change := range r.Changes {
		if change.Now && change.Before == policy.VerdictAllow && change.After != policy.VerdictAllow {
			return true
		}
	}
	return false
}

// replay judges by two bundles.
type replay struct {
	*clone
	before, after *rego.Bundle
	last          int
}

func (f *replayFlags) run(ctx context.Context, c *command, names []string) ([]replayed, error) {
	defer c.progress("")
	r := replay{last: f.last}
	var err error
	c.progress("testing the policies in force")
	if r.before, err = rego.LoadDir(ctx, cmp.Or(f.now, filepath.Join(f.repo, "policies")), rego.DefaultLimits()); err != nil {
		return nil, err
	}
	c.progress("testing the policies to try")
	if r.after, err = rego.LoadDir(ctx, f.bundle, rego.DefaultLimits()); err != nil {
		return nil, err
	}
	if r.clone, err = openClone(ctx, f.repo, f.branch); err != nil {
		return nil, err
	}
	defer r.Close()
	environments, faults := (&tree{set: r.set}).environments(names)
	if faults != nil {
		return nil, faults
	}
	var all []replayed
	for _, env := range environments {
		one, err := r.environment(ctx, c, env)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", env.ID, err)
		}
		all = append(all, one)
	}
	return all, nil
}

// revisions are what the environment is to run now, and the last of the line.
func (r *replay) revisions(env promotion.Environment) (now source.Revision, all []source.Revision) {
	now = cmp.Or(env.Revision, r.head)
	all = []source.Revision{now}
	for _, commit := range r.line[:min(r.last, len(r.line))] {
		if commit.Revision != now {
			all = append(all, commit.Revision)
		}
	}
	return now, all
}

// environment judges each content once, at the newest commit that has it.
func (r *replay) environment(ctx context.Context, c *command, env promotion.Environment) (replayed, error) {
	out := replayed{Environment: env.ID.String(), Changes: []changedWords{}}
	now, revisions := r.revisions(env)
	places := map[string]int{} // of a digest in out.Changes; -1 where nothing changes
	for i, revision := range revisions {
		c.progress(fmt.Sprintf("judging %s, %d of %d commits", env.ID, i+1, len(revisions)))
		t, result, err := r.at(ctx, env, revision)
		switch {
		case errors.Is(err, errNoRender):
			out.Unrendered++
			continue
		case err != nil:
			return out, err
		}
		if place, known := places[string(result.Digest)]; known {
			if place >= 0 {
				out.Changes[place].Commits++
			}
			continue
		}
		out.Releases++
		places[string(result.Digest)] = -1
		before, err := evaluate(ctx, newAround(t, r.renderer, r.before), env, result.Set)
		if err != nil {
			return out, err
		}
		after, err := evaluate(ctx, newAround(t, r.renderer, r.after), env, result.Set)
		if err != nil {
			return out, err
		}
		change := changed(before, after)
		if change.Before == change.After && len(change.Stopped)+len(change.Freed) == 0 {
			continue
		}
		change.Revision, change.Subject, change.Now, change.Commits = revision, t.commit.Subject(), revision == now, 1
		places[string(result.Digest)] = len(out.Changes)
		out.Changes = append(out.Changes, change)
	}
	return out, nil
}

// changed tells two judgements on one release apart.
func changed(before, after policy.Report) changedWords {
	change := changedWords{Before: before.Verdict, After: after.Verdict,
		Stopped: without(after.Stopping(), before.Stopping()), Freed: without(before.Stopping(), after.Stopping())}
	for _, e := range after.Errors {
		change.Errors = append(change.Errors, e.Error())
	}
	return change
}

// without are findings that the others have not: another wording of the same
// is no difference.
func without(findings, others []policy.Finding) []policy.Finding {
	key := func(f policy.Finding) string {
		object := ""
		if f.Object != nil {
			object = f.Object.String()
		}
		return fmt.Sprintf("%q %q %q", f.Rule, object, f.Path)
	}
	known := map[string]bool{}
	for _, f := range others {
		known[key(f)] = true
	}
	out := []policy.Finding{}
	for _, f := range findings {
		if !known[key(f)] {
			out = append(out, f)
		}
	}
	return out
}

// maxShown bounds the findings of one release in a table.
const maxShown = 20

func (c *command) replayTable(w io.Writer, all []replayed) {
	stopped, releases, changes := 0, 0, 0
	for _, r := range all {
		releases, changes = releases+r.Releases, changes+len(r.Changes)
		if r.stopsNow() {
			stopped++
		}
		fmt.Fprintf(w, "%s: %s judged, %d otherwise", r.Environment, counted(r.Releases, "release"), len(r.Changes))
		if r.Unrendered > 0 {
			fmt.Fprintf(w, "; it does not build at %s", counted(r.Unrendered, "commit"))
		}
		fmt.Fprintln(w)
		for _, change := range r.Changes {
			c.changeTable(w, change)
		}
	}
	fmt.Fprintf(w, "%d of %d environments would be stopped now; %d of %d releases are judged otherwise\n", stopped, len(all), changes, releases)
}

func counted(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

func (c *command) changeTable(w io.Writer, change changedWords) {
	when := counted(change.Commits, "commit")
	if change.Now {
		when += ", to run now"
	}
	colour := red
	if change.After == policy.VerdictAllow {
		colour = green
	}
	fmt.Fprintf(w, "  %s → %s  %s (%s)\n", change.Before, c.painted(colour, string(change.After)), change.Revision.Short(), when)
	for _, line := range wrapText(change.Subject, tableWidth-4) {
		fmt.Fprintln(w, "    "+line)
	}
	t := table{indent: 4}
	for _, e := range change.Errors[:min(len(change.Errors), maxShown)] {
		t.add("error", e)
	}
	for _, part := range []struct {
		word     string
		findings []policy.Finding
	}{{"stopped", change.Stopped}, {"freed", change.Freed}} {
		for i, f := range part.findings {
			if i == maxShown {
				t.add(part.word, fmt.Sprintf("and %d more", len(part.findings)-i))
				break
			}
			object := "the release"
			if f.Object != nil {
				object = f.Object.String()
			}
			t.add(part.word, string(f.Severity), f.Rule, object)
			t.note(cmp.Or(f.Path, "-") + ": " + f.Message)
		}
	}
	t.write(w)
}

// at renders an environment as a commit had it: at the path that its file named
// then, or now where there was none.
func (r *replay) at(ctx context.Context, env promotion.Environment, revision source.Revision) (*tree, render.Result, error) {
	commit, err := r.Commit(revision)
	if err != nil {
		return nil, render.Result{}, err
	}
	snapshot, err := r.Snapshot(revision)
	if err != nil {
		return nil, render.Result{}, err
	}
	path := env.Path
	if file, found, err := promotion.LoadFile(snapshot, env.ID); err == nil && found {
		path = file.Path
	}
	t := &tree{snapshot: snapshot, newest: r.newest, commit: commit, set: r.set}
	result, err := r.renderer.Render(ctx, snapshot, path)
	switch {
	case ctx.Err() != nil:
		return t, result, ctx.Err()
	case err != nil:
		return t, result, fmt.Errorf("%s at %s: %w: %w", path, revision.Short(), errNoRender, err)
	}
	return t, result, nil
}

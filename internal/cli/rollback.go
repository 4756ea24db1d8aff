package cli

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"chaperone.dev/chaperone/internal/reconcile"
	"chaperone.dev/chaperone/internal/source"
	"chaperone.dev/chaperone/internal/source/gogit"
	"chaperone.dev/chaperone/internal/state"
)

const previous = "previous"

type rollbackFlags struct {
	pinFlags
	to, reason string
}

func newRollback(c *command) *cobra.Command {
	var flags rollbackFlags
	var output format
	cmd := &cobra.Command{
		Use: "rollback ENV --to REVISION|previous", Short: "Go back to an earlier release that was good",
		Long: `Rollback takes an environment back to a release that it verified before:
"previous" is the newest before the one it has.

Where the environment is pinned, it moves the pin back, as promote moves it
forward. Where it follows the branch, it reverts on that branch: newest first and
with one commit each, exactly the commits between the two that change what this
environment renders. Their other effects, in other environments too, are taken
back with them. All or nothing: where one of them cannot be taken back, it names
the conflicting paths and nothing is written.

What was verified the daemon's cluster tells. Without it, --to has to be a full
commit hash, and nobody looks whether it was ever good here. It answers no (exit
code 1) where it cannot go back, and says to what it could.
` + exitHelp,
		Example: `  chaperone rollback novamind/production --to previous --push
  chaperone rollback novamind/staging --to 3c9e21f7 --branch main`,
		Args: exactly(1, "one environment, such as novamind/production"), ValidArgsFunction: completeEnvironments(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			done, err := flags.run(cmd.Context(), c, args[0])
			if err != nil {
				return pinFault(err)
			}
			return c.printMoved(output, done)
		},
	}
	flags.add(cmd, c)
	cmd.Flags().StringVar(&flags.to, "to", "", "commit whose release was good there, or previous; required")
	cmd.Flags().StringVar(&flags.reason, "reason", "", "a sentence for the commit's message")
	_ = cmd.RegisterFlagCompletionFunc("to", cobra.FixedCompletions([]string{previous}, cobra.ShellCompDirectiveNoFileComp))
	outputFlag(cmd, &output)
	return cmd
}

func (f *rollbackFlags) run(ctx context.Context, c *command, name string) (moved, error) {
	if f.to == "" {
		return moved{}, errors.New("rollback: want --to with a commit, or --to previous")
	}
	b, err := f.open(ctx, c, name)
	if err != nil {
		return moved{}, err
	}
	defer b.Close()
	c.progress("looking at what was verified")
	defer c.progress("")
	goal, err := f.goal(ctx, b)
	if err != nil {
		return moved{}, err
	}
	evidence := strings.TrimSpace(sentence(f.reason) + " " + goal.evidence)
	var m moved
	switch {
	case !b.env.Pinned():
		m, err = f.revert(ctx, b, goal, evidence)
	case goal.to == b.env.Revision:
		m = moved{Outcome: gogit.Obsolete, Environment: b.env.ID.String(), From: goal.to, To: goal.to}
	default:
		m, err = f.move(ctx, b, goal.to, source.PromoteNote{Evidence: evidence})
	}
	m.Notes = append(goal.notes, m.Notes...)
	return m, err
}

// sentence ends a text as one.
func sentence(text string) string {
	text = strings.TrimSpace(text)
	if text == "" || strings.ContainsAny(text[len(text)-1:], ".!?") {
		return text
	}
	return text + "."
}

// goal is the release to go back to.
type goal struct {
	to       source.Revision
	from     source.Revision // what the environment has now
	evidence string
	notes    []string
}

// goal finds out what --to means. It has to have been verified here.
func (f *rollbackFlags) goal(ctx context.Context, b *bench) (goal, error) {
	record, known := b.record(b.env.ID)
	if !known {
		return f.unproven(ctx, b)
	}
	have := current(b, record)
	if f.to == previous {
		v, found := before(record, have)
		if !found {
			return goal{}, refusal("%s has no good release before the one it has (%s); it verified %s", b.env.ID, orDash(have.Revision.Short()), verifiedList(record))
		}
		return b.verified(v, have.Revision)
	}
	to, err := b.resolve(ctx, "--to", f.to)
	if err != nil {
		return goal{}, err
	}
	digest, err := b.digest(ctx, b.env, to)
	if err != nil && !errors.Is(err, errNoRender) {
		return goal{}, err
	}
	for _, v := range record.Journal.Verified {
		if v.Revision == to || digest != "" && v.Digest == digest {
			v.Revision = to
			return b.verified(v, have.Revision)
		}
	}
	return goal{}, refusal("%s never verified %s; it verified %s", b.env.ID, to.Short(), verifiedList(record))
}

// current is the release that an environment has: what it is pinned to, or what
// it was brought last.
func current(b *bench, r state.Record) reconcile.Release {
	if !b.env.Pinned() {
		return r.Journal.Running
	}
	have := reconcile.Release{Revision: b.env.Revision}
	for _, known := range []reconcile.Release{r.Journal.Running, r.Journal.LastGood, r.Status.Wanted, r.Journal.Attempt.Release} {
		if known.Revision == have.Revision {
			have = known
		}
	}
	return have
}

// before is the newest release that was verified before the one at hand.
func before(r state.Record, have reconcile.Release) (reconcile.Verified, bool) {
	verified := r.Journal.Verified // newest first
	i := slices.IndexFunc(verified, func(v reconcile.Verified) bool { return v.Digest == have.Digest || v.Revision == have.Revision })
	if i+1 < len(verified) {
		return verified[i+1], true // all of them came before one that was never verified
	}
	return reconcile.Verified{}, false
}

func (b *bench) verified(v reconcile.Verified, from source.Revision) (goal, error) {
	g := goal{to: v.Revision, from: from}
	g.evidence = fmt.Sprintf("It takes %s back to what was verified there at %s", b.env.ID, v.At.UTC().Format(time.RFC3339))
	if b.place(v.Revision) < 0 && !b.env.Pinned() {
		return g, refusal("%s verified %s, which is not on the first-parent line of %s here; bring the clone up to date, or revert by hand",
			b.env.ID, v.Revision.Short(), b.branch)
	}
	return g, nil
}

func verifiedList(r state.Record) string {
	var releases []string
	for _, v := range r.Journal.Verified {
		releases = append(releases, fmt.Sprintf("%s (%s)", v.Revision.Short(), stamp(v.At)))
	}
	if len(releases) == 0 {
		return "nothing yet"
	}
	return joined(releases)
}

// unproven is a goal that nobody can vouch for.
func (f *rollbackFlags) unproven(ctx context.Context, b *bench) (goal, error) {
	to, err := source.ParseRevision(f.to)
	if err != nil {
		return goal{}, offline(b, "what "+b.env.ID.String()+" verified is not known", "--to and a full commit hash")
	}
	if _, err := b.resolve(ctx, "--to", f.to); err != nil {
		return goal{}, err
	}
	return goal{to: to, from: b.head, notes: []string{
		fmt.Sprintf("whether %s was ever good in %s is not known here (%v)", to.Short(), b.env.ID, b.offline),
	}}, nil
}

// revert takes back what lies between on the branch.
func (f *rollbackFlags) revert(ctx context.Context, b *bench, g goal, evidence string) (moved, error) {
	if f.direct {
		return moved{}, fmt.Errorf("--direct: %s follows %s, so that every revert is written there in any case; leave it out", b.env.ID, b.branch)
	}
	m := moved{Outcome: gogit.NothingToRevert, Environment: b.env.ID.String(), Branch: b.branch, From: g.from, To: g.to}
	guilty, notes, err := b.between(ctx, g)
	m.Notes = notes
	if err != nil || len(guilty) == 0 {
		return m, err
	}
	results, err := b.RevertAll(ctx, gogit.LocalRevert{
		RevertRequest: gogit.RevertRequest{Note: source.RevertNote{Evidence: evidence}},
		Branch:        b.branch, Push: f.push, Now: time.Now, Credentials: f.Credentials, Signing: f.Signing,
	}, guilty)
	if err != nil {
		return m, err
	}
	for _, r := range results {
		switch r.Outcome {
		case gogit.Reverted:
			commit, err := b.Commit(r.Guilty)
			if err != nil {
				return m, err
			}
			m.Reverted = append(m.Reverted, undone{r.Guilty, r.Commit, commit.Subject()})
			m.Outcome, m.Commit = gogit.Reverted, r.Commit
		case gogit.AlreadyReverted, gogit.NothingToRevert:
		default:
			m.Outcome, m.Guilty, m.Conflicts, m.Detail = r.Outcome, r.Guilty, r.Conflicts, r.Detail
		}
	}
	if m.Outcome != gogit.Reverted {
		return m, nil
	}
	m.Pushed = f.push
	if !f.push {
		m.Next = []string{"git push origin " + b.branch}
	}
	return m, nil
}

// between are the commits after the goal, up to what the environment has, that
// change it; newest first.
func (b *bench) between(ctx context.Context, g goal) (guilty []source.Revision, notes []string, err error) {
	last, first := b.place(g.to), b.place(g.from)
	switch {
	case last < 0:
		return nil, nil, refusal("--to: %s is not on the first-parent line of %s: what came in with a merge is taken back with it", g.to.Short(), b.branch)
	case first < 0:
		return nil, nil, refusal("%s has %s, which is not on %s here; bring the clone up to date", b.env.ID, orDash(g.from.Short()), b.branch)
	case first > last:
		return nil, nil, refusal("%s has %s, which is older than %s; to go forward, revert the reverts", b.env.ID, g.from.Short(), g.to.Short())
	}
	for i, commit := range b.line[:last] {
		changes, err := b.changes(ctx, b.env, commit)
		switch {
		case err != nil:
			return nil, nil, err
		case changes && i < first:
			notes = append(notes, fmt.Sprintf("%s came after what %s has, changes it too, and stays", commit.Revision.Short(), b.env.ID))
		case changes:
			guilty = append(guilty, commit.Revision)
		}
	}
	const most = 5
	if more := len(notes) - most; more > 0 {
		notes = append(notes[:most], fmt.Sprintf("and %d more such commits", more))
	}
	return guilty, notes, nil
}

package cli

import (
	"context"
	"errors"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"chaperone.dev/chaperone/internal/app"
	"chaperone.dev/chaperone/internal/plan"
	"chaperone.dev/chaperone/internal/promotion"
	"chaperone.dev/chaperone/internal/render"
	"chaperone.dev/chaperone/internal/source"
)

type diffFlags struct {
	repoFlags
	clusterFlags
}

// compared is one environment with its plan.
type compared struct {
	env      promotion.Environment
	revision source.Revision // "" for the files as they are
	app.Preview
	refusal error // why the daemon would not carry it out
}

func newDiff(c *command) *cobra.Command {
	var flags diffFlags
	var output format
	var all bool
	cmd := &cobra.Command{
		Use: "diff ENV", Short: "Show what would change on the cluster",
		Long: `Diff plans the release as the daemon would, with server-side dry runs, and shows
what it would create, update field by field, replace and delete, in that order,
what it keeps, and why. The plan is the daemon's own: it asks the same target as
the same account, and stops at the same guards. Policies are not asked; that is
what check does.

Without --revision the files are taken as they are. With --revision next it is
what the daemon runs next once its gates are open: the revision that the
environment is pinned to, or else the branch's newest. Where the environment
rests with this very release, the difference is drift, and the plan is the
correction: hooks do not run again.

With -o diff each object is shown as YAML in the fields that Chaperone owns, as
a unified diff; values of more than 1,000 characters and more than 1,000 lines
of one object are cut off, and say so. Values of Secrets are never shown: a mark
stands for each, and another mark for another value. It answers no (exit code 1)
when there is a difference, and when the daemon would refuse the release.
` + exitHelp,
		Example: "  chaperone diff novamind/production\n  chaperone diff novamind/production --revision next -o diff\n" +
			"  chaperone diff novamind/production --revision head -o json",
		Args: exactly(1, "one environment, such as novamind/production"), ValidArgsFunction: completeEnvironments(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			found, err := flags.compare(cmd.Context(), c, args[0])
			var refusal *plan.Refusal
			var rejected *plan.Rejected
			if err != nil && !errors.As(err, &refusal) && !errors.As(err, &rejected) {
				return err
			}
			found.refusal = err
			if printed := c.printDiff(output, found, all); printed != nil {
				return printed
			}
			if err != nil {
				return &exitError{code: exitNo, err: err}
			}
			if !found.Quiet() {
				return no()
			}
			return nil
		},
	}
	flags.repoFlags.add(cmd, c)
	cmd.Flags().Lookup("revision").Usage = "commit, head for the branch's newest, or next for the daemon's next; default the files as they are, or head of a URL"
	flags.clusterFlags.add(cmd, 2*time.Minute)
	cmd.Flags().BoolVar(&all, "all", false, "show unchanged objects too")
	formatFlag(cmd, &output, formatTable, formatDiff, formatJSON, formatYAML)
	return cmd
}

func (f *diffFlags) compare(ctx context.Context, c *command, name string) (found compared, err error) {
	config, err := f.connect(c)
	if err != nil {
		return found, err
	}
	t, err := f.open(ctx, c, name)
	if err != nil {
		return found, err
	}
	defer t.close()
	if found.env, err = t.environment(name); err != nil {
		return found, err
	}
	found.revision = t.commit.Revision
	c.progress("comparing " + name + " with the cluster")
	defer c.progress("")
	result, err := t.render(ctx, render.New(render.DefaultLimits()), found.env)
	if err != nil {
		return found, err
	}
	err = f.ask(ctx, func(ctx context.Context) error {
		found.Preview, err = app.Plan(ctx, config, f.namespace, found.env, result.Set)
		return err
	})
	return found, err
}

// next asks for the revision that the daemon comes to next.
const next = "next"

// open reads the files. Which revision is next only the branch's head tells.
func (f *diffFlags) open(ctx context.Context, c *command, name string) (*tree, error) {
	if !strings.EqualFold(f.revision, next) {
		return f.load(ctx, c)
	}
	at := f.repoFlags
	at.revision = "head"
	head, err := at.load(ctx, c)
	if err != nil {
		return nil, err
	}
	env, err := head.environment(name)
	switch {
	case err != nil:
	case env.Revision != "":
		head.close()
		at.revision = string(env.Revision)
		return at.load(ctx, c)
	case env.Pinned():
		err = &exitError{code: exitNo, err: errors.New(name + ": runs nothing until its first promotion is merged; --revision head shows what that may bring")}
	default:
		return head, nil
	}
	head.close()
	return nil, err
}

// printDiff writes a plan in one of its formats.
func (c *command) printDiff(output format, found compared, all bool) error {
	if output == formatDiff {
		return c.diffText(found)
	}
	result := found.result(all)
	return c.print(output, result, func(w io.Writer) { c.diffTable(w, found, result.Changes) })
}

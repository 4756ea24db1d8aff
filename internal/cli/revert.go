package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"chaperone.dev/chaperone/internal/source"
	"chaperone.dev/chaperone/internal/source/gogit"
)

// reverted is what `revert -o json` prints.
type reverted struct {
	Outcome   gogit.Outcome   `json:"outcome"`
	Branch    string          `json:"branch"`
	Guilty    source.Revision `json:"guilty"`
	Commit    source.Revision `json:"commit,omitempty"`
	Head      source.Revision `json:"head,omitempty"`
	Conflicts []string        `json:"conflicts,omitempty"`
	Detail    string          `json:"detail,omitempty"`
	Pushed    bool            `json:"pushed"`
}

type revertFlags struct {
	repo, branch, reason string
	push                 bool
	credentialFlags
	signingFlags
}

func newRevert(c *command) *cobra.Command {
	var flags revertFlags
	var output format
	cmd := &cobra.Command{
		Use: "revert COMMIT", Short: "Take a commit back on a branch, as the daemon does",
		Long: `Revert takes one commit of a branch back by a three-way merge, whatever came
after it, and writes the result as a commit on that branch: the same revert that
the daemon makes. A merge is taken back along its first parent. A commit that
was taken back already is not again. A checked-out branch is updated with its
files, unless changes that are not committed are in the way.

It answers no (exit code 1) where it cannot, and names the conflicting paths;
then nothing is written. Where only the push is refused, the commit stays on the
local branch.
` + exitHelp,
		Example: "  chaperone revert 3c9e21f7 --repo . --branch main\n  chaperone revert HEAD~2 --branch main --push",
		Args:    exactly(1, "one commit"), ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, args []string) error {
			done, err := flags.run(cmd.Context(), args[0])
			if err != nil {
				return revertFault(err)
			}
			if err := c.print(output, done, func(w io.Writer) { done.write(w) }); err != nil {
				return err
			}
			switch done.Outcome {
			case gogit.Reverted, gogit.AlreadyReverted, gogit.NothingToRevert:
				return nil
			}
			return no()
		},
	}
	cmd.Flags().StringVar(&flags.repo, "repo", ".", "directory of the repository")
	cmd.Flags().StringVar(&flags.branch, "branch", "", "branch to write on; default the one checked out")
	cmd.Flags().StringVar(&flags.reason, "reason", "", "a sentence for the commit's message")
	cmd.Flags().BoolVar(&flags.push, "push", false, "push the branch afterwards")
	flags.credentialFlags.add(cmd, c)
	flags.signingFlags.add(cmd, c)
	outputFlag(cmd, &output)
	return cmd
}

// revertFault tells a server that could not be reached from everything else,
// which is for the user to put right.
func revertFault(err error) error {
	if errors.Is(err, source.ErrUnavailable) || errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) {
		return notAsked(err)
	}
	return &exitError{code: exitUsage, err: err}
}

func (f *revertFlags) run(ctx context.Context, commit string) (reverted, error) {
	if err := f.check(); err != nil {
		return reverted{}, err
	}
	local, err := gogit.OpenLocal(f.repo, gogit.Limits{})
	if err != nil {
		return reverted{}, err
	}
	defer local.Close()
	branch := f.branch
	if branch == "" {
		if branch = local.Branch(); branch == "" {
			return reverted{}, errors.New("revert: no branch is checked out; want --branch")
		}
	}
	guilty, err := resolve(local, commit)
	if err != nil {
		return reverted{}, err
	}
	result, err := local.Revert(ctx, gogit.LocalRevert{
		RevertRequest: gogit.RevertRequest{Guilty: guilty, Note: source.RevertNote{Evidence: f.reason}},
		Branch:        branch, Push: f.push, Now: time.Now, Credentials: f.Credentials, Signing: f.Signing,
	})
	if err != nil {
		return reverted{}, err
	}
	return reverted{
		Outcome: result.Outcome, Branch: branch, Guilty: guilty, Commit: result.Commit, Head: result.Head,
		Conflicts: result.Conflicts, Detail: result.Detail,
		Pushed: f.push && (result.Outcome == gogit.Reverted || result.Outcome == gogit.AlreadyReverted),
	}, nil
}

// resolve finds the commit that a person means.
func resolve(local *gogit.Local, name string) (source.Revision, error) {
	revision, err := local.Resolve(name)
	if errors.Is(err, source.ErrUnknownRevision) {
		return "", fmt.Errorf("no commit %q here; want a commit's hash, HEAD~1, a branch or a tag: %w", name, err)
	}
	return revision, err
}

func (r reverted) write(w io.Writer) {
	commit, guilty := r.Commit.Short(), r.Guilty.Short()
	switch r.Outcome {
	case gogit.Reverted:
		fmt.Fprintf(w, "%s takes %s back on %s.\n", commit, guilty, r.Branch)
	case gogit.AlreadyReverted:
		fmt.Fprintf(w, "%s was taken back on %s already, by %s; nothing is written.\n", guilty, r.Branch, commit)
	case gogit.NothingToRevert:
		fmt.Fprintf(w, "%s holds nothing of %s any more; nothing is written.\n", r.Branch, guilty)
	case gogit.RefusedRevertOfRevert:
		fmt.Fprintf(w, "%s is itself a revert by Chaperone. To bring the change back, use git revert together with a fix.\n", guilty)
	case gogit.Conflict:
		fmt.Fprintf(w, "Later commits on %s changed the same; nothing is written. Conflicting paths:\n%s", r.Branch, indented(r.Conflicts))
	case gogit.Uncommitted:
		fmt.Fprintf(w, "Uncommitted changes are in the way; nothing is written. Commit or stash them first:\n%s", indented(r.Conflicts))
	default:
		fmt.Fprintf(w, "The revert was refused: %s\n", clean(r.Detail))
	}
	if r.Pushed {
		fmt.Fprintf(w, "%s is pushed.\n", r.Branch)
	}
}

func indented(paths []string) string {
	var b strings.Builder
	for _, path := range paths {
		b.WriteString("  " + clean(path) + "\n")
	}
	return b.String()
}

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
}

func newRevert(c *command) *cobra.Command {
	var repo, branch, reason string
	var push bool
	var output format
	cmd := &cobra.Command{
		Use: "revert COMMIT", Short: "Take a commit back on a branch, as the daemon does",
		Long: `Revert takes one commit of a branch back by a three-way merge, whatever came
after it, and writes the result as a commit on that branch: the same revert that
the daemon makes. A merge is taken back along its first parent. A commit that
was taken back already is not again. A checked-out branch is updated with its
files, unless changes that are not committed are in the way.

It answers no (exit code 1) where it cannot, and names the conflicting paths;
then nothing is written.
` + exitHelp,
		Example: "  chaperone revert 3c9e… --repo . --branch main\n  chaperone revert HEAD~2 --branch main --push",
		Args:    exactly(1, "one commit"),
		RunE: func(cmd *cobra.Command, args []string) error {
			done, err := revertLocal(cmd.Context(), repo, branch, args[0], reason, push)
			if err != nil {
				return err
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
	cmd.Flags().StringVar(&repo, "repo", ".", "directory of the repository")
	cmd.Flags().StringVar(&branch, "branch", "", "branch to write on; default the one checked out")
	cmd.Flags().StringVar(&reason, "reason", "", "a sentence for the commit's message")
	cmd.Flags().BoolVar(&push, "push", false, "push the branch afterwards")
	outputFlag(cmd, &output)
	return cmd
}

func revertLocal(ctx context.Context, repo, branch, commit, reason string, push bool) (reverted, error) {
	local, err := gogit.OpenLocal(repo, gogit.Limits{})
	if err != nil {
		return reverted{}, err
	}
	defer local.Close()
	if branch == "" {
		if branch = local.Branch(); branch == "" {
			return reverted{}, errors.New("revert: no branch is checked out; want --branch")
		}
	}
	guilty, err := local.Resolve(commit)
	if err != nil {
		return reverted{}, err
	}
	result, err := local.Revert(ctx, gogit.LocalRevert{
		RevertRequest: gogit.RevertRequest{Guilty: guilty, Note: source.RevertNote{Evidence: reason}},
		Branch:        branch, Push: push, Now: time.Now,
	})
	if err != nil {
		return reverted{}, err
	}
	return reverted{
		Outcome: result.Outcome, Branch: branch, Guilty: guilty, Commit: result.Commit, Head: result.Head,
		Conflicts: result.Conflicts, Detail: result.Detail,
	}, nil
}

func (r reverted) write(w io.Writer) {
	switch r.Outcome {
	case gogit.Reverted:
		fmt.Fprintf(w, "%s takes %s back on %s.\n", r.Commit, r.Guilty, r.Branch)
	case gogit.AlreadyReverted:
		fmt.Fprintf(w, "%s was taken back on %s already, by %s; nothing is written.\n", r.Guilty, r.Branch, r.Commit)
	case gogit.NothingToRevert:
		fmt.Fprintf(w, "%s holds nothing of %s any more; nothing is written.\n", r.Branch, r.Guilty)
	case gogit.RefusedRevertOfRevert:
		fmt.Fprintf(w, "%s is itself a revert by Chaperone. To bring the change back, use git revert together with a fix.\n", r.Guilty)
	case gogit.Conflict:
		fmt.Fprintf(w, "Later commits on %s changed the same; nothing is written. Conflicting paths:\n  %s\n", r.Branch, strings.Join(r.Conflicts, "\n  "))
	case gogit.Uncommitted:
		fmt.Fprintf(w, "Changes that are not committed are in the way; nothing is written. Commit or stash them first:\n  %s\n", strings.Join(r.Conflicts, "\n  "))
	default:
		fmt.Fprintf(w, "The revert was refused: %s\n", r.Detail)
	}
}

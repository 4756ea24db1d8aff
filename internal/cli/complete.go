package cli

import (
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"chaperone.dev/chaperone/internal/promotion"
	"chaperone.dev/chaperone/internal/source/worktree"
)

func newCompletion(c *command) *cobra.Command {
	shells := []string{"bash", "zsh", "fish"}
	return &cobra.Command{
		Use: "completion bash|zsh|fish", Short: "Print the completion script of a shell",
		Long: `Completion prints a script that makes the shell complete commands, flags and the
names of environments.
` + exitHelp,
		Example: `  source <(chaperone completion bash)
  chaperone completion zsh > "${fpath[1]}/_chaperone"
  chaperone completion fish > ~/.config/fish/completions/chaperone.fish`,
		Args: exactly(1, "bash, zsh or fish"), ValidArgs: shells,
		RunE: func(cmd *cobra.Command, args []string) error {
			switch root := cmd.Root(); args[0] {
			case "bash":
				return root.GenBashCompletionV2(c.Out, true)
			case "zsh":
				return root.GenZshCompletion(c.Out)
			case "fish":
				return root.GenFishCompletion(c.Out, true)
			}
			return fmt.Errorf("completion: want bash, zsh or fish, not %q", args[0])
		},
	}
}

// completeEnvironments offers the environments of the repository that --repo
// names, or of the working directory; atMost is how many arguments there are,
// 0 any number.
func completeEnvironments(atMost int) cobra.CompletionFunc {
	return func(cmd *cobra.Command, args []string, begun string) ([]string, cobra.ShellCompDirective) {
		if atMost > 0 && len(args) >= atMost {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		names := slices.DeleteFunc(environmentNames(repoOf(cmd)), func(name string) bool {
			return slices.Contains(args, name) || !strings.HasPrefix(name, begun)
		})
		return names, cobra.ShellCompDirectiveNoFileComp
	}
}

func repoOf(cmd *cobra.Command) string {
	if flag := cmd.Flags().Lookup("repo"); flag != nil && !remote(flag.Value.String()) {
		return flag.Value.String()
	}
	return "."
}

// completePipelines offers the pipelines of the same repository.
func completePipelines(cmd *cobra.Command, _ []string, begun string) ([]string, cobra.ShellCompDirective) {
	var names []string
	for _, environment := range environmentNames(repoOf(cmd)) {
		if pipeline, _, _ := strings.Cut(environment, "/"); strings.HasPrefix(pipeline, begun) && !slices.Contains(names, pipeline) {
			names = append(names, pipeline)
		}
	}
	return names, cobra.ShellCompDirectiveNoFileComp
}

// environmentNames says nothing of what is wrong: nobody would see it.
func environmentNames(dir string) []string {
	snapshot, err := worktree.Open(dir)
	if err != nil {
		return nil
	}
	defer snapshot.Close()
	set, err := promotion.Load(snapshot)
	if err != nil {
		return nil
	}
	var names []string
	for _, id := range set.IDs() {
		names = append(names, id.String())
	}
	return names
}

package cli

import (
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"chaperone.dev/chaperone/internal/demo"
)

func newDemo(c *command) *cobra.Command {
	options := demo.Options{Environ: c.Environ, Colour: c.Terminal, Tour: c.Out, Progress: c.Err}
	var output format
	cmd := &cobra.Command{
		Use: "demo", Short: "Watch two systems go from development to production, on this machine", Args: cobra.NoArgs,
		Long: `Demo starts a Kubernetes control plane on this machine, makes a Git repository of
the sample in --repo, runs the daemon on both, and shows in eight steps what it
does: promotions, a change held by a policy, releases that fail and are taken
back, drift, pruning, and a daemon that is killed half way. Then it stays up to
be played with until Ctrl-C. Everything it made goes when it ends.

Each step is checked: with --exit, demo ends by itself, and its exit code tells
whether all of them came out as told. With -o json it prints, at the end and
beside nothing else, {"steps": [{"name", "ok", "detail"}]}.

It needs git, and the local cluster: --localcluster, or ` + demo.EnvCluster + `, or
the one that ` + "`make demo`" + ` builds; where there is none, it is built with go.
` + exitHelp,
		Example: "  chaperone demo\n  chaperone demo --exit -o json",
		RunE: func(cmd *cobra.Command, _ []string) error {
			if output != formatTable {
				options.Tour = io.Discard
			}
			result, err := demo.Run(cmd.Context(), options)
			if printed := c.print(output, result, func(io.Writer) {}); printed != nil {
				return errors.Join(printed, err)
			}
			return demoAnswer(result, err)
		},
	}
	flags := cmd.Flags()
	flags.BoolVar(&options.Exit, "exit", false, "end after the last step")
	flags.StringVar(&options.Repo, "repo", ".", "working tree with base/, overlays/, environments/ and policies/")
	flags.StringVar(&options.Dir, "dir", "", "directory for all that the demo makes, new or empty (default a temporary one)")
	flags.BoolVar(&options.Keep, "keep", false, "leave that directory there at the end")
	flags.StringVar(&options.Cluster, "localcluster", "", "program of the local cluster")
	outputFlag(cmd, &output)
	return cmd
}

// demoAnswer is no when a step did not come out, whatever else went wrong.
func demoAnswer(result demo.Result, err error) error {
	switch {
	case err != nil:
		return notAsked(err)
	case !result.OK():
		return &exitError{code: exitNo, err: fmt.Errorf("demo: not every step came out as told")}
	}
	return nil
}

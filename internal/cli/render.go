package cli

import (
	"github.com/spf13/cobra"

	"chaperone.dev/chaperone/internal/manifest"
	"chaperone.dev/chaperone/internal/render"
)

func newRender(c *command) *cobra.Command {
	var flags repoFlags
	var output format
	cmd := &cobra.Command{
		Use: "render ENV", Short: "Print what would run in an environment",
		Long: `Render prints the manifests of an environment: byte for byte what kustomize
build prints. With -o json it prints the objects with the release's digest.
` + exitHelp,
		Example: "  chaperone render novamind/production\n  chaperone render novamind/production --revision head -o json",
		Args:    exactly(1, "one environment, such as novamind/production"), ValidArgsFunction: completeEnvironments(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			t, err := flags.load(cmd.Context(), c)
			if err != nil {
				return err
			}
			defer t.close()
			env, err := t.environment(args[0])
			if err != nil {
				return err
			}
			result, err := t.render(cmd.Context(), render.New(render.DefaultLimits()), env)
			if err != nil {
				return err
			}
			if output == formatYAML {
				text, err := result.YAML()
				if err == nil {
					_, err = c.Out.Write(text)
				}
				return err
			}
			return c.print(output, rendered{
				Environment: env.ID.String(), Revision: string(t.snapshot.Revision()),
				Digest: result.Digest, Objects: result.Set.Objects(),
			}, nil)
		},
	}
	flags.add(cmd, c)
	formatFlag(cmd, &output, formatYAML, formatJSON)
	return cmd
}

// rendered is what `render -o json` prints.
type rendered struct {
	Environment string             `json:"environment"`
	Revision    string             `json:"revision"`
	Digest      manifest.Digest    `json:"digest"`
	Objects     []*manifest.Object `json:"objects"`
}

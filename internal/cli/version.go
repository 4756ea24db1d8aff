package cli

import (
	"fmt"
	"io"
	"runtime"
	"runtime/debug"
	"strings"

	"github.com/spf13/cobra"

	"chaperone.dev/chaperone/internal/app"
)

// version is set by the linker for a release.
var version = "devel"

func build() app.Build {
	b := app.Build{Version: version}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return b
	}
	for _, setting := range info.Settings {
		if setting.Key == "vcs.revision" {
			b.Revision = setting.Value
		}
	}
	return b
}

func newVersion(c *command) *cobra.Command {
	var output format
	cmd := &cobra.Command{
		Use: "version", Short: "Print the version", Args: exactly(0, "no arguments"),
		Long:    "Version prints what this binary was built from.\n" + exitHelp,
		Example: "  chaperone version\n  chaperone version -o json",
		RunE: func(*cobra.Command, []string) error {
			b := build()
			shown := map[string]string{"version": b.Version, "revision": b.Revision, "go": runtime.Version()}
			return c.print(output, shown, func(w io.Writer) {
				fmt.Fprintln(w, strings.Join(strings.Fields("chaperone "+b.Version+" "+b.Revision+" "+runtime.Version()), " "))
			})
		},
	}
	outputFlag(cmd, &output)
	return cmd
}

package cli

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"
)

// writeUsage is what --help ends with. It is not one of cobra's templates: a program
// in which anything executes templates keeps every method that a template might
// name, a quarter of this one.
func writeUsage(cmd *cobra.Command) error {
	var text strings.Builder
	text.WriteString("Usage:")
	if cmd.Runnable() {
		fmt.Fprintf(&text, "\n  %s", cmd.UseLine())
	}
	if cmd.HasAvailableSubCommands() {
		fmt.Fprintf(&text, "\n  %s [command]", cmd.CommandPath())
	}
	if cmd.HasExample() {
		fmt.Fprintf(&text, "\n\nExamples:\n%s", cmd.Example)
	}
	listCommands(&text, cmd)
	if cmd.HasAvailableLocalFlags() {
		fmt.Fprintf(&text, "\n\nFlags:\n%s", strings.TrimRight(cmd.LocalFlags().FlagUsagesWrapped(tableWidth), "\n "))
	}
	if cmd.HasAvailableInheritedFlags() {
		fmt.Fprintf(&text, "\n\nGlobal Flags:\n%s", strings.TrimRight(cmd.InheritedFlags().FlagUsagesWrapped(tableWidth), "\n "))
	}
	if cmd.HasAvailableSubCommands() {
		fmt.Fprintf(&text, "\n\nUse \"%s [command] --help\" for more information about a command.", cmd.CommandPath())
	}
	_, err := fmt.Fprintln(cmd.OutOrStderr(), text.String())
	return err
}

func listCommands(text *strings.Builder, cmd *cobra.Command) {
	if !cmd.HasAvailableSubCommands() {
		return
	}
	text.WriteString("\n\nAvailable Commands:")
	for _, sub := range cmd.Commands() {
		if sub.IsAvailableCommand() || sub.Name() == "help" {
			fmt.Fprintf(text, "\n  %-*s %s", sub.NamePadding(), sub.Name(), sub.Short)
		}
	}
}

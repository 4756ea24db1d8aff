package cli

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"sigs.k8s.io/yaml"

	"chaperone.dev/chaperone/internal/reconcile"
)

// format is how results are printed.
type format string

const (
	formatTable format = "table"
	formatJSON  format = "json"
	formatYAML  format = "yaml"
	formatSARIF format = "sarif"
	formatJUnit format = "junit"
)

// outputFlag is -o of most commands.
func outputFlag(cmd *cobra.Command, f *format) {
	formatFlag(cmd, f, formatTable, formatJSON, formatYAML)
}

// formatFlag is -o with the formats that a command has, the default first.
func formatFlag(cmd *cobra.Command, f *format, formats ...format) {
	*f = formats[0]
	chosen := choice{f, formats}
	cmd.Flags().VarP(chosen, "output", "o", chosen.names(", ", " or "))
	completions := strings.Split(chosen.names(",", ","), ",")
	_ = cmd.RegisterFlagCompletionFunc("output", cobra.FixedCompletions(completions, cobra.ShellCompDirectiveNoFileComp))
}

type choice struct {
	*format
	of []format
}

func (c choice) String() string {
	if c.format == nil { // as pflag asks of a zero value
		return ""
	}
	return string(*c.format)
}

func (c choice) Type() string { return "format" }

// Set refuses what the command cannot print.
func (c choice) Set(s string) error {
	if !slices.Contains(c.of, format(s)) {
		return fmt.Errorf("want %s", c.names(", ", " or "))
	}
	*c.format = format(s)
	return nil
}

func (c choice) names(separator, last string) string {
	text := ""
	for i, f := range c.of {
		switch i {
		case 0:
		case len(c.of) - 1:
			text += last
		default:
			text += separator
		}
		text += string(f)
	}
	return text
}

// print writes v as JSON or YAML, or calls table.
func (c *command) print(f format, v any, table func(io.Writer)) error {
	switch f {
	case formatJSON:
		encoder := json.NewEncoder(c.Out)
		encoder.SetIndent("", "  ")
		encoder.SetEscapeHTML(false)
		return encoder.Encode(v)
	case formatYAML:
		text, err := yaml.Marshal(v)
		if err != nil {
			return fmt.Errorf("encode: %w", err)
		}
		_, err = c.Out.Write(text)
		return err
	}
	table(c.Out)
	return nil
}

// oneOrAll is what scripts get: the one that was asked for by name, or a list.
func oneOrAll[T any](names []string, all []T) any {
	if len(names) == 1 && len(all) == 1 {
		return all[0]
	}
	return all
}

const (
	red    = "\x1b[31m"
	green  = "\x1b[32m"
	yellow = "\x1b[33m"
	cyan   = "\x1b[36m"
	plain  = "\x1b[0m"
)

// painted is text in a colour, on a terminal.
func (c *command) painted(colour, text string) string {
	if !c.Terminal || colour == "" {
		return text
	}
	return colour + text + plain
}

func phaseColour(phase reconcile.Phase) string {
	switch phase {
	case reconcile.PhaseReady:
		return green
	case reconcile.PhaseProgressing:
		return cyan
	case reconcile.PhaseWaiting:
		return yellow
	case reconcile.PhaseHeld, reconcile.PhaseInvalid:
		return red
	}
	return ""
}

// paintPhases colours the phases of a table's column.
func (c *command) paintPhases(column int) func(int, string) string {
	return func(at int, text string) string {
		if at != column {
			return text
		}
		return c.painted(phaseColour(reconcile.Phase(text)), text)
	}
}

// ago is how long something has been so, for people.
func ago(since, now time.Time) string {
	if since.IsZero() {
		return "-"
	}
	d := now.Sub(since)
	switch {
	case d < time.Minute:
		return fmt.Sprintf("%ds", max(0, int(d.Seconds())))
	case d < time.Hour:
		return fmt.Sprintf("%dm", int(d.Minutes()))
	case d < 48*time.Hour:
		return fmt.Sprintf("%dh", int(d.Hours()))
	}
	return fmt.Sprintf("%dd", int(d.Hours()/24))
}

func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

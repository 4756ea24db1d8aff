package cli

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/spf13/cobra"
	"sigs.k8s.io/yaml"

	"chaperone.dev/chaperone/internal/reconcile"
)

// tableWidth is what every table fits into.
const tableWidth = 100

// format is the value of -o.
type format string

const (
	formatTable format = "table"
	formatJSON  format = "json"
	formatYAML  format = "yaml"
)

func (f *format) String() string { return string(*f) }
func (f *format) Type() string   { return "format" }

// Set refuses what no command can print.
func (f *format) Set(s string) error {
	switch format(s) {
	case formatTable, formatJSON, formatYAML:
		*f = format(s)
		return nil
	}
	return fmt.Errorf("want table, json or yaml")
}

func outputFlag(cmd *cobra.Command, f *format) {
	*f = formatTable
	cmd.Flags().VarP(f, "output", "o", "table, json or yaml")
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

// table lays rows out in columns. The last column gets what is left of the
// width and wraps, so that nothing is lost and nothing runs over.
type table struct {
	header []string
	rows   [][]string
	paint  func(column int, text string) string // may add colour; nil adds none
}

func (t *table) add(cells ...string) { t.rows = append(t.rows, cells) }

func (t *table) write(w io.Writer) {
	widths := t.widths()
	for i, row := range append([][]string{t.header}, t.rows...) {
		t.writeRow(w, widths, row, i == 0)
	}
}

func (t *table) widths() []int {
	widths := make([]int, len(t.header))
	for _, row := range append([][]string{t.header}, t.rows...) {
		for i, cell := range row {
			widths[i] = max(widths[i], utf8.RuneCountInString(cell))
		}
	}
	used := 0
	for _, width := range widths[:len(widths)-1] {
		used += width + 2
	}
	widths[len(widths)-1] = max(20, tableWidth-used)
	return widths
}

func (t *table) writeRow(w io.Writer, widths []int, row []string, header bool) {
	last := len(row) - 1
	lines := wrapText(row[last], widths[last])
	for i, line := range lines {
		var b strings.Builder
		for column, width := range widths[:last] {
			text := ""
			if i == 0 {
				text = row[column]
			}
			padding := strings.Repeat(" ", width-utf8.RuneCountInString(text)+2)
			if t.paint != nil && !header && text != "" {
				text = t.paint(column, text)
			}
			b.WriteString(text + padding)
		}
		fmt.Fprintln(w, strings.TrimRight(b.String()+line, " "))
	}
}

// wrapText breaks at spaces; a word that is longer than a line is cut into
// lines, as a hash or a path may be.
func wrapText(text string, width int) []string {
	var lines []string
	line := ""
	for _, word := range strings.Fields(text) {
		for utf8.RuneCountInString(word) > width {
			if line != "" {
				lines, line = append(lines, line), ""
			}
			runes := []rune(word)
			lines = append(lines, string(runes[:width]))
			word = string(runes[width:])
		}
		switch {
		case line == "":
			line = word
		case utf8.RuneCountInString(line)+1+utf8.RuneCountInString(word) <= width:
			line += " " + word
		default:
			lines, line = append(lines, line), word
		}
	}
	return append(lines, line)
}

// phaseColour paints the phases of a table's column on a terminal.
func (c *command) phaseColour(column int) func(int, string) string {
	if !c.Terminal {
		return nil
	}
	colours := map[string]string{
		string(reconcile.PhaseReady): "\x1b[32m", string(reconcile.PhaseProgressing): "\x1b[36m",
		string(reconcile.PhaseWaiting): "\x1b[33m", string(reconcile.PhaseHeld): "\x1b[31m",
		string(reconcile.PhaseInvalid): "\x1b[31m",
	}
	return func(at int, text string) string {
		if colour := colours[text]; at == column && colour != "" {
			return colour + text + "\x1b[0m"
		}
		return text
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

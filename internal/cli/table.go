package cli

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"unicode"

	"golang.org/x/text/width"
)

// tableWidth is what every table fits into.
const tableWidth = 100

const (
	columnGap  = 2
	noteIndent = 4
)

// table lays rows out in columns. Where they do not fit, the widest wrap, so
// that nothing is lost and nothing runs over.
type table struct {
	indent int
	header []string
	rows   []tableRow
	paint  func(column int, text string) string // may add colour; nil adds none
}

type tableRow struct {
	cells []string
	notes []string // on lines of their own below
}

func (t *table) add(cells ...string) { t.rows = append(t.rows, tableRow{cells: cells}) }

// note adds a line below the last row; an empty one is none.
func (t *table) note(text string) {
	if last := &t.rows[len(t.rows)-1]; text != "" {
		last.notes = append(last.notes, text)
	}
}

func (t *table) write(w io.Writer) {
	all := t.rows
	if len(t.header) > 0 {
		all = slices.Concat([]tableRow{{cells: t.header}}, t.rows)
	}
	widths := t.widths(all)
	for i, row := range all {
		t.writeCells(w, widths, row.cells, i == 0 && len(t.header) > 0)
		indent := t.indent + noteIndent
		for _, note := range row.notes {
			for _, line := range wrapText(note, tableWidth-indent) {
				fmt.Fprintln(w, strings.Repeat(" ", indent)+line)
			}
		}
	}
}

// widths gives each column what it needs, and where that is too much in all,
// cuts the widest down to the same.
func (t *table) widths(rows []tableRow) []int {
	var widths []int
	for _, row := range rows {
		for i, cell := range row.cells {
			if i == len(widths) {
				widths = append(widths, 1)
			}
			widths[i] = max(widths[i], textWidth(clean(cell)))
		}
	}
	budget := tableWidth - t.indent - columnGap*(len(widths)-1)
	for over := sum(widths) - budget; over > 0; over-- {
		widest := slices.Max(widths)
		if widest <= 1 {
			break // more columns than there is room for
		}
		widths[slices.Index(widths, widest)]--
	}
	return widths
}

func sum(numbers []int) (total int) {
	for _, n := range numbers {
		total += n
	}
	return total
}

func (t *table) writeCells(w io.Writer, widths []int, cells []string, header bool) {
	wrapped := make([][]string, len(cells))
	height := 0
	for column, cell := range cells {
		wrapped[column] = wrapText(cell, widths[column])
		height = max(height, len(wrapped[column]))
	}
	for line := range height {
		text, gap := "", t.indent
		for column, lines := range wrapped {
			cell := ""
			if line < len(lines) {
				cell = lines[line]
			}
			padding := widths[column] - textWidth(cell)
			if cell != "" && t.paint != nil && !header {
				cell = t.paint(column, cell)
			}
			if cell != "" { // nothing trails
				text += strings.Repeat(" ", gap) + cell
				gap = 0
			}
			gap += padding + columnGap
		}
		fmt.Fprintln(w, text)
	}
}

// wrapText breaks at spaces; a word that is longer than a line is cut into
// lines, as a hash or a path may be.
func wrapText(text string, width int) []string {
	var lines []string
	rest := []rune(strings.TrimSpace(clean(text)))
	for {
		end, at := 0, 0
		for end < len(rest) && at+runeWidth(rest[end]) <= width {
			at += runeWidth(rest[end])
			end++
		}
		end = max(end, 1)
		if end >= len(rest) {
			return append(lines, string(rest))
		}
		next := end
		for i := end; i > 0; i-- {
			if rest[i] == ' ' {
				end, next = i, i+1
				break
			}
		}
		lines = append(lines, strings.TrimRight(string(rest[:end]), " "))
		rest = rest[next:]
	}
}

// clean makes text that came from Git or a cluster safe to show: one line,
// and nothing in it that a terminal would obey.
func clean(text string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case unicode.IsSpace(r):
			return ' '
		case !unicode.IsPrint(r):
			return unicode.ReplacementChar
		}
		return r
	}, text)
}

// cleanLines is clean, and keeps lines.
func cleanLines(text string) string {
	lines := strings.Split(text, "\n")
	for i, line := range lines {
		lines[i] = clean(line)
	}
	return strings.Join(lines, "\n")
}

func textWidth(text string) (total int) {
	for _, r := range text {
		total += runeWidth(r)
	}
	return total
}

// runeWidth is how many columns a terminal gives to a rune.
func runeWidth(r rune) int {
	if unicode.Is(unicode.Mn, r) {
		return 0
	}
	switch width.LookupRune(r).Kind() {
	case width.EastAsianWide, width.EastAsianFullwidth:
		return 2
	}
	return 1
}

package preview

import (
	"fmt"
	"html"
	"regexp"
	"strings"
	"unicode"
)

// Everything that stands in a repository goes into Markdown as code: there
// neither markup nor mentions, links to issues or commands of a forge count.
// These are the only ways in.

// Bounds of one piece of text in code, in characters.
const (
	maxName    = 200
	maxMessage = 400
)

// code is a code span with text in it, on one line.
func code(text string, limit int) string {
	text = line(text, limit)
	if text == "" {
		return "` `"
	}
	ticks := strings.Repeat("`", longestRun(text, '`')+1)
	if strings.HasPrefix(text, "`") || strings.HasSuffix(text, "`") {
		text = " " + text + " "
	}
	return ticks + text + ticks
}

// cell is a code span in a table, where a pipe would end the cell even in code.
func cell(text string, limit int) string {
	return code(strings.ReplaceAll(text, "|", "¦"), limit)
}

// prose is text as it is where nothing in it can mean anything to a forge, and a
// code span otherwise. It fits into a table.
func prose(text string) string {
	if len(text) <= maxMessage && plain.MatchString(text) && !linked.MatchString(text) {
		return text
	}
	return cell(text, maxMessage)
}

var (
	plain  = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9 ,.:()-]*$`)
	linked = regexp.MustCompile(`(?i)www\.|[a-z]-[0-9]|[0-9a-f]{7}`) // sites, issues, commits
)

// fence is a block of code. Lines are kept.
func fence(language, text string) string {
	text = strings.TrimSuffix(visible(text, true), "\n")
	marks := strings.Repeat("`", max(3, longestRun(text, '`')+1))
	return marks + language + "\n" + text + "\n" + marks + "\n"
}

// tag is text inside a block of HTML, where Markdown ends. In the middle of a
// paragraph it goes on inside of elements.
func tag(text string, limit int) string {
	return "<code>" + html.EscapeString(line(text, limit)) + "</code>"
}

// line is text on one line. It is safe in code only.
func line(text string, limit int) string {
	return clip(strings.Join(strings.Fields(visible(text, false)), " "), limit)
}

// visible shows what does not print as what it is: control characters, and those
// that turn the direction of text around or take no place.
func visible(text string, lines bool) string {
	text = strings.ToValidUTF8(strings.ReplaceAll(text, "\r\n", "\n"), string(unicode.ReplacementChar))
	var b strings.Builder
	for _, r := range text {
		switch {
		case r == '\n' && lines, r == '\t' && lines:
			b.WriteRune(r)
		case r == '\n', r == '\t', r == ' ':
			b.WriteByte(' ')
		case !unicode.IsPrint(r):
			fmt.Fprintf(&b, "\\u%04x", r)
		default:
			b.WriteRune(r)
		}
	}
	return b.String()
}

func longestRun(text string, of rune) int {
	longest, run := 0, 0
	for _, r := range text {
		if run++; r != of {
			run = 0
		}
		longest = max(longest, run)
	}
	return longest
}

// clip cuts text to limit characters, the last then being an ellipsis.
func clip(text string, limit int) string {
	runes := []rune(text)
	if len(runes) <= limit {
		return text
	}
	return strings.TrimRight(string(runes[:limit-1]), " ") + "…"
}

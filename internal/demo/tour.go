package demo

import (
	"fmt"
	"io"
	"strings"
	"sync"
	"time"
	"unicode/utf8"
)

// width is what every line of the tour fits into.
const width = 100

// tour is what people read.
type tour struct {
	w      io.Writer
	colour bool
}

const (
	bold  = "\x1b[1m"
	green = "\x1b[32m"
	red   = "\x1b[31m"
	faint = "\x1b[2m"
)

func (t *tour) paint(colour, text string) string {
	if !t.colour {
		return text
	}
	return colour + text + "\x1b[0m"
}

func (t *tour) line(format string, args ...any) { fmt.Fprintf(t.w, format+"\n", args...) }

// tell writes paragraphs.
func (t *tour) tell(text string) {
	for paragraph := range strings.SplitSeq(strings.TrimSpace(text), "\n\n") {
		for _, line := range fold(paragraph, width) {
			t.line("%s", line)
		}
		t.line("")
	}
}

func (t *tour) heading(n, of int, title, story string) {
	t.line("%s", t.paint(bold, fmt.Sprintf("%d/%d  %s", n, of, title)))
	t.line("")
	t.tell(story)
}

func (t *tour) outcome(s Step) {
	mark, colour := "as told", green
	if !s.OK {
		mark, colour = "not as told", red
	}
	t.line("%s", t.paint(colour, fmt.Sprintf("%s, after %s", mark, s.Took.Round(100*time.Millisecond))))
	for paragraph := range strings.SplitSeq(s.Detail, "\n") {
		for _, line := range fold(paragraph, width-2) {
			t.line("  %s", line)
		}
	}
	t.line("")
}

// command shows what was typed and what it printed. Our own commands fit; the
// lines of others are cut.
func (t *tour) command(typed, printed string) {
	t.line("%s", t.paint(bold, "$ "+typed))
	for line := range strings.Lines(printed) {
		t.line("%s", t.paint(faint, cut(strings.TrimRight(line, "\n"), width)))
	}
	t.line("")
}

func cut(line string, width int) string {
	if utf8.RuneCountInString(line) <= width {
		return line
	}
	return string([]rune(line)[:width-1]) + "…"
}

// fold breaks at spaces; a longer word stands on a line of its own, cut where
// the line ends.
func fold(text string, width int) []string {
	var lines []string
	line := ""
	for _, word := range strings.Fields(text) {
		for utf8.RuneCountInString(word) > width {
			if line != "" {
				lines, line = append(lines, line), ""
			}
			runes := []rune(word)
			lines, word = append(lines, string(runes[:width])), string(runes[width:])
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

// progress says what goes on while one waits.
type progress struct {
	w     io.Writer
	began time.Time

	mu     sync.Mutex
	phases map[string]string // as last said, by environment
}

func (p *progress) say(format string, args ...any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.write(fmt.Sprintf(format, args...))
}

func (p *progress) write(text string) {
	fmt.Fprintf(p.w, "%6.1fs  %s\n", time.Since(p.began).Seconds(), text)
}

// phase says where an environment is, if it was elsewhere before.
func (p *progress) phase(environment, text string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.phases[environment] == text {
		return
	}
	p.phases[environment] = text
	p.write(fmt.Sprintf("  %-22s %s", environment, text))
}

// lines passes on what another program says, line by line.
func (p *progress) lines(indent string) io.Writer { return &lineWriter{p: p, indent: indent} }

type lineWriter struct {
	p       *progress
	indent  string
	pending string
}

func (w *lineWriter) Write(b []byte) (int, error) {
	w.pending += string(b)
	for {
		line, rest, found := strings.Cut(w.pending, "\n")
		if !found {
			return len(b), nil
		}
		w.p.say("%s%s", w.indent, strings.TrimSpace(line))
		w.pending = rest
	}
}

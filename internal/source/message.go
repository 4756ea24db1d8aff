package source

import (
	"fmt"
	"strings"
	"unicode"
)

// Trailer keys that the daemon writes into its commits and looks for later:
// they are how a revert is recognized after a crash, by a second replica, or
// by a fresh installation.
const (
	TrailerReverts     = "Chaperone-Reverts"
	TrailerEnvironment = "Chaperone-Environment"
	TrailerRelease     = "Chaperone-Release"
	TrailerReason      = "Chaperone-Reason"
	TrailerPromotes    = "Chaperone-Promotes"
)

// Trailer keys that people write, for the daemon to heed.
const (
	// TrailerUrgent, with the value true, lets a commit start outside its
	// environment's schedule.
	TrailerUrgent = "Chaperone-Urgent"
	// TrailerOverride, with a reason, is the break-glass of a commit that moves a pin.
	TrailerOverride = "Chaperone-Override"
)

const (
	// maxSubject is where Git hosts begin to cut a subject line.
	maxSubject = 100
	// maxEvidence keeps a message readable; the ledger has all of it.
	maxEvidence = 2000
)

// Subject is the first line of the message.
func (c Commit) Subject() string {
	subject, _, _ := strings.Cut(strings.TrimSpace(c.Message), "\n")
	return strings.TrimSpace(subject)
}

// Trailer returns the values of key in the message's last paragraph, in order.
// That paragraph counts only if all of it is trailers: people quote revert
// messages in their own.
func (c Commit) Trailer(key string) []string {
	var values []string
	for _, line := range c.lastParagraph() {
		if strings.HasPrefix(line, " ") || strings.HasPrefix(line, "\t") {
			continue // the value above, folded
		}
		name, value, found := strings.Cut(line, ":")
		if !found || !trailerName(name) {
			return nil
		}
		if strings.EqualFold(name, key) {
			values = append(values, strings.TrimSpace(value))
		}
	}
	return values
}

// lastParagraph is nil for a message of one paragraph: that one is the subject.
func (c Commit) lastParagraph() []string {
	lines := strings.Split(strings.TrimRight(strings.ReplaceAll(c.Message, "\r\n", "\n"), " \t\n"), "\n")
	for i := len(lines) - 1; i > 0; i-- {
		if strings.TrimSpace(lines[i]) == "" && strings.TrimSpace(strings.Join(lines[:i], "")) != "" {
			return lines[i+1:]
		}
	}
	return nil
}

func trailerName(s string) bool {
	for _, c := range s {
		if !('a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '-') {
			return false
		}
	}
	return s != ""
}

// Reverts returns the revision that this commit takes back, if the daemon
// wrote it as a revert.
func (c Commit) Reverts() (Revision, bool) {
	for _, value := range c.Trailer(TrailerReverts) {
		if revision, err := ParseRevision(value); err == nil {
			return revision, true
		}
	}
	return "", false
}

// RevertNote is what a revert's message tells. Evidence is one or more
// sentences that say what failed, as measured. Environment, Release and Reason
// are empty when a person reverts by hand.
type RevertNote struct {
	Environment string
	Release     string
	Reason      string
	Evidence    string
}

// RevertMessage writes the message of the commit that takes guilty back
// (design.md §4).
func RevertMessage(guilty Commit, note RevertNote) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s\n\n", revertSubject(guilty.Subject()))
	b.WriteString(wrap(revertStory(guilty, note), 72))
	if len(guilty.Parents) > 1 {
		b.WriteString(wrap("This takes a merge back along its first parent. Merging the same branch again "+
			"will not bring the change back: revert this commit instead.", 72))
	}
	b.WriteString(wrap("To bring the change back, revert this commit together with a fix.", 72) + "\n")
	writeTrailers(&b, [][2]string{
		{TrailerReverts, string(guilty.Revision)},
		{TrailerEnvironment, note.Environment},
		{TrailerRelease, note.Release},
		{TrailerReason, note.Reason},
	})
	return b.String()
}

func writeTrailers(b *strings.Builder, trailers [][2]string) {
	for _, trailer := range trailers {
		if value := oneLine(trailer[1]); value != "" {
			fmt.Fprintf(b, "%s: %s\n", trailer[0], value)
		}
	}
}

func revertStory(guilty Commit, note RevertNote) string {
	story := fmt.Sprintf("This reverts commit %s.", guilty.Revision)
	evidence := clip(oneLine(note.Evidence), maxEvidence)
	switch {
	case note.Environment != "" && evidence != "":
		story += fmt.Sprintf(" It failed verification in %s: %s", oneLine(note.Environment), evidence)
	case note.Environment != "":
		story += fmt.Sprintf(" It failed verification in %s", oneLine(note.Environment))
	case evidence != "":
		story += " " + evidence
	}
	if !strings.HasSuffix(story, ".") {
		story += "."
	}
	return story
}

// oneLine keeps words and drops what Git or a terminal would stumble over.
func oneLine(s string) string {
	printable := strings.Map(func(r rune) rune {
		if unicode.IsControl(r) && !unicode.IsSpace(r) {
			return -1
		}
		return r
	}, strings.ToValidUTF8(s, "?"))
	return strings.Join(strings.Fields(printable), " ")
}

// revertSubject quotes the subject as it is, as people know it from Git; what
// would break the line is taken out.
func revertSubject(subject string) string {
	const around = len(`Revert ""`)
	return `Revert "` + clip(oneLine(subject), maxSubject-around) + `"`
}

// clip cuts s to limit characters, the last then being an ellipsis.
func clip(s string, limit int) string {
	runes := []rune(s)
	if len(runes) <= limit {
		return s
	}
	return strings.TrimRight(string(runes[:limit-1]), " ") + "…"
}

// wrap breaks text at spaces so that lines stay within width where words allow.
func wrap(text string, width int) string {
	var b strings.Builder
	column := 0
	for _, word := range strings.Fields(text) {
		length := len([]rune(word))
		switch {
		case column == 0:
		case column+1+length > width:
			b.WriteByte('\n')
			column = 0
		default:
			b.WriteByte(' ')
			column++
		}
		b.WriteString(word)
		column += length
	}
	b.WriteByte('\n')
	return b.String()
}

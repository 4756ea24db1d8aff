package source

import (
	"fmt"
	"strings"
)

// Trailer keys that the daemon writes into its commits and looks for later:
// they are how a revert is recognized after a crash, by a second replica, or
// by a fresh installation.
const (
	TrailerReverts     = "Chaperone-Reverts"
	TrailerEnvironment = "Chaperone-Environment"
	TrailerRelease     = "Chaperone-Release"
	TrailerReason      = "Chaperone-Reason"
)

// maxSubject is where Git hosts begin to cut a subject line.
const maxSubject = 100

// Subject is the first line of the message.
func (c Commit) Subject() string {
	subject, _, _ := strings.Cut(strings.TrimSpace(c.Message), "\n")
	return strings.TrimSpace(subject)
}

// Trailer returns the values of key in the message's last paragraph, in order.
// A message that merely mentions a key in its body has no such trailer: people
// quote revert messages.
func (c Commit) Trailer(key string) []string {
	body := strings.TrimRight(strings.ReplaceAll(c.Message, "\r\n", "\n"), "\n \t")
	paragraphs := strings.Split(body, "\n\n")
	if len(paragraphs) < 2 {
		return nil
	}
	var values []string
	for line := range strings.SplitSeq(paragraphs[len(paragraphs)-1], "\n") {
		name, value, found := strings.Cut(line, ":")
		if found && strings.EqualFold(strings.TrimSpace(name), key) {
			values = append(values, strings.TrimSpace(value))
		}
	}
	return values
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
	fmt.Fprintf(&b, "%s\n\n", clip(fmt.Sprintf("Revert %q", guilty.Subject()), maxSubject))
	b.WriteString(wrap(revertStory(guilty, note), 72))
	if len(guilty.Parents) > 1 {
		b.WriteString("\n" + wrap("This takes a merge back along its first parent. Merging the same branch again "+
			"will not bring the change back: revert this commit instead.", 72))
	}
	b.WriteString("\n" + wrap("To bring the change back, revert this commit together with a fix.", 72) + "\n")
	for _, trailer := range [][2]string{
		{TrailerReverts, string(guilty.Revision)},
		{TrailerEnvironment, note.Environment},
		{TrailerRelease, note.Release},
		{TrailerReason, note.Reason},
	} {
		if trailer[1] != "" {
			fmt.Fprintf(&b, "%s: %s\n", trailer[0], oneLine(trailer[1]))
		}
	}
	return b.String()
}

func revertStory(guilty Commit, note RevertNote) string {
	story := fmt.Sprintf("This reverts commit %s.", guilty.Revision)
	if note.Environment != "" {
		story += fmt.Sprintf(" It failed verification in %s: %s", note.Environment, oneLine(note.Evidence))
	} else if note.Evidence != "" {
		story += " " + oneLine(note.Evidence)
	}
	if !strings.HasSuffix(story, ".") {
		story += "."
	}
	return story
}

func oneLine(s string) string { return strings.Join(strings.Fields(s), " ") }

func clip(s string, limit int) string {
	runes := []rune(s)
	if len(runes) <= limit {
		return s
	}
	return string(runes[:limit-2]) + "…\""
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

package preview

import (
	"fmt"
	"strings"
)

// page is a text within a limit of bytes, which no forge counts more of than of
// its characters. What comes first has the room.
type page struct {
	text  strings.Builder
	limit int
}

func (p *page) room() int { return p.limit - p.text.Len() }

// add takes a piece as a whole, or not at all.
func (p *page) add(piece string) bool {
	if len(piece) > p.room() {
		return false
	}
	p.text.WriteString(piece)
	return true
}

// forMore is kept for the line that says how many are left out.
const forMore = 80

// list adds lines under a title, up to most of them and a part of the room that
// is left, and says how many more there are.
func (p *page) list(title string, lines []string, most int) {
	if len(lines) == 0 {
		return
	}
	section := &page{limit: p.room() * 2 / 3}
	if !section.add(title) {
		return
	}
	section.limit -= forMore
	shown := 0
	for _, line := range lines {
		if shown == most || !section.add(line) {
			break
		}
		shown++
	}
	section.limit += forMore
	if more := len(lines) - shown; more > 0 {
		section.add(fmt.Sprintf("- and %d more\n", more))
	}
	p.add(section.text.String() + "\n")
}

// counted is "1 finding" or "2 findings".
func counted(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

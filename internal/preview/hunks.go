package preview

import (
	"regexp"
	"strconv"
	"strings"

	"chaperone.dev/chaperone/internal/plan"
)

// hunks are what differs between two texts of YAML: as a unified diff, but that
// a hunk begins with the field that its first change is in, and not with the
// numbers of lines that stand in no file.
func hunks(before, after string) string {
	text := plan.Unified("", "", plan.Content{Before: before, After: after}, 1)
	for range 2 { // the names of the two texts
		_, text, _ = strings.Cut(text, "\n")
	}
	old, now := strings.Split(before, "\n"), strings.Split(after, "\n")
	var out strings.Builder
	lines := strings.SplitAfter(text, "\n")
	for i, line := range lines {
		header := hunkHeader.FindStringSubmatch(line)
		if header == nil {
			out.WriteString(line)
			continue
		}
		out.WriteString(strings.TrimRight("@@ "+fieldOf(header, lines[i+1:], old, now), " ") + "\n")
	}
	return out.String()
}

var hunkHeader = regexp.MustCompile(`^@@ -(\d+)(?:,\d+)? \+(\d+)(?:,\d+)? @@`)

// fieldOf is the field that the first changed line of a hunk is in.
func fieldOf(header, rest, old, now []string) string {
	unchanged := 0
	for _, line := range rest {
		if !strings.HasPrefix(line, " ") {
			break
		}
		unchanged++
	}
	text, at := old, header[1]
	if unchanged < len(rest) && strings.HasPrefix(rest[unchanged], "+") {
		text, at = now, header[2]
	}
	first, err := strconv.Atoi(at)
	if err != nil {
		return ""
	}
	return clip(parents(text, first-1+unchanged), maxName)
}

// parents are the fields that a line of YAML, as it is written here, is below.
// An entry of a list goes by its name, where it has one.
func parents(lines []string, at int) string {
	if at < 0 || at >= len(lines) {
		return ""
	}
	var path []string
	level, inList := indent(lines[at]), false
	if entry(lines[at]) { // the list is named above, at the same depth
		level, inList = level+1, true
	}
	for i := at - 1; i >= 0 && level > 0; i-- {
		line := lines[i]
		switch dash := indent(line); {
		case strings.TrimSpace(line) == "":
		case entry(line) && inList && dash == level-1: // another entry of the same list
		case entry(line) && dash < level: // what follows the dash is two deeper
			if dash+2 < level {
				path = append(path, key(line))
			}
			if name := nameIn(lines, i); name != "" {
				path = append(path, "["+name+"]")
			}
			level, inList = dash+1, true
		case !entry(line) && dash < level:
			path = append(path, key(line))
			level, inList = dash, false
		}
	}
	var b strings.Builder
	for i := len(path) - 1; i >= 0; i-- {
		if b.Len() > 0 && !strings.HasPrefix(path[i], "[") {
			b.WriteString(".")
		}
		b.WriteString(path[i])
	}
	return b.String()
}

func indent(line string) int { return len(line) - len(strings.TrimLeft(line, " ")) }

func entry(line string) bool { return strings.HasPrefix(strings.TrimLeft(line, " "), "- ") }

func key(line string) string {
	name, _, _ := strings.Cut(strings.TrimPrefix(strings.TrimSpace(line), "- "), ":")
	return name
}

// nameIn is the name of the list entry that begins on a line, or "".
func nameIn(lines []string, at int) string {
	level := indent(lines[at]) + 2
	for i := at; i < len(lines); i++ {
		line := lines[i]
		if i > at && (indent(line) < level || strings.TrimSpace(line) == "") {
			break
		}
		if i == at {
			line = strings.Repeat(" ", level) + strings.TrimPrefix(strings.TrimLeft(line, " "), "- ")
		}
		if name, found := strings.CutPrefix(line, strings.Repeat(" ", level)+"name: "); found {
			return name
		}
	}
	return ""
}

package preview

import (
	"fmt"
	"strings"

	"chaperone.dev/chaperone/internal/manifest"
	"chaperone.dev/chaperone/internal/policy"
)

// denials are the findings that stop a release, and the rules that could not be
// asked: those that come with the change, or those that are there anyway.
func (p Preview) denials(fresh bool) []string {
	var g grouped
	for _, e := range p.Environments {
		if fresh {
			for _, problem := range e.Errors {
				g.add("could not be asked: "+code(problem.Error(), maxMessage), e.ID)
			}
		}
		come, stand := e.Stopping()
		if !fresh {
			come = stand
		}
		for _, f := range come {
			g.add(findingText(f), e.ID)
		}
	}
	return g.lines()
}

// warnings are the new findings that stop nothing, those that an exception waives
// among them. What stops another environment was told.
func (p Preview) warnings(out *page) {
	var told, g grouped
	total := 0
	for _, e := range p.Environments {
		for _, f := range stopping(e.New) {
			told.add(findingText(f), e.ID)
		}
	}
	for _, e := range p.Environments {
		for _, f := range e.New {
			text := findingText(f)
			if f.Stops() || told.where[text] != nil && f.Exception == nil {
				continue
			}
			g.add(text, e.ID)
		}
	}
	if total = len(g.order); total == 0 {
		return
	}
	section := &page{limit: out.room() / 2}
	section.list(fmt.Sprintf("<details>\n<summary>%s that %s nothing</summary>\n\n", counted(total, "new finding"), stops(total)), g.lines(), maxFindings)
	if section.text.Len() > 0 {
		out.add(section.text.String() + "</details>\n\n")
	}
}

func stops(n int) string {
	if n == 1 {
		return "stops"
	}
	return "stop"
}

// findingText is where to change it, how bad it is, and what it is about. The
// namespace is the environment's, mostly, and left out.
func findingText(f policy.Finding) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s", f.Severity, code(f.Rule, maxName))
	if f.Object != nil {
		id := f.Object.ID()
		b.WriteString(" on " + code(manifest.ID{Group: id.Group, Kind: id.Kind, Name: id.Name}.String(), maxName))
	}
	b.WriteString(": " + code(f.Message, maxMessage))
	if f.Source != nil && (f.Object != nil || f.Source.Exact) { // else it is the environment's file, somewhere
		b.WriteString(" at " + code(f.Source.String(), maxName))
	}
	if x := f.Exception; x != nil {
		fmt.Fprintf(&b, ", waived until %s by %s in %s", code(x.Expires, maxName), code(x.Name, maxName), code(x.File, maxName))
	}
	return b.String()
}

package preview

import (
	"fmt"
	"html"
	"strings"

	"chaperone.dev/chaperone/internal/plan"
	"chaperone.dev/chaperone/internal/promotion"
)

// Bounds of the lines of one object in Markdown: of what is new, all is in the
// change itself.
const (
	maxHunks = 150
	maxNew   = 40
)

// diffs are the rendered differences, folded, an environment after the other.
// What changes in the same way in several is shown once.
func (p Preview) diffs(out *page) {
	type sheet struct {
		Environment
		also []promotion.ID
	}
	var sheets []*sheet
	known := map[string]*sheet{}
	for _, e := range p.Environments {
		key := e.sameness()
		if key == "" {
			continue
		}
		if first := known[key]; first != nil {
			first.also = append(first.also, e.ID)
			continue
		}
		known[key] = &sheet{Environment: e}
		sheets = append(sheets, known[key])
	}
	for i, s := range sheets {
		share := out.room() / (len(sheets) - i)
		if text := s.diff(s.also, share); text == "" || !out.add(text) {
			out.add(fmt.Sprintf("The differences of %s are left out: there is no room.\n\n", counted(len(sheets)-i, "environment")))
			return
		}
	}
}

// shows reports whether an object is among the differences: what goes is listed
// elsewhere.
func (o Object) shows() bool { return o.Action == plan.Create || o.Action == plan.Update }

// sameness is equal for environments in which the same lines change, but for
// what each has of its own: its namespace, its name, the class of its data and
// the names of what is generated. "" is no change.
func (e Environment) sameness() string {
	var b strings.Builder
	for _, o := range e.Objects {
		if !o.shows() {
			continue
		}
		id := o.ID
		id.Name, id.Namespace = hashed.ReplaceAllString(id.Name, ""), ""
		fmt.Fprintf(&b, "%q %q\n", o.Action, id.String())
		for text := range strings.Lines(o.Diff) {
			if text[0] != '+' && text[0] != '-' {
				continue
			}
			if o.ID.Namespace != "" {
				text = strings.ReplaceAll(text, o.ID.Namespace, "(namespace)")
			}
			text = hashed.ReplaceAllString(strings.TrimSuffix(text, "\n"), "")
			if field, value, found := strings.Cut(text, ": "); found && (value == e.ID.Name || value == string(e.Data)) {
				text = field + ": (own)"
			}
			b.WriteString(text + "\n")
		}
	}
	return b.String()
}

// diff is one environment's, within a share of the room; "" if there is none.
func (e Environment) diff(also []promotion.ID, share int) string {
	summary := tag(e.ID.String(), maxName) + ": " + html.EscapeString(e.rendered())
	if len(also) > 0 {
		summary += "; likewise in " + tag(together(also), maxMessage)
	}
	head, foot := "<details>\n<summary>"+summary+"</summary>\n\n", "\n</details>\n\n"
	body := &page{limit: share - len(head) - len(foot) - 2*forMore}
	shown, all := 0, 0
	for _, sheet := range e.sheets() {
		all += len(sheet)
		if shown < all-len(sheet) || !body.add(e.hunksOf(sheet)) {
			continue // one that is left out is the last to be shown
		}
		shown = all
	}
	text := body.text.String()
	if shown < all {
		text += fmt.Sprintf("# %s: no room\n", counted(all-shown, "more object"))
	}
	block := head + fence("diff", text) + foot
	if len(block) > share {
		return "" // its backticks, or what does not print, took the room
	}
	return block
}

// rendered says how many objects a fold holds.
func (e Environment) rendered() string {
	created, updated := 0, 0
	for _, o := range e.Objects {
		switch o.Action {
		case plan.Create:
			created++
		case plan.Update:
			updated++
		}
	}
	var parts []string
	if updated > 0 {
		parts = append(parts, counted(updated, "object")+" changed")
	}
	if created > 0 {
		parts = append(parts, fmt.Sprintf("%d new", created))
	}
	return strings.Join(parts, ", ")
}

// sheets are the objects that are shown, those together that change alike: what
// changes comes before what is new.
func (e Environment) sheets() (sheets [][]Object) {
	for _, action := range []plan.Action{plan.Update, plan.Create} {
		alike := map[string]int{}
		for _, o := range e.Objects {
			if o.Action != action {
				continue
			}
			at, known := alike[o.Diff]
			if !known || o.Diff == "" || o.Was != "" {
				at, alike[o.Diff] = len(sheets), len(sheets)
				sheets = append(sheets, nil)
			}
			sheets[at] = append(sheets[at], o)
		}
	}
	return sheets
}

// hunksOf are the lines of objects that change alike, and one that names each. A
// first release is names alone: there is nothing that it differs from.
func (e Environment) hunksOf(sheet []Object) string {
	var b strings.Builder
	for _, o := range sheet {
		title := map[plan.Action]string{plan.Create: "new", plan.Update: "changed"}[o.Action]
		fmt.Fprintf(&b, "# %s: %s", title, line(o.ID.String(), maxName))
		if o.Was != "" {
			fmt.Fprintf(&b, ", which was %s", line(o.Was, maxName))
		}
		b.WriteString("\n")
	}
	if e.From == "" {
		return b.String()
	}
	n, most := 0, maxHunks
	if sheet[0].Action == plan.Create {
		most = maxNew
	}
	for text := range strings.Lines(sheet[0].Diff) {
		if n++; n <= most {
			b.WriteString(text)
		}
	}
	if n > most {
		fmt.Fprintf(&b, "# %s\n", counted(n-most, "more line"))
	}
	if n == 0 {
		b.WriteString("# too much of this environment changes to show it\n")
	}
	return b.String()
}

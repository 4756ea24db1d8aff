package preview

import (
	"fmt"
	"slices"
	"strings"

	"chaperone.dev/chaperone/internal/plan"
	"chaperone.dev/chaperone/internal/policy"
	"chaperone.dev/chaperone/internal/promotion"
)

// Limit is what every forge takes of one comment, and leaves room for a marker by
// which it is found again. GitHub's is the least: 65,536 characters.
const Limit = 59_900

// minLimit holds the headline and what was left out.
const minLimit = 4_000

// Bounds of one list.
const (
	maxRows     = 50
	maxFindings = 25
	maxLines    = 25
)

// Layout is how a preview is written down.
type Layout struct {
	Title string // plain words of ours
	Limit int    // bytes; 0 is Limit
}

// Markdown is the preview for people: what stops the change first, what it does
// last, and folded.
func (p Preview) Markdown(l Layout) string {
	if l.Title == "" {
		l.Title = "What merging this does"
	}
	if l.Limit == 0 {
		l.Limit = Limit
	}
	foot := p.foot()
	out := &page{limit: max(l.Limit, minLimit) - len(foot)}
	out.add("### " + l.Title + "\n\n" + p.headline() + "\n\n")
	p.table(out)
	p.faults(out)
	out.list("**Denied**\n\n", p.denials(true), maxFindings)
	out.list("**Denied without this change, too**\n\n", p.denials(false), maxFindings)
	out.list("**Cannot be taken back**\n\n", p.irreversible(), maxLines)
	out.list("**Deleted**\n\n", p.deleted(), maxLines)
	out.list("**Settings**\n\n", p.settings(), maxLines)
	out.list("**How it comes**\n\n", p.steps(), maxLines)
	out.list("**What is known now**\n\n", p.evidence(), maxLines)
	p.warnings(out)
	p.diffs(out)
	out.limit += len(foot)
	out.add(foot)
	return out.text.String()
}

// headline is the answer in one sentence.
func (p Preview) headline() string {
	var wrong, denied, fine, later int
	for _, e := range p.Environments {
		switch {
		case e.Fault != nil && e.Refused():
			wrong++
		case e.Fault != nil:
		case e.Refused():
			denied++
		case e.Effect == Later:
			later++
		default:
			fine++
		}
	}
	var parts []string
	if wrong > 0 {
		parts = append(parts, counted(wrong, "environment")+" would not run it")
	}
	if denied > 0 {
		parts = append(parts, "policies deny it in "+counted(denied, "environment"))
	}
	switch {
	case len(parts) > 0:
		return "**No: " + strings.Join(parts, ", and ") + ".**" + p.back()
	case fine+later == 0:
		return "No environment changes."
	case fine == 0 && later > 0:
		return "Nothing changes until it is promoted; policies allow it." + p.back()
	}
	return "Policies allow it in " + counted(fine+later, "environment") + "." + p.back()
}

// back says whether the change can be taken back, where there is one.
func (p Preview) back() string {
	changes := false
	for _, e := range p.Environments {
		if len(e.Irreversible) > 0 {
			return " **A part of it cannot be taken back.**"
		}
		changes = changes || e.From != "" && len(e.Objects) > 0 // a first release has nothing before it
	}
	if !changes {
		return ""
	}
	return " All of it can be taken back."
}

// table has a line for each environment, in the order in which they get it.
func (p Preview) table(out *page) {
	if len(p.Environments) == 0 {
		return
	}
	out.limit -= forMore // for the last lines: without an empty one, what follows is a row
	out.add("| environment | gets it | changes | policies |\n|:--|:--|:--|:--|\n")
	last := "\n"
	for i, e := range p.Environments {
		row := fmt.Sprintf("| %s | %s | %s | %s |\n", cell(e.ID.String(), maxName), e.gets(), e.changes(), e.says())
		if i == maxRows || !out.add(row) {
			last = fmt.Sprintf("| and %d more | | | |\n\n", len(p.Environments)-i)
			break
		}
	}
	out.limit += forMore
	out.add(last)
}

// gets says when an environment gets the change.
func (e Environment) gets() string {
	switch {
	case e.Effect == Removed:
		return "never: its file goes, and what it ran is left as it is"
	case e.Fault != nil:
		return "never: it keeps what it runs"
	}
	var parts []string
	switch {
	case e.Effect == Later && e.Pin == "":
		parts = append(parts, "when promoted (it runs nothing yet)")
	case e.Effect == Later:
		parts = append(parts, "when promoted (pinned to "+cell(e.Pin.Short(), maxName)+")")
	case e.Effect == Promoted:
		parts = append(parts, "as its pin moves to "+cell(e.Pin.Short(), maxName))
	case e.Effect == Added:
		parts = append(parts, "as a new environment")
	}
	for _, gate := range e.Gates {
		if gate.Reason != promotion.WaitingForPromotion { // which is said above
			parts = append(parts, prose(gate.Text))
		}
	}
	if len(parts) == 0 {
		return "at once"
	}
	return strings.Join(parts, ", ")
}

func (e Environment) changes() string {
	if e.Fault != nil && len(e.Objects) == 0 || e.Effect == Removed {
		return ""
	}
	counts := map[plan.Action]int{}
	for _, o := range e.Objects {
		counts[o.Action]++
	}
	var parts []string
	for _, one := range []struct {
		action plan.Action
		word   string
	}{{plan.Create, "new"}, {plan.Update, "changed"}, {plan.Delete, "deleted"}, {plan.Keep, "let go of, and kept"}} {
		if n := counts[one.action]; n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", n, one.word))
		}
	}
	if len(e.Settings) > 0 {
		parts = append(parts, counted(len(e.Settings), "setting"))
	}
	if len(parts) == 0 {
		return "none"
	}
	return strings.Join(parts, ", ")
}

// says is what policies say of an environment.
func (e Environment) says() string {
	if e.Verdict == "" {
		return ""
	}
	fresh, standing := e.Stopping()
	waived, warned := 0, 0
	for _, f := range e.New {
		switch {
		case f.Exception != nil:
			waived++
		case !f.Stops():
			warned++
		}
	}
	word, parts := "allowed", []string(nil)
	if e.Verdict != policy.VerdictAllow {
		word = "**denied**"
	}
	for _, one := range []struct {
		n    int
		word string
	}{{len(fresh), "new"}, {len(standing), "standing"}, {len(e.Errors), "not answered"}, {warned, "warned"}, {waived, "waived"}, {len(e.Solved), "solved"}} {
		if one.n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", one.n, one.word))
		}
	}
	if len(parts) == 0 {
		return word
	}
	return word + ": " + strings.Join(parts, ", ")
}

// faults are of environments that would not run.
func (p Preview) faults(out *page) {
	for _, stands := range []bool{false, true} {
		title := "**Would not run**\n\n"
		if stands {
			title = "**Would not run without this change, either**\n\n"
		}
		var lines []string
		for _, e := range p.Environments {
			if e.Fault == nil || e.Fault.Stands != stands {
				continue
			}
			for line := range strings.SplitSeq(strings.TrimSpace(e.Fault.Text), "\n") {
				lines = append(lines, fmt.Sprintf("- %s %s: %s\n", code(e.ID.String(), maxName), e.Fault.Reason, code(line, maxMessage)))
			}
		}
		out.list(title, lines, maxLines)
	}
}

// irreversible are what cannot be taken back, where.
func (p Preview) irreversible() []string {
	var g grouped
	for _, e := range p.Environments {
		for _, sentence := range e.Irreversible {
			g.add(code(e.homely(sentence), maxMessage), e.ID)
		}
	}
	return g.lines()
}

// homely leaves the namespace out of a sentence that begins with an object, so that
// it is the same in all environments.
func (e Environment) homely(sentence string) string {
	for _, o := range e.Objects {
		if inside := "/" + o.ID.Namespace + "/"; o.ID.Namespace != "" && strings.Contains(sentence, inside) {
			return strings.Replace(sentence, inside, "/", 1)
		}
	}
	return sentence
}

// deleted are the objects that go, and those that stay though they are let go of.
func (p Preview) deleted() []string {
	var g grouped
	for _, e := range p.Environments {
		for _, o := range e.Objects {
			id := o.ID
			id.Namespace = ""
			switch o.Action {
			case plan.Delete:
				g.add(code(id.String(), maxName), e.ID)
			case plan.Keep:
				g.add(code(id.String(), maxName)+" is kept ("+plan.Explain(o.Reason)+")", e.ID)
			}
		}
	}
	return g.lines()
}

func (p Preview) settings() []string {
	var g grouped
	for _, e := range p.Environments {
		for _, s := range e.Settings {
			text := code(s.Field, maxName)
			switch {
			case s.Old == "" && s.New != "":
				text += " is set to " + code(s.New, maxName)
			case s.New == "" && s.Old != "":
				text += " is no longer " + code(s.Old, maxName)
			case s.Old != "":
				text += " from " + code(s.Old, maxName) + " to " + code(s.New, maxName)
			}
			g.add(text, e.ID)
		}
	}
	return g.lines()
}

func (p Preview) evidence() []string {
	var lines []string
	for _, e := range p.Environments {
		for _, text := range e.Evidence {
			lines = append(lines, fmt.Sprintf("- %s: %s\n", code(e.ID.String(), maxName), code(text, maxMessage)))
		}
	}
	return lines
}

// foot says what was compared, and by whose rules.
func (p Preview) foot() string {
	var b strings.Builder
	for i, note := range p.Notes {
		if i == maxNotes {
			fmt.Fprintf(&b, "- and %d more\n", len(p.Notes)-i)
			break
		}
		b.WriteString("- " + code(note, maxShort) + "\n")
	}
	if len(p.Notes) > 0 {
		b.WriteString("\n")
	}
	fmt.Fprintf(&b, "<sub>From %s to %s", code(p.Base.Short(), maxShort), code(p.Head.Short(), maxShort))
	if p.Judges != "" {
		b.WriteString(", judged by " + code(p.Judges, maxShort))
	}
	b.WriteString(".</sub>\n")
	return b.String()
}

const (
	maxNotes = 3
	maxShort = 120
)

// grouped are lines that hold in several environments.
type grouped struct {
	order []string
	where map[string][]promotion.ID
}

func (g *grouped) add(text string, id promotion.ID) {
	if g.where == nil {
		g.where = map[string][]promotion.ID{}
	}
	if g.where[text] == nil {
		g.order = append(g.order, text)
	}
	if !slices.Contains(g.where[text], id) {
		g.where[text] = append(g.where[text], id)
	}
}

func (g *grouped) lines() []string {
	lines := make([]string, 0, len(g.order))
	for _, text := range g.order {
		lines = append(lines, "- "+text+", in "+code(together(g.where[text]), maxMessage)+"\n")
	}
	return lines
}

// together names environments, those of one pipeline by what tells them apart,
// and not without end.
func together(ids []promotion.ID) string {
	const most = 8
	text, pipeline := "", ""
	for i, id := range ids {
		switch {
		case i == most:
			return text + fmt.Sprintf(" and %d more", len(ids)-i)
		case text != "" && id.Pipeline == pipeline:
			text += ", "
		case text != "":
			text += "; "
		}
		if id.Pipeline != pipeline {
			text += id.Pipeline + "/"
		}
		text, pipeline = text+id.Name, id.Pipeline
	}
	return text
}

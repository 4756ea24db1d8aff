package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"chaperone.dev/chaperone/internal/promotion"
	"chaperone.dev/chaperone/internal/source"
	"chaperone.dev/chaperone/internal/source/gogit"
)

// moved is what `promote -o json` and `rollback -o json` print.
type moved struct {
	Outcome     gogit.Outcome   `json:"outcome"`
	Environment string          `json:"environment"`
	Branch      string          `json:"branch,omitempty"`
	Commit      source.Revision `json:"commit,omitempty"` // the newest that was written
	From        source.Revision `json:"from,omitempty"`
	To          source.Revision `json:"to"`
	Override    string          `json:"override,omitempty"`
	Reverted    []undone        `json:"reverted,omitempty"` // newest first, each by one commit
	Guilty      source.Revision `json:"guilty,omitempty"`   // the one that cannot be taken back
	Conflicts   []string        `json:"conflicts,omitempty"`
	Detail      string          `json:"detail,omitempty"`
	Pushed      bool            `json:"pushed"`
	Notes       []string        `json:"notes,omitempty"`
	Next        []string        `json:"next,omitempty"` // what is left for people to do
}

// undone is a commit that was taken back.
type undone struct {
	Guilty  source.Revision `json:"guilty"`
	By      source.Revision `json:"by"`
	Subject string          `json:"subject"`
}

// pinFault keeps refusals as they are, and tells a server that could not be
// reached from what the user has to put right.
func pinFault(err error) error {
	var coded *exitError
	if errors.As(err, &coded) {
		return err
	}
	return revertFault(err)
}

// move writes the commit that moves the pin.
func (f *pinFlags) move(ctx context.Context, b *bench, to source.Revision, note source.PromoteNote) (moved, error) {
	note.From = b.env.Revision
	result, err := b.Promote(ctx, gogit.LocalPromote{
		Environment: b.env.ID.String(), File: b.env.File, To: to, Note: note, Branch: b.branch, Direct: f.direct,
		Now: time.Now, Push: f.push, Credentials: f.Credentials, Signing: f.Signing,
	})
	if err != nil {
		return moved{}, err
	}
	m := moved{
		Outcome: result.Outcome, Environment: b.env.ID.String(), Branch: result.Branch, Commit: result.Commit,
		From: b.env.Revision, To: to, Override: note.Override, Detail: result.Detail,
	}
	switch result.Outcome {
	case gogit.Proposed, gogit.Current:
		m.Pushed = f.push
		m.Next = f.next(b, result.Branch, note.Override != "")
	}
	return m, b.sameOverride(&m, note)
}

// sameOverride: a branch that proposes the same already stays as it is, and may
// lack the override that this was all about.
func (b *bench) sameOverride(m *moved, note source.PromoteNote) error {
	if m.Outcome != gogit.Current || note.Override == "" {
		return nil
	}
	proposed, err := b.Commit(m.Commit)
	if err != nil {
		return err
	}
	if _, overrides := proposed.Override(); !overrides {
		m.Outcome, m.Next, m.Pushed = gogit.Foreign, nil, false
		m.Detail = fmt.Sprintf("%s proposes %s already, without the override (%s); delete that branch first", m.Branch, m.To.Short(), m.Commit.Short())
	}
	return nil
}

// next is what is left to do once the commit is written.
func (f *pinFlags) next(b *bench, branch string, override bool) []string {
	var steps []string
	if !f.push {
		steps = append(steps, "git push origin "+branch)
	}
	if f.direct {
		return append(steps, "the daemon sees it at its next poll")
	}
	merge := fmt.Sprintf("open a pull request from %s into %s", branch, b.branch)
	switch asked := b.env.Promotion.Approval; {
	case override:
		merge += ", and have somebody else merge it, with a merge commit: only that makes the override count"
	case asked.Required > 0 || asked.NotAuthor:
		merge += ", and have it merged by " + approvers(asked)
	default:
		merge += ": merging it is the promotion"
	}
	return append(steps, merge)
}

// approvers says in words who has to agree.
func approvers(asked promotion.Approval) string {
	text := "anybody"
	if len(asked.From) > 0 {
		text = "one of " + joined(asked.From)
	}
	if asked.Required > 1 {
		text = fmt.Sprintf("people whom `approval` accepts, %d of them", asked.Required)
		if len(asked.From) > 0 {
			text = fmt.Sprintf("%d of %s", asked.Required, joined(asked.From))
		}
	}
	if asked.NotAuthor {
		text += " who wrote no part of what it brings"
	}
	return text
}

// joined lists names, not without end.
func joined(names []string) string {
	const most = 5
	text := ""
	for i, name := range names {
		switch {
		case i == most:
			return text + fmt.Sprintf(" and %d more", len(names)-most)
		case i > 0:
			text += ", "
		}
		text += name
	}
	return text
}

func (c *command) printMoved(output format, m moved) error {
	if err := c.print(output, m, func(w io.Writer) { m.write(w) }); err != nil {
		return err
	}
	if m.fine() {
		return nil
	}
	return no()
}

// fine reports whether all is now as was asked for.
func (m moved) fine() bool {
	switch m.Outcome {
	case gogit.Proposed, gogit.Current, gogit.Obsolete, gogit.Reverted, gogit.AlreadyReverted, gogit.NothingToRevert:
		return true
	}
	return false
}

func (m moved) write(w io.Writer) {
	say := func(indent int, format string, args ...any) {
		for _, line := range wrapText(fmt.Sprintf(format, args...), tableWidth-indent) {
			fmt.Fprintf(w, "%*s%s\n", indent, "", line)
		}
	}
	m.writeOutcome(w, say)
	if m.Pushed {
		say(0, "%s is pushed.", m.Branch)
	}
	if m.Override != "" && len(m.Next) > 0 {
		say(0, "It overrides closed gates, and is recorded so: %s", m.Override)
	}
	if m.fine() {
		for _, note := range m.Notes {
			say(0, "Note: %s", note)
		}
	}
	if len(m.Next) > 0 {
		say(0, "Next:")
	}
	for _, step := range m.Next {
		if strings.HasPrefix(step, "git ") {
			fmt.Fprintln(w, "  "+clean(step)) // to be copied as it is
			continue
		}
		say(2, "%s", step)
	}
}

func (m moved) writeOutcome(w io.Writer, say func(indent int, format string, args ...any)) {
	from := m.From.Short()
	if from == "" {
		from = "nothing"
	}
	switch m.Outcome {
	case gogit.Proposed:
		say(0, "%s moves from %s to %s with %s on %s.", m.Environment, from, m.To.Short(), m.Commit.Short(), m.Branch)
	case gogit.Current:
		say(0, "%s holds that already: %s moves %s from %s to %s.", m.Branch, m.Commit.Short(), m.Environment, from, m.To.Short())
	case gogit.Obsolete:
		say(0, "%s is pinned to %s already; nothing is written.", m.Environment, m.To.Short())
	case gogit.Reverted:
		say(0, "%s goes back to %s. Reverted on %s, newest first:", m.Environment, m.To.Short(), m.Branch)
		t := table{indent: 2}
		for _, u := range m.Reverted {
			t.add(u.Guilty.Short(), u.Subject, "by "+u.By.Short())
		}
		t.write(w)
	case gogit.NothingToRevert, gogit.AlreadyReverted:
		say(0, "Nothing on %s after %s changes %s any more; nothing is written.", m.Branch, m.To.Short(), m.Environment)
	case gogit.Conflict:
		say(0, "%s cannot be taken back: later commits on %s changed the same. Nothing is written. Conflicting paths:", m.Guilty.Short(), m.Branch)
		fmt.Fprint(w, indented(m.Conflicts))
	case gogit.Uncommitted:
		if len(m.Conflicts) == 0 {
			say(0, "Nothing is written: %s.", m.Detail)
			return
		}
		say(0, "Uncommitted changes are in the way; nothing is written. Commit or stash them first:")
		fmt.Fprint(w, indented(m.Conflicts))
	case gogit.Foreign:
		say(0, "Nothing is written: %s.", m.Detail)
	case gogit.RefusedRevertOfRevert:
		say(0, "%s is itself a revert by Chaperone; nothing is written. To bring its change back, use git revert together with a fix.", m.Guilty.Short())
	default:
		say(0, "That was refused: %s", m.Detail)
	}
}

package cli

import (
	"bufio"
	"cmp"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"chaperone.dev/chaperone/internal/manifest"
	"chaperone.dev/chaperone/internal/plan"
	"chaperone.dev/chaperone/internal/promotion"
)

// formatDiff is unified YAML.
const formatDiff format = "diff"

// diffResult is `diff -o json`.
type diffResult struct {
	Environment promotion.ID    `json:"environment"`
	Revision    string          `json:"revision,omitempty"` // "" for the files as they are
	Digest      manifest.Digest `json:"digest"`
	// Correction says that the release runs already: what differs is drift.
	Correction bool                `json:"correction"`
	Counts     map[plan.Action]int `json:"counts"`
	Changes    []diffLine          `json:"changes"`
	Refused    *diffRefusal        `json:"refused,omitempty"`
	// Contended is what the daemon no longer puts back, in its own words.
	Contended string `json:"contended,omitempty"`
	// Steps are how the daemon would come there, where that is more than an apply.
	Steps   []string `json:"steps,omitempty"`
	Remarks []string `json:"remarks,omitempty"`
}

// diffLine is one object of it.
type diffLine struct {
	Object manifest.ID `json:"object"`
	Action plan.Action `json:"action"`
	Stage  string      `json:"stage,omitempty"`
	Reason string      `json:"reason,omitempty"`
	Why    string      `json:"why,omitempty"` // the reason in words
	// Loses is what goes with an object that is replaced, to follow "loses", and
	// Immutable are the fields for which it is.
	Loses     string   `json:"loses,omitempty"`
	Immutable []string `json:"immutable,omitempty"`
	// Refused is why the daemon does not do it.
	Refused string             `json:"refused,omitempty"`
	Fields  []plan.FieldChange `json:"fields,omitempty"`
	// After is what the change waits for.
	After []plan.Wait `json:"after,omitempty"`
	// Staged: it is tried as soon as what it depends on is there.
	Staged bool `json:"staged,omitempty"`
}

// diffRefusal is why the daemon would not carry the plan out.
type diffRefusal struct {
	Reason  promotion.Reason `json:"reason"`
	Text    string           `json:"text"`
	Objects []diffCulprit    `json:"objects,omitempty"`
}

type diffCulprit struct {
	Object manifest.ID `json:"object"`
	Text   string      `json:"text,omitempty"`
}

func (f compared) result(all bool) diffResult {
	r := diffResult{Environment: f.env.ID, Revision: string(f.revision), Digest: f.Digest, Correction: f.Correcting,
		Counts: map[plan.Action]int{}, Changes: []diffLine{}}
	waits, refused := f.Waits(), f.refusals()
	for _, change := range f.Changes {
		r.Counts[change.Action]++
		if change.Action == plan.Unchanged && !all {
			continue
		}
		line := diffLine{Object: change.ID, Action: change.Action, Reason: change.Reason, Why: plan.Explain(change.Reason),
			Loses: change.Loses, Immutable: change.Immutable, Refused: refused[change.ID], Fields: change.Fields, After: waits[change.ID], Staged: change.Staged}
		switch change.Action {
		case plan.Keep, plan.Forget: // nothing is done about them in any stage
		default:
			line.Stage = change.Stage.String()
		}
		r.Changes = append(r.Changes, line)
	}
	r.Refused, r.Contended = f.refused(), f.Contended
	r.Steps, r.Remarks = f.Steps, f.Remarks
	return r
}

// refused is why the daemon would not carry the plan out, or nil.
func (f compared) refused() *diffRefusal {
	var rejected *plan.Rejected
	switch {
	case f.Refused != nil:
		r := &diffRefusal{Reason: f.Refused.Reason, Text: f.Refused.Text}
		for _, o := range f.Refused.Objects {
			r.Objects = append(r.Objects, diffCulprit{o.ID, o.Text})
		}
		return r
	case errors.As(f.refusal, &rejected):
		r := &diffRefusal{Reason: promotion.ApplyRejected, Text: "the cluster would not take these as they are; nothing is touched"}
		for _, o := range rejected.Objects {
			r.Objects = append(r.Objects, diffCulprit{o.ID, o.Err.Error()})
		}
		return r
	}
	return nil
}

// refusals are the texts of it by object, of all that stand against the plan.
func (f compared) refusals() map[manifest.ID]string {
	texts := map[manifest.ID]string{}
	var rejected *plan.Rejected
	if errors.As(f.refusal, &rejected) {
		for _, o := range rejected.Objects {
			texts[o.ID] = o.Err.Error()
		}
	}
	if f.Refused != nil {
		for _, o := range f.Refused.Objects {
			texts[o.ID] = cmp.Or(o.Text, texts[o.ID])
		}
	}
	return texts
}

// because is a change's reason for people, or "".
func (l diffLine) because() string {
	switch {
	case l.Reason == "":
		return ""
	case l.Why == "":
		return " (" + l.Reason + ")"
	}
	return " (" + l.Reason + ": " + l.Why + ")"
}

// title is the line above a plan.
func (f compared) title() string {
	text := f.env.ID.String() + ": " + f.Summary()
	if f.refusal != nil {
		text += "; refused"
	}
	if !f.Correcting || f.Quiet() {
		return text
	}
	if f.env.Drift == promotion.DriftReport {
		return text + "; drift from what runs, which is reported only"
	}
	return text + "; drift from what runs"
}

var actionColours = map[plan.Action]string{plan.Create: green, plan.Update: yellow, plan.Replace: red, plan.Delete: red}

func (c *command) diffTable(w io.Writer, f compared, lines []diffLine) {
	fmt.Fprintln(w, f.title())
	t := table{indent: 2, paint: func(column int, text string) string {
		if column > 0 {
			return text
		}
		return c.painted(actionColours[plan.Action(text)], text)
	}}
	waits := waiting{}
	for _, l := range lines {
		for _, text := range waits.news(l.After) {
			t.add("wait", text)
		}
		t.add(string(l.Action), l.Object.String()+l.because())
		for _, field := range l.Immutable {
			t.note("for " + field)
		}
		if l.Loses != "" {
			t.note("loses " + l.Loses)
		}
		if l.Refused != "" {
			t.note("refused: " + l.Refused)
		}
		if l.Staged {
			t.note("tried as soon as what it depends on is there")
		}
		for _, field := range l.Fields {
			t.note(by(field))
		}
	}
	t.write(w)
	if told := f.steps(); len(told) > 0 {
		fmt.Fprintln(w, "How it would come:\n  "+strings.Join(told, "\n  "))
	}
	if f.Contended != "" && !f.Quiet() {
		fmt.Fprintln(w, "The daemon does not put all of it back: "+cleanLines(f.Contended))
	}
	if f.Agreement != "" {
		fmt.Fprintln(w, "To have deleted what waits for a person:\n  "+strings.Join(wrapText(clean(f.Agreement), tableWidth-6), " \\\n    "))
	}
	if f.Unasked != nil {
		fmt.Fprintln(w, "The daemon's record could not be read, so this is taken for a new release: "+cleanLines(f.Unasked.Error()))
	}
}

// steps are the sentences on how the release would come, in lines.
func (f compared) steps() []string {
	var lines []string
	for _, text := range slices.Concat(f.Steps, f.Remarks) {
		wrapped := wrapText(clean(text), tableWidth-6)
		lines = append(lines, "- "+strings.Join(wrapped, "\n    "))
	}
	return lines
}

// by is a field with who else wrote it on the cluster.
func by(f plan.FieldChange) string {
	if f.By == "" {
		return f.String()
	}
	return f.String() + ", written by " + f.By
}

// waiting tells each wait once, before the first change that it is for.
type waiting map[plan.Wait]bool

func (w waiting) news(waits []plan.Wait) (texts []string) {
	for _, wait := range waits {
		if !w[wait] {
			w[wait] = true
			texts = append(texts, fmt.Sprintf("until %s is %s", wait.Object, wait.Until))
		}
	}
	return texts
}

// diffText writes the objects as they are and as they will be. What is no
// hunk begins with #, which patch and its like pass over.
func (c *command) diffText(f compared) error {
	w := bufio.NewWriter(c.Out)
	fmt.Fprintln(w, "#", f.title())
	waits, refused, told := f.Waits(), f.refusals(), waiting{}
	for _, change := range f.Changes {
		if change.Action == plan.Unchanged {
			continue
		}
		for _, text := range told.news(waits[change.ID]) {
			fmt.Fprintln(w, c.painted(cyan, "# wait "+clean(text)))
		}
		line := diffLine{Reason: change.Reason, Why: plan.Explain(change.Reason)}
		fmt.Fprintln(w, c.painted(cyan, "# "+string(change.Action)+" "+clean(change.ID.String())+line.because()))
		for _, field := range change.Immutable {
			fmt.Fprintln(w, "# for "+clean(field))
		}
		if change.Loses != "" {
			fmt.Fprintln(w, "# loses "+clean(change.Loses))
		}
		if text := refused[change.ID]; text != "" {
			for _, line := range wrapText("refused: "+clean(text), tableWidth-2) {
				fmt.Fprintln(w, "# "+line)
			}
		}
		c.hunks(w, change)
	}
	for _, text := range slices.Concat(f.Steps, f.Remarks) {
		fmt.Fprintln(w, c.painted(cyan, "# "+clean(text)))
	}
	return w.Flush()
}

func (c *command) hunks(w io.Writer, change plan.Change) {
	text := change.Unified()
	if text == "" && change.Action == plan.Update {
		fmt.Fprintln(w, "# only who owns the fields changes")
	}
	for line := range strings.Lines(text) {
		line = strings.TrimSuffix(line, "\n")
		colour := map[byte]string{'+': green, '-': red, '@': cyan}[line[0]]
		if strings.HasPrefix(line, "+++ ") || strings.HasPrefix(line, "--- ") {
			colour = ""
		}
		fmt.Fprintln(w, c.painted(colour, clean(line)))
	}
}

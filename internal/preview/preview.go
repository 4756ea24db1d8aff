// Package preview says what merging one revision into another would do, in each
// environment: what is created, changed and deleted, what policies say, who gets
// it in which order, what cannot be taken back, and which gates stand before it.
// It guarantees that no value of a Secret enters it, that the same facts give the
// same text byte for byte, and that its Markdown is safe to post: nothing that
// stands in a repository can leave its code span or fence, notify anybody, link
// anywhere or make the text longer than its limit.
package preview

import (
	"chaperone.dev/chaperone/internal/manifest"
	"chaperone.dev/chaperone/internal/plan"
	"chaperone.dev/chaperone/internal/policy"
	"chaperone.dev/chaperone/internal/promotion"
	"chaperone.dev/chaperone/internal/source"
)

// Preview is what merging head into base would do.
type Preview struct {
	Base source.Revision `json:"base"`
	Head source.Revision `json:"head"`
	// Policies is the digest of those that judged; Judges is where they are from.
	Policies manifest.Digest `json:"policies"`
	Judges   string          `json:"judges,omitempty"`
	// Environments are those that the change touches, pipeline by pipeline, in the
	// order in which it passes through them.
	Environments []Environment `json:"environments"`
	// Notes are what else there is to know, a sentence each.
	Notes []string `json:"notes,omitempty"`
}

// Refused reports whether an environment would not take the change, now or when
// its turn comes.
func (p Preview) Refused() bool {
	for _, e := range p.Environments {
		if e.Refused() {
			return true
		}
	}
	return false
}

// Only is the part of a preview that is about one environment, as for the pull
// request that promotes it.
func (p Preview) Only(id promotion.ID) Preview {
	all := p.Environments
	p.Environments = []Environment{}
	for _, e := range all {
		if e.ID == id {
			p.Environments = append(p.Environments, e)
		}
	}
	return p
}

// Effect is what merging does to one environment.
type Effect string

// The effects.
const (
	Changed  Effect = "changed"  // it follows the branch, and gets the change in its turn
	Promoted Effect = "promoted" // its pin moves
	Later    Effect = "later"    // it is pinned, and stays as it is until it is promoted
	Added    Effect = "added"    // its file is new
	Removed  Effect = "removed"  // its file goes; what it ran is left as it is
	Invalid  Effect = "invalid"  // its file or manifests are wrong; it keeps what it runs
	Settled  Effect = "settings" // its file says something else, and it renders the same
)

// Environment is one that the change touches.
type Environment struct {
	ID     promotion.ID   `json:"environment"`
	Effect Effect         `json:"effect"`
	Data   promotion.Data `json:"data,omitempty"`
	After  []promotion.ID `json:"after,omitempty"` // they get it first
	// Pin is what the environment is pinned to after the merge; Pinned before.
	// Either may be "" for nothing yet.
	Pinned source.Revision `json:"pinned,omitempty"`
	Pin    source.Revision `json:"pin,omitempty"`
	// From and To are the releases that are compared; "" is none.
	From manifest.Digest `json:"from,omitempty"`
	To   manifest.Digest `json:"to,omitempty"`
	// Fault is why it would not run at all, or nil.
	Fault *Fault `json:"fault,omitempty"`
	Difference
	Judgement
	Gates    []Gate    `json:"gates"`
	Settings []Setting `json:"settings,omitempty"`
	// Steps are how it gets there where that is more than an apply, and Remarks what
	// people should know of that. A sentence each.
	Steps   []string `json:"steps,omitempty"`
	Remarks []string `json:"remarks,omitempty"`
	// Evidence is what is known of it beside the repository: what upstream has
	// verified, and what holds it now. A sentence each.
	Evidence []string `json:"evidence,omitempty"`
}

// Fault is why an environment would not run.
type Fault struct {
	Reason promotion.Reason `json:"reason"`
	Text   string           `json:"text"` // with file and line; a line for each thing that is wrong
	// Stands: it is so without the change, too.
	Stands bool `json:"stands"`
}

// Refused reports whether the environment would not take the change. What is
// wrong with its file all along is no fault of the change.
func (e Environment) Refused() bool {
	if e.Effect == Removed {
		return false
	}
	return e.Fault != nil && !e.Fault.Stands || e.Fault == nil && e.Verdict != policy.VerdictAllow
}

// Difference is what changes between two renders.
type Difference struct {
	Objects []Object `json:"objects"`
	// Irreversible are the sentences of package plan.
	Irreversible []string `json:"irreversible,omitempty"`
}

// Object is one that changes.
type Object struct {
	ID manifest.ID `json:"object"`
	// Was is its former name, where that ends with a hash of its content.
	Was    string      `json:"was,omitempty"`
	Action plan.Action `json:"action"`           // create, update, delete or keep
	Reason string      `json:"reason,omitempty"` // of what is kept, as in package plan
	// Diff is a unified diff of YAML without its two header lines, redacted and
	// bounded; "" of what is kept, and beyond the bounds of one environment.
	Diff string `json:"diff,omitempty"`
}

// Judgement is what policies say.
type Judgement struct {
	Verdict policy.Verdict `json:"verdict,omitempty"` // "" where there was nothing to judge
	// New findings come with the change; Standing ones are there without it, too;
	// Solved ones go with it.
	New      []policy.Finding   `json:"new,omitempty"`
	Standing []policy.Finding   `json:"standing,omitempty"`
	Solved   []policy.Finding   `json:"solved,omitempty"`
	Errors   []policy.RuleError `json:"errors,omitempty"`
}

// Gate is a condition that the change meets before it runs.
type Gate struct {
	Reason promotion.Reason `json:"reason"` // of waiting for it
	Text   string           `json:"text"`
	Closed bool             `json:"closed"` // it is known to be closed now
}

// Setting is a field of an environment's file that changes, as JSON; "" is absent.
type Setting struct {
	Field string `json:"field"`
	Old   string `json:"old,omitempty"`
	New   string `json:"new,omitempty"`
}

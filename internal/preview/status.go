package preview

import (
	"fmt"
	"strings"

	"chaperone.dev/chaperone/internal/promotion"
)

// State is a commit status, in the words that all forges have.
type State string

// The states.
const (
	Pending State = "pending"
	Success State = "success"
	Failure State = "failure"
)

// MaxStatus is the longest description that forges take, in characters.
const MaxStatus = 140

// Status is what a commit carries for one environment.
type Status struct {
	Context     string `json:"context"`
	State       State  `json:"state"`
	Description string `json:"description"`
}

func statusOf(id promotion.ID, state State, text string) Status {
	return Status{Context: "chaperone/" + id.String(), State: state, Description: clip(visible(text, false), MaxStatus)}
}

// Statuses are those of the head of an open pull request: whether each
// environment that it touches would take it.
func (p Preview) Statuses() []Status {
	var all []Status
	for _, e := range p.Environments {
		state := Success
		if e.Refused() {
			state = Failure
		}
		all = append(all, statusOf(e.ID, state, e.sentence()))
	}
	return all
}

// sentence is the environment in short, without markup.
func (e Environment) sentence() string {
	plain := strings.NewReplacer("*", "", "`", "")
	switch {
	case e.Effect == Removed:
		return "its file goes; what it ran is left as it is"
	case e.Fault != nil:
		first, _, _ := strings.Cut(strings.TrimSpace(e.Fault.Text), "\n")
		return fmt.Sprintf("%s: %s", e.Fault.Reason, first)
	case e.Effect == Later:
		return plain.Replace(e.says()) + "; once promoted, " + e.changes()
	}
	return plain.Replace(e.says()) + "; " + e.changes()
}

// Journey is where a merged commit is in one environment.
type Journey struct {
	Environment promotion.ID
	Verified    bool // it, or one that renders the same there
	Reverted    bool // it was taken back, as it failed there
	// Reason and Text are why it is where it is.
	Reason promotion.Reason
	Text   string
}

// Status tells honestly where the commit is: pending until it is verified.
func (j Journey) Status() Status {
	state, text := Pending, string(j.Reason)
	switch {
	case j.Reverted:
		state = Failure
	case j.Verified:
		return statusOf(j.Environment, Success, "verified")
	}
	if j.Text != "" {
		text += ": " + j.Text
	}
	return statusOf(j.Environment, state, strings.TrimPrefix(text, ": "))
}

package plan

import (
	"fmt"
	"strings"

	"chaperone.dev/chaperone/internal/manifest"
	"chaperone.dev/chaperone/internal/promotion"
)

// maxNamed bounds how many objects an error names.
const maxNamed = 10

// Refusal is why a plan must not be carried out: a guard said no, before the
// cluster was asked to change anything.
type Refusal struct {
	Reason  promotion.Reason // EmptyRender, MassDeletion, ConflictingOwner or ApplyRejected
	Text    string           // what is wrong, and what would be right
	Objects []Culprit        // which objects it is about, in plan order
	// Touched says that something of the release was applied before: another
	// owner was faster with an object that nobody had when the plan was made. The
	// next plan is refused for it before anything is touched.
	Touched bool
}

// Taken is the refusal of a release that holds other owners' objects.
func Taken(w Owner, objects []Culprit) *Refusal {
	return &Refusal{Reason: promotion.ConflictingOwner, Objects: objects,
		Text: "the release of " + w.Environment + " holds objects of other owners; have them taken over with `adopt` where it is said below, or rename them here, or remove them there first"}
}

// NotAllowed is the refusal of a release for which the account lacks rights.
func NotAllowed(objects []Culprit) *Refusal {
	return &Refusal{Reason: promotion.ApplyRejected, Objects: objects,
		Text: "the account may not do what the release needs; nothing was touched"}
}

// Culprit is an object with what is wrong about it.
type Culprit struct {
	ID   manifest.ID
	Text string
}

// BelongsTo is an object of another owner.
func BelongsTo(id manifest.ID, other string) Culprit {
	return Culprit{ID: id, Text: "belongs to " + other}
}

func (r *Refusal) Error() string { return r.Text + list(r.Objects) }

// Rejected is the API server's no to objects of a release. It is met in a dry
// run, before anything is touched, unless the objects were staged.
type Rejected struct {
	Objects []Rejection
	Touched bool // something of the release was applied before
}

// Rejection is one object with the server's answer, already free of secrets.
type Rejection struct {
	ID  manifest.ID
	Err error
}

func (r *Rejected) Error() string {
	culprits := make([]Culprit, len(r.Objects))
	for i, o := range r.Objects {
		culprits[i] = Culprit{ID: o.ID, Text: o.Err.Error()}
	}
	if len(culprits) == 1 {
		return fmt.Sprintf("%s: rejected: %s", culprits[0].ID, culprits[0].Text)
	}
	return fmt.Sprintf("%d objects rejected", len(culprits)) + list(culprits)
}

// Unwrap gives the answers to errors.Is and errors.As.
func (r *Rejected) Unwrap() []error {
	errs := make([]error, len(r.Objects))
	for i, o := range r.Objects {
		errs[i] = o.Err
	}
	return errs
}

func list(objects []Culprit) string {
	if len(objects) == 0 {
		return ""
	}
	var lines []string
	for i, o := range objects {
		if i == maxNamed {
			lines = append(lines, fmt.Sprintf("and %d more", len(objects)-maxNamed))
			break
		}
		line := o.ID.String()
		if o.Text != "" {
			line += ": " + o.Text
		}
		lines = append(lines, line)
	}
	return ": " + strings.Join(lines, "; ")
}

package source

import (
	"fmt"
	"strings"
)

// PromotionBranch is the branch that proposes an environment's next pin.
func PromotionBranch(environment string) string { return "chaperone/promote/" + environment }

// RevertBranch is the branch that offers to take a commit back, where the daemon
// may not, or cannot, do so by itself.
func RevertBranch(guilty Revision) string { return RevertBranches + guilty.Short() }

// RevertBranches is how the names of all of them begin.
const RevertBranches = "chaperone/revert/"

// Urgent reports whether the commit may start outside a schedule.
func (c Commit) Urgent() bool {
	for _, value := range c.Trailer(TrailerUrgent) {
		if value == "true" {
			return true
		}
	}
	return false
}

// Override returns the reason that the commit gives for passing the gates that
// a break-glass opens. One without a reason is none.
func (c Commit) Override() (reason string, found bool) {
	for _, value := range c.Trailer(TrailerOverride) {
		if value = oneLine(value); value != "" {
			return value, true
		}
	}
	return "", false
}

// Promotes returns the revision that this commit moves a pin to, by its own
// account: who relies on it looks at what the commit changes.
func (c Commit) Promotes() (Revision, bool) {
	for _, value := range c.Trailer(TrailerPromotes) {
		if revision, err := ParseRevision(value); err == nil {
			return revision, true
		}
	}
	return "", false
}

// PromoteNote is what a promotion's message tells. From is empty at the first
// promotion. Evidence is one or more sentences on what verified To; it is empty
// when a person promotes by hand without a word.
type PromoteNote struct {
	Environment string
	From, To    Revision
	Evidence    string
	// Override is why gates that are closed are to be opened, where a person asks
	// for that (break-glass).
	Override string
	// Direct: the commit goes to the followed branch itself, so that there is
	// nothing to merge or to decline.
	Direct bool
}

// PromoteMessage writes the message of the commit that moves a pin (design.md §2).
func PromoteMessage(note PromoteNote) string {
	environment := oneLine(note.Environment)
	var b strings.Builder
	fmt.Fprintf(&b, "%s\n\n", promoteSubject(environment, note.To))
	b.WriteString(wrap(promoteStory(environment, note), 72))
	if note.Direct {
		b.WriteString(wrap("To take it back, revert this commit.", 72) + "\n")
	} else {
		b.WriteString(wrap("Merging this commit is the promotion. To decline it, leave the branch unmerged: it is brought "+
			"up to date when a newer revision is verified, and withdrawn when it no longer applies. "+
			"To have nothing proposed for a while, pause the environment.", 72) + "\n")
	}
	writeTrailers(&b, [][2]string{
		{TrailerPromotes, string(note.To)},
		{TrailerEnvironment, environment},
		{TrailerOverride, note.Override},
	})
	return b.String()
}

func promoteSubject(environment string, to Revision) string {
	around := len([]rune("Promote  to " + to.Short()))
	return fmt.Sprintf("Promote %s to %s", clip(environment, maxSubject-around), to.Short())
}

func promoteStory(environment string, note PromoteNote) string {
	story := fmt.Sprintf("This moves %s to %s, its first revision.", environment, note.To)
	if note.From != "" {
		story = fmt.Sprintf("This moves %s from %s to %s.", environment, note.From, note.To)
	}
	if evidence := clip(oneLine(note.Evidence), maxEvidence); evidence != "" {
		story += " " + evidence
		if !strings.HasSuffix(story, ".") && !strings.HasSuffix(story, "…") {
			story += "."
		}
	}
	return story
}

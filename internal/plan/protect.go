package plan

import (
	"chaperone.dev/chaperone/internal/manifest"
	"chaperone.dev/chaperone/internal/promotion"
)

// protects is the entry of the environment's protect that an object is under,
// or "".
func (g Guards) protects(id manifest.ID) string {
	for _, p := range g.Protect {
		if p.Group == id.Group && p.Kind == id.Kind && (p.Name == "" || p.Name == id.Name) {
			return p.String()
		}
	}
	return ""
}

// guardReplace notes a replacement that the environment's protect forbids: it
// begins with a deletion. One that is being deleted already is not ours to keep.
func (b *builder) guardReplace(c Change) {
	if c.Action != Replace || c.Reason == ReasonTerminating {
		return
	}
	if entry := b.Guards.protects(c.ID); entry != "" {
		b.kept = append(b.kept, Culprit{ID: c.ID, Text: "held by " + entry + " in protect, and " + whyReplaced[c.Reason]})
	}
}

var whyReplaced = map[string]string{
	ReasonImmutable:  "fields changed that cannot be changed in place; take the change back, or give it another name",
	ReasonHookFailed: "it failed before and would run again; delete it by hand, or give it another name",
}

func keptRefusal(kept []Culprit) *Refusal {
	return &Refusal{Reason: promotion.ApplyRejected, Objects: kept,
		Text: "the release would delete and make anew what the environment protects"}
}

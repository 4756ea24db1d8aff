package preview

import (
	"fmt"
	"slices"

	"chaperone.dev/chaperone/internal/promotion"
	"chaperone.dev/chaperone/internal/reconcile"
)

// Record is what the daemon has written down about an environment.
type Record struct {
	Status  reconcile.Status
	Message string
	Journal reconcile.Journal
}

// Known is what the daemon's records add to what the repository says: what holds
// the environment now, whether this very release failed there before, and
// whether upstream has verified what a promotion brings.
func (e Environment) Known(records map[promotion.ID]Record) (sentences []string) {
	tell := func(format string, values ...any) { sentences = append(sentences, fmt.Sprintf(format, values...)) }
	if own, known := records[e.ID]; known {
		to := reconcile.Digest(e.To)
		switch {
		case to == "":
		case slices.Contains(own.Journal.Quarantine, to):
			tell("%s: this very release failed here before, and is not applied again by itself", promotion.Quarantined)
		case to == own.Journal.LastGood.Digest:
			tell("it runs this very release, and has verified it")
		}
		if phase := own.Status.Phase; phase != reconcile.PhaseReady && phase != "" {
			tell("it is %s now (%s): %s", phase, own.Status.Reason, own.Message)
		}
	}
	if e.Effect != Promoted {
		return sentences
	}
	for _, id := range e.After {
		record, known := records[id]
		if known {
			tell("%s", verified(id, record.Journal, e))
		} else {
			tell("%s is not known to the daemon", id)
		}
	}
	return sentences
}

// verified is what upstream says about the commit that a pin moves to. Another
// commit that renders the same there counts as well, which is the daemon's to find
// out.
func verified(id promotion.ID, journal reconcile.Journal, e Environment) string {
	for _, v := range journal.Verified {
		if v.Revision == e.Pin {
			return fmt.Sprintf("%s verified %s at %s", id, e.Pin.Short(), moment(v.At))
		}
	}
	if len(journal.Verified) == 0 {
		return fmt.Sprintf("%s has verified nothing yet", id)
	}
	last := journal.Verified[0]
	return fmt.Sprintf("%s has not verified %s itself; it verified %s at %s", id, e.Pin.Short(), last.Revision.Short(), moment(last.At))
}

package e2e

import (
	"testing"

	"chaperone.dev/chaperone/internal/promotion"
	"chaperone.dev/chaperone/internal/reconcile"
)

// One revert a day is allowed. The second guilty commit is left in Git and the
// environment held, although the daemon was killed with the first revert just
// pushed, when it had noted nothing of it, and again while giving up.
func TestBreakerCountsThroughKills(t *testing.T) {
	quick(t)
	w := newWorld(t, []stop{{pipeline: "demo", name: "development", extra: usualVerify + "  maxRevertsPerDay: 1\n"}})
	m := w.mortal()
	w.awaitRuns(development, w.first)
	wait := m.doomInPush(after)
	bad := badStory.begin(w)
	wait()
	if len(w.reverts()) != 1 || w.record(development).Journal.Attempt.Stage != reconcile.StageReverting {
		t.Fatalf("killed with %d reverts at %+v", len(w.reverts()), w.record(development).Journal.Attempt)
	}
	m.revive()
	badStory.end(w, bad)

	wait = m.doom("while giving up", journaled(development, before, func(j reconcile.Journal) bool {
		return j.Hold.Reason == promotion.TooManyReverts
	}))
	second := w.push("break it again", version("3.0.0-errors-100"))
	wait()
	m.revive()
	w.awaitHeld(development, promotion.TooManyReverts)
	w.says(development, "at most 1")
	m.reborn()
	w.awaitHeld(development, promotion.TooManyReverts)
	m.untouched(development)
	if len(w.reverts()) != 1 || w.head() != second {
		t.Errorf("%d reverts and head %s, want one and %s", len(w.reverts()), w.head(), second)
	}
	w.wantApp(development, "1.0.0")
	fixed := w.push("fix it", version("3.0.1"))
	w.awaitRuns(development, fixed)
	w.wantApp(development, "3.0.1")
}

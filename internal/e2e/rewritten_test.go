package e2e

import (
	"testing"

	"chaperone.dev/chaperone/internal/promotion"
	"chaperone.dev/chaperone/internal/reconcile"
	"chaperone.dev/chaperone/internal/testkit/gitserver"
)

// A force-push takes away the commit that runs. Nothing is applied and nothing
// reverted until a person accepts that, also by daemons that start anew; then
// the new branch runs.
func TestPitfall02_RewrittenHistoryIsHeld(t *testing.T) {
	quick(t)
	w := newWorld(t, alone())
	m := w.mortal()
	w.awaitRuns(development, w.first)
	old := goodStory.begin(w)
	w.awaitRuns(development, old)
	alex := w.person("Alex")
	other := alex.rewrite("another version", version("3.0.0"))
	w.awaitHeld(development, promotion.HistoryRewritten)
	w.says(development, old.Short(), "no longer in the history of", other.Short())
	m.untouched(development)
	m.reborn()
	w.awaitHeld(development, promotion.HistoryRewritten)
	further := w.push("and one more", greeting("good night"))
	w.awaitSeen(m.process.Load())
	w.awaitHeld(development, promotion.HistoryRewritten)
	m.untouched(development)
	w.wantApp(development, "2.0.0")

	accepted := func(j reconcile.Journal) bool { return j.Accepted == old }
	wait := m.doom("with the acceptance just noted", journaled(development, after, accepted))
	request := w.retry(development, "")
	wait()
	m.revive()
	r := w.awaitRuns(development, further)
	w.wantApp(development, "3.0.0")
	w.kept("the request that was served", request, r.Journal.Served)
	if len(w.reverts()) != 0 || w.head() != further {
		t.Errorf("the branch was touched: %v", w.reverts())
	}
}

// The same content under another history: only the journal goes on, and no
// object is as much as touched.
func TestRewrittenHistoryWithTheSameContent(t *testing.T) {
	quick(t)
	w := newWorld(t, alone())
	m := w.mortal()
	w.awaitRuns(development, w.first)
	old := goodStory.begin(w)
	w.awaitRuns(development, old)
	m.die()
	stood := m.standing(development)
	alex := w.person("Alex")
	amended := alex.rewrite("say good day, in other words", greeting("good day"), version("2.0.0"))
	if w.tree(amended) != w.tree(old) || amended == old {
		t.Fatalf("%s is not %s in other words", amended, old)
	}
	wait := m.doom("before the journal goes on", journaled(development, before, func(j reconcile.Journal) bool {
		return j.LastGood.Revision == amended
	}))
	m.revive()
	wait()
	m.revive()
	w.awaitRuns(development, amended)
	now := m.standing(development)
	stood.refs = now.refs // it was moved after that
	w.kept("what runs", stood, now)

	// And it takes what comes after as if nothing had been.
	next := w.push("version 3", version("3.0.0"))
	w.awaitRuns(development, next)
	w.wantApp(development, "3.0.0")
	if len(w.commits(gitserver.Main, string(old))) != 1 {
		t.Errorf("%s is in the history again", old)
	}
}

// The commits of a release on its way are taken away by a force-push: what is
// being verified fails, last good comes back, and there is nothing to revert.
func TestRewrittenHistoryInTheMiddleOfARelease(t *testing.T) {
	quick(t)
	w := newWorld(t, alone())
	m := w.mortal()
	w.awaitRuns(development, w.first)
	alex := w.person("Alex")
	wait := m.doom("about to find the guilty commit", staged(development, after, reconcile.StageBlaming))
	bad := badStory.begin(w)
	wait()
	fixed := alex.rewrite("do it right", version("2.0.0"))
	m.revive()
	w.awaitRuns(development, fixed)
	w.wantApp(development, "2.0.0")
	if len(w.reverts()) != 0 || w.head() != fixed || len(w.commits(gitserver.Main, string(bad))) != 1 {
		t.Errorf("head %s with reverts %v, want %s and none", w.head(), w.reverts(), fixed)
	}
}

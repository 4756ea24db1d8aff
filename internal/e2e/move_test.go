package e2e

import (
	"strings"
	"testing"

	"chaperone.dev/chaperone/internal/promotion"
	"chaperone.dev/chaperone/internal/reconcile"
)

// moved is the change of an environment to another namespace; how are further
// lines of its target.
func (w *world) moved(s stop, namespace, how string) map[string]string {
	file := strings.Replace(s.file(namespace, ""), "    namespace: "+namespace+"\n", "    namespace: "+namespace+"\n"+how, 1)
	return map[string]string{
		s.path(): file,
		"overlays/" + s.pipeline + "/" + s.name + "/kustomization.yaml": "resources: [../../../base/" + s.pipeline + "]\nnamespace: " + namespace + "\n",
	}
}

// A file that names another namespace moves nothing by itself. On its word the
// environment starts anew there and lets go of what runs in the old place, all
// of which stays as it is, however often the daemon is killed in between.
func TestTargetMovesOnTheFilesWord(t *testing.T) {
	quick(t)
	stops := alone()
	w := newWorld(t, stops)
	m := w.mortal()
	w.awaitRuns(development, w.first)
	there := w.cluster.Namespace(t)
	from := w.namespaces[development.String()]
	uids := w.uids(development)

	w.push("move", w.moved(stops[0], there, ""))
	w.awaitReason(development, promotion.TargetMoved)
	w.says(development, from, there, "previous: leave")
	m.reborn()
	m.untouched(development)
	w.kept("what is in the new place", 0, w.api.changesIn(there))

	stood := m.standing(development)
	wait := m.doom("with the move not noted", journaled(development, before, func(j reconcile.Journal) bool { return j.LastGood.Digest == "" }))
	next := w.push("leave what is there", w.moved(stops[0], there, "    previous: leave\n"), version("2.0.0"))
	wait()
	w.namespaces[development.String()] = there
	wait = m.doom("in the middle of the first apply there", w.changing(development, after, "services", "app"))
	m.revive()
	wait()
	m.revive()
	w.awaitRuns(development, next)
	w.wantApp(development, "2.0.0")

	w.namespaces[development.String()] = from
	now := m.standing(development)
	stood.refs = now.refs // the test's own
	w.kept("what runs in the old place", stood, now)
	w.kept("the objects there", uids, w.uids(development))

	// From now on it is the new place that matters, and nothing prunes the old one.
	w.namespaces[development.String()] = there
	last := w.push("say good day", greeting("good day"))
	w.awaitRuns(development, last)
	w.namespaces[development.String()] = from
	now = m.standing(development)
	stood.refs = now.refs
	w.kept("what runs in the old place", stood, now)
}

// An environment gets another name in another pipeline. It goes on from what it
// knew: nothing is deleted or created anew, also when the daemon is killed with
// some of its objects under the new name, and what comes after is applied,
// pruned and taken back as ever.
func TestRenamedEnvironmentGoesOn(t *testing.T) {
	quick(t)
	live := promotion.ID{Pipeline: "shop", Name: "live"}
	w := newWorld(t, alone())
	m := w.mortal()
	w.awaitRuns(development, w.first)
	namespace := w.namespaces[development.String()]
	w.namespaces[live.String()] = namespace
	uids := w.uids(development)

	renamed := stop{pipeline: live.Pipeline, name: live.Name, extra: usualVerify + "  formerly: [" + development.String() + "]\n"}
	w.stops = append(w.stops, renamed)
	wait := m.doom("half renamed", w.changing(live, after, "services", "app"))
	next := w.push("rename it", map[string]string{
		alone()[0].path(): "", renamed.path(): renamed.file(namespace, ""),
		"overlays/shop/live/kustomization.yaml": "resources: [../../../base/demo]\nnamespace: " + namespace + "\n",
	})
	wait()
	m.revive()
	w.awaitRuns(live, next)
	w.awaitHeld(development, promotion.Removed)
	w.kept("the objects", uids, w.uids(live))
	w.wantApp(live, "1.0.0")

	good := w.push("say good day", greeting("good day"))
	w.awaitRuns(live, good)
	if texts := w.greetings(live); len(texts) != 1 || w.uses(live) != "good day" {
		t.Errorf("config maps %v are there, want the new one", texts)
	}
	wait = m.doom("about to restore", staged(live, after, reconcile.StageRestoring))
	bad := w.push("break it", version("2.0.0-errors-100"))
	wait()
	m.revive()
	w.await("a revert", func() bool { return w.head() != bad })
	w.awaitRuns(live, w.head())
	w.wantRevert(bad, good, live, "answered 500")
	w.wantApp(live, "1.0.0")
	w.kept("the app", strings.Fields(uids)[0], string(w.app(live).UID))
}

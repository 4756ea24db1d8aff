package e2e

import (
	"strings"
	"testing"

	"chaperone.dev/chaperone/internal/promotion"
	"chaperone.dev/chaperone/internal/source"
	"chaperone.dev/chaperone/internal/testkit/gitserver"
)

// A commit that fails its verification is taken back, on the cluster and in
// Git, whether its pods never get ready or answer wrongly.
func TestFailingCommitIsTakenBack(t *testing.T) {
	quick(t)
	for _, test := range []struct {
		name     string
		change   map[string]string
		evidence string
	}{
		{"never ready", neverReady(), "progress deadline"},
		{"answers 500", version("2.0.0-errors-100"), "answered 500"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, alone())
			w.start()
			w.awaitRuns(development, w.first)
			good := w.push("say good day", greeting("good day"))
			w.awaitRuns(development, good)

			bad := w.push("break it", test.change)
			w.await("a revert", func() bool { return w.head() != bad })
			r := w.awaitRuns(development, w.head())
			w.wantRevert(bad, good, development, test.evidence)
			w.wantApp(development, "1.0.0")
			if texts := w.greetings(development); len(texts) != 1 {
				t.Errorf("config maps %v are left, want last good's", texts)
			}
			if r.Journal.LastRevert.Guilty != bad || r.Journal.LastRevert.Commit != w.head() || len(r.Journal.Quarantine) != 1 {
				t.Errorf("the journal says %+v", r.Journal)
			}
			if !strings.Contains(r.Evidence, test.evidence) {
				t.Errorf("evidence is %q, want %q in it", r.Evidence, test.evidence)
			}
		})
	}
}

// wantRevert makes sure that there is one revert, of a commit, and that it
// brings back the content of another.
func (w *world) wantRevert(guilty, good source.Revision, id promotion.ID, evidence string) {
	w.Helper()
	reverts := w.reverts()
	if len(reverts) != 1 {
		w.Fatalf("%d reverts, want one: %v\n%s", len(reverts), reverts, w.scene())
	}
	revert := reverts[0]
	taken, _ := revert.Reverts()
	if taken != guilty || w.head() != revert.Revision {
		w.Errorf("head %s; %s takes back %s, want it to be the head and to take back %s", w.head(), revert.Revision, taken, guilty)
	}
	if w.tree(revert.Revision) != w.tree(good) {
		w.Errorf("the revert's tree is not that of %s", good)
	}
	for key, want := range map[string]string{
		source.TrailerEnvironment: id.String(), source.TrailerReason: string(promotion.VerificationFailed),
	} {
		if got := revert.Trailer(key); len(got) != 1 || got[0] != want {
			w.Errorf("trailer %s is %q, want %q", key, got, want)
		}
	}
	if release := revert.Trailer(source.TrailerRelease); len(release) != 1 || !strings.HasPrefix(release[0], "sha256:") {
		w.Errorf("trailer %s is %q", source.TrailerRelease, release)
	}
	for _, part := range []string{string(guilty), evidence} {
		if !strings.Contains(strings.Join(strings.Fields(revert.Message), " "), part) {
			w.Errorf("the message does not say %q:\n%s", part, revert.Message)
		}
	}
}

// For a pinned environment the commit that moved the pin is guilty: what it
// points at ran elsewhere, and may stay there.
func TestFailingPromotionIsTakenBack(t *testing.T) {
	quick(t)
	stops := []stop{{pipeline: "demo", name: "development"}, {pipeline: "demo", name: "production", after: "development", pinned: true}}
	w := newWorld(t, stops)
	w.start()
	w.awaitRuns(development, w.first)
	w.push("promote", w.pin(production, w.first))
	w.awaitRuns(production, w.first)

	// It works in development, and not under production's name.
	breaks := map[string]string{
		"overlays/demo/production/kustomization.yaml": "resources: [../../../base/demo]\nnamespace: " + w.namespaces[production.String()] +
			"\nimages: [{name: registry.example.org/demo/app, newTag: 2.0.0-errors-100}]\n"}
	second := w.push("version 2", version("2.0.0"), breaks)
	w.awaitRuns(development, second)
	moved := w.push("promote version 2", w.pin(production, second))
	w.await("a revert", func() bool { return w.head() != moved })
	w.awaitRuns(production, w.first)
	w.wantRevert(moved, second, production, "answered 500")
	w.wantApp(production, "1.0.0")
	w.awaitRuns(development, w.head())
	w.wantApp(development, "2.0.0")
}

// A revert that cannot be merged is a person's. The cluster is at last good
// all the while, and a fix forward gets through.
func TestRevertThatConflictsIsHeld(t *testing.T) {
	quick(t)
	w := newWorld(t, alone())
	w.start()
	w.awaitRuns(development, w.first)
	bad := w.push("break it", neverReady())
	w.await("the broken version to be applied", func() bool { return w.runs(development) == "2.0.0-never-ready" })
	// The same line, and nothing that a render shows.
	const path = "base/demo/deployment.yaml"
	line := image("2.0.0-never-ready")
	later := w.push("comment on it", map[string]string{path: strings.Replace(neverReady()[path], line, line+" # new", 1)})
	r := w.awaitHeld(development, promotion.RevertConflict)
	for _, part := range []string{bad.Short(), path, "branch " + source.RevertBranch(bad) + " takes it back"} {
		if !strings.Contains(r.Message, part) {
			t.Errorf("status says %q; want %q in it", r.Message, part)
		}
	}
	w.wantApp(development, "1.0.0")
	if len(w.reverts()) != 0 || w.head() != later {
		t.Errorf("the branch was touched: %v", w.reverts())
	}
	fixed := w.push("fix it", version("2.0.1"))
	w.awaitRuns(development, fixed)
	w.wantApp(development, "2.0.1")
	w.await("the branch that offered the revert to go", func() bool {
		return gitserver.Git(w.T, w.repo.Dir, "for-each-ref", "refs/heads/"+source.RevertBranches) == ""
	})
}

// A server that refuses the push is not argued with.
func TestRefusedRevertIsHeld(t *testing.T) {
	quick(t)
	w := newWorld(t, alone())
	w.repo.RefusePushes(t, "main is protected: open a pull request")
	w.start()
	w.awaitRuns(development, w.first)
	bad := w.push("break it", version("2.0.0-errors-100"))
	r := w.awaitHeld(development, promotion.RevertRejected)
	for _, part := range []string{bad.Short(), "pre-receive hook declined", "revert it by hand"} {
		if !strings.Contains(r.Message, part) {
			t.Errorf("status says %q; want %q in it", r.Message, part)
		}
	}
	if unblock := r.Status.Reason.Unblock(); unblock == "" {
		t.Error("nobody is named who could change that")
	}
	if w.head() != bad {
		t.Errorf("head is %s, want %s", w.head(), bad)
	}
	w.wantApp(development, "1.0.0")
	pushes := w.git.Count(gitserver.Push)
	w.repo.AcceptPushes(t)

	// A person does it.
	by := w.push("take it back", version("1.0.0"))
	w.awaitRuns(development, by)
	if again := w.git.Count(gitserver.Push); again != pushes {
		t.Errorf("the daemon pushed %d times more", again-pushes)
	}
}

// A check that cannot be asked says nothing about the release: it is held, not
// taken back, and a newer commit gets through.
func TestVerificationThatCannotBeAskedHolds(t *testing.T) {
	quick(t)
	stops := alone()
	w := newWorld(t, stops)
	w.start()
	w.awaitRuns(development, w.first)
	asking := stops[0]
	asking.extra = strings.Replace(usualVerify, "service: app", "service: nobody", 1)
	silent := w.push("ask somebody who is not there", map[string]string{
		asking.path(): asking.file(w.namespaces[development.String()], "")}, version("2.0.0"))
	r := w.awaitHeld(development, promotion.VerificationError)
	if !strings.Contains(r.Message, "answers") {
		t.Errorf("status says %q; want the check's name in it", r.Message)
	}
	if r.Journal.LastGood.Revision != w.first || len(r.Journal.Quarantine) != 0 || len(w.reverts()) != 0 || w.head() != silent {
		t.Errorf("a question without an answer was taken for one: %+v", r.Journal)
	}
	w.wantApp(development, "2.0.0")
	fixed := w.push("ask the app", map[string]string{stops[0].path(): stops[0].file(w.namespaces[development.String()], "")}, version("2.0.1"))
	w.awaitRuns(development, fixed)
}

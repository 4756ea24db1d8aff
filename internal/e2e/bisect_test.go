package e2e

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"chaperone.dev/chaperone/internal/promotion"
	"chaperone.dev/chaperone/internal/reconcile"
	"chaperone.dev/chaperone/internal/source"
)

// parts are a base with ConfigMaps of which each can be changed by itself.
func parts(n int) map[string]string {
	files := map[string]string{}
	resources := []string{"deployment.yaml", "service.yaml"}
	for i := range n {
		resources = append(resources, fmt.Sprintf("part-%d.yaml", i))
		for name, content := range part(i, "old") {
			files[name] = content
		}
	}
	files["base/demo/kustomization.yaml"] = kustomization(resources...)
	return files
}

// part is the change of one of them.
func part(i int, text string) map[string]string {
	return map[string]string{fmt.Sprintf("base/demo/part-%d.yaml", i): fmt.Sprintf(
		"apiVersion: v1\nkind: ConfigMap\nmetadata: {name: part-%d}\ndata: {text: %s}\n", i, text)}
}

// partsThere are the texts of the parts on the cluster, in order.
func (w *world) partsThere(id promotion.ID, n int) []string {
	w.Helper()
	var texts []string
	for i := range n {
		c, err := w.client.CoreV1().ConfigMaps(w.namespaces[id.String()]).Get(w.Context(), fmt.Sprintf("part-%d", i), metav1.GetOptions{})
		if err != nil {
			w.Fatal(err)
		}
		texts = append(texts, c.Data["text"])
	}
	return texts
}

// probed are the revisions that were deployed to find the guilty one, in order.
func (w *world) probed(id promotion.ID) []source.Revision {
	var revisions []source.Revision
	for _, j := range w.api.stored(id) {
		if j.Attempt.Probe && !slices.Contains(revisions, j.Attempt.Release.Revision) {
			revisions = append(revisions, j.Attempt.Release.Revision)
		}
	}
	return revisions
}

// wantTakenBack makes sure that one commit was reverted, that one file, and
// that all else stands as it did at the head before.
func (w *world) wantTakenBack(guilty, before source.Revision, path string) {
	w.Helper()
	reverts := w.reverts()
	if len(reverts) != 1 {
		w.Fatalf("%d reverts, want one: %v\n%s", len(reverts), reverts, w.scene())
	}
	if taken, _ := reverts[0].Reverts(); taken != guilty {
		w.Errorf("%s was taken back, want %s\n%s", taken, guilty, w.scene())
	}
	if changed := w.between(before, w.head()); !slices.Equal(changed, []string{path}) {
		w.Errorf("the revert changes %v, want %s alone", changed, path)
	}
}

// Two commits between two polls, and one that changes nothing here: which of
// them is guilty is found out by deploying the older one. The guilty one is a
// merge, and taken back as one.
func TestGuiltyOneOfSeveralIsTakenBack(t *testing.T) {
	quick(t)
	w := newWorld(t, alone(), parts(1))
	w.start()
	w.awaitRuns(development, w.first)
	alex, rita := w.person("Alex"), w.person("Rita")
	w.git.Down() // no poll in between
	good := w.push("change a part", part(0, "new"))
	w.push("write a note", map[string]string{"NOTES.md": "a note\n"})
	alex.branch("feature", "break it", version("2.0.0-errors-100"))
	alex.write("and say so", greeting("broken"))
	alex.git("push", "-q", "origin", "feature")
	merge := rita.merge("feature")
	w.git.Up(t)

	w.await("a revert", func() bool { return w.head() != merge })
	w.awaitRuns(development, w.head())
	if probed := w.probed(development); !slices.Equal(probed, []source.Revision{good}) {
		t.Errorf("deployed %v to find the guilty one, want %s alone", probed, good)
	}
	reverts := w.reverts()
	if taken, _ := reverts[0].Reverts(); len(reverts) != 1 || taken != merge || w.tree(w.head()) != w.tree(source.Revision(rita.git("rev-parse", "HEAD^1"))) {
		t.Errorf("%v: want one that takes %s back along its first parent", reverts, merge)
	}
	if !strings.Contains(strings.Join(strings.Fields(reverts[0].Message), " "), "Merging the same branch again will not bring the change back") {
		t.Errorf("the message does not say that merging again brings nothing back:\n%s", reverts[0].Message)
	}
	w.wantApp(development, "1.0.0")
	w.kept("the good commit's part", []string{"new"}, w.partsThere(development, 1))
}

// One of five is guilty. The daemon is killed in the middle of a probe's apply,
// between two probes, and when the revert has just been pushed: exactly that
// commit is taken back, once, after at most three probes, and the others come
// forward.
func TestBisectionSurvivesKills(t *testing.T) {
	quick(t)
	const n = 3
	w := newWorld(t, alone(), parts(n))
	m := w.mortal()
	w.awaitRuns(development, w.first)
	uid := w.app(development).UID
	w.git.Down()
	w.push("change a part", part(0, "new"))
	w.push("say good day", greeting("good day"))
	w.push("write a note", map[string]string{"NOTES.md": "a note\n"})
	w.push("change another", part(1, "new"))
	guilty := w.push("break it", version("2.0.0-errors-100"))
	head := w.push("change the last", part(2, "new"))

	// What is deployed first has a new ConfigMap, and then the app that uses it.
	wait := m.doom("in the middle of a probe's apply", w.whileProbing(w.changing(development, after, "configmaps", "app-")))
	w.git.Up(t)
	wait()
	if len(w.greetings(development)) != 2 || w.uses(development) != "hello" {
		t.Fatalf("the app uses %q of %v; want it half applied", w.uses(development), w.greetings(development))
	}
	m.revive()
	wait = m.doom("between two probes", journaled(development, after, func(j reconcile.Journal) bool {
		return j.Attempt.Stage == reconcile.StageBisecting && j.LastGood.Revision != w.first
	}))
	wait()
	if len(w.reverts()) != 0 {
		t.Fatalf("reverted with several suspects left: %v", w.reverts())
	}
	m.revive()
	wait = m.doom("with the revert just pushed", journaled(development, before, func(j reconcile.Journal) bool {
		return j.Attempt.Stage == reconcile.StageNone && j.LastRevert.Guilty != ""
	}))
	wait()
	if stage := w.record(development).Journal.Attempt.Stage; stage != reconcile.StageReverting || len(w.reverts()) != 1 {
		t.Fatalf("killed at stage %q with %d reverts, want it reverting and one", stage, len(w.reverts()))
	}
	m.revive()

	r := w.awaitRuns(development, w.head())
	w.wantTakenBack(guilty, head, "base/demo/deployment.yaml")
	if probed := w.probed(development); len(probed) > 3 || len(probed) < 2 {
		t.Errorf("deployed %v, want at most ⌈log2 5⌉ probes", probed)
	}
	w.wantApp(development, "1.0.0")
	w.kept("the Deployment", uid, w.app(development).UID)
	w.kept("the good commits' parts", []string{"new", "new", "new"}, w.partsThere(development, n))
	if texts := w.greetings(development); len(texts) != 1 || w.uses(development) != "good day" {
		t.Errorf("config maps %v are there, want the newest alone", texts)
	}
	if r.Journal.LastRevert.Guilty != guilty || len(r.Journal.Search.Suspects) != 0 || !slices.Contains(r.Journal.Quarantine, r.Journal.LastRevert.Digest) {
		t.Errorf("the journal says %+v", r.Journal)
	}
}

// uses is the text of the ConfigMap that an environment's app is told to use.
func (w *world) uses(id promotion.ID) string {
	w.Helper()
	return w.greetings(id)[w.app(id).Spec.Template.Spec.Containers[0].EnvFrom[0].ConfigMapRef.Name]
}

// whileProbing keeps a moment for when a probe is under way.
func (w *world) whileProbing(when func(call) moment) func(call) moment {
	probing := false
	return func(c call) moment {
		if journal, stored := c.stored("demo.development"); stored {
			probing = journal.Attempt.Probe
		}
		if !probing {
			return alive
		}
		return when(c)
	}
}

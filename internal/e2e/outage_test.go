package e2e

import (
	"fmt"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"chaperone.dev/chaperone/internal/promotion"
	"chaperone.dev/chaperone/internal/reconcile"
	"chaperone.dev/chaperone/internal/testkit/gitserver"
	"chaperone.dev/chaperone/internal/testkit/localcluster"
)

// Restoring does not need Git. The revert waits until Git is back, through a
// restart, too (argo-cd#21480).
func TestPitfall35_RestoreWithoutGit(t *testing.T) {
	quick(t)
	w := newWorld(t, alone())
	settings := w.settings(nil)
	first := w.spawn(settings)
	w.awaitRuns(development, w.first)
	dead := make(chan struct{})
	w.api.set(once(stages(development, reconcile.StageNone, func(_, to reconcile.Stage) fate {
		if to != reconcile.StageRestoring {
			return fate{}
		}
		return fate{lose: true, sent: true, then: func() { w.git.Down(); first.kill(); close(dead) }}
	})))
	bad := badStory.begin(w)
	w.awaitDeath(dead, "with Git down", reconcile.StageRestoring)
	if w.runs(development) == "1.0.0" {
		t.Fatal("restored before Git was down")
	}
	w.api.set(nil)
	settings["source-cache-dir"] = t.TempDir() // a new pod has no mirror either
	w.spawn(settings)
	w.await("last good to be restored", func() bool { return w.runs(development) == "1.0.0" })
	w.wantApp(development, "1.0.0")
	r := w.awaitReason(development, promotion.SourceUnavailable)
	if r.Journal.Attempt.Failure != promotion.VerificationFailed {
		t.Errorf("the revert is forgotten: %+v", r.Journal)
	}
	w.git.Up(t)
	badStory.end(w, bad)
}

// The API server goes away in the middle of an apply, for longer than requests
// are tried again. When it is back the next pass finishes.
func TestPitfall22_APIServerGoneInTheMiddleOfAnApply(t *testing.T) {
	quick(t)
	cluster := localcluster.StartOwn(t)
	w := worldOn(t, cluster, alone())
	w.start()
	w.awaitRuns(development, w.first)
	half, gone := make(chan struct{}), make(chan struct{})
	w.api.set(once(func(c call) fate {
		if !c.changes(w.namespaces[development.String()], "configmaps/app-") {
			return fate{}
		}
		return fate{lose: true, sent: true, then: func() { close(half); <-gone }}
	}))
	next := w.push("say good day", greeting("good day"), version("2.0.0"))
	w.awaitDeath(half, "the first object applied", reconcile.StageApplying)
	cluster.Stop(t)
	close(gone)
	before := w.api.failed.Load()
	w.await("requests to fail", func() bool { return w.api.failed.Load() > before+5 })
	cluster.Restart(t)
	goodStory.end(w, next)
}

// Whatever is wrong with the source: nothing is deleted, nothing is changed,
// and it says what is wrong (argo-cd#3473, #15058, #23645).
func TestPitfall01_SourceThatCannotBeReadDeletesNothing(t *testing.T) {
	quick(t)
	for _, test := range []struct {
		name     string
		breaks   func(*world)
		reasons  []promotion.Reason
		restores func(*world)
	}{
		{"server gone", func(w *world) { w.git.Down() }, []promotion.Reason{promotion.SourceUnavailable}, func(w *world) { w.git.Up(w) }},
		{"token refused", func(w *world) { w.git.SetToken("another") }, []promotion.Reason{promotion.SourceUnavailable},
			func(w *world) { w.git.SetToken(token) }},
		{"branch gone", func(w *world) { w.repo.Delete(w, gitserver.Main) }, []promotion.Reason{promotion.BranchGone},
			func(w *world) { w.repo.Move(w, gitserver.Main, string(w.first)) }},
		{"no environments", func(w *world) { w.push("empty", map[string]string{alone()[0].path(): ""}) },
			[]promotion.Reason{promotion.InvalidEnvironment}, func(w *world) { w.repo.Move(w, gitserver.Main, string(w.first)) }},
		{"empty render", func(w *world) {
			w.push("render nothing", map[string]string{"base/demo/kustomization.yaml": "resources: []\n"})
		}, []promotion.Reason{promotion.EmptyRender, promotion.RenderFailed}, func(w *world) { w.repo.Move(w, gitserver.Main, string(w.first)) }},
		{"broken render", func(w *world) {
			w.push("name what is not there", map[string]string{"base/demo/kustomization.yaml": kustomization("deployment.yaml", "more.yaml", "absent.yaml")})
		}, []promotion.Reason{promotion.RenderFailed}, func(w *world) { w.repo.Move(w, gitserver.Main, string(w.first)) }},
		{"most of it gone", func(w *world) {
			w.push("render less than half", map[string]string{"base/demo/kustomization.yaml": kustomization("deployment.yaml", "service.yaml")})
		}, []promotion.Reason{promotion.MassDeletion}, func(w *world) { w.repo.Move(w, gitserver.Main, string(w.first)) }},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, alone(), manyMore)
			daemon := w.start()
			w.awaitRuns(development, w.first)
			before := w.uids(development)
			test.breaks(w)
			w.awaitOne(development, test.reasons)
			w.never("something was deleted", time.Second, func() bool { return w.uids(development) != before })
			daemon.stop()
			w.start() // and it is no different for a daemon that knows nothing yet
			w.never("something was deleted after a restart", 2*time.Second, func() bool { return w.uids(development) != before })
			w.awaitOne(development, test.reasons)
			test.restores(w)
			w.awaitRuns(development, w.first)
			if after := w.uids(development); after != before {
				t.Errorf("objects were %s, are %s", before, after)
			}
		})
	}
}

// manyMore are as many objects that a mistake is not one of a few.
var manyMore = func() map[string]string {
	var extra strings.Builder
	for i := range 12 {
		fmt.Fprintf(&extra, "---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: app-more-%d}\n", i)
	}
	return map[string]string{
		"base/demo/kustomization.yaml": kustomization("deployment.yaml", "service.yaml", "more.yaml"),
		"base/demo/more.yaml":          extra.String(),
	}
}()

// awaitOne waits for one of several reasons, told in words.
func (w *world) awaitOne(id promotion.ID, reasons []promotion.Reason) {
	w.Helper()
	w.await(id.String()+" to say what is wrong", func() bool {
		r := w.record(id)
		for _, reason := range reasons {
			if r.Status.Reason == reason && r.Message != "" {
				return true
			}
		}
		return false
	})
}

// uids are the objects of an environment: nothing was deleted while they stay
// the same.
func (w *world) uids(id promotion.ID) string {
	w.Helper()
	ns := w.namespaces[id.String()]
	var all []string
	if d := w.app(id); d != nil {
		all = append(all, string(d.UID))
	}
	services, err := w.client.CoreV1().Services(ns).List(w.Context(), metav1.ListOptions{})
	if err != nil {
		w.Fatal(err)
	}
	for _, s := range services.Items {
		all = append(all, string(s.UID))
	}
	configs, err := w.client.CoreV1().ConfigMaps(ns).List(w.Context(), metav1.ListOptions{})
	if err != nil {
		w.Fatal(err)
	}
	for _, c := range configs.Items {
		if strings.HasPrefix(c.Name, "app-") {
			all = append(all, string(c.UID))
		}
	}
	return strings.Join(all, " ")
}

const patientVerify = `  verify:
    timeout: 10m
    settle: 300ms
`

// An environment that waits for what never comes delays no other, and lets a
// fix through that was pushed meanwhile (argo-cd#11494, #16489).
func TestPitfall28_StuckEnvironmentDelaysNobody(t *testing.T) {
	quick(t)
	stops := []stop{{pipeline: "demo", name: "development", extra: patientVerify}, {pipeline: "other", name: "development"}}
	w := newWorld(t, stops)
	w.start()
	other := promotion.ID{Pipeline: "other", Name: "development"}
	w.awaitRuns(development, w.first)
	w.awaitRuns(other, w.first)
	w.push("never ready", version("2.0.0-never-ready"))
	w.awaitReason(development, promotion.Verifying)
	next := w.push("the other", map[string]string{"base/other/deployment.yaml": deployment("2.0.0")})
	w.awaitRuns(other, next)
	if r := w.record(development); r.Status.Reason != promotion.Verifying {
		t.Errorf("the stuck one is %s, want it verifying still", r.Status.Reason)
	}
	fixed := w.push("fix it", version("2.0.1"))
	w.awaitRuns(development, fixed)
	w.wantApp(development, "2.0.1")
	if len(w.reverts()) != 0 {
		t.Errorf("reverted: %v", w.reverts())
	}
}

// SIGTERM in the middle of a verification: it ends soon and cleanly, and the
// next start goes on.
func TestTerminationIsCleanAndSoon(t *testing.T) {
	quick(t)
	stops := []stop{{pipeline: "demo", name: "development", extra: patientVerify}}
	w := newWorld(t, stops)
	settings := w.settings(nil)
	first := w.spawn(settings)
	w.awaitRuns(development, w.first)
	bad := w.push("never ready", version("2.0.0-never-ready"))
	w.awaitReason(development, promotion.Verifying)
	took, err := first.terminate()
	if err != nil || took > 10*time.Second {
		t.Errorf("ended after %s with %v; want it clean within 10s", took, err)
	}
	if r := w.record(development); r.Journal.Attempt.Stage != reconcile.StageVerifying || r.Journal.Attempt.Release.Revision != bad {
		t.Errorf("left behind %+v", r.Journal)
	}
	w.spawn(settings)
	fixed := w.push("fix it", version("2.0.1"))
	w.awaitRuns(development, fixed)
	w.wantApp(development, "2.0.1")
}

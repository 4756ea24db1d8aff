package e2e

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"chaperone.dev/chaperone/internal/promotion"
	"chaperone.dev/chaperone/internal/testkit/gitserver"
)

// Two controllers that fight over a field did so for ever (helm-controller#643).
// One that keeps changing what is put back is told by its name and left alone;
// everything else is still put back, and a release is not held up.
func TestPitfall20_TwoControllersFight(t *testing.T) {
	quick(t)
	w := newWorld(t, alone())
	w.start()
	w.awaitRuns(development, w.first)
	stop, stopped := make(chan struct{}), make(chan struct{})
	defer func() { close(stop); <-stopped }()
	go func() {
		defer close(stopped)
		for {
			select {
			case <-stop:
				return
			case <-time.After(20 * time.Millisecond):
			}
			w.rival(`{"spec":{"replicas":3}}`)
		}
	}()
	r := w.awaitReason(development, promotion.Contended)
	for _, part := range []string{"Deployment.apps/", "/app", "spec.replicas is 3, not 2 (by rival)", "chaperone and rival"} {
		if !strings.Contains(r.Message, part) {
			t.Errorf("status says %q; want %q in it", r.Message, part)
		}
	}
	w.wantEvents(promotion.Contended)
	gitserver.Git(t, w.repo.Dir, "branch", "next", gitserver.Main)
	if d := w.diff(development, 1); !d.Correction || !strings.Contains(d.Contended, "spec.replicas is 3") {
		t.Errorf("diff says %+v, want that this is not put back", d)
	}
	before := w.written("app")
	if err := w.client.CoreV1().Services(w.namespaces[development.String()]).Delete(t.Context(), "app", deleteNow()); err != nil {
		t.Fatal(err)
	}
	w.await("the deleted Service to be there again", func() bool { return w.hasService(development) })
	w.never("it is fought over", time.Second, func() bool { return w.written("app") != before })
	next := w.push("next", version("1.1.0"))
	w.await("the next release to be verified", func() bool { return w.record(development).Journal.LastGood.Revision == next })
}

// rival writes as another controller does: only where something differs. What
// fails is tried again.
func (w *world) rival(patch string) {
	deployments := w.client.AppsV1().Deployments(w.namespaces[development.String()])
	_, _ = deployments.Patch(w.Context(), "app", types.StrategicMergePatchType, []byte(patch), metav1.PatchOptions{FieldManager: "rival"})
}

// written is when the daemon last wrote to a Deployment.
func (w *world) written(name string) string {
	w.Helper()
	d, err := w.client.AppsV1().Deployments(w.namespaces[development.String()]).Get(w.Context(), name, metav1.GetOptions{})
	if err != nil {
		w.Fatal(err)
	}
	for _, entry := range d.ManagedFields {
		if entry.Manager == "chaperone" {
			text, _ := json.Marshal(entry)
			return string(text)
		}
	}
	return ""
}

// From somebody's edit to its correction it takes a fraction of a second. How
// long depends on the machine, so that is logged; that it does not take the time
// of a poll or of a backoff is not left to it.
func TestDriftIsPutBackSoon(t *testing.T) {
	quick(t)
	w := newWorld(t, alone())
	w.start()
	w.awaitRuns(development, w.first)
	services := w.client.CoreV1().Services(w.namespaces[development.String()])
	port := func() int {
		s, err := services.Get(t.Context(), "app", metav1.GetOptions{})
		if err != nil || len(s.Spec.Ports) == 0 {
			return 0
		}
		return s.Spec.Ports[0].TargetPort.IntValue()
	}
	right := port()
	var took []time.Duration
	edited := func(edit func(), isBack func() bool) {
		began := time.Now()
		edit()
		for !isBack() {
			if time.Since(began) > 20*time.Second {
				t.Fatalf("not put back within 20 s; after %v\n%s", took, w.log.String())
			}
			time.Sleep(3 * time.Millisecond)
		}
		took = append(took, time.Since(began))
		w.awaitRuns(development, w.first)
	}
	for range 2 {
		edited(func() {
			w.edit(development, func(d *deploymentObject) { d.Spec.Template.Spec.Containers[0].Image = image("by-hand") })
		}, func() bool { return w.runs(development) == "1.0.0" })
		edited(func() {
			if _, err := services.Patch(t.Context(), "app", types.JSONPatchType, []byte(`[{"op":"replace","path":"/spec/ports/0/targetPort","value":9999}]`),
				metav1.PatchOptions{FieldManager: "kubectl-edit"}); err != nil {
				t.Fatal(err)
			}
		}, func() bool { return port() == right })
	}
	t.Logf("edit to corrected: %v", took)
	if slices.Min(took) > 3*time.Second {
		t.Errorf("the fastest of %v is slower than 3 s", took)
	}
}

// What changed while the daemon was down is put back as it starts, at once.
func TestDriftWhileTheDaemonWasDown(t *testing.T) {
	quick(t)
	w := newWorld(t, alone())
	daemon := w.start()
	w.awaitRuns(development, w.first)
	daemon.stop()
	w.edit(development, func(d *deploymentObject) { d.Spec.Template.Spec.Containers[0].Image = image("by-hand") })
	w.start()
	w.await("the image to be put back", func() bool { return w.runs(development) == "1.0.0" })
	w.awaitRuns(development, w.first)
}

// Drift of a Secret is told without its values, wherever it is told
// (CVE-2025-23216).
func TestPitfall40_DriftOfASecretIsToldWithoutIt(t *testing.T) {
	quick(t)
	w := newWorld(t, []stop{{pipeline: "demo", name: "development", extra: usualVerify + "  drift: report\n"}}, secret(canaryFirst, ""))
	daemon := w.spawn(w.settings(nil))
	w.awaitRuns(development, w.first)
	w.editSecret(development, "password", canaryByHand)
	r := w.awaitReason(development, promotion.Drifted)
	if !strings.Contains(r.Message, "data.password is <redacted") && !strings.Contains(r.Message, `data.password is "<redacted`) ||
		!strings.Contains(r.Message, "by kubectl-edit") || len(r.Message) > 2000 {
		t.Errorf("status says %q; want the field, redacted, and who wrote it", r.Message)
	}
	w.wantEvents(promotion.Drifted)
	w.seek(daemon, canaryFirst, canaryByHand)
}

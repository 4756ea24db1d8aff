package cli

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"chaperone.dev/chaperone/internal/manifest"
	"chaperone.dev/chaperone/internal/promotion"
	"chaperone.dev/chaperone/internal/reconcile"
	"chaperone.dev/chaperone/internal/state"
)

// good stores a release with one object and its record.
func (in *installation) good(id promotion.ID, space, value string) {
	in.Helper()
	objects, err := manifest.Decode("a.yaml", []byte("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: settings, namespace: "+space+"}\ndata: {a: "+value+"}\n"))
	if err != nil {
		in.Fatal(err)
	}
	set, err := manifest.NewSet(objects)
	if err != nil {
		in.Fatal(err)
	}
	digest, err := set.Digest()
	if err != nil {
		in.Fatal(err)
	}
	good := reconcile.Release{Revision: first, Digest: reconcile.Digest(digest)}
	if err := in.store.PutBundle(in.Context(), id, good.Digest, set); err != nil {
		in.Fatal(err)
	}
	record := state.Record{ID: id, Status: reconcile.Status{Environment: id, Phase: reconcile.PhaseReady, Reason: promotion.UpToDate},
		Environment: promotion.Environment{ID: id, Target: promotion.Target{Namespace: space}, Prune: true},
		Journal:     reconcile.Journal{Running: good, LastGood: good}}
	if there, err := in.store.Get(in.Context(), id); err == nil {
		record.Version = there.Version
	}
	if _, err := in.store.Save(in.Context(), record); err != nil {
		in.Fatal(err)
	}
}

func TestDrill(t *testing.T) {
	t.Parallel()
	in := install(t)
	in.shop()
	if code, out, _ := in.run("drill", "shop/production"); code != exitNo || out != "shop/production: nothing ever verified there, so there is nothing to restore.\n" {
		t.Errorf("without a last good: exit code %d, %q", code, out)
	}
	if code, out, _ := in.run("drill", "shop/staging"); code != exitNo || !strings.Contains(out, "could not be restored now: read last good: bundle of shop/staging") {
		t.Errorf("without its bundle: exit code %d, %q", code, out)
	}
	space := in.cluster.Namespace(t)
	in.good(development, space, "b")
	const could = "shop/development: last good (111111111111) could be restored now; 1 objects tried.\nA restore would:\n  create   ConfigMap/"
	if code, out, complaints := in.run("drill", "shop/development"); code != exitFine || !strings.HasPrefix(out, could) {
		t.Errorf("exit code %d, %q, %q; want %q", code, out, complaints, could)
	}
	code, out, complaints := in.run("drill", "shop/development", "-o", "json")
	var result drillResult
	if err := json.Unmarshal([]byte(out), &result); err != nil || code != exitFine || !result.Restorable || len(result.Changes) != 1 {
		t.Errorf("exit code %d, %v, %q: %+v", code, err, complaints, result)
	}
	if _, err := in.cluster.Client().CoreV1().ConfigMaps(space).Get(t.Context(), "settings", metav1.GetOptions{}); err == nil {
		t.Error("a drill made an object")
	}
	in.good(development, space, strings.Repeat("x", 900)+", b: {c: d}") // not a ConfigMap that a server takes
	if code, out, _ := in.run("drill", "shop/development"); code != exitNo || !strings.Contains(out, "could not be restored now") {
		t.Errorf("refused: exit code %d, %q", code, out)
	}
}

// In the middle of a failure the rollback hooks come first, so they are tried, too.
func TestDrillTriesRollbackHooks(t *testing.T) {
	t.Parallel()
	in := install(t)
	space := in.cluster.Namespace(t)
	in.good(staging, space, "b")
	job := func(name, stage, restarts string) string {
		return "\n---\napiVersion: batch/v1\nkind: Job\nmetadata: {name: " + name + ", namespace: " + space + ", annotations: {chaperone.dev/hook: " + stage +
			"}}\nspec: {template: {spec: {restartPolicy: " + restarts + ", containers: [{name: run, image: registry.local/migrate:1}]}}}\n"
	}
	for restarts, want := range map[string]int{"Never": exitFine, "Always": exitNo} {
		objects, err := manifest.Decode("b.yaml", []byte(job("migrate", "pre-deploy", "Never")+job("unmigrate", "rollback", restarts)))
		if err != nil {
			t.Fatal(err)
		}
		set, err := manifest.NewSet(objects)
		if err != nil {
			t.Fatal(err)
		}
		digest, err := set.Digest()
		if err != nil {
			t.Fatal(err)
		}
		failed := reconcile.Release{Revision: second, Digest: reconcile.Digest(digest)}
		if err := in.store.PutBundle(t.Context(), staging, failed.Digest, set); err != nil {
			t.Fatal(err)
		}
		record, err := in.store.Get(t.Context(), staging)
		if err != nil {
			t.Fatal(err)
		}
		record.Journal.Undo = reconcile.Undo{Release: failed, Migrations: "m1"}
		if _, err := in.store.Save(t.Context(), record); err != nil {
			t.Fatal(err)
		}
		code, out, complaints := in.run("drill", "shop/staging")
		refused := strings.Contains(out, "rollback hooks would be refused: Job.batch/"+space+"/unmigrate")
		if code != want || refused != (want == exitNo) || !strings.Contains(out, "run      Job.batch/"+space+"/unmigrate (a rollback hook)") {
			t.Errorf("%s: exit code %d, %s%s", restarts, code, complaints, out)
		}
	}
}

// A bundle that somebody changed is not restored from, and a drill says so.
func TestDrillOfABrokenBundle(t *testing.T) {
	t.Parallel()
	in := install(t)
	in.good(staging, in.cluster.Namespace(t), "b")
	secrets := in.cluster.Client().CoreV1().Secrets(in.namespace)
	all, err := secrets.List(t.Context(), metav1.ListOptions{LabelSelector: "chaperone.dev/bundle"})
	if err != nil || len(all.Items) != 1 {
		t.Fatalf("%d bundles, %v", len(all.Items), err)
	}
	broken := &all.Items[0]
	broken.Data["bundle"] = broken.Data["bundle"][:len(broken.Data["bundle"])/2]
	if _, err := secrets.Update(t.Context(), broken, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	code, out, _ := in.run("drill", "shop/staging")
	if code != exitNo || !strings.Contains(out, "could not be restored now: read last good: bundle of shop/staging: stored bundle is broken") {
		t.Errorf("exit code %d, %q", code, out)
	}
	code, out, _ = in.run("drill", "shop/staging", "-o", "json")
	var result drillResult
	if err := json.Unmarshal([]byte(out), &result); err != nil || code != exitNo || result.Restorable || result.Problem == "" {
		t.Errorf("exit code %d, %v, %+v", code, err, result)
	}
}

// why tells when the last drill was, and what it came to.
func TestWhyTellsOfTheDrill(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 3, 2, 9, 0, 0, 0, time.UTC)
	digest := release(first).Digest
	for want, d := range map[string]state.Drill{
		"at 2026-03-02 09:00:00Z: last good could be restored (12 objects tried)": {At: at, Digest: digest, Tried: 12},
		"at 2026-03-02 09:00:00Z: last good could not be restored":                {At: at, Digest: digest, Problem: "no stored bundle"},
		"at 2026-03-02 09:00:00Z, of what was last good before":                   {At: at, Digest: "sha256:old"},
		"none yet; since then nobody could tell: a webhook is away":               {Untold: "a webhook is away"},
	} {
		if got := drilled(d, digest); got != want {
			t.Errorf("%+v: %q, want %q", d, got, want)
		}
	}
}

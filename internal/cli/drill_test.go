package cli

import (
	"encoding/json"
	"strings"
	"testing"

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

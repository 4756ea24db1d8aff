package e2e

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"chaperone.dev/chaperone/internal/cli"
	"chaperone.dev/chaperone/internal/manifest"
	"chaperone.dev/chaperone/internal/promotion"
)

// difference is what `chaperone diff -o json` says.
type difference struct {
	Correction bool
	Contended  string
	Changes    []struct {
		Object manifest.ID
		Action string
		Reason string
	}
}

// diff is what a person sees before the daemon has its next pass.
func (w *world) diff(id promotion.ID, want int) difference {
	w.Helper()
	var out, complaints bytes.Buffer
	code := cli.Run(w.Context(), []string{"diff", id.String(), "--repo", w.repo.Dir, "--revision", "next",
		"--kubeconfig", w.cluster.Kubeconfig, "--namespace", w.namespace, "-o", "json"}, cli.Streams{Out: &out, Err: &complaints})
	var d difference
	if err := json.Unmarshal(out.Bytes(), &d); err != nil || code != want {
		w.Fatalf("diff: exit code %d, want %d: %v\n%s%s", code, want, err, out.String(), complaints.String())
	}
	return d
}

// writes are the changes that a plan comes to.
func (d difference) writes() []string {
	all := map[string]bool{}
	for _, change := range d.Changes {
		name := strings.ToLower(change.Object.Kind) + "s/" + change.Object.Name
		switch change.Action {
		case "create", "update":
			all["apply "+name] = true
		case "replace":
			all["apply "+name], all["delete "+name] = true, true
		case "delete":
			all["delete "+name] = true
		}
	}
	return slices.Sorted(maps.Keys(all))
}

// writesIn records the changes that daemons ask for in a namespace, their
// inventory left out, until the function that it returns is called.
func (w *world) writesIn(namespace string) func() []string {
	all := map[string]bool{}
	w.api.set(func(c call) fate {
		_, path, found := strings.Cut(c.Path, "/namespaces/"+namespace+"/")
		if !found || c.Method == http.MethodGet || c.dryRun() || strings.HasPrefix(path, "configmaps/chaperone-inventory-") {
			return fate{}
		}
		verb := map[string]string{http.MethodPatch: "apply", http.MethodDelete: "delete"}[c.Method]
		all[strings.TrimSpace(verb+" "+path)] = true
		return fate{}
	})
	return func() []string {
		w.api.set(nil)
		return slices.Sorted(maps.Keys(all))
	}
}

// What diff shows is what the daemon does next: the same objects, created,
// updated, replaced and deleted, and no other. After that diff says nothing.
func TestDiffIsWhatTheDaemonDoesNext(t *testing.T) {
	quick(t)
	job := func(text string) string {
		return fmt.Sprintf(`apiVersion: batch/v1
kind: Job
metadata: {name: load, annotations: {chaperone.dev/replace: allow}}
spec:
  template:
    spec: {restartPolicy: Never, containers: [{name: load, image: %q, args: [%s]}]}
`, image("1.0.0"), text)
	}
	extra := func(jobText, more string) map[string]string {
		return map[string]string{
			"base/demo/kustomization.yaml": kustomization("deployment.yaml", "service.yaml", "job.yaml", "extra.yaml"),
			"base/demo/job.yaml":           job(jobText),
			"base/demo/extra.yaml":         more,
		}
	}
	config := func(name, value string) string {
		return fmt.Sprintf("---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: %s}\ndata: {a: %s}\n", name, value)
	}
	w := newWorld(t, alone(), extra("one", config("stays", "x")+config("changes", "x")+config("goes", "x")))
	w.start()
	w.awaitRuns(development, w.first)
	if d := w.diff(development, 0); len(d.writes()) > 0 || !d.Correction {
		t.Errorf("at rest: %+v", d)
	}

	namespace := w.namespaces[development.String()]
	w.pause(development, "compare")
	w.awaitReason(development, promotion.Paused)
	next := w.push("change much", version("1.0.1"), extra("two", config("stays", "x")+config("changes", "y")+config("comes", "x")))
	planned := w.diff(development, 1)
	if planned.Correction {
		t.Error("a new release is taken for drift")
	}
	want := []string{"apply configmaps/changes", "apply configmaps/comes", "apply deployments/app", "apply jobs/load", "delete configmaps/goes", "delete jobs/load"}
	if got := planned.writes(); !slices.Equal(got, want) {
		t.Errorf("diff: %v, want %v", got, want)
	}
	w.follows(namespace, planned, func() { w.awaitRuns(development, next) })

	// Drift: the next pass is a correction.
	w.pause(development, "compare")
	w.awaitReason(development, promotion.Paused)
	patch := []byte(`{"data":{"a":"edited"}}`)
	if _, err := w.client.CoreV1().ConfigMaps(namespace).Patch(t.Context(), "stays", types.MergePatchType, patch, metav1.PatchOptions{FieldManager: "kubectl-edit"}); err != nil {
		t.Fatal(err)
	}
	drifted := w.diff(development, 1)
	if !drifted.Correction || !slices.Equal(drifted.writes(), []string{"apply configmaps/stays"}) {
		t.Errorf("drift: %+v", drifted)
	}
	w.follows(namespace, drifted, func() {
		w.await("the edit to be taken back", func() bool {
			c, err := w.client.CoreV1().ConfigMaps(namespace).Get(t.Context(), "stays", metav1.GetOptions{})
			return err == nil && c.Data["a"] == "x"
		})
	})
}

// follows lets the daemon go on, and wants it to do what was planned.
func (w *world) follows(namespace string, planned difference, done func()) {
	w.Helper()
	seen := w.writesIn(namespace)
	w.resume(development)
	done()
	w.awaitRuns(development, w.head())
	if did, want := seen(), planned.writes(); !slices.Equal(did, want) {
		w.Errorf("diff said %v, the daemon did %v", want, did)
	}
	if d := w.diff(development, 0); len(d.writes()) > 0 {
		w.Errorf("diff after it was done: %+v", d)
	}
}

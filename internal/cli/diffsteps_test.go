package cli

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"chaperone.dev/chaperone/internal/manifest"
	"chaperone.dev/chaperone/internal/promotion"
	"chaperone.dev/chaperone/internal/reconcile"
	"chaperone.dev/chaperone/internal/state"
	"chaperone.dev/chaperone/internal/testkit/gitserver"
)

// A release that would come in steps is told with them, and one that cannot come
// so is refused.
func TestDiffTellsTheSteps(t *testing.T) {
	t.Parallel()
	in := install(t)
	target := in.cluster.Namespace(t)
	app := func(image string) string {
		return fmt.Sprintf(`apiVersion: apps/v1
kind: Deployment
metadata: {name: app, namespace: %s}
spec:
  replicas: 3
  selector: {matchLabels: {app: app}}
  template:
    metadata: {labels: {app: app}}
    spec: {containers: [{name: app, image: "registry.example.org/app:%s"}]}
---
apiVersion: v1
kind: Service
metadata: {name: app, namespace: %s}
spec: {selector: {app: app}, ports: [{port: 80}]}
`, target, image, target)
	}
	objects, err := manifest.Decode("app.yaml", []byte(app("1")))
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
	id, good := promotion.ID{Pipeline: "shop", Name: "steps"}, reconcile.Release{Revision: first, Digest: reconcile.Digest(digest)}
	if err := in.store.PutBundle(t.Context(), id, good.Digest, set); err != nil {
		t.Fatal(err)
	}
	if _, err := in.store.Save(t.Context(), state.Record{ID: id, Status: reconcile.Status{Environment: id, Phase: reconcile.PhaseReady, Reason: promotion.UpToDate},
		Environment: promotion.Environment{ID: id, Target: promotion.Target{Namespace: target}}, Journal: reconcile.Journal{Running: good, LastGood: good}}); err != nil {
		t.Fatal(err)
	}
	repo := gitserver.NewRepo(t)
	diff := func(strategy, output string) (code int, out string) {
		t.Helper()
		repo.Commit(t, gitserver.Commit{Files: map[string]string{
			"environments/shop/steps.yaml": "apiVersion: chaperone.dev/v1alpha1\nkind: Environment\nmetadata: {name: steps}\n" +
				"spec:\n  data: none\n  target: {namespace: " + target + "}\n  strategies:\n    - " + strategy + "\n",
			"overlays/shop/steps/kustomization.yaml": "namespace: " + target + "\nresources: [app.yaml]\n",
			"overlays/shop/steps/app.yaml":           app("2"),
		}})
		code, out, complaints := in.run("diff", "shop/steps", "--repo", repo.Dir, "--revision", "head", "-o", output)
		return code, out + complaints
	}
	const canary = "{workload: Deployment/app, canary: {service: app, steps: [{weight: 25}]}}"
	if code, out := diff(canary, "table"); code != exitNo || !strings.Contains(out, "How it would come:\n  - step 1 of 2: Deployment/app-canary is 1 of the 4 pods behind Service/app\n") {
		t.Errorf("exit code %d\n%s", code, out)
	}
	if _, out := diff(canary, "diff"); !strings.Contains(out, "\n# step 1 of 2: Deployment/app-canary ") {
		t.Errorf("%s", out)
	}
	var result diffResult
	if _, out := diff(canary, "json"); json.Unmarshal([]byte(out), &result) != nil || len(result.Steps) != 2 {
		t.Errorf("%s", out)
	}
	code, out := diff("{workload: Deployment/app, blueGreen: {service: app}}", "table")
	if code != exitNo || !strings.Contains(out, "refused") || !strings.Contains(out, "add the label chaperone.dev/track: stable") {
		t.Errorf("exit code %d\n%s", code, out)
	}
}

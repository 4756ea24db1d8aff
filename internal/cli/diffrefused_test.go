package cli

import (
	"encoding/json"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"

	"chaperone.dev/chaperone/internal/plan"
	"chaperone.dev/chaperone/internal/promotion"
)

// Fields that cannot be changed in place are a replacement, which is shown with
// what it would lose before anybody allows it; for scripts as well.
func TestDiffTellsWhatWouldBeReplaced(t *testing.T) {
	t.Parallel()
	s := newShop(t)
	s.kustomization("app.yaml")
	job := func(tag, allowed string) {
		s.write("overlays/shop/staging/app.yaml", "apiVersion: batch/v1\nkind: Job\nmetadata: {name: once, annotations: {"+allowed+"}}\n"+
			"spec: {suspend: true, template: {spec: {restartPolicy: Never, containers: [{name: app, image: 'registry.local/app:"+tag+"'}]}}}\n")
	}
	job("1", "")
	s.apply()
	job("2", "")
	out, complaints := s.diff(exitNo)
	for _, want := range []string{"1 replace; refused\n", "\n  replace  Job.batch/" + s.target + "/once (Immutable", "\n      for spec.template.spec\n",
		"\n      loses its run, with the result and the logs\n", "\n      refused: spec.template.spec cannot be changed in place"} {
		if !strings.Contains(out, want) {
			t.Errorf("no %q in\n%s%s", want, out, complaints)
		}
	}
	var told diffResult
	_, out, _ = s.run("diff", "shop/staging", "--repo", s.repo, "-o", "json")
	if err := json.Unmarshal([]byte(out), &told); err != nil {
		t.Fatal(err)
	}
	if told.Refused == nil || told.Refused.Reason != promotion.ApplyRejected || len(told.Refused.Objects) != 1 || len(told.Changes) != 1 ||
		told.Changes[0].Action != plan.Replace || told.Changes[0].Refused == "" {
		t.Errorf("as JSON: %s", out)
	}
	if out, _ = s.diff(exitNo, "-o", "diff"); !strings.Contains(out, "\n# loses its run") || !strings.Contains(out, "\n# refused: spec.template.spec ") {
		t.Errorf("as a diff:\n%s", out)
	}
	job("2", "chaperone.dev/replace: allow")
	if out, _ = s.diff(exitNo); !strings.Contains(out, "1 replace\n") || strings.Contains(out, "refused") {
		t.Errorf("allowed:\n%s", out)
	}
}

// Who is to agree is told how.
func TestDiffSaysHowToAgree(t *testing.T) {
	t.Parallel()
	s := newShop(t)
	s.apply()
	client, err := dynamic.NewForConfig(s.cluster.Config())
	if err != nil {
		t.Fatal(err)
	}
	maps := client.Resource(schema.GroupVersionResource{Version: "v1", Resource: "configmaps"}).Namespace(s.target)
	if err := maps.Delete(t.Context(), "chaperone-inventory-shop-staging", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	s.kustomization("app.yaml")
	out, _ := s.diff(exitFine)
	want := "kubectl annotate configmap -n " + s.target + " chaperone-inventory-shop-staging chaperone.dev/prune=allow"
	if text := strings.Join(strings.Fields(strings.ReplaceAll(out, "\\\n", "")), " "); !strings.Contains(text, "InventoryRebuilt") || !strings.Contains(text, want) {
		t.Errorf("no %q in\n%s", want, out)
	}
}

package cli

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"chaperone.dev/chaperone/internal/plan"
)

// Changes are shown in the order in which they are made, with what is waited
// for; objects that depend on nothing wait for nothing.
func TestDiffShowsWhatIsWaitedFor(t *testing.T) {
	t.Parallel()
	s := newShop(t)
	group := s.target + ".example.org"
	s.write("environments/shop/staging.yaml", `apiVersion: chaperone.dev/v1alpha1
kind: Environment
metadata: {name: staging}
spec:
  data: none
  target: {namespace: `+s.target+`, allow: [CustomResourceDefinition.apiextensions.k8s.io/widgets.`+group+`]}
`)
	s.write("overlays/shop/staging/kustomization.yaml", "namespace: "+s.target+"\nresources: [widget.yaml, app.yaml]\n")
	s.write("overlays/shop/staging/widget.yaml", `apiVersion: `+group+`/v1
kind: Widget
metadata: {name: w}
---
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: widgets.`+group+`}
spec:
  group: `+group+`
  scope: Namespaced
  names: {kind: Widget, plural: widgets}
  versions: [{name: v1, served: true, storage: true, schema: {openAPIV3Schema: {type: object}}}]
`)
	definition := "CustomResourceDefinition.apiextensions.k8s.io/widgets." + group
	for _, format := range []string{"table", "diff"} {
		out, _ := s.diff(exitNo, "-o", format)
		at := -1
		for _, want := range []string{"create", definition, "wait", "until " + definition, "is", "served", "create", "Widget." + group} {
			next := strings.Index(out[at+1:], want)
			if next < 0 {
				t.Fatalf("-o %s: no %q behind what comes before it in\n%s", format, want, out)
			}
			at += 1 + next
		}
		if n := strings.Count(out, "until "); n != 1 {
			t.Errorf("-o %s: %d waits, want one:\n%s", format, n, out)
		}
	}
	if out, _ := s.diff(exitNo, "-o", "json"); !strings.Contains(out, `"until": "served"`) || !strings.Contains(out, `"staged": true`) {
		t.Errorf("for programs:\n%s", out)
	}
}

// No reason of a plan is left without words.
func TestEveryReasonIsExplained(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile(filepath.Join("..", "plan", "plan.go"))
	if err != nil {
		t.Fatal(err)
	}
	reasons := regexp.MustCompile(`(?m)^\tReason[A-Za-z]+ += "([A-Za-z]+)"`).FindAllStringSubmatch(string(text), -1)
	if len(reasons) < 16 {
		t.Fatalf("found only %d reasons", len(reasons))
	}
	for _, reason := range reasons {
		if plan.Explain(reason[1]) == "" {
			t.Errorf("%s is not explained in diffshow.go", reason[1])
		}
	}
}

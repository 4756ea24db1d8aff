package cli

import (
	"encoding/json"
	"encoding/xml"
	"go/ast"
	"go/parser"
	gotoken "go/token"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/open-policy-agent/opa/v1/rego"
	sarif "github.com/owenrumney/go-sarif/v3/pkg/report/v210/sarif"
)

// judgedShop is the small repository, with a denial in production, one that is
// waived, and a warning in development.
func judgedShop(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS(filepath.Join("testdata", "repo"))); err != nil {
		t.Fatal(err)
	}
	for name, content := range map[string]string{
		"base/app/deployment.yaml": "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: app}\nspec:\n  template:\n    spec:\n      containers:\n" +
			"        - name: app\n          image: registry.example.org/shop/app:latest\n",
		"policies/exceptions/latest.yaml": strings.NewReplacer("TODAY", time.Now().UTC().Format(time.DateOnly),
			"LATER", time.Now().UTC().AddDate(0, 0, 30).Format(time.DateOnly)).Replace(`apiVersion: chaperone.dev/v1alpha1
kind: Exception
metadata: {name: until-spring}
spec:
  rule: image/no-latest
  environments: [shop/production]
  objects: [{apiVersion: apps/v1, kind: Deployment, namespace: shop-production, name: app}]
  reason: The pipeline gives no version yet.
  ticket: SEC-1
  owner: shop@example.org
  requester: kim@example.org
  approvedBy: [lee@example.org, max@example.org]
  rationale: There is no release yet.
  alternativeMeasure: The digest is written down at each deployment.
  requested: TODAY
  expires: LATER
`),
	} {
		write(t, filepath.Join(dir, name), content)
	}
	return dir
}

func write(t *testing.T, name, content string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

// officialSchema is OASIS's own, as a public module carries it.
func officialSchema(t *testing.T) any {
	t.Helper()
	const module = "github.com/owenrumney/go-sarif/v3"
	dir, err := exec.CommandContext(t.Context(), "go", "list", "-m", "-f", "{{.Dir}}", module).Output()
	if err != nil {
		t.Fatal(err)
	}
	file, err := parser.ParseFile(gotoken.NewFileSet(), filepath.Join(strings.TrimSpace(string(dir)), "pkg/report/v210/sarif/schema.go"), nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	var schema any
	ast.Inspect(file, func(n ast.Node) bool {
		if text, ok := n.(*ast.BasicLit); ok && text.Kind == gotoken.STRING {
			if plain, err := strconv.Unquote(text.Value); err == nil {
				_ = json.Unmarshal([]byte(plain), &schema)
			}
		}
		return true
	})
	if top, _ := schema.(map[string]any); top["$schema"] == nil || top["definitions"] == nil {
		t.Fatal("the module has no SARIF schema any more")
	}
	return schema
}

// matchesSchema asks OPA's JSON Schema validator.
func matchesSchema(t *testing.T, schema, document any) (bool, any) {
	t.Helper()
	set, err := rego.New(rego.Query("json.match_schema(input.document, input.schema)"),
		rego.Input(map[string]any{"document": document, "schema": schema})).Eval(t.Context())
	if err != nil || len(set) != 1 {
		t.Fatal(err)
	}
	answer := set[0].Expressions[0].Value.([]any)
	return answer[0].(bool), answer[1]
}

func TestSARIF(t *testing.T) {
	t.Parallel()
	dir := judgedShop(t)
	code, text, complaints := run(t, Streams{}, "check", "--repo", dir, "-o", "sarif")
	if code != exitNo || complaints != "" {
		t.Fatalf("exit code %d: %s", code, complaints)
	}
	var document map[string]any
	if err := json.Unmarshal([]byte(text), &document); err != nil {
		t.Fatal(err)
	}
	schema := officialSchema(t)
	if ok, why := matchesSchema(t, schema, document); !ok {
		t.Errorf("not SARIF 2.1.0: %v", why)
	}
	broken := strings.Replace(text, `"level": "error"`, `"level": "terrible"`, 1)
	var wrong any
	if err := json.Unmarshal([]byte(broken), &wrong); err != nil || broken == text {
		t.Fatal(err)
	}
	if ok, _ := matchesSchema(t, schema, wrong); ok {
		t.Error("the schema accepts a level that there is not")
	}
	report, err := sarif.FromString(text)
	if err != nil || len(report.Runs) != 3 {
		t.Fatalf("%v: %d runs, want one for each environment", err, len(report.Runs))
	}
	checkProduction(t, report.Runs[2])
}

func checkProduction(t *testing.T, production *sarif.Run) {
	t.Helper()
	suppressed := 0
	for _, result := range production.Results {
		physical := result.Locations[0].PhysicalLocation
		if *physical.ArtifactLocation.URI != "base/app/deployment.yaml" || *physical.Region.StartLine < 2 {
			t.Errorf("%s is at %s:%d", *result.RuleID, *physical.ArtifactLocation.URI, *physical.Region.StartLine)
		}
		if len(result.Suppressions) > 0 {
			suppressed++
			if *result.RuleID != "image/no-latest" || !strings.Contains(*result.Suppressions[0].Justification, "approved by lee@example.org, max@example.org") {
				t.Errorf("suppressed %s: %s", *result.RuleID, *result.Suppressions[0].Justification)
			}
		}
		if rule := production.Tool.Driver.Rules[result.RuleIndex]; *rule.ID != *result.RuleID {
			t.Errorf("rule %d is %s, want %s", result.RuleIndex, *rule.ID, *result.RuleID)
		}
	}
	if len(production.Results) < 2 || suppressed != 1 {
		t.Errorf("%d results, %d suppressed; want at least two, and one", len(production.Results), suppressed)
	}
}

// fingerprints of all results, by rule.
func fingerprints(t *testing.T, dir string) map[string]int {
	t.Helper()
	_, text, complaints := run(t, Streams{}, "check", "--repo", dir, "-o", "sarif")
	var log sarifLog
	if err := json.Unmarshal([]byte(text), &log); err != nil {
		t.Fatal(err, complaints)
	}
	found := map[string]int{}
	for _, r := range log.Runs {
		for _, result := range r.Results {
			found[result.RuleID+" "+result.Fingerprints["chaperone/v1"]]++
		}
	}
	return found
}

// A finding keeps its fingerprint when lines move and other content changes.
func TestSARIFFingerprintsAreStable(t *testing.T) {
	t.Parallel()
	dir := judgedShop(t)
	before := fingerprints(t, dir)
	file := filepath.Join(dir, "base/app/deployment.yaml")
	content, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	write(t, file, "# moved\n\n"+strings.Replace(string(content), "spec:\n  template", "spec:\n  replicas: 4\n  template", 1))
	after := fingerprints(t, dir)
	if len(before) < 4 || len(before) != len(after) {
		t.Fatalf("%d fingerprints, then %d", len(before), len(after))
	}
	for print, times := range before {
		if times != 1 || after[print] != 1 {
			t.Errorf("%s: %d times, then %d; want once", print, times, after[print])
		}
	}
}

func TestJUnit(t *testing.T) {
	t.Parallel()
	code, text, complaints := run(t, Streams{}, "check", "--repo", judgedShop(t), "-o", "junit")
	if code != exitNo || complaints != "" {
		t.Fatalf("exit code %d: %s", code, complaints)
	}
	var suites junitSuites
	if err := xml.Unmarshal([]byte(text), &suites); err != nil {
		t.Fatal(err)
	}
	if len(suites.Suites) != 3 || suites.Tests < 6 || suites.Errors != 0 {
		t.Fatalf("%+v", suites)
	}
	development, production := suites.Suites[0], suites.Suites[2]
	if development.Failures != 1 || development.Name != "shop/development" {
		t.Errorf("development: %+v; want the image only: high findings do not stop synthetic data", development)
	}
	for _, c := range production.Cases {
		switch c.Name {
		case "image/no-latest":
			if c.Failure != nil || !strings.Contains(c.Output, "waived by until-spring") {
				t.Errorf("waived: %+v", c)
			}
		case "meta/owner-named":
			if c.Failure == nil || !strings.Contains(c.Failure.Text, "(near base/app/deployment.yaml:3)") || c.File != "base/app/deployment.yaml" {
				t.Errorf("denied: %+v, %+v", c, c.Failure)
			}
		}
	}
}

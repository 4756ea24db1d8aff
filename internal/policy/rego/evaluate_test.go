package rego

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"chaperone.dev/chaperone/internal/policy"
	"chaperone.dev/chaperone/internal/promotion"
)

func TestActionsAndResults(t *testing.T) {
	t.Parallel()
	files := withExamples(textFiles{"test/one/rule.rego": header("test/one") + denyBad("test.one", `
violation contains {"msg": "as gatekeeper has it", "details": {"a": 1}} if input.object.metadata.name == "odd"

warn contains {"msg": "with a path", "path": ["spec", "containers", 0, "image"]} if input.object.metadata.name == "odd"

audit contains {"msg": "of another", "object": {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "api", "namespace": "a"}}} if
	input.object.metadata.name == "odd"
`)})
	files["test/one/rule.rego"] = strings.Replace(files["test/one/rule.rego"], "} if\n\tinput", "} if input", 1)
	report := evaluate(t, loadFiles(t, files), inputOf(t, promotion.DataPHI, configMap("odd")))
	var got []string
	for _, f := range report.Findings {
		got = append(got, fmt.Sprintf("%s|%s|%s|%s", f.Action, f.Object, f.Path, f.Message))
	}
	want := []string{
		"deny|ConfigMap/odd||as gatekeeper has it",
		"warn|ConfigMap/odd|spec.containers[0].image|with a path",
		"audit|Deployment.apps/a/api||of another",
	}
	if strings.Join(got, "\n") != strings.Join(want, "\n") || report.Verdict != policy.VerdictDeny {
		t.Errorf("%s: findings\n%s\nwant\n%s\nerrors %v", report.Verdict, strings.Join(got, "\n"), strings.Join(want, "\n"), report.Errors)
	}
}

func TestAnswersOfAnotherShape(t *testing.T) {
	t.Parallel()
	for body, want := range map[string]string{
		`warn contains 3 if input.object.metadata.name == "odd"`:                               "a result is a number",
		`warn contains {"message": "m"} if input.object.metadata.name == "odd"`:                "a result has no msg",
		`warn contains " " if input.object.metadata.name == "odd"`:                             "a result has no msg",
		`warn contains {"msg": "m", "object": "api"} if input.object.metadata.name == "odd"`:   "object is a text",
		`warn contains {"msg": "m", "object": {}} if input.object.metadata.name == "odd"`:      "object has no kind",
		`warn contains {"msg": "m", "path": 3} if input.object.metadata.name == "odd"`:         "path is a number",
		`warn contains {"msg": "m", "path": [true]} if input.object.metadata.name == "odd"`:    "path has a boolean in it",
		"default warn := set()\n\nwarn := true if input.object.metadata.name == \"odd\"":       "want a set of results, not a boolean",
		"default warn := set()\n\nwarn := {\"a\": 1} if input.object.metadata.name == \"odd\"": "want a set of results, not an object",
		"default warn := set()\n\nwarn := \"text\" if input.object.metadata.name == \"odd\"":   "want a set of results, not a text",
	} {
		report := evaluate(t, loadFiles(t, oneRule(body)), inputOf(t, promotion.DataPHI, configMap("odd")))
		if report.Verdict != policy.VerdictError || !strings.Contains(report.Errors[0].Message, want) || report.Errors[0].Rule != "test/one" {
			t.Errorf("%s: %s %v, want an error with %q", body, report.Verdict, report.Errors, want)
		}
	}
}

func TestRuleIsAskedOnlyWhereItApplies(t *testing.T) {
	t.Parallel()
	files := oneRule(`deny contains "always" if input.object.kind`)
	files["test/one/rule.rego"] = strings.NewReplacer("[synthetic, anonymized, phi]", "[anonymized, phi]").Replace(files["test/one/rule.rego"])
	files["test/one/rule.rego"] = strings.Replace(files["test/one/rule.rego"], "if input.object.kind", `if input.object.metadata.name == "odd"`, 1)
	bundle := loadFiles(t, files)
	secret := strings.Replace(configMap("odd"), "ConfigMap", "Secret", 1)
	for _, test := range []struct {
		data     promotion.Data
		manifest string
		want     int
	}{
		{promotion.DataPHI, configMap("odd"), 1},
		{promotion.DataAnonymized, configMap("odd"), 1},
		{promotion.DataSynthetic, configMap("odd"), 0},
		{promotion.DataPHI, secret, 0},
	} {
		if report := evaluate(t, bundle, inputOf(t, test.data, test.manifest)); len(report.Findings) != test.want || len(report.Errors) > 0 {
			t.Errorf("%s data, %s: %+v, want %d findings", test.data, test.manifest, report, test.want)
		}
	}
}

func TestBounds(t *testing.T) {
	t.Parallel()
	files := oneRule(`deny contains sprintf("finding %d", [n]) if { input.object.metadata.name == "many"; some n in numbers.range(1, 50) }`)
	for name, test := range map[string]struct {
		limits Limits
		want   string
	}{
		"results": {Limits{Results: 10}, "more than 10 results in all"},
		"input":   {Limits{InputBytes: 60}, "larger than the 60 bytes"},
		"time":    {Limits{Evaluation: 1}, "judged 0 of 1 objects: did not answer within 1ns"},
	} {
		limits := test.limits
		limits.Evaluation = 0 // the bundle's examples have to pass
		loadLimits := limits
		if name == "input" {
			loadLimits.InputBytes = 0
		}
		bundle, err := Load(t.Context(), mapFS(files), loadLimits)
		if err != nil {
			t.Fatal(err)
		}
		bundle.limits = test.limits.withDefaults()
		report := evaluate(t, bundle, inputOf(t, promotion.DataPHI, configMap("many")))
		if report.Verdict != policy.VerdictError || len(report.Errors) == 0 || !strings.Contains(report.Errors[0].Message, test.want) {
			t.Errorf("%s: %s %v, want an error with %q", name, report.Verdict, report.Errors, test.want)
		}
	}
}

func TestDeadlineBetweenObjectsIsAnError(t *testing.T) {
	t.Parallel()
	bundle := loadFiles(t, oneRule(""))
	bundle.limits.Evaluation = 1
	e := newEvaluation(bundle, inputOf(t, promotion.DataPHI, configMap("a"), configMap("b")))
	e.run(t.Context(), bundle.rules)
	if len(e.errs) == 0 || !strings.Contains(e.errs[0].Message, "of 2 objects: did not answer within 1ns") {
		t.Errorf("errors %v; want it said that not all were judged", e.errs)
	}
}

func TestCancelledByTheCaller(t *testing.T) {
	t.Parallel()
	bundle := loadFiles(t, oneRule(""))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	report, err := bundle.Evaluate(ctx, inputOf(t, promotion.DataPHI, configMap("good")))
	if !errors.Is(err, context.Canceled) || report.Verdict != policy.VerdictError {
		t.Errorf("%s, %v; want an error both ways", report.Verdict, err)
	}
}

// A panic of the evaluator is an error of the report.
func TestPanicIsAnError(t *testing.T) {
	t.Parallel()
	bundle := loadFiles(t, oneRule(""))
	in := inputOf(t, promotion.DataPHI, configMap("good"))
	in.Images = []policy.Image{}
	in.Objects = append(in.Objects, nil)
	report := evaluate(t, bundle, in)
	if report.Verdict != policy.VerdictError || !strings.Contains(report.Errors[0].Message, "panicked") {
		t.Errorf("%s %v; want the panic reported", report.Verdict, report.Errors)
	}
}

func TestPitfall43_ExpiredExceptionEndsByItself(t *testing.T) {
	t.Parallel()
	files := oneRule("")
	files["exceptions/a.yaml"] = testException
	bundle := loadFiles(t, files)
	in := inputOf(t, promotion.DataPHI, configMap("bad"))
	report := evaluate(t, bundle, in)
	if report.Verdict != policy.VerdictAllow || report.Findings[0].Exception == nil || report.Findings[0].Exception.Ticket != "T-1" {
		t.Errorf("%+v; want the finding reported and waived", report)
	}
	in.Now = testNow.AddDate(0, 0, 13) // past 1 June
	if report = evaluate(t, bundle, in); report.Verdict != policy.VerdictDeny || report.Findings[1].Rule != "exception/expired" {
		t.Errorf("%+v; want it denied once the exception expired", report)
	}
}

// The same input gives the same bytes, also in another process with other map
// seeds, and side by side.
func TestReplay(t *testing.T) {
	t.Parallel()
	bundle := loadSample(t)
	in := inputOf(t, promotion.DataPHI, workloads(16)...)
	want, err := json.Marshal(evaluate(t, bundle, in))
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(want), `"verdict":"deny"`) {
		t.Fatalf("report %.200s; want findings to compare", want)
	}
	var wait sync.WaitGroup
	for range 4 {
		wait.Go(func() {
			for range 3 {
				report, err := bundle.Evaluate(t.Context(), in)
				got, _ := json.Marshal(report)
				if err != nil || string(got) != string(want) {
					t.Errorf("replayed: %.300s, %v; want the same bytes", got, err)
				}
			}
		})
	}
	wait.Wait()
	again, _ := json.Marshal(evaluate(t, loadSample(t), inputOf(t, promotion.DataPHI, workloads(16)...)))
	if string(again) != string(want) {
		t.Error("a bundle loaded again gives other bytes")
	}
}

// Not even a rule that prints the whole input, or errs on it, tells a secret.
func TestPitfall40_NoSecretValueInReportOrErrors(t *testing.T) {
	t.Parallel()
	const canary = "canary-d41d8cd9"
	files := withExamples(textFiles{"test/one/rule.rego": strings.Replace(header("test/one"), "[ConfigMap]", "[ConfigMap, Secret]", 1) +
		denyBad("test.one", `deny contains json.marshal(input) if input.object.kind == "Secret"

audit contains "never" if {
	input.object.kind == "Secret"
	some field in ["data", "stringData"]
	some _, value in input.object[field]
	to_number(value) == 1
}`)})
	report := evaluate(t, loadFiles(t, files), inputOf(t, promotion.DataPHI, `
apiVersion: v1
kind: Secret
metadata:
  name: a
  annotations: {kubectl.kubernetes.io/last-applied-configuration: '{"data":{"k":"canary-d41d8cd9"}}'}
stringData: {k: canary-d41d8cd9}
`, `
apiVersion: v1
kind: Secret
metadata: {name: b}
data: {k: canary-d41d8cd9, canary-key: x}
`))
	encoded, err := json.Marshal(report)
	if err != nil {
		t.Fatal(err)
	}
	if report.Verdict != policy.VerdictError || len(report.Findings) == 0 && len(report.Errors) == 0 {
		t.Fatalf("report %s; want the rule to have said and erred", encoded)
	}
	if text := fmt.Sprintf("%s %v %+v", encoded, report.Errors, report.Findings); strings.Contains(text, canary) {
		t.Errorf("the report tells a secret: %s", text)
	}
}

func TestLongMessagesAreCut(t *testing.T) {
	t.Parallel()
	files := oneRule(`deny contains concat("", ["é", sprintf("%5000s", ["x"])]) if input.object.metadata.name == "odd"`)
	report := evaluate(t, loadFiles(t, files), inputOf(t, promotion.DataPHI, configMap("odd")))
	if n := len(report.Findings[0].Message); n > maxMessage+len("…") {
		t.Errorf("message of %d bytes, want at most %d", n, maxMessage)
	}
}

// Rules that are slow together but not one by one still answer.
func TestBatchThatIsTooSlowIsAskedOneByOne(t *testing.T) {
	t.Parallel()
	files := withExamples(textFiles{
		"test/one/rule.rego": header("test/one") + denyBad("test.one", `deny contains "one" if input.object.metadata.name == "odd"`),
		"test/two/rule.rego": header("test/two") + denyBad("test.two", `deny contains "two" if { input.object.metadata.name == "odd"; to_number("x") == 1 }`),
	})
	report := evaluate(t, loadFiles(t, files), inputOf(t, promotion.DataPHI, configMap("odd"), configMap("bad")))
	var rules []string
	for _, f := range report.Findings {
		rules = append(rules, f.Rule+" "+f.Message)
	}
	// What erred once is not asked again, so that nobody reads half its answers.
	if got := strings.Join(rules, ", "); report.Verdict != policy.VerdictError || len(report.Errors) != 1 || report.Errors[0].Rule != "test/two" {
		t.Errorf("%s, findings %s, errors %v; want test/two named alone", report.Verdict, got, report.Errors)
	}
	if len(rules) < 2 || rules[0] != "test/one bad name" || rules[1] != "test/one one" {
		t.Errorf("findings %q; want those of test/one on both objects", rules)
	}
}

func TestEvaluationIsSafeForConcurrentUse(t *testing.T) {
	t.Parallel()
	bundle := loadFiles(t, oneRule(""))
	in := inputOf(t, promotion.DataPHI, configMap("bad"))
	deadline := time.Now().Add(200 * time.Millisecond)
	var wait sync.WaitGroup
	for range 4 {
		wait.Go(func() {
			for time.Now().Before(deadline) {
				if report, _ := bundle.Evaluate(t.Context(), in); report.Verdict != policy.VerdictDeny {
					t.Errorf("%+v", report)
					return
				}
			}
		})
	}
	wait.Wait()
}

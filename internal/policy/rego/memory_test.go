package rego

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"chaperone.dev/chaperone/internal/policy"
	"chaperone.dev/chaperone/internal/promotion"
	"chaperone.dev/chaperone/internal/testkit/racing"
)

const helpers = `package lib.helpers

# of nothing of the input
limit := data.params.limit + 1

# of the release
names contains o.metadata.name if some o in input.objects

first := min(names)

# of the object
own := input.object.metadata.name

text(value) := sprintf("%v:%v", [value, limit])

about(o) := sprintf("%s in %s", [o.metadata.name, input.environment.name])

by_name[o.metadata.name] contains o.kind if some o in input.objects
`

const helped = `
import data.lib.helpers

deny contains sprintf("%s %s %v %s %v %s", [helpers.own, helpers.first, helpers.text(helpers.own), helpers.about(input.object), count(helpers.names), other]) if {
	helpers.own != "good"
	helpers.by_name[helpers.own]
	other := helpers.own with input.object as {"metadata": {"name": "else"}}
}
`

// What is the same for all objects is found once; what is not is never taken for
// that of another.
func TestMemory(t *testing.T) {
	t.Parallel()
	files := oneRule(helped)
	files["lib/helpers.rego"] = helpers
	files["params/data.yaml"] = "limit: 1\n"
	bundle := loadFiles(t, files)
	messages := func(b *Bundle, environment string) string {
		in := inputOf(t, promotion.DataPHI, configMap("a"), configMap("b"), configMap("c"))
		in.Environment.Name = environment
		var all []string
		for _, finding := range evaluate(t, b, in).Findings {
			all = append(all, finding.Message)
		}
		return strings.Join(all, "\n")
	}
	want := "a a a:2 a in x 3 else\nb a b:2 b in x 3 else\nc a c:2 c in x 3 else"
	if got := messages(bundle, "x"); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	forget(bundle)
	if got := messages(bundle, "y"); got != strings.ReplaceAll(want, " in x", " in y") {
		t.Errorf("in another environment: got\n%s", got)
	}
	other, err := bundle.withParams(map[string]any{"limit": 7})
	if err != nil {
		t.Fatal(err)
	}
	if got := messages(other, "x"); got != strings.ReplaceAll(want, ":2 ", ":8 ") {
		t.Errorf("with other parameters: got\n%s", got)
	}
}

// The whole pack says what OPA says that forgets everything between two queries.
func TestMemoryIsOPAs(t *testing.T) {
	t.Parallel()
	racing.Without(t)
	bundle := loadSample(t)
	in := inputOf(t, promotion.DataPHI, append(workloads(6), related...)...)
	got, want := evaluate(t, bundle, in), judgeAnew(t.Context(), bundle, in)
	if want.Verdict != policy.VerdictDeny || len(want.Findings) < 50 {
		t.Fatalf("%s with %d findings, errors %v: too little to compare", want.Verdict, len(want.Findings), want.Errors)
	}
	if fmt.Sprintf("%+v", got.Findings) != fmt.Sprintf("%+v", want.Findings) {
		t.Errorf("got\n%+v\nwant\n%+v", got.Findings, want.Findings)
	}
}

var related = []string{`apiVersion: v1
kind: Service
metadata: {name: service-1, namespace: novamind}
spec: {type: NodePort, selector: {app: service-1}, ports: [{port: 80}]}
`, `apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata: {name: service-2, namespace: novamind}
spec: {scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: service-2}, minReplicas: 2, maxReplicas: 2}
`, `apiVersion: policy/v1
kind: PodDisruptionBudget
metadata: {name: service-3, namespace: novamind}
spec: {selector: {matchLabels: {app: service-3}}, maxUnavailable: 0}
`, `apiVersion: v1
kind: ConfigMap
metadata: {name: settings, namespace: novamind}
data: {DB_PASSWORD: hunter2, LOG_LEVEL: debug, EHR_URL: "http://ehr.example.net/"}
`, `apiVersion: v1
kind: PersistentVolumeClaim
metadata: {name: data, namespace: novamind}
spec: {storageClassName: plain}
`}

// What a helper did not find because of an error is nothing that is known: every
// rule that asks it errs, each time.
func TestMemoryOfErrors(t *testing.T) {
	t.Parallel()
	files := withExamples(textFiles{
		"test/one/rule.rego": header("test/one") + denyBad("test.one", `deny contains "too many" if data.lib.helpers.limit < count(input.object.metadata.name)`),
		"test/two/rule.rego": releaseHeader("test/two") + strings.Replace(denyBad("test.two", `deny contains "too many" if data.lib.helpers.most < count(input.objects)`),
			"input.object.metadata", "input.objects[_].metadata", 1),
		"lib/helpers.rego": "package lib.helpers\n\nlimit := to_number(data.params.limit)\n\nmost := to_number(input.environment.name)\n",
		"params/data.yaml": "limit: \"9\"\n",
	})
	for name := range files {
		if strings.Contains(name, "/testdata/") {
			files[name] += "---\napiVersion: chaperone.dev/v1alpha1\nkind: PolicyInput\nenvironment: {name: \"9\"}\n"
		}
	}
	loaded := loadFiles(t, files)
	bundle, err := loaded.withParams(map[string]any{"limit": "none"})
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		forget(bundle)
		report := evaluate(t, bundle, inputOf(t, promotion.DataPHI, configMap("a"), configMap("b")))
		if report.Verdict != policy.VerdictError || len(report.Errors) != 2 {
			t.Errorf("verdict %s, errors %v; want those of both rules", report.Verdict, report.Errors)
		}
	}
}

// A call is remembered by its arguments, also where they are alike.
func TestMemoryOfCalls(t *testing.T) {
	t.Parallel()
	files := oneRule(`
double(x) := x * 2

swap(x, y) := [y, x]

deny contains sprintf("%v", [all]) if {
	all := [r | some x in numbers.range(1, 50); some y in [1, 2, "1", [1], {"a": 1}]; r := [double(x), swap(x, y)]; r != [x * 2, [y, x]]]
	count(all) > 0
}
`)
	bundle := loadFiles(t, files)
	report := evaluate(t, bundle, inputOf(t, promotion.DataPHI, configMap("a")))
	if report.Verdict != policy.VerdictAllow || len(report.Findings) > 0 {
		t.Errorf("verdict %s, findings %v", report.Verdict, slices.Collect(func(yield func(string) bool) {
			for _, f := range report.Findings {
				yield(f.Message)
			}
		}))
	}
}

package rego

import (
	"strings"
	"testing"
	"time"

	oparego "github.com/open-policy-agent/opa/v1/rego"

	"chaperone.dev/chaperone/internal/policy"
	"chaperone.dev/chaperone/internal/promotion"
)

// opaFinds is what OPA's library makes of the same rule with its defaults: the
// number of denials, or -1 when it errs. This is what each guard is against.
func opaFinds(t *testing.T, module, name string) int {
	t.Helper()
	object := map[string]any{"metadata": map[string]any{"name": name}, "data": map[string]any{"memory": "lots"}}
	set, err := oparego.New(oparego.Query("data.test.one.deny"), oparego.Module("rule.rego", module),
		oparego.Input(map[string]any{"object": object})).Eval(t.Context())
	if err != nil {
		return -1
	}
	if len(set) == 0 {
		return 0
	}
	results, _ := set[0].Expressions[0].Value.([]any)
	return len(results)
}

// Each of these rules is about the ConfigMap named guarded, says nothing under
// OPA's defaults, and must stop the release or the bundle here.
func TestWhatOPALetsPassIsAnErrorHere(t *testing.T) {
	t.Parallel()
	const guarded = `input.object.metadata.name == "guarded"; `
	for _, test := range []struct{ name, body, want string }{
		{"a built-in function errs", `deny contains "too much" if { ` + guarded + `units.parse_bytes(input.object.data.memory) > 100 }`,
			"rule.rego:16: eval_builtin_error: units.parse_bytes"},
		{"a built-in function gets another type", `deny contains "no" if { ` + guarded + `startswith(json.unmarshal("5"), "a") }`,
			"eval_type_error: startswith"},
		{"a number is no number", `deny contains "no" if { ` + guarded + `to_number(input.object.data.memory) > 100 }`, "to_number"},
	} {
		module := denyBad("test.one", test.body)
		if n := opaFinds(t, module, "guarded"); n != 0 {
			t.Errorf("%s: OPA's default finds %d; want 0, or this guard is for nothing", test.name, n)
		}
		bundle := loadFiles(t, oneRule(test.body))
		in := inputOf(t, promotion.DataSynthetic, strings.Replace(configMap("guarded"), "key: value", "memory: lots", 1))
		report := evaluate(t, bundle, in)
		if report.Verdict != policy.VerdictError || len(report.Errors) != 1 || report.Errors[0].Rule != "test/one" ||
			!strings.Contains(report.Errors[0].Message, test.want) {
			t.Errorf("%s: %s %+v; want an error of test/one with %q", test.name, report.Verdict, report.Errors, test.want)
		}
	}
}

func TestConflictNamesTheRule(t *testing.T) {
	t.Parallel()
	files := oneRule(`deny contains sprintf("%s", [level]) if input.object.metadata.name == "guarded"

level := "low"

level := input.object.data.level`)
	report := evaluate(t, loadFiles(t, files), inputOf(t, promotion.DataPHI,
		strings.Replace(configMap("guarded"), "key: value", "level: high", 1)))
	if report.Verdict != policy.VerdictError || len(report.Errors) != 1 || !strings.Contains(report.Errors[0].Message, "eval_conflict_error") {
		t.Errorf("%s %+v; want the conflict", report.Verdict, report.Errors)
	}
}

// An entry point without a value is no answer. OPA gives no result, which reads
// like no denial.
func TestUndefinedIsNoAnswer(t *testing.T) {
	t.Parallel()
	body := `deny := {"denied"} if input.object.metadata.name in {"bad", "odd"}

deny := set() if input.object.metadata.name == "good"`
	if n := opaFinds(t, "package test.one\n"+body, "guarded"); n != 0 {
		t.Errorf("OPA's default finds %d, want 0", n)
	}
	files := withExamples(textFiles{"test/one/rule.rego": header("test/one") + "package test.one\n\n" + body})
	report := evaluate(t, loadFiles(t, files), inputOf(t, promotion.DataPHI, configMap("guarded")))
	if report.Verdict != policy.VerdictError || !strings.Contains(report.Errors[0].Message, "deny: undefined") {
		t.Errorf("%s %+v; want undefined to be an error", report.Verdict, report.Errors)
	}
	if report := evaluate(t, loadFiles(t, files), inputOf(t, promotion.DataPHI, configMap("odd"))); report.Verdict != policy.VerdictDeny {
		t.Errorf("%s %+v; want a denial", report.Verdict, report.Errors)
	}
}

// What OPA makes of a rule by default: it is silent, it runs it whatever comes of
// it, or it refuses it too.
const (
	silent  = "silent"
	runs    = "runs"
	refuses = "refuses"
)

// refusals are bundles that are refused here. Most of them OPA takes, and then
// has nothing to say: misspelled fields and data are undefined, and so are
// functions that fail and negations whose operand is missing.
var refusals = []struct{ name, opa, body, want string }{
	{"misspelled input", silent, `deny contains "no" if input.enviroment.data == "phi"`, "undefined ref: input.enviroment"},
	{"misspelled field of the environment", silent, `deny contains "no" if input.environment.date == "phi"`, "undefined ref: input.environment.date"},
	{"misspelled field of an image", silent, `deny contains "no" if { some i in input.images; i.digets == "" }`, "undefined ref"},
	{"misspelled data", silent, `deny contains "no" if input.object.metadata.name in data.parms.forbidden`,
		"test/one/rule.rego:16: data.parms.forbidden is defined by no rule and no data file"},
	{"misspelled rule", silent, `deny contains "no" if data.lib.names.forbiden[input.object.metadata.name]`, "data.lib.names.forbiden is defined by no rule"},
	{"misspelled package", silent, `deny contains "no" if data.libs.names.forbidden[input.object.metadata.name]`, "is defined by no rule"},
	{"negated call of what is missing", silent, `deny contains "no" if not startswith(input.object.data.owner, "team-")`,
		"`input.object.data.owner` may be undefined"},
	{"negated membership of what is missing", silent, `deny contains "no" if not input.object.data.owner in {"team-a"}`,
		"`input.object.data.owner` may be undefined"},
	{"negated function of what is missing", silent, "deny contains \"no\" if not ok(input.object.data.owner)\n\nok(o) if o == \"a\"",
		"`input.object.data.owner` may be undefined"},
	{"negated comparison of what is missing", silent, `deny contains "no" if not input.object.data.replicas >= 2`,
		"`input.object.data.replicas` may be undefined"},
	{"negated call of a partial function", silent, "deny contains \"no\" if not startswith(owner(input.object), \"a\")\n\n" +
		`owner(o) := o.data.owner`, "`owner(input.object)` may be undefined"},
	{"network", silent, `deny contains "no" if http.send({"method": "get", "url": "http://127.0.0.1"}).status_code == 200`, "undefined function http.send"},
	{"resolver", runs, `deny contains "no" if count(net.lookup_ip_addr("localhost")) > 0`, "undefined function net.lookup_ip_addr"},
	{"process environment", silent, `deny contains "no" if opa.runtime().env.HOME == "/"`, "undefined function opa.runtime"},
	{"clock", runs, `deny contains "no" if time.now_ns() > 0`, "use input.now"},
	{"chance", runs, `deny contains "no" if rand.intn("a", 2) == 1`, "undefined function rand.intn"},
	{"unique ids", runs, `deny contains uuid.rfc4122("a")`, "undefined function uuid.rfc4122"},
	{"trace", runs, `deny contains "no" if trace("a")`, "undefined function trace"},
	{"tokens", silent, `deny contains "no" if io.jwt.decode("a")`, "undefined function io.jwt.decode"},
	{"rego.v2", silent, "import rego.v2", "import"},
	{"unused import", silent, `import data.lib.names`, "unused"},
	{"unused variable", silent, `deny contains "no" if { x := 1; input.object.metadata.name == "a" }`, "unused"},
	{"recursion", refuses, `deny contains "no" if deny["a"]`, "recursive"},
	{"old syntax", refuses, `deny[msg] { msg := "no" }`, "opa fmt --write --v0-v1"},
	{"not always a set", silent, `warn := {"text"} if input.object.metadata.name == "odd"`, "warn: undefined; want a set of results"},
	{"a function for an answer", silent, `audit(x) := x`, "audit is not a set of results"},
}

func refusalFiles(body string) textFiles {
	files := oneRule(body)
	files["lib/names.rego"] = "package lib.names\n\nforbidden contains \"evil\"\n"
	files["params/data.yaml"] = "forbidden: [evil]\n"
	if strings.HasPrefix(body, "import") {
		files["test/one/rule.rego"] = strings.Replace(header("test/one")+denyBad("test.one", ""), "package test.one\n", "package test.one\n\n"+body+"\n", 1)
	}
	return files
}

func TestWhatOPALetsPassRefusesTheBundle(t *testing.T) {
	t.Parallel()
	for _, test := range refusals {
		got := refusal(t, refusalFiles(test.body))
		if !strings.Contains(got, test.want) || !strings.Contains(got, "test/one/rule.rego:") && !strings.Contains(got, "test/one/testdata/") {
			t.Errorf("%s: refused with %q, want the place and %q", test.name, got, test.want)
		}
	}
}

// Each of these guards is for something: OPA's own default lets the rule pass.
func TestOPAsDefaultLetsPass(t *testing.T) {
	t.Parallel()
	for _, test := range refusals {
		n := opaFinds(t, refusalFiles(test.body)["test/one/rule.rego"], "guarded")
		if test.opa == silent && n != 0 || test.opa == runs && n < 0 || test.opa == refuses && n >= 0 {
			t.Errorf("%s: OPA's default finds %d; want it to be one that %s", test.name, n, test.opa)
		}
	}
}

func TestNegationsThatAreFine(t *testing.T) {
	t.Parallel()
	files := oneRule(`deny contains "a" if { not startswith(object.get(input.object, ["metadata", "name"], ""), "g"); odd }

deny contains "b" if { not input.environment.name in {"production"}; odd }

deny contains "c" if { name := input.object.metadata.name; not name in names; odd }

deny contains "d" if { not input.object.data.replicas == 2; odd }

deny contains "e" if { not input.object.immutable; odd }

deny contains "f" if { not input.environment.name in data.params.names; odd }

default odd := false

odd if input.object.metadata.name == "odd"

names contains "good"`)
	files["params/data.yaml"] = "names: [production]\n"
	report := evaluate(t, loadFiles(t, files), inputOf(t, promotion.DataPHI, configMap("odd")))
	var got []string
	for _, f := range report.Findings {
		got = append(got, f.Message)
	}
	if want := "a c d e"; strings.Join(got, " ") != want {
		t.Errorf("findings %q, want %s; errors %v", got, want, report.Errors)
	}
}

// Endless work is stopped, the rule named, and the others still answer.
func TestEndlessWork(t *testing.T) {
	t.Parallel()
	files := withExamples(textFiles{
		"test/one/rule.rego": header("test/one") + denyBad("test.one",
			`deny contains "sum" if { input.object.metadata.name == "guarded"; count([1 | some x in numbers.range(1, 100000); some y in numbers.range(1, 100000); x == y]) == 1 }`),
		"test/two/rule.rego": header("test/two") + denyBad("test.two", `deny contains "found" if input.object.metadata.name == "guarded"`),
	})
	bundle, err := Load(t.Context(), mapFS(files), Limits{Query: 300 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	report := evaluate(t, bundle, inputOf(t, promotion.DataPHI, configMap("guarded"), configMap("other")))
	if report.Verdict != policy.VerdictError || len(report.Errors) != 1 || report.Errors[0].Rule != "test/one" ||
		!strings.Contains(report.Errors[0].Message, "did not answer within 300ms") {
		t.Errorf("%s %+v; want test/one named", report.Verdict, report.Errors)
	}
	if len(report.Findings) != 1 || report.Findings[0].Rule != "test/two" {
		t.Errorf("findings %+v; want that of test/two", report.Findings)
	}
}

package rego

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"chaperone.dev/chaperone/internal/manifest"
	"chaperone.dev/chaperone/internal/policy"
	"chaperone.dev/chaperone/internal/promotion"
	"chaperone.dev/chaperone/internal/testkit/racing"
)

const tooMuch = "took too much memory"

// hostile are rules that want to take the process with them. Each is asked
// about the ConfigMap named guarded. They are not run side by side: the memory
// of one would be counted against another.
var hostile = []struct{ name, body, want string }{
	{"an endless loop", `deny contains "x" if { count([1 | some a in numbers.range(1, 100000); some b in numbers.range(1, 100000); a == b]) == 1 }`,
		"did not answer within"},
	{"a range of a billion", `deny contains "x" if count(numbers.range(1, 1000000000)) == 1`, tooMuch},
	{"10 GB of ranges", `deny contains "x" if count([r | some i in numbers.range(1, 100); r := numbers.range(i, 10000000)]) == 1`, tooMuch},
	{"a text that doubles", "a := replace(\"xxxxxxxxxxxxxxxx\", \"x\", \"xxxxxxxxxxxxxxxx\")\n\nb := replace(a, \"x\", a)\n\nc := replace(b, \"x\", b)\n\n" +
		`deny contains "x" if count(replace(c, "x", c)) == 1`, tooMuch},
	{"many references to one text", "a := concat(\"\", [\"xxxxxxxxxxxxxxxx\" | some _ in numbers.range(1, 10000)])\n\n" +
		`deny contains "x" if count(json.marshal([a | some _ in numbers.range(1, 10000)])) == 1`, "would give more than"},
	{"a text of many texts", "a := concat(\"\", [\"xxxxxxxxxxxxxxxx\" | some _ in numbers.range(1, 10000)])\n\n" +
		`deny contains sprintf("%v", [[a | some _ in numbers.range(1, 10000)]])`, "would give more than"},
	{"a number of a billion bits", `deny contains "x" if bits.lsh(1, 100000000000) == 1`, "shifts by more than"},
	{"a replacement of everything", "a := concat(\"\", [\"xxxxxxxxxxxxxxxx\" | some _ in numbers.range(1, 10000)])\n\n" +
		`deny contains "x" if count(regex.replace(a, "x", a)) == 1`, "could give more than"},
	{"many results", `deny contains sprintf("%d", [n]) if some n in numbers.range(1, 200000)`, "more than 10000 results"},
	{"a deep value", "deny contains \"x\" if json.unmarshal(concat(\"\", array.concat([\"[\" | some _ in numbers.range(1, 200000)], " +
		"[\"]\" | some _ in numbers.range(1, 200000)]))) == 1", "exceeded max depth"},
	{"deep recursion", "f(n) := f(n + 1)\n\ndeny contains \"x\" if f(1) == 1", "recursive"},
	{"the network", `deny contains "x" if http.send({"method": "get", "url": "http://127.0.0.1:1"}).status_code == 200`, "undefined function http.send"},
	{"the environment", `deny contains "x" if opa.runtime().env.PATH == "x"`, "undefined function opa.runtime"},
	{"the clock", `deny contains "x" if time.now_ns() > 1`, "use input.now"},
}

// A hostile policy is refused, or its verdict is an error that names it, and
// the others still answer. It is never a pass, and the process stays.
func TestHostilePolicies(t *testing.T) {
	racing.Without(t)
	for _, test := range hostile {
		began := time.Now()
		body := guard(test.body)
		files := withExamples(textFiles{
			"test/one/rule.rego": header("test/one") + denyBad("test.one", body),
			"test/two/rule.rego": header("test/two") + denyBad("test.two", `warn contains "fine" if input.object.metadata.name == "guarded"`),
		})
		limits := Limits{Query: 30 * time.Second, Memory: 96 << 20}
		if strings.Contains(test.want, "did not answer") {
			limits.Query = 500 * time.Millisecond
		}
		bundle, err := Load(t.Context(), mapFS(files), limits)
		if err != nil {
			if !strings.Contains(err.Error(), test.want) {
				t.Errorf("%s: refused with %v; want %q", test.name, err, test.want)
			}
			continue
		}
		report := evaluate(t, bundle, inputOf(t, promotion.DataPHI, configMap("guarded"), configMap("other")))
		blamed := false
		for _, e := range report.Errors {
			slow := test.want == tooMuch && strings.Contains(e.Message, "did not answer within") // on a machine that is
			blamed = blamed || e.Rule == "test/one" && (slow || strings.Contains(e.Message, test.want))
		}
		if report.Verdict != policy.VerdictError || !blamed {
			t.Errorf("%s: %s %.600v; want an error of test/one with %q", test.name, report.Verdict, report.Errors, test.want)
		}
		if test.want != tooMuch && len(report.Findings) != 1 {
			t.Errorf("%s: findings %+v; want that of test/two", test.name, report.Findings)
		}
		t.Logf("%s: %s", test.name, time.Since(began).Round(time.Millisecond))
	}
}

// guard makes a rule's denials about one object only, so that its examples pass.
func guard(body string) string {
	var out []string
	for line := range strings.SplitSeq(body, "\n") {
		head, rest, conditional := strings.Cut(line, " if ")
		switch {
		case !strings.HasPrefix(line, "deny "):
		case !conditional:
			line = head + ` if input.object.metadata.name == "guarded"`
		case strings.HasPrefix(rest, "{"):
			line = head + ` if { input.object.metadata.name == "guarded";` + strings.TrimPrefix(rest, "{")
		default:
			line = head + ` if { input.object.metadata.name == "guarded"; ` + rest + " }"
		}
		out = append(out, line)
	}
	return strings.Join(out, "\n")
}

// Manifests of any size and shape are judged or refused, within the bounds, and
// never let through unjudged.
func TestHostileManifests(t *testing.T) {
	t.Parallel()
	racing.Without(t)
	bundle := compileSample(t)
	bundle.limits.Query = 300 * time.Millisecond
	const pod = "apiVersion: v1\nkind: Pod\nmetadata: {name: a, namespace: b}\nspec:\n  containers:\n"
	deep := strings.Repeat("{a: ", 900) + "1" + strings.Repeat("}", 900)
	bomb := "a: &a [x,x,x,x,x,x,x,x,x]\n"
	for i := range 9 {
		bomb += fmt.Sprintf("%c: &%c [*%c,*%c,*%c,*%c,*%c,*%c,*%c,*%c,*%c]\n", 'b'+i, 'b'+i, 'a'+i, 'a'+i, 'a'+i, 'a'+i, 'a'+i, 'a'+i, 'a'+i, 'a'+i, 'a'+i)
	}
	for _, test := range []struct{ name, text, refused string }{
		{"10 MB", configMap("a") + "  large: " + strings.Repeat("x", 10<<20) + "\n", "hostile.yaml:"},
		{"10 MB in one text", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a, namespace: b}\ndata:\n  large: " + strings.Repeat("x", 10<<20) + "\n", ""},
		{"10,000 containers", pod + strings.Repeat("  - {name: c, image: i, securityContext: {privileged: true}}\n", 10_000), ""},
		{"a deep object", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a, namespace: b}\ndata: " + deep + "\n", ""},
		{"a deeper object", strings.Repeat("{a: ", 100_000), "hostile.yaml"},
		{"not UTF-8", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: \xff}\n", "hostile.yaml"},
		{"a bomb", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\n" + bomb, "hostile.yaml"},
		{"a key twice", configMap("a") + "kind: Pod\n", `key "kind" is given twice`},
		{"an anchor", "apiVersion: v1\nkind: Pod\nmetadata: {name: a, namespace: b}\nspec:\n  hostNetwork: &x true\n  hostPID: *x\n  containers: []\n", ""},
	} {
		began := time.Now()
		objects, err := manifest.Decode("hostile.yaml", []byte(test.text))
		if test.refused != "" {
			if err == nil || !strings.Contains(err.Error(), test.refused) || len(err.Error()) > 500 {
				t.Errorf("%s: %.500v; want it refused with %q", test.name, err, test.refused)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %.500v", test.name, err)
			continue
		}
		set, err := manifest.NewSet(objects)
		if err != nil {
			t.Fatal(err)
		}
		in := policy.NewInput(promotion.Environment{Data: promotion.DataPHI}, set, policy.Release{}, nil, testNow, manifest.NewRedactor([]byte("0123456789abcdef")))
		if report := evaluate(t, bundle, in); report.Verdict == policy.VerdictAllow {
			t.Errorf("%s: allowed", test.name)
		} else {
			t.Logf("%s: %s after %s, %.200v", test.name, report.Verdict, time.Since(began), report.Errors)
		}
	}
}

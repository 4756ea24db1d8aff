package rego

import (
	"os"
	"strings"
	"testing"
	"time"

	"chaperone.dev/chaperone/internal/promotion"
)

// Rules that were written for Gatekeeper and for Conftest run as they are: their
// own tests pass, they deny their failing examples and nothing in the others.
func TestRulesWrittenForOthers(t *testing.T) {
	t.Parallel()
	for _, tool := range []string{gatekeeper, conftest} {
		bundle, err := Load(t.Context(), os.DirFS("testdata/"+tool), Limits{})
		if err != nil {
			t.Fatalf("%s: %v", tool, err)
		}
		if n := len(bundle.Rules()); n < 10 {
			t.Errorf("%d rules of %s, want at least 10", n, tool)
		}
		for _, r := range bundle.Rules() {
			dir := "testdata/" + tool + "/" + strings.TrimPrefix(r.ID, tool+"/")
			failing, err := os.ReadFile(dir + "/testdata/fail/a.yaml")
			if err != nil {
				t.Fatal(err)
			}
			report := evaluate(t, bundle, inputOf(t, promotion.DataPHI, string(failing)))
			found := false
			for _, f := range report.Stopping() {
				found = found || f.Rule == r.ID && f.Object != nil
			}
			if !found || len(report.Errors) > 0 {
				t.Errorf("%s: %s, %+v %v; want it to deny among all others", r.ID, report.Verdict, report.Findings, report.Errors)
			}
		}
	}
}

// What a rule of Conftest excepts is reported, and stops nothing.
func TestConftestsExceptionIsReported(t *testing.T) {
	t.Parallel()
	bundle, err := Load(t.Context(), os.DirFS("testdata/conftest"), Limits{})
	if err != nil {
		t.Fatal(err)
	}
	report := evaluate(t, bundle, inputOf(t, promotion.DataPHI, `apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: platform}
spec: {replicas: 1}
`))
	got := map[string]string{}
	for _, f := range report.Findings {
		if f.Rule == "conftest/excepted-owner" {
			got[f.Message] = string(f.Action)
		}
	}
	if len(got) != 2 || got["web has no owner (excepted by the rule itself)"] != "audit" || got["web has 1 replicas"] != "deny" {
		t.Errorf("findings %v; want the excepted one as audit, the other as deny", got)
	}
}

const sidecar = `style: conftest
rego: v0
id: test/one
title: One
description: For a test.
severity: critical
data: [synthetic, anonymized, phi]
kinds: [ConfigMap]
controls: {pss: baseline}
remediation: None.
`

func foreignFiles(sidecar, rego string) textFiles {
	return textFiles{
		"test/one/rule.yaml": sidecar, "test/one/policy.rego": rego,
		"test/one/testdata/pass/good.yaml": configMap("good"), "test/one/testdata/fail/bad.yaml": configMap("bad"),
	}
}

const foreignRego = "package main\n\ndeny[msg] { input.metadata.name == \"bad\"; msg := \"bad name\" }\n"

func TestFaultsOfRulesWrittenForOthers(t *testing.T) {
	t.Parallel()
	loadFiles(t, foreignFiles(sidecar, foreignRego))
	replaced := func(old, by string) string { return strings.Replace(sidecar, old, by, 1) }
	for _, test := range []struct{ name, sidecar, rego, want string }{
		{"another tool", replaced("conftest", "kyverno"), foreignRego, "test/one/rule.yaml:1: style: want gatekeeper or conftest"},
		{"another language", replaced("rego: v0", "rego: v7"), foreignRego, "test/one/rule.yaml:2: rego: want v1, or v0"},
		{"no severity", replaced("severity: critical\n", ""), foreignRego, "test/one/rule.yaml:1: severity: want a text"},
		{"a bad kind", replaced("[ConfigMap]", "[configmap]"), foreignRego, "test/one/rule.yaml:8: kinds: want"},
		{"an unknown field", sidecar + "params: {}\n", foreignRego, "test/one/rule.yaml:11: params: want none"},
		{"parameters of another shape", sidecar + "parameters: [1]\n", foreignRego, "test/one/rule.yaml:11: parameters: want a mapping"},
		{"a field twice", sidecar + "id: test/two\n", foreignRego, "test/one/rule.yaml:1: want a mapping"},
		{"no Rego", sidecar, "", "test/one/policy.rego:0: rego_parse_error: empty module"},
		{"the old syntax without a word", replaced("rego: v0\n", ""), foreignRego, "or say `rego: v0` in rule.yaml"},
		{"another tool's entry point", replaced("conftest", "gatekeeper"), foreignRego, "that gatekeeper asks; want violation"},
		{"two packages", sidecar, foreignRego, "want one of them in a folder of its own"},
		{"the network", sidecar, "package main\n\ndeny[msg] { msg := http.send({\"url\": \"http://127.0.0.1\"}).body }\n", "undefined function http.send"},
		{"misspelled data", sidecar, "package main\n\ndeny[msg] { msg := data.parms.forbidden[_] }\n", "data.parms.forbidden is defined by no rule"},
		{"a silent rule", sidecar, "package main\n\ndeny[msg] { input.metadata.nme == \"bad\"; msg := \"x\" }\n", "does not deny it"},
		{"an exception from what the law requires", replaced("{pss: baseline}", "{hipaa: [{cite: 164.312(d), why: It does.}]}"),
			foreignRego + "exception[[\"\"]] { input.metadata.name == \"bad\" }\n", "test/one cannot be waived; take it out"},
		{"an exception where there is none", sidecar + "waivable: false\n",
			foreignRego + "exception[[\"\"]] { input.metadata.name == \"ugly\" }\n", "test/one cannot be waived; take it out"},
		{"a failing test", sidecar, foreignRego, "test_no failed"},
	} {
		files := foreignFiles(test.sidecar, test.rego)
		switch test.name {
		case "two packages":
			files["test/one/other.rego"] = strings.Replace(foreignRego, "package main", "package other", 1)
		case "a failing test":
			files["test/one/policy_test.rego"] = "package main\n\ntest_no { count(deny) == 7 with input as {} }\n"
		}
		if got := refusal(t, files); !strings.Contains(got, test.want) {
			t.Errorf("%s: refused with %q, want %q", test.name, got, test.want)
		}
	}
}

// Also such a rule is an error when a function errs, where Conftest is silent.
func TestRuleWrittenForOthersErrs(t *testing.T) {
	t.Parallel()
	rego := foreignRego + "\ndeny[msg] { to_number(input.data.key) > 5; msg := \"large\" }\n"
	files := foreignFiles(sidecar, rego)
	for name, content := range files {
		files[name] = strings.Replace(content, "key: value", `key: "1"`, 1)
	}
	report := evaluate(t, loadFiles(t, files), inputOf(t, promotion.DataPHI, configMap("odd")))
	if len(report.Errors) != 1 || report.Errors[0].Rule != "test/one" || report.Verdict != "error" {
		t.Errorf("%s %+v; want an error of test/one", report.Verdict, report.Errors)
	}
}

// Two rules of one package, as all of Conftest's are, do not see each other, and
// stand beside Chaperone's own.
func TestRulesOfOnePackage(t *testing.T) {
	t.Parallel()
	files := foreignFiles(sidecar, foreignRego)
	for name, content := range foreignFiles(strings.Replace(sidecar, "test/one", "test/two", 1),
		strings.ReplaceAll(foreignRego, "bad name", "a worse name")) {
		files[strings.Replace(name, "test/one", "test/two", 1)] = content
	}
	for name, content := range withExamples(textFiles{"test/three/rule.rego": header("test/three") + denyBad("test.three", "")}) {
		files[name] = content
	}
	report := evaluate(t, loadFiles(t, files), inputOf(t, promotion.DataPHI, configMap("bad")))
	var got []string
	for _, f := range report.Findings {
		got = append(got, f.Rule+": "+f.Message)
	}
	if want := "test/one: bad name, test/three: bad name, test/two: a worse name"; strings.Join(got, ", ") != want {
		t.Errorf("findings %q, want %s", got, want)
	}
}

// Whatever a sidecar and the Rego beside it hold, loading ends with a bundle or an error.
func FuzzSidecar(f *testing.F) {
	f.Add(sidecar, foreignRego)
	f.Add(strings.Replace(sidecar, "conftest", "gatekeeper", 1), "package a\n\nviolation[{\"msg\": m}] { m := data.inventory.cluster[_][_][_] }")
	f.Add("style: [", "package main\n\ndeny = x { x := input[_] }")
	f.Add("a: &a [*a]", "")
	f.Fuzz(func(t *testing.T, sidecar, rego string) {
		bundle, err := Load(t.Context(), mapFS(foreignFiles(sidecar, rego)),
			Limits{Query: 100 * time.Millisecond, Evaluation: time.Second, Verify: 5 * time.Second})
		if (bundle == nil) == (err == nil) {
			t.Errorf("bundle %v and error %v", bundle, err)
		}
	})
}

package policy

import (
	"strings"
	"testing"
)

const validFramework = `apiVersion: chaperone.dev/v1alpha1
kind: Framework
metadata:
  name: law
spec:
  title: A law
  cited: The Law
  citations: {key: hipaa}
  controls:
    - id: 1(a)
      title: First
      implementation: addressable
      coverage: partial
      reason: Half of it.
      rules: [pod/b]
    - id: 1(a)(2)
      title: Below the first
      coverage: not-checkable
      reason: None of it.
`

func citing(id string, ids ...string) Rule {
	r := rule(id, SeverityHigh)
	r.File, r.Waivable = id+"/rule.rego", true
	for _, cite := range ids {
		r.Cited = append(r.Cited, Citation{Framework: "hipaa", ID: cite})
	}
	return r
}

func TestParseFramework(t *testing.T) {
	t.Parallel()
	f, err := ParseFramework("frameworks/law.yaml", []byte(validFramework))
	if err != nil {
		t.Fatal(err)
	}
	if f.Name != "law" || f.Key != "hipaa" || len(f.Controls) != 2 || f.Controls[0].Coverage != CoveragePartial || f.Controls[1].Line != 16 {
		t.Errorf("parsed %+v", f)
	}
	rules := []Rule{citing("pod/a", "1(a)(1)(i)", "1(b)"), citing("pod/b")}
	if got := strings.Join(f.RulesOf(f.Controls[0], rules), " "); got != "pod/a pod/b" {
		t.Errorf("rules of the first: %s", got)
	}
	f.Controls[0].Rules = nil
	if got := f.Covered(f.Controls[0], nil); got != CoverageManual {
		t.Errorf("nobody looks at it: %s, want manual", got)
	}
}

func TestFrameworkFaults(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ name, old, new, want string }{
		{"unknown field", "      reason: Half", "      reasons: Half", "unknown field"},
		{"no reason", "      reason: Half of it.\n", "", "reason: missing"},
		{"an empty reason", "Half of it.", `" "`, "reason: empty"},
		{"no title", "      title: First\n", "", "title: missing"},
		{"another coverage", "coverage: partial", "coverage: mostly", `"mostly" is not known`},
		{"another implementation", "addressable", "optional", `"optional" is not known`},
		{"no rule's id", "[pod/b]", "[b]", "want the id of a rule"},
		{"a control twice", "1(a)(2)", "1(a)", "is there twice"},
		{"no key", "  citations: {key: hipaa}\n", "", "want citations.key"},
		{"another kind", "kind: Framework", "kind: Frame", `kind: "Frame" is not known`},
		{"no controls", validFramework[strings.Index(validFramework, "  controls:"):], "  controls: []\n", "0 entries"},
		{"not YAML", "spec:", "spec: [", "not YAML"},
	} {
		if !strings.Contains(validFramework, test.old) {
			t.Fatalf("%s: the valid file has no %q", test.name, test.old)
		}
		_, err := ParseFramework("f.yaml", []byte(strings.Replace(validFramework, test.old, test.new, 1)))
		if err == nil || !strings.Contains(err.Error(), test.want) || !strings.Contains(err.Error(), "f.yaml:") {
			t.Errorf("%s: error %v, want one with f.yaml: and %q", test.name, err, test.want)
		}
	}
}

func TestCheckFrameworks(t *testing.T) {
	t.Parallel()
	law, err := ParseFramework("law.yaml", []byte(validFramework))
	if err != nil {
		t.Fatal(err)
	}
	level, err := ParseFramework("level.yaml", []byte(strings.NewReplacer("name: law", "name: level", "key: hipaa", "key: hipaa, level: whole",
		"      rules: [pod/b]\n", "      rules: [pod/a]\n").Replace(validFramework)))
	if err != nil {
		t.Fatal(err)
	}
	profile := Framework{Name: "stricter", File: "stricter.yaml", Profile: "law", Enforced: true}
	for _, test := range []struct {
		name       string
		frameworks []Framework
		rules      []Rule
		want       string // "" is none
	}{
		{"as it should be", []Framework{law, profile}, []Rule{citing("pod/a", "1(a)"), citing("pod/b")}, ""},
		{"no rule of that id", []Framework{law}, []Rule{citing("pod/bb")}, `law.yaml:10: control 1(a): no rule "pod/b" in this bundle; did you mean "pod/bb"?`},
		{"no control of that id", []Framework{law}, []Rule{citing("pod/b", "2")}, "pod/b/rule.rego:1: rule pod/b cites 2, which law.yaml does not list"},
		{"not checkable, and checked", []Framework{law}, []Rule{citing("pod/b", "1(a)(2)")}, "law.yaml:16: control 1(a)(2): is called not-checkable, and pod/b helps with it"},
		{"two of one name", []Framework{law, law}, []Rule{citing("pod/b")}, "law is also that of law.yaml"},
		{"a profile of nothing", []Framework{profile}, nil, `stricter.yaml:1: spec.profile: no framework "law"`},
		{"a level, listed and cited", []Framework{level}, []Rule{citing("pod/a", "whole")}, ""},
		{"a level, cited and not listed", []Framework{level}, []Rule{citing("pod/a", "whole"), citing("pod/c", "whole")}, "rule pod/c cites level, and no control in level.yaml names it"},
		{"a level, listed and not cited", []Framework{level}, []Rule{citing("pod/a")}, "rule pod/a does not cite hipaa whole"},
	} {
		err := CheckFrameworks(test.frameworks, test.rules)
		if (err == nil) != (test.want == "") || err != nil && !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %v, want %q", test.name, err, test.want)
		}
	}
	rules := []Rule{citing("pod/a", "1(a)"), citing("pod/b")}
	if tightened := Enforce([]Framework{law, profile}, rules); tightened[0].Waivable || !tightened[1].Waivable || !rules[0].Waivable {
		t.Errorf("a profile in force: %v, %v; want only the rule that cites the law to be waivable no longer", tightened[0].Waivable, tightened[1].Waivable)
	}
	profile.Enforced = false
	if tightened := Enforce([]Framework{law, profile}, rules); !tightened[0].Waivable {
		t.Error("a profile that is not in force tightens a rule")
	}
}

func FuzzParseFramework(f *testing.F) {
	f.Add([]byte(validFramework))
	f.Add([]byte("spec: {controls: [{}], citations: {key: [1]}}"))
	f.Add([]byte("&a [*a]"))
	f.Fuzz(func(t *testing.T, content []byte) {
		framework, err := ParseFramework("f.yaml", content)
		if err != nil {
			return
		}
		if framework.Name == "" || len(framework.Controls) == 0 || len(framework.Controls) > maxControls {
			t.Errorf("accepted without what it must say: %+v", framework)
		}
		for _, c := range framework.Controls {
			if c.ID == "" || c.Reason == "" || c.Coverage == "" {
				t.Errorf("accepted a control without what it must say: %+v", c)
			}
		}
		_ = CheckFrameworks([]Framework{framework}, []Rule{citing("pod/a", "1(a)")})
	})
}

package policy

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"testing"

	"chaperone.dev/chaperone/internal/promotion"
)

func validCustom() map[string]any {
	return map[string]any{
		"id": "pod/run-as-non-root", "code": "POD-009", "severity": "high", "data": []any{"synthetic", "phi"},
		"kinds": []any{"workloads", "Secret", "Ingress.networking.k8s.io"}, "remediation": "do this",
		"controls": map[string]any{
			"hipaa":         []any{map[string]any{"cite": "164.312(a)(1)", "why": "because"}},
			"pss":           "restricted",
			"cis_k8s":       map[string]any{"version": "1.12", "ids": []any{"5.2.7"}},
			"nist_800_53r5": []any{"AC-6"},
		},
	}
}

func TestParseRule(t *testing.T) {
	t.Parallel()
	r, err := ParseRule("Title", "Description", validCustom())
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"45 CFR 164.312(a)(1)", "CIS Kubernetes 1.12 5.2.7", "NIST 800-53r5 AC-6", "PSS restricted"}
	if got := r.Citations(); !slices.Equal(got, want) {
		t.Errorf("citations %q, want %q", got, want)
	}
	if r.ID != "pod/run-as-non-root" || r.Severity != SeverityHigh || !r.Waivable || !r.PerObject() {
		t.Errorf("parsed %+v", r)
	}
	for data, applies := range map[promotion.Data]bool{
		promotion.DataNone: true, promotion.DataSynthetic: true, promotion.DataAnonymized: false, promotion.DataPHI: true,
	} {
		if r.AppliesTo(data) != applies {
			t.Errorf("applies to %s: %v, want %v", data, !applies, applies)
		}
	}
}

func TestRuleFaults(t *testing.T) {
	t.Parallel()
	hipaa := func(entries ...any) func(map[string]any) {
		return func(c map[string]any) { c["controls"] = map[string]any{"hipaa": entries} }
	}
	cite := map[string]any{"cite": "164.312(a)(1)", "why": "w"}
	for _, test := range []struct {
		name   string
		change func(map[string]any)
		want   string
	}{
		{"no id", func(c map[string]any) { delete(c, "id") }, "custom.id: want a text"},
		{"id without a group", func(c map[string]any) { c["id"] = "run-as-non-root" }, "custom.id: want group/slug"},
		{"id in capitals", func(c map[string]any) { c["id"] = "POD/001" }, "custom.id: want group/slug"},
		{"no severity", func(c map[string]any) { delete(c, "severity") }, "custom.severity: want a text"},
		{"unknown severity", func(c map[string]any) { c["severity"] = "severe" }, "custom.severity: want critical, high"},
		{"no data", func(c map[string]any) { delete(c, "data") }, "custom.data: want the data classes"},
		{"unknown data", func(c map[string]any) { c["data"] = []any{"secret"} }, "custom.data: want a list of synthetic"},
		{"no remediation", func(c map[string]any) { c["remediation"] = " " }, "custom.remediation: want a text"},
		{"kind in lower case", func(c map[string]any) { c["kinds"] = []any{"pods"} }, `not "pods"`},
		{"kinds of another type", func(c map[string]any) { c["kinds"] = 3 }, "custom.kinds: want a list"},
		{"waivable as text", func(c map[string]any) { c["waivable"] = "no" }, "custom.waivable: want true or false"},
		{"no controls", func(c map[string]any) { delete(c, "controls") }, "custom.controls: want at least one citation"},
		{"controls as a list", func(c map[string]any) { c["controls"] = []any{} }, "custom.controls: want a mapping"},
		{"unknown framework", func(c map[string]any) { c["controls"] = map[string]any{"sox": "x"} }, "custom.controls.sox: want hipaa"},
		{"unknown field", func(c map[string]any) { c["sevrity"] = "high" }, "custom.sevrity: want none"},
		{"three HIPAA citations", hipaa(cite, cite, cite), "custom.controls.hipaa: want one to 2 entries"},
		{"HIPAA citation without why", hipaa(map[string]any{"cite": "164.312(a)(1)"}), "custom.controls.hipaa.why: want a sentence"},
		{"HIPAA citation of nothing", hipaa(map[string]any{"cite": "312", "why": "w"}), "custom.controls.hipaa.cite: want a paragraph"},
		{"CIS without version", func(c map[string]any) {
			c["controls"] = map[string]any{"cis_k8s": map[string]any{"version": 1.12, "ids": "5.2.7"}}
		}, `custom.controls.cis_k8s.version: want a quoted version`},
	} {
		custom := validCustom()
		test.change(custom)
		if _, err := ParseRule("t", "d", custom); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: error %v, want %q", test.name, err, test.want)
		}
	}
	if _, err := ParseRule(" ", "", validCustom()); err == nil || !strings.Contains(err.Error(), "title: want") ||
		!strings.Contains(err.Error(), "description: want") {
		t.Errorf("without title and description: error %v, want both named", err)
	}
}

func TestJudgesByGroupAndKind(t *testing.T) {
	t.Parallel()
	templates := StandardPodTemplates()
	object := func(apiVersion, kind string) map[string]any {
		return map[string]any{"apiVersion": apiVersion, "kind": kind, "metadata": map[string]any{"name": "a"}}
	}
	for _, test := range []struct {
		kind             string
		apiVersion, of   string
		want             bool
		containersInside bool
	}{
		{"Secret", "v1", "Secret", true, false},
		{"Secret", "example.org/v1", "Secret", false, false},
		{"Ingress.networking.k8s.io", "networking.k8s.io/v1beta1", "Ingress", true, false},
		{"Ingress.networking.k8s.io", "extensions/v1beta1", "Ingress", false, false},
		{Workloads, "apps/v1", "Deployment", true, true},
		{Workloads, "example.org/v1", "Deployment", true, true},
		{Workloads, "example.org/v1", "Deployment", false, false},
		{OtherKinds, "example.org/v1", "Anything", true, false},
	} {
		o := object(test.apiVersion, test.of)
		if test.containersInside {
			o["spec"] = map[string]any{"template": map[string]any{"spec": map[string]any{"containers": []any{}}}}
		}
		if got := (Rule{Kinds: []string{test.kind}}).Judges(manifestOf(o), templates); got != test.want {
			t.Errorf("kind %s judges %s %s: %v, want %v", test.kind, test.apiVersion, test.of, got, test.want)
		}
	}
}

func FuzzParseRule(f *testing.F) {
	valid, err := json.Marshal(validCustom())
	if err != nil {
		f.Fatal(err)
	}
	f.Add("title", "description", valid)
	f.Add("", "", []byte(`{"controls":{"hipaa":[null,{}],"cis_k8s":[]},"data":[1],"kinds":{"a":"b"}}`))
	f.Fuzz(func(t *testing.T, title, description string, encoded []byte) {
		var custom map[string]any
		if json.Unmarshal(encoded, &custom) != nil {
			return
		}
		before := maps.Clone(custom)
		r, err := ParseRule(title, description, custom)
		if len(before) != len(custom) {
			t.Error("the metadata was changed")
		}
		if err != nil {
			return
		}
		if r.ID == "" || r.Title == "" || r.Severity == "" || len(r.Data) == 0 || len(r.Citations()) == 0 || len(r.HIPAA) > maxHIPAA {
			t.Errorf("accepted without what it must say: %+v", r)
		}
	})
}

package policy

import (
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	"chaperone.dev/chaperone/internal/manifest"
	"chaperone.dev/chaperone/internal/promotion"
)

// Workloads, as an entry of a rule's kinds, stands for every object with a pod
// spec, whatever its kind.
const Workloads = "workloads"

// maxHIPAA is how many citations of the Security Rule one rule may carry: a
// rule that claims to fulfil everything convinces no auditor of anything.
const maxHIPAA = 2

// Rule is what a rule's metadata says about it.
type Rule struct {
	ID          string           `json:"rule"`
	Code        string           `json:"code,omitempty"`
	Title       string           `json:"title"`
	Description string           `json:"description"`
	Severity    Severity         `json:"severity"`
	Data        []promotion.Data `json:"data"`  // what an environment holds for the rule to apply; synthetic includes none
	Kinds       []string         `json:"kinds"` // of the objects it is asked about one by one; empty: asked once per release
	HIPAA       []HIPAA          `json:"hipaa,omitempty"`
	Controls    []string         `json:"controls,omitempty"` // of other frameworks, as printed
	Cited       []Citation       `json:"-"`                  // all of them, HIPAA's too
	Waivable    bool             `json:"waivable"`           // never where a required specification is cited
	Remediation string           `json:"remediation"`
	File        string           `json:"file"`
}

// HIPAA is one citation of the Security or Privacy Rule.
type HIPAA struct {
	Cite string `json:"cite"` // such as 164.312(a)(1)
	Why  string `json:"why"`  // one sentence: what the rule does for it
}

// Citation is one control of a framework, as a rule's metadata has it.
type Citation struct {
	Framework string // the key in custom.controls
	Version   string // of the framework, where its ids depend on it
	ID        string
}

// PerObject reports whether the rule is asked about objects one by one.
func (r Rule) PerObject() bool { return len(r.Kinds) > 0 }

// AppliesTo reports whether the rule is asked in an environment that holds data.
func (r Rule) AppliesTo(data promotion.Data) bool {
	if data == promotion.DataNone || data == "" {
		data = promotion.DataSynthetic
	}
	return slices.Contains(r.Data, data)
}

// Judges reports whether the rule is asked about this object.
func (r Rule) Judges(o *manifest.Object, templates PodTemplates) bool {
	for _, kind := range r.Kinds {
		switch kind {
		case OtherKinds, kindKey(o):
			return true
		case Workloads:
			if len(templates.PodSpecs(o)) > 0 {
				return true
			}
		}
	}
	return false
}

// Citations are printed with every finding, the law first.
func (r Rule) Citations() []string {
	citations := []string{}
	for _, h := range r.HIPAA {
		citations = append(citations, "45 CFR "+h.Cite)
	}
	return append(citations, r.Controls...)
}

var (
	idPattern    = regexp.MustCompile(`^[a-z0-9]+(-[a-z0-9]+)*/[a-z0-9]+(-[a-z0-9]+)*$`)
	kindPattern  = regexp.MustCompile(`^[A-Z][A-Za-z0-9]*(\.[a-z0-9]([a-z0-9.-]*[a-z0-9])?)?$`)
	hipaaPattern = regexp.MustCompile(`^164\.[0-9]{3}(\([0-9a-zA-Z]{1,5}\))*$`)
)

var dataClasses = []promotion.Data{promotion.DataSynthetic, promotion.DataAnonymized, promotion.DataPHI}

// ParseRule reads a rule's METADATA annotation: title, description, and the
// `custom` mapping. Its error tells everything that is wrong, joined.
func ParseRule(title, description string, custom map[string]any) (Rule, error) {
	m := &metadata{rest: maps.Clone(custom)}
	rule := Rule{
		Title: strings.TrimSpace(title), Description: strings.TrimSpace(description),
		ID: m.text("id"), Code: m.optional("code"), Severity: Severity(m.text("severity")),
		Remediation: m.text("remediation"), Kinds: m.list("kinds"), Waivable: m.flag("waivable", true),
	}
	m.want(rule.Title != "", "title", "one line that says what must be so")
	m.want(rule.Description != "", "description", "why it matters, for the person who meets the finding")
	m.want(rule.ID == "" || idPattern.MatchString(rule.ID), "custom.id", "group/slug, such as pod/run-as-non-root")
	m.want(rule.Severity == "" || slices.Contains(severities, rule.Severity), "custom.severity",
		"critical, high, medium, low or info")
	for _, kind := range rule.Kinds {
		m.want(kind == Workloads || kind == OtherKinds || kindPattern.MatchString(kind), "custom.kinds",
			`workloads, "*", a core Kind or Kind.group, not `+fmt.Sprintf("%.60q", kind))
	}
	m.readData(&rule)
	m.readControls(&rule)
	m.want(len(rule.Citations()) > 0, "custom.controls", "at least one citation")
	cite := rule.required()
	m.want(cite == "" || custom["waivable"] != true, "custom.waivable",
		"false: it cites 45 CFR "+cite+", which HIPAA requires")
	rule.Waivable = rule.Waivable && cite == ""
	for _, unknown := range slices.Sorted(maps.Keys(m.rest)) {
		m.want(false, fmt.Sprintf("custom.%.60s", unknown), "none: there is no such field")
	}
	return rule, errors.Join(m.problems...)
}

// metadata takes fields out of a custom mapping; what stays is unknown.
type metadata struct {
	rest     map[string]any
	problems []error
}

func (m *metadata) want(ok bool, field, right string) {
	if !ok {
		m.problems = append(m.problems, fmt.Errorf("%s: want %s", field, right))
	}
}

func (m *metadata) take(field string) any {
	value := m.rest[field]
	delete(m.rest, field)
	return value
}

func (m *metadata) text(field string) string {
	text, ok := m.take(field).(string)
	m.want(ok && strings.TrimSpace(text) != "", "custom."+field, "a text")
	return strings.TrimSpace(text)
}

func (m *metadata) optional(field string) string {
	if _, found := m.rest[field]; !found {
		return ""
	}
	return m.text(field)
}

func (m *metadata) flag(field string, otherwise bool) bool {
	value := m.take(field)
	flag, ok := value.(bool)
	m.want(ok || value == nil, "custom."+field, "true or false")
	return flag || (value == nil && otherwise)
}

// list reads a list of texts; a single text is a list of one.
func (m *metadata) list(field string) []string {
	texts, ok := textList(m.take(field))
	m.want(ok, "custom."+field, "a list of texts")
	return texts
}

func textList(value any) ([]string, bool) {
	switch value := value.(type) {
	case nil:
		return nil, true
	case string:
		return []string{value}, value != ""
	case []any:
		texts := make([]string, 0, len(value))
		for _, entry := range value {
			text, ok := entry.(string)
			if !ok || text == "" {
				return nil, false
			}
			texts = append(texts, text)
		}
		return texts, true
	}
	return nil, false
}

func (m *metadata) readData(rule *Rule) {
	for _, class := range m.list("data") {
		known := slices.Contains(dataClasses, promotion.Data(class))
		m.want(known, "custom.data", "a list of synthetic, anonymized, phi")
		if known && !slices.Contains(rule.Data, promotion.Data(class)) {
			rule.Data = append(rule.Data, promotion.Data(class))
		}
	}
	m.want(len(rule.Data) > 0, "custom.data", "the data classes that it applies to: synthetic, anonymized, phi")
}

func (m *metadata) readControls(rule *Rule) {
	value, found := m.rest["controls"]
	controls, ok := m.take("controls").(map[string]any)
	if !found {
		return
	}
	m.want(ok, "custom.controls", "a mapping of frameworks to citations")
	for _, framework := range slices.Sorted(maps.Keys(controls)) {
		value = controls[framework]
		switch framework {
		case "hipaa":
			rule.HIPAA = m.hipaa(value)
			for _, h := range rule.HIPAA {
				rule.Cited = append(rule.Cited, Citation{Framework: framework, ID: h.Cite})
			}
		case "pss":
			rule.Controls = append(rule.Controls, m.controls(rule, Citation{Framework: framework}, "PSS ", "pss", value)...)
		case "nist_800_53r5":
			rule.Controls = append(rule.Controls, m.controls(rule, Citation{Framework: framework}, "NIST 800-53r5 ", "nist_800_53r5", value)...)
		case "cis_k8s":
			// The ids move between versions of the benchmark.
			cis, _ := value.(map[string]any)
			version, _ := cis["version"].(string)
			m.want(version != "", "custom.controls.cis_k8s.version", `a quoted version such as "1.12"`)
			rule.Controls = append(rule.Controls, m.controls(rule, Citation{Framework: framework, Version: version},
				"CIS Kubernetes "+version+" ", "cis_k8s.ids", cis["ids"])...)
		default:
			m.want(false, fmt.Sprintf("custom.controls.%.60s", framework), "hipaa, pss, nist_800_53r5 or cis_k8s")
		}
	}
}

func (m *metadata) controls(rule *Rule, cited Citation, prefix, field string, value any) []string {
	ids, ok := textList(value)
	m.want(ok && len(ids) > 0, "custom.controls."+field, "a list of ids")
	out := make([]string, 0, len(ids))
	for _, id := range ids {
		cited.ID = id
		rule.Cited = append(rule.Cited, cited)
		out = append(out, prefix+id)
	}
	return out
}

func (m *metadata) hipaa(value any) []HIPAA {
	list, _ := value.([]any)
	m.want(len(list) > 0 && len(list) <= maxHIPAA, "custom.controls.hipaa",
		fmt.Sprintf("one to %d entries of cite and why", maxHIPAA))
	var out []HIPAA
	for _, entry := range list[:min(len(list), maxHIPAA)] {
		fields, _ := entry.(map[string]any)
		cite, _ := fields["cite"].(string)
		why, _ := fields["why"].(string)
		m.want(hipaaPattern.MatchString(cite), "custom.controls.hipaa.cite", "a paragraph such as 164.312(a)(1)")
		m.want(strings.TrimSpace(why) != "", "custom.controls.hipaa.why", "a sentence that says what the rule does for it")
		m.want(len(fields) == 2, "custom.controls.hipaa", "cite and why, nothing else")
		out = append(out, HIPAA{Cite: cite, Why: strings.TrimSpace(why)})
	}
	return out
}

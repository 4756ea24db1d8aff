package policy

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"chaperone.dev/chaperone/internal/promotion"
	"chaperone.dev/chaperone/internal/strictyaml"
)

// maxControls bounds one framework.
const maxControls = 1000

// Coverage says how much of a control rules can tell.
type Coverage string

// The coverages. What is not checkable is written down, so that nobody takes
// silence for a pass.
const (
	CoverageAutomated    Coverage = "automated"     // a release that breaks it is found
	CoveragePartial      Coverage = "partial"       // some of it is found; the reason says what is not
	CoverageManual       Coverage = "manual"        // people have to look
	CoverageNotCheckable Coverage = "not-checkable" // nothing in a release tells of it
)

var coverages = []Coverage{CoverageAutomated, CoveragePartial, CoverageManual, CoverageNotCheckable}

// Framework is a list of controls that rules help to fulfil.
type Framework struct {
	Name  string
	Title string
	Cited string // how it is named to others
	File  string
	// Key, Version and Level say which citations are of this framework: the key
	// in custom.controls, and where they matter the version, or the one id that
	// stands for the framework as a whole.
	Key, Version, Level string
	// Profile is the framework whose rules this one tightens: while Enforced, no
	// rule that cites it can be waived.
	Profile  string
	Enforced bool
	Controls []Control
}

// Control is one of a framework's.
type Control struct {
	ID             string
	Title          string
	Implementation string // required, addressable, standard; "" where the framework has no such word
	Coverage       Coverage
	Reason         string
	Engine         bool     // Chaperone does it itself, whatever the rules are
	Rules          []string // that help without citing it
	Line           int
}

// ParseFramework reads a framework's file, strictly.
func ParseFramework(file string, content []byte) (Framework, error) {
	document := strictyaml.Parse(file, content)
	root := document.Root()
	for _, name := range []string{"apiVersion", "kind"} {
		root.Require(name, "a framework must say it")
	}
	strictyaml.Enum(root, "apiVersion", promotion.APIVersion, promotion.APIVersion)
	strictyaml.Enum(root, "kind", "Framework", "Framework")
	metadata := root.Object("metadata")
	metadata.Require("name", "a framework must say it")
	f := Framework{File: file, Name: metadata.String("name", "", filled)}
	spec := root.Object("spec")
	spec.Require("title", "a framework must say it")
	spec.Require("controls", "a framework must say it")
	f.Title, f.Cited = spec.String("title", "", filled), spec.String("cited", "")
	f.Profile, f.Enforced = spec.String("profile", ""), spec.Bool("enforced", false)
	citations := spec.Object("citations")
	f.Key, f.Version, f.Level = citations.String("key", ""), citations.String("version", ""), citations.String("level", "")
	f.decodeControls(spec)
	if f.Key == "" && f.Profile == "" && spec.Present() {
		spec.Problem("want citations.key, the framework's name in custom.controls of rules, or profile, the framework that it tightens")
	}
	return f, document.Err()
}

func (f *Framework) decodeControls(spec *strictyaml.Object) {
	list := spec.Value("controls")
	if n := len(list.List()); list.Present() && (n == 0 || n > maxControls) {
		list.Problem("%d entries; want one to %d", n, maxControls)
		return
	}
	seen := map[string]bool{}
	for _, object := range spec.Objects("controls") {
		for _, name := range []string{"id", "title", "coverage", "reason"} {
			object.Require(name, "a control must say it")
		}
		c := Control{
			ID: object.String("id", "", filled), Title: object.String("title", "", filled), Line: object.Value("id").Line(),
			Implementation: strictyaml.Enum(object, "implementation", "", "required", "addressable", "standard"),
			Coverage:       strictyaml.Enum(object, "coverage", CoverageManual, coverages...),
			Reason:         object.String("reason", "", filled), Engine: object.Bool("engine", false),
			Rules: object.Strings("rules", ruleID),
		}
		if seen[c.ID] && c.ID != "" {
			object.Problem("%.60q is there twice; want each control once", c.ID)
		}
		seen[c.ID] = true
		f.Controls = append(f.Controls, c)
	}
}

func ruleID(id string) error {
	if !idPattern.MatchString(id) {
		return errors.New("want the id of a rule, such as pod/host-path")
	}
	return nil
}

func filled(text string) error {
	if strings.TrimSpace(text) == "" {
		return errors.New("empty; want a text")
	}
	return nil
}

// cites reports whether a citation is of this framework.
func (f Framework) cites(c Citation) bool {
	return f.Key != "" && c.Framework == f.Key && (f.Version == "" || c.Version == f.Version) && (f.Level == "" || c.ID == f.Level)
}

// control finds what a citation is of: the control itself, else the nearest
// above it, as 164.308(a)(4) is above 164.308(a)(4)(i), and SC-8 above SC-8(1).
func (f Framework) control(id string) (int, bool) {
	best, length := -1, 0
	for i, c := range f.Controls {
		if (c.ID == id || strings.HasPrefix(id, c.ID+"(")) && len(c.ID) > length {
			best, length = i, len(c.ID)
		}
	}
	return best, best >= 0
}

// RulesOf are the ids of the rules that cite a control, or that its list names.
func (f Framework) RulesOf(c Control, rules []Rule) []string {
	ids := slices.Clone(c.Rules)
	for _, r := range rules {
		for _, cited := range r.Cited {
			if at, found := f.control(cited.ID); f.Level == "" && f.cites(cited) && found && f.Controls[at].ID == c.ID {
				ids = append(ids, r.ID)
			}
		}
	}
	slices.Sort(ids)
	return slices.Compact(ids)
}

// Covered is how much of a control these rules tell: one that nobody looks at is
// for people, whatever its list hopes for.
func (f Framework) Covered(c Control, rules []Rule) Coverage {
	hoped := c.Coverage == CoverageAutomated || c.Coverage == CoveragePartial
	if hoped && !c.Engine && len(f.RulesOf(c, rules)) == 0 {
		return CoverageManual
	}
	return c.Coverage
}

// CheckFrameworks tells where frameworks and rules contradict each other: each
// citation is of a control that there is, each rule that a list names exists,
// and what is called manual or not checkable has no rule.
func CheckFrameworks(frameworks []Framework, rules []Rule) error {
	var problems []error
	names := map[string]Framework{}
	for _, f := range frameworks {
		if other, twice := names[f.Name]; twice {
			problems = append(problems, fmt.Errorf("%s:1: metadata.name: %s is also that of %s; want one of its own", f.File, f.Name, other.File))
		}
		names[f.Name] = f
	}
	for _, f := range frameworks {
		if _, known := names[f.Profile]; f.Profile != "" && !known {
			problems = append(problems, fmt.Errorf("%s:1: spec.profile: no framework %q in this bundle", f.File, f.Profile))
		}
		problems = append(problems, f.checkCitations(rules)...)
		for _, c := range f.Controls {
			problems = append(problems, f.checkControl(c, rules)...)
		}
	}
	return errors.Join(problems...)
}

func (f Framework) checkCitations(rules []Rule) (problems []error) {
	for _, r := range rules {
		for _, cited := range r.Cited {
			switch {
			case !f.cites(cited):
			case f.Level != "":
				if !slices.ContainsFunc(f.Controls, func(c Control) bool { return slices.Contains(c.Rules, r.ID) }) {
					problems = append(problems, fmt.Errorf("%s:1: rule %s cites %s, and no control in %s names it", r.File, r.ID, f.Name, f.File))
				}
			default:
				if _, found := f.control(cited.ID); !found {
					problems = append(problems, fmt.Errorf("%s:1: rule %s cites %s, which %s does not list", r.File, r.ID, cited.ID, f.File))
				}
			}
		}
	}
	return problems
}

func (f Framework) checkControl(c Control, rules []Rule) (problems []error) {
	problem := func(format string, args ...any) {
		problems = append(problems, fmt.Errorf("%s:%d: control %s: "+format, append([]any{f.File, c.Line, c.ID}, args...)...))
	}
	ids := make([]string, 0, len(rules))
	for _, r := range rules {
		ids = append(ids, r.ID)
	}
	for _, id := range c.Rules {
		at := slices.Index(ids, id)
		if at < 0 {
			problem("no rule %q in this bundle; %s", id, strictyaml.DidYouMean(id, ids))
		} else if f.Level != "" && !slices.ContainsFunc(rules[at].Cited, f.cites) {
			problem("rule %s does not cite %s %s", id, f.Key, f.Level)
		}
	}
	checked := c.Coverage == CoverageAutomated || c.Coverage == CoveragePartial
	if helping := f.RulesOf(c, rules); !checked && len(helping) > 0 {
		problem("is called %s, and %s helps with it; want partial", c.Coverage, helping[0])
	}
	return problems
}

// Enforce makes rules that a profile in force tightens impossible to waive.
func Enforce(frameworks []Framework, rules []Rule) []Rule {
	keys := map[string]bool{}
	for _, profile := range frameworks {
		for _, f := range frameworks {
			if profile.Enforced && f.Name == profile.Profile {
				keys[f.Key] = true
			}
		}
	}
	tightened := slices.Clone(rules)
	for i, r := range tightened {
		if slices.ContainsFunc(r.Cited, func(c Citation) bool { return keys[c.Framework] }) {
			tightened[i].Waivable = false
		}
	}
	return tightened
}

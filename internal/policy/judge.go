package policy

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"chaperone.dev/chaperone/internal/manifest"
)

// Result is what a rule said, before severity, data class and exceptions are
// weighed.
type Result struct {
	Rule    string
	Action  Action
	Object  *ObjectRef
	Path    string
	Message string
}

// Basis is what a report rests on besides the input.
type Basis struct {
	Rules      []Rule
	Exceptions []Exception
	Digest     manifest.Digest // of the bundle that both came from
}

// Judge weighs what the rules said. The verdict is VerdictError as soon as one
// rule could not be asked, whatever the others said.
func Judge(in Input, basis Basis, results []Result, errs []RuleError) Report {
	j := judgement{in: in, basis: basis, used: map[use]bool{}, rules: map[string]Rule{}, erred: map[string]bool{}}
	for _, rule := range basis.Rules {
		j.rules[rule.ID] = rule
	}
	for _, e := range errs {
		j.erred[e.Rule] = true
	}
	findings := []Finding{}
	for _, result := range results {
		rule, known := j.rules[result.Rule]
		if !known {
			errs = append(errs, RuleError{Rule: result.Rule, Object: result.Object, Message: "no rule of this name"})
			continue
		}
		findings = append(findings, j.finding(rule, result))
	}
	findings = append(findings, j.exceptionFindings()...)
	report := Report{
		Environment: in.Environment.ID, Revision: in.Release.Revision, Digest: in.Release.Digest,
		PolicyDigest: basis.Digest, Findings: sortFindings(findings), Errors: sortErrors(errs),
	}
	report.Verdict = verdictOf(report)
	report.Until, report.Excepted = j.countdown()
	return report
}

// countdown looks at all exceptions for the environment, used or not: an object
// that needs one may come with the next release.
func (j judgement) countdown() (until time.Time, first *Countdown) {
	for _, e := range j.basis.Exceptions {
		if !slices.Contains(e.Environments, j.in.Environment.ID) || !j.in.Now.Before(e.Expires) {
			continue
		}
		changes := e.Expires
		if j.in.Now.Before(e.Requested) {
			changes = e.Requested
		} else if e.tooLong(j.in.Now) {
			changes = e.Expires.Add(-maxExceptionAhead - 24*time.Hour)
		} else if first == nil || e.Expires.Before(first.Expires) {
			first = &Countdown{Exception: e.Name, Rule: e.Rule, Expires: e.Expires}
		}
		if until.IsZero() || changes.Before(until) {
			until = changes
		}
	}
	return until, first
}

func verdictOf(r Report) Verdict {
	switch {
	case len(r.Errors) > 0:
		return VerdictError
	case len(r.Stopping()) > 0:
		return VerdictDeny
	}
	return VerdictAllow
}

// use is one object named by one exception.
type use struct{ exception, object int }

type judgement struct {
	in    Input
	basis Basis
	rules map[string]Rule
	erred map[string]bool // "" too: then nothing is known of any rule
	used  map[use]bool
}

func (j judgement) finding(rule Rule, result Result) Finding {
	f := Finding{
		Rule: rule.ID, Title: rule.Title, Severity: rule.Severity, Action: result.Action,
		Object: result.Object, Path: result.Path, Message: result.Message, Citations: rule.Citations(),
	}
	if f.Action == ActionDeny && !rule.Severity.AtLeast(Threshold(j.in.Environment.Data)) {
		f.Action = ActionWarn
	}
	if result.Action == ActionDeny && result.Object != nil {
		f.Exception = j.waive(rule, *result.Object)
	}
	return f
}

// waive finds the exception that covers a finding and marks every such
// exception used, so that a second one for the same thing is not called unused.
func (j judgement) waive(rule Rule, object ObjectRef) *ExceptionRef {
	var ref *ExceptionRef
	for i, e := range j.basis.Exceptions {
		if e.Rule != rule.ID || !e.covers(j.in.Environment, object) {
			continue
		}
		for n, o := range e.Objects {
			if j.in.Environment.same(o, object) {
				j.used[use{i, n}] = true
			}
		}
		if ref == nil && rule.Waivable && e.Holds(j.in.Now) {
			ref = e.Ref()
		}
	}
	return ref
}

// exceptionFindings are about the exceptions for this environment themselves:
// each that is over, too long, about to end, or waives nothing.
func (j judgement) exceptionFindings() []Finding {
	var findings []Finding
	for i, e := range j.basis.Exceptions {
		if !slices.Contains(e.Environments, j.in.Environment.ID) {
			continue
		}
		for n, object := range e.Objects {
			kind, message := j.exceptionFault(e, j.used[use{i, n}])
			if kind == "" {
				continue
			}
			findings = append(findings, Finding{
				Rule: "exception/" + kind, Title: "Exceptions are in force, needed and reviewed",
				Severity: SeverityMedium, Action: ActionWarn, Object: &object,
				Message:   fmt.Sprintf("exception %s from %s (%s:%d, owner %s) %s", e.Name, e.Rule, e.File, e.Line, e.Owner, message),
				Citations: []string{"45 CFR 164.306(d)(3)"},
				Source:    &Place{File: e.File, Line: e.Line, Exact: true},
			})
		}
	}
	return findings
}

func (j judgement) exceptionFault(e Exception, used bool) (kind, message string) {
	now := j.in.Now
	switch {
	case !now.Before(e.Expires):
		return "expired", fmt.Sprintf("expired on %s and waives nothing: fix what it was for, or have it reviewed again", e.expiresText)
	case now.Before(e.Requested):
		return "not-yet", "is dated after today, and does not hold: want the day of its request in spec.requested"
	case e.tooLong(now):
		return "too-long", fmt.Sprintf("reaches to %s and does not hold: want at most %d days ahead",
			e.expiresText, maxExceptionAhead/(24*time.Hour))
	case !used && !j.erred[e.Rule] && !j.erred[""]:
		return "unused", "waives nothing here: remove it"
	case used && e.Expires.Sub(now) <= expiresSoon:
		return "expires-soon", fmt.Sprintf("expires on %s; the finding stops the release from then on", e.expiresText)
	}
	return "", ""
}

// sortFindings orders by what matters first and drops repetitions, so that the
// same judgement is the same bytes however it was come to.
func sortFindings(findings []Finding) []Finding {
	slices.SortStableFunc(findings, func(a, b Finding) int {
		return cmp.Or(
			slices.Index(actions, a.Action)-slices.Index(actions, b.Action),
			slices.Index(severities, a.Severity)-slices.Index(severities, b.Severity),
			strings.Compare(a.Rule, b.Rule),
			compareRefs(a.Object, b.Object),
			strings.Compare(a.Path, b.Path),
			strings.Compare(a.Message, b.Message),
		)
	})
	return slices.CompactFunc(findings, func(a, b Finding) bool {
		return a.Rule == b.Rule && a.Action == b.Action && compareRefs(a.Object, b.Object) == 0 &&
			a.Path == b.Path && a.Message == b.Message
	})
}

func sortErrors(errs []RuleError) []RuleError {
	sorted := slices.Clone(errs)
	slices.SortStableFunc(sorted, func(a, b RuleError) int {
		return cmp.Or(strings.Compare(a.Rule, b.Rule), compareRefs(a.Object, b.Object), strings.Compare(a.Message, b.Message))
	})
	return slices.Compact(sorted)
}

func compareRefs(a, b *ObjectRef) int {
	switch {
	case a == nil && b == nil:
		return 0
	case a == nil:
		return -1
	case b == nil:
		return 1
	}
	return cmp.Or(a.ID().Compare(b.ID()), strings.Compare(a.APIVersion, b.APIVersion))
}

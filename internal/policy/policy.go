// Package policy holds the words in which a release is judged: what rules see
// (Input), what they say (Finding), and the verdict that follows from it. It
// guarantees that no secret value enters an Input, that the same input, rules
// and results always give the same Report byte for byte, and that a release is
// allowed only when every rule answered: an error is never an allow.
// internal/policy/rego evaluates the rules.
package policy

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"chaperone.dev/chaperone/internal/manifest"
	"chaperone.dev/chaperone/internal/promotion"
	"chaperone.dev/chaperone/internal/source"
)

// Severity says how bad it is when a rule is broken.
type Severity string

// The severities, worst first.
const (
	SeverityCritical Severity = "critical"
	SeverityHigh     Severity = "high"
	SeverityMedium   Severity = "medium"
	SeverityLow      Severity = "low"
	SeverityInfo     Severity = "info"
)

var severities = []Severity{SeverityCritical, SeverityHigh, SeverityMedium, SeverityLow, SeverityInfo}

// AtLeast reports whether s is as bad as other, or worse.
func (s Severity) AtLeast(other Severity) bool {
	return slices.Index(severities, s) <= slices.Index(severities, other)
}

// Threshold is the least severity that stops a release, by what the
// environment holds: synthetic data is worth stopping for only when something
// is critical, patient data for anything from medium up.
func Threshold(data promotion.Data) Severity {
	switch data {
	case promotion.DataNone, promotion.DataSynthetic:
		return SeverityCritical
	case promotion.DataAnonymized:
		return SeverityHigh
	}
	return SeverityMedium
}

// Action says what a finding means for the release.
type Action string

// The actions, strongest first. Only deny stops a release, and only when its
// severity reaches the environment's Threshold: below it, a rule's deny is
// reported as warn.
const (
	ActionDeny  Action = "deny"
	ActionWarn  Action = "warn"
	ActionAudit Action = "audit"
)

var actions = []Action{ActionDeny, ActionWarn, ActionAudit}

// Verdict is the answer to whether a release may run.
type Verdict string

// The verdicts. Only VerdictAllow opens the gate.
const (
	VerdictAllow Verdict = "allow"
	VerdictDeny  Verdict = "deny"
	VerdictError Verdict = "error" // a rule could not be asked; counts as deny
)

// ObjectRef names an object as it stands in the release.
type ObjectRef struct {
	APIVersion string `json:"apiVersion"`
	Kind       string `json:"kind"`
	Namespace  string `json:"namespace"` // "" for what has none
	Name       string `json:"name"`
}

// RefOf names a manifest's object.
func RefOf(o *manifest.Object) ObjectRef {
	return ObjectRef{APIVersion: o.GetAPIVersion(), Kind: o.GetKind(), Namespace: o.GetNamespace(), Name: o.GetName()}
}

// ID is the object's identity, whatever version of its API it is written in.
func (r ObjectRef) ID() manifest.ID {
	group, _, found := strings.Cut(r.APIVersion, "/")
	if !found {
		group = ""
	}
	return manifest.ID{Group: group, Kind: r.Kind, Namespace: r.Namespace, Name: r.Name}
}

// In is its identity where what says no namespace lands in the given one. That of
// a cluster-scoped object is one only beside others made so.
func (r ObjectRef) In(namespace string) manifest.ID {
	id := r.ID()
	if id.Namespace == "" {
		id.Namespace = namespace
	}
	return id
}

func (r ObjectRef) String() string { return r.ID().String() }

// Finding is one rule's result on one object, or on the release as a whole
// when Object is nil.
type Finding struct {
	Rule      string        `json:"rule"`
	Title     string        `json:"title"`
	Severity  Severity      `json:"severity"`
	Action    Action        `json:"action"`
	Object    *ObjectRef    `json:"object"`
	Path      string        `json:"path"`
	Message   string        `json:"message"`
	Citations []string      `json:"citations"`
	Exception *ExceptionRef `json:"exception"` // waives the finding; it is still reported
	// Source is where to change it; nil where nobody looked, as in the daemon. That
	// of a finding about an exception is in the bundle.
	Source *Place `json:"source,omitempty"`
}

// Place is a line of a file in the source, or of a manifest that was given.
type Place struct {
	File  string `json:"file"`
	Line  int    `json:"line"`
	Exact bool   `json:"exact"` // it sets the field; otherwise it is the nearest that is known
}

func (p Place) String() string {
	if p.Exact {
		return fmt.Sprintf("%s:%d", p.File, p.Line)
	}
	return fmt.Sprintf("near %s:%d", p.File, p.Line)
}

// Stops reports whether this finding keeps the release out.
func (f Finding) Stops() bool { return f.Action == ActionDeny && f.Exception == nil }

// ExceptionRef is what a report tells of the exception that waived a finding.
type ExceptionRef struct {
	Name               string   `json:"name"`
	File               string   `json:"file"`
	Reason             string   `json:"reason"`
	Ticket             string   `json:"ticket"`
	Owner              string   `json:"owner"`
	Requester          string   `json:"requester"`
	ApprovedBy         []string `json:"approvedBy"`
	Rationale          string   `json:"rationale,omitempty"`
	AlternativeMeasure string   `json:"alternativeMeasure,omitempty"`
	Expires            string   `json:"expires"`
}

// Countdown is an exception in force, and when it ends.
type Countdown struct {
	Exception string    `json:"name"`
	Rule      string    `json:"rule"`
	Expires   time.Time `json:"expires"`
}

// RuleError says that a rule could not be asked.
type RuleError struct {
	Rule    string     `json:"rule"`   // "" when no single rule is at fault
	Object  *ObjectRef `json:"object"` // nil when it is about the release as a whole
	Message string     `json:"message"`
}

// Error makes a RuleError an error.
func (e RuleError) Error() string {
	rule := e.Rule
	if rule == "" {
		rule = "policy"
	}
	if e.Object != nil {
		return fmt.Sprintf("%s: evaluate %s: %s", e.Object, rule, e.Message)
	}
	return fmt.Sprintf("evaluate %s: %s", rule, e.Message)
}

// Report is the judgement on one release (design.md §5).
type Report struct {
	Environment  promotion.ID    `json:"environment"`
	Revision     source.Revision `json:"revision"`
	Digest       manifest.Digest `json:"digest"`
	PolicyDigest manifest.Digest `json:"policyDigest"`
	Verdict      Verdict         `json:"verdict"`
	Findings     []Finding       `json:"findings"`
	Errors       []RuleError     `json:"errors,omitempty"`
	// Until is when an exception begins or ends to hold here: the verdict must not
	// outlast it. Zero is never.
	Until time.Time `json:"-"`
	// Excepted is the exception in force here that ends first; nil is none.
	Excepted *Countdown `json:"-"`
	// ByContent: another release of the same objects would be judged the same, as
	// no rule looks at commits.
	ByContent bool `json:"-"`
}

// Stopping are the findings that keep the release out, in report order.
func (r Report) Stopping() []Finding {
	var stopping []Finding
	for _, f := range r.Findings {
		if f.Stops() {
			stopping = append(stopping, f)
		}
	}
	return stopping
}

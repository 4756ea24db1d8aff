package cli

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/url"
	"path/filepath"
	"regexp"
	"strings"

	"chaperone.dev/chaperone/internal/policy"
)

// SARIF 2.1.0 (OASIS), as far as it is needed here.
type sarifLog struct {
	Schema  string     `json:"$schema"`
	Version string     `json:"version"`
	Runs    []sarifRun `json:"runs"`
}

type sarifRun struct {
	Tool        sarifTool         `json:"tool"`
	Automation  sarifAutomation   `json:"automationDetails"`
	Invocations []sarifInvocation `json:"invocations"`
	ColumnKind  string            `json:"columnKind"`
	Results     []sarifResult     `json:"results"`
	Properties  map[string]string `json:"properties"`
}

type sarifTool struct {
	Driver sarifDriver `json:"driver"`
}

type sarifDriver struct {
	Name    string      `json:"name"`
	Version string      `json:"version"`
	Rules   []sarifRule `json:"rules"`
}

type sarifAutomation struct {
	ID string `json:"id"`
}

type sarifText struct {
	Text string `json:"text"`
}

type sarifRule struct {
	ID               string         `json:"id"`
	ShortDescription sarifText      `json:"shortDescription"`
	FullDescription  sarifText      `json:"fullDescription"`
	Help             sarifText      `json:"help"`
	Properties       map[string]any `json:"properties"`
}

type sarifInvocation struct {
	Successful    bool                `json:"executionSuccessful"`
	Notifications []sarifNotification `json:"toolExecutionNotifications,omitempty"`
}

type sarifNotification struct {
	Level   string    `json:"level"`
	Message sarifText `json:"message"`
}

type sarifResult struct {
	RuleID       string             `json:"ruleId"`
	RuleIndex    int                `json:"ruleIndex"`
	Level        string             `json:"level"`
	Message      sarifText          `json:"message"`
	Locations    []sarifLocation    `json:"locations,omitempty"`
	Fingerprints map[string]string  `json:"partialFingerprints"`
	Suppressions []sarifSuppression `json:"suppressions"`
}

type sarifLocation struct {
	Physical *sarifPhysical `json:"physicalLocation,omitempty"`
	Logical  []sarifLogical `json:"logicalLocations,omitempty"`
}

type sarifPhysical struct {
	Artifact sarifArtifact `json:"artifactLocation"`
	Region   sarifRegion   `json:"region"`
}

type sarifArtifact struct {
	URI string `json:"uri"`
}

type sarifRegion struct {
	StartLine int `json:"startLine"`
}

type sarifLogical struct {
	Name string `json:"fullyQualifiedName"`
	Kind string `json:"kind"`
}

type sarifSuppression struct {
	Kind          string `json:"kind"`
	Status        string `json:"status"`
	Justification string `json:"justification"`
}

const sarifSchema = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"

// sarifOf is one log with a run for each environment.
func sarifOf(all []judged) sarifLog {
	log := sarifLog{Schema: sarifSchema, Version: "2.1.0", Runs: []sarifRun{}}
	for _, j := range all {
		log.Runs = append(log.Runs, sarifRunOf(j))
	}
	return log
}

func sarifRunOf(j judged) sarifRun {
	run := sarifRun{
		Tool:       sarifTool{sarifDriver{Name: "chaperone", Version: build().Version, Rules: []sarifRule{}}},
		Automation: sarifAutomation{ID: "chaperone/" + j.Environment.String() + "/"},
		ColumnKind: "unicodeCodePoints", Results: []sarifResult{}, // nothing found is an answer
		Invocations: []sarifInvocation{{Successful: len(j.Errors) == 0}},
		Properties: map[string]string{"verdict": string(j.Verdict), "revision": string(j.Revision),
			"digest": string(j.Digest), "policyDigest": string(j.PolicyDigest)},
	}
	for _, e := range j.Errors {
		run.Invocations[0].Notifications = append(run.Invocations[0].Notifications,
			sarifNotification{Level: "error", Message: sarifText{e.Error()}})
	}
	index, seen := map[string]int{}, map[string]int{}
	for _, f := range j.Findings {
		at, known := index[f.Rule]
		if !known {
			at = len(run.Tool.Driver.Rules)
			index[f.Rule] = at
			run.Tool.Driver.Rules = append(run.Tool.Driver.Rules, sarifRuleOf(j.rules, f))
		}
		result := sarifResultOf(j, f, at)
		print := fingerprint(j, f)
		seen[print]++ // a rule may say several things of one field
		result.Fingerprints = map[string]string{"chaperone/v1": fmt.Sprintf("%s:%d", print, seen[print])}
		run.Results = append(run.Results, result)
	}
	return run
}

// sarifRuleOf describes the rule of a finding, which may also be about an exception.
func sarifRuleOf(rules []policy.Rule, f policy.Finding) sarifRule {
	described := sarifRule{ID: f.Rule, ShortDescription: sarifText{f.Title}, FullDescription: sarifText{f.Title}, Help: sarifText{f.Title},
		Properties: map[string]any{"tags": append([]string{"security"}, f.Citations...), "security-severity": securitySeverity[f.Severity],
			"severity": f.Severity}}
	for _, r := range rules {
		if r.ID == f.Rule {
			described.FullDescription, described.Help = sarifText{r.Description}, sarifText{r.Remediation}
		}
	}
	return described
}

// securitySeverity are the numbers by which code scanning sorts.
var securitySeverity = map[policy.Severity]string{policy.SeverityCritical: "9.5", policy.SeverityHigh: "8.0", policy.SeverityMedium: "5.5",
	policy.SeverityLow: "3.0", policy.SeverityInfo: "1.0"}

var sarifLevels = map[policy.Action]string{policy.ActionDeny: "error", policy.ActionWarn: "warning", policy.ActionAudit: "note"}

func sarifResultOf(j judged, f policy.Finding, rule int) sarifResult {
	result := sarifResult{RuleID: f.Rule, RuleIndex: rule, Level: sarifLevels[f.Action], Message: sarifText{f.Message}, Suppressions: []sarifSuppression{}}
	location := sarifLocation{Logical: []sarifLogical{{Name: logicalName(j, f), Kind: "object"}}}
	if f.Source != nil && f.Source.File != "-" {
		uri := (&url.URL{Path: filepath.ToSlash(f.Source.File)}).String()
		location.Physical = &sarifPhysical{sarifArtifact{uri}, sarifRegion{max(f.Source.Line, 1)}}
	}
	result.Locations = []sarifLocation{location}
	if e := f.Exception; e != nil {
		result.Suppressions = append(result.Suppressions, sarifSuppression{Kind: "external", Status: "accepted",
			Justification: fmt.Sprintf("%s (%s, exception %s in %s, owner %s, approved by %s, until %s)",
				e.Reason, e.Ticket, e.Name, e.File, e.Owner, strings.Join(e.ApprovedBy, ", "), e.Expires)})
	}
	return result
}

func logicalName(j judged, f policy.Finding) string {
	parts := []string{j.Environment.String()}
	if f.Object != nil {
		parts = append(parts, f.Object.String())
	}
	if f.Path != "" {
		parts = append(parts, f.Path)
	}
	return strings.Join(parts, ":")
}

// generatedHash is what kustomize puts behind the names of generated
// ConfigMaps and Secrets, by their content.
var generatedHash = regexp.MustCompile(`-[a-z0-9]{10}$`)

// fingerprint stays the same when lines move, the release or the message
// changes, or generated content is another.
func fingerprint(j judged, f policy.Finding) string {
	object := ""
	if f.Object != nil {
		object = f.Object.String()
		if f.Object.Kind == "ConfigMap" || f.Object.Kind == "Secret" {
			object = generatedHash.ReplaceAllString(object, "")
		}
	}
	sum := sha256.Sum256(fmt.Appendf(nil, "%q %q %q %q", j.Environment, f.Rule, object, f.Path))
	return hex.EncodeToString(sum[:16])
}

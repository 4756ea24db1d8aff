package cli

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"chaperone.dev/chaperone/internal/policy"
	"chaperone.dev/chaperone/internal/testkit/racing"
)

var samplePolicies = filepath.Join("..", "..", "policies")

func sampleCoverage(t *testing.T, framework string) coverageTable {
	t.Helper()
	code, text, complaints := run(t, Streams{}, "policy", "list", "--policies", samplePolicies, "--framework", framework, "-o", "json")
	var table coverageTable
	if err := json.Unmarshal([]byte(text), &table); code != exitFine || err != nil {
		t.Fatalf("%s: exit code %d, %v: %s", framework, code, err, complaints)
	}
	return table
}

// Each framework has a table that says plainly what is not checked.
func TestCoverageTables(t *testing.T) {
	t.Parallel()
	for framework, controls := range map[string]int{"hipaa": 60, "hipaa-nprm": 10, "nist-800-53r5": 50, "cis-k8s-1.12": 35, "pss-baseline": 12, "pss-restricted": 7} {
		table := sampleCoverage(t, framework)
		if len(table.Controls) < controls {
			t.Errorf("%s: %d controls, want at least %d", framework, len(table.Controls), controls)
		}
		for _, c := range table.Controls {
			checked := c.Coverage == policy.CoverageAutomated || c.Coverage == policy.CoveragePartial
			if checked != (len(c.Rules) > 0 || c.Engine) || c.Reason == "" {
				t.Errorf("%s %s: %s by %q: %q", framework, c.ID, c.Coverage, c.Rules, c.Reason)
			}
		}
	}
	_, text, _ := run(t, Streams{}, "policy", "list", "--policies", samplePolicies, "--framework", "hipaa")
	for _, want := range []string{"HIPAA Security Rule (45 CFR 164)\n", "\n164.312(a)(2)(iii)    not-checkable  Automatic logoff (addressable)\n", "not checkable from a release\n"} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in:\n%s", want, text)
		}
	}
	for line := range strings.SplitSeq(text, "\n") {
		if textWidth(line) > tableWidth {
			t.Errorf("%d columns: %s", textWidth(line), line)
		}
	}
}

// The proposed rule is cited as a whole, and knows no addressable paragraphs.
func TestProposedRule(t *testing.T) {
	t.Parallel()
	racing.Without(t)
	table := sampleCoverage(t, "hipaa-nprm")
	if table.Cited != "90 FR 898 (proposed)" || table.Enforced || table.Profile != "hipaa" {
		t.Errorf("cited %q, enforced %v", table.Cited, table.Enforced)
	}
	content, err := os.ReadFile(filepath.Join(samplePolicies, "frameworks", "hipaa-nprm.yaml"))
	if err != nil || strings.Contains(string(content), "164.") {
		t.Errorf("%v: a paragraph of the proposed rule is named", err)
	}
	dir := filepath.Join(t.TempDir(), "policies")
	if err := os.CopyFS(dir, os.DirFS(samplePolicies)); err != nil {
		t.Fatal(err)
	}
	waivable := func() (n int) {
		_, text, _ := run(t, Streams{}, "policy", "list", "--policies", dir, "-o", "json")
		var rules []listedRule
		if err := json.Unmarshal([]byte(text), &rules); err != nil {
			t.Fatal(err)
		}
		for _, r := range rules {
			if r.Waivable && r.Controls["hipaa"] != nil {
				n++
			}
		}
		return n
	}
	before := waivable()
	write(t, filepath.Join(dir, "frameworks", "hipaa-nprm.yaml"), strings.Replace(string(content), "enforced: false", "enforced: true", 1))
	if after := waivable(); before == 0 || after != 0 {
		t.Errorf("%d rules that cite HIPAA may be waived, then %d; want some, then none", before, after)
	}
}

func TestUnknownFramework(t *testing.T) {
	t.Parallel()
	code, _, complaints := run(t, Streams{}, "policy", "list", "--policies", samplePolicies, "--framework", "gdpr")
	if code != exitUsage || !strings.Contains(complaints, `no "gdpr" in these policies; there is cis-k8s-1.12, hipaa, `) {
		t.Errorf("exit code %d: %s", code, complaints)
	}
}

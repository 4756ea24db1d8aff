package rego

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"chaperone.dev/chaperone/internal/policy"
	"chaperone.dev/chaperone/internal/promotion"
	"chaperone.dev/chaperone/internal/testkit/racing"
)

// place is a rule, and the field that it points at; "" for none.
type place struct{ rule, path string }

const template, container = "spec.template.spec", "spec.template.spec.containers[0]"

// What both example Deployments lack as they stand in the documents that the
// sample systems come from.
var lackingInBoth = []place{
	{"image/pinned-by-digest", container + ".image"},
	{"image/approved-registry", container + ".image"},
	{"secret/own-account", template + ".serviceAccountName"},
	{"secret/own-account", template + ".automountServiceAccountToken"},
	{"pod/capabilities", container + ".securityContext.capabilities.drop"},
	{"pod/seccomp", container + ".securityContext.seccompProfile.type"},
	{"encryption/mutual-tls", "spec.template.metadata.annotations"},
	{"network/default-deny", ""},
	{"availability/two-of-each", ""},
	{"availability/zone-spread", template + ".topologySpreadConstraints"},
	{"data/data-class-declared", `metadata.labels["chaperone.dev/data-class"]`},
}

var documents = []struct {
	file    string
	lacking []place
	fine    []string // rules that find nothing in it
}{
	{
		file: "crohns-api-gateway.yaml",
		lacking: []place{
			{"pod/run-as-non-root", container + ".securityContext.runAsNonRoot"},
			{"pod/privilege-escalation", container + ".securityContext.allowPrivilegeEscalation"},
			{"pod/read-only-root-filesystem", container + ".securityContext.readOnlyRootFilesystem"},
			{"availability/zero-downtime", "spec.strategy.rollingUpdate.maxUnavailable"},
		},
		fine: []string{
			"availability/probes", "availability/resources", "secret/no-credential-literals", "audit/no-debug-logs", "pod/privileged", "pod/host-path",
		},
	},
	{
		file: "digital-twin-service.yaml",
		fine: []string{
			"availability/probes", "availability/resources", "availability/zero-downtime", "secret/no-credential-literals",
			"audit/no-debug-logs", "pod/run-as-non-root", "pod/privilege-escalation", "pod/read-only-root-filesystem",
		},
	},
}

// The example Deployments of the documents, taken as they stand there, may not
// run in production, and the report is a list that a developer can work off:
// each finding names the object and the field, and its rule says what to do.
func TestDocumentsExamplesAreDeniedInProduction(t *testing.T) {
	t.Parallel()
	racing.Without(t)
	bundle := loadSample(t)
	for _, d := range documents {
		report := judgeDocument(t, bundle, d.file)
		if report.Verdict != policy.VerdictDeny || len(report.Errors) > 0 {
			t.Errorf("%s: verdict %s, errors %v; want deny", d.file, report.Verdict, report.Errors)
		}
		found := map[place]bool{}
		for _, f := range report.Stopping() {
			found[place{f.Rule, f.Path}] = true
			checkFinding(t, bundle, d.file, f)
		}
		for _, want := range slices.Concat(lackingInBoth, d.lacking) {
			if !found[want] {
				t.Errorf("%s: %s does not stop it at %q", d.file, want.rule, want.path)
			}
		}
		for _, f := range report.Findings {
			if slices.Contains(d.fine, f.Rule) {
				t.Errorf("%s: %s at %q: %s; want nothing, the document has that right", d.file, f.Rule, f.Path, f.Message)
			}
		}
	}
}

func judgeDocument(t *testing.T, bundle *Bundle, name string) policy.Report {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("testdata", "documents", name))
	if err != nil {
		t.Fatal(err)
	}
	return evaluate(t, bundle, inputOf(t, promotion.DataPHI, string(text)))
}

// checkFinding wants what somebody needs who has never seen the rule.
func checkFinding(t *testing.T, bundle *Bundle, file string, f policy.Finding) {
	t.Helper()
	i := slices.IndexFunc(bundle.Rules(), func(r policy.Rule) bool { return r.ID == f.Rule })
	if i < 0 || bundle.Rules()[i].Remediation == "" || len(f.Citations) == 0 {
		t.Errorf("%s: %s does not say what to do, or why", file, f.Rule)
	}
	if len(f.Message) < 10 || len(f.Message) > 200 || strings.Contains(f.Message, "\n") {
		t.Errorf("%s: %s says %q; want one short line", file, f.Rule, f.Message)
	}
	// Rules about what an environment file says are about no object.
	ofDeployment := strings.HasPrefix(f.Path, "spec.") || strings.HasPrefix(f.Path, "metadata.")
	if ofDeployment && (f.Object == nil || f.Object.Kind != "Deployment") {
		t.Errorf("%s: %s points at %q of %v; want the Deployment", file, f.Rule, f.Path, f.Object)
	}
}

package rego

import (
	"fmt"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/format"

	"chaperone.dev/chaperone/internal/policy"
	"chaperone.dev/chaperone/internal/testkit/racing"
)

const samplePolicies = "../../../policies"

func loadSample(t testing.TB) *Bundle {
	t.Helper()
	bundle, err := LoadDir(t.Context(), samplePolicies, Limits{})
	if err != nil {
		t.Fatal(err)
	}
	return bundle
}

// sampleFiles is a copy of the sample bundle that a test may change.
func sampleFiles(t testing.TB) fstest.MapFS {
	t.Helper()
	fsys := fstest.MapFS{}
	err := fs.WalkDir(os.DirFS(samplePolicies), ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		content, err := os.ReadFile(path.Join(samplePolicies, name))
		fsys[name] = &fstest.MapFile{Data: content}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return fsys
}

// The sample bundle passes its own tests and examples, and is laid out as its
// readers expect.
func TestSamplePolicies(t *testing.T) {
	t.Parallel()
	files := sampleFiles(t)
	rules := loadSample(t).Rules()
	groups := map[string]bool{}
	for _, r := range rules {
		if want := r.ID + "/rule.rego"; r.File != want {
			t.Errorf("rule %s is in %s, want %s", r.ID, r.File, want)
		}
		if files[r.ID+"/rule_test.rego"] == nil {
			t.Errorf("rule %s has no rule_test.rego beside it", r.ID)
		}
		if len(r.HIPAA) == 0 || r.Code == "" {
			t.Errorf("rule %s has no HIPAA citation or no code", r.ID)
		}
		groups[path.Dir(r.ID)] = true
	}
	for _, group := range []string{"pod", "image", "secret", "network", "encryption", "data"} {
		if !groups[group] {
			t.Errorf("no rule in group %s", group)
		}
	}
	if len(rules) < 12 {
		t.Errorf("%d rules, want at least 12", len(rules))
	}
}

const denial = "deny contains result if {\n"

// alone is the bundle with one rule only, of which some denials are silenced.
func alone(t *testing.T, r policy.Rule, silence func(i int) bool) (files fstest.MapFS, denials int) {
	t.Helper()
	files = sampleFiles(t)
	for name := range files {
		keep := strings.HasPrefix(name, r.ID+"/") || strings.HasPrefix(name, "lib/") || strings.HasPrefix(name, "params/")
		if !keep {
			delete(files, name)
		}
	}
	parts := strings.Split(string(files[r.File].Data), denial)
	text := parts[0]
	for i, part := range parts[1:] {
		text += denial
		if silence(i) {
			text += "\t1 == 2\n"
		}
		text += part
	}
	files[r.File] = &fstest.MapFile{Data: []byte(text)}
	return files, len(parts) - 1
}

// Examples alone notice when a rule denies nothing any more.
func TestSampleExamplesNoticeASilentRule(t *testing.T) {
	t.Parallel()
	racing.Without(t)
	for _, r := range loadSample(t).Rules() {
		files, _ := alone(t, r, func(int) bool { return true })
		delete(files, r.ID+"/rule_test.rego")
		if _, err := Load(t.Context(), files, Limits{}); err == nil || !strings.Contains(err.Error(), "rule "+r.ID+" does not deny it") {
			t.Errorf("%s silenced: %v; want its failing examples to notice", r.ID, err)
		}
	}
}

// Each single denial of a rule is needed by one of its examples or tests.
func TestSampleTestsNoticeEveryDenial(t *testing.T) {
	t.Parallel()
	racing.Without(t)
	for _, r := range loadSample(t).Rules() {
		_, denials := alone(t, r, func(int) bool { return false })
		if denials == 0 {
			t.Errorf("%s: no denial found", r.ID)
		}
		for i := range denials {
			files, _ := alone(t, r, func(n int) bool { return n == i })
			if _, err := Load(t.Context(), files, Limits{}); err == nil || !strings.Contains(err.Error(), "test policies") {
				t.Errorf("%s: nothing notices when denial %d is silent: %v", r.ID, i+1, err)
			}
		}
	}
}

func TestSamplePoliciesAreFormatted(t *testing.T) {
	t.Parallel()
	for name, file := range sampleFiles(t) {
		if !strings.HasSuffix(name, ".rego") {
			continue
		}
		formatted, err := format.SourceWithOpts(name, file.Data, format.Opts{RegoVersion: ast.RegoV1})
		if err != nil || string(formatted) != string(file.Data) {
			t.Errorf("%s is not as `opa fmt` writes it: %v", name, err)
		}
	}
}

// The table that the security team edits starts from what Kubernetes has.
func TestSamplePodTemplates(t *testing.T) {
	t.Parallel()
	templates := loadSample(t).PodTemplates()
	for kind, paths := range policy.StandardPodTemplates() {
		if !slices.Equal(templates[kind], paths) {
			t.Errorf("%s: %q, want %q", kind, templates[kind], paths)
		}
	}
}

// workloads are Deployments of which every fourth breaks some rules.
func workloads(n int) []string {
	var out []string
	for i := range n {
		security := "{allowPrivilegeEscalation: false, capabilities: {drop: [ALL]}}"
		if i%4 == 0 {
			security = "{privileged: true}"
		}
		out = append(out, fmt.Sprintf(`apiVersion: apps/v1
kind: Deployment
metadata: {name: service-%d, namespace: novamind, labels: {chaperone.dev/data-class: phi}}
spec:
  selector: {matchLabels: {app: service-%d}}
  template:
    metadata: {labels: {app: service-%d, chaperone.dev/data-class: phi}}
    spec:
      securityContext: {runAsNonRoot: true, seccompProfile: {type: RuntimeDefault}}
      containers:
      - name: app
        image: registry.example.org/novamind/service-%d:1.0@sha256:%064d
        securityContext: %s
        env: [{name: LOG_LEVEL, value: info}, {name: DB_PASSWORD, valueFrom: {secretKeyRef: {name: db, key: password}}}]
        resources: {requests: {cpu: 100m, memory: 128Mi}, limits: {memory: 256Mi}}
`, i, i, i, i, i, security))
	}
	return append(out, `apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: default-deny, namespace: novamind}
spec: {podSelector: {}, policyTypes: [Ingress, Egress]}
`)
}

// BenchmarkLoad reads, compiles and tests the sample bundle.
func BenchmarkLoad(b *testing.B) {
	for b.Loop() {
		loadSample(b)
	}
}

// What the README shows works as it is shown.
func TestReadme(t *testing.T) {
	t.Parallel()
	racing.Without(t)
	readme, err := os.ReadFile(path.Join(samplePolicies, "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	block := func(language string) string {
		_, rest, _ := strings.Cut(string(readme), "```"+language+"\n")
		text, _, _ := strings.Cut(rest, "```")
		return text
	}
	service := "apiVersion: v1\nkind: Service\nmetadata: {name: a}\nspec: {type: %s}\n"
	files := sampleFiles(t)
	for name, content := range map[string]string{
		"network/no-node-ports/rule.rego":            block("rego"),
		"network/no-node-ports/testdata/fail/a.yaml": fmt.Sprintf(service, "NodePort"),
		"network/no-node-ports/testdata/pass/a.yaml": fmt.Sprintf(service, "ClusterIP"),
		"exceptions/a.yaml":                          block("yaml"),
	} {
		files[name] = &fstest.MapFile{Data: []byte(content)}
	}
	bundle, err := Load(t.Context(), files, Limits{})
	if err != nil {
		t.Fatal(err)
	}
	if len(bundle.Exceptions()) != 1 || len(bundle.Rules()) != len(loadSample(t).Rules())+1 {
		t.Errorf("%d exceptions, %d rules; want those of the README too", len(bundle.Exceptions()), len(bundle.Rules()))
	}
}

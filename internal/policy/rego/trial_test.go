package rego

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"chaperone.dev/chaperone/internal/testkit/racing"
)

// A trial accepts what Load accepts, and its coverage is of what judges.
func TestTrialOfSample(t *testing.T) {
	t.Parallel()
	racing.Without(t)
	inspection, err := Inspect(t.Context(), samplePolicies, Limits{})
	if err != nil {
		t.Fatal(err)
	}
	trial, err := inspection.Try(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range trial.Proofs {
		if p.Problem != "" {
			t.Errorf("%s %s: %s", p.Kind, p.File, p.Problem)
		}
	}
	if !trial.Passed() || trial.Coverage < 95 {
		t.Errorf("passed %v, %.1f%% covered; want all, and at least 95%%", trial.Passed(), trial.Coverage)
	}
	for _, c := range trial.Files {
		if strings.HasSuffix(c.File, "_test.rego") {
			t.Errorf("%s: a test is no part of the coverage", c.File)
		}
	}
	for _, r := range inspection.Rules() {
		examples := inspection.Examples(r.ID)
		if len(examples) < 2 || !examples[0].Denied || examples[len(examples)-1].Denied {
			t.Errorf("%s: %d examples; want what it denies first, then what passes", r.ID, len(examples))
		}
	}
}

// What Load refuses, a trial tells one by one.
func TestTrialTellsEveryFailure(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for name, content := range oneRule("") {
		file := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if strings.Contains(name, "pass") {
			content = configMap("bad")
		}
		if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	stray := filepath.Join(dir, "nobody", "testdata", "fail")
	if err := os.MkdirAll(stray, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(stray, "a.yaml"), []byte(configMap("bad")), 0o600); err != nil {
		t.Fatal(err)
	}
	inspection, err := Inspect(t.Context(), dir, Limits{})
	if err != nil {
		t.Fatal(err)
	}
	trial, err := inspection.Try(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var problems []string
	for _, p := range trial.Proofs {
		if p.Problem != "" {
			problems = append(problems, p.Problem)
		}
	}
	if _, err := LoadDir(t.Context(), dir, Limits{}); err == nil {
		t.Error("Load accepts it")
	}
	text := strings.Join(problems, "\n")
	if trial.Passed() || len(problems) != 2 || !strings.Contains(text, "it is an example that passes") || !strings.Contains(text, "stands in no rule's testdata") {
		t.Errorf("passed %v: %s", trial.Passed(), text)
	}
}

package rego

import (
	"os"
	"testing"
)

const samplePolicies = "../../../policies"

// TestSamplePolicies loads the sample bundle, which runs its tests and examples.
func TestSamplePolicies(t *testing.T) {
	t.Parallel()
	bundle, err := Load(t.Context(), os.DirFS(samplePolicies), DefaultLimits())
	if err != nil {
		t.Fatal(err)
	}
	if n := len(bundle.Rules()); n < 12 {
		t.Errorf("%d rules, want at least 12", n)
	}
	for _, r := range bundle.Rules() {
		if want := r.ID + "/rule.rego"; r.File != want {
			t.Errorf("rule %s is in %s, want %s", r.ID, r.File, want)
		}
	}
}

package cli

import (
	"testing"

	"chaperone.dev/chaperone/internal/manifest"
	"chaperone.dev/chaperone/internal/policy"
)

// A file answers for what it brings, wherever that shows, and for nothing else.
func TestBrought(t *testing.T) {
	t.Parallel()
	objects, err := manifest.Decode("given.yaml", []byte("apiVersion: v1\nkind: Service\nmetadata: {name: given, namespace: shop}\n"))
	if err != nil {
		t.Fatal(err)
	}
	given, err := manifest.NewSet(objects)
	if err != nil {
		t.Fatal(err)
	}
	on := func(name, message string) policy.Finding {
		object := &policy.ObjectRef{APIVersion: "v1", Kind: "Service", Namespace: "shop", Name: name}
		return policy.Finding{Rule: "a/b", Action: policy.ActionDeny, Object: object, Message: message}
	}
	whole := policy.Finding{Rule: "a/c", Action: policy.ActionDeny, Message: "the release"}
	for name, test := range map[string]struct {
		before, after []policy.Finding
		verdict, want policy.Verdict
		left          int
	}{
		"nothing":                         {verdict: policy.VerdictAllow, want: policy.VerdictAllow},
		"what is there anyway":            {[]policy.Finding{on("other", "x"), whole}, []policy.Finding{on("other", "x"), whole}, policy.VerdictDeny, policy.VerdictAllow, 0},
		"its own":                         {nil, []policy.Finding{on("given", "x")}, policy.VerdictDeny, policy.VerdictDeny, 1},
		"its own, as of what it replaces": {[]policy.Finding{on("given", "x")}, []policy.Finding{on("given", "x")}, policy.VerdictDeny, policy.VerdictDeny, 1},
		"another's, because of it":        {[]policy.Finding{on("other", "x")}, []policy.Finding{on("other", "x"), on("other", "y")}, policy.VerdictDeny, policy.VerdictDeny, 1},
		"the whole's, because of it":      {nil, []policy.Finding{whole}, policy.VerdictDeny, policy.VerdictDeny, 1},
		"a rule that could not be asked":  {nil, nil, policy.VerdictError, policy.VerdictError, 0},
	} {
		got := brought(policy.Report{Findings: test.before}, policy.Report{Findings: test.after, Verdict: test.verdict}, given)
		if got.Verdict != test.want || len(got.Findings) != test.left {
			t.Errorf("%s: %s with %d findings, want %s with %d", name, got.Verdict, len(got.Findings), test.want, test.left)
		}
	}
}

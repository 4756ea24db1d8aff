package cli

import (
	"os"
	"path/filepath"
	"testing"

	"chaperone.dev/chaperone/internal/testkit/racing"
)

// What `policy new` writes stands beside the sample's rules, and passes.
func TestNewRuleInSample(t *testing.T) {
	t.Parallel()
	racing.Without(t)
	dir := filepath.Join(t.TempDir(), "policies")
	if err := os.CopyFS(dir, os.DirFS(filepath.Join("..", "..", "policies"))); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"network/no-node-ports", "data/a", "every/not", "9/9"} {
		if code, _, complaints := run(t, Streams{}, "policy", "new", name, "--policies", dir); code != exitFine {
			t.Fatalf("%s: exit code %d: %s", name, code, complaints)
		}
	}
	if code, out, complaints := run(t, Streams{}, "policy", "test", "--policies", dir); code != exitFine {
		t.Errorf("exit code %d: %s%s", code, out, complaints)
	}
}

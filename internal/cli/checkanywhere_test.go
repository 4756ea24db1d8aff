package cli

import (
	"os"
	"path/filepath"
	"testing"

	"chaperone.dev/chaperone/internal/testkit/racing"
)

// What is good enough for production is so where nobody has written a file for
// it: nothing that only a file could say is asked for.
func TestCheckAnywhereCanAllow(t *testing.T) {
	t.Parallel()
	racing.Without(t)
	for _, env := range []string{"novamind/production", "crohns/production"} {
		code, rendered, complaints := run(t, Streams{}, "render", "--repo", "../..", env)
		if code != exitFine {
			t.Fatal(complaints)
		}
		file := filepath.Join(t.TempDir(), "rendered.yaml")
		if err := os.WriteFile(file, []byte(rendered), 0o600); err != nil {
			t.Fatal(err)
		}
		code, out, complaints := run(t, Streams{}, "check", "--policies", "../../policies", "-f", file, "--data", "phi")
		if code != exitFine {
			t.Errorf("%s: exit code %d: %s%s", env, code, out, complaints)
		}
	}
}

package sim

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
)

func load(t testing.TB, path string) *Scenario {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	sc, err := Parse(path, string(text))
	if err != nil {
		t.Fatal(err)
	}
	return sc
}

// TestScenarios plays every story, with several paces of the world: what is
// expected must not hang on who happens to be faster.
func TestScenarios(t *testing.T) {
	t.Parallel()
	paths, err := filepath.Glob("testdata/scenarios/*.txt")
	if err != nil {
		t.Fatal(err)
	}
	seeds := uint64(3)
	if testing.Short() {
		seeds = 1
	}
	for _, path := range paths {
		t.Run(filepath.Base(path), func(t *testing.T) {
			t.Parallel()
			sc := load(t, path)
			for seed := range seeds {
				if o := Play(t, sc, seed+1); o.Failed() {
					t.Fatalf("seed %d: %s\n%s", seed+1, o.Why(), o.Tail(150))
				}
			}
			if slices.ContainsFunc(sc.Steps, func(s *Step) bool { return s.Text == crashesEverywhere }) {
				if err := CrashEverywhere(t, sc, 1); err != nil {
					t.Error(err)
				}
			}
		})
	}
}

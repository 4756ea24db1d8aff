package sim

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"chaperone.dev/chaperone/internal/testkit/racing"
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
	seeds, oneOf := uint64(3), uint64(1)
	if racing.Few() { // `make test` kills it at every call without the detector
		seeds, oneOf = 1, 7
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
				if err := CrashEverywhere(t, sc, 1, oneOf); err != nil {
					t.Error(err)
				}
			}
		})
	}
}

// TestStoriesAreTold: each pitfall of promotion has a story that names it, every
// story ends with what is expected, and those that wait for a repair can be
// played.
func TestStoriesAreTold(t *testing.T) {
	t.Parallel()
	paths, err := filepath.Glob("testdata/scenarios/*.txt")
	if err != nil || len(paths) < 40 {
		t.Fatalf("there are %d scenarios; want at least 40 (%v)", len(paths), err)
	}
	told := map[string]bool{}
	for _, path := range paths {
		sc := load(t, path)
		// What chance has found was found by the rules, which always count.
		if sc.ending() == len(sc.Steps) && !strings.HasPrefix(filepath.Base(path), "found_") {
			t.Errorf("%s: expects nothing at its end", path)
		}
		if pitfall, is := strings.CutPrefix(filepath.Base(path), "pitfall"); is {
			number := strings.TrimLeft(pitfall[:2], "0")
			if !strings.HasPrefix(sc.Story[0], "Pitfall "+number) {
				t.Errorf("%s: its story does not begin with Pitfall %s", path, number)
			}
			told[number] = true
		}
	}
	for _, number := range strings.Fields("2 28 29 30 31 32 33 34 36 37 38 39") {
		if !told[number] {
			t.Errorf("pitfall %s has no scenario", number)
		}
	}
}

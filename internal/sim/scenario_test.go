package sim

import (
	"os"
	"path/filepath"
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

func TestScenarios(t *testing.T) {
	t.Parallel()
	paths, err := filepath.Glob("testdata/scenarios/*.txt")
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range paths {
		t.Run(filepath.Base(path), func(t *testing.T) {
			t.Parallel()
			if o := Play(t, load(t, path), 1); o.Failed() {
				t.Errorf("%s\n%s", o.Why(), o.Tail(150))
			}
		})
	}
}

package reconcile

import (
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// The switch that takes guards away is in no build but that of its own test: the
// package is built without it, nothing else knows the tag, and nothing but a
// test is run with it.
func TestNoGuardIsTakenAwayInWhatIsShipped(t *testing.T) {
	t.Parallel()
	listed, err := exec.Command("go", "list", "-f", "{{.GoFiles}}", ".").Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	if files := string(listed); !strings.Contains(files, "guard_off.go") || strings.Contains(files, "guard_on.go") || strings.Contains(files, "mutation") {
		t.Errorf("built are %s, want guard_off.go and no mutation", files)
	}
	const root = "../.."
	tag := "mut" + "ation"
	err = filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if name := d.Name(); d.IsDir() && (strings.HasPrefix(name, ".") && path != root || name == "testdata" || name == "bin") {
			return filepath.SkipDir
		}
		script := d.Name() == "Makefile" || d.Name() == "Dockerfile" || strings.HasSuffix(path, ".sh")
		if d.IsDir() || !script && !strings.HasSuffix(path, ".go") {
			return nil
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		for line := range strings.Lines(string(text)) {
			constraint := strings.HasPrefix(line, "//go:build") && strings.Contains(line, tag)
			switch {
			case constraint && filepath.Dir(path) != filepath.Join(root, "internal", "reconcile") && !strings.HasSuffix(path, "_test.go"):
				t.Errorf("%s: %s", path, line)
			case script && strings.Contains(line, tag) && !strings.Contains(line, "$(GO) test -tags "+tag):
				t.Errorf("%s: %s: only a test may be run with it", path, line)
			}
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}

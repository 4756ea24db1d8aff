package lint

import (
	"os"
	"regexp"
	"strings"
	"testing"
)

const root = "../.."

func TestTheHouseKeepsItsRules(t *testing.T) {
	t.Parallel()
	tree, err := Read(os.DirFS(root))
	if err != nil {
		t.Fatal(err)
	}
	if len(tree.Files) < 50 {
		t.Fatalf("found %d Go files: not the repository", len(tree.Files))
	}
	for _, finding := range Check(tree) {
		t.Error(finding)
	}
}

// The map names every place, and none that is gone.
func TestTheMapIsTrue(t *testing.T) {
	t.Parallel()
	tree, err := Read(os.DirFS(root))
	if err != nil {
		t.Fatal(err)
	}
	readme, err := os.ReadFile(root + "/internal/README.md")
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for _, f := range tree.Files {
		name := f.Package()
		if layered(f) && !seen[name] && !strings.Contains(string(readme), "`"+name+"`") {
			t.Errorf("internal/README.md does not name `%s`; add a line that says what it holds", name)
		}
		seen[name] = true
	}
	for _, row := range regexp.MustCompile("(?m)^\\|[^|`]*\\| `([^`.]+)` \\|").FindAllStringSubmatch(string(readme), -1) {
		if !seen[row[1]] {
			t.Errorf("internal/README.md names `%s`, which does not exist", row[1])
		}
	}
	for _, name := range regexp.MustCompile("`([a-z0-9]+/[a-z]+\\.go)`").FindAllStringSubmatch(string(readme), -1) {
		if _, err := os.Stat(root + "/internal/" + name[1]); err != nil {
			t.Errorf("internal/README.md: %v", err)
		}
	}
}

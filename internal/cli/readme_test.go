package cli

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"testing/fstest"

	"chaperone.dev/chaperone/internal/policy"
	"chaperone.dev/chaperone/internal/policy/rego"
	"chaperone.dev/chaperone/internal/promotion"
)

// block is one fenced part of the README.
type block struct{ language, text string }

var fence = regexp.MustCompile("(?ms)^```([a-z]*)\n(.*?)^```$")

func readme(t *testing.T) (text string, blocks []block) {
	t.Helper()
	content, err := os.ReadFile(filepath.Join("..", "..", "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	for _, match := range fence.FindAllStringSubmatch(string(content), -1) {
		blocks = append(blocks, block{match[1], match[2]})
	}
	return string(content), blocks
}

func only(t *testing.T, blocks []block, language string) string {
	t.Helper()
	found := ""
	for _, b := range blocks {
		if b.language == language {
			if found != "" {
				t.Fatalf("more than one %s in the README", language)
			}
			found = b.text
		}
	}
	if found == "" {
		t.Fatalf("no %s in the README", language)
	}
	return found
}

// The environment that the README shows is one.
func TestReadmeEnvironment(t *testing.T) {
	t.Parallel()
	_, blocks := readme(t)
	set, err := promotion.Load(fstest.MapFS{
		"environments/novamind/staging.yaml": {Data: []byte(only(t, blocks, "yaml"))},
		"environments/novamind/testing.yaml": {Data: []byte(
			"apiVersion: chaperone.dev/v1alpha1\nkind: Environment\nmetadata: {name: testing}\nspec: {data: none, target: {namespace: novamind-testing}}\n")},
	})
	if err != nil || len(set.Environments) != 2 || len(set.Misplaced) > 0 {
		t.Errorf("%v, %v", set.Faults, err)
	}
}

// The rule that the README shows stands beside the sample's, and denies what
// it says it does.
func TestReadmeRule(t *testing.T) {
	t.Parallel()
	_, blocks := readme(t)
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS(filepath.Join("..", "..", "policies"))); err != nil {
		t.Fatal(err)
	}
	deployment := func(labels string) string {
		return "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: api, labels: {" + labels + "}}\nspec: {template: {spec: {}}}\n"
	}
	for name, content := range map[string]string{
		"rule.rego": only(t, blocks, "rego"), "testdata/pass/team.yaml": deployment("team: twins"), "testdata/fail/nobody.yaml": deployment(""),
	} {
		file := filepath.Join(dir, "meta", "team-named", filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	bundle, err := rego.LoadDir(t.Context(), dir, rego.DefaultLimits())
	if err != nil {
		t.Fatal(err)
	}
	for _, rule := range bundle.Rules() {
		if rule.ID == "meta/team-named" && rule.Severity == policy.SeverityMedium {
			return
		}
	}
	t.Error("the rule is not in the bundle")
}

var shown = regexp.MustCompile("(?m)^chaperone .*$|`chaperone [^`]*`")

// Every command that the README names is one, and the picture fits a page.
func TestReadmeCommands(t *testing.T) {
	t.Parallel()
	text, blocks := readme(t)
	lines := shown.FindAllString(text, -1)
	if len(lines) < 15 {
		t.Errorf("%d commands, want more", len(lines))
	}
	for _, line := range lines {
		line, _, _ = strings.Cut(strings.Trim(line, "`"), "#")
		words := strings.Fields(strings.NewReplacer("[ENV…]", "a/b", "ENV", "a/b").Replace(line))
		root := newRoot(Streams{})
		cmd, rest, err := root.Find(words[1:])
		if err != nil || cmd == root {
			t.Errorf("%s: no such command: %v", line, err)
			continue
		}
		if err := cmd.ParseFlags(rest); err != nil {
			t.Errorf("%s: %v", line, err)
		}
	}
	for _, line := range strings.Split(blocks[0].text, "\n") {
		if textWidth(line) > tableWidth {
			t.Errorf("%d columns: %s", textWidth(line), line)
		}
	}
}

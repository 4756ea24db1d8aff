package evidence

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"chaperone.dev/chaperone/internal/source/worktree"
)

func snapshotOf(t *testing.T, files map[string]string) (*worktree.Snapshot, string) {
	t.Helper()
	dir := t.TempDir()
	for name, content := range files {
		write(t, dir, name, content)
	}
	snapshot, err := worktree.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = snapshot.Close() })
	return snapshot, dir
}

func write(t *testing.T, dir, name, content string) {
	t.Helper()
	name = filepath.Join(dir, name)
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
}

func TestList(t *testing.T) {
	t.Parallel()
	snapshot, dir := snapshotOf(t, map[string]string{
		"environments/novamind/evidence/b.json":  "b",
		"environments/novamind/evidence/a.jsonl": "a",
		"environments/novamind/evidence/.c.json": "c",
		"environments/novamind/evidence/README":  "d",
		"environments/crohns/staging.yaml":       "e",
	})
	if err := os.Symlink("/etc/passwd", filepath.Join(dir, "environments/novamind/evidence/l.json")); err != nil {
		t.Fatal(err)
	}
	none, err := List(snapshot, "crohns")
	if err != nil || none.Sum != "" || len(none.Files) > 0 {
		t.Errorf("%+v, %v; want nothing, and no error", none, err)
	}
	first, err := List(snapshot, "novamind")
	if err != nil || len(first.Files) != 2 || len(first.Refused) != 1 || !strings.HasSuffix(first.Refused[0].File, "l.json") {
		t.Fatalf("%+v, %v; want two files, and one that is none", first, err)
	}
	if content, err := first.Read(first.Files[1]); err != nil || string(content) != "b" || first.Files[1].Name != "environments/novamind/evidence/b.json" {
		t.Errorf("%q of %s, %v; want b", content, first.Files[1].Name, err)
	}
	again, err := List(snapshot, "novamind")
	if err != nil || again.Sum != first.Sum {
		t.Errorf("%s, %v; want the same sum of the same files", again.Sum, err)
	}
	write(t, dir, "environments/novamind/evidence/b.json", "other")
	changed, err := List(snapshot, "novamind")
	if err != nil || changed.Sum == first.Sum {
		t.Errorf("%s, %v; want another sum of other files", changed.Sum, err)
	}
}

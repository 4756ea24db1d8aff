package origin_test

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode"

	"chaperone.dev/chaperone/internal/manifest"
	"chaperone.dev/chaperone/internal/origin"
	"chaperone.dev/chaperone/internal/promotion"
	"chaperone.dev/chaperone/internal/render"
	"chaperone.dev/chaperone/internal/source/worktree"
	"chaperone.dev/chaperone/internal/testkit/racing"
)

// leaves are the scalar fields of an object, by path.
func leaves(prefix string, value any, visit func(path string, value any)) {
	switch value := value.(type) {
	case map[string]any:
		for key, entry := range value {
			leaves(strings.TrimPrefix(prefix+"."+key, "."), entry, visit)
		}
	case []any:
		for i, entry := range value {
			leaves(fmt.Sprintf("%s[%d]", prefix, i), entry, visit)
		}
	default:
		visit(prefix, value)
	}
}

// lines are a file's, read once.
type lines map[string][]string

func (l lines) of(t *testing.T, tree fs.FS, p origin.Place) string {
	t.Helper()
	if l[p.File] == nil {
		content, err := fs.ReadFile(tree, p.File)
		if err != nil {
			t.Fatalf("%+v: %v", p, err)
		}
		l[p.File] = strings.Split(string(content), "\n")
	}
	if p.Line < 1 || p.Line > len(l[p.File]) {
		t.Fatalf("%+v: the file has %d lines", p, len(l[p.File]))
	}
	return l[p.File][p.Line-1]
}

// Every object of every sample environment is traced, nearly every field of it
// exactly, and what is called exact stands on its line.
func TestSampleEnvironments(t *testing.T) {
	t.Parallel()
	racing.Without(t)
	tree, err := worktree.Open(filepath.Join("..", ".."))
	if err != nil {
		t.Fatal(err)
	}
	defer tree.Close()
	set, err := promotion.Load(tree)
	if err != nil {
		t.Fatal(err)
	}
	renderer := render.New(render.DefaultLimits())
	texts := lines{}
	for _, id := range set.IDs() {
		env := set.Environments[id]
		result, err := renderer.Render(t.Context(), tree, env.Path)
		if err != nil {
			t.Fatal(err)
		}
		trace := origin.Of(tree, env.Path)
		all, exact := 0, 0
		for _, o := range result.Set.Objects() {
			if _, known := trace.Object(o); !known {
				t.Errorf("%s: %s is not traced", id, manifest.IDOf(o))
			}
			leaves("", o.Object, func(path string, value any) {
				place := trace.Field(o, path)
				text := texts.of(t, tree, place)
				all++
				if !place.Exact {
					if os.Getenv("SHOW") != "" {
						t.Logf("%s %s %s: %+v", id, manifest.IDOf(o), path, place)
					}
					return
				}
				exact++
				if !says(text, path, value) {
					t.Errorf("%s: %s: %s is %v; %+v says %q", id, manifest.IDOf(o), path, value, place, text)
				}
			})
		}
		t.Logf("%s: %d of %d fields exact", id, exact, all)
		if exact*100 < all*97 {
			t.Errorf("%s: only %d of %d fields are traced exactly", id, exact, all)
		}
	}
}

// says is a rough check that a line is about a field.
func says(line, path string, value any) bool {
	text := fmt.Sprint(value)
	if strings.Contains(text, "\n") || strings.HasPrefix(path, "data.") {
		return true // a file's content, or a line that goes on
	}
	for part := range strings.FieldsFuncSeq(text+"."+path, func(r rune) bool { return !unicode.IsLetter(r) && !unicode.IsDigit(r) }) {
		if strings.Contains(line, part) {
			return true
		}
	}
	return false
}

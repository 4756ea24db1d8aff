package plan

import (
	"strings"
	"testing"

	"pgregory.net/rapid"
	"sigs.k8s.io/structured-merge-diff/v6/fieldpath"
	"sigs.k8s.io/structured-merge-diff/v6/value"
)

func TestPathsAreReadAsDiffsShowThem(t *testing.T) {
	t.Parallel()
	for text, field := range map[string]fieldpath.Path{
		"spec.replicas": fieldpath.MakePathOrDie("spec", "replicas"),
		"spec.template.spec.containers[name=api].image": fieldpath.MakePathOrDie("spec", "template", "spec", "containers",
			fieldpath.KeyByFields("name", "api"), "image"),
		"metadata.annotations[example.org/note]": fieldpath.MakePathOrDie("metadata", "annotations", "example.org/note"),
		"data[app.properties]":                   fieldpath.MakePathOrDie("data", "app.properties"),
		"metadata.finalizers[example.org/wait]":  fieldpath.MakePathOrDie("metadata", "finalizers", value.NewValueInterface("example.org/wait")),
		"spec.ports[port=80,protocol=TCP].nodePort": fieldpath.MakePathOrDie("spec", "ports",
			fieldpath.KeyByFields("port", int64(80), "protocol", "TCP"), "nodePort"),
	} {
		path, err := ParsePath(text)
		if err != nil {
			t.Errorf("%v", err)
			continue
		}
		if !path.covers(field) || pathText(field) != text || path.String() != text {
			t.Errorf("%s is read as %s, and %s is shown as %s", text, path, field, pathText(field))
		}
		if !path.covers(append(field.Copy(), fieldpath.FieldNameElement("x"))) || path.covers(field[:len(field)-1]) {
			t.Errorf("%s does not mean what is below it, or means what is above it", text)
		}
	}
}

func TestBadPathsAreRefused(t *testing.T) {
	t.Parallel()
	for _, text := range []string{"", ".", "a.", ".a", "a..b", "a[", "a[]", "a]", "a[b", "a[[b]]", "a[b]c", "[a]", "a[b].", "a[b]]"} {
		if path, err := ParsePath(text); err == nil {
			t.Errorf("%q is read as %v", text, path)
		}
	}
}

func FuzzParsePath(f *testing.F) {
	for _, seed := range []string{"spec.replicas", "a[b=c,d=e][f].g", "a[", "a..b", "metadata.annotations[x/y]", "a[b]]", "ü.ß[\x00]"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		path, err := ParsePath(text)
		if err != nil {
			if !strings.HasPrefix(err.Error(), "field ") || len(err.Error()) > 1000 {
				t.Errorf("error %v", err)
			}
			return
		}
		if path.String() != text {
			t.Errorf("%q is read as %q", text, path)
		}
		path.covers(fieldpath.MakePathOrDie("a", fieldpath.KeyByFields("b", "c"), value.NewValueInterface("f")))
		graft(map[string]any{"a": []any{map[string]any{"b": "c"}, "f"}}, map[string]any{"a": []any{"f"}}, path)
	})
}

// Wherever a step leads, it leads to one thing or to none.
func TestAStepFindsOneItem(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		items := rapid.SliceOfN(rapid.SampledFrom([]string{"a", "b", "c"}), 0, 5).Draw(t, "items")
		var named, plainly []any
		for _, item := range items {
			named = append(named, map[string]any{"name": item})
			plainly = append(plainly, item)
		}
		count := 0
		for _, item := range items {
			if item == "a" {
				count++
			}
		}
		_, _, found := step{text: "name=a", bracket: true}.find(named)
		_, at, foundPlain := step{text: "a", bracket: true}.find(plainly)
		if found != (count == 1) || foundPlain != found || found && items[at] != "a" {
			t.Errorf("of %v: found %t and %t", items, found, foundPlain)
		}
	})
}

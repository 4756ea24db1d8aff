package promotion

import (
	"bytes"
	"fmt"
	"reflect"
	"strings"
	"testing"

	yaml "go.yaml.in/yaml/v3"
	"pgregory.net/rapid"

	"chaperone.dev/chaperone/internal/source"
)

// decoys look like the pin, or come in the way of who looks for it, and are
// something else.
var decoys = []string{
	"# revision: " + revision, "#revision: x\n  # spec:", "note: 'revision: " + revision + "'", "note: \"spec: {revision: x}\"",
	"text: |\n    spec:\n      revision: " + revision + "\n\n    # no comment", "folded: >-\n    revision: a\n    revision: b",
	"list:\n  - revision: a\n  - {revision: b}", "nested:\n    spec: {revision: c}\n    revision: d", "flow: {revision: e, spec: [revision, f]}",
	"anchored: &pin {revision: g}", "anchor: &text revision", "'revision ': h", "Revision: i", "revisions: [j]", "ünïcødé: 世界 # revision: k",
	"quoted: \"a\\\n    revision: l\"", "tab: \"\trevision:\t\"", "empty:", "long: " + "revision: x "[:9] + strings.Repeat("x", 300),
}

// anyFile draws files of any layout that holds one pin, or none.
func anyFile(t *rapid.T) (file []byte, pinned bool) {
	fields := []string{"path: overlays/a"}
	for _, i := range rapid.SliceOfNDistinct(rapid.IntRange(0, len(decoys)-1), 0, 6, rapid.ID[int]).Draw(t, "decoys") {
		if strings.HasPrefix(decoys[i], "note:") {
			fields = append(fields, fmt.Sprintf("n%d%s", i, decoys[i]))
			continue
		}
		fields = append(fields, decoys[i])
	}
	if pinned = rapid.Bool().Draw(t, "pinned"); pinned {
		value := rapid.SampledFrom([]string{revision, "'" + revision + "'", `"` + revision + `"`, "main", "~", "12", "1e9", "0x1f"}).Draw(t, "value")
		key := rapid.SampledFrom([]string{"revision", `"revision"`, "'revision'", "revision "}).Draw(t, "key")
		fields = append(fields, key+": "+value+rapid.SampledFrom([]string{"", " # revision: x", "   ", "\t# pin"}).Draw(t, "behind"))
	}
	fields = rapid.Permutation(fields).Draw(t, "fields")
	text := rapid.SampledFrom([]string{"", "---\n", "%YAML 1.1\n---\n", "# spec:\n#   revision: x\n", "revision: top\n", "metadata:\n  spec:\n    revision: b\n"}).Draw(t, "top") +
		"spec:" + rapid.SampledFrom([]string{"", " # spec: {revision: x}", " &spec", "  "}).Draw(t, "spec") + "\n"
	for _, field := range fields {
		text += "  " + field + "\n" + rapid.SampledFrom([]string{"", "\n", "  \n", "# left\n"}).Draw(t, "between")
	}
	text += rapid.SampledFrom([]string{"", "after: {revision: m}\n", "...\n", "# revision: n\n", "last: |+\n  revision: o\n\n"}).Draw(t, "end")
	if rapid.Bool().Draw(t, "no final newline") {
		text = strings.TrimRight(text, "\n")
	}
	if rapid.Bool().Draw(t, "CRLF") {
		text = strings.ReplaceAll(text, "\n", "\r\n")
	}
	if rapid.Bool().Draw(t, "byte order mark") {
		text = "\ufeff" + text
	}
	return []byte(text), pinned
}

// TestSetRevisionOfAnyFile: whatever surrounds it, what is read from the file
// differs in the revision alone, and its bytes within that one line alone.
func TestSetRevisionOfAnyFile(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		before, pinned := anyFile(t)
		to := source.Revision(rapid.StringMatching(`[0-9a-f]{40}`).Draw(t, "to"))
		after, err := SetRevision(before, to)
		if err != nil {
			t.Fatalf("%q: %v", before, err)
		}
		was, is := contentOf(t, before), contentOf(t, after)
		spec, ok := is["spec"].(map[string]any)
		if !ok || spec["revision"] != string(to) {
			t.Fatalf("%q became %q, whose spec is %v", before, after, is["spec"])
		}
		delete(spec, "revision")
		delete(was["spec"].(map[string]any), "revision")
		if !reflect.DeepEqual(was, is) {
			t.Fatalf("%q became %q: %v is %v", before, after, was, is)
		}
		onlyOneLine(t, before, after, pinned)
	})
}

func contentOf(t *rapid.T, file []byte) map[string]any {
	t.Helper()
	var content map[string]any
	if err := yaml.Unmarshal(file, &content); err != nil {
		t.Fatalf("%q: %v", file, err)
	}
	return content
}

// onlyOneLine: a line is changed where there was a pin, else inserted.
func onlyOneLine(t *rapid.T, before, after []byte, pinned bool) {
	t.Helper()
	was, is := bytes.SplitAfter(before, []byte("\n")), bytes.SplitAfter(after, []byte("\n"))
	head := 0
	for head < min(len(was), len(is)) && bytes.Equal(was[head], is[head]) {
		head++
	}
	tail := 0
	for tail < min(len(was), len(is))-head && bytes.Equal(was[len(was)-1-tail], is[len(is)-1-tail]) {
		tail++
	}
	gone, came := len(was)-head-tail, len(is)-head-tail
	if pinned && (gone != came || came > 1) || !pinned && (gone != 0 || came != 1) {
		t.Fatalf("%d lines became %d: %q, %q", gone, came, before, after)
	}
}

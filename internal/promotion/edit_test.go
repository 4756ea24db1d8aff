package promotion

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"chaperone.dev/chaperone/internal/source"
)

const other source.Revision = "0123456789abcdef0123456789abcdef01234567"

//lint:long because it is one table of files, each before and after
func TestSetRevisionChangesOneLine(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ name, before, after string }{
		{"plain", "spec:\n  revision: " + revision + "\n  data: phi\n", "spec:\n  revision: NEW\n  data: phi\n"},
		{"comments and order", "# top\nspec: # the rest\n  data: phi\n\n  # moved by a person\n  revision:   " + revision + "  # the pin\n# end\n",
			"# top\nspec: # the rest\n  data: phi\n\n  # moved by a person\n  revision:   NEW  # the pin\n# end\n"},
		{"double quotes", "spec:\n  revision: \"" + revision + "\"\n", "spec:\n  revision: \"NEW\"\n"},
		{"single quotes", "spec:\n  revision: '" + revision + "'\n", "spec:\n  revision: 'NEW'\n"},
		{"quoted names", "\"spec\":\n  'revision': " + revision + "\n", "\"spec\":\n  'revision': NEW\n"},
		{"CRLF", "spec:\r\n  revision: " + revision + "\r\n  data: phi\r\n", "spec:\r\n  revision: NEW\r\n  data: phi\r\n"},
		{"no line end", "spec:\n  revision: " + revision, "spec:\n  revision: NEW"},
		{"byte order mark", "\ufeffspec: {revision: " + revision + "}\n", "\ufeffspec: {revision: NEW}\n"},
		{"other letters before it", "x: ünïcødé 世界\nspec: {y: \"ü\", revision: " + revision + "}\n", "x: ünïcødé 世界\nspec: {y: \"ü\", revision: NEW}\n"},
		{"not a hash yet", "spec:\n  revision: main # soon\n", "spec:\n  revision: NEW # soon\n"},
		{"null", "spec:\n  revision: null\n", "spec:\n  revision: NEW\n"},
		{"no value", "spec:\n  revision:\n  data: phi\n", "spec:\n  revision: NEW\n  data: phi\n"},
		{"no value, a comment", "spec:\n  revision: # none yet\n  data: phi\n", "spec:\n  revision: NEW # none yet\n  data: phi\n"},
		{"revision elsewhere", "revision: a\nmetadata: {revision: b}\nspec:\n  x: {revision: c}\n  revision: d\n",
			"revision: a\nmetadata: {revision: b}\nspec:\n  x: {revision: c}\n  revision: NEW\n"},
		{"insert", "kind: Environment\nspec:\n  # where it is built\n  path: a\n", "kind: Environment\nspec:\n  revision: NEW\n  # where it is built\n  path: a\n"},
		{"insert, deep indent, comment", "spec: # all\n\n      path: a\n", "spec: # all\n      revision: NEW\n\n      path: a\n"},
		{"insert, CRLF", "spec:\r\n  path: a\r\n", "spec:\r\n  revision: NEW\r\n  path: a\r\n"},
		{"insert, flow", "spec: {path: a}\n", "spec: {revision: NEW, path: a}\n"},
		{"insert, flow over lines", "spec: {\n  path: a\n}\n", "spec: {revision: NEW, \n  path: a\n}\n"},
		{"insert, anchor", "spec: &s\n  path: a\nx: *s\n", "spec: &s\n  revision: NEW\n  path: a\nx: *s\n"},
		{"insert, comment looks like a pin", "spec:\n  # revision: abc\n  path: a\n", "spec:\n  revision: NEW\n  # revision: abc\n  path: a\n"},
	} {
		for _, hash := range []source.Revision{other, source.Revision(strings.Repeat("7", 40))} {
			text := plain(string(hash))
			if test.name == "double quotes" || test.name == "single quotes" {
				text = string(hash)
			}
			want := strings.ReplaceAll(test.after, "NEW", text)
			if got, err := SetRevision([]byte(test.before), hash); err != nil || string(got) != want {
				t.Errorf("%s:\ngot  %q, %v\nwant %q", test.name, got, err, want)
			}
		}
	}
}

func TestHashesThatLookLikeNumbersAreQuoted(t *testing.T) {
	t.Parallel()
	for hash, want := range map[string]string{
		string(other):                         string(other),
		strings.Repeat("7", 40):               `"` + strings.Repeat("7", 40) + `"`,
		"1" + strings.Repeat("0", 36) + "e12": `"1` + strings.Repeat("0", 36) + `e12"`,
	} {
		if got := plain(hash); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
}

func TestSetRevisionRefusesWhatItCannotChangeSafely(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ name, before, want string }{
		{"empty", "", "not an empty file"},
		{"a list", "- spec\n", "want one mapping with a spec"},
		{"no spec", "kind: Environment\n", "want one mapping with a spec"},
		{"spec without fields", "spec:\n", "at least one field"},
		{"spec without fields, flow", "spec: {}\n", "at least one field"},
		{"spec is a text", "spec: a\n", "itself a mapping"},
		{"spec is an alias", "x: &x {a: b}\nspec: *x\n", "itself a mapping"},
		{"two specs", "spec: {a: b}\nspec: {a: b}\n", "line 2: spec is written twice"},
		{"two revisions", "spec:\n  revision: a\n  revision: b\n", "line 3: revision is written twice"},
		{"two documents", "spec: {a: b}\n---\nspec: {a: b}\n", "a second document"},
		{"not YAML", "spec: [\n", "line 1: not YAML"},
		{"block text", "spec:\n  revision: |\n    abc\n", "write it on one line"},
		{"folded text", "spec:\n  revision: a\n    b\n", "write it on one line"},
		{"an escape", "spec:\n  revision: \"\\u0061\"\n", "write it on one line"},
		{"a list as value", "spec:\n  revision: [a]\n", "write it on one line"},
		{"an anchor", "spec:\n  revision: &r abc\n", "write it on one line"},
		{"an alias", "x: &r abc\nspec:\n  revision: *r\n", "write it on one line"},
		{"a tag", "spec:\n  revision: !!str abc\n", "write it on one line"},
		{"a name without value in braces", "spec: {revision, a: b}\n", "into spec by hand"},
		{"anchor on a line of its own", "spec:\n  &s\n  path: a\n", "into spec by hand"},
		{"complex key", "spec:\n  ? path\n  : a\n", "into spec by hand"},
	} {
		got, err := SetRevision([]byte(test.before), other)
		if err == nil || got != nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: got %q, %v, want %q", test.name, got, err, test.want)
		}
	}
	for _, hash := range []source.Revision{"", "main", "4f2c", other + "0"} {
		if _, err := SetRevision([]byte(complete), hash); err == nil {
			t.Errorf("set to %q: want an error", hash)
		}
	}
}

func TestSetRevisionOnTheSample(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("../../environments/*/*.yaml")
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	for _, file := range files {
		before, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		after, err := SetRevision(before, other)
		if err != nil || bytes.Equal(before, after) {
			t.Errorf("%s: %v", file, err)
		}
		checkOnlyRevision(t, before, after)
	}
}

type failer interface {
	Helper()
	Fatalf(format string, args ...any)
}

// checkOnlyRevision wants all lines of before in after, byte for byte, but for
// the one that has the revision.
func checkOnlyRevision(t failer, before, after []byte) {
	t.Helper()
	rest := func(file []byte) string {
		var kept []string
		for line := range strings.Lines(string(file)) {
			if name, _, _ := strings.Cut(strings.TrimSpace(line), ":"); name != "revision" {
				kept = append(kept, line)
			}
		}
		return strings.Join(kept, "")
	}
	if rest(before) != rest(after) {
		t.Fatalf("more than the revision changed:\n%q\n%q", before, after)
	}
}

// fileOf draws the layouts that people write: any order, comments, quotes, line
// ends and indents.
func fileOf(t *rapid.T, line string) string {
	indent := strings.Repeat(" ", rapid.IntRange(1, 6).Draw(t, "indent"))
	fields := rapid.Permutation([]string{
		"path: overlays/a # where", "after: [staging]", "data: 'phi'", "target:\n" + indent + "  namespace: novamind",
		"governance: {owner: \"ü@example.org\"}", "# only a comment", "",
	}).Draw(t, "fields")
	if line != "" {
		fields = append(fields, line)
		fields = rapid.Permutation(fields).Draw(t, "with revision")
	}
	text := "# top\nkind: Environment\nspec:" + rapid.SampledFrom([]string{"", " ", " # all"}).Draw(t, "after spec") + "\n"
	for _, field := range fields {
		text += indent + field + "\n"
	}
	text += rapid.SampledFrom([]string{"", "metadata: {name: production}\n", "# end\n", "# end"}).Draw(t, "end")
	if rapid.Bool().Draw(t, "CRLF") {
		text = strings.ReplaceAll(text, "\n", "\r\n")
	}
	return text
}

func TestSetRevisionKeepsEveryOtherByte(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		line := rapid.SampledFrom([]string{"", "revision: " + revision, "revision: \"" + revision + "\" # pin", "revision:  ~", "revision:"}).Draw(t, "line")
		before := []byte(fileOf(t, line))
		hash := source.Revision(rapid.StringMatching(`[0-9a-f]{40}`).Draw(t, "hash"))
		once, err := SetRevision(before, hash)
		if err != nil {
			t.Fatalf("%q: %v", before, err)
		}
		checkOnlyRevision(t, before, once)
		again, err := SetRevision(once, hash)
		if err != nil || !bytes.Equal(once, again) {
			t.Fatalf("the same again changed %q to %q, %v", once, again, err)
		}
		moved, err := SetRevision(once, other)
		if err != nil {
			t.Fatal(err)
		}
		back, err := SetRevision(moved, hash)
		if err != nil || !bytes.Equal(once, back) {
			t.Fatalf("there and back changed %q to %q, %v", once, back, err)
		}
	})
}

func FuzzSetRevision(f *testing.F) {
	for _, seed := range []string{complete, "spec:\n  path: a\n", "spec: {a: b}\r\n", "spec:\r  revision: a\r", "spec:\n  revision:\n\u2028  a: b\n",
		"? spec\n: revision: 'x'\n", "spec:\n- revision\n", "spec: !!map {revision: &a b}\n", "spec:\n\n  a: |\n    revision: x\n  revision: y\n"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, before []byte) {
		after, err := SetRevision(before, other)
		if err != nil {
			return
		}
		p, err := readPin(after)
		if err != nil || p.value.Value != string(other) {
			t.Fatalf("%q became %q: %v", before, after, err)
		}
		// What was there is there still, before and behind one place.
		head, tail := 0, 0
		for head < min(len(before), len(after)) && before[head] == after[head] {
			head++
		}
		for tail < min(len(before), len(after))-head && before[len(before)-1-tail] == after[len(after)-1-tail] {
			tail++
		}
		if changed := after[head : len(after)-tail]; bytes.Count(changed, []byte("\n")) > 1 || len(changed) > 100 {
			t.Fatalf("%q became %q", before, after)
		}
	})
}

package manifest

import (
	"strings"
	"testing"
)

func TestDecode(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ name, text, want string }{
		{"nothing", "", ""},
		{"comments", "# a\n---\n# b\n---\n", ""},
		{"null", "---\nnull\n---\n~\n", ""},
		{"one", "apiVersion: v1\nkind: X\nmetadata: {name: a}\n", "X/a"},
		{"three, one empty", "kind: X\nmetadata: {name: a}\n---\n---\nkind: Z\nmetadata: {name: b}\n", "X/a Z/b"},
		{"CRLF", "kind: X\r\nmetadata:\r\n  name: a\r\n---\r\nkind: Z\r\n", "X/a Z/"},
		{"byte order mark", "\ufeffkind: X\n", "X/"},
		{"JSON", `{"kind":"X","metadata":{"name":"a"}}`, "X/a"},
		{"anchors", "kind: X\nmetadata: {name: &n a, labels: &l {x: *n}, annotations: *l}\n", "X/a"},
		{"merge key", "kind: X\nmetadata: {<<: {name: a}}\n", "X/a"},
		{"block text with a separator", "kind: X\nmetadata: {name: a}\ndata:\n  t: |\n    ---\n    x\n", "X/a"},
	} {
		objects, err := Decode("f.yaml", []byte(test.text))
		if err != nil {
			t.Errorf("%s: %v", test.name, err)
			continue
		}
		var got []string
		for _, o := range objects {
			got = append(got, IDOf(o).String())
		}
		if strings.Join(got, " ") != test.want {
			t.Errorf("%s: %v, want %s", test.name, got, test.want)
		}
	}
}

func TestDecodeErrorsNameFileAndLine(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ name, text, want string }{
		{"no kind", "kind: X\n---\na: 1\n", "f.yaml:2: want a Kubernetes object with apiVersion and kind"},
		{"no kind, late", "# x\n\na: 1\n", "f.yaml:3: want a Kubernetes object"},
		{"empty group", "kind: X\n---\napiVersion: /v1\nkind: Pod\n", `f.yaml:2: apiVersion is "/v1"; want a version such as v1`},
		{"list", "kind: X\n---\n- a\n", "f.yaml:2: want a Kubernetes object, a mapping"},
		{"text", "Error: not found\n---\nhello\n", "f.yaml:1: want a Kubernetes object with"},
		{"syntax", "kind: X\n---\nkind: Z\n---\nb: [\n", "f.yaml:5: did not find expected node content"},
		{"tab", "kind: X\nmetadata:\n\tname: a\n", "f.yaml:3: found character that cannot start any token"},
		{"twice", "kind: X\nmetadata:\n  name: a\n  labels: {}\n  name: b\n", `f.yaml:5: key "name" is given twice`},
		{"twice, second document", "kind: X\n---\n\n# c\nkind: X\nkind: Z\n", `f.yaml:6: key "kind" is given twice`},
		{"alias of itself", "kind: X\na: &a [*a]\n", "f.yaml:1: is YAML that cannot be decoded"},
		{"key is a list", "kind: X\nx:\n  ? [a]\n  : b\n", "f.yaml:3: a key is no plain value"},
		{"key is null", "kind: X\nx: {~: x}\n", "f.yaml:1: is YAML that cannot be written as JSON; want string keys"},
		{"wrong tag", "kind: X\na: !!int b\n", "f.yaml:1: is YAML that cannot be decoded"},
		{"too many", strings.Repeat("kind: X\n---\n", maxDocuments+1), "more than 20000 documents"},
		{"no number", "kind: X\na: .nan\n", "want string keys and finite numbers"},
		{"laughs", laughs(), "cannot be decoded"},
	} {
		objects, err := Decode("f.yaml", []byte(test.text))
		if err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %d objects, %v; want %q", test.name, len(objects), err, test.want)
		}
	}
}

func laughs() string {
	text := "kind: X\nl0: &l0 [x, x, x, x, x, x, x, x, x, x]\n"
	for i := '1'; i <= '9'; i++ {
		text += "l" + string(i) + ": &l" + string(i) + " [" + strings.TrimSuffix(strings.Repeat("*l"+string(i-1)+", ", 10), ", ") + "]\n"
	}
	return text
}

// Pitfall 40: parsers quote what they stumble over, and that may be a secret.
func TestPitfall40_DecodeErrorsQuoteNoValues(t *testing.T) {
	t.Parallel()
	const head = "apiVersion: v1\nkind: Secret\nmetadata: {name: s}\n"
	for _, text := range []string{
		"apiVersion: v1\nstringData: {p: " + canary + "}\n",
		head + "stringData: {p: *" + canary + "}\n",
		head + "stringData: {p: !!int " + canary + "}\n",
		head + "stringData: {p: !" + canary + "\n",
		head + "stringData: {~: " + canary + "}\n",
		head + "stringData: {p: " + canary + "\n",
		head + "stringData: {p: \"" + canary + "\n",
		head + "stringData:\n  p: " + canary + "\n q: " + canary + "\n",
		head + "stringData: {p: " + canary + ", p: " + canary + "}\n",
		canary + "\n",
		"- " + canary + "\n",
		"kind: [" + canary + "]\n",
		"kind: X\n---" + canary + "\n",
	} {
		_, err := Decode("f.yaml", []byte(text))
		if err == nil {
			t.Errorf("no error, so this shows nothing: %s", text)
			continue
		}
		if strings.Contains(err.Error(), strings.TrimSuffix(canary, "!")) {
			t.Errorf("the error tells the secret: %v", err)
		}
	}
}

// Whatever comes in, Decode answers: with objects that have a kind and can be
// told apart, ordered, named and redacted, or with an error that names the file.
func FuzzDecode(f *testing.F) {
	for _, seed := range []string{"kind: X\n", "---\n", "a: &a [*a]\nkind: X\n", laughs(), "kind: List\nitems: [{kind: X}, 1]\n",
		"{\"kind\":\"X\"}", "? [a]\n: b\n", "\xff\xfe", "kind: X\nmetadata: []\n", "kind: Secret\ndata: 1\n", "%YAML 1.1\n---\nkind: X\n", "kind: X\n<<: [*a]\n"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, content []byte) {
		objects, err := Decode("f.yaml", content)
		if err != nil {
			if !strings.HasPrefix(err.Error(), "f.yaml:") {
				t.Errorf("error %q does not name the file", err)
			}
			return
		}
		for _, o := range objects {
			if o.GetKind() == "" {
				t.Error("an object without a kind")
			}
			NewRedactor(salt).Object(o)
			StageOf(o)
		}
		s, err := NewSet(objects)
		if err != nil {
			return
		}
		first := digest(t, s)
		if again := digest(t, set(t, s.Objects()...)); again != first {
			t.Errorf("the set's own objects make another digest")
		}
	})
}

package render

import (
	"errors"
	"strings"
	"testing"

	"sigs.k8s.io/kustomize/api/provider"
	"sigs.k8s.io/kustomize/api/resmap"
)

func TestTextFaultsHaveLines(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name, text string
		line       int
		malformed  bool
		want       string
	}{
		{"good", "a: 1\n---\nb: 2\n", 0, false, ""},
		{"empty", "", 0, false, ""},
		{"comments", "# a\n---\n# b\n", 0, false, ""},
		{"merge keys", "a: &a {x: 1}\nb: {<<: *a, y: 2}\n", 0, false, ""},
		{"anchored key", "a: &k name\nb: {*k : 1}\n", 0, false, ""},
		{"yes is a string", "yes: 1\non: 2\n", 0, false, ""},
		{"malformed second", "a: 1\n---\nb: [\n", 3, true, "did not find"},
		{"malformed third, CRLF", "a: 1\r\n---\r\nb: 1\r\n--- # c\r\n\r\nc: 'x\r\n", 6, true, "found unexpected end"},
		{"unknown anchor", "a: *secret\n", 1, true, "unknown anchor"},
		{"twice", "a: 1\nb: 1\na: 2\n", 3, false, `key "a" is given twice`},
		{"twice in second", "a: 1\n---\nx:\n  b: 1\n  b: 2\n", 5, false, `key "b" is given twice`},
		{"number", "x: {1: a}\n", 1, false, "key is not a string"},
		{"mapping as key", "{a: b}: c\n", 1, false, "key is not a string"},
		{"itself", "a: &x\n  b: *x\n", 1, false, "contains an alias of itself"},
		{"each other", "a: &x\n- b: &y [*x]\n- *y\n", 1, false, "contains an alias of itself"},
	} {
		documents, err := parse(test.text)
		if err == nil {
			err = examine(documents)
		}
		if test.want == "" {
			if err != nil {
				t.Errorf("%s: %v", test.name, err)
			}
			continue
		}
		var at *textError
		if !errors.As(err, &at) {
			t.Errorf("%s: error %v, want %q", test.name, err, test.want)
			continue
		}
		if at.line != test.line || at.malformed != test.malformed || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: line %d, malformed %v, %q; want line %d, malformed %v, %q",
				test.name, at.line, at.malformed, err, test.line, test.malformed, test.want)
		}
		if strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: %q tells a name that may be a password", test.name, err)
		}
	}
}

// What passes the examination can be given to kustomize: it returns.
func FuzzText(f *testing.F) {
	for _, seed := range []string{deployment, service, "a: &x\n  b: *x\n", "a: &a [x]\nb: [*a, *a]\n", "{a: b}: c\n", "<<: &a {<<: *a}\n",
		"kind: List\nitems: [{kind: X, metadata: {name: x}}]\n", "---\n--- # x\n", "!!binary x: y\n", "? a\n: b\n", "a: \xff\n", "[{\"op\":\"add\"}]"} {
		f.Add(seed)
	}
	factory := resmap.NewFactory(provider.NewDefaultDepProvider().GetResourceFactory())
	f.Fuzz(func(t *testing.T, text string) {
		text = text[:min(len(text), 4096)]
		documents, err := parse(text)
		if err != nil || examine(documents) != nil {
			return
		}
		objects, err := factory.NewResMapFromBytes([]byte(text))
		if err != nil {
			return
		}
		for _, r := range objects.Resources() {
			if _, err := r.MarshalJSON(); err != nil {
				t.Errorf("kustomize ends the process when it prints this: %v", err)
			}
		}
	})
}

// However an error is put together, cleaning it leaves no hidden value, no
// mount point and no long text.
func FuzzClean(f *testing.F) {
	f.Add("a with config: `\nx: hunter22\n`: b", "hunter22")
	f.Add("patch [patch: \"hunter22\"] at /snapshot/o/x", "hunter22")
	f.Add("line [104 117 110] x", "hunter22")
	f.Fuzz(func(t *testing.T, message, secret string) {
		found := map[string]bool{}
		spell(found, secret)
		hidden := (&survey{tree: &tree{content: map[string][]byte{}},
			secrets: []secretSource{{literal: "k=" + secret}}}).hidden()
		got := clean(message, hidden)
		if len([]rune(got)) > maxMessage+1 {
			t.Errorf("%d characters", len([]rune(got)))
		}
		line := strings.TrimSpace(secret)
		if len(line) >= minHidden && !strings.Contains(line, "\n") && !strings.Contains("<secret>…", line) &&
			strings.Contains(got, line) && !strings.Contains(strings.ReplaceAll(message, line, ""), line) {
			t.Errorf("%q is left in %q", line, got)
		}
	})
}

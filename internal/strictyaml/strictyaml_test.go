package strictyaml

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// read asks for every kind of value, as a caller with a schema would.
func read(content string) (string, error) {
	d := Parse("f.yaml", []byte(content))
	root := d.Root()
	root.Require("name", "want a name")
	name := root.String("name", "nobody", func(s string) error {
		if strings.Contains(s, " ") {
			return errors.New("want a name without spaces")
		}
		return nil
	})
	color := Enum(root, "color", "red", "red", "green", "blue")
	spec := root.Object("spec")
	on := spec.Bool("on", true)
	count := spec.Int("count", 3, 1, 10)
	wait := spec.Duration("wait", time.Minute, time.Second, 24*time.Hour)
	names := spec.Strings("names")
	labels := spec.StringMap("labels")
	var items []string
	for _, item := range spec.Objects("items") {
		item.Require("id", "want an id")
		text, _ := item.Value("id").Scalar()
		items = append(items, text)
	}
	got := strings.TrimSpace(fmt.Sprintln(name, color, on, count, wait, names, labels, items))
	return got, d.Err()
}

func TestReadsWhatIsWritten(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ content, want string }{
		{"name: a", "a red true 3 1m0s [] map[] []"},
		{"name: a\ncolor: blue\nspec: {on: false, count: 7, wait: 2h}", "a blue false 7 2h0m0s [] map[] []"},
		{"name: a\nspec:\n  names: [x, y]\n  labels: {k: v}\n  items: [{id: 012e45}]", "a red true 3 1m0s [x y] map[k:v] [012e45]"},
		{"name: a\nspec:\n  on:\n  names: null\n  labels: ~\n", "a red true 3 1m0s [] map[] []"},
		{"name: &n a\nspec: {names: [*n]}", "a red true 3 1m0s [a] map[] []"},
		{"\ufeff---\r\nname: a\r\nspec:\r\n  wait: 1d\r\n", "a red true 3 24h0m0s [] map[] []"},
	} {
		got, err := read(test.content)
		if err != nil || got != test.want {
			t.Errorf("%q: got %s, %v, want %s", test.content, got, err, test.want)
		}
	}
}

//lint:long because it is one table: every fault with its whole message
func TestReportsEveryFaultWithItsPlaceAndWhatIsRight(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ content, want string }{
		{"", `f.yaml:1:1: name: missing; want a name`},
		{"# only a comment\n", `f.yaml:1:1: name: missing; want a name`},
		{"- a\n", `f.yaml:1:1: want a mapping of fields, not a list`},
		{"just text", `f.yaml:1:1: want a mapping of fields, not a text`},
		{"nmae: a\n", "f.yaml:1:1: name: missing; want a name\n" +
			`f.yaml:1:1: nmae: unknown field; did you mean "name"?`},
		{"name: a\nzzz: 1\n", `f.yaml:2:1: zzz: unknown field; want one of name, color or spec`},
		{"name: a\nspec:\n  Count: 1\n", `f.yaml:3:3: spec.Count: unknown field; did you mean "count"?`},
		{"name: a\nname: b\n", `f.yaml:2:1: name: written twice, first in line 1; keep one`},
		{"name: 12\n", `f.yaml:1:7: name: want a text, not a number (12)`},
		{"name: true\n", `f.yaml:1:7: name: want a text, not true or false (true)`},
		{"name: 2026-01-01\n", `f.yaml:1:7: name: want a text, not a date (2026-01-01)`},
		{"name: [a]\n", `f.yaml:1:1: name: want a text, not a list`},
		{"name: !x a\n", `f.yaml:1:7: name: want a text, not a value tagged !x (a)`},
		{"name: a b\n", `f.yaml:1:7: name: want a name without spaces`},
		{"name: a\ncolor: grene\n", `f.yaml:2:8: color: "grene" is not known; want one of red, green or blue`},
		{"name: a\ncolor: 7\n", `f.yaml:2:8: color: "7" is not known; want one of red, green or blue`},
		{"name: a\nspec: 1\n", `f.yaml:2:7: spec: want a mapping of fields, not a number`},
		{"name: a\nspec: {on: yes}\n", `f.yaml:2:12: spec.on: want true or false, not the text "yes"`},
		{"name: a\nspec: {count: 1.5}\n", `f.yaml:2:15: spec.count: want a whole number, not a number (1.5)`},
		{"name: a\nspec: {count: 11}\n", `f.yaml:2:15: spec.count: want between 1 and 10, not 11`},
		{"name: a\nspec: {wait: 90}\n", `f.yaml:2:14: spec.wait: want a duration such as 30s, 15m, 12h or 90d, not "90"`},
		{"name: a\nspec: {wait: 90d}\n", `f.yaml:2:14: spec.wait: want between 1s and 1d, not "90d"`},
		{"name: a\nspec: {wait: [1s]}\n", `f.yaml:2:8: spec.wait: want one value, not a list`},
		{"name: a\nspec: {names: a}\n", `f.yaml:2:15: spec.names: want a list, not a text`},
		{"name: a\nspec:\n  names:\n  - a\n  - b\n  - a\n", `f.yaml:6:5: spec.names[2]: "a" is listed twice; keep one`},
		{"name: a\nspec: {labels: {token: 31415}}\n", `f.yaml:2:24: spec.labels.token: want a text, not a number; quote it`},
		{"name: a\nspec:\n  items:\n  - id: 1\n  - {}\n", `f.yaml:5:5: spec.items[1].id: missing; want an id`},
		{"name: a\nspec:\n  <<: {on: true}\n", `f.yaml:3:3: spec: merge keys are not read; write the fields out`},
		{"name: a\n? [b]\n: c\n", `f.yaml:2:3: want a plain field name, not a list`},
		{"name: a\n---\nname: b\n", `f.yaml:2: a second document begins; want one per file`},
		{"name: a\nspec: &s {labels: *s}\n", `f.yaml:2:7: the alias contains itself; write the value out`},
		{"name: a\n\xff\n", `f.yaml:2: not UTF-8; save the file in UTF-8`},
		{"name: a\ncolor: b\x01\n", `f.yaml:2: not YAML: control characters are not allowed; remove it, or write it as an escape in double quotes`},
		{"name: a\nspec: {on: maybe, count: x}\n", `f.yaml:2:12: spec.on: want true or false, not the text "maybe"` + "\n" +
			`f.yaml:2:26: spec.count: want a whole number, not the text "x"`},
	} {
		_, err := read(test.content)
		if err == nil || err.Error() != test.want {
			t.Errorf("%q:\n got %v\nwant %s", test.content, err, test.want)
		}
	}
}

func TestSyntaxErrorsNameTheLineWhereTheyBegin(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		content string
		line    int
		advice  string
	}{
		{"a: 1\nb: [1\nc: 2\n", 2, "close the bracket"},
		{"a: 1\n\tb: 2\n", 2, "indent with spaces"},
		{"a: 1\nb: c: d\n", 2, "quote a text that contains"},
		{"a: 1\nb: \"open\nc: 1\n", 2, "close the quote"},
		{"a: 1\n b: 1\n", 2, "mend the indentation"},
		{"a: 1\nb\nc: 2\n", 2, `want "field: value"`},
		{"a: 1\nb: @x\n", 2, "quote a text that begins"},
		{"a:\n  - b\n c: 1\n", 3, "mend the indentation"},
		{"a: 1\nb: *nope\n", 2, "write the value out"},
		{"a: [\n1,\n2]\nb: 'x' y\n", 4, "mend the indentation or the quotes"},
	} {
		err := Parse("f.yaml", []byte(test.content)).Err()
		var problem Problem
		if !errors.As(err, &problem) || problem.Line != test.line || !strings.Contains(problem.Text, test.advice) {
			t.Errorf("%q: got %v, want line %d and %q", test.content, err, test.line, test.advice)
		}
	}
}

func TestHostileContentIsBounded(t *testing.T) {
	t.Parallel()
	bomb := "a: &a [x,x,x,x,x,x,x,x,x,x]\n"
	for c := 'b'; c < 'k'; c++ {
		bomb += fmt.Sprintf("%c: &%c [%s]\n", c, c, strings.TrimSuffix(strings.Repeat(fmt.Sprintf("*%c,", c-1), 10), ","))
	}
	for _, test := range []struct{ name, content, want string }{
		{"alias bomb", bomb, "once aliases are written out"},
		{"deep", strings.Repeat("[", 500) + strings.Repeat("]", 500), "nested deeper than 64"},
		{"very deep", strings.Repeat("[", 100_000), "not YAML"},
		{"wide", "a: [" + strings.Repeat("x,", 30_000) + "]", "once aliases are written out"},
		{"large", "a: " + strings.Repeat("x", MaxBytes), "want at most 262144"},
		{"many lines, wrong at the end", strings.Repeat("a:\n", 60_000) + "\t}", "not YAML"},
	} {
		d := Parse("f.yaml", []byte(test.content))
		d.Root()
		if err := d.Err(); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: got %.200v, want %q", test.name, err, test.want)
		}
	}
	var many strings.Builder
	for i := range 500 {
		fmt.Fprintf(&many, "f%d: 1\n", i)
	}
	d := Parse("f.yaml", []byte(many.String()))
	d.Root()
	var problems Problems
	if err := d.Err(); !errors.As(err, &problems) || len(problems) != maxProblems+1 ||
		problems[maxProblems].Error() != "f.yaml: and 400 problems more" {
		t.Errorf("500 unknown fields: got %d problems, the last %v", len(problems), problems[len(problems)-1])
	}
}

func TestParseDuration(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]time.Duration{
		"0": 0, "0s": 0, "90s": 90 * time.Second, "1h30m": 90 * time.Minute,
		"1d": 24 * time.Hour, "2190d": 2190 * 24 * time.Hour, "1d12h": 36 * time.Hour, "-5m": -5 * time.Minute,
	} {
		if got, err := ParseDuration(text); err != nil || got != want {
			t.Errorf("ParseDuration(%q) = %v, %v, want %v", text, got, err, want)
		}
	}
	for _, text := range []string{"", "d", "5", "1x", "1.5d", "-1d", "+1d", "1d-1h", "1d1d", "999999999d", "106751d25h", "1 d", "∞"} {
		if got, err := ParseDuration(text); err == nil {
			t.Errorf("ParseDuration(%q) = %v, want an error", text, got)
		}
	}
}

func TestFormatDurationIsReadBack(t *testing.T) {
	t.Parallel()
	for d, want := range map[time.Duration]string{
		0: "0s", time.Minute: "1m", 90 * time.Minute: "1h30m", 24 * time.Hour: "1d", 36 * time.Hour: "36h", 10 * time.Second: "10s",
	} {
		if got := FormatDuration(d); got != want {
			t.Errorf("FormatDuration(%d) = %s, want %s", d, got, want)
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		d := time.Duration(rapid.Int64Range(0, 1<<62).Draw(t, "d"))
		if rapid.Bool().Draw(t, "round") {
			d = d.Truncate(time.Minute)
		}
		if back, err := ParseDuration(FormatDuration(d)); err != nil || back != d {
			t.Fatalf("%d became %s became %d, %v", d, FormatDuration(d), back, err)
		}
	})
}

func TestNearest(t *testing.T) {
	t.Parallel()
	fields := []string{"path", "after", "revision", "onFailure", "target"}
	for word, want := range map[string]string{
		"pathh": "path", "onfailure": "onFailure", "on_failure": "onFailure", "revison": "revision", "atfer": "after",
		"trget": "target", "schedule": "", "x": "", "": "",
	} {
		if got := Nearest(word, fields); got != want {
			t.Errorf("Nearest(%q) = %q, want %q", word, got, want)
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		word := rapid.StringMatching(`[a-z]{4,20}`).Draw(t, "word")
		at := rapid.IntRange(0, len(word)-1).Draw(t, "at")
		if got := Nearest(word[:at]+word[at+1:], []string{"zzzzzzzzzzzzzzzzzzzzzzzzzzzz", word}); got != word {
			t.Fatalf("without letter %d of %q: got %q", at, word, got)
		}
	})
}

func FuzzParse(f *testing.F) {
	for _, seed := range []string{
		"name: a\nspec:\n  on: true\n", "name: &a [*a]", "a: {b: [c, {d: e}]}\n", "? x\n: y\n", "- |\n  a\n- >-\n  b\n",
		"\ufeffname: a\r\n", "a: !!binary x", "<<: {a: b}", "%YAML 1.1\n---\n", "name: a\n...\n---\n", "\xff\xfea\x00",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, content []byte) {
		_, err := read(string(content))
		var problems Problems
		if err != nil && (!errors.As(err, &problems) || len(problems) == 0) {
			t.Fatalf("%q: got %v, want Problems", content, err)
		}
		for _, problem := range problems {
			if problem.Line > 1+len(content) || problem.Text == "" {
				t.Fatalf("%q: %#v is nowhere in the file", content, problem)
			}
		}
	})
}

package expression

import (
	"runtime"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func widget() map[string]any {
	return map[string]any{
		"metadata": map[string]any{"name": "a", "generation": int64(3)},
		"spec":     map[string]any{"replicas": int64(2), "token": "hunter2"},
		"status": map[string]any{"phase": "Ready", "observedGeneration": int64(3), "load": 0.5, "note": nil,
			"conditions": []any{map[string]any{"type": "Ready", "status": "True"}, map[string]any{"type": "Synced", "status": "False"}}},
	}
}

func TestHolds(t *testing.T) {
	t.Parallel()
	tests := []struct {
		text string
		want bool
		err  string
	}{
		{"self.status.phase == 'Ready'", true, ""},
		{"self.status.phase == 'Failed'", false, ""},
		{"self.status.observedGeneration == self.metadata.generation && self.status.conditions.exists(c, c.type == 'Ready' && c.status == 'True')", true, ""},
		{"self.status.conditions.all(c, c.status == 'True')", false, ""},
		{"self.?status.gone.orValue('') == 'x'", false, ""},
		{"has(self.status.gone) && self.status.gone == 'x'", false, ""},
		{"self.spec.replicas >= 1.5", true, ""},
		{"self.status.load < 1", true, ""},
		{"self.status.note == null", true, ""},
		{"self.status.gone == 'x'", false, "no such key: gone"},
		{"self.status", false, "yields a map"},
		{"self.status.phase", false, "yields a string"},
		{"self.status.phase < 3", false, "no such overload"},
		{"self.spec.replicas / 0 == 1", false, "division by zero"},
		{"int(self.spec.token) == 1", false, "cannot be told: an operation in it"},
		{"timestamp(self.spec.token) < timestamp('2026-01-01T00:00:00Z')", false, "cannot be told: an operation in it"},
	}
	for _, test := range tests {
		condition, err := Compile(test.text)
		if err != nil {
			t.Errorf("%s: %v", test.text, err)
			continue
		}
		holds, err := condition.Holds(widget())
		if holds != test.want || (err == nil) != (test.err == "") || err != nil && !strings.Contains(err.Error(), test.err) {
			t.Errorf("%s: got %v, %v; want %v, %q", test.text, holds, err, test.want, test.err)
		}
		if err != nil && strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s shows a value: %v", test.text, err)
		}
	}
}

func TestCompileSaysWhatIsWrong(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"":                            "nothing is written",
		" \n":                         "nothing is written",
		"self.status.phase = 'Ready'": "at character 19: Syntax error",
		"true &&\n  nobody.status":    "in line 2 of it, at character 3: undeclared reference to 'nobody'",
		"'Ready'":                     "it yields a string, and neither true nor false",
		"1 + 2":                       "yields a int",
		"size('a') == 'b'":            "found no matching overload",
		"env('HOME') == ''":           "undeclared reference to 'env'",
		"self.l.map(x, self.s).join('').size() == 0":            "join() may make a text of any size",
		"true || self.l.exists(x, self.s.replace('', x) == '')": "replace() may make",
		"self.?s.orValue('%s%s'.format([self, self])) == ''":    "format() may make",
		strings.Repeat("(", 200) + "1":                          "recursion",
		strings.Repeat("true && ", 2000):                        "more than the 4096",
	} {
		if condition, err := Compile(text); condition != nil || err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%.40q: got %v, want %q", text, err, want)
		}
	}
}

// Whoever may write an environment file, or the status of an object, must not be
// able to keep the daemon busy.
func TestWhatCostsTooMuchIsNotTold(t *testing.T) {
	items := make([]any, 2000)
	for i := range items {
		items[i] = strings.Repeat("a", 100)
	}
	for _, text := range []string{
		"self.items.all(a, self.items.all(b, self.items.all(c, a + b + c != 'x')))",
		"self.items.all(a, [self] == [self])",
		"self.items.all(a, {'x': self} == {'x': self})",
		"self.items.all(a, self.items in [self.items])",
	} {
		condition, err := Compile(text)
		if err != nil {
			t.Fatal(err)
		}
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		holds, err := condition.Holds(map[string]any{"items": items})
		if holds || err == nil || err.Error() != "costs too much to tell" {
			t.Errorf("%s: got %v, %v", text, holds, err)
		}
		if runtime.ReadMemStats(&after); after.TotalAlloc-before.TotalAlloc > 100<<20 {
			t.Errorf("%s: %d MiB were used for it", text, (after.TotalAlloc-before.TotalAlloc)>>20)
		}
	}
}

// A condition that cannot be told is never true.
func TestAnErrorIsNeverTrue(t *testing.T) {
	t.Parallel()
	texts := []string{"self.status.phase == 'Ready'", "self.a.exists(x, x.b)", "self.status", "!self.b", "self.?c.orValue(true)", "self.n > 3", "self['k'][0]"}
	rapid.Check(t, func(t *rapid.T) {
		condition, err := Compile(rapid.SampledFrom(texts).Draw(t, "text"))
		if err != nil {
			t.Fatal(err)
		}
		object := map[string]any{}
		for _, key := range []string{"status", "a", "b", "c", "n", "k"} {
			if value := anything(2).Draw(t, key); value != "absent" {
				object[key] = value
			}
		}
		if holds, err := condition.Holds(object); holds && err != nil {
			t.Fatalf("%v: holds, and %v", object, err)
		}
	})
}

func anything(deep int) *rapid.Generator[any] {
	leaves := []*rapid.Generator[any]{
		rapid.Just[any](nil), rapid.Just[any]("absent"), rapid.Just[any]("Ready"), rapid.Just[any](true), rapid.Just[any](int64(4)), rapid.Just[any](1.5),
	}
	if deep > 0 {
		leaves = append(leaves, rapid.Custom(func(t *rapid.T) any { return []any{anything(deep-1).Draw(t, "item")} }),
			rapid.Custom(func(t *rapid.T) any {
				return map[string]any{rapid.SampledFrom([]string{"phase", "b"}).Draw(t, "key"): anything(deep-1).Draw(t, "value")}
			}))
	}
	return rapid.OneOf(leaves...)
}

func FuzzCompile(f *testing.F) {
	f.Add("self.status.phase == 'Ready'")
	f.Add("self.status.conditions.exists(c, c.type == 'Ready' && c.status == 'True')")
	f.Add("[1,2].map(x, x)")
	f.Fuzz(func(t *testing.T, text string) {
		condition, err := Compile(text)
		if err != nil {
			return
		}
		if holds, err := condition.Holds(widget()); holds && err != nil {
			t.Errorf("%q holds, and %v", text, err)
		}
	})
}

package source

import (
	"errors"
	"io/fs"
	"strings"
	"testing"
	"testing/fstest"
)

const (
	hashA = "3c9e4f2c8d1b7a6059483726150f4e3d2c1b0a99"
	hashB = "0123456789abcdef0123456789abcdef01234567"
)

func TestParseRevision(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ in, problem string }{
		{hashA, ""},
		{strings.Repeat("0", 40), ""},
		{"", "not 0 characters"},
		{hashA[:12], "not 12 characters"},
		{hashA + "0", "not 41 characters"},
		{strings.ToUpper(hashA), "lower-case hexadecimal"},
		{"g" + hashA[1:], "lower-case hexadecimal"},
		{"main", "want 40 hexadecimal digits"},
		{strings.Repeat("é", 20), "lower-case hexadecimal"},
	} {
		got, err := ParseRevision(test.in)
		switch {
		case test.problem == "" && (err != nil || string(got) != test.in):
			t.Errorf("ParseRevision(%q) = %q, %v", test.in, got, err)
		case test.problem != "" && (err == nil || got != "" || !strings.Contains(err.Error(), test.problem)):
			t.Errorf("ParseRevision(%q) = %q, %v; want an error with %q", test.in, got, err, test.problem)
		}
	}
}

func TestShort(t *testing.T) {
	t.Parallel()
	for in, want := range map[Revision]string{hashA: hashA[:12], WorkingTree: "working-tree", "": ""} {
		if got := in.Short(); got != want {
			t.Errorf("Short(%q) = %q, want %q", in, got, want)
		}
	}
	if got := FromHash([20]byte{0x3c, 19: 0x99}); got != "3c"+Revision(strings.Repeat("0", 36))+"99" {
		t.Errorf("FromHash = %q", got)
	}
}

// tree is a snapshot whose hashes are the contents.
type tree struct {
	fstest.MapFS
	err error
}

func (t tree) Revision() Revision { return hashA }

func (t tree) Hash(name string) (string, error) {
	info, err := fs.Stat(t.MapFS, name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return "", t.err
	case info.IsDir():
		return Dir, t.err
	}
	return string(t.MapFS[name].Data), t.err
}

func TestClosureMatches(t *testing.T) {
	t.Parallel()
	s := tree{MapFS: fstest.MapFS{"base/a.yaml": {Data: []byte("a")}}}
	for _, test := range []struct {
		name    string
		closure Closure
		want    bool
	}{
		{"nothing read", Closure{}, true},
		{"unchanged", Closure{"base": Dir, "base/a.yaml": "a", "base/b.yaml": ""}, true},
		{"changed", Closure{"base/a.yaml": "b"}, false},
		{"gone", Closure{"base/c.yaml": "c"}, false},
		{"appeared where there was nothing", Closure{"base/a.yaml": ""}, false},
		{"directory now a file", Closure{"base/a.yaml": Dir}, false},
	} {
		got, err := test.closure.Matches(s)
		if err != nil || got != test.want {
			t.Errorf("%s: Matches = %v, %v; want %v", test.name, got, err, test.want)
		}
	}
	s.err = errors.New("object is damaged")
	if _, err := (Closure{"base/a.yaml": "a"}).Matches(s); !errors.Is(err, s.err) || !strings.Contains(err.Error(), "hash base/a.yaml at 3c9e4f2c8d1b") {
		t.Errorf("err = %v, want the path, the revision and the cause", err)
	}
}

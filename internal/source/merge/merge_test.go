package merge_test

import (
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"chaperone.dev/chaperone/internal/source/merge"
	"chaperone.dev/chaperone/internal/testkit/generator"
)

func TestLines(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name, base, ours, theirs, want string
		conflict                       bool
	}{
		{name: "far apart", base: "1\n2\n3\n4\n5\n", ours: "one\n2\n3\n4\n5\n", theirs: "1\n2\n3\n4\nfive\n", want: "one\n2\n3\n4\nfive\n"},
		{name: "one line between", base: "1\n2\n3\n", ours: "one\n2\n3\n", theirs: "1\n2\nthree\n", want: "one\n2\nthree\n"},
		{name: "next to each other", base: "1\n2\n3\n", ours: "one\n2\n3\n", theirs: "1\ntwo\n3\n", conflict: true},
		{name: "same line", base: "1\n2\n3\n", ours: "1\ntwo\n3\n", theirs: "1\nzwei\n3\n", conflict: true},
		{name: "same change", base: "1\n2\n3\n", ours: "1\ntwo\n3\n", theirs: "1\ntwo\n3\n", want: "1\ntwo\n3\n"},
		{name: "same change and another", base: "1\n2\n3\n4\n5\n", ours: "1\ntwo\n3\n4\n5\n", theirs: "1\ntwo\n3\n4\nfive\n", want: "1\ntwo\n3\n4\nfive\n"},
		{name: "both insert at one place", base: "1\n2\n", ours: "1\na\n2\n", theirs: "1\nb\n2\n", conflict: true},
		{name: "both insert the same", base: "1\n2\n", ours: "1\na\n2\n", theirs: "1\na\n2\n", want: "1\na\n2\n"},
		{name: "deleted next to an insert", base: "1\n2\n3\n", ours: "1\n3\n", theirs: "1\n2\na\n3\n", conflict: true},
		{name: "CRLF kept", base: "1\r\n2\r\n3\r\n", ours: "1\r\n2\r\nthree\r\n", theirs: "one\r\n2\r\n3\r\n", want: "one\r\n2\r\nthree\r\n"},
		{name: "line ends changed", base: "1\n2\n3\n", ours: "1\r\n2\r\n3\r\n", theirs: "1\n2\nthree\n", conflict: true},
		{name: "no final newline kept", base: "1\n2\n3", ours: "one\n2\n3", theirs: "1\n2\n3", want: "one\n2\n3"},
		{name: "final newline gone on one side", base: "1\n2\n3\n", ours: "one\n2\n3\n", theirs: "1\n2\n3", want: "one\n2\n3"},
		{name: "final newline and last line", base: "1\n2\n3\n", ours: "1\n2\nthree\n", theirs: "1\n2\n3", conflict: true},
		{name: "from nothing, one side", ours: "1\n", want: "1\n"},
		{name: "from nothing, both", ours: "1\n", theirs: "2\n", conflict: true},
		{name: "emptied against changed", base: "1\n2\n", theirs: "1\ntwo\n", conflict: true},
	} {
		for _, swap := range []bool{false, true} {
			ours, theirs := test.ours, test.theirs
			if swap {
				ours, theirs = theirs, ours
			}
			got, clean := merge.Lines([]byte(test.base), []byte(ours), []byte(theirs))
			if clean == test.conflict || string(got) != test.want {
				t.Errorf("%s (swapped %v): Lines = %q, %v; want %q, %v", test.name, swap, got, clean, test.want, !test.conflict)
			}
		}
	}
}

var drawText = generator.Shared(rapid.Custom(func(t *rapid.T) string {
	lines := rapid.SliceOfN(rapid.SampledFrom([]string{"a\n", "b\n", "b\r\n", "\n", "c: 1\n"}), 0, 30).Draw(t, "lines")
	return strings.Join(lines, "") + rapid.SampledFrom([]string{"", "end"}).Draw(t, "end")
}))

func TestLinesProperties(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		base, ours, theirs := drawText.Draw(t, "base"), drawText.Draw(t, "ours"), drawText.Draw(t, "theirs")
		checkLines(t, base, ours, theirs)
	})
}

func checkLines(t interface{ Fatalf(string, ...any) }, base, ours, theirs string) {
	lines := func(b, o, t string) (string, bool) {
		merged, clean := merge.Lines([]byte(b), []byte(o), []byte(t))
		return string(merged), clean
	}
	if got, clean := lines(base, ours, base); !clean || got != ours {
		t.Fatalf("what only ours changed is not the outcome: %q, %v", got, clean)
	}
	if got, clean := lines(base, ours, ours); !clean || got != ours {
		t.Fatalf("what both changed alike is not the outcome: %q, %v", got, clean)
	}
	one, clean := lines(base, ours, theirs)
	other, cleanToo := lines(base, theirs, ours)
	if one != other || clean != cleanToo {
		t.Fatalf("the sides are not alike: %q, %v and %q, %v", one, clean, other, cleanToo)
	}
}

func FuzzLines(f *testing.F) {
	f.Add("1\n2\n3\n", "1\n2\nthree\n", "one\n2\n3")
	f.Add(strings.Repeat("a\nb\n", 70), strings.Repeat("b\na\n", 70), strings.Repeat("a\nc\nb\n", 50))
	f.Fuzz(func(t *testing.T, base, ours, theirs string) { checkLines(t, base, ours, theirs) })
}

func TestTrees(t *testing.T) {
	t.Parallel()
	link := func(target string) file { return file{merge.Symlink, target} }
	module := func(at string) file { return file{merge.Submodule, at} }
	exec := func(content string) file { return file{merge.Executable, content} }
	for _, test := range []struct {
		name               string
		base, ours, theirs files
		want               files
		conflicts          []merge.Conflict
	}{
		{"different files", files{"a": text("1"), "b": text("1")}, files{"a": text("2"), "b": text("1")}, files{"a": text("1"), "b": text("2")},
			files{"a": text("2"), "b": text("2")}, nil},
		{"added and deleted", files{"a": text("1"), "d/b": text("2")}, files{"a": text("1"), "d/b": text("2"), "d/c": text("3")}, files{"a": text("1")},
			files{"a": text("1"), "d/c": text("3")}, nil},
		{"everything gone", files{"a": text("1"), "b": text("2")}, files{"a": text("1")}, files{"b": text("2")}, files{}, nil},
		{"changed and deleted", files{"a": text("1")}, files{"a": text("2")}, files{},
			nil, []merge.Conflict{{Path: "a", Reason: merge.ChangedAndDeleted}}},
		{"mode and content", files{"a": text("1")}, files{"a": exec("1")}, files{"a": text("2")}, files{"a": exec("2")}, nil},
		{"binary", files{"a": text("\x001")}, files{"a": text("\x002")}, files{"a": text("\x003")},
			nil, []merge.Conflict{{Path: "a", Reason: merge.BothChangedBinary}}},
		{"links", files{"a": link("1")}, files{"a": link("2")}, files{"a": link("3")},
			nil, []merge.Conflict{{Path: "a", Reason: merge.BothChangedLink}}},
		{"submodules", files{"a": module("1")}, files{"a": module("2")}, files{"a": module("3")},
			nil, []merge.Conflict{{Path: "a", Reason: merge.BothChangedModule}}},
		{"submodule on one side", files{"a": module("1")}, files{"a": module("1"), "c": text("2")}, files{"a": module("2")},
			files{"a": module("2"), "c": text("2")}, nil},
		{"different kinds", files{"a": text("1")}, files{"a": link("2")}, files{"a": text("3")},
			nil, []merge.Conflict{{Path: "a", Reason: merge.DifferentKinds}}},
		{"both added", files{}, files{"a": text("1")}, files{"a": text("2")},
			nil, []merge.Conflict{{Path: "a", Reason: merge.BothAdded}}},
		{"modes", files{}, files{"a": text("1")}, files{"a": exec("1")},
			nil, []merge.Conflict{{Path: "a", Reason: merge.BothChangedMode}}},
		{"file and directory", files{"z": text("1")}, files{"a": text("1"), "z": text("1")}, files{"a/b": text("1"), "z": text("1")},
			nil, []merge.Conflict{{Path: "a", Reason: merge.FileAndDirectory}}},
		{"directory makes room for a file", files{"a/b": text("1"), "a/c": text("1")}, files{"a": text("2")}, files{"a/b": text("1")},
			files{"a": text("2")}, nil},
		{"both moved", files{"a/f": text("same")}, files{"b/f": text("same")}, files{"c/f": text("same")},
			nil, []merge.Conflict{{Path: "a/f", Reason: merge.BothMoved}}},
		{"too large", files{"a": text("large 1")}, files{"a": text("large 2")}, files{"a": text("large 3")},
			nil, []merge.Conflict{{Path: "a", Reason: merge.TooLarge}}},
	} {
		m := newMemory()
		result, err := merge.Trees(limited{m}, m.add(test.base), m.add(test.ours), m.add(test.theirs))
		if err != nil {
			t.Errorf("%s: %v", test.name, err)
			continue
		}
		if !reflect.DeepEqual(result.Conflicts, test.conflicts) {
			t.Errorf("%s: conflicts %v, want %v", test.name, result.Conflicts, test.conflicts)
		}
		if got := m.flat(result.Tree); test.want != nil && fmt.Sprint(got) != fmt.Sprint(test.want) {
			t.Errorf("%s: merged %v, want %v", test.name, got, test.want)
		}
	}
}

type limited struct{ *memory }

func (l limited) Blob(h merge.Hash) ([]byte, error) {
	content, err := l.memory.Blob(h)
	if strings.HasPrefix(string(content), "large") {
		return nil, fmt.Errorf("blob %x: %w", h, merge.ErrTooLarge)
	}
	return content, err
}

// broken fails on the object it is told to.
type broken struct {
	*memory
	at merge.Hash
}

var errBroken = errors.New("object is damaged")

func (b broken) Tree(h merge.Hash) ([]merge.Entry, error) {
	if h == b.at {
		return nil, errBroken
	}
	return b.memory.Tree(h)
}

func TestTreesReportsWhatItCannotRead(t *testing.T) {
	t.Parallel()
	m := newMemory()
	base := m.add(files{"d/a": text("1"), "d/b": text("1")})
	ours := m.add(files{"d/a": text("2"), "d/b": text("1")})
	theirs := m.add(files{"d/a": text("1"), "d/b": text("2")})
	damaged := m.trees[theirs][0].Hash
	_, err := merge.Trees(broken{m, damaged}, base, ours, theirs)
	if !errors.Is(err, errBroken) || !strings.Contains(err.Error(), "merge d") {
		t.Errorf("err = %v, want it to say that d is damaged", err)
	}
}

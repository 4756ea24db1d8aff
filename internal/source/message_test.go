package source

import (
	"reflect"
	"strings"
	"testing"
	"unicode/utf8"

	"pgregory.net/rapid"
)

func TestTrailer(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name, message string
		want          []string
	}{
		{"one", "s\n\nbody\n\nChaperone-Reverts: " + hashA + "\n", []string{hashA}},
		{"no final newline", "s\n\nChaperone-Reverts: " + hashA, []string{hashA}},
		{"any case", "s\n\nchaperone-reverts: " + hashA, []string{hashA}},
		{"several, among others", "s\n\nChaperone-Reverts: a\nSigned-off-by: A <a@example.org>\nChaperone-Reverts:  b \n", []string{"a", "b"}},
		{"CRLF", "s\r\n\r\nbody\r\n\r\nChaperone-Reverts: a\r\nX: y\r\n", []string{"a"}},
		{"blank line of spaces", "s\n \t\nChaperone-Reverts: a\n\n \n", []string{"a"}},
		{"folded value of another", "s\n\nLink: x\n  Chaperone-Reverts: a\nChaperone-Reverts: b", []string{"b"}},
		{"subject only", "Chaperone-Reverts: a", nil},
		{"subject of two lines", "s\nChaperone-Reverts: a", nil},
		{"subject after blank lines", "\n\nChaperone-Reverts: a", nil},
		{"in the body", "s\n\nChaperone-Reverts: a\n\nthe end", nil},
		{"quoted in prose", "s\n\nThe message says\nChaperone-Reverts: a\nand so on.", nil},
		{"indented", "s\n\n  Chaperone-Reverts: a", nil},
		{"space before the colon", "s\n\nChaperone-Reverts : a", nil},
		{"another key", "s\n\nChaperone-Reason: a", nil},
		{"empty", "", nil},
	} {
		if got := (Commit{Message: test.message}).Trailer(TrailerReverts); !reflect.DeepEqual(got, test.want) {
			t.Errorf("%s: Trailer = %q, want %q", test.name, got, test.want)
		}
	}
}

func TestReverts(t *testing.T) {
	t.Parallel()
	for message, want := range map[string]Revision{
		"s\n\nChaperone-Reverts: " + hashA:                                 hashA,
		"s\n\nChaperone-Reverts: nonsense\nChaperone-Reverts: " + hashB:    hashB,
		"s\n\nChaperone-Reverts: " + hashA[:12]:                            "",
		"Revert \"s\"\n\nThis reverts commit " + hashA + ".":               "",
		"s\n\nChaperone-Reverts: " + strings.ToUpper(hashA):                "",
		"s\n\nbody\n\nChaperone-Reverts: " + hashA + "\n\nmore afterwards": "",
	} {
		got, found := Commit{Message: message}.Reverts()
		if got != want || found != (want != "") {
			t.Errorf("Reverts of %q = %q, %v; want %q", message, got, found, want)
		}
	}
}

// TestRevertMessage has the message of design.md §4.
func TestRevertMessage(t *testing.T) {
	t.Parallel()
	guilty := Commit{Revision: hashA, Parents: []Revision{hashB}, Message: "novamind: raise twin batch size\n\nfor speed\n"}
	note := RevertNote{
		Environment: "novamind/staging",
		Release:     "sha256:ab12",
		Reason:      "VerificationFailed",
		Evidence:    `http "readiness" answered 500 in 12 of 12 requests over 60s (limit 1%).`,
	}
	for _, test := range []struct {
		name   string
		guilty Commit
		note   RevertNote
		want   string
	}{
		{"by the daemon", guilty, note, `Revert "novamind: raise twin batch size"

This reverts commit 3c9e4f2c8d1b7a6059483726150f4e3d2c1b0a99. It failed
verification in novamind/staging: http "readiness" answered 500 in 12 of
12 requests over 60s (limit 1%).
To bring the change back, revert this commit together with a fix.

Chaperone-Reverts: 3c9e4f2c8d1b7a6059483726150f4e3d2c1b0a99
Chaperone-Environment: novamind/staging
Chaperone-Release: sha256:ab12
Chaperone-Reason: VerificationFailed
`},
		{"by hand", guilty, RevertNote{}, `Revert "novamind: raise twin batch size"

This reverts commit 3c9e4f2c8d1b7a6059483726150f4e3d2c1b0a99.
To bring the change back, revert this commit together with a fix.

Chaperone-Reverts: 3c9e4f2c8d1b7a6059483726150f4e3d2c1b0a99
`},
		{"of a merge", Commit{Revision: hashA, Parents: []Revision{hashB, hashA}, Message: `Merge "x" \ y`}, RevertNote{Environment: "p/e"}, `Revert "Merge "x" \ y"

This reverts commit 3c9e4f2c8d1b7a6059483726150f4e3d2c1b0a99. It failed
verification in p/e.
This takes a merge back along its first parent. Merging the same branch
again will not bring the change back: revert this commit instead.
To bring the change back, revert this commit together with a fix.

Chaperone-Reverts: 3c9e4f2c8d1b7a6059483726150f4e3d2c1b0a99
Chaperone-Environment: p/e
`},
	} {
		if got := RevertMessage(test.guilty, test.note); got != test.want {
			t.Errorf("%s: RevertMessage =\n%s\nwant\n%s", test.name, got, test.want)
		}
	}
}

// TestRevertMessageProperties: whatever a commit and its evidence say, the
// message is one that Git takes, and that the daemon finds again as the revert
// of exactly that commit.
func TestRevertMessageProperties(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.OneOf(rapid.String(), rapid.SampledFrom([]string{
			"", "\n\n" + TrailerReverts + ": " + hashB + "\n", TrailerReverts + ": " + hashB, "a\x00b", "\xff\xfe", strings.Repeat("long ", 900),
		}))
		guilty := Commit{Revision: hashA, Message: text.Draw(t, "message")}
		guilty.Parents = make([]Revision, rapid.IntRange(0, 3).Draw(t, "parents"))
		note := RevertNote{
			Environment: text.Draw(t, "environment"), Release: text.Draw(t, "release"),
			Reason: text.Draw(t, "reason"), Evidence: text.Draw(t, "evidence"),
		}
		message := RevertMessage(guilty, note)
		if !utf8.ValidString(message) || strings.ContainsRune(message, 0) {
			t.Fatalf("not a message: %q", message)
		}
		revert := Commit{Message: message}
		if got := revert.Trailer(TrailerReverts); len(got) != 1 || got[0] != hashA {
			t.Fatalf("reverts %q in %q", got, message)
		}
		if n := utf8.RuneCountInString(revert.Subject()); n > maxSubject {
			t.Fatalf("subject of %d characters: %q", n, revert.Subject())
		}
		if second := strings.Split(message, "\n")[1]; second != "" {
			t.Fatalf("second line is %q", second)
		}
	})
}

func TestWrap(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		in    string
		width int
		want  string
	}{
		{"one two three", 7, "one two\nthree\n"},
		{"one two three", 6, "one\ntwo\nthree\n"},
		{"a-word-too-long is one", 5, "a-word-too-long\nis\none\n"},
		{"  many \n spaces ", 20, "many spaces\n"},
		{"éé éé", 5, "éé éé\n"},
		{"", 5, "\n"},
	} {
		if got := wrap(test.in, test.width); got != test.want {
			t.Errorf("wrap(%q, %d) = %q, want %q", test.in, test.width, got, test.want)
		}
	}
}

func TestClip(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		in    string
		limit int
		want  string
	}{
		{"short", 5, "short"},
		{"longer", 5, "long…"},
		{"at a blank", 6, "at a…"},
		{"éééé", 4, "éééé"},
		{"ééééé", 4, "ééé…"},
	} {
		if got := clip(test.in, test.limit); got != test.want {
			t.Errorf("clip(%q, %d) = %q, want %q", test.in, test.limit, got, test.want)
		}
	}
}

func FuzzTrailer(f *testing.F) {
	f.Add("s\n\nbody\n\nChaperone-Reverts: "+hashA+"\n", TrailerReverts)
	f.Add("s\r\n\r\n \r\nA: b\r\n c\r\n", "A")
	f.Add("\n\n\n", "")
	f.Fuzz(func(t *testing.T, message, key string) {
		c := Commit{Message: message}
		for _, value := range c.Trailer(key) {
			if strings.ContainsAny(value, "\n") || strings.TrimSpace(value) != value {
				t.Errorf("value %q of %q is not one trimmed line", value, message)
			}
			if !strings.Contains(message, value) {
				t.Errorf("value %q is not in %q", value, message)
			}
		}
		if subject := c.Subject(); strings.Contains(subject, "\n") {
			t.Errorf("subject %q has more than one line", subject)
		}
		if revision, found := c.Reverts(); found {
			if _, err := ParseRevision(string(revision)); err != nil {
				t.Errorf("Reverts = %q: %v", revision, err)
			}
		}
	})
}

package cli

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"chaperone.dev/chaperone/internal/policy"
	"chaperone.dev/chaperone/internal/promotion"
)

func TestTable(t *testing.T) {
	t.Parallel()
	var b bytes.Buffer
	rows := table{header: []string{"WHO", "WHAT"}}
	rows.add("ada", "writes")
	rows.note(strings.Repeat("because ", 15))
	rows.add("", strings.Repeat("x", 120))
	rows.note("")
	rows.write(&b)
	want := `WHO  WHAT
ada  writes
    because because because because because because because because because because because because
    because because because
     ` + strings.Repeat("x", 95) + `
     ` + strings.Repeat("x", 25) + "\n"
	if got := b.String(); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

// Whatever is in it, a table fits its width, shows no more than text, and
// loses no letter.
func TestTableFits(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		columns := rapid.IntRange(1, 6).Draw(t, "columns")
		cell := rapid.OneOf(rapid.String(), rapid.StringMatching(`([a-z./-]{1,90} ?){0,4}`), rapid.StringMatching(`[日本語e\x{301}\x1b ]{0,80}`))
		rows := table{indent: rapid.IntRange(0, 4).Draw(t, "indent")}
		written := ""
		for range rapid.IntRange(1, 5).Draw(t, "rows") {
			cells := rapid.SliceOfN(cell, columns, columns).Draw(t, "cells")
			rows.add(cells...)
			note := cell.Draw(t, "note")
			rows.note(note)
			written += strings.Join(cells, "") + note
		}
		var b bytes.Buffer
		rows.write(&b)
		for line := range strings.SplitSeq(b.String(), "\n") {
			if textWidth(line) > tableWidth || clean(line) != line {
				t.Fatalf("%d columns, or not clean: %q", textWidth(line), line)
			}
		}
		if got, want := letters(b.String()), letters(clean(written)); got != want {
			t.Fatalf("%d letters, want %d", got, want)
		}
	})
}

func letters(text string) int { return len([]rune(strings.Join(strings.Fields(text), ""))) }

func TestWrapText(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		text  string
		width int
		want  string
	}{
		{"", 10, ""},
		{"one two three", 7, "one two|three"},
		{"one two three", 13, "one two three"},
		{"abcdefghij kl", 4, "abcd|efgh|ij|kl"},
		{`"a  b"`, 10, `"a  b"`}, // what differs in spaces only must not look the same
		{"line\nbreak", 20, "line break"},
		{"日本語", 4, "日本|語"},
		{"日", 1, "日"}, // no room at all: shown nevertheless
	} {
		if got := strings.Join(wrapText(test.text, test.width), "|"); got != test.want {
			t.Errorf("wrapText(%q, %d) = %q, want %q", test.text, test.width, got, test.want)
		}
	}
}

// A commit's subject may hold what a terminal obeys.
func TestClean(t *testing.T) {
	t.Parallel()
	if got, want := clean("\x1b]0;title\x07\u202etxt\tok\r\n"), "\ufffd]0;title\ufffd\ufffdtxt ok  "; got != want {
		t.Errorf("clean = %q, want %q", got, want)
	}
	if got, want := cleanLines("one\x1b[2J\ntwo"), "one\ufffd[2J\ntwo"; got != want {
		t.Errorf("cleanLines = %q, want %q", got, want)
	}
}

func TestAgo(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	for before, want := range map[time.Duration]string{
		-time.Minute: "0s", 0: "0s", 59 * time.Second: "59s", 61 * time.Second: "1m", 47 * time.Hour: "47h", 49 * time.Hour: "2d",
	} {
		if got := ago(now.Add(-before), now); got != want {
			t.Errorf("%s before: %s, want %s", before, got, want)
		}
	}
	if got := ago(time.Time{}, now); got != "-" {
		t.Errorf("no time: %s, want -", got)
	}
}

// What the scripts cannot show: colour on a terminal, rules that could not be
// asked, and exceptions, which end.
func TestCheckTable(t *testing.T) {
	t.Parallel()
	object := policy.ObjectRef{APIVersion: "apps/v1", Kind: "Deployment", Namespace: "shop", Name: "app"}
	production := promotion.ID{Pipeline: "shop", Name: "production"}
	reports := []policy.Report{
		{Environment: promotion.ID{Pipeline: "shop", Name: "testing"}, Digest: "sha256:aa", PolicyDigest: "sha256:bb", Verdict: policy.VerdictAllow,
			Findings: []policy.Finding{{Rule: "image/no-latest", Severity: policy.SeverityHigh, Action: policy.ActionDeny, Object: &object, Message: "no version",
				Exception: &policy.ExceptionRef{Name: "until-spring", File: "exceptions/spring.yaml", Expires: "2026-03-01"}}}},
		{Environment: production, Digest: "sha256:aa", PolicyDigest: "sha256:bb", Verdict: policy.VerdictError,
			Errors:   []policy.RuleError{{Rule: "image/no-latest", Message: "took longer than 5s"}},
			Findings: []policy.Finding{{Rule: "network/default-deny", Severity: policy.SeverityLow, Action: policy.ActionAudit, Message: "no policy"}}},
	}
	want := `shop/testing: GREENallowPLAIN (release aa, policies bb)
  ACTION  SEVERITY  RULE             OBJECT
  waived  high      image/no-latest  Deployment.apps/shop/app
      no version
      waived until 2026-03-01 by until-spring (exceptions/spring.yaml)

shop/production: REDerrorPLAIN (release aa, policies bb)
  error  evaluate image/no-latest: took longer than 5s
  ACTION  SEVERITY  RULE                  OBJECT
  audit   low       network/default-deny  the release
      no policy
`
	for terminal, colours := range map[bool][]string{
		true: {"GREEN", green, "RED", red, "PLAIN", plain}, false: {"GREEN", "", "RED", "", "PLAIN", ""},
	} {
		var b bytes.Buffer
		c := &command{Streams{Terminal: terminal}}
		c.checkTable(&b, reports)
		if got, want := b.String(), strings.NewReplacer(colours...).Replace(want); got != want {
			t.Errorf("terminal %t: got\n%s\nwant\n%s", terminal, got, want)
		}
	}
}

package forge

import (
	"errors"
	"fmt"
	"io"
	"net/url"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"pgregory.net/rapid"

	"chaperone.dev/chaperone/internal/fault"
)

func TestApprovalsAreLastWords(t *testing.T) {
	t.Parallel()
	ann, bob := Account{Login: "ann"}, Account{Login: "Bob"}
	for _, test := range []struct {
		name    string
		reviews []Review
		want    string
	}{
		{"none", nil, ""},
		{"one", []Review{{ann, Approved, true, "1"}}, "ann@1"},
		{"a comment takes nothing back", []Review{{ann, Approved, true, "1"}, {ann, Commented, true, "2"}}, "ann@1"},
		{"taken back", []Review{{ann, Approved, true, "1"}, {ann, ChangesRequested, true, "1"}}, ""},
		{"dismissed", []Review{{ann, Dismissed, true, "1"}}, ""},
		{"approved after asking for changes", []Review{{ann, ChangesRequested, true, "1"}, {ann, Approved, true, "2"}}, "ann@2"},
		{"once a person", []Review{{ann, Approved, true, "1"}, {Account{Login: "ANN"}, Approved, true, "2"}}, "ANN@2"},
		{"two people, the latest first", []Review{{ann, Approved, true, "1"}, {bob, Approved, true, "1"}}, "Bob@1 ann@1"},
		{"somebody from outside", []Review{{ann, Approved, false, "1"}}, ""},
		{"nobody", []Review{{Account{}, Approved, true, "1"}}, ""},
	} {
		var got []string
		for _, a := range (Merge{Reviews: test.reviews}).Approvals() {
			got = append(got, a.By.Login+"@"+string(a.At))
		}
		if strings.Join(got, " ") != test.want {
			t.Errorf("%s: %v, want %q", test.name, got, test.want)
		}
	}
}

func TestAccounts(t *testing.T) {
	t.Parallel()
	if (Account{}).Same(Account{}) {
		t.Error("nobody is the same as nobody")
	}
	if a := (Account{Login: "K"}); a.Same(Account{Login: "\u212a"}) || !a.Same(Account{Login: "k"}) {
		t.Error("logins fold as ASCII, and only so")
	}
	for account, want := range map[Account]string{
		{}: "somebody unknown", {Login: "ann"}: "ann", {Login: "ann", Name: "Ann A."}: "Ann A. (ann)",
	} {
		if got := account.String(); got != want {
			t.Errorf("%#v: %q, want %q", account, got, want)
		}
	}
}

func TestTextsAreBounded(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		s, limit := rapid.String().Draw(t, "s"), rapid.IntRange(40, 200).Draw(t, "limit")
		long := strings.Repeat(s+"\n", 1+limit/(1+len(s)))
		text, line := Text(long, limit), Line(long, limit)
		if len(text) > limit || !utf8.ValidString(text) {
			t.Fatalf("text of %d bytes, want at most %d, in UTF-8: %q", len(text), limit, text)
		}
		if utf8.RuneCountInString(line) > limit || strings.ContainsAny(line, "\n\r\x00") {
			t.Fatalf("line %q, want at most %d characters", line, limit)
		}
		if Text(text, limit) != text || Line(line, limit) != line {
			t.Fatal("cutting twice is not the same as once")
		}
		if Text(s, 1<<20) != printable(s) {
			t.Fatal("a short text was changed")
		}
	})
}

func TestTextsShowWhatThereIs(t *testing.T) {
	t.Parallel()
	if got := Text("a\u202eb\x1b[31mc\x00\r\nd\xff", 100); got != "ab[31mc\nd\ufffd" {
		t.Errorf("%q", got)
	}
}

func TestProposalDiffers(t *testing.T) {
	t.Parallel()
	p := Proposal{Title: "Promote", Body: "one\ntwo\n"}
	if p.Differs(PullRequest{Title: "Promote ", Body: "one\r\ntwo"}) {
		t.Error("line ends and space at the ends are no difference")
	}
	if !p.Differs(PullRequest{Title: "Promote", Body: "one two"}) || !p.Differs(PullRequest{Title: "promote", Body: p.Body}) {
		t.Error("other words are a difference")
	}
	long := Proposal{Title: strings.Repeat("é", 300), Body: strings.Repeat("é\n", MaxBody)}.Bounded()
	if long.Differs(PullRequest{Title: long.Title, Body: long.Body}) || long != long.Bounded() {
		t.Error("a bounded proposal differs from itself")
	}
}

func TestMarkers(t *testing.T) {
	t.Parallel()
	body := Marked("preview", "what would change")
	for _, text := range []string{body, strings.ReplaceAll(body, "\n", "\r\n"), "\n" + body, Marked("preview", strings.Repeat("x", 2*MaxBody))} {
		if !HasMarker("preview", text) || HasMarker("pre", text) || len(text) > MaxBody {
			t.Errorf("not found again: %.80q", text)
		}
	}
	for _, text := range []string{"", "> " + body, "as it says:\n" + body} {
		if HasMarker("preview", text) {
			t.Errorf("%.80q only quotes the marker", text)
		}
	}
}

func TestFaults(t *testing.T) {
	t.Parallel()
	for code, want := range map[int]struct {
		is       error
		terminal bool
	}{
		401: {ErrUnauthorised, true}, 403: {ErrForbidden, true}, 404: {ErrNotFound, true}, 410: {ErrNotFound, true},
		409: {ErrRejected, true}, 422: {ErrRejected, true}, 429: {ErrUnavailable, false}, 408: {ErrUnavailable, false},
		500: {ErrUnavailable, false}, 503: {ErrUnavailable, false}, 302: {ErrUnavailable, false}, 0: {ErrUnavailable, false},
	} {
		err := Fault("open pull request", "org/repo", &url.Error{Op: "Post", URL: "https://forge", Err: Answered(code, "said\nthis")})
		if !errors.Is(err, want.is) || fault.IsTerminal(err) != want.terminal {
			t.Errorf("%d: %v, terminal %v; want %v, %v", code, err, fault.IsTerminal(err), want.is, want.terminal)
		}
		if !strings.HasPrefix(err.Error(), "org/repo: open pull request: ") || code != 429 && !strings.HasSuffix(err.Error(), "said this") ||
			strings.Contains(err.Error(), "https://") {
			t.Errorf("%d: %v", code, err)
		}
	}
	if Fault("x", "y", Answered(201, "said")) != nil {
		t.Error("success is no fault")
	}
	if err := Fault("x", "y", io.ErrUnexpectedEOF); !errors.Is(err, ErrUnavailable) || !errors.Is(err, io.ErrUnexpectedEOF) || fault.IsTerminal(err) {
		t.Errorf("%v: nobody knows what came of it", err)
	}
}

func TestWaits(t *testing.T) {
	t.Parallel()
	for given, want := range map[time.Duration]time.Duration{
		-time.Hour: time.Second, 0: time.Second, time.Minute: time.Minute, 1000 * time.Hour: MaxWait,
	} {
		if got := Waits(fmt.Errorf("wrapped: %w", Limited(given))); got != want {
			t.Errorf("asked for %v: %v, want %v", given, got, want)
		}
	}
	if Waits(ErrUnavailable) != 0 {
		t.Error("nobody asked to wait")
	}
}

package state

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"pgregory.net/rapid"

	"chaperone.dev/chaperone/internal/reconcile"
	"chaperone.dev/chaperone/internal/testkit/generator"
)

var asked = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func TestPauseAsPeopleWriteIt(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		text string
		want Pause
	}{
		"without end": {`{"reason":"migration by hand","by":"jane@example.org","at":"2026-03-01T12:00:00Z"}`,
			Pause{Reason: "migration by hand", By: "jane@example.org", At: asked}},
		"until a time": {`{"until":"2026-03-01T19:00:00+01:00", "at":"2026-03-01T13:00:00+01:00", "by":"jane", "reason":"a \"freeze\" — für alle"}`,
			Pause{Reason: `a "freeze" — für alle`, By: "jane", At: asked, Until: asked.Add(6 * time.Hour)}},
		"over before it began": {`{"reason":"r","by":"b","at":"2026-03-01T12:00:00.5Z","until":"2026-03-01T11:00:00Z"}`,
			Pause{Reason: "r", By: "b", At: asked.Add(time.Second / 2), Until: asked.Add(-time.Hour)}},
	} {
		got := requestsOf("shop.staging", map[string]string{PauseAnnotation: test.text})
		if !got.Equal(Requests{Pause: &test.want}) || !reflect.DeepEqual(*got.Pause, test.want) {
			t.Errorf("%s: %+v, %q; want %+v", name, got.Pause, got.Problem, test.want)
		}
	}
}

// Whoever wrote a pause wanted a standstill: with a typing error in it the
// environment stands still all the same, and says so.
func TestUnreadablePausePauses(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("x", maxRequestText+1)
	for name, test := range map[string]struct{ text, says string }{
		"nothing":           {``, "want a JSON object of strings with the fields reason, by, at, until"},
		"a word":            {`please`, "want a JSON object"},
		"cut off":           {`{"reason":"r","by":"b","at":"2026-03-01T12:00:00Z"`, "not JSON"},
		"two objects":       {`{"reason":"r","by":"b","at":"2026-03-01T12:00:00Z"}{}`, "not JSON"},
		"a list":            {`["r"]`, "not an object"},
		"null":              {`null`, "not an object"},
		"no reason":         {`{"by":"b","at":"2026-03-01T12:00:00Z"}`, "reason: missing"},
		"blank reason":      {`{"reason":" \t ","by":"b","at":"2026-03-01T12:00:00Z"}`, "reason: missing"},
		"nobody":            {`{"reason":"r","at":"2026-03-01T12:00:00Z"}`, "by: missing"},
		"no time":           {`{"reason":"r","by":"b"}`, "at: missing"},
		"a date":            {`{"reason":"r","by":"b","at":"2026-03-01"}`, `at: "2026-03-01"; want a time`},
		"no zone":           {`{"reason":"r","by":"b","at":"2026-03-01T12:00:00Z","until":"2026-03-01T18:00:00"}`, "until: "},
		"empty until":       {`{"reason":"r","by":"b","at":"2026-03-01T12:00:00Z","until":""}`, "until: "},
		"zero until":        {`{"reason":"r","by":"b","at":"2026-03-01T12:00:00Z","until":"0001-01-01T00:00:00Z"}`, "until: "},
		"year 10000 in UTC": {`{"reason":"r","by":"b","at":"9999-12-31T23:00:00-02:00"}`, "at: "},
		"unknown field":     {`{"reason":"r","by":"b","at":"2026-03-01T12:00:00Z","untill":"2026-03-01T18:00:00Z"}`, `unknown field "untill"`},
		"another case":      {`{"Reason":"r","by":"b","at":"2026-03-01T12:00:00Z"}`, `unknown field "Reason"`},
		"twice":             {`{"reason":"r","reason":"s","by":"b","at":"2026-03-01T12:00:00Z"}`, `"reason" stands there twice`},
		"a number":          {`{"reason":1,"by":"b","at":"2026-03-01T12:00:00Z"}`, "reason: not a string"},
		"null inside":       {`{"reason":"r","by":"b","at":"2026-03-01T12:00:00Z","until":null}`, "until: not a string"},
		"nested":            {`{"reason":{"a":"b"},"by":"b"}`, "reason: not a string"},
		"long reason":       {`{"reason":"` + long + `","by":"b","at":"2026-03-01T12:00:00Z"}`, "reason: 1025 bytes; want at most 1024"},
		"long name":         {`{"reason":"r","by":"` + long + `","at":"2026-03-01T12:00:00Z"}`, "by: 1025 bytes"},
		"huge":              {`{"reason":"` + strings.Repeat("x", maxAnnotation) + `"}`, "bytes; want at most 8192"},
		"two lines":         {`{"reason":"r\nby: nobody","by":"b","at":"2026-03-01T12:00:00Z"}`, "reason: holds control characters"},
		"turned around":     {`{"reason":"r","by":"` + "\u202e" + `b","at":"2026-03-01T12:00:00Z"}`, "by: holds control characters"},
		"not UTF-8":         {"{\"reason\":\"r\xff\"}", "not JSON"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := requestsOf("shop.staging", map[string]string{PauseAnnotation: test.text})
			if got.Pause == nil || !got.Pause.Until.IsZero() || !strings.HasPrefix(got.Pause.Reason, "unreadable pause annotation: ") ||
				!strings.Contains(got.Pause.Reason, test.says) {
				t.Errorf("pause %+v; want one without end that says %q", got.Pause, test.says)
			}
			if !strings.HasPrefix(got.Problem, "Environment/shop.staging: annotation "+PauseAnnotation+": ") || !strings.Contains(got.Problem, test.says) {
				t.Errorf("problem %q; want where it is, and %q", got.Problem, test.says)
			}
		})
	}
}

func TestRetryAsPeopleWriteIt(t *testing.T) {
	t.Parallel()
	digest := "sha256:" + strings.Repeat("0f", 32)
	for name, test := range map[string]struct {
		text string
		want *Retry
		says string
	}{
		"what is wanted":  {text: `{"id":"a1","by":"jane","at":"2026-03-01T12:00:00Z"}`, want: &Retry{ID: "a1", By: "jane", At: asked}},
		"a digest":        {text: `{"id":"a1","by":"jane","at":"2026-03-01T12:00:00Z","digest":"` + digest + `"}`, want: &Retry{ID: "a1", Digest: reconcile.Digest(digest), By: "jane", At: asked}},
		"empty digest":    {text: `{"id":"a1","by":"jane","at":"2026-03-01T12:00:00Z","digest":""}`, want: &Retry{ID: "a1", By: "jane", At: asked}},
		"no name":         {text: `{"by":"jane","at":"2026-03-01T12:00:00Z"}`, says: "id: missing"},
		"long name":       {text: `{"id":"` + strings.Repeat("x", maxRequestID+1) + `","by":"jane","at":"2026-03-01T12:00:00Z"}`, says: "id: 129 bytes"},
		"half a digest":   {text: `{"id":"a1","by":"jane","at":"2026-03-01T12:00:00Z","digest":"sha256:0f"}`, says: "want sha256: and 64"},
		"nobody":          {text: `{"id":"a1","at":"2026-03-01T12:00:00Z"}`, says: "by: missing"},
		"no time":         {text: `{"id":"a1","by":"jane"}`, says: "at: missing"},
		"a pause's field": {text: `{"id":"a1","by":"jane","at":"2026-03-01T12:00:00Z","reason":"r"}`, says: `unknown field "reason"`},
		"no JSON":         {text: `true, please`, says: "want a JSON object of strings with the fields id, digest, by, at"},
	} {
		got := requestsOf("shop.staging", map[string]string{RetryAnnotation: test.text})
		if !reflect.DeepEqual(got.Retry, test.want) || got.Pause != nil {
			t.Errorf("%s: %+v; want %+v", name, got, test.want)
		}
		if !strings.Contains(got.Problem, test.says) || (got.Problem == "") != (test.want != nil) {
			t.Errorf("%s: problem %q; want %q", name, got.Problem, test.says)
		}
	}
}

func TestBothProblemsAreTold(t *testing.T) {
	t.Parallel()
	got := requestsOf("shop.staging", map[string]string{PauseAnnotation: "a", RetryAnnotation: "b", "other": "c"})
	for _, annotation := range []string{PauseAnnotation, RetryAnnotation} {
		if strings.Count(got.Problem, annotation) != 1 || strings.Contains(got.Problem, "\n") {
			t.Errorf("problem %q; want %s in it, on one line", got.Problem, annotation)
		}
	}
	if got := requestsOf("shop.staging", map[string]string{"other": "c"}); !got.Equal(Requests{}) {
		t.Errorf("without requests: %+v", got)
	}
}

var (
	instant = generator.Shared(rapid.Custom(func(t *rapid.T) time.Time {
		return time.Unix(rapid.Int64Range(0, 250_000_000_000).Draw(t, "s"), rapid.Int64Range(0, 999_999_999).Draw(t, "ns")).UTC()
	}))
	line = func(longest int) *rapid.Generator[string] {
		return rapid.StringN(1, -1, longest).Filter(func(s string) bool { return checkText("text", s, longest, "text") == nil })
	}
)

// What the command line writes, the daemon reads; in any text that is valid.
func TestRequestsComeBackAsTheyWereWritten(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		pause := Pause{Reason: line(maxRequestText).Draw(t, "reason"), By: line(maxRequestText).Draw(t, "by"), At: instant.Draw(t, "at")}
		if rapid.Bool().Draw(t, "ends") {
			pause.Until = instant.Draw(t, "until")
		}
		retry := Retry{ID: line(maxRequestID).Draw(t, "id"), By: line(maxRequestText).Draw(t, "by"), At: instant.Draw(t, "at")}
		if rapid.Bool().Draw(t, "digest") {
			retry.Digest = reconcile.Digest(rapid.StringMatching(`sha256:[0-9a-f]{64}`).Draw(t, "digest"))
		}
		want := Requests{Pause: &pause, Retry: &retry}
		written := map[string]string{}
		for annotation, request := range map[string]any{PauseAnnotation: pause, RetryAnnotation: retry} {
			text, err := annotationOf(request)
			if err != nil {
				t.Fatal(err)
			}
			written[annotation] = text
		}
		if got := requestsOf("shop.staging", written); !reflect.DeepEqual(got, want) || !got.Equal(want) {
			t.Fatalf("came back as %+v, was %+v", got, want)
		}
	})
}

// The longest request that is valid is not too long to be read.
func TestLongestRequestFits(t *testing.T) {
	t.Parallel()
	for _, filling := range []string{`"`, `\`, "<", "é", "😀", "x"} {
		text := strings.Repeat(filling, maxRequestText/len(filling))
		want := Pause{Reason: text, By: text, At: asked, Until: asked}
		written, err := annotationOf(want)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := parsePause(written); err != nil || got != want {
			t.Errorf("filled with %q, %d bytes: %v", filling, len(written), err)
		}
	}
}

func TestEqualRequests(t *testing.T) {
	t.Parallel()
	full := func() Requests {
		return Requests{Pause: &Pause{Reason: "r", By: "b", At: asked, Until: asked.Add(time.Hour)},
			Retry: &Retry{ID: "i", Digest: "d", By: "b", At: asked}, Problem: "p"}
	}
	elsewhere := full()
	elsewhere.Pause.At = elsewhere.Pause.At.In(time.FixedZone("", 3600))
	if !full().Equal(full()) || !full().Equal(elsewhere) || !(Requests{}).Equal(Requests{}) {
		t.Error("the same requests are not equal")
	}
	for i, change := range []func(*Requests){
		func(r *Requests) { r.Pause = nil },
		func(r *Requests) { r.Pause.Reason = "x" },
		func(r *Requests) { r.Pause.By = "x" },
		func(r *Requests) { r.Pause.At = r.Pause.At.Add(1) },
		func(r *Requests) { r.Pause.Until = time.Time{} },
		func(r *Requests) { r.Retry = nil },
		func(r *Requests) { r.Retry.ID = "x" },
		func(r *Requests) { r.Retry.Digest = "" },
		func(r *Requests) { r.Retry.By = "x" },
		func(r *Requests) { r.Retry.At = r.Retry.At.Add(1) },
		func(r *Requests) { r.Problem = "" },
	} {
		other := full()
		change(&other)
		if full().Equal(other) || other.Equal(full()) {
			t.Errorf("change %d is not seen", i)
		}
	}
}

// Whatever stands in an annotation: a pause pauses, a problem is told exactly
// when something is wrong, what was read can be stored and written again, and
// nothing grows without bounds.
func FuzzRequests(f *testing.F) {
	for _, text := range []string{
		``, `{}`, `null`, `"x"`, `{"reason":"r","by":"b","at":"2026-03-01T12:00:00Z"}`,
		`{"reason":"r","by":"b","at":"2026-03-01T12:00:00Z","until":"2026-03-01T18:00:00+02:00"}`,
		`{"id":"a","by":"b","at":"2026-03-01T12:00:00Z","digest":"sha256:` + strings.Repeat("0", 64) + `"}`,
		`{"reason":"\ud800","by":"\u0000","at":"9999-12-31T23:59:59-23:59"}`, `{"a":{"b":[{}]}}`, `{"reason" "r"}`, `{"reason":"r",}`,
	} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		got := requestsOf("shop.staging", map[string]string{PauseAnnotation: text, RetryAnnotation: text})
		switch {
		case got.Pause == nil:
			t.Fatal("not paused")
		case got.Problem == "":
			t.Fatal("one text cannot be both a pause and a retry")
		case len(got.Problem) > 4<<10 || len(got.Pause.Reason) > 4<<10 || !utf8.ValidString(got.Problem):
			t.Fatalf("problem has %d bytes, reason %d", len(got.Problem), len(got.Pause.Reason))
		}
		if _, err := json.Marshal(got); err != nil {
			t.Fatalf("cannot be stored: %v", err)
		}
		written := map[string]string{}
		if pause, err := parsePause(text); err == nil {
			written[PauseAnnotation], _ = annotationOf(pause)
		}
		if got.Retry != nil {
			written[RetryAnnotation], _ = annotationOf(*got.Retry)
		}
		again := requestsOf("shop.staging", written)
		if again.Problem != "" || fmt.Sprint(again.Retry) != fmt.Sprint(got.Retry) {
			t.Fatalf("%q was read, but as written again it is not: %s", text, again.Problem)
		}
		if again.Pause != nil && *again.Pause != *got.Pause {
			t.Fatalf("pause %+v became %+v", got.Pause, again.Pause)
		}
	})
}

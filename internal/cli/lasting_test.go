package cli

import (
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func TestParseLasting(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]time.Duration{
		"90m": 90 * time.Minute, "2h": 2 * time.Hour, "3d": 72 * time.Hour, "1h30m": 90 * time.Minute, "3650d": longestPause,
		"": 0, "0s": 0, "-1h": 0, "0d": 0, "-3d": 0, "3651d": 0, "1.5d": 0, "tomorrow": 0, "d": 0, "99999999999d": 0, "9999999h": 0,
	} {
		got, err := parseLasting(text)
		if got != want || (err != nil) != (want == 0) {
			t.Errorf("parseLasting(%q) = %s, %v, want %s", text, got, err, want)
		}
	}
}

func TestParseUntil(t *testing.T) {
	t.Parallel()
	berlin, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct{ text, want string }{
		{"2026-12-24T08:00", "2026-12-24T07:00:00Z"},
		{"2026-12-24T08:00:30", "2026-12-24T07:00:30Z"},
		{"2026-07-24", "2026-07-23T22:00:00Z"},
		{"2026-12-24T08:00Z", "2026-12-24T08:00:00Z"},
		{"2026-12-24T08:00:00-05:00", "2026-12-24T13:00:00Z"},
		{"2026-12-24T08:00+01:00", "2026-12-24T07:00:00Z"},
		{"2026-12-24T08:00[America/New_York]", "2026-12-24T13:00:00Z"},
		{"2026-12-24T08:00[UTC]", "2026-12-24T08:00:00Z"},
		// Clocks are put back at three: it is two twice, and the pause ends the second time.
		{"2026-10-25T02:30", "2026-10-25T01:30:00Z"},
		{"2026-10-25T01:59", "2026-10-24T23:59:00Z"},
		{"2026-10-25T03:00", "2026-10-25T02:00:00Z"},
		// They are put forward at two: half past two is never.
		{"2026-03-29T02:30", "skip that time"},
		{"2026-03-29T03:00", "2026-03-29T01:00:00Z"},
		{"2026-03-29T02:30[UTC]", "2026-03-29T02:30:00Z"},
		{"", "want a time such as"},
		{"tomorrow", "want a time such as"},
		{"2026-13-24T08:00", "want a time such as"},
		{"2026-12-24T08:00[", "want a time such as"},
		{"2026-12-24T08:00]", "is no time zone"},
		{"2026-12-24T08:00[]", "is no time zone"},
		{"2026-12-24T08:00[Mars]", `"Mars" is no time zone; want a name of the IANA database`},
		{"2026-12-24T08:00[Local]", "is no time zone"},
		{"2026-12-24T08:00Z[UTC]", "want a time such as"},
	} {
		got, err := parseUntil(test.text, berlin)
		text := got.Format(time.RFC3339)
		if err != nil {
			text = err.Error()
		}
		if err == nil && text != test.want || !strings.Contains(text, test.want) {
			t.Errorf("parseUntil(%q) = %s, want %s", test.text, text, test.want)
		}
	}
}

// Whatever time is meant, on the clocks of its zone it is the one that was
// written, and no later one is.
func TestParseUntilIsTheLast(t *testing.T) {
	t.Parallel()
	zones := []string{"UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kolkata", "Africa/Casablanca", "Pacific/Apia"}
	rapid.Check(t, func(t *rapid.T) {
		zone, err := time.LoadLocation(rapid.SampledFrom(zones).Draw(t, "zone"))
		if err != nil {
			t.Fatal(err)
		}
		at := time.Unix(rapid.Int64Range(0, 4_000_000_000).Draw(t, "at"), 0).In(zone)
		const layout = "2006-01-02T15:04:05"
		text := at.Format(layout)
		got, err := parseUntil(text+"["+zone.String()+"]", time.UTC)
		if err != nil || got.Before(at) || got.In(zone).Format(layout) != text || got.Sub(at) > 25*time.Hour {
			t.Fatalf("%s in %s: %s, %v", text, zone, got, err)
		}
	})
}

// Whatever is typed: a time that can be stored, or an error that says what
// would be right.
func FuzzParseUntil(f *testing.F) {
	for _, text := range []string{"2026-12-24T08:00", "2026-12-24[UTC]", "2026-12-24T08:00:00+01:00", "3d", "2h", "[", "]", "9999-12-31T23:59:59[Pacific/Apia]", "0000-01-01"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if until, err := parseUntil(text, time.UTC); err == nil && (until.Year() < -1 || until.Year() > 10000 || until.Location() != time.UTC) {
			t.Errorf("%q is %s", text, until)
		} else if err != nil && !strings.Contains(err.Error(), "want ") {
			t.Errorf("%q: %v", text, err)
		}
		if lasts, err := parseLasting(text); err == nil && (lasts <= 0 || lasts > longestPause) {
			t.Errorf("%q is %s", text, lasts)
		}
	})
}

package promotion

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"
	_ "time/tzdata"

	"github.com/robfig/cron/v3"
	"pgregory.net/rapid"
)

func instant(t testing.TB, text string) time.Time {
	t.Helper()
	if text == "never" {
		return time.Time{}
	}
	parsed, err := time.Parse(time.RFC3339Nano, text)
	if err != nil {
		t.Fatal(err)
	}
	return parsed.UTC()
}

func calendar(t testing.TB, p Promotion) Calendar {
	t.Helper()
	c, err := CalendarOf(p)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestZeroCalendarIsAlwaysOpen(t *testing.T) {
	t.Parallel()
	c := calendar(t, Promotion{Mode: ModePullRequest, TimeZone: "Europe/Berlin", Soak: time.Hour})
	for _, now := range []time.Time{{}, utc("2026-11-22T12:00:00"), time.Unix(1<<40, 0)} {
		next, open := c.Open(now)
		_, frozen := c.Frozen(now)
		last, later, scheduled := c.Fired(now)
		if !c.IsZero() || !open || !next.IsZero() || frozen || scheduled || !last.IsZero() || !later.IsZero() || len(c.FrozenBy(now)) != 0 {
			t.Errorf("%s: got %v %v, %v, %v %v %v", now, next, open, frozen, last, later, scheduled)
		}
	}
	for _, p := range []Promotion{
		{Schedule: "@daily"}, {Windows: []Window{{Cron: "@daily", Duration: time.Hour}}}, {Freezes: []Window{{Cron: "@daily", Duration: time.Hour}}},
	} {
		if calendar(t, p).IsZero() {
			t.Errorf("%+v: want more than nothing", p)
		}
	}
}

func TestCalendarRefusesWhatNoFileSays(t *testing.T) {
	t.Parallel()
	from, to := utc("2026-12-20T00:00:00"), utc("2026-12-21T00:00:00")
	for want, p := range map[string]Promotion{
		`read calendar: schedule: want five fields`:                                   {Schedule: "daily"},
		`read calendar: schedule: "Mars/Base" is no time zone`:                        {Schedule: "@daily", TimeZone: "Mars/Base"},
		`read calendar: windows[1]: want cron and duration, or from and a later to`:   {Windows: []Window{{From: from, To: to}, {}}},
		`read calendar: freezes[0]: want cron and duration, or from and a later to`:   {Freezes: []Window{{From: to, To: from}}},
		`read calendar: windows[0]: want from and to, or cron and a duration between`: {Windows: []Window{{Cron: "@daily"}}},
		`read calendar: freezes[0]: want from and to, or cron`:                        {Freezes: []Window{{Cron: "@daily", Duration: time.Hour, To: to}}},
		`read calendar: freezes[0]: "Local" is no time zone`:                          {Freezes: []Window{{Cron: "@daily", Duration: time.Hour, TimeZone: "Local"}}},
	} {
		if c, err := CalendarOf(p); err == nil || !strings.HasPrefix(err.Error(), want) || !c.IsZero() {
			t.Errorf("got %v, want %s", err, want)
		}
	}
}

// awkward are days on which the clocks of a zone are changed, or its whole
// offset, or nothing at all.
var awkward = []struct{ zone, day string }{
	{"UTC", "2026-03-29T01:00:00"},
	{"Etc/GMT-14", "2026-12-31T10:00:00"},
	{"Asia/Kathmandu", "2026-02-28T18:15:00"},
	{"Europe/Berlin", "2026-03-29T01:00:00"},
	{"Europe/Berlin", "2026-10-25T01:00:00"},
	{"America/New_York", "2026-03-08T07:00:00"},
	{"America/New_York", "2026-11-01T06:00:00"},
	{"Australia/Lord_Howe", "2026-10-03T15:30:00"}, // half an hour
	{"Australia/Lord_Howe", "2026-04-04T15:00:00"},
	{"America/Sao_Paulo", "2017-10-15T03:00:00"}, // midnight is skipped
	{"America/Sao_Paulo", "2018-02-18T02:00:00"}, // the hour before midnight is repeated
	{"Asia/Beirut", "2022-03-26T22:00:00"},
	{"Asia/Beirut", "2022-10-29T21:00:00"},
	{"Africa/Casablanca", "2024-03-10T02:00:00"}, // Ramadan
	{"Africa/Casablanca", "2024-04-14T02:00:00"},
	{"Antarctica/Troll", "2026-03-29T01:00:00"}, // two hours
	{"Antarctica/Troll", "2026-10-25T01:00:00"},
	{"Pacific/Apia", "2011-12-30T10:00:00"}, // a day is skipped
	{"America/Caracas", "2007-12-09T07:00:00"},
	{"Europe/Berlin", "2028-12-31T12:00:00"}, // the last day of a leap year; some databases list changes until 2037
	{"Europe/Berlin", "2040-12-31T12:00:00"},
	{"Australia/Sydney", "2040-12-31T12:00:00"},
	{"America/New_York", "2041-01-01T12:00:00"},
}

// stepper finds when an expression comes by walking every minute with Go's own
// clock: a wall minute comes when the clocks first show it or a later one.
func stepper(t *rapid.T, expression, zoneName string, from time.Time, minutes int) []time.Time {
	oracle, err := cron.ParseStandard(expression)
	if err != nil {
		t.Fatal(err)
	}
	zone, err := time.LoadLocation(zoneName)
	if err != nil {
		t.Fatal(err)
	}
	shown := func(at time.Time) time.Time {
		local := at.In(zone)
		return time.Date(local.Year(), local.Month(), local.Day(), local.Hour(), local.Minute(), 0, 0, time.UTC)
	}
	const warm = 5 * 60 // longer than any of awkward is put back, so that what was shown before is known
	at := from.Add(-warm * time.Minute)
	furthest := shown(at)
	due := oracle.Next(furthest)
	var fires []time.Time
	for i := range warm + minutes {
		at = at.Add(time.Minute)
		if wall := shown(at); wall.After(furthest) {
			furthest = wall
		}
		if due.IsZero() || due.After(furthest) {
			continue
		}
		if due = oracle.Next(furthest); i >= warm {
			fires = append(fires, at)
		}
	}
	return fires
}

// The calendar agrees with the stepper on each minute around each awkward day:
// the last time and the next, and what is open then.
func TestCalendarAgreesWithEveryMinute(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		place := rapid.SampledFrom(awkward).Draw(t, "place")
		expression := expressions().Draw(t, "expression")
		duration := time.Duration(rapid.SampledFrom([]int{1, 45, 90, 600, 3000}).Draw(t, "duration")) * time.Minute
		c, err := CalendarOf(Promotion{Schedule: expression, TimeZone: place.zone,
			Windows: []Window{{Cron: expression, Duration: duration}},
			Freezes: []Window{{Cron: expression, Duration: duration, TimeZone: place.zone}}})
		if err != nil {
			return // it never comes; TestCronAgreesWithTheLibraryInUTC looks at that
		}
		from := utc(place.day).Add(-time.Duration(rapid.IntRange(60, 1500).Draw(t, "lead")) * time.Minute)
		minutes := rapid.IntRange(300, 2500).Draw(t, "minutes")
		fires := stepper(t, expression, place.zone, from, minutes)

		at, before := 0, time.Time{} // fires[:at] have come
		for i := range minutes {
			now := from.Add(time.Duration(i)*time.Minute + time.Second)
			for at < len(fires) && !fires[at].After(now) {
				at++
			}
			last, next, _ := c.Fired(now)
			if last.After(now) || !next.After(now) || last.Before(before) ||
				at > 0 && !last.Equal(fires[at-1]) || at < len(fires) && !next.Equal(fires[at]) || at == 0 && last.After(from) {
				t.Fatalf("%s in %s at %s: got %s and %s, want %v around %d", expression, place.zone, now, last, next, fires, at)
			}
			before = last
			opens, open := c.Open(now)
			until, frozen := c.Frozen(now)
			if want := now.Before(last.Add(duration)); open != want || frozen != want ||
				!want && !opens.Equal(next) || want && (!until.After(now) || until.Before(last.Add(duration))) {
				t.Fatalf("%s in %s at %s for %s: open %v, next %s, frozen %v until %s", expression, place.zone, now, duration, open, opens, frozen, until)
			}
		}
	})
}

// Far from what anybody writes the order holds all the same, and nothing breaks.
func TestFiredAtAnyTime(t *testing.T) {
	t.Parallel()
	zones := append([]string{"Europe/Amsterdam", "Asia/Manila", "America/Juneau", "Africa/Monrovia", "Pacific/Kwajalein"}, commonZones...)
	rapid.Check(t, func(t *rapid.T) {
		c, err := CalendarOf(Promotion{Schedule: expressions().Draw(t, "expression"), TimeZone: rapid.SampledFrom(zones).Draw(t, "zone")})
		if err != nil {
			return
		}
		now := time.Unix(rapid.Int64Range(-1<<36, 1<<36).Draw(t, "second"), rapid.Int64Range(0, 999_999_999).Draw(t, "nano")) // ±2000 years
		last, next, scheduled := c.Fired(now)
		if !scheduled || last.After(now) || !next.After(now) {
			t.Fatalf("%s: got %s, %s, %v", now, last, next, scheduled)
		}
		if again, _, _ := c.Fired(last); !again.Equal(last) {
			t.Fatalf("%s: at its last time %s the last is %s", now, last, again)
		}
		if again, _, _ := c.Fired(next); !again.Equal(next) {
			t.Fatalf("%s: at its next time %s the last is %s", now, next, again)
		}
		if again, soon, _ := c.Fired(next.Add(-1)); !again.Equal(last) || !soon.Equal(next) {
			t.Fatalf("%s: between %s and %s lie %s and %s", now, last, next, again, soon)
		}
	})
}

func TestFreezesAreJoined(t *testing.T) {
	t.Parallel()
	day := func(n int) time.Time { return utc("2026-12-01T00:00:00").AddDate(0, 0, n) }
	c := calendar(t, Promotion{Freezes: []Window{
		{Name: "b", From: day(4), To: day(6)}, {Name: "a", From: day(2), To: day(5)}, // overlap
		{Name: "c", From: day(6), To: day(7)}, // adjoins
		{From: day(6).Add(12 * time.Hour), To: day(8)}, {Name: "a", From: day(3), To: day(4)},
		{Name: "d", From: day(8).Add(1), To: day(9)}, // an instant later: another freeze
	}})
	for _, test := range []struct {
		now, until time.Time
		by         []string
	}{
		{day(2).Add(-1), time.Time{}, nil},
		{day(2), day(8), []string{"a"}},
		{day(3), day(8), []string{"a"}},
		{day(4), day(8), []string{"b", "a"}},
		{day(6), day(8), []string{"c"}},
		{day(7), day(8), nil},
		{day(8), time.Time{}, nil},
		{day(8).Add(1), day(9), []string{"d"}},
		{day(9), time.Time{}, nil},
	} {
		until, frozen := c.Frozen(test.now)
		if by := c.FrozenBy(test.now); !until.Equal(test.until) || frozen == test.until.IsZero() || !slices.Equal(by, test.by) {
			t.Errorf("%s: got %s, %v by %v, want %s by %v", test.now, until, frozen, by, test.until, test.by)
		}
	}
}

// A freeze that never ends answers all the same, with a time to ask again.
func TestEndlessFreezeIsBounded(t *testing.T) {
	t.Parallel()
	now := utc("2026-12-01T12:00:00")
	for _, w := range []Window{{Cron: "* * * * *", Duration: time.Minute}, {Cron: "@daily", Duration: 24 * time.Hour}, {Cron: "@monthly", Duration: 31 * 24 * time.Hour}} {
		until, frozen := calendar(t, Promotion{Freezes: []Window{w}}).Frozen(now)
		if !frozen || until.Before(now.Add(maxJoined*w.Duration/2)) || until.After(now.AddDate(20, 0, 0)) {
			t.Errorf("%s: got %s, %v", w.Cron, until, frozen)
		}
	}
}

func TestWindowsTellTheNextOne(t *testing.T) {
	t.Parallel()
	c := calendar(t, Promotion{Windows: []Window{
		{From: utc("2026-12-01T10:00:00"), To: utc("2026-12-01T11:00:00")},
		{Cron: "0 9 5 12 *", Duration: time.Hour},
		{From: utc("2026-12-03T10:00:00"), To: utc("2026-12-03T11:00:00")},
	}})
	once := calendar(t, Promotion{Windows: []Window{{From: utc("2026-12-01T10:00:00"), To: utc("2026-12-01T11:00:00")}}})
	for _, test := range []struct {
		c          Calendar
		now, want  string
		open, ever bool
	}{
		{c, "2026-12-01T09:59:59.999999999Z", "2026-12-01T10:00:00Z", false, true},
		{c, "2026-12-01T10:00:00Z", "never", true, true},
		{c, "2026-12-01T10:59:59.999999999Z", "never", true, true},
		{c, "2026-12-01T11:00:00Z", "2026-12-03T10:00:00Z", false, true},
		{c, "2026-12-04T00:00:00Z", "2026-12-05T09:00:00Z", false, true},
		{c, "2026-12-06T00:00:00Z", "2027-12-05T09:00:00Z", false, true},
		{once, "2026-11-30T00:00:00Z", "2026-12-01T10:00:00Z", false, true},
		{once, "2026-12-01T11:00:00Z", "never", false, false},
	} {
		if next, open := test.c.Open(instant(t, test.now)); open != test.open || !next.Equal(instant(t, test.want)) {
			t.Errorf("%s: got %s, %v, want %s, %v", test.now, next, open, test.want, test.open)
		}
	}
}

func TestUnknownZonesAreExplained(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]string{
		"europe/berlin": `did you mean "Europe/Berlin"?`, "AMERICA/PORT OF SPAIN": "want a name", "america/st_johns": `did you mean "America/St_Johns"?`,
		"utc": `did you mean "UTC"?`, "London": "want a name", "Asia/Kolkatta": `did you mean "Asia/Kolkata"?`,
		"/etc/passwd": "want a name", "Europe/": "want a name", "local": "want a name", "posixrules": "want a name", strings.Repeat("A/", 500) + "A": "want a name",
		"zone.tab": "want a name", "Europe": "want a name", "ß": "want a name", "\x00": "want a name",
	} {
		if zone, err := findZone(name); err == nil || zone != nil || !strings.Contains(err.Error(), want) || len(err.Error()) > 300 {
			t.Errorf("%q: got %v, want %s", name, err, want)
		}
	}
	for _, name := range append([]string{"", "Etc/GMT+12", "America/Argentina/ComodRivadavia", "EST5EDT", "GB"}, commonZones...) {
		if _, err := findZone(name); err != nil {
			t.Error(err)
		}
	}
}

// Decide asks on every pass for every environment.
func TestAskingDoesNotAllocate(t *testing.T) {
	c, now := typical(t), utc("2026-11-24T12:34:56")
	var problems []error
	got := testing.AllocsPerRun(100, func() {
		now = now.Add(997 * time.Minute)
		if _, _, scheduled := c.Fired(now); !scheduled {
			problems = append(problems, errors.New("not scheduled"))
		}
		c.Open(now)
		c.Frozen(now)
	})
	if got != 0 || len(problems) != 0 {
		t.Errorf("%v allocations, %v", got, problems)
	}
}

package promotion

import (
	"testing"
	"time"
)

// Pitfall 39: the clock jumps; a schedule falls into the hour that daylight
// saving skips or repeats. Times here are UTC; what the clock on the wall shows
// stands beside them.
func TestPitfall39_ScheduleMeetsDaylightSaving(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ name, zone, cron, now, last, next string }{
		// Berlin, 29 March 2026: from 02:00 to 03:00 at 01:00Z.
		{"before the skipped hour", "Europe/Berlin", "30 2 * * *", "2026-03-29T00:59:59Z", "2026-03-28T01:30:00Z", "2026-03-29T01:00:00Z"},
		{"as the clock jumps", "Europe/Berlin", "30 2 * * *", "2026-03-29T01:00:00Z", "2026-03-29T01:00:00Z", "2026-03-30T00:30:00Z"},
		{"after the skipped hour", "Europe/Berlin", "30 2 * * *", "2026-03-29T01:30:00Z", "2026-03-29T01:00:00Z", "2026-03-30T00:30:00Z"},
		{"every quarter of the skipped hour is one time", "Europe/Berlin", "*/15 2 * * *", "2026-03-29T01:00:00Z", "2026-03-29T01:00:00Z", "2026-03-30T00:00:00Z"},
		{"hourly loses no hour", "Europe/Berlin", "@hourly", "2026-03-29T01:59:00Z", "2026-03-29T01:00:00Z", "2026-03-29T02:00:00Z"},
		// Berlin, 25 October 2026: from 03:00 back to 02:00 at 01:00Z.
		{"the repeated hour, before", "Europe/Berlin", "30 2 * * *", "2026-10-25T00:29:59Z", "2026-10-24T00:30:00Z", "2026-10-25T00:30:00Z"},
		{"the repeated hour, first time", "Europe/Berlin", "30 2 * * *", "2026-10-25T00:30:00Z", "2026-10-25T00:30:00Z", "2026-10-26T01:30:00Z"},
		{"the repeated hour, as the clock jumps", "Europe/Berlin", "30 2 * * *", "2026-10-25T01:00:00Z", "2026-10-25T00:30:00Z", "2026-10-26T01:30:00Z"},
		{"the repeated hour, second time", "Europe/Berlin", "30 2 * * *", "2026-10-25T01:30:00Z", "2026-10-25T00:30:00Z", "2026-10-26T01:30:00Z"},
		{"hourly, the repeated hour is not its own", "Europe/Berlin", "@hourly", "2026-10-25T01:30:00Z", "2026-10-25T00:00:00Z", "2026-10-25T02:00:00Z"},
		// New York: 8 March at 07:00Z from 02:00 to 03:00, 1 November at 06:00Z from 02:00 back to 01:00.
		{"New York skips", "America/New_York", "15 2 8 3 *", "2026-03-08T07:00:00Z", "2026-03-08T07:00:00Z", "2027-03-08T07:15:00Z"},
		{"New York repeats", "America/New_York", "59 1 * * *", "2026-11-01T06:59:00Z", "2026-11-01T05:59:00Z", "2026-11-02T06:59:00Z"},
		// Lord Howe moves by half an hour: 4 October 02:00 to 02:30 at 15:30Z the day before, 5 April 02:00 to 01:30 at 15:00Z.
		{"half an hour is skipped", "Australia/Lord_Howe", "15 2 * * *", "2026-10-03T15:30:00Z", "2026-10-03T15:30:00Z", "2026-10-04T15:15:00Z"},
		{"half an hour is repeated", "Australia/Lord_Howe", "45 1 * * *", "2026-04-04T15:15:00Z", "2026-04-04T14:45:00Z", "2026-04-05T15:15:00Z"},
		// São Paulo, 15 October 2017: from 00:00 to 01:00 at 03:00Z; 18 February 2018: from 00:00 back to 23:00 at 02:00Z.
		{"midnight is skipped", "America/Sao_Paulo", "@daily", "2017-10-15T03:00:00Z", "2017-10-15T03:00:00Z", "2017-10-16T02:00:00Z"},
		{"the hour before midnight is repeated", "America/Sao_Paulo", "@daily", "2018-02-18T02:59:59Z", "2018-02-17T02:00:00Z", "2018-02-18T03:00:00Z"},
		{"midnight is skipped in Beirut", "Asia/Beirut", "0 0 27 3 *", "2022-03-26T22:00:00Z", "2022-03-26T22:00:00Z", "2023-03-26T21:00:00Z"},
		{"Ramadan begins in Casablanca", "Africa/Casablanca", "30 2 * * *", "2024-03-10T02:30:00Z", "2024-03-10T01:30:00Z", "2024-03-11T02:30:00Z"},
		{"a whole day is skipped in Samoa", "Pacific/Apia", "0 12 30 12 *", "2011-12-30T10:00:00Z", "2011-12-30T10:00:00Z", "2012-12-29T22:00:00Z"},
		// Leap days.
		{"29 February", "", "0 0 29 2 *", "2026-03-01T00:00:00Z", "2024-02-29T00:00:00Z", "2028-02-29T00:00:00Z"},
		{"29 February around a year without", "", "0 0 29 2 *", "2100-06-01T00:00:00Z", "2096-02-29T00:00:00Z", "2104-02-29T00:00:00Z"},
		{"the last of the month", "Europe/Berlin", "0 0 31 * *", "2026-11-22T00:00:00Z", "2026-10-30T23:00:00Z", "2026-12-30T23:00:00Z"},
		{"year's end", "Asia/Tokyo", "0 0 1 1 *", "2026-12-31T14:59:59.999999999Z", "2025-12-31T15:00:00Z", "2026-12-31T15:00:00Z"},
		// Go's own bounds of a time zone are wrong on the last day of a leap year: they end before it. A database may list
		// changes until 2037, and only later ones are computed.
		{"the last day of a leap year", "Europe/Berlin", "0 6 * * *", "2028-12-31T12:00:00Z", "2028-12-31T05:00:00Z", "2029-01-01T05:00:00Z"},
		{"the last day of a leap year after 2037", "Europe/Berlin", "0 6 * * *", "2040-12-31T12:00:00Z", "2040-12-31T05:00:00Z", "2041-01-01T05:00:00Z"},
		{"the first day after a leap year after 2037", "America/New_York", "0 20 * * *", "2041-01-01T00:59:59Z", "2040-12-31T01:00:00Z", "2041-01-01T01:00:00Z"},
		{"the first day after a leap year", "America/New_York", "0 20 * * *", "2029-01-01T00:59:59Z", "2028-12-31T01:00:00Z", "2029-01-01T01:00:00Z"},
		// Both days given: either will do, as cron has always had it.
		{"the 13th, and Fridays", "", "0 6 13 * FRI", "2026-11-13T05:00:00Z", "2026-11-06T06:00:00Z", "2026-11-13T06:00:00Z"},
		{"the 13th, or Fridays", "", "0 6 13 * FRI", "2026-12-11T06:00:00Z", "2026-12-11T06:00:00Z", "2026-12-13T06:00:00Z"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			c := calendar(t, Promotion{Mode: ModeSchedule, Schedule: test.cron, TimeZone: test.zone})
			last, next, scheduled := c.Fired(instant(t, test.now))
			if !scheduled || !last.Equal(instant(t, test.last)) || !next.Equal(instant(t, test.next)) {
				t.Errorf("got %s and %s, want %s and %s", last, next, test.last, test.next)
			}
		})
	}
}

func TestPitfall39_WindowsOverMidnightYearsEndAndDaylightSaving(t *testing.T) {
	t.Parallel()
	type when struct{ opens, closes string }
	for _, test := range []struct {
		name   string
		window Window
		when   []when // each window in turn: no other lies between them
	}{
		{"over midnight", Window{Cron: "0 22 * * *", Duration: 6 * time.Hour, TimeZone: "Europe/Berlin"},
			[]when{{"2026-06-01T20:00:00Z", "2026-06-02T02:00:00Z"}, {"2026-06-02T20:00:00Z", "2026-06-03T02:00:00Z"}}},
		{"over midnight into a day that is not named", Window{Cron: "0 22 * * FRI", Duration: 6 * time.Hour},
			[]when{{"2026-11-27T22:00:00Z", "2026-11-28T04:00:00Z"}, {"2026-12-04T22:00:00Z", "2026-12-05T04:00:00Z"}}},
		{"over year's end", Window{Cron: "0 20 31 12 *", Duration: 48 * time.Hour, TimeZone: "America/New_York"},
			[]when{{"2027-01-01T01:00:00Z", "2027-01-03T01:00:00Z"}, {"2028-01-01T01:00:00Z", "2028-01-03T01:00:00Z"}}},
		{"over a leap day", Window{Cron: "0 12 28 2 *", Duration: 24 * time.Hour},
			[]when{{"2027-02-28T12:00:00Z", "2027-03-01T12:00:00Z"}, {"2028-02-28T12:00:00Z", "2028-02-29T12:00:00Z"}}},
		{"on leap days", Window{Cron: "0 0 29 2 *", Duration: time.Hour},
			[]when{{"2024-02-29T00:00:00Z", "2024-02-29T01:00:00Z"}, {"2028-02-29T00:00:00Z", "2028-02-29T01:00:00Z"}}},
		// 22:00 to 05:00 on the wall: six hours have passed.
		{"over the skipped hour", Window{Cron: "0 22 * * *", Duration: 6 * time.Hour, TimeZone: "Europe/Berlin"},
			[]when{{"2026-03-28T21:00:00Z", "2026-03-29T03:00:00Z"}, {"2026-03-29T20:00:00Z", "2026-03-30T02:00:00Z"}}},
		// 22:00 to 03:00 on the wall: six hours have passed.
		{"over the repeated hour", Window{Cron: "0 22 * * *", Duration: 6 * time.Hour, TimeZone: "Europe/Berlin"},
			[]when{{"2026-10-24T20:00:00Z", "2026-10-25T02:00:00Z"}, {"2026-10-25T21:00:00Z", "2026-10-26T03:00:00Z"}}},
		{"opens in the skipped hour", Window{Cron: "30 2 * * *", Duration: time.Hour, TimeZone: "Europe/Berlin"},
			[]when{{"2026-03-28T01:30:00Z", "2026-03-28T02:30:00Z"}, {"2026-03-29T01:00:00Z", "2026-03-29T02:00:00Z"}, {"2026-03-30T00:30:00Z", "2026-03-30T01:30:00Z"}}},
		{"opens in the repeated hour, once", Window{Cron: "30 2 * * *", Duration: 45 * time.Minute, TimeZone: "Europe/Berlin"},
			[]when{{"2026-10-25T00:30:00Z", "2026-10-25T01:15:00Z"}, {"2026-10-26T01:30:00Z", "2026-10-26T02:15:00Z"}}},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			windows := calendar(t, Promotion{Windows: []Window{test.window}})
			freezes := calendar(t, Promotion{Freezes: []Window{test.window}})
			for i, w := range test.when {
				opens, closes := instant(t, w.opens), instant(t, w.closes)
				for at, want := range map[time.Time]bool{opens.Add(-1): false, opens: true, closes.Add(-1): true, closes: false} {
					next, open := windows.Open(at)
					until, frozen := freezes.Frozen(at)
					if open != want || frozen != want || want && !until.Equal(closes) {
						t.Errorf("at %s: open %v, frozen %v until %s, want %v until %s", at, open, frozen, until, want, closes)
					}
					if at.Before(opens) && !next.Equal(opens) {
						t.Errorf("at %s: opens at %s, want %s", at, next, opens)
					}
				}
				if i+1 == len(test.when) {
					continue
				}
				if next, _ := windows.Open(closes); !next.Equal(instant(t, test.when[i+1].opens)) {
					t.Errorf("after %s: opens at %s, want %s", closes, next, test.when[i+1].opens)
				}
			}
		})
	}
}

// The daemon's clock is set forward, and back again. There is nothing to
// remember, so each time gets its own answer, however it is arrived at.
func TestPitfall39_TheClockJumps(t *testing.T) {
	t.Parallel()
	c := calendar(t, Promotion{Mode: ModeSchedule, Schedule: "0 6 * * *", TimeZone: "Europe/Berlin",
		Windows: []Window{{Cron: "0 6 * * MON-FRI", Duration: 2 * time.Hour}},
		Freezes: []Window{{From: utc("2026-12-19T23:00:00"), To: utc("2027-01-01T23:00:00")}}})
	type answers struct {
		last, next   string
		open, frozen bool
	}
	for _, step := range []struct {
		now  string
		want answers
	}{
		{"2026-12-18T05:30:00Z", answers{"2026-12-18T05:00:00Z", "2026-12-19T05:00:00Z", true, false}},
		{"2026-12-22T05:30:00Z", answers{"2026-12-22T05:00:00Z", "2026-12-23T05:00:00Z", true, true}},   // set forward, into the freeze
		{"2026-12-18T04:59:59Z", answers{"2026-12-17T05:00:00Z", "2026-12-18T05:00:00Z", false, false}}, // and back, before the schedule
		{"2026-12-18T05:00:00Z", answers{"2026-12-18T05:00:00Z", "2026-12-19T05:00:00Z", true, false}},  // where it comes again, as the same time
		{"1970-01-01T00:00:00Z", answers{"1969-12-31T05:00:00Z", "1970-01-01T05:00:00Z", false, false}}, // a machine without a clock
		{"2027-01-01T23:00:00Z", answers{"2027-01-01T05:00:00Z", "2027-01-02T05:00:00Z", false, false}}, // the freeze has ended
		{"2027-01-01T22:59:59Z", answers{"2027-01-01T05:00:00Z", "2027-01-02T05:00:00Z", false, true}},  // one second back it has not
		{"2026-12-18T05:30:00Z", answers{"2026-12-18T05:00:00Z", "2026-12-19T05:00:00Z", true, false}},
	} {
		now := instant(t, step.now)
		last, next, _ := c.Fired(now)
		_, open := c.Open(now)
		_, frozen := c.Frozen(now)
		if got := (answers{last.Format(time.RFC3339), next.Format(time.RFC3339), open, frozen}); now.Location() != time.UTC || got != step.want {
			t.Errorf("%s: got %+v, want %+v", step.now, got, step.want)
		}
	}
}

// Bare days and times are on the clocks of the window's zone, both ends alike.
func TestPitfall39_DatesOnTheWall(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ text, zone, want string }{
		{"2026-12-20", "", "2026-12-20T00:00:00Z"},
		{"2026-12-20", "Europe/Berlin", "2026-12-19T23:00:00Z"},
		{"2026-12-20T18:00", "America/New_York", "2026-12-20T23:00:00Z"},
		{"2026-12-20T18:00:30", "Asia/Kolkata", "2026-12-20T12:30:30Z"},
		{"2026-12-20T18:00:00Z", "Asia/Kolkata", "2026-12-20T18:00:00Z"},
		{"2026-12-20T18:00:00-05:00", "Asia/Kolkata", "2026-12-20T23:00:00Z"},
		{"2017-10-15", "America/Sao_Paulo", "2017-10-15T03:00:00Z"},   // begins at 01:00
		{"2026-03-29T02:30", "Europe/Berlin", "2026-03-29T01:00:00Z"}, // is skipped
		{"2026-10-25T02:30", "Europe/Berlin", "2026-10-25T00:30:00Z"}, // the first of two
	} {
		if got, err := parseTime(test.text, test.zone); err != nil || !got.Equal(instant(t, test.want)) || got.Location() != time.UTC {
			t.Errorf("%s in %s: got %s, %v, want %s", test.text, test.zone, got, err, test.want)
		}
	}
}

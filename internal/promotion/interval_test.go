package promotion

import (
	"testing"
	"time"

	"pgregory.net/rapid"
)

func TestInterval(t *testing.T) {
	t.Parallel()
	const day = 24 * time.Hour
	for expression, want := range map[string]time.Duration{
		"0 3 * * *":               day,
		"30 * * * *":              time.Hour,
		"*/15 * * * *":            15 * time.Minute,
		"* * * * *":               time.Minute,
		"59 23 * * *":             day,
		"0 8-17 * * *":            15 * time.Hour,
		"*/5 8-17 * * MON-FRI":    2*day + 14*time.Hour + 5*time.Minute,
		"0 0 * * SUN":             7 * day,
		"0 0 1 * *":               31 * day,
		"0 * 1-27 * *":            4*day + time.Hour,
		"0 0 29 2 *":              1461 * day,
		"0 0 1 1 *":               366 * day,
		"@hourly":                 time.Hour,
		"@daily":                  day,
		"@every 90m":              90 * time.Minute,
		"TZ=Europe/Berlin @daily": day,
		"CRON_TZ=UTC 0 3 * * *":   day,
	} {
		if got, err := Interval(expression); err != nil || got != want {
			t.Errorf("%s: %s, %v; want %s", expression, got, err, want)
		}
	}
	for _, expression := range []string{"", "0 3 * *", "@every", "@every -1h", "@every soon", "0 0 30 2 *", "TZ=UTC", "whenever"} {
		if got, err := Interval(expression); err == nil {
			t.Errorf("%q: %s; want an error", expression, got)
		}
	}
}

// No two times in a row lie further apart than the interval, and some lie as far.
func TestIntervalIsTheLongest(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		expression := rapid.StringMatching(`([0-5]?[0-9]|\*/(7|15)|3-9) ([01]?[0-9]|\*|\*/5|2,20) (\*|[1-9]|1,15) \* (\*|[0-6]|1-5)`).Draw(t, "cron")
		interval, err := Interval(expression)
		if err != nil {
			t.Skip(err)
		}
		times, err := parseCron(expression)
		if err != nil {
			t.Fatal(err)
		}
		longest := int64(0)
		at, _ := times.atOrAfter(0)
		for at < 2*366*minutesPerDay {
			next, _ := times.atOrAfter(at + 1)
			longest = max(longest, next-at)
			at = next
		}
		if got := time.Duration(longest) * time.Minute; got > interval || interval > got+3*24*time.Hour && interval > 366*24*time.Hour {
			t.Fatalf("%s: %s between two times, interval %s", expression, got, interval)
		}
	})
}

package cli

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

const longestPause = 10 * 365 * 24 * time.Hour

// parseLasting reads how long something lasts: as Go does, or whole days.
func parseLasting(text string) (time.Duration, error) {
	lasts, err := time.ParseDuration(text)
	if days, found := strings.CutSuffix(text, "d"); found {
		var count int
		if count, err = strconv.Atoi(days); err == nil && count > int(longestPause/(24*time.Hour)) {
			count = -1
		}
		lasts = time.Duration(count) * 24 * time.Hour
	}
	if err != nil || lasts <= 0 || lasts > longestPause {
		return 0, fmt.Errorf("--for %q: want a time above zero, at most ten years, such as 90m, 2h or 3d", text)
	}
	return lasts, nil
}

const untilWanted = "want a time such as 2026-12-27T08:00, with an offset (2026-12-27T08:00+01:00) or a time zone (2026-12-27T08:00[Europe/Berlin])"

// parseUntil reads a time: with its offset; on the clocks of the zone in
// brackets; or on the clocks here.
func parseUntil(text string, here *time.Location) (time.Time, error) {
	for _, layout := range []string{time.RFC3339, "2006-01-02T15:04Z07:00"} {
		if t, err := time.Parse(layout, text); err == nil {
			return t.UTC(), nil
		}
	}
	wall, zone := text, here
	if name, found := strings.CutSuffix(text, "]"); found {
		wall, name, found = strings.Cut(name, "[")
		location, err := time.LoadLocation(name)
		if !found || err != nil || name == "" || strings.EqualFold(name, "local") {
			return time.Time{}, fmt.Errorf("--until %q: %q is no time zone; want a name of the IANA database, such as Europe/Berlin or UTC", text, name)
		}
		zone = location
	}
	for _, layout := range []string{"2006-01-02T15:04", "2006-01-02T15:04:05", time.DateOnly} {
		if t, err := time.ParseInLocation(layout, wall, zone); err == nil {
			return onTheClock(t, layout, wall, text)
		}
	}
	return time.Time{}, fmt.Errorf("--until %q: %s", text, untilWanted)
}

// onTheClock refuses a time that the clocks skip, and of one that they show
// twice takes the second: a pause had better be too long than too short.
func onTheClock(t time.Time, layout, wall, text string) (time.Time, error) {
	if t.Format(layout) != wall {
		return time.Time{}, fmt.Errorf("--until %q: the clocks of %s skip that time; want another, or one with its offset, such as %s",
			text, t.Location(), t.Format("2006-01-02T15:04Z07:00"))
	}
	if _, change := t.ZoneBounds(); !change.IsZero() {
		_, before := t.Zone()
		_, after := change.Zone()
		if second := t.Add(time.Duration(before-after) * time.Second); second.After(t) && second.Format(time.DateTime) == t.Format(time.DateTime) {
			t = second
		}
	}
	return t.UTC(), nil
}

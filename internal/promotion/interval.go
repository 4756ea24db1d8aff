package promotion

import (
	"fmt"
	"strings"
	"time"
)

// intervalYears are as many as a date of the calendar may be missing in.
const intervalYears = 9

// Interval is the longest time between two times of a cron expression, on a
// clock that is never set: what may be lost between two backups, say. Beside
// what an environment's file may say it reads `@every 1h`, and a time zone in
// front, as Kubernetes and Velero do.
func Interval(expression string) (time.Duration, error) {
	text := strings.TrimSpace(expression)
	if zone, rest, found := strings.Cut(text, " "); found && (strings.HasPrefix(zone, "TZ=") || strings.HasPrefix(zone, "CRON_TZ=")) {
		text = strings.TrimSpace(rest)
	}
	if every, found := strings.CutPrefix(text, "@every "); found {
		interval, err := time.ParseDuration(strings.TrimSpace(every))
		if err != nil || interval <= 0 {
			return 0, fmt.Errorf("want a time such as @every 1h, not %.80q", text)
		}
		return interval, nil
	}
	times, err := parseCron(text)
	if err != nil {
		return 0, err
	}
	return time.Duration(times.longestGap()) * time.Minute, nil
}

// longestGap is in minutes. The minutes of all days are alike, so only the
// first day has to be looked at in full; then it is days that lie between.
func (c cronTimes) longestGap() int64 {
	first, _ := c.minuteAtOrAfter(0)
	last, _ := c.minuteAtOrBefore(minutesPerDay - 1)
	longest := int64(0)
	for at := first; ; {
		next, found := c.minuteAtOrAfter(at + 1)
		if at+1 >= minutesPerDay || !found {
			break
		}
		longest = max(longest, int64(next-at))
		at = next
	}
	overnight := int64(minutesPerDay - last + first)
	day, ever := c.dayAtOrAfter(0)
	for end := day + intervalYears*366; ever && day < end; {
		var next int64
		if next, ever = c.dayAtOrAfter(day + 1); ever {
			longest = max(longest, (next-day-1)*minutesPerDay+overnight)
			day = next
		}
	}
	return longest
}

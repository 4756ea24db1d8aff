package promotion

import (
	"errors"
	"fmt"
	"slices"
	"time"
)

// Calendar says when changes may enter an environment: its schedule, windows and
// freezes, ready to be asked. It is a pure function of the time it is asked
// about, so a clock that jumps gets the answer of the time it jumped to. The
// zero Calendar is always open, with no freeze and no schedule. One Calendar may
// be asked from several goroutines.
//
// Cron expressions are read on the clock on the wall. A time that the clock
// skips, as when daylight saving begins, comes when it jumps; one that it
// repeats comes the first time only. What opens then stays open for its duration
// as a stopwatch counts it. Times in answers are in UTC.
type Calendar struct {
	schedule recurrence // no zone: none
	windows  []span
	freezes  []span
}

// span is a Window that has been read.
type span struct {
	recurrence recurrence // no zone: from and to, once
	duration   time.Duration
	from, to   time.Time
	name       string
}

// maxJoined bounds how many freezes in a row Frozen follows.
const maxJoined = 100

// CalendarOf reads what a promotion says about times. It costs some file reads
// for time zones: make it once for each version of a file. A Promotion that
// comes from a file, or from what was stored of one, gives no error.
func CalendarOf(p Promotion) (Calendar, error) {
	var c Calendar
	var problems []error
	if p.Schedule != "" {
		schedule, err := newRecurrence(p.Schedule, p.TimeZone)
		if err != nil {
			problems = append(problems, fmt.Errorf("schedule: %w", err))
		}
		c.schedule = schedule
	}
	read := func(name string, windows []Window) []span {
		var spans []span
		for i, w := range windows {
			s, err := newSpan(w, p.TimeZone)
			if err != nil {
				problems = append(problems, fmt.Errorf("%s[%d]: %w", name, i, err))
				continue
			}
			spans = append(spans, s)
		}
		return spans
	}
	c.windows, c.freezes = read("windows", p.Windows), read("freezes", p.Freezes)
	if err := errors.Join(problems...); err != nil {
		return Calendar{}, fmt.Errorf("read calendar: %w", err)
	}
	return c, nil
}

func newRecurrence(expression, zoneName string) (recurrence, error) {
	times, err := parseCron(expression)
	zone, zoneErr := findZone(zoneName)
	if err := errors.Join(err, zoneErr); err != nil {
		return recurrence{}, err
	}
	return recurrence{times: times, zone: zone}, nil
}

func newSpan(w Window, zoneName string) (span, error) {
	if w.Cron == "" {
		if !w.To.After(w.From) {
			return span{}, errors.New("want cron and duration, or from and a later to")
		}
		return span{from: w.From.UTC(), to: w.To.UTC(), name: w.Name}, nil
	}
	if !w.From.IsZero() || !w.To.IsZero() || w.Duration < minWindow || w.Duration > maxWindow {
		return span{}, fmt.Errorf("want from and to, or cron and a duration between %s and %s", minWindow, maxWindow)
	}
	if w.TimeZone != "" {
		zoneName = w.TimeZone
	}
	r, err := newRecurrence(w.Cron, zoneName)
	return span{recurrence: r, duration: w.Duration, name: w.Name}, err
}

// IsZero reports whether there is no schedule, window or freeze.
func (c Calendar) IsZero() bool {
	return c.schedule.zone == nil && len(c.windows) == 0 && len(c.freezes) == 0
}

// Frozen reports whether a freeze is on, and when it ends. Freezes that overlap
// or follow each other without a gap are taken as one; of an endless chain a
// part is followed, and until is then an early answer: ask again at that time.
func (c Calendar) Frozen(now time.Time) (until time.Time, frozen bool) {
	until, frozen = covered(c.freezes, now)
	for range maxJoined {
		later, still := covered(c.freezes, until)
		if !frozen || !still {
			break
		}
		until = later
	}
	return until, frozen
}

// FrozenBy are the names of the freezes that are on, as far as they have one.
func (c Calendar) FrozenBy(now time.Time) []string {
	var names []string
	for i := range c.freezes {
		s := &c.freezes[i]
		if _, on := s.covers(now); on && s.name != "" && !slices.Contains(names, s.name) {
			names = append(names, s.name)
		}
	}
	return names
}

// Open reports whether changes may start: always where there are no windows.
// Next is when the next window opens; zero when one is open, or none ever will
// be.
func (c Calendar) Open(now time.Time) (next time.Time, open bool) {
	if len(c.windows) == 0 {
		return time.Time{}, true
	}
	if _, on := covered(c.windows, now); on {
		return time.Time{}, true
	}
	for i := range c.windows {
		if opens := c.windows[i].opens(now); next.IsZero() || !opens.IsZero() && opens.Before(next) {
			next = opens
		}
	}
	return next, false
}

// Fired gives the schedule's last time that is not after now, and its first one
// after now. Scheduled is false where there is no schedule.
func (c Calendar) Fired(now time.Time) (last, next time.Time, scheduled bool) {
	if c.schedule.zone == nil {
		return time.Time{}, time.Time{}, false
	}
	last, next = c.schedule.around(now)
	return last, next, true
}

// covered is the latest end of the spans that a time lies in.
func covered(spans []span, at time.Time) (end time.Time, on bool) {
	for i := range spans {
		if closes, covers := spans[i].covers(at); covers && (!on || closes.After(end)) {
			end, on = closes, true
		}
	}
	return end, on
}

// covers reports whether a time lies in the span: its start does, its end does
// not. Of two openings the later one closes later, so only the last counts.
func (s *span) covers(at time.Time) (end time.Time, on bool) {
	if s.recurrence.zone == nil {
		return s.to, !at.Before(s.from) && at.Before(s.to)
	}
	start, ever := s.recurrence.last(at)
	end = start.Add(s.duration).UTC()
	return end, ever && at.Before(end)
}

// opens is the next time that the span begins; zero for never.
func (s *span) opens(after time.Time) time.Time {
	if s.recurrence.zone != nil {
		_, next := s.recurrence.around(after)
		return next
	}
	if s.from.After(after) {
		return s.from
	}
	return time.Time{}
}

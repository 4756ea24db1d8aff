package promotion

import (
	"errors"
	"fmt"
	"math/bits"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/robfig/cron/v3"
)

const (
	minutesPerDay = 24 * 60
	secondsPerDay = 24 * 60 * 60

	// maxMonths is how far apart two times of one expression may be: 29 February
	// is missing in 1900 and 2100, so eight years lie between 2096 and 2104.
	maxMonths = 9 * 12
)

// cronTimes are the minutes of a wall clock that a cron expression names, one
// bit each. The clock is naive: it knows no time zone, and counts minutes from
// its own 1970.
type cronTimes struct {
	minute uint64
	hour   uint32
	dom    uint32
	month  uint16
	dow    uint8
	either bool // both days are given: a day that matches one of them will do
}

// cronField is one of the five, in their order.
type cronField struct {
	name   string
	want   string
	option cron.ParseOption
	span   int // between its least and its greatest value
}

var cronFields = []cronField{
	{"minute", "0 to 59", cron.Minute, 59},
	{"hour", "0 to 23", cron.Hour, 23},
	{"day of the month", "1 to 31", cron.Dom, 30},
	{"month", "1 to 12 or JAN to DEC", cron.Month, 11},
	{"day of the week", "0 (Sunday) to 6 or SUN to SAT", cron.Dow, 6},
}

// cronItems keeps from the parser what it would misread: it takes `*-5` for `*`,
// an empty field for one that never matches, and `TZ=` for a time zone.
var cronItems = regexp.MustCompile(`^(\*|\w+(-\w+)?)(/\w+)?(,(\*|\w+(-\w+)?)(/\w+)?)*$`)

const maxCron = 500

// parseCron reads five fields, or a word such as @daily.
func parseCron(expression string) (cronTimes, error) {
	text := strings.TrimSpace(expression)
	if len(text) > maxCron {
		return cronTimes{}, fmt.Errorf("want at most %d characters, not %d", maxCron, len(text))
	}
	var times cronTimes
	var err error
	if strings.HasPrefix(text, "@") {
		times, err = parseCronWord(text)
	} else {
		times, err = parseCronFields(text)
	}
	if err != nil {
		return cronTimes{}, err
	}
	if _, ever := times.atOrAfter(0); !ever {
		return cronTimes{}, fmt.Errorf("%q never comes: no month that it names has such a day; want a date that exists", text)
	}
	return times, nil
}

func parseCronWord(word string) (cronTimes, error) {
	parsed, err := cron.NewParser(cron.Descriptor).Parse(word)
	spec, is := parsed.(*cron.SpecSchedule)
	if err != nil || !is { // @every counts from when the daemon started
		return cronTimes{}, fmt.Errorf("want five fields, or one of @hourly, @daily, @weekly, @monthly or @yearly, not %.80q", word)
	}
	return cronTimesOf(spec), nil
}

func parseCronFields(text string) (cronTimes, error) {
	fields := strings.Fields(text)
	if len(fields) != len(cronFields) {
		return cronTimes{}, fmt.Errorf("want five fields (minute, hour, day of the month, month, day of the week) "+
			"such as \"0 6 * * 1-5\", not %d in %.80q", len(fields), text)
	}
	var problems []error
	var all cron.SpecSchedule
	for i, field := range cronFields {
		spec, err := field.parse(fields[i])
		if err != nil {
			problems = append(problems, err)
			continue
		}
		switch field.option {
		case cron.Minute:
			all.Minute = spec.Minute
		case cron.Hour:
			all.Hour = spec.Hour
		case cron.Dom:
			all.Dom = spec.Dom
		case cron.Month:
			all.Month = spec.Month
		case cron.Dow:
			all.Dow = spec.Dow
		}
	}
	return cronTimesOf(&all), errors.Join(problems...)
}

// parse reads one field; the others are then the parser's defaults.
func (f cronField) parse(text string) (*cron.SpecSchedule, error) {
	if cronItems.MatchString(text) {
		parsed, err := cron.NewParser(f.option).Parse(text)
		if spec, is := parsed.(*cron.SpecSchedule); is && err == nil {
			return spec, f.checkSteps(text)
		}
	}
	return nil, fmt.Errorf("%s: want %s, a range such as %s, a list with commas, or a step such as */2, not %.80q",
		f.name, f.want, f.example(), text)
}

func (f cronField) example() string {
	if f.option == cron.Dow {
		return "1-5"
	}
	return "2-4"
}

// checkSteps refuses a step that reaches no second value: */90 for the minute
// does not mean every ninety minutes.
func (f cronField) checkSteps(text string) error {
	for item := range strings.SplitSeq(text, ",") {
		_, step, stepped := strings.Cut(item, "/")
		if n, err := strconv.Atoi(step); stepped && (err != nil || n > f.span) {
			return fmt.Errorf("%s: want a step of at most %d, not %.80q", f.name, f.span, item)
		}
	}
	return nil
}

// cronTimesOf drops what marks a field that was written with a star, but for
// what it means for the two days.
func cronTimesOf(spec *cron.SpecSchedule) cronTimes {
	const star = 1 << 63
	return cronTimes{
		minute: spec.Minute &^ star, hour: uint32(spec.Hour), dom: uint32(spec.Dom), month: uint16(spec.Month), dow: uint8(spec.Dow),
		either: spec.Dom&star == 0 && spec.Dow&star == 0,
	}
}

// atOrAfter is the first minute named that is not before at.
func (c cronTimes) atOrAfter(at int64) (int64, bool) {
	day := floorDiv(at, minutesPerDay)
	found, ever := c.dayAtOrAfter(day)
	if ever && found == day {
		if minute, is := c.minuteAtOrAfter(int(at - day*minutesPerDay)); is {
			return day*minutesPerDay + int64(minute), true
		}
		found, ever = c.dayAtOrAfter(day + 1)
	}
	if !ever {
		return 0, false
	}
	minute, _ := c.minuteAtOrAfter(0)
	return found*minutesPerDay + int64(minute), true
}

// atOrBefore is the last minute named that is not after at.
func (c cronTimes) atOrBefore(at int64) (int64, bool) {
	day := floorDiv(at, minutesPerDay)
	found, ever := c.dayAtOrBefore(day)
	if ever && found == day {
		if minute, is := c.minuteAtOrBefore(int(at - day*minutesPerDay)); is {
			return day*minutesPerDay + int64(minute), true
		}
		found, ever = c.dayAtOrBefore(day - 1)
	}
	if !ever {
		return 0, false
	}
	minute, _ := c.minuteAtOrBefore(minutesPerDay - 1)
	return found*minutesPerDay + int64(minute), true
}

func (c cronTimes) minuteAtOrAfter(of int) (int, bool) {
	hour, minute := of/60, of%60
	if rest := c.minute >> minute; c.hour>>hour&1 != 0 && rest != 0 {
		return of + bits.TrailingZeros64(rest), true
	}
	later := c.hour >> (hour + 1)
	if later == 0 {
		return 0, false
	}
	return (hour+1+bits.TrailingZeros32(later))*60 + bits.TrailingZeros64(c.minute), true
}

func (c cronTimes) minuteAtOrBefore(of int) (int, bool) {
	hour, minute := of/60, of%60
	if rest := c.minute << (63 - minute); c.hour>>hour&1 != 0 && rest != 0 {
		return of - bits.LeadingZeros64(rest), true
	}
	earlier := c.hour & (1<<hour - 1)
	if earlier == 0 {
		return 0, false
	}
	return (bits.Len32(earlier)-1)*60 + bits.Len64(c.minute) - 1, true
}

func (c cronTimes) dayAtOrAfter(day int64) (int64, bool) {
	m, of := monthOf(day)
	days := c.days(m) >> of << of
	for range maxMonths {
		if days != 0 {
			return m.before + int64(bits.TrailingZeros64(days)), true
		}
		m = m.next()
		days = c.days(m)
	}
	return 0, false
}

func (c cronTimes) dayAtOrBefore(day int64) (int64, bool) {
	m, of := monthOf(day)
	days := c.days(m) & (1<<(of+1) - 1)
	for range maxMonths {
		if days != 0 {
			return m.before + int64(bits.Len64(days)-1), true
		}
		m = m.previous()
		days = c.days(m)
	}
	return 0, false
}

// days are those of one month that match, as the bits 1 to 31.
func (c cronTimes) days(m month) uint64 {
	if c.month>>m.month&1 == 0 {
		return 0
	}
	first := (m.before + 1 + int64(time.Thursday)) % 7 // 1 January 1970 was a Thursday
	first = (first + 7) % 7
	week := (uint64(c.dow)>>first | uint64(c.dow)<<(7-first)) & (1<<7 - 1)
	byWeek := (week | week<<7 | week<<14 | week<<21 | week<<28) << 1
	matching := uint64(c.dom) & byWeek
	if c.either {
		matching = uint64(c.dom) | byWeek
	}
	return matching & (1<<(m.length+1) - 2)
}

// month is one of the calendar.
type month struct {
	year   int
	month  time.Month
	length int
	before int64 // the last day before it, counted from 1 January 1970
}

// monthOf finds the month of a day, and the day in it.
func monthOf(day int64) (m month, of int) {
	year, name, of := time.Unix(day*secondsPerDay, 0).UTC().Date()
	return month{year: year, month: name, length: daysIn(name, year), before: day - int64(of)}, of
}

func (m month) next() month {
	m.before += int64(m.length)
	if m.month++; m.month > time.December {
		m.year, m.month = m.year+1, time.January
	}
	m.length = daysIn(m.month, m.year)
	return m
}

func (m month) previous() month {
	if m.month--; m.month < time.January {
		m.year, m.month = m.year-1, time.December
	}
	m.length = daysIn(m.month, m.year)
	m.before -= int64(m.length)
	return m
}

func daysIn(m time.Month, year int) int {
	switch m {
	case time.February:
		if year%4 == 0 && (year%100 != 0 || year%400 == 0) {
			return 29
		}
		return 28
	case time.April, time.June, time.September, time.November:
		return 30
	}
	return 31
}

func floorDiv(a, b int64) int64 {
	q := a / b
	if a%b < 0 {
		q--
	}
	return q
}

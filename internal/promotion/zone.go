package promotion

import (
	"fmt"
	"regexp"
	"strings"
	"time"

	"chaperone.dev/chaperone/internal/strictyaml"
)

// maxShift bounds two things: how far a zone is from UTC (at most 16 hours), and
// how far its clocks were ever put back at once (a day).
const maxShift = 26 * 60 * 60

// period is a time during which the clocks of a zone are not changed, in
// seconds of 1970.
type period struct {
	start, end int64 // half-open
	offset     int64
}

const (
	longAgo  = -1 << 62
	farAhead = 1 << 62
)

// periodAt may give a part of the period, which serves as well. Past the listed
// changes of a zone, Go ends each year after 365 days: on the last day of a leap
// year that lies in the past.
func periodAt(zone *time.Location, at int64) period {
	if zone == time.UTC {
		return period{start: longAgo, end: farAhead}
	}
	t := time.Unix(at, 0).In(zone)
	_, offset := t.Zone()
	p := period{start: longAgo, end: farAhead, offset: int64(offset)}
	start, end := t.ZoneBounds()
	if !start.IsZero() {
		p.start = min(start.Unix(), at)
	}
	if !end.IsZero() {
		p.end = end.Unix()
	}
	if p.end <= at {
		p.end = (floorDiv(at, secondsPerDay) + 1) * secondsPerDay
	}
	return p
}

// reached is when the clocks of a zone first show a time, or one after it: what
// they skip is reached when they jump, and what they repeat is reached once.
func reached(zone *time.Location, wall int64) int64 {
	at := wall - maxShift
	for {
		p := periodAt(zone, at)
		if t := wall - p.offset; t < p.end {
			return max(t, at)
		}
		at = p.end
	}
}

// furthest is the latest that the clocks of a zone have shown up to a time: the
// other side of reached, so that reached(furthest(t)) <= t < reached(furthest(t)+1).
func furthest(zone *time.Location, at int64) int64 {
	p := periodAt(zone, at)
	wall := at + p.offset
	for p.start > at-maxShift {
		before := p.start - 1
		p = periodAt(zone, before)
		wall = max(wall, before+p.offset)
	}
	return wall
}

// recurrence is a cron expression in a time zone. The zero one never comes.
type recurrence struct {
	times cronTimes
	zone  *time.Location
}

// around gives the last time that is not after now, and the first after it;
// zero where there is none.
func (r recurrence) around(now time.Time) (last, next time.Time) {
	minute := floorDiv(furthest(r.zone, now.Unix()), 60)
	if at, ever := r.times.atOrBefore(minute); ever {
		last = time.Unix(reached(r.zone, at*60), 0).UTC()
	}
	if at, ever := r.times.atOrAfter(minute + 1); ever {
		next = time.Unix(reached(r.zone, at*60), 0).UTC()
	}
	return last, next
}

// last is the first half of around.
func (r recurrence) last(now time.Time) (time.Time, bool) {
	at, ever := r.times.atOrBefore(floorDiv(furthest(r.zone, now.Unix()), 60))
	if !ever {
		return time.Time{}, false
	}
	return time.Unix(reached(r.zone, at*60), 0), true
}

var zoneName = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9_+-]*(/[A-Za-z0-9_+-]+)*$`)

// machineZones are names that mean something else on each machine, or count leap
// seconds, though the database has a file of that name.
var machineZones = regexp.MustCompile(`(?i)^(local|localtime|posixrules|factory|posix/.*|right/.*)$`)

const maxZone = 64

// findZone looks a time zone up by its IANA name; "" is UTC.
func findZone(name string) (*time.Location, error) {
	if name == "" {
		return time.UTC, nil
	}
	if len(name) <= maxZone && zoneName.MatchString(name) && !machineZones.MatchString(name) {
		if zone, err := time.LoadLocation(name); err == nil {
			return zone, nil
		}
	}
	return nil, fmt.Errorf("%.80q is no time zone; %s", name, nearZone(name))
}

// nearZone is what was likely meant: the same in the right letters, or one of
// those that people use most.
func nearZone(name string) string {
	upper := true
	cased := strings.Map(func(r rune) rune {
		letter := strings.ToLower(string(r))
		if upper {
			letter = strings.ToUpper(letter)
		}
		upper = r == '/' || r == '_' || r == '-'
		if letter == " " {
			letter, upper = "_", true
		}
		return []rune(letter)[0]
	}, name)
	if len(cased) <= maxZone && zoneName.MatchString(cased) && !machineZones.MatchString(cased) {
		if _, err := time.LoadLocation(cased); err == nil {
			return `did you mean "` + cased + `"?`
		}
	}
	if near := strictyaml.Nearest(name, commonZones); near != "" {
		return `did you mean "` + near + `"?`
	}
	return "want a name of the IANA database, such as Europe/Berlin or UTC"
}

// commonZones are for advice only; every zone of the database is understood.
var commonZones = strings.Fields(`UTC Africa/Cairo Africa/Casablanca Africa/Johannesburg Africa/Lagos Africa/Nairobi
	America/Anchorage America/Argentina/Buenos_Aires America/Bogota America/Chicago America/Denver America/Halifax America/Lima
	America/Los_Angeles America/Mexico_City America/New_York America/Phoenix America/Santiago America/Sao_Paulo America/Toronto
	America/Vancouver Asia/Bangkok Asia/Beirut Asia/Dhaka Asia/Dubai Asia/Ho_Chi_Minh Asia/Hong_Kong Asia/Jakarta Asia/Jerusalem
	Asia/Karachi Asia/Kolkata Asia/Manila Asia/Riyadh Asia/Seoul Asia/Shanghai Asia/Singapore Asia/Taipei Asia/Tehran Asia/Tokyo
	Atlantic/Reykjavik Australia/Adelaide Australia/Brisbane Australia/Melbourne Australia/Perth Australia/Sydney Europe/Amsterdam
	Europe/Athens Europe/Berlin Europe/Brussels Europe/Bucharest Europe/Budapest Europe/Copenhagen Europe/Dublin Europe/Helsinki
	Europe/Istanbul Europe/Kyiv Europe/Lisbon Europe/London Europe/Luxembourg Europe/Madrid Europe/Oslo Europe/Paris Europe/Prague
	Europe/Rome Europe/Stockholm Europe/Vienna Europe/Warsaw Europe/Zurich Pacific/Auckland Pacific/Honolulu`)

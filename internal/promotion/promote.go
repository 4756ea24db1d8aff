package promotion

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
	"time"
	"unicode"

	"chaperone.dev/chaperone/internal/strictyaml"
)

const (
	maxWindows   = 50 // and freezes
	minWindow    = time.Minute
	maxWindow    = 365 * 24 * time.Hour
	maxName      = 100
	maxApprovers = 100
	maxRequired  = 5

	// Dates outside of these are a slip of the pen.
	minYear = 2000
	maxYear = 2199
)

func decodePromotion(promotion *strictyaml.Object, hasUpstream, hasRevision bool) Promotion {
	p := Promotion{
		Mode:     strictyaml.Enum(promotion, "mode", ModeAutomatic, ModeAutomatic, ModePullRequest, ModeSchedule),
		Soak:     promotion.Duration("soak", 0, 0, maxSoak),
		TimeZone: promotion.String("timeZone", "", checkZone),
	}
	if p.Soak > 0 && !hasUpstream {
		promotion.Value("soak").Problem("nothing to wait for: soak counts from when the environments in `after` verified; " +
			"name them, or remove soak")
	}
	p.Schedule = decodeSchedule(promotion, p.Mode)
	p.Windows = decodeWindows(promotion, "windows", p.TimeZone)
	p.Freezes = decodeWindows(promotion, "freezes", p.TimeZone)
	p.Approval = decodeApproval(promotion.Object("approval"))
	if p.Approval.Required > 0 && p.Mode != ModePullRequest && !hasRevision {
		promotion.Value("approval").Problem("a person approves by moving the pin, and this environment has none; " +
			"want mode: pull-request, or a revision, or remove approval")
	}
	return p
}

// decodeSchedule wants a schedule with mode schedule, and only there: elsewhere
// it would be taken for a limit, and be none.
func decodeSchedule(promotion *strictyaml.Object, mode Mode) string {
	v := promotion.Value("schedule")
	switch {
	case v.IsEmpty() && mode == ModeSchedule:
		v.Problem("missing; want when changes start, such as \"0 6 * * *\" or \"@daily\"")
	case !v.IsEmpty() && mode != ModeSchedule:
		v.Problem("only mode: schedule starts by it, and the mode is %s; want that mode, or remove schedule; "+
			"`windows` limit when changes start in any mode", mode)
	case !v.IsEmpty():
		return decodeCron(promotion, "schedule")
	}
	return ""
}

// decodeCron reports each field of the expression that is wrong.
func decodeCron(o *strictyaml.Object, name string) string {
	text := o.String(name, "")
	if text == "" {
		return ""
	}
	if _, err := parseCron(text); err != nil {
		for line := range strings.SplitSeq(err.Error(), "\n") {
			o.Value(name).Problem("%s", line)
		}
	}
	return text
}

func decodeWindows(promotion *strictyaml.Object, name, zoneName string) []Window {
	limit(promotion.Value(name), maxWindows)
	var windows []Window
	for _, o := range promotion.Objects(name) {
		windows = append(windows, decodeWindow(o, zoneName))
	}
	return windows
}

// decodeWindow fills in the time zone, so that a window can be read alone.
func decodeWindow(o *strictyaml.Object, zoneName string) Window {
	w := Window{
		Name:     o.String("name", "", checkName),
		TimeZone: o.String("timeZone", zoneName, checkZone),
	}
	if w.TimeZone == "" {
		w.TimeZone = time.UTC.String()
	}
	written := func(name string) bool { return !o.Value(name).IsEmpty() }
	cron, duration, from, to := written("cron"), written("duration"), written("from"), written("to")
	recurs, once := cron || duration, from || to
	if recurs == once {
		if o.Present() {
			o.Problem("want either cron and duration, or from and to")
		}
		return w
	}
	if once {
		o.Require("from", "want when it begins, such as 2026-12-20 or 2026-12-20T18:00")
		o.Require("to", "want when it ends, such as 2027-01-02; what begins then is outside")
		w.From, w.To = decodeTime(o.Value("from"), w.TimeZone), decodeTime(o.Value("to"), w.TimeZone)
		if !w.From.IsZero() && !w.To.IsZero() && !w.To.After(w.From) {
			o.Value("to").Problem("ends before it begins; want a time after from (a day without a time is its first moment: " +
				"to include the whole day, write the day after)")
		}
		return w
	}
	o.Require("cron", "want when it begins, such as \"0 22 * * 1-5\"")
	o.Require("duration", "want how long it lasts, such as 6h")
	w.Cron = decodeCron(o, "cron")
	w.Duration = o.Duration("duration", 0, minWindow, maxWindow)
	return w
}

// decodeTime reads a day, a time on the clocks of the zone, or RFC 3339.
func decodeTime(v strictyaml.Value, zoneName string) time.Time {
	text, written := v.Scalar()
	if !written {
		return time.Time{}
	}
	t, err := parseTime(text, zoneName)
	if err != nil {
		v.Problem("%v", err)
		return time.Time{}
	}
	return t
}

func parseTime(text, zoneName string) (time.Time, error) {
	t, err := time.Parse(time.RFC3339, text)
	if err != nil {
		if t, err = parseWallTime(text, zoneName); err != nil {
			return time.Time{}, err
		}
	}
	t = t.UTC()
	if t.Year() < minYear || t.Year() > maxYear {
		return time.Time{}, fmt.Errorf("want a year between %d and %d, not %.40q", minYear, maxYear, text)
	}
	return t, nil
}

func parseWallTime(text, zoneName string) (time.Time, error) {
	zone, err := findZone(zoneName)
	if err != nil {
		zone = time.UTC // reported where the zone stands
	}
	for _, layout := range []string{time.DateOnly, "2006-01-02T15:04", "2006-01-02T15:04:05"} {
		if t, err := time.Parse(layout, text); err == nil {
			return time.Unix(reached(zone, t.Unix()), 0), nil
		}
	}
	return time.Time{}, fmt.Errorf("want a day such as 2026-12-20, a time such as 2026-12-20T18:00, or one with its offset "+
		"such as 2026-12-20T18:00:00+01:00, not %.40q", text)
}

func decodeApproval(approval *strictyaml.Object) Approval {
	a := Approval{From: approval.Strings("from", checkApprover), NotAuthor: approval.Bool("notAuthor", false)}
	limit(approval.Value("from"), maxApprovers)
	wanted := 0
	if len(a.From) > 0 || a.NotAuthor {
		wanted = 1
	}
	a.Required = approval.Int("required", wanted, 0, maxRequired)
	people := len(a.From)
	for _, name := range a.From {
		if !strings.Contains(name, "@") {
			people = maxRequired // of a group, the daemon's configuration knows
		}
	}
	switch required := approval.Value("required"); {
	case required.Present() && a.Required < wanted:
		required.Problem("from and notAuthor ask something of those who approve; want at least 1, or remove them")
	case people > 0 && a.Required > people:
		required.Problem("from names %d, and each counts once; want at most %d, or name more", people, people)
	}
	return a
}

func checkZone(s string) error {
	_, err := findZone(s)
	return err
}

func checkName(s string) error {
	if len(s) > maxName {
		return fmt.Errorf("want at most %d bytes, not %d", maxName, len(s))
	}
	return checkLine(s)
}

func checkApprover(s string) error {
	if strings.Contains(s, "@") {
		return CheckAddress(s)
	}
	if err := CheckGroup(s); err != nil {
		return fmt.Errorf("want an e-mail address, or the name of a group of the daemon's configuration, not %.80q", s)
	}
	return nil
}

var (
	address = regexp.MustCompile(`^[^\s@<>,;"]+@[^\s@<>,;"]+$`)
	group   = regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?$`)
)

const maxAddress = 254

// CheckAddress refuses what is no e-mail address of a person, as commits have it.
func CheckAddress(s string) error {
	if len(s) > maxAddress || !address.MatchString(s) {
		return fmt.Errorf("want an e-mail address such as alex@example.org, not %.80q", s)
	}
	if strings.ContainsFunc(s, func(r rune) bool { return r > unicode.MaxASCII }) {
		return fmt.Errorf("want ASCII letters alone, for others look like them, not %.80q", s)
	}
	if strings.HasPrefix(strings.ToLower(s), "noreply@") {
		return errors.New("a noreply address is nobody's; want the address of a person")
	}
	return nil
}

// CheckGroup refuses what is no name of a group of people.
func CheckGroup(s string) error {
	if !group.MatchString(s) {
		return fmt.Errorf("want the name of a group, at most 63 letters, digits, - . and _, such as release-managers, not %.80q", s)
	}
	return nil
}

package reconcile

import (
	"slices"
	"time"

	"chaperone.dev/chaperone/internal/promotion"
	"chaperone.dev/chaperone/internal/source"
)

// story is a pipeline and what developers push to it.
type story struct {
	name         string
	environments []Environment // ordered
	script       []change
	adversity    int
	accidents    []accident
	start        time.Time
	parallel     int  // effects under way at once; 0 is one
	timed        bool // every minute counts, not only what has come
	untestable   bool // some suspects cannot be deployed
	// rests are the reasons, beside UpToDate, with which environments may rest
	// when nothing goes wrong but what is pushed.
	rests rests
}

type (
	rests    = map[string][]promotion.Reason
	revision = source.Revision
)

// mayRest reports whether an environment may rest so when nothing went wrong
// but what was pushed.
func (s *story) mayRest(name string, r promotion.Reason) bool {
	return r == promotion.UpToDate || slices.Contains(s.rests[name], r)
}

var newYear = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

func named(name string, edit func(*Spec), after ...string) Environment {
	e := Environment{ID: promotion.ID{Pipeline: "demo", Name: name}}
	e.Spec = Spec{OnFailure: promotion.FailureRevert, Drift: promotion.DriftCorrect, MaxReverts: 3}
	for _, up := range after {
		e.Spec.After = append(e.Spec.After, promotion.ID{Pipeline: "demo", Name: up})
	}
	if edit != nil {
		edit(&e.Spec)
	}
	return e
}

func all(edits ...func(*Spec)) func(*Spec) {
	return func(s *Spec) {
		for _, edit := range edits {
			edit(s)
		}
	}
}

func pinned(s *Spec)    { s.Pinned, s.Proposes = true, true }
func holds(s *Spec)     { s.OnFailure = promotion.FailureHold }
func soaks(s *Spec)     { s.Soak = 10 * time.Minute }
func oneRevert(s *Spec) { s.MaxReverts = 1 }
func phi(s *Spec)       { s.PHI = true }
func approvals(s *Spec) { s.Approval = true }
func signed(s *Spec)    { s.Signed = true }
func reported(s *Spec)  { s.Drift = promotion.DriftReport }

func calendarOf(p promotion.Promotion) promotion.Calendar {
	calendar, err := promotion.CalendarOf(p)
	if err != nil {
		panic(err)
	}
	return calendar
}

// frozen has one freeze of a day, an hour after the start.
func frozen(s *Spec) {
	s.Calendar = calendarOf(promotion.Promotion{Freezes: []promotion.Window{{From: newYear.Add(time.Hour), To: newYear.Add(25 * time.Hour)}}})
}

// windowed is open from four to five, each day; the story begins at four past
// three.
func windowed(s *Spec) {
	s.Calendar = calendarOf(promotion.Promotion{Windows: []promotion.Window{{Cron: "0 4 * * *", Duration: time.Hour}}})
}

// scheduled starts at half past four, each day.
func scheduled(s *Spec) {
	s.Calendar = calendarOf(promotion.Promotion{Mode: promotion.ModeSchedule, Schedule: "30 4 * * *"})
}

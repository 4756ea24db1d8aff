package reconcile

import (
	"testing"
	"time"

	"chaperone.dev/chaperone/internal/promotion"
)

// Pitfall 39: the clock jumps; a schedule falls into the hour that daylight
// saving skips or repeats. What the calendar answers is proved beside it; here
// is what is decided by it.

func at(t reporter, text string) time.Time {
	t.Helper()
	parsed, err := time.Parse(time.RFC3339, text)
	if err != nil {
		t.Errorf("%v", err)
	}
	return parsed.UTC()
}

// tick is one moment, and what is decided then about a release that waits.
type tick struct {
	now    string
	reason promotion.Reason // Applying: it starts
	until  string           // "" is not by itself
}

// ticks asks the same world again and again, as a clock shows it that may jump.
func ticks(t reporter, name string, e Environment, list ...tick) {
	t.Helper()
	for _, tick := range list {
		w := world("c3", e)
		w.Now = at(t, tick.now)
		d := Decide(w)
		if violations := Violations(w, d); len(violations) > 0 {
			t.Errorf("%s at %s: %v", name, tick.now, violations)
		}
		s := d.Statuses[0]
		until := ""
		if !s.Until.IsZero() {
			until = s.Until.UTC().Format(time.RFC3339)
		}
		if s.Reason != tick.reason || until != tick.until {
			t.Errorf("%s at %s: %s until %q, want %s until %q", name, tick.now, s.Reason, until, tick.reason, tick.until)
		}
		if tick.until != "" && (d.LookAgain.IsZero() || d.LookAgain.After(at(t, tick.until))) {
			t.Errorf("%s at %s: looks again at %s", name, tick.now, d.LookAgain)
		}
	}
}

func windowRows(t reporter) {
	t.Helper()
	with := func(windows ...promotion.Window) Environment {
		return dev(allow("c3", "d3"), func(e *Environment) { e.Spec.Calendar = calendarOf(promotion.Promotion{Windows: windows}) })
	}
	opens := promotion.OutsideWindow
	ticks(t, "over midnight", with(night...),
		tick{"2026-06-01T21:59:59Z", opens, "2026-06-01T22:00:00Z"}, tick{"2026-06-01T22:00:00Z", promotion.Applying, ""},
		tick{"2026-06-02T03:59:59Z", promotion.Applying, ""}, tick{"2026-06-02T04:00:00Z", opens, "2026-06-02T22:00:00Z"},
		tick{"2026-06-01T23:00:00Z", promotion.Applying, ""}) // set back
	ticks(t, "over year's end", with(promotion.Window{Cron: "0 20 31 12 *", Duration: 8 * time.Hour}),
		tick{"2026-12-31T19:00:00Z", opens, "2026-12-31T20:00:00Z"}, tick{"2027-01-01T03:59:00Z", promotion.Applying, ""},
		tick{"2027-01-01T04:00:00Z", opens, "2027-12-31T20:00:00Z"})
	ticks(t, "in the hour that daylight saving skips", with(promotion.Window{Cron: "30 2 * * *", Duration: time.Hour, TimeZone: "Europe/Berlin"}),
		tick{"2026-03-29T00:59:00Z", opens, "2026-03-29T01:00:00Z"}, tick{"2026-03-29T01:30:00Z", promotion.Applying, ""},
		tick{"2026-03-29T02:00:00Z", opens, "2026-03-30T00:30:00Z"})
	ticks(t, "in the hour that it repeats", with(promotion.Window{Cron: "30 2 * * *", Duration: 45 * time.Minute, TimeZone: "Europe/Berlin"}),
		tick{"2026-10-25T00:30:00Z", promotion.Applying, ""}, tick{"2026-10-25T01:15:00Z", opens, "2026-10-26T01:30:00Z"},
		tick{"2026-10-25T01:30:00Z", opens, "2026-10-26T01:30:00Z"})
	once := promotion.Window{From: noon.Add(-48 * time.Hour), To: noon.Add(-24 * time.Hour)}
	ticks(t, "that never opens again", with(once), tick{"2026-03-01T12:00:00Z", opens, ""})
	begun := with(night...)
	attempt(StageApplying, allow("c3", "d3"))(&begun)
	ticks(t, "what was begun is finished outside", begun, tick{"2026-06-02T12:00:00Z", promotion.Applying, ""})
}

func scheduleRows(t reporter) {
	t.Helper()
	with := func(edits ...func(*Environment)) Environment {
		return dev(allow("c3", "d3"), append([]func(*Environment){func(e *Environment) {
			e.Spec.Calendar = calendarOf(promotion.Promotion{Mode: promotion.ModeSchedule, Schedule: "0 6 * * *", TimeZone: "Europe/Berlin"})
		}}, edits...)...)
	}
	ran := func(when, digest string) func(*Environment) {
		return func(e *Environment) { e.Journal.Run = Run{At: at(t, when), Digest: Digest(digest)} }
	}
	const waits = promotion.WaitingForSchedule
	ticks(t, "due, and then over", with(),
		tick{"2026-06-01T03:59:59Z", waits, "2026-06-01T04:00:00Z"}, tick{"2026-06-01T04:00:00Z", promotion.Applying, ""},
		tick{"2026-06-01T04:59:59Z", promotion.Applying, ""}, // the daemon was away, or upstream not done
		tick{"2026-06-01T05:00:00Z", waits, "2026-06-02T04:00:00Z"})
	ticks(t, "another release was started for this time", with(ran("2026-06-01T04:00:00Z", "d2")),
		tick{"2026-06-01T04:10:00Z", waits, "2026-06-02T04:00:00Z"}, tick{"2026-06-02T04:00:00Z", promotion.Applying, ""})
	ticks(t, "the same may be tried again", with(ran("2026-06-01T04:00:00Z", "d3")),
		tick{"2026-06-01T04:10:00Z", promotion.Applying, ""}, tick{"2026-06-01T05:00:00Z", waits, "2026-06-02T04:00:00Z"})
	ticks(t, "started by a clock that ran ahead", with(ran("2026-06-05T04:00:00Z", "d2")),
		tick{"2026-06-01T04:10:00Z", promotion.Applying, ""}, tick{"2026-06-01T03:00:00Z", waits, "2026-06-01T04:00:00Z"})
	ticks(t, "the clock is set back within the hour", with(ran("2026-06-01T04:00:00Z", "d2")),
		tick{"2026-06-01T04:30:00Z", waits, "2026-06-02T04:00:00Z"}, tick{"2026-06-01T03:50:00Z", waits, "2026-06-01T04:00:00Z"})
	ticks(t, "daylight saving begins", with(),
		tick{"2026-03-28T05:00:00Z", promotion.Applying, ""}, tick{"2026-03-28T06:30:00Z", waits, "2026-03-29T04:00:00Z"},
		tick{"2026-03-29T04:00:00Z", promotion.Applying, ""})
	urgent := with()
	urgent.Candidates[0].Urgent = true
	ticks(t, "urgent", urgent, tick{"2026-06-01T12:00:00Z", promotion.Applying, ""})
}

// soakRows: a soak is counted from when upstream verified, by a clock that may
// have been ahead then.
func soakRows(t reporter) {
	t.Helper()
	up := running("zero", "c3", "z3")
	c := candidate(func(c *Candidate) { c.Upstream = []Upstream{{ID: id("zero"), Digest: "z3"}} })
	down := dev(c, func(e *Environment) { e.Spec.After, e.Spec.Soak = []promotion.ID{id("zero")}, 2*time.Hour })
	for _, test := range []struct {
		name     string
		verified time.Duration // before noon
		reason   promotion.Reason
		until    time.Duration
	}{
		{"just now", 0, promotion.Soaking, 2 * time.Hour},
		{"an hour ago", time.Hour, promotion.Soaking, time.Hour},
		{"long enough ago", 2 * time.Hour, promotion.Applying, 0},
		{"in the future", -time.Hour, promotion.Soaking, 3 * time.Hour},
	} {
		zero := up
		zero.Journal.Verified = []Verified{{Release: up.Journal.LastGood, At: noon.Add(-test.verified)}}
		w := world("c3", down, zero)
		d := Decide(w)
		if violations := Violations(w, d); len(violations) > 0 {
			t.Errorf("%s: %v", test.name, violations)
		}
		s := d.Statuses[0]
		if s.Reason != test.reason || test.until > 0 && !s.Until.Equal(noon.Add(test.until)) {
			t.Errorf("%s: %s until %s, want %s until %s", test.name, s.Reason, s.Until, test.reason, noon.Add(test.until))
		}
	}
	// A verification that is dated in the future is dated now, so that nobody
	// waits for the clock that was wrong.
	ahead := up
	ahead.Journal.Verified = []Verified{{Release: up.Journal.LastGood, At: noon.Add(24 * time.Hour)}}
	w := world("c3", ahead)
	d := Decide(w)
	if len(d.Actions) != 1 || d.Actions[0].Kind != ActionAdvance {
		t.Errorf("verified tomorrow: %v, want it dated anew", d.Actions)
		return
	}
	after := Observe(Begin(w, d.Actions[0]), Result{Action: d.Actions[0], Outcome: OutcomeDone}).Environments[0]
	if got := after.Journal.Verified[0].At; !got.Equal(noon) {
		t.Errorf("dated anew: %s, want now", got)
	}
}

// retryRows: a pause between two tries ends, wherever the clock goes.
func retryRows(t reporter) {
	t.Helper()
	e := dev(allow("c3", "d3"), func(e *Environment) {
		e.Journal.Retry = Retry{Reason: promotion.ApplyRejected, Digest: "d3", Tries: 3, At: noon.Add(time.Minute)}
	})
	ticks(t, "between two tries", e,
		tick{"2026-03-01T12:00:00Z", promotion.ApplyRejected, "2026-03-01T12:01:00Z"}, tick{"2026-03-01T12:01:00Z", promotion.ApplyRejected, ""},
		tick{"2025-03-01T12:00:00Z", promotion.ApplyRejected, ""}) // set back by a year
	for moment, want := range map[string]int{"2026-03-01T12:00:00Z": 0, "2026-03-01T12:01:00Z": 1, "2025-03-01T12:00:00Z": 1} {
		w := world("c3", e)
		w.Now = at(t, moment)
		if d := Decide(w); len(d.Actions) != want || want == 1 && d.Actions[0].Kind != ActionApply {
			t.Errorf("between two tries at %s: %v, want %d tries", moment, d.Actions, want)
		}
	}
}

func TestPitfall39_WhatIsDecidedByTheClock(t *testing.T) {
	t.Parallel()
	for name, rows := range map[string]func(reporter){
		"windows": windowRows, "schedule": scheduleRows, "soak": soakRows, "between two tries": retryRows,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			rows(t)
		})
	}
}

package promotion

import (
	"testing"
	"time"
)

// typical is what a production environment may well say.
func typical(b testing.TB) Calendar {
	c, err := CalendarOf(Promotion{Mode: ModeSchedule, Schedule: "0 6 * * 1-5", TimeZone: "Europe/Berlin",
		Windows: []Window{{Cron: "0 22 * * 1-5", Duration: 6 * time.Hour}, {Cron: "0 8 * * 6", Duration: 4 * time.Hour, TimeZone: "America/New_York"}},
		Freezes: []Window{{From: utc("2026-12-20T00:00:00"), To: utc("2027-01-02T00:00:00")}, {Cron: "0 0 28 * *", Duration: 96 * time.Hour}}})
	if err != nil {
		b.Fatal(err)
	}
	return c
}

func BenchmarkCalendar(b *testing.B) {
	c, now := typical(b), utc("2026-11-24T12:34:56")
	for name, ask := range map[string]func(time.Time){
		"Fired":  func(t time.Time) { c.Fired(t) },
		"Open":   func(t time.Time) { c.Open(t) },
		"Frozen": func(t time.Time) { c.Frozen(t) },
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for i := range b.N {
				ask(now.Add(time.Duration(i%1_000_000) * time.Minute))
			}
		})
	}
}

package preview

import (
	"fmt"
	"strings"
	"time"

	"chaperone.dev/chaperone/internal/promotion"
)

// Question is what gates are asked about.
type Question struct {
	Environment promotion.Environment
	Effect      Effect
	// Irreversible: the change cannot be taken back.
	Irreversible bool
	// Override is the break-glass reason of the commit that moves the pin.
	Override string
	Now      time.Time
}

// Gates are those that the change meets in an environment, in the order in which
// the daemon looks at them. What upstream has verified is the daemon's to know.
func (q Question) Gates() []Gate {
	gates := []Gate{}
	add := func(reason promotion.Reason, closed bool, format string, values ...any) {
		gates = append(gates, Gate{Reason: reason, Closed: closed, Text: fmt.Sprintf(format, values...)})
	}
	p := q.Environment.Promotion
	if len(q.Environment.After) > 0 {
		reason, text := promotion.WaitingForUpstream, "once verified in "+names(q.Environment.After)
		if q.Effect == Promoted {
			reason = promotion.UnverifiedRevision
		}
		if p.Soak > 0 {
			text += " for " + duration(p.Soak)
		}
		if q.Override != "" {
			reason, text = promotion.Overridden, text+", or at once where somebody else merges this override: "+q.Override
		}
		add(reason, false, "%s", text)
	}
	if q.Effect == Later {
		add(promotion.WaitingForPromotion, true, "once a promotion is merged")
	}
	if text := approval(p.Approval); text != "" {
		add(promotion.ApprovalRequired, false, "%s", text)
	} else if q.Irreversible && q.Environment.Data == promotion.DataPHI {
		add(promotion.IrreversibleUnapproved, false, "with an approval, as it cannot be taken back")
	}
	return append(gates, q.times()...)
}

// times are the gates that the calendar holds.
func (q Question) times() (gates []Gate) {
	p := q.Environment.Promotion
	calendar, err := promotion.CalendarOf(p)
	if err != nil { // as it stands in a valid file, there is none
		return []Gate{{Reason: promotion.InvalidEnvironment, Closed: true, Text: err.Error()}}
	}
	if until, frozen := calendar.Frozen(q.Now); frozen {
		text := strings.Join(append([]string{"not before the end of the freeze"}, calendar.FrozenBy(q.Now)...), " ")
		gates = append(gates, Gate{promotion.Frozen, text + " at " + moment(until), true})
	}
	if next, open := calendar.Open(q.Now); len(p.Windows) > 0 {
		gate := Gate{promotion.OutsideWindow, "in its windows (one is open now)", !open}
		switch {
		case !open && next.IsZero():
			gate.Text = "in its windows (none opens again)"
		case !open:
			gate.Text = "in its windows (next at " + moment(next) + ")"
		}
		gates = append(gates, gate)
	}
	if _, next, scheduled := calendar.Fired(q.Now); scheduled {
		text := "on its schedule " + p.Schedule
		if p.TimeZone != "" {
			text += " " + p.TimeZone
		}
		gates = append(gates, Gate{promotion.WaitingForSchedule, text + " (next at " + moment(next) + ")", false})
	}
	return gates
}

func names(ids []promotion.ID) string {
	texts := make([]string, len(ids))
	for i, id := range ids {
		texts[i] = id.Name
	}
	return strings.Join(texts, " and ")
}

func approval(a promotion.Approval) string {
	if a.Required == 0 {
		return ""
	}
	text := "with 1 approval"
	if a.Required > 1 {
		text = fmt.Sprintf("with %d approvals", a.Required)
	}
	if len(a.From) > 0 {
		text += " from " + strings.Join(a.From, ", ")
	}
	if a.NotAuthor {
		text += " (not by who wrote it)"
	}
	return text
}

func moment(t time.Time) string { return t.UTC().Format("2006-01-02 15:04 UTC") }

// duration is without the zeros that time.Duration ends with.
func duration(d time.Duration) string {
	text := d.String()
	if strings.HasSuffix(text, "m0s") {
		text = text[:len(text)-2]
	}
	if strings.HasSuffix(text, "h0m") {
		text = text[:len(text)-2]
	}
	return text
}

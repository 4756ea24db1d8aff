package verify

import (
	"fmt"
	"slices"
	"time"

	"chaperone.dev/chaperone/internal/health"
	"chaperone.dev/chaperone/internal/promotion"
)

// pace is how long the answers of one check took. That the percentile of all of
// them is over its limit is the same as that more are slow than may be; so it is
// known before all were asked.
type pace struct {
	asked   *promotion.Latency // nil asks nothing
	allowed int                // how many may be slow
	slow    int
	took    []time.Duration
}

func (p *pace) plan(count int) {
	if p.asked != nil {
		p.allowed = count * (100 - p.asked.Percentile) / 100
	}
}

func (p *pace) add(a answer) {
	if p.asked == nil || a.outcome == none {
		return
	}
	p.took = append(p.took, a.took)
	if a.took >= p.asked.Under {
		p.slow++
	}
}

func (p *pace) broken() bool { return p.asked != nil && p.slow > p.allowed }

// unsure: those without an answer may have been slow.
func (p *pace) unsure(silent int) bool { return p.asked != nil && p.slow+silent > p.allowed }

func (p *pace) limit() string {
	return fmt.Sprintf("limit p%d under %s", p.asked.Percentile, measured(p.asked.Under))
}

// note is the percentile measured, and its limit.
func (p *pace) note() string {
	if p.asked == nil || len(p.took) == 0 {
		return ""
	}
	sorted := slices.Sorted(slices.Values(p.took))
	rank := (len(sorted)*p.asked.Percentile + 99) / 100
	return fmt.Sprintf("; p%d %s, %s", p.asked.Percentile, measured(sorted[rank-1]), p.limit())
}

// measured tells milliseconds, where Span tells tenths of seconds.
func measured(d time.Duration) string {
	if d < time.Second {
		return d.Round(time.Millisecond).String()
	}
	return health.Span(d)
}

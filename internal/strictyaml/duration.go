package strictyaml

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

const maxDays = int(1<<63-1) / int(24*time.Hour)

// ParseDuration reads Go's syntax with days before the rest: "30m", "2190d",
// "1d12h". A day is 24 hours.
func ParseDuration(s string) (time.Duration, error) {
	digits, rest, hasDays := strings.Cut(s, "d")
	if !hasDays {
		digits, rest = "0", s
	}
	days, err := strconv.Atoi(digits)
	if err != nil || days < 0 || days > maxDays || digits[0] == '+' {
		return 0, badDuration(s)
	}
	if hasDays && rest == "" {
		rest = "0"
	}
	short, err := time.ParseDuration(rest)
	total := time.Duration(days)*24*time.Hour + short
	if err != nil || hasDays && (short < 0 || total < 0) {
		return 0, badDuration(s)
	}
	return total, nil
}

func badDuration(s string) error {
	return fmt.Errorf("want a duration such as 30s, 15m, 12h or 90d, not %s", quote(s))
}

// FormatDuration is the shortest text that ParseDuration reads back.
func FormatDuration(d time.Duration) string {
	const day = 24 * time.Hour
	if d >= day && d%day == 0 {
		return strconv.FormatInt(int64(d/day), 10) + "d"
	}
	text := d.String()
	if strings.HasSuffix(text, "m0s") {
		text = strings.TrimSuffix(text, "0s")
	}
	if strings.HasSuffix(text, "h0m") {
		text = strings.TrimSuffix(text, "0m")
	}
	return text
}

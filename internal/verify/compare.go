package verify

import (
	"fmt"
	"slices"
	"strconv"

	"github.com/aclements/go-moremath/stats"

	"chaperone.dev/chaperone/internal/promotion"
)

// looks is how often samples are compared by rank while they come in, evenly over
// the time. A release that changed nothing fails in at most the stated share of
// verifications: each look is given an equal part of it, and by Bonferroni's
// inequality the parts add up whatever the looks have in common. (That is an
// alpha-spending function α(t) = α·t at fixed times, after Lan and DeMets,
// Discrete sequential boundaries for clinical trials, Biometrika 70, 1983, with
// each part tested by itself: simpler than theirs, and never above the level.)
const looks = 5

// fewest samples are not compared.
const fewest = 4

// comparison holds samples against a baseline's.
type comparison struct {
	promotion.Baseline
	base []float64
}

// compare makes one of several looks. It is Fail when the samples are worse, by
// the test and by the ratio; Pass when they are for certain not worse by the
// ratio; and "" while nobody can tell. Both errors are bounded by the level.
func (c comparison) compare(samples []float64, level float64) Verdict {
	if len(samples) < fewest || len(c.base) < fewest {
		return ""
	}
	now, before := c.oriented(samples, 1), c.oriented(c.base, 1)
	if c.exceeds(median(samples), median(c.base)) && chance(before, now) <= level {
		return Fail
	}
	if chance(c.oriented(samples, c.Ratio), before) <= level {
		return Pass
	}
	return ""
}

// exceeds reports whether one is worse than another by more than the ratio.
func (c comparison) exceeds(now, before float64) bool {
	now, before = c.floored(now), c.floored(before)
	if c.Worse == promotion.WorseLower {
		return now*c.Ratio < before
	}
	return now > before*c.Ratio
}

func (c comparison) floored(x float64) float64 {
	if c.Floor != nil {
		return max(x, *c.Floor)
	}
	return x
}

// oriented are samples of which larger ones are worse, made better by a factor.
func (c comparison) oriented(samples []float64, by float64) []float64 {
	turned := make([]float64, len(samples))
	for i, x := range samples {
		if x = c.floored(x); c.Worse == promotion.WorseLower {
			turned[i] = -x * by
		} else {
			turned[i] = x / by
		}
	}
	return turned
}

// chance is how likely it is that one sample is that much smaller than another
// though they are of the same distribution: Mann and Whitney's U test, one-sided,
// exact for small samples. Where all are equal there is nothing to be told.
func chance(smaller, larger []float64) float64 {
	result, err := stats.MannWhitneyUTest(smaller, larger, stats.LocationLess)
	if err != nil {
		return 1
	}
	return result.P
}

// limit is what a comparison by ratio comes to; ok is false where the baseline
// is 0, of which there is no ratio.
func (c comparison) limit() (limit float64, ok bool) {
	before := c.floored(median(c.base))
	if before == 0 {
		return 0, false
	}
	if c.Worse == promotion.WorseLower {
		return before / c.Ratio, true
	}
	return before * c.Ratio, true
}

func (c comparison) describe(samples []float64) string {
	return fmt.Sprintf("%s, against %s %s: worse by more than a factor of %s", number(median(samples)), number(median(c.base)), c.Baseline, number(c.Ratio))
}

func median(samples []float64) float64 {
	sorted := slices.Sorted(slices.Values(samples))
	switch n := len(sorted); {
	case n == 0:
		return 0
	case n%2 == 1:
		return sorted[n/2]
	default:
		return (sorted[n/2-1] + sorted[n/2]) / 2
	}
}

func number(x float64) string { return strconv.FormatFloat(x, 'g', 4, 64) }

package verify

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strconv"
	"time"

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
const looks = promotion.RankLooks

// fewest samples are not compared.
const fewest = 4

// spread gives each time that a release is looked at, after it passed, its part of
// the level: a release that changed nothing is to fail in no more than that share
// of them all.
func spread(b *promotion.Baseline, watch promotion.Watch, each time.Duration) *promotion.Baseline {
	if b == nil || watch.For <= 0 {
		return b
	}
	part := *b
	part.Significance /= float64(watch.Looks(each))
	return &part
}

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
	weight := worth(c.base, samples)
	if c.exceeds(median(samples), median(c.base), c.Ratio) && weighed(chance(before, now), weight) <= level {
		return Fail
	}
	if weighed(chance(c.oriented(samples, c.Ratio), before), weight) <= level {
		return Pass
	}
	return ""
}

// hint is how likely chance has to be for a control to be taken for well.
const hint = 0.1

// hints reports whether samples may well be worse, though nobody could be certain
// of it: then they are no proof that all is well next door.
func (c comparison) hints(samples []float64) bool {
	return c.exceeds(median(samples), median(c.base), math.Sqrt(c.Ratio)) && chance(c.oriented(c.base, 1), c.oriented(samples, 1)) <= hint
}

// worth is how much of a sample each of them is. Those that hang together from one
// to the next, as in bursts or where the same scrape is read twice, tell less than
// as many that do not: with the correlation r of neighbours, (1-r)/(1+r) as much.
// (r is of ranks, so that no single value makes it, and put right for the few
// samples that it is estimated from.)
func worth(groups ...[]float64) float64 {
	var with, all, n float64
	for _, group := range groups {
		deviations := fromMiddle(group)
		for i, d := range deviations {
			if all += d * d; i > 0 {
				with += d * deviations[i-1]
			}
		}
		n += float64(len(group))
	}
	if all == 0 {
		return 1 // nothing moves
	}
	r := with / all
	r = min(max(r+(1+3*r)/n, 0), 0.99)
	return (1 - r) / (1 + r)
}

// fromMiddle are the ranks in a group, 0 for the middle one; equal ones share theirs.
func fromMiddle(group []float64) []float64 {
	order := make([]int, len(group))
	for i := range order {
		order[i] = i
	}
	slices.SortFunc(order, func(a, b int) int { return cmp.Compare(group[a], group[b]) })
	ranks := make([]float64, len(group))
	for first := 0; first < len(order); {
		last := first
		for last+1 < len(order) && group[order[last+1]] == group[order[first]] {
			last++
		}
		for _, i := range order[first : last+1] {
			ranks[i] = float64(first+last-len(order)+1) / 2
		}
		first = last + 1
	}
	return ranks
}

// weighed is a chance by samples of which each is worth less than one.
func weighed(chance, worth float64) float64 {
	if worth >= 1 || chance >= 1 || chance <= 0 {
		return chance
	}
	deviation := math.Sqrt2 * math.Erfcinv(2*chance)
	return math.Erfc(deviation*math.Sqrt(worth)/math.Sqrt2) / 2
}

// exceeds reports whether one is worse than another by more than a ratio.
func (c comparison) exceeds(now, before, ratio float64) bool {
	now, before = c.floored(now), c.floored(before)
	if c.Worse == promotion.WorseLower {
		return now*ratio < before
	}
	return now > before*ratio
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
// is 0 or less, of which there is no ratio.
func (c comparison) limit() (limit float64, ok bool) {
	before := c.floored(median(c.base))
	if before <= 0 {
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

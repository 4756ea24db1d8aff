package promotion

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/robfig/cron/v3"
	"pgregory.net/rapid"
)

// expressions draws five fields, often such as people write.
func expressions() *rapid.Generator[string] {
	fields := [][]string{
		{"*", "0", "30", "59", "*/15", "5-20", "7,23,44", "10-50/20", "0,15,30,45", "45/5"},
		{"*", "0", "1", "2", "6", "23", "*/6", "1-3", "22,23,0", "0-4/2"},
		{"*", "*", "1", "15", "28", "29", "30", "31", "*/2", "1-7", "25-31"},
		{"*", "*", "*", "1", "2", "3", "10", "FEB,DEC", "*/3", "4-9"},
		{"*", "*", "0", "6", "MON-FRI", "sat,sun", "*/2", "2,4"},
	}
	return rapid.Custom(func(t *rapid.T) string {
		drawn := make([]string, 0, len(fields))
		for i, choices := range fields {
			drawn = append(drawn, rapid.SampledFrom(choices).Draw(t, cronFields[i].name))
		}
		return strings.Join(drawn, " ")
	})
}

// The parser's own search, in UTC and five years at a time, is the oracle.
func TestCronAgreesWithTheLibraryInUTC(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		expression := expressions().Draw(t, "expression")
		oracle, err := cron.ParseStandard(expression)
		if err != nil {
			t.Fatal(err)
		}
		times, err := parseCron(expression)
		first := oracle.Next(time.Date(2023, 12, 31, 0, 0, 0, 0, time.UTC)) // a leap year follows
		if (err != nil) != first.IsZero() {
			t.Fatalf("%s: got %v, and the library says %s", expression, err, first)
		}
		if err != nil {
			return
		}
		at := rapid.Int64Range(-20_000_000, 60_000_000).Draw(t, "minute") // 1931 to 2084
		want := oracle.Next(time.Unix(at*60-1, 0).UTC())
		got, ever := times.atOrAfter(at)
		if !ever || !want.IsZero() && got*60 != want.Unix() {
			t.Fatalf("%s at %s: got %s, want %s", expression, time.Unix(at*60, 0).UTC(), time.Unix(got*60, 0).UTC(), want)
		}
		// Backwards it is the same sequence: nothing lies between the two.
		before, ever := times.atOrBefore(at)
		if after, _ := times.atOrAfter(before); !ever || before > at || after != before {
			t.Fatalf("%s at %d: last %d is none", expression, at, before)
		}
		if between, _ := times.atOrAfter(before + 1); between <= at {
			t.Fatalf("%s at %d: last %d, and %d lies between", expression, at, before, between)
		}
	})
}

func TestCronWords(t *testing.T) {
	t.Parallel()
	for word, same := range map[string]string{
		"@hourly": "0 * * * *", "@daily": "0 0 * * *", "@midnight": "0 0 * * *", "@weekly": "0 0 * * 0", "@monthly": "0 0 1 * *",
		"@yearly": "0 0 1 1 *", "@annually": "0 0 1 1 *", " 0 6\t* * MON-FRI ": "0 6 * * 1-5",
	} {
		got, err := parseCron(word)
		want, wantErr := parseCron(same)
		if err != nil || wantErr != nil || got != want {
			t.Errorf("%s: got %+v, %v, want %+v, %v", word, got, err, want, wantErr)
		}
	}
}

// Every month of four centuries has its days, in both directions.
func TestMonthsFollowEachOther(t *testing.T) {
	t.Parallel()
	m, of := monthOf(floorDiv(time.Date(1899, 12, 31, 0, 0, 0, 0, time.UTC).Unix(), secondsPerDay))
	if m.year != 1899 || m.month != time.December || of != 31 {
		t.Fatalf("got %+v, %d", m, of)
	}
	for range 400 * 12 {
		next := m.next()
		first := time.Unix((next.before+1)*secondsPerDay, 0).UTC()
		if first.Day() != 1 || first.Year() != next.year || first.Month() != next.month || next.previous() != m {
			t.Fatalf("%+v: next is %+v, which begins on %s; before it %+v", m, next, first, next.previous())
		}
		m = next
	}
	if last := time.Unix((m.before+int64(m.length))*secondsPerDay, 0).UTC(); last.Format(time.DateOnly) != "2299-12-31" {
		t.Errorf("got %s", last)
	}
}

func FuzzParseCron(f *testing.F) {
	for _, seed := range []string{"0 6 * * 1-5", "@daily", "TZ=UTC", "CRON_TZ=x * * * *", "*/5 0-23/2 1,15 JAN mon", "0 0 31 2 *", "@every 1s", "*-5 , ? L #"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		times, err := parseCron(text)
		if err != nil {
			if strings.Contains(err.Error(), "failed to") || !strings.Contains(err.Error(), "want") {
				t.Fatalf("%q: %v", text, err)
			}
			return
		}
		// Whatever is valid comes, within the bound of the search, from any time.
		for _, at := range []int64{-1 << 30, -1, 0, 1 << 25, 1 << 30} {
			next, ever := times.atOrAfter(at)
			last, was := times.atOrBefore(at)
			if !ever || !was || next < at || last > at {
				t.Fatalf("%q at %d: got %d %v, %d %v", text, at, last, was, next, ever)
			}
		}
		if s := fmt.Sprint(times); len(strings.Fields(text)) == 5 {
			if again, err := parseCron(strings.Join(strings.Fields(text), " ")); err != nil || fmt.Sprint(again) != s {
				t.Fatalf("%q: read twice, got %s and %v, %v", text, s, again, err)
			}
		}
	})
}

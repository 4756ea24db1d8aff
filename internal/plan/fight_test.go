package plan

import (
	"fmt"
	"testing"
	"time"

	"pgregory.net/rapid"

	"chaperone.dev/chaperone/internal/manifest"
)

var noon = time.Date(2026, 3, 2, 12, 0, 0, 0, time.UTC)

func contestOf(name string) Contest {
	return Contest{Environment: "shop/testing", Object: manifest.ID{Kind: "ConfigMap", Namespace: "shop", Name: name}}
}

// fightFor corrects an object and has it undone, again and again, and returns
// after how many corrections it was left alone; -1 is never.
func fightFor(f *Fights, object Contest, every time.Duration, times int, now *time.Time) int {
	for n := range times {
		if !f.Differs(object, "v1", *now).IsZero() {
			return n
		}
		f.Corrected(object, "v1", *now)
		*now = now.Add(every)
	}
	return -1
}

func TestFightsAreGivenUpAndTakenUp(t *testing.T) {
	t.Parallel()
	for every, want := range map[time.Duration]int{
		time.Millisecond: 3, 10 * time.Second: 3, 20 * time.Second: 3, time.Minute: 3, 3 * time.Minute: 5, 4 * time.Minute: -1, time.Hour: -1,
	} {
		var f Fights
		now := noon
		if got := fightFor(&f, contestOf("a"), every, 500, &now); got != want {
			t.Errorf("undone every %s: left alone after %d corrections, want %d", every, got, want)
		}
	}
	var f Fights
	now := noon
	fightFor(&f, contestOf("a"), time.Second, 10, &now)
	until := f.Differs(contestOf("a"), "v1", now)
	if wait := until.Sub(now); wait < 5*time.Minute || wait > 15*time.Minute {
		t.Errorf("tried again after %s", wait)
	}
	if f.Differs(contestOf("a"), "v1", until.Add(-time.Minute)).IsZero() {
		t.Error("put back before its time")
	}
	if !f.Differs(contestOf("a"), "v2", now).IsZero() {
		t.Error("another release does not begin anew")
	}
	if !f.Differs(contestOf("b"), "v1", now).IsZero() {
		t.Error("another object is left alone as well")
	}
}

// Once its time is over it is put back; who has stopped does not undo that, and
// who has not is given up on sooner.
func TestAFightEndsByItself(t *testing.T) {
	t.Parallel()
	var f Fights
	now := noon
	fightFor(&f, contestOf("a"), time.Second, 10, &now)
	now = f.Differs(contestOf("a"), "v1", now).Add(time.Second)
	if !f.Differs(contestOf("a"), "v1", now).IsZero() {
		t.Fatal("not put back when its time was over")
	}
	if again := fightFor(&f, contestOf("a"), time.Second, 10, &now); again < 1 || again > 2 {
		t.Errorf("given up on after %d more corrections, want one or two", again)
	}
}

// Whatever happens when: what nobody undoes is never left alone, what is left
// alone is tried again within a bounded time, and memory is bounded.
func TestFightsAreBounded(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		var f Fights
		now := noon
		undone := map[Contest]int{}
		put := map[Contest]bool{}
		for range rapid.IntRange(0, 100).Draw(t, "steps") {
			now = now.Add(time.Duration(rapid.Int64Range(-int64(time.Hour), int64(time.Minute)).Draw(t, "passed")))
			object := contestOf(rapid.SampledFrom([]string{"a", "b"}).Draw(t, "object"))
			if rapid.Bool().Draw(t, "corrected") {
				f.Corrected(object, "v1", now)
				put[object] = true
				continue
			}
			if put[object] {
				undone[object]++
				put[object] = false
			}
			until := f.Differs(object, "v1", now)
			if !until.IsZero() && undone[object] < 3 {
				t.Fatalf("left alone after %d corrections were undone", undone[object])
			}
			if !until.IsZero() && (!until.After(now) || until.Sub(now) > time.Hour) {
				t.Fatalf("left alone until %s", until.Sub(now))
			}
		}
	})
	var f Fights
	now := noon
	fightFor(&f, contestOf("fought over"), time.Second, 10, &now)
	for i := range 3 * maxContests {
		f.Corrected(contestOf(fmt.Sprint(i)), "v1", now)
		if len(f.bouts) > maxContests {
			t.Fatalf("%d objects are remembered", len(f.bouts))
		}
	}
	if f.Differs(contestOf("fought over"), "v1", now).IsZero() {
		t.Error("what is fought over is forgotten before what is not")
	}
}

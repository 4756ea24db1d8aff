package plan

import (
	"math"
	"time"

	"chaperone.dev/chaperone/internal/manifest"
)

// Contest names an object over which somebody may fight with us.
type Contest struct {
	Environment string
	Object      manifest.ID
}

// A correction that is undone counts 1, and half of that after each half-life.
// Three within a minute are a fight; so is, in the long run, one every three and
// a half minutes. One person who edits an object now and then stays below that,
// and two controllers reach it within seconds. Once nothing is put back any
// more, it takes some eight minutes until that is tried again: who has stopped
// does not undo it, and who has not makes it a fight again after two more.
const (
	fightHalfLife = 5 * time.Minute
	fightBegins   = 2.5
	fightEnds     = 1.0
)

// maxContests bounds how many objects are remembered. The ones that were fought
// over least are forgotten first.
const maxContests = 2000

// Fights tells objects whose corrections are undone again and again. The zero
// value is ready. Time is passed in, and may jump.
type Fights struct{ bouts map[Contest]*bout }

type bout struct {
	wanted string // what the release says; another release begins anew
	put    bool   // put back, and not seen to differ since
	on     bool
	score  float64 // as of at
	at     time.Time
}

// Differs is told that an object differs from what is wanted. The answer is
// until when it is not to be put back; zero is: put it back.
func (f *Fights) Differs(object Contest, wanted string, now time.Time) (until time.Time) {
	b := f.bouts[object]
	if b == nil || b.wanted != wanted {
		delete(f.bouts, object)
		return time.Time{}
	}
	b.decay(now)
	if b.put {
		b.put = false
		b.score++
	}
	switch {
	case b.score >= fightBegins:
		b.on = true
	case b.score <= fightEnds:
		b.on = false
	}
	if !b.on {
		return time.Time{}
	}
	left := float64(fightHalfLife) * math.Log2(b.score/fightEnds)
	return now.Add(max(time.Duration(left), time.Second))
}

// Corrected is told that an object was put back.
func (f *Fights) Corrected(object Contest, wanted string, now time.Time) {
	b := f.bouts[object]
	if b == nil || b.wanted != wanted {
		f.makeRoom(now)
		if f.bouts == nil {
			f.bouts = map[Contest]*bout{}
		}
		b = &bout{wanted: wanted, at: now}
		f.bouts[object] = b
	}
	b.decay(now)
	b.put = true
}

// decay lets the score sink. A clock that was set back changes nothing.
func (b *bout) decay(now time.Time) {
	if passed := now.Sub(b.at); passed > 0 {
		b.score *= math.Exp2(-float64(passed) / float64(fightHalfLife))
	}
	b.at = now
}

// makeRoom forgets what is over, and if that is not enough, the half that was
// fought over least.
func (f *Fights) makeRoom(now time.Time) {
	if len(f.bouts) < maxContests {
		return
	}
	const over = 0.1
	total := 0.0
	for object, b := range f.bouts {
		b.decay(now)
		if b.score < over && !b.put {
			delete(f.bouts, object)
			continue
		}
		total += b.score
	}
	if len(f.bouts) < maxContests {
		return
	}
	average := total / float64(len(f.bouts))
	for object, b := range f.bouts {
		if b.score <= average {
			delete(f.bouts, object)
		}
	}
}

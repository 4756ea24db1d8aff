package sim

import (
	"context"
	"sync"
	"time"
)

// pace gives every step of every goroutine an instant of its own. How long a
// step takes follows from the seed and from what the step is, never from a
// shared stream of chance, so that one step more or less changes no other.
// Because no two wake at the same instant, what happens in which order follows
// from the seed alone and not from the scheduler.
type pace struct {
	seed  uint64
	start time.Time

	mu       sync.Mutex
	reserved map[int64]bool
}

func newPace(seed uint64) *pace {
	return &pace{seed: seed, start: time.Now(), reserved: map[int64]bool{}}
}

// elapsed is the time since the world began.
func (p *pace) elapsed() time.Duration { return time.Since(p.start) }

// reserve finds the first free instant at or after d from now.
func (p *pace) reserve(d time.Duration) (wait time.Duration, instant int64) {
	now := int64(p.elapsed())
	p.mu.Lock()
	defer p.mu.Unlock()
	instant = now + max(int64(d), 1)
	for p.reserved[instant] {
		instant++
	}
	p.reserved[instant] = true
	return time.Duration(instant - now), instant
}

func (p *pace) free(instant int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.reserved, instant)
}

// nap lets about d pass.
func (p *pace) nap(d time.Duration) {
	wait, instant := p.reserve(d)
	time.Sleep(wait)
	p.free(instant)
}

// napUntil lets about d pass, or less if ctx ends before; then the goroutine
// still gets an instant of its own.
func (p *pace) napUntil(ctx context.Context, d time.Duration) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	wait, instant := p.reserve(d)
	defer p.free(instant)
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		p.nap(time.Duration(p.hash("interrupted", uint64(instant)) % uint64(time.Millisecond)))
		return ctx.Err()
	}
}

// hash is a number that follows from the seed and from what it is asked for.
func (p *pace) hash(what string, n uint64) uint64 { return hash(p.seed, what, n) }

// chance is between 0 and 1.
func (p *pace) chance(what string, n uint64) float64 { return unit(p.hash(what, n)) }

// between is a duration between two.
func (p *pace) between(low, high time.Duration, what string, n uint64) time.Duration {
	return low + time.Duration(p.hash(what, n)%uint64(high-low))
}

// hash mixes a text and two numbers (FNV-1a, then the finalizer of splitmix64).
func hash(seed uint64, what string, n uint64) uint64 {
	const offset, prime = 14695981039346656037, 1099511628211
	h := uint64(offset) ^ seed*0x9e3779b97f4a7c15
	for i := range len(what) {
		h = (h ^ uint64(what[i])) * prime
	}
	h = (h ^ n) * prime
	h = (h ^ h>>30) * 0xbf58476d1ce4e5b9
	h = (h ^ h>>27) * 0x94d049bb133111eb
	return h ^ h>>31
}

func unit(h uint64) float64 { return float64(h>>11) / (1 << 53) }

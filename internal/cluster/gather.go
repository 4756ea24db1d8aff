package cluster

import (
	"context"
	"errors"
	"sync"
	"time"
)

// gather answers questions together that are asked at about the same time. A
// question that comes while none is being answered is seen to at once; those that
// come meanwhile are seen to together, by the next run. So an answer is never
// older than its question: the run that gives it began after it was asked.
type gather[Q, A any] struct {
	// run gives one answer to each question, in their order.
	run func(ctx context.Context, asked []Q) ([]A, error)
	// most is how many questions one run may have.
	most int
	// apart is the least time between the beginnings of two runs: what costs much is
	// asked for many together, and not for one after the other.
	apart time.Duration

	mu      sync.Mutex
	next    []*round[Q, A]
	running int
	latest  time.Time // when the last run began
	due     time.Time // when is looked whether the next one may; zero: nobody will
}

const (
	// gatherPatience is how long a run may take before the next one begins beside it:
	// one answer that does not come must not hold up all others.
	gatherPatience = 2 * time.Second
	// gatherRuns bounds how many there are then.
	gatherRuns = 4
)

// round is one run, and who waits for it.
type round[Q, A any] struct {
	asked   []Q
	waiting int
	ctx     context.Context // until nobody waits any more
	stop    context.CancelFunc
	done    chan struct{}
	answers []A
	err     error
}

var errUnanswered = errors.New("a question was left unanswered")

// ask returns the answer to a question, or ctx's error once that is done: the
// others get theirs all the same.
func (g *gather[Q, A]) ask(ctx context.Context, q Q) (answer A, err error) {
	if err := ctx.Err(); err != nil {
		return answer, err
	}
	r, at := g.join(q)
	select {
	case <-r.done:
	case <-ctx.Done():
		g.leave(r)
		return answer, ctx.Err()
	}
	switch {
	case r.err != nil:
		return answer, r.err
	case at >= len(r.answers):
		return answer, errUnanswered
	}
	return r.answers[at], nil
}

func (g *gather[Q, A]) join(q Q) (r *round[Q, A], at int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if last := len(g.next) - 1; last >= 0 && len(g.next[last].asked) < g.most && g.next[last].waiting > 0 {
		r = g.next[last]
	} else {
		r = &round[Q, A]{done: make(chan struct{})}
		r.ctx, r.stop = context.WithCancel(context.Background())
		g.next = append(g.next, r)
	}
	r.asked = append(r.asked, q)
	r.waiting++
	g.begin()
	return r, len(r.asked) - 1
}

// leave is for who does not wait any more.
func (g *gather[Q, A]) leave(r *round[Q, A]) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if r.waiting--; r.waiting == 0 {
		r.stop()
	}
}

// begin starts the next run, unless it has to wait for one before it, and sees to
// it that those after it have their turn; by the lock.
func (g *gather[Q, A]) begin() {
	for len(g.next) > 0 && g.running < gatherRuns {
		if wait := g.wait(); wait > 0 {
			if at := time.Now().Add(wait); g.due.IsZero() || at.Before(g.due) {
				g.due = at
				time.AfterFunc(wait, g.losePatience)
			}
			return
		}
		r := g.next[0]
		g.next = g.next[1:]
		g.running++
		g.latest = time.Now()
		go g.carryOut(r)
	}
}

// wait is how long until the next run may begin; by the lock.
func (g *gather[Q, A]) wait() time.Duration {
	if g.latest.IsZero() {
		return 0
	}
	least := g.apart
	if g.running > 0 {
		least = max(least, gatherPatience)
	}
	return least - time.Since(g.latest)
}

func (g *gather[Q, A]) losePatience() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.due = time.Time{}
	g.begin()
}

func (g *gather[Q, A]) carryOut(r *round[Q, A]) {
	defer r.stop()
	if r.err = r.ctx.Err(); r.err == nil {
		r.answers, r.err = g.run(r.ctx, r.asked)
	}
	close(r.done)
	g.mu.Lock()
	defer g.mu.Unlock()
	g.running--
	g.begin()
}

package sim

import (
	"context"
	"errors"
	"log/slog"
	"strconv"
	"sync"
	"time"

	"chaperone.dev/chaperone/internal/controller"
	"chaperone.dev/chaperone/internal/manifest"
	"chaperone.dev/chaperone/internal/plan"
	"chaperone.dev/chaperone/internal/promotion"
)

// replica is one pod of the daemon: it has one life after the other.
type replica struct {
	number int
	life   *life // nil while none runs
	mirror *mirror
	stop   bool
	ended  chan struct{} // closed when it has no life any more and gets none
}

// life is one process of the daemon, from its start to its end. Every call of
// a port belongs to one; once it is dead, its calls have no effect.
type life struct {
	s       *Sim
	number  int // from 1, over all replicas
	replica *replica
	cancel  context.CancelFunc
	ended   chan struct{}

	mu     sync.Mutex
	counts map[string]uint64
	work   uint64
	dead   bool
	frozen chan struct{} // closed when it goes on

	// Owned by the world's lock.
	view    controller.View
	decided map[effectKey]decided
	heard   map[promotion.ID]heard
	polled  string // head that it knows
	fights  plan.Fights
}

var errGone = errors.New("the process is gone")

func (s *Sim) newLife(r *replica) *life {
	s.lives++
	return &life{
		s: s, number: s.lives, replica: r, ended: make(chan struct{}), counts: map[string]uint64{},
		decided: map[effectKey]decided{}, heard: map[promotion.ID]heard{},
	}
}

// start begins a replica, which begins a new life after each that ends.
func (s *Sim) start(r *replica) {
	r.stop, r.ended = false, make(chan struct{})
	go func() {
		defer close(r.ended)
		for n := uint64(1); ; n++ {
			l := s.begin(r)
			if l == nil {
				return
			}
			<-l.ended
			// A container that crashed is started again, at first soon.
			s.pace.nap(s.pace.between(500*time.Millisecond, 8*time.Second, "restart "+strconv.Itoa(r.number), n))
		}
	}()
}

func (s *Sim) begin(r *replica) *life {
	s.mu.Lock()
	defer s.mu.Unlock()
	if r.stop {
		r.life = nil
		return nil
	}
	l := s.newLife(r)
	r.life = l
	if r.mirror == nil || s.pace.chance("mirror", uint64(l.number)) < 0.5 {
		r.mirror = newMirror() // the cache is lost with the pod, and kept by its container
	}
	ctx, cancel := context.WithCancel(context.Background())
	l.cancel = cancel
	s.note(l, "start", "", "")
	c := controller.New(s.ports(l), s.config(l))
	l.controller(ctx, c)
	return l
}

func (l *life) controller(ctx context.Context, c *controller.Controller) {
	if l.s.webhooks {
		l.s.nudge[l.number] = c.Poll
	}
	l.s.policies.changed[l.number] = c.Nudge
	go func() {
		err := c.Run(ctx)
		l.cancel()
		l.s.mu.Lock()
		if err != nil && !l.isDead() {
			l.s.note(l, "end", "", err.Error())
		}
		delete(l.s.nudge, l.number)
		delete(l.s.policies.changed, l.number)
		l.s.mu.Unlock()
		l.kill()
		close(l.ended)
	}()
}

func (s *Sim) config(l *life) controller.Config {
	return controller.Config{
		PollInterval: s.poll, Jitter: 0.1, Workers: 1000, Redactor: manifest.NewRedactor([]byte("0123456789abcdef")),
		Self: daemonEmail, Groups: s.groups, Now: l.now, Rand: l.rand, Decided: l.decide, Stagger: l.stagger,
		Log: slog.New(listener{l}),
	}
}

// now is what the process's clock shows: no two machines agree to the moment.
func (l *life) now() time.Time {
	skew := l.s.pace.between(0, 80*time.Millisecond, "skew", uint64(l.replica.number))
	return l.s.now().Add(skew)
}

// rand is for jitter; one number after the other.
func (l *life) rand() float64 { return l.s.pace.chance(l.key("rand", ""), l.turn("rand", "")) }

// stagger gives work that the loop starts an instant of its own.
func (l *life) stagger(f func()) func() {
	l.mu.Lock()
	l.work++
	n := l.work
	l.mu.Unlock()
	return func() {
		if !l.isDead() {
			l.s.pace.nap(time.Duration(l.s.pace.hash(l.key("work", ""), n) % uint64(200*time.Microsecond)))
		}
		f()
	}
}

func (l *life) key(op, object string) string { return strconv.Itoa(l.number) + "|" + op + "|" + object }

// turn counts the calls of an operation on an object, from 1.
func (l *life) turn(op, object string) uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	key := op + "|" + object
	l.counts[key]++
	return l.counts[key]
}

func (l *life) isDead() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.dead
}

// kill ends a life at once: nothing that it does has an effect any more.
func (l *life) kill() {
	l.mu.Lock()
	l.dead = true
	frozen := l.frozen
	l.frozen = nil
	l.mu.Unlock()
	if frozen != nil {
		close(frozen)
	}
	l.cancel()
}

// freeze stops the process where it is, as a paused virtual machine does.
func (l *life) freeze() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.frozen == nil && !l.dead {
		l.frozen = make(chan struct{})
	}
}

func (l *life) thaw() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.frozen != nil {
		close(l.frozen)
		l.frozen = nil
	}
}

// awaitThaw keeps a frozen process from noticing anything.
func (l *life) awaitThaw(op, object string, n uint64) {
	for {
		l.mu.Lock()
		frozen := l.frozen
		l.mu.Unlock()
		if frozen == nil {
			return
		}
		<-frozen
		if !l.isDead() {
			l.s.pace.nap(time.Duration(l.s.pace.hash(l.key("thaw "+op, object), n) % uint64(time.Millisecond)))
		}
	}
}

// call is one call of a port: it takes a while to get there, has its effect
// with the world locked, and takes a while to come back. Whatever can go wrong
// on the way does.
func (l *life) call(ctx context.Context, op, object string, speed time.Duration, effect func() error) error {
	if l.isDead() {
		return errGone
	}
	n := l.turn(op, object)
	call := id{l.number, op, object, n}
	key := l.key(op, object)
	l.awaitThaw(op, object, n)
	l.s.mu.Lock()
	met := l.s.mishaps.at(call)
	l.s.mu.Unlock()
	latency := time.Duration(l.s.pace.hash(key, n)%uint64(speed)) + speed/4
	if met.kind == delays {
		latency += met.by
	}
	if err := l.travel(ctx, latency); err != nil {
		return err
	}
	err := l.arrive(call, met, effect)
	if l.isDead() {
		return errGone
	}
	if back := l.travel(ctx, latency/3); back != nil {
		return back
	}
	l.awaitThaw(op, object, n)
	if l.isDead() {
		return errGone
	}
	return err
}

func (l *life) travel(ctx context.Context, d time.Duration) error {
	if l.isDead() {
		return errGone
	}
	if err := l.s.pace.napUntil(ctx, d); err != nil {
		return err
	}
	if l.isDead() {
		return errGone
	}
	return nil
}

// arrive is the moment at which a call has its effect.
func (l *life) arrive(call id, met mishap, effect func() error) error {
	s := l.s
	s.mu.Lock()
	defer s.mu.Unlock()
	switch met.kind {
	case crashesBefore:
		s.noteCall(l, call, string(met.kind))
		l.kill()
		return errGone
	case fails:
		s.noteCall(l, call, string(met.kind))
		return failure(call.op)
	case isStale:
		s.stale = true
		defer func() { s.stale = false }()
	}
	err := effect()
	switch met.kind {
	case repeats:
		err = effect()
	case losesAnswer:
		err = failure(call.op)
	}
	s.noteResult(l, call, met, err)
	if met.kind == crashesAfter {
		l.kill()
		return errGone
	}
	return err
}

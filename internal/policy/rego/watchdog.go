package rego

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"runtime/metrics"
	"sync"
	"sync/atomic"
	"time"

	"github.com/open-policy-agent/opa/v1/topdown"
)

// look is how often a watchdog looks at time and memory.
const look = 5 * time.Millisecond

// inputGrowth is how many bytes one byte of the input may take while rules look
// at it: as JSON it is written more densely than as values.
const inputGrowth = 24

// watchdog ends the queries of one evaluation: those that take too long one by
// one, and all of them once the evaluation's time is over or the process has
// grown by more memory than an evaluation may take. OPA has no bound on memory
// of its own, and Go none on what one goroutine allocates, so it is the process
// that is looked at. What else grows meanwhile counts as well; the verdict is
// then an error, which the next judgement does away with.
type watchdog struct {
	ctx    context.Context // ends when anything ends the evaluation
	caller context.Context
	cancel context.CancelFunc
	limits Limits
	done   chan struct{}
	ended  sync.WaitGroup
	most   uint64 // bytes of heap

	halted  atomic.Pointer[error]
	mu      sync.Mutex
	workers []*worker
}

// newWatchdog watches until stop. size is that of the input.
func newWatchdog(ctx context.Context, limits Limits, size int) *watchdog {
	w := &watchdog{caller: ctx, limits: limits, done: make(chan struct{}), most: heap() + uint64(limits.Memory) + inputGrowth*uint64(size)}
	w.ctx, w.cancel = context.WithCancel(ctx)
	w.ended.Go(w.run)
	w.ended.Go(w.weigh)
	return w
}

func (w *watchdog) stop() {
	close(w.done)
	w.ended.Wait()
	w.cancel()
}

func (w *watchdog) run() {
	ticker := time.NewTicker(look)
	defer ticker.Stop()
	for {
		select {
		case <-w.done:
			return
		case <-w.caller.Done():
			w.halt(w.over())
			return
		case now := <-ticker.C:
			w.each(func(on *worker) { on.overdue(now) })
		}
	}
}

var errMemory = errors.New("took too much memory")

// weigh looks at the memory, beside the clock: a collection of garbage takes as
// long as it takes.
func (w *watchdog) weigh() {
	ticker := time.NewTicker(look)
	defer ticker.Stop()
	for {
		select {
		case <-w.done:
			return
		case <-w.ctx.Done():
			return
		case <-ticker.C:
			if w.grown() {
				w.halt(fmt.Errorf("%w: more than %d bytes", errMemory, w.limits.Memory))
			}
		}
	}
}

// grown asks for a collection before it blames anybody for garbage, unless there
// is more than garbage can explain, which is never more than what is in use.
func (w *watchdog) grown() bool {
	used := heap()
	if used > w.most && used <= 2*w.most {
		runtime.GC()
		used = heap()
	}
	return used > w.most
}

// over says why the caller's time is over.
func (w *watchdog) over() error {
	if errors.Is(w.caller.Err(), context.DeadlineExceeded) {
		return fmt.Errorf("did not answer within %s", w.limits.Evaluation)
	}
	return w.caller.Err()
}

// halt ends everything, for the first reason that is given.
func (w *watchdog) halt(why error) {
	if w.halted.CompareAndSwap(nil, &why) {
		w.each(func(on *worker) { on.interrupt(why) })
		w.cancel()
	}
}

// stopped is why nothing more is to be asked; nil while there is time.
func (w *watchdog) stopped() error {
	if why := w.halted.Load(); why != nil {
		return *why
	}
	if w.caller.Err() != nil {
		return w.over()
	}
	return nil
}

func (w *watchdog) each(do func(*worker)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, on := range w.workers {
		do(on)
	}
}

// worker puts one query after the other.
func (w *watchdog) worker() *worker {
	on := &worker{watchdog: w}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.workers = append(w.workers, on)
	return on
}

// worker is the query that one goroutine has going.
type worker struct {
	*watchdog
	mu     sync.Mutex
	cancel topdown.Cancel // nil between queries
	since  time.Time
	why    error // the query was ended
}

// begin starts a query, which ends when what is returned says so.
func (o *worker) begin() topdown.Cancel {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.cancel, o.since, o.why = topdown.NewCancel(), time.Now(), nil
	if why := o.stopped(); why != nil {
		o.why = why
		o.cancel.Cancel()
	}
	return o.cancel
}

// finish says why the query was ended, if it was.
func (o *worker) finish() error {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.cancel = nil
	return o.why
}

func (o *worker) interrupt(why error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.cancel != nil && o.why == nil {
		o.why = why
		o.cancel.Cancel()
	}
}

func (o *worker) overdue(now time.Time) {
	o.mu.Lock()
	late := o.cancel != nil && now.Sub(o.since) > o.limits.Query
	o.mu.Unlock()
	if late {
		o.interrupt(fmt.Errorf("did not answer within %s", o.limits.Query))
	}
}

// heap is the bytes of objects in the process' heap, dead ones not yet
// collected among them.
func heap() uint64 {
	sample := []metrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}}
	metrics.Read(sample)
	if sample[0].Value.Kind() != metrics.KindUint64 {
		return 0
	}
	return sample[0].Value.Uint64()
}

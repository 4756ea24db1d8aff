package cluster

import (
	"container/heap"
	"context"
	"errors"
	"fmt"

	"chaperone.dev/chaperone/internal/fault"
	"chaperone.dev/chaperone/internal/manifest"
	"chaperone.dev/chaperone/internal/plan"
)

// walk carries out the steps of an apply: each as soon as those are over that
// it comes after, a bounded number of requests at once, in the plan's order.
// After the first error no further one is begun and nothing is awaited any
// more; requests under way are finished, as breaking one off would leave it
// unknown whether it was made.
type walk struct {
	a       *applier
	steps   []plan.Step
	left    []int   // by step: how many it still waits for
	next    [][]int // by step: which come after it
	ready   queue   // steps that make requests, lowest first
	instant []int   // steps that make none, or wait
	slots   chan struct{}
	ended   chan stepEnd
	running int
	wrote   bool // a write was tried
	removed bool // a replacement was begun
	late    int  // how much was not ready in time
	errs    []error
	stays   map[manifest.ID]*manifest.Object // what does not go, and what lives in it
	passed  []error                          // why
	stop    context.CancelFunc               // ends the waits
}

// stepEnd is what came of a step.
type stepEnd struct {
	step int
	got  outcome
	err  error
}

func (a *applier) walk(ctx context.Context, steps []plan.Step) error {
	w := &walk{a: a, steps: steps, left: make([]int, len(steps)), next: make([][]int, len(steps)),
		slots: make(chan struct{}, a.c.options.Workers), ended: make(chan stepEnd), stays: map[manifest.ID]*manifest.Object{}}
	a.slots = w.slots
	waits, stop := context.WithCancel(ctx)
	defer stop()
	w.stop = stop
	for i, step := range steps {
		w.left[i] = len(step.After)
		for _, before := range step.After {
			w.next[before] = append(w.next[before], i)
		}
		if step.Kind == plan.StepAwait {
			a.awaited[a.changes[step.Change].ID] = true
		}
		if len(step.After) == 0 {
			w.put(i)
		}
	}
	for w.begin(ctx, waits) || w.running > 0 {
		w.wait(ctx)
	}
	return w.err(ctx)
}

// put makes a step one that may begin.
func (w *walk) put(step int) {
	kind := w.steps[step].Kind
	if kind == plan.StepTry || kind == plan.StepApply && w.writes(step) {
		heap.Push(&w.ready, step)
		return
	}
	w.instant = append(w.instant, step)
}

func (w *walk) writes(step int) bool {
	change := w.a.changes[w.steps[step].Change]
	_, done := w.a.done[change.ID]
	return change.Action != plan.Unchanged && !done && w.stays[change.ID] == nil
}

// begin starts what needs no turn, and reports whether a request has to wait
// for one.
func (w *walk) begin(ctx, waits context.Context) bool {
	for len(w.instant) > 0 && !w.over(ctx) {
		step := w.instant[0]
		w.instant = w.instant[1:]
		switch w.steps[step].Kind {
		case plan.StepAwait:
			if w.stays[w.a.changes[w.steps[step].Change].ID] != nil {
				w.finish(step)
				continue
			}
			answer := w.a.done[w.a.changes[w.steps[step].Change].ID].object
			w.start(step, func() (outcome, error) { return w.a.await(waits, w.steps[step], answer) })
		case plan.StepRecord:
			if err := w.a.record(ctx); err != nil {
				w.fail(err)
				continue
			}
			w.finish(step)
		default:
			w.finish(step)
		}
	}
	return len(w.ready) > 0 && !w.over(ctx)
}

func (w *walk) over(ctx context.Context) bool { return len(w.errs) > 0 || ctx.Err() != nil }

// wait gives a free turn to the next request, or takes what has ended.
func (w *walk) wait(ctx context.Context) {
	turn := w.slots
	if len(w.ready) == 0 || w.over(ctx) {
		turn = nil
	}
	if turn == nil && w.running == 0 {
		return
	}
	select {
	case turn <- struct{}{}:
		step := heap.Pop(&w.ready).(int)
		w.start(step, func() (outcome, error) {
			defer func() { <-w.slots }()
			change := w.a.changes[w.steps[step].Change]
			if w.steps[step].Kind == plan.StepTry {
				return outcome{}, changed(change.ID, w.a.tryOne(ctx, change))
			}
			got, err := w.a.write(ctx, change)
			return got, changed(change.ID, err)
		})
	case end := <-w.ended:
		w.running--
		w.end(ctx, end)
	}
}

func changed(id manifest.ID, err error) error {
	if err == nil {
		return nil
	}
	return changeError{id: id, err: err}
}

func (w *walk) start(step int, do func() (outcome, error)) {
	w.running++
	if at := w.steps[step]; at.Kind == plan.StepApply {
		w.wrote = true
		w.removed = w.removed || w.a.changes[at.Change].Action == plan.Replace
	}
	go func() {
		got, err := do()
		w.ended <- stepEnd{step, got, err}
	}()
}

func (w *walk) end(ctx context.Context, end stepEnd) {
	step := w.steps[end.step]
	change := w.a.changes[step.Change]
	if step.Kind == plan.StepApply {
		w.a.progress(change, end.err)
	}
	if step.Kind == plan.StepAwait && end.got.applied != "" { // a hook, applied just now or by an earlier attempt
		known := w.a.done[change.ID]
		known.uid, known.applied = end.got.uid, end.got.applied
		w.a.done[change.ID] = known
	}
	if end.err != nil {
		if !w.passOver(end) {
			w.fail(end.err)
		}
		return
	}
	if step.Kind == plan.StepApply {
		w.a.done[change.ID] = end.got
	}
	if w.begun(end) {
		// Before it is waited for: who goes on after a crash has to know that it
		// was started, should it be gone by then.
		if err := w.a.record(ctx); err != nil {
			w.fail(err)
			return
		}
	}
	w.finish(end.step)
}

// begun reports whether a step has started a hook.
func (w *walk) begun(end stepEnd) bool {
	step := w.steps[end.step]
	return step.Kind == plan.StepApply && end.got.applied != "" && plan.IsHook(w.a.changes[step.Change].Object)
}

func (w *walk) fail(err error) {
	w.stop()
	switch {
	case errors.Is(err, errCalledOff):
		return
	case errors.Is(err, errDeadline):
		if w.late++; w.late > maxLate {
			return
		}
	}
	w.errs = append(w.errs, err)
}

// maxLate bounds how much of what was not ready in time is named.
const maxLate = 5

// finish lets those begin that wait for a step alone.
func (w *walk) finish(step int) {
	for _, next := range w.next[step] {
		if w.left[next]--; w.left[next] == 0 {
			w.put(next)
		}
	}
}

func (w *walk) err(ctx context.Context) error {
	if len(w.errs) == 0 && ctx.Err() != nil {
		if context.Cause(ctx) != errDeadline {
			return ctx.Err()
		}
		return fault.Retryable("apply", "", fmt.Errorf("%w after %d of %d objects", errDeadline, len(w.a.done), w.a.toDo()))
	}
	if len(w.errs) == 0 && len(w.passed) > 0 {
		return w.staysErr()
	}
	err := errors.Join(w.errs...)
	// A replaced object may have lost its name to another owner.
	if refused := refusal(err, len(w.a.done) > 0 || w.removed); refused != nil {
		return refused
	}
	return rejection(err, len(w.a.done) > 0 || w.wrote)
}

// queue is a heap of steps.
type queue []int

func (q queue) Len() int           { return len(q) }
func (q queue) Less(i, j int) bool { return q[i] < q[j] }
func (q queue) Swap(i, j int)      { q[i], q[j] = q[j], q[i] }

// Push and Pop are for package heap.
func (q *queue) Push(step any) { *q = append(*q, step.(int)) }

// Pop takes the last one.
func (q *queue) Pop() any {
	last := (*q)[len(*q)-1]
	*q = (*q)[:len(*q)-1]
	return last
}

package verify

import (
	"context"
	"fmt"
	"maps"
	"time"

	"k8s.io/apimachinery/pkg/runtime/schema"

	"chaperone.dev/chaperone/internal/health"
	"chaperone.dev/chaperone/internal/manifest"
)

// confirmations is how many looks in a row must agree before readiness, or a
// definitive failure, is believed. One look may meet a status that its
// controller is about to correct: a Deployment that is put back to an earlier
// ReplicaSet shows the new generation and the old ProgressDeadlineExceeded
// together for a moment.
const confirmations = 3

// Ready waits until every object is ready, within timeout, and still is after
// settle; an object that becomes unready meanwhile starts the wait for settle
// anew, until timeout and settle are both used up. It fails early where waiting cannot help (a Job that failed, a rollout
// past its deadline). A cluster that cannot be read is asked again; not being
// able to read it when the time is up is an error, never a fail.
func (v *Verifier) Ready(ctx context.Context, live Live, timeout, settle time.Duration) (Result, error) {
	if timeout <= 0 {
		timeout = DefaultTimeout
	}
	w := &wait{
		started: v.clock.Now(), timeout: timeout, settle: max(settle, 0), rules: live.Rules, quiet: live.Quiet,
		ended: map[manifest.ID]health.Status{}, failing: map[manifest.ID]int{}, kinds: map[schema.GroupKind]found{}, stood: map[schema.GroupKind]found{},
	}
	for {
		asked := v.clock.Now()
		seen, err := w.look(ctx, live, v.clock)
		if ctx.Err() != nil {
			return Result{}, cancelled(ctx.Err())
		}
		now := v.clock.Now()
		if err != nil {
			w.unreadable(err)
		} else {
			w.see(seen, now)
		}
		verdict, evidence := w.decide(now)
		if verdict == Fail {
			evidence = w.explained(ctx, live, seen, now)
		}
		if ctx.Err() != nil {
			return Result{}, cancelled(ctx.Err())
		}
		if verdict != "" {
			return Result{Verdict: verdict, Check: "ready", Evidence: evidence, Started: w.started, Ended: now}, nil
		}
		if err := v.clock.Wait(ctx, max(w.pause(v.poll, now), ease(now.Sub(asked)))); err != nil {
			return Result{}, cancelled(err)
		}
	}
}

// wait is what the looks so far amount to. It decides without I/O.
type wait struct {
	started         time.Time
	timeout, settle time.Duration
	rules           health.Rules
	quiet           map[schema.GroupKind]bool

	ended   map[manifest.ID]health.Status // Jobs that were seen to end
	failing map[manifest.ID]int           // looks in a row with a definitive failure
	kinds   map[schema.GroupKind]found    // as each was last looked at
	stood   map[schema.GroupKind]found    // what was looked at since all is ready

	last       health.Summary // as last read
	read       bool           // at least once
	err        error          // of the last look; nil when it could read
	readySince time.Time      // zero while not ready
	readyLooks int
	lapses     int  // times it was ready, and then not
	whole      bool // the last look spared nothing
}

// brisk is the least between two looks: two at once would not be two.
const brisk = 500 * time.Millisecond

// ease is how long a cluster is left alone that took this long to answer: it has
// enough to do, and more looks would make what they wait for later.
func ease(took time.Duration) time.Duration {
	const longest = 10 * time.Second
	return min(2*took, longest)
}

// pause is how long to wait for the next look. What is ready is looked at often
// enough to be believed when settle is over, and not later.
func (w *wait) pause(poll time.Duration, now time.Time) time.Duration {
	if w.readySince.IsZero() || w.err != nil {
		return poll
	}
	left := w.settle - now.Sub(w.readySince)
	looks := max(1, w.wanted()-w.readyLooks)
	return min(poll, max(brisk, left/time.Duration(looks)))
}

// wanted is how many looks in a row must find everything ready.
func (w *wait) wanted() int {
	for _, kind := range w.kinds {
		if !kind.inert {
			return confirmations
		}
	}
	return 1 // nobody reports on any of the objects, so that one look is as good as many
}

// judge remembers how Jobs ended: one with a short time to live may be gone at
// the next look, and its result with it (pitfall 26).
func (w *wait) judge(objects map[manifest.ID]*manifest.Object, missing []manifest.ID) health.Summary {
	var absent []manifest.ID
	var remembered []manifest.ID
	for _, id := range missing {
		if _, seen := w.ended[id]; seen && objects[id] == nil {
			remembered = append(remembered, id)
		} else {
			absent = append(absent, id)
		}
	}
	for id, o := range objects {
		if id.Group != "batch" || id.Kind != "Job" {
			continue
		}
		delete(w.ended, id) // the live object is the truth, and may be another of this name
		if judged := w.rules.Of(o); judged.Definitive {
			w.ended[id] = judged
		}
	}
	summary := w.rules.Summarize(objects, absent)
	for _, id := range remembered {
		summary.Add(health.Item{ID: id, Status: w.ended[id]})
	}
	return summary
}

func (w *wait) see(seen sight, now time.Time) {
	s := w.take(seen)
	w.last, w.read, w.whole, w.err = s, true, seen.spared == 0, nil
	looked := w.kindsOf(seen, s)
	if s.AllReady() {
		if w.readySince.IsZero() {
			w.readySince = now
			clear(w.stood)
		}
		w.readyLooks++
		maps.Copy(w.stood, looked)
	} else {
		if !w.readySince.IsZero() && w.fell(looked) {
			w.lapses++
		}
		w.readySince, w.readyLooks = time.Time{}, 0
	}
	failing := make(map[manifest.ID]int, len(s.Failed))
	for _, item := range s.Definitive() {
		failing[item.ID] = w.failing[item.ID] + 1
	}
	w.failing = failing
}

// fell reports whether something is not ready any more that was, beside all else.
func (w *wait) fell(looked map[schema.GroupKind]found) bool {
	for gk, kind := range looked {
		if w.stood[gk].ready && !kind.ready {
			return true
		}
	}
	return false
}

// unreadable changes nothing of what is known: not being able to look is no
// sign of health, nor of failure.
func (w *wait) unreadable(err error) { w.err = err }

// decide returns "" while there is reason to look again.
func (w *wait) decide(now time.Time) (Verdict, string) {
	waited := now.Sub(w.started)
	if w.err != nil {
		return w.decideBlind(now)
	}
	for _, looks := range w.failing {
		if looks >= confirmations {
			return Fail, health.FailureEvidence(w.last, waited)
		}
	}
	if !w.readySince.IsZero() {
		if now.Sub(w.readySince) < w.settle || w.readyLooks < w.wanted() || !w.whole {
			return "", ""
		}
		return Pass, fmt.Sprintf("%d of %d objects ready after %s, and still so %s later", w.last.Ready, w.last.Total(),
			health.Span(w.readySince.Sub(w.started)), health.Span(now.Sub(w.readySince)))
	}
	if waited < w.patience() || !w.whole {
		return "", ""
	}
	evidence := health.DeadlineEvidence(w.last, waited)
	if len(w.last.Failed)+len(w.last.Waiting) == 0 {
		return NoData, evidence
	}
	if w.lapses > 0 {
		evidence += fmt.Sprintf(", having been ready %s before", times(w.lapses))
	}
	return Fail, evidence
}

// patience is longer for what was ready in time already: an autoscaler that adds
// pods during settle makes a Deployment unready for a while, which is no reason
// to take a release back.
func (w *wait) patience() time.Duration {
	if w.lapses > 0 {
		return w.timeout + w.settle
	}
	return w.timeout
}

// decideBlind gives up on a cluster that cannot be read once the wait would
// have been over. What was seen before is told, and decides nothing.
func (w *wait) decideBlind(now time.Time) (Verdict, string) {
	end := w.started.Add(w.patience())
	if !w.readySince.IsZero() && w.readySince.Add(w.settle).After(end) {
		end = w.readySince.Add(w.settle)
	}
	if now.Before(end) {
		return "", ""
	}
	evidence := fmt.Sprintf("the objects could not be read after %s: %s", health.Span(now.Sub(w.started)), brief(w.err))
	if w.read {
		evidence += fmt.Sprintf(" (when last read, %d of %d were ready)", w.last.Ready, w.last.Total())
	}
	return Error, evidence
}

func times(n int) string {
	if n == 1 {
		return "once"
	}
	return fmt.Sprintf("%d times", n)
}

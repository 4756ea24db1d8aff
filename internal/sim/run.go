package sim

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
)

// Outcome is what came of playing a scenario.
type Outcome struct {
	Err        error    // an expectation that was not met, or a step that cannot be
	Violations []string // rules that were broken
	Calls      uint64   // of ports
	trace      []entry
	mishaps    []mishap
}

// Failed reports whether anything is wrong.
func (o Outcome) Failed() bool { return o.Err != nil || len(o.Violations) > 0 }

// Trace is all that happened, one line each.
func (o Outcome) Trace() string { return lines(o.trace) }

// Tail is the end of it.
func (o Outcome) Tail(n int) string { return lines(o.trace[max(0, len(o.trace)-n):]) }

func lines(trace []entry) string {
	var b strings.Builder
	for _, e := range trace {
		b.WriteString(e.String() + "\n")
	}
	return b.String()
}

// Why says what is wrong in a few lines.
func (o Outcome) Why() string {
	var b strings.Builder
	if o.Err != nil {
		fmt.Fprintf(&b, "%v\n", o.Err)
	}
	for _, v := range o.Violations {
		fmt.Fprintf(&b, "rule broken: %s\n", v)
	}
	return b.String()
}

// options vary how a scenario is played.
type options struct {
	seed  uint64
	crash uint64 // at this call of a port
	after bool   // after its effect instead of before
}

// Play plays a scenario in a bubble of its own, in which time is not real.
func Play(t *testing.T, sc *Scenario, seed uint64) Outcome {
	return play(t, sc, options{seed: seed})
}

func play(t *testing.T, sc *Scenario, o options) (outcome Outcome) {
	t.Helper()
	synctest.Test(t, func(*testing.T) {
		s := newSim(o.seed)
		s.mishaps.crash, s.mishaps.after = o.crash, o.after
		d := &driver{s: s, counted: map[effectKey]int{}, silent: o.crash != 0}
		err := d.play(sc)
		if err == nil {
			err = d.begin()
		}
		s.stopAll()
		synctest.Wait()
		outcome = Outcome{Err: err, Violations: s.violations, Calls: s.mishaps.calls, trace: s.trace, mishaps: s.mishaps.met}
	})
	return outcome
}

// CrashEverywhere plays a scenario once for each call of a port, or each one of
// so many, with a crash before or after it. The end must be as it always is: of
// the expectations, those count that come after the last thing that happens.
func CrashEverywhere(t *testing.T, sc *Scenario, seed, oneOf uint64) error {
	t.Helper()
	calls := play(t, sc, options{seed: seed}).Calls
	var problems []error
	for call := uint64(1); call <= calls && len(problems) < 3; call += oneOf {
		for _, after := range []bool{false, true} {
			o := play(t, sc, options{seed: seed, crash: call, after: after})
			if o.Failed() {
				problems = append(problems, fmt.Errorf("crash at call %d of %d (after its effect: %v): %s\n%s", call, calls, after, o.Why(), o.Tail(60)))
			}
		}
	}
	return errors.Join(problems...)
}

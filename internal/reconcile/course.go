package reconcile

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Course is the steps by which the strategies of an environment bring a release,
// each of which is verified before the next. The zero one is a single step.
type Course struct {
	Steps  int    `json:"steps,omitempty"`
	Digest Digest `json:"digest,omitempty"` // over what every step holds
}

// Replicas are how many pods last good's Deployments had as a release began, as
// `api=3,web=12`: the same numbers give the same steps. It is empty where nobody
// has counted.
type Replicas string

// ReplicasOf writes counts down.
func ReplicasOf(counts map[string]int) Replicas {
	var all []string
	for _, name := range slices.Sorted(maps.Keys(counts)) {
		all = append(all, fmt.Sprintf("%s=%d", name, counts[name]))
	}
	return Replicas(strings.Join(all, ","))
}

// Counts reads them; nil is none.
func (r Replicas) Counts() map[string]int {
	var counts map[string]int
	for one := range strings.SplitSeq(string(r), ",") {
		name, number, _ := strings.Cut(one, "=")
		n, err := strconv.Atoi(number)
		if err != nil || n < 0 {
			continue
		}
		if counts == nil {
			counts = map[string]int{}
		}
		counts[name] = n
	}
	return counts
}

// Midway reports whether there are steps to come.
func (a *Attempt) Midway() bool { return a.Step < a.Course.Steps && on(guardLastStep) }

// stepOf is the step with which a release is applied: the one that it has come
// to, or the first, which is 0 where there is no other.
func (a *Attempt) stepOf(release Digest, course Course) int {
	switch {
	case course.Steps < 2:
		return 0
	case a.Stage == StageApplying && a.Release.Digest == release && (a.Course == course || !on(guardSameCourse)):
		return max(1, min(a.Step, course.Steps))
	}
	return 1
}

// courseTo is by which steps a candidate is to come. Each but the last keeps the
// programs of last good, or brings them back. Where data were changed since, or what
// was begun cannot be taken back, these do not know the data any more: then it comes
// in one step. What was begun in one is finished so.
func (j *Journal) courseTo(c *Candidate) Course {
	a := &j.Attempt
	begun := a.Stage != StageNone && a.Stage != StageBisecting
	finishes := a.Stage == StageApplying && a.Release.Digest == c.Release.Digest
	switch {
	case c.Course.Steps < 2 || !on(guardForwardWhole):
	case finishes && (a.Course == c.Course || a.Course.Steps < 2):
		return a.Course
	case begun && (j.Undo.Migrations != "" || j.Undo.Forward || a.Irreversible):
		return Course{}
	case !begun && j.Running.Digest != j.LastGood.Digest:
		return Course{}
	}
	return c.Course
}

// take goes the course of what is applied. How many pods there were is counted
// once: what came before may have changed that.
func (a *Attempt) take(before *Attempt, next *Action) {
	a.Course, a.Step = next.Course, before.stepOf(next.Release.Digest, next.Course)
	if before.Stage != StageNone && before.Stage != StageBisecting {
		a.Replicas = before.Replicas
	}
}

// stepPassed goes on to the next step of an attempt.
func (j *Journal) stepPassed() {
	a := &j.Attempt
	a.Stage, a.Step, a.Reached = StageApplying, a.Step+1, time.Time{}
	j.Retry, j.Hold = Retry{}, Hold{}
}

// otherCourse reports whether what is verified is one of the steps to a release
// that is to be reached by others, as its file says by now.
func (v *verdict) otherCourse() bool {
	a, c := &v.e.Journal.Attempt, v.c.candidate
	return c != nil && !v.c.current && c.Release.Digest == a.Release.Digest && a.Midway() && c.Course != a.Course &&
		v.w.SourceFault == "" && !v.e.Moved
}

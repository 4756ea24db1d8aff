package reconcile

import (
	"fmt"
	"strings"

	"chaperone.dev/chaperone/internal/promotion"
)

// The words of a file that is about the steps to what has it.
const (
	courseWord = "steps3" // it takes three of them
	secondWord = "at2"    // what is bad about it shows from the second step on
)

// strategies: a release comes in three steps, and what is bad about it shows at
// any of them.
func strategies() *story {
	return &story{
		name:         "steps",
		environments: []Environment{named("production", nil, "staging"), named("staging", frozen)},
		script: []change{
			{files: files{"staging": "s1", "production": "p1"}},
			{files: files{"staging": "bad-staging", "staging.at": "at2", "staging.steps": courseWord}},
			{files: files{"staging": "s3", "production": "p3"}},
		},
		adversity: 1, start: newYear, accidents: []accident{crashes, freezes, courses, drifts, exchanges, outages, pauses},
		rests: rests{"staging": {promotion.NoLastGood, promotion.RevertConflict, promotion.SeveralSuspects}, "production": {promotion.WaitingForUpstream}},
	}
}

// migrationsInSteps: what the first step did to the data is undone from any.
func migrationsInSteps() *story {
	return &story{
		name:         "steps over a migration",
		environments: []Environment{named("dev", nil)},
		script: []change{
			{files: files{"dev": "d1"}},
			{files: files{"dev": "d2", "dev.schema": "mig1", "dev.steps": courseWord}},
			{files: files{"dev": "d3"}},
			{files: files{"dev": "bad", "dev.at": "at2"}},
		},
		adversity: 2, start: newYear, accidents: []accident{crashes, retries, courses, pauses, outagesOfGit},
		rests: rests{"dev": {promotion.NoLastGood, promotion.SeveralSuspects, promotion.RevertConflict, promotion.Quarantined}},
	}
}

// courses change the steps by which releases are to come.
func courses(o outside, emit func(string, outside)) {
	for i := range o.Environments {
		if o.Head == "" || o.Environments[i].Spec.File != "" {
			continue
		}
		changed := o.edit(i, func(e *Environment) { e.Spec.File, e.Candidates = "other steps", nil })
		changed.adversity--
		emit("other steps", changed)
	}
}

// course is what there is to go from last good to a release.
func (o *outside) course(i int, d Digest) Course {
	e := &o.Environments[i]
	if e.Journal.LastGood.Digest == "" || e.Journal.LastGood.Digest == d || !strings.Contains(string(d), courseWord) {
		return Course{}
	}
	if e.Spec.File != "" {
		return Course{Steps: 2, Digest: "other"}
	}
	return Course{Steps: 3, Digest: "as it was"}
}

// showsAt reports whether what is bad about a release shows in a step.
func showsAt(a *Action) bool {
	return a.Step == 0 || a.Step > 1 || !strings.Contains(string(a.Release.Digest), secondWord)
}

// progress is what stands on a cluster of several steps, and what passed of it.
type progress struct {
	of     Digest
	course Course
	step   int  // stands there
	passed int  // the last that did
	left   bool // last good's programs do not run any more
}

// put notes a step that is put on a cluster.
func (p *progress) put(a *Action) {
	if p.of != a.Release.Digest || p.course != a.Course || a.Step == 1 {
		*p = progress{of: a.Release.Digest, course: a.Course, left: p.left}
	}
	p.step = a.Step
	p.left = p.left || a.Step == 0 || a.Step >= a.Course.Steps-1
}

// brings reports whether a step starts the programs of last good again.
func (p *progress) brings(a *Action) bool { return p.left && a.Step > 0 && a.Step < a.Course.Steps-1 }

func (p *progress) check(a *Action) error {
	if a.Step > 1 && (p.of != a.Release.Digest || p.course != a.Course || p.passed != a.Step-1) {
		return fmt.Errorf("step %d of %s begins; of %s, step %d was the last to pass", a.Step, a.Release.Digest, p.of, p.passed)
	}
	return nil
}

// verified notes a step that passed, and reports whether it was the last.
func (p *progress) verified(a *Action) bool {
	p.passed = a.Step
	last := a.Step == a.Course.Steps || a.Course.Steps < 2
	p.left = p.left && !last
	return last
}

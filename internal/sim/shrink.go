package sim

import (
	"regexp"
	"slices"
	"strings"
	"testing"
)

// maxShrinks bounds how often a failing scenario is played to make it smaller.
const maxShrinks = 600

// Shrink makes a failing scenario smaller while it fails in the same way: first
// the mishaps that it met by chance become lines of their own, then lines are
// left out.
func Shrink(t *testing.T, sc *Scenario, seed uint64) (*Scenario, Outcome) {
	t.Helper()
	found := play(t, sc, options{seed: seed})
	sh := &shrinking{t: t, seed: seed, kind: kindOf(found), best: sc, outcome: found}
	sh.try(withListed(sc, found.mishaps))
	for size := max(1, len(sh.best.Steps)/2); size >= 1; size /= 2 {
		for sh.pass(size) {
		}
	}
	for sh.blocks() {
	}
	return sh.best, sh.outcome
}

type shrinking struct {
	t       *testing.T
	seed    uint64
	kind    string
	best    *Scenario
	outcome Outcome
	plays   int
}

// try takes a smaller scenario if it fails in the same way.
func (sh *shrinking) try(sc *Scenario) bool {
	if sh.plays >= maxShrinks || sc == nil {
		return false
	}
	sh.plays++
	o := play(sh.t, sc, options{seed: sh.seed})
	if !o.Failed() || kindOf(o) != sh.kind {
		return false
	}
	sh.best, sh.outcome = sc, o
	return true
}

// pass leaves out so many lines at a time, from the end.
func (sh *shrinking) pass(size int) (smaller bool) {
	for end := len(sh.best.Steps); end > 0; end -= size {
		end = min(end, len(sh.best.Steps))
		steps := slices.Delete(slices.Clone(sh.best.Steps), max(0, end-size), end)
		if sh.try(rewritten(sh.best, steps)) {
			smaller = true
		}
	}
	return smaller
}

// blocks leaves out single lines below others.
func (sh *shrinking) blocks() bool {
	for i := len(sh.best.Steps) - 1; i >= 0; i-- {
		for j := len(sh.best.Steps[i].Block) - 1; j >= 0; j-- {
			steps := slices.Clone(sh.best.Steps)
			step := *steps[i]
			step.Block = slices.Delete(slices.Clone(step.Block), j, j+1)
			steps[i] = &step
			if sh.try(rewritten(sh.best, steps)) {
				return true
			}
		}
	}
	return false
}

// rewritten is a scenario with other steps; nil where it cannot be read.
func rewritten(sc *Scenario, steps []*Step) *Scenario {
	changed := &Scenario{Name: sc.Name, Story: sc.Story, Steps: steps}
	parsed, err := Parse(sc.Name, changed.String())
	if err != nil {
		return nil
	}
	return parsed
}

// withListed has the mishaps that came by chance as lines.
func withListed(sc *Scenario, met []mishap) *Scenario {
	var steps []*Step
	for _, step := range sc.Steps {
		if !strings.HasPrefix(step.Text, "mishaps ") {
			steps = append(steps, step)
			continue
		}
		for _, m := range met {
			steps = append(steps, &Step{Text: m.String()})
		}
	}
	return rewritten(sc, steps)
}

var particulars = regexp.MustCompile(`"[^"]*"|[0-9a-f]{12,}|[0-9][0-9a-z.]*|demo/[a-z]+|^\S+:[0-9]+: `)

// kindOf is what failed, without the names that differ from case to case.
func kindOf(o Outcome) string {
	text := ""
	switch {
	case len(o.Violations) > 0:
		text = o.Violations[0]
	case o.Err != nil:
		text = o.Err.Error()
	}
	text, _, _ = strings.Cut(particulars.ReplaceAllString(text, "…"), "\n")
	return text
}

// Package strategy turns one release into the few steps by which canaries and
// blue-green releases reach it. Every step is a whole set of objects, made of
// what last good and the release have and of nothing else, and the last one is
// the release as rendered: applying a step again, or last good, is always right,
// and what only a step brought is pruned as anything that no set wants.
//
// What each step but the last guarantees: what ran and still runs keeps all that
// it refers to; the old version keeps its pods for as long as it has requests;
// every Service has a workload behind it; and no selector of a Deployment changes.
package strategy

import (
	"slices"
	"strings"
	"time"

	"chaperone.dev/chaperone/internal/manifest"
	"chaperone.dev/chaperone/internal/promotion"
)

// The label by which copies are told apart.
const (
	LabelTrack  = manifest.LabelTrack
	TrackStable = manifest.TrackStable
	TrackCanary = manifest.TrackCanary
	TrackNext   = manifest.TrackNext
)

// MaxSteps is how many steps a release has at most: a start, the shares of a
// canary, taking the workload's place, and the last.
const MaxSteps = promotion.MaxCanarySteps + 3

// Kind is what a step does to one workload.
type Kind string

// The kinds.
const (
	KindStart   Kind = "start"   // a canary's pods start, without requests
	KindWeigh   Kind = "weigh"   // they have a share of the requests
	KindPreview Kind = "preview" // the new colour runs beside the old
	KindSwitch  Kind = "switch"  // it has all requests
	KindPromote Kind = "promote" // the workload itself is the new version
	KindWhole   Kind = "whole"   // everything is as rendered: the last step
)

// Release is what is to be reached, and from where.
type Release struct {
	Before     manifest.Set // last good as rendered; empty for the first release
	After      manifest.Set
	Namespace  string // the target's
	Strategies []promotion.Strategy
	// Replicas says how many pods last good's Deployments had as the release
	// began, by name. To be recorded with it: the same numbers give the same steps.
	Replicas map[string]int
}

// Plan is the steps of a release, at least one, and what people should know of it.
type Plan struct {
	Steps []Step
	Notes []string
}

// Step is one set to apply, and what to do before the next.
type Step struct {
	Set    manifest.Set
	Moves  []Move        // by workload, in the order of the strategies; none in the last
	For    time.Duration // how long it is watched, once its objects are ready
	Checks []string      // names of the checks that count; none: all
	Last   bool          // verification of the release follows
	Text   string        // one sentence for people
	// Traffic is where requests go once the step is reached.
	Traffic []Traffic
	Flags   bool // nothing changes but configuration, without a rollout
}

// Traffic is whether a Service sends its requests to the pods of a copy, all of
// them or none. What a selector says is so only after a moment, and no pod goes
// before that.
type Traffic struct {
	Service, Copy string // the copy's own Service has just its pods
	All           bool
}

// Move is what a step does to one workload.
type Move struct {
	Deployment string
	Kind       Kind
	Weight     int    // percent of the requests that the new version is meant to have
	Service    string // the strategy's
	Asked      string // the Service by which to ask the new version in its place
}

// Ask is the Service that a check of a Service asks in this step.
func (s Step) Ask(service string) string {
	for _, move := range s.Moves {
		if move.Service == service && move.Asked != "" {
			return move.Asked
		}
	}
	return service
}

// Steps are the steps of a release. The error says what of the release cannot be
// done the way its environment asks for, and what would be right; it passes with
// a new commit alone.
func Steps(r Release) (Plan, error) {
	d := &designer{Release: r}
	if err := d.design(); err != nil {
		return Plan{}, err
	}
	plan := Plan{}
	for i := range d.length() {
		step, err := d.step(i)
		if err != nil {
			return Plan{}, err
		}
		plan.Steps = append(plan.Steps, step)
	}
	plan.Steps = append(plan.Steps, d.last(len(plan.Steps) > 0))
	slices.Sort(d.notes)
	plan.Notes = slices.Compact(d.notes)
	return plan, nil
}

// designer makes the steps of one release.
type designer struct {
	Release
	movers []*mover
	notes  []string
}

func (d *designer) note(text string) { d.notes = append(d.notes, text) }

// length is the number of steps before the last. All workloads take their own
// new version at the same time, after the longest canary, so that until then
// each of them can go back without a rollout.
func (d *designer) length() int {
	phases, promotes := 0, 0
	for _, m := range d.movers {
		phases = max(phases, len(m.phases))
		if m.promotes {
			promotes = 1
		}
	}
	return phases + promotes
}

func (d *designer) step(i int) (Step, error) {
	step := Step{}
	var texts []string
	states := make([]state, len(d.movers))
	all := false
	for at, m := range d.movers {
		now, moved := m.at(i, d.length())
		states[at] = now
		step.Moves = append(step.Moves, m.move(now))
		texts = append(texts, m.text(now))
		if now.to == toCopy && now.replicas > 0 {
			step.Traffic = append(step.Traffic, Traffic{Service: m.Service, Copy: m.copySvc, All: true})
		}
		if !moved {
			continue
		}
		step.For = max(step.For, now.watch)
		all = all || len(m.checks) == 0
		step.Checks = append(step.Checks, m.checks...)
	}
	slices.Sort(step.Checks)
	if step.Checks = slices.Compact(step.Checks); all {
		step.Checks = nil
	}
	step.Text = strings.Join(texts, "; ")
	set, err := d.compose(states)
	step.Set = set
	return step, err
}

func (d *designer) last(staged bool) Step {
	step := Step{Set: d.After, Last: true, Text: "everything is as rendered"}
	if staged {
		step.Text += ", and what was there for the steps goes"
		for _, m := range d.movers {
			if m.BlueGreen != nil && m.copies() {
				step.Traffic = append(step.Traffic, Traffic{Service: m.Service, Copy: m.copySvc})
			}
		}
		return step
	}
	if text := flags(d.Before, d.After, d.Namespace); text != "" {
		step.Text, step.Flags = text, true
	}
	return step
}

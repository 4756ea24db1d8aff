package plan

import (
	"slices"

	"chaperone.dev/chaperone/internal/manifest"
)

// Wait is what a change comes after: an object, and what has to be so of it.
type Wait struct {
	Object manifest.ID `json:"object"`
	Until  Until       `json:"until"`
}

// Waits tells for each change that touches the cluster what it waits for, as
// Apply does. A plan that cannot be carried out waits for nothing.
func (p Plan) Waits() map[manifest.ID][]Wait {
	carried := p.Carried()
	steps, err := Steps(carried)
	if err != nil {
		return nil
	}
	waits := map[manifest.ID][]Wait{}
	behind := make([][]Wait, len(steps)) // by step
	for i, step := range steps {
		var all []Wait
		for _, before := range step.After {
			switch steps[before].Kind {
			case StepAwait:
				all = append(all, Wait{carried[steps[before].Change].ID, steps[before].Until})
			case StepPass, StepRecord, StepTry:
				all = append(all, behind[before]...)
			}
		}
		slices.SortFunc(all, func(a, b Wait) int { return a.Object.Compare(b.Object) })
		behind[i] = slices.Compact(all)
		if step.Kind == StepApply && carried[step.Change].Action != Unchanged {
			waits[carried[step.Change].ID] = behind[i]
		}
	}
	return waits
}

// Carried are the changes that an apply sees to: all but what a prune decides.
func (p Plan) Carried() []Change { return p.with(Create, Update, Replace, Unchanged) }

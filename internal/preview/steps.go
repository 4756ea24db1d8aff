package preview

import (
	"fmt"
	"slices"

	"chaperone.dev/chaperone/internal/strategy"
)

// Come tells how an environment comes to a release, by a plan of package strategy:
// its steps where there are several, what else there is to say of the only one,
// and what people should know of it.
func (e *Environment) Come(p strategy.Plan) {
	e.Remarks = slices.Clone(p.Notes)
	switch {
	case len(p.Steps) > 1:
		for i, step := range p.Steps {
			e.Steps = append(e.Steps, fmt.Sprintf("step %d of %d: %s", i+1, len(p.Steps), step.Text))
		}
	case len(p.Steps) == 1 && p.Steps[0].Flags:
		e.Steps = []string{p.Steps[0].Text}
	}
}

// steps are how the change comes, where.
func (p Preview) steps() []string {
	var g grouped
	for _, e := range p.Environments {
		for _, text := range slices.Concat(e.Steps, e.Remarks) {
			g.add(code(text, maxMessage), e.ID)
		}
	}
	return g.lines()
}

package cli

import (
	"context"
	"crypto/rand"
	"slices"

	"chaperone.dev/chaperone/internal/manifest"
	"chaperone.dev/chaperone/internal/policy"
	"chaperone.dev/chaperone/internal/policy/rego"
	"chaperone.dev/chaperone/internal/promotion"
	"chaperone.dev/chaperone/internal/render"
)

// around tells rules about other environments what the same tree would run
// there: what they verified, and who approved, is known to the daemon only.
type around struct {
	t        *tree
	renderer *render.Renderer
	bundle   *rego.Bundle
	redactor manifest.Redactor // one for all: equal values are to have equal marks
	prints   map[promotion.ID]policy.Footprint
}

func newAround(t *tree, renderer *render.Renderer, bundle *rego.Bundle) *around {
	salt := make([]byte, 32)
	rand.Read(salt)
	return &around{t: t, renderer: renderer, bundle: bundle, redactor: manifest.NewRedactor(salt), prints: map[promotion.ID]policy.Footprint{}}
}

// tell fills in what rules may look at beside the release.
func (a *around) tell(ctx context.Context, in *policy.Input, env promotion.Environment) {
	in.LastGood.State, in.Approval.State = policy.StateUnknown, policy.ApprovalProposed
	var files []promotion.Environment
	var unread []promotion.ID
	for _, id := range a.t.set.IDs() {
		if file, valid := a.t.set.Environments[id]; !valid {
			unread = append(unread, id)
		} else if id.Pipeline == env.ID.Pipeline {
			files = append(files, file)
		}
	}
	in.Pipeline = policy.Neighbours(env, files, unread...)
	looks := a.bundle.Around(env.Data)
	for i := range in.Pipeline {
		n := &in.Pipeline[i]
		print, known := a.footprint(ctx, n.Environment, looks.Pipeline && n.Compared(env))
		n.State, n.References = known, print.References
	}
	in.Upstream = nil
	for _, id := range env.After {
		print, known := a.footprint(ctx, id, looks.Upstream)
		in.Upstream = append(in.Upstream, policy.Upstream{Environment: id, State: known, Revision: a.t.snapshot.Revision(),
			Images: slices.Clone(print.Images), Workloads: slices.Clone(print.Workloads)})
	}
}

// footprint renders an environment where a rule looks at others. One that does
// not render is told of by itself, and not known here.
func (a *around) footprint(ctx context.Context, id promotion.ID, looks bool) (policy.Footprint, policy.Knowledge) {
	env, valid := a.t.set.Environments[id]
	if !valid || !looks {
		return policy.Footprint{}, policy.StateUnknown
	}
	if print, made := a.prints[id]; made {
		return print, policy.StateRendered
	}
	result, err := a.t.render(ctx, a.renderer, env)
	if err != nil {
		return policy.Footprint{}, policy.StateUnknown
	}
	a.prints[id] = policy.FootprintOf(env, result.Set, a.bundle.PodTemplates(), a.redactor)
	return a.prints[id], policy.StateRendered
}

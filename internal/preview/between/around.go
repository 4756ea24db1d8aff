package between

import (
	"context"
	"slices"

	"chaperone.dev/chaperone/internal/manifest"
	"chaperone.dev/chaperone/internal/policy"
	"chaperone.dev/chaperone/internal/promotion"
	"chaperone.dev/chaperone/internal/source"
)

// Around tells rules about other environments what the same files would run
// there: what they verified, and who approved, is known to the daemon only.
type Around struct {
	Set      promotion.Set
	Revision source.Revision // of the files; "" of those that are not committed
	Render   func(ctx context.Context, env promotion.Environment) (manifest.Set, error)
	Policies interface {
		Around(data promotion.Data) policy.Looks
		PodTemplates() policy.PodTemplates
	}
	Redact manifest.Redactor // one for all: equal values are to have equal marks
	prints map[promotion.ID]policy.Footprint
}

// Tell fills in what rules may look at beside the release.
func (a *Around) Tell(ctx context.Context, in *policy.Input, env promotion.Environment) {
	in.LastGood.State, in.Approval.State = policy.StateUnknown, policy.ApprovalProposed
	var files []promotion.Environment
	var unread []promotion.ID
	for _, id := range a.Set.IDs() {
		if file, valid := a.Set.Environments[id]; !valid {
			unread = append(unread, id)
		} else if id.Pipeline == env.ID.Pipeline {
			files = append(files, file)
		}
	}
	looks := a.Policies.Around(env.Data)
	in.Pipeline = policy.Neighbours(env, files, unread...)
	for i := range in.Pipeline {
		n := &in.Pipeline[i]
		print, known := a.footprint(ctx, n.Environment, looks.Pipeline && n.Compared(env))
		n.State, n.References = known, print.References
	}
	in.Upstream = nil
	for _, id := range env.After {
		print, known := a.footprint(ctx, id, looks.Upstream)
		in.Upstream = append(in.Upstream, policy.Upstream{Environment: id, State: known, Revision: a.Revision,
			Images: slices.Clone(print.Images), Workloads: slices.Clone(print.Workloads)})
	}
}

// footprint renders an environment where a rule looks at others. One that does
// not render is told of by itself, and not known here.
func (a *Around) footprint(ctx context.Context, id promotion.ID, looks bool) (policy.Footprint, policy.Knowledge) {
	env, valid := a.Set.Environments[id]
	if !valid || !looks {
		return policy.Footprint{}, policy.StateUnknown
	}
	if print, made := a.prints[id]; made {
		return print, policy.StateRendered
	}
	set, err := a.Render(ctx, env)
	if err != nil {
		return policy.Footprint{}, policy.StateUnknown
	}
	if a.prints == nil {
		a.prints = map[promotion.ID]policy.Footprint{}
	}
	a.prints[id] = policy.FootprintOf(env, set, a.Policies.PodTemplates(), a.Redact)
	return a.prints[id], policy.StateRendered
}

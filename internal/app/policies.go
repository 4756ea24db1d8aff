package app

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"chaperone.dev/chaperone/internal/controller"
	"chaperone.dev/chaperone/internal/policy"
	"chaperone.dev/chaperone/internal/policy/rego"
	"chaperone.dev/chaperone/internal/promotion"
	"chaperone.dev/chaperone/internal/reconcile"
	"chaperone.dev/chaperone/internal/source"
)

// policies is the controller's way to the bundle in force.
type policies struct{ current func() *rego.Bundle }

// Digest implements controller.Policies.
func (p policies) Digest() reconcile.Digest {
	if bundle := p.current(); bundle != nil {
		return reconcile.Digest(bundle.Digest())
	}
	return ""
}

// Around implements controller.Policies.
func (p policies) Around(data promotion.Data) (policy.PodTemplates, policy.Looks) {
	bundle := p.current()
	if bundle == nil {
		return nil, policy.Looks{}
	}
	return bundle.PodTemplates(), bundle.Around(data)
}

// Judge implements controller.Policies.
func (p policies) Judge(ctx context.Context, in policy.Input) (policy.Report, error) {
	bundle := p.current()
	if bundle == nil {
		return policy.Report{Verdict: policy.VerdictError}, errors.New("no policy bundle could be loaded, so nothing is allowed")
	}
	return bundle.Evaluate(ctx, in)
}

// policyPoll is how often a policy directory is read though no event came.
const policyPoll = 30 * time.Second

// policies gives the loop its policies, and what follows them beside the loop
// until its context ends. It looks once itself, so that the loop begins with
// policies where they can be had.
func (a *App) policies(ctx context.Context, ports *controller.Ports, src *repository) (func(ctx context.Context, nudge func()), error) {
	switch c := a.config.Policies; {
	case c.FromSource:
		from := &sourcePolicies{log: a.log, told: a.refused}
		src.polled = func(ctx context.Context, head source.Revision) { from.follow(ctx, src, head) }
		ports.Policies = policies{current: from.bundle.Load}
		return func(context.Context, func()) {}, nil
	case c.URL != "" || c.Archive != "":
		remote, err := a.openPolicies(ctx)
		if err != nil {
			return nil, err
		}
		ports.Policies = policies{current: remote.store.Current}
		if remote.first(ctx) && ctx.Err() == nil {
			a.policiesChanged(remote.store.Status())
		}
		return func(ctx context.Context, nudge func()) {
			remote.follow(ctx, func(s rego.Status) { a.policiesChanged(s); nudge() })
		}, nil
	}
	mounted := rego.NewStore(a.config.Policies.Directory, rego.DefaultLimits())
	ports.Policies = policies{current: mounted.Current}
	if _, err := mounted.Reload(ctx); ctx.Err() == nil {
		a.policiesChanged(rego.Status{Digest: mounted.Status().Digest, Err: err})
	}
	return func(ctx context.Context, nudge func()) {
		mounted.Watch(ctx, policyPoll, func(s rego.Status) { a.policiesChanged(s); nudge() })
	}, nil
}

func (a *App) policiesChanged(s rego.Status) {
	a.refused(s.Err)
	if s.Err != nil {
		a.log.Error("policies refused; the ones before stay in force", "digest", s.Digest, "reason", promotion.PolicyError, "err", s.Err)
		return
	}
	a.log.Info("policies", "digest", s.Digest)
}

// sourcePolicies takes the bundle from the source itself: a choice for teams
// where those who merge may also decide about policies.
type sourcePolicies struct {
	bundle atomic.Pointer[rego.Bundle]
	log    *slog.Logger
	told   func(refused error)

	mu      sync.Mutex
	from    source.Revision // the last head whose policies could be told
	refused source.Revision // a newer one, whose policies were refused
	at      time.Time       // when
}

// refusedFor is how long a refusal is believed: it may have been the reading
// that failed, and not the policies.
const refusedFor = time.Minute

// policyDir is where a source keeps its policies.
const policyDir = "policies"

// manyChanged is from where on a list of changes may be cut off: policies may be
// among the rest.
const manyChanged = 1_000

// follow loads the policies of a new head. A bundle that is refused leaves the
// one before in force.
func (p *sourcePolicies) follow(ctx context.Context, src controllerSource, head source.Revision) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if head == p.from || head == p.refused && time.Since(p.at) < refusedFor {
		return
	}
	if p.from != "" && p.bundle.Load() != nil {
		changed, err := src.Changed(p.from, head)
		if err == nil && len(changed) < manyChanged && !under(changed, policyDir) {
			p.from = head
			return
		}
	}
	bundle, err := loadFrom(ctx, src, head)
	if ctx.Err() != nil {
		return
	}
	if err != nil {
		p.refused, p.at = head, time.Now()
		p.told(err)
		p.log.Error("policies refused; the ones before stay in force", "revision", head, "reason", promotion.PolicyError, "err", err)
		return
	}
	p.from, p.refused = head, ""
	p.told(nil)
	p.log.Info("policies", "revision", head, "digest", bundle.Digest())
	p.bundle.Store(bundle)
}

func loadFrom(ctx context.Context, src controllerSource, head source.Revision) (*rego.Bundle, error) {
	snapshot, err := src.Snapshot(head)
	if err != nil {
		return nil, err
	}
	dir, err := fs.Sub(snapshot, policyDir)
	if err != nil {
		return nil, fmt.Errorf("policies at %s: %w", head.Short(), err)
	}
	return rego.Load(ctx, dir, rego.DefaultLimits())
}

func under(paths []string, dir string) bool {
	for _, path := range paths {
		if strings.HasPrefix(path, dir+"/") {
			return true
		}
	}
	return false
}

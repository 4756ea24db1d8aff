package app

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"chaperone.dev/chaperone/internal/cluster"
	"chaperone.dev/chaperone/internal/controller"
	"chaperone.dev/chaperone/internal/fault"
	"chaperone.dev/chaperone/internal/health"
	"chaperone.dev/chaperone/internal/manifest"
	"chaperone.dev/chaperone/internal/plan"
	"chaperone.dev/chaperone/internal/promotion"
	"chaperone.dev/chaperone/internal/reconcile"
	"chaperone.dev/chaperone/internal/verify"
)

// clusters is the controller's way to the clusters that environments run on.
type clusters struct {
	*connections
	verifier *verify.Verifier

	mu     sync.Mutex
	fights plan.Fights // over fields of owned objects
	found  map[promotion.ID]found
	audits map[promotion.ID]audited
}

// Apply implements controller.Cluster.
func (c *clusters) Apply(ctx context.Context, env promotion.Environment, set manifest.Set, ahead ...manifest.Set) error {
	for _, next := range ahead {
		if err := c.try(ctx, env, next); err != nil {
			return err
		}
	}
	return c.apply(ctx, env, set, cluster.OwnerOf(env))
}

// try is the dry run of what is applied later on.
func (c *clusters) try(ctx context.Context, env promotion.Environment, set manifest.Set) error {
	_, _, _, err := c.plan(ctx, env, set, cluster.OwnerOf(env))
	return err
}

func (c *clusters) apply(ctx context.Context, env promotion.Environment, set manifest.Set, owner cluster.Owner) error {
	on, owner, p, err := c.plan(ctx, env, set, owner)
	if err != nil {
		return err
	}
	_, err = on.Apply(ctx, owner, p, nil)
	return refused(about(env.Target, err))
}

// plan is what an apply would do; nothing is touched.
func (c *clusters) plan(ctx context.Context, env promotion.Environment, set manifest.Set, owner cluster.Owner) (*cluster.Cluster, cluster.Owner, plan.Plan, error) {
	on, err := c.For(ctx, env.Target)
	if err != nil {
		return nil, owner, plan.Plan{}, err
	}
	digest, err := set.Digest()
	if err != nil {
		return nil, owner, plan.Plan{}, err
	}
	owner.Release, owner.Digest = digest.Short(), digest
	p, err := on.Plan(ctx, owner, set)
	return on, owner, p, untouched(refused(about(env.Target, err)))
}

// refused tells the errors that came before anything was touched, and the
// verdict of a hook, from those in the middle.
func refused(err error) error {
	var refusal *plan.Refusal
	var rejected *plan.Rejected
	switch {
	case err == nil:
		return nil
	case errors.As(err, &refusal) && !refusal.Touched:
		return &controller.Refusal{Reason: refusal.Reason, Err: err}
	case errors.As(err, &rejected) && !rejected.Touched:
		return &controller.Refusal{Reason: promotion.ApplyRejected, Err: err}
	case hookFailed(err):
		return &controller.Refusal{Reason: promotion.VerificationFailed, Err: err, Log: hookWrote(err)}
	}
	return err
}

// hookFailed looks for a hook's verdict among all that went wrong: what is said
// of another object, or of a hook that could not be asked, is none.
func hookFailed(err error) bool {
	if told, isTold := err.(*fault.Error); isTold && (told.Op == "hook" || !fault.IsTerminal(told)) {
		return fault.IsTerminal(told)
	}
	if joined, isJoined := err.(interface{ Unwrap() []error }); isJoined {
		return slices.ContainsFunc(joined.Unwrap(), hookFailed)
	}
	inner := errors.Unwrap(err)
	return inner != nil && hookFailed(inner)
}

// untouched tells that a definitive error came before anything was changed:
// what a person or another environment has to put right first, such as a
// namespace or a right that is missing, may be put right any moment.
func untouched(err error) error {
	var refusal *controller.Refusal
	if fault.IsTerminal(err) && !errors.As(err, &refusal) {
		return &controller.Refusal{Reason: promotion.ApplyRejected, Err: err}
	}
	return err
}

// Prune implements controller.Cluster.
func (c *clusters) Prune(ctx context.Context, env promotion.Environment, set manifest.Set) error {
	left, err := c.prune(ctx, env, set, cluster.OwnerOf(env))
	if err == nil && len(left) > 0 && left[0].Reason == plan.ReasonInventoryRebuilt {
		return unagreed(env, left)
	}
	if err == nil && len(left) > 0 {
		err = fault.Retryable("prune", left[0].ID.String(), errors.New(c.still(ctx, env, left)))
	}
	return refused(err)
}

// Surplus implements controller.Cluster.
func (c *clusters) Surplus(ctx context.Context, env promotion.Environment, set manifest.Set) (bool, error) {
	on, err := c.For(ctx, env.Target)
	if err != nil {
		return false, err
	}
	surplus, err := on.Surplus(ctx, cluster.OwnerOf(env), set)
	return surplus, about(env.Target, err)
}

// still says why the first that is left is, in words.
func (c *clusters) still(ctx context.Context, env promotion.Environment, left []cluster.Left) string {
	text := "still there: " + cmp.Or(plan.Explain(left[0].Reason), left[0].Reason)
	on, err := c.For(ctx, env.Target)
	if err == nil && left[0].Reason == plan.ReasonPartialRead && len(on.OutOfSight()) > 0 {
		text += "; look at the APIService of " + strings.Join(on.OutOfSight(), ", ")
	}
	if more := len(left) - 1; more > 0 {
		text += fmt.Sprintf(", and %d more", more)
	}
	return text
}

// unagreed: a prune that nobody has to wait for any more, but a person. The rest
// has gone.
func unagreed(env promotion.Environment, left []cluster.Left) error {
	const most = 5
	var names []string
	for _, one := range left[:min(most, len(left))] {
		names = append(names, one.ID.String())
	}
	if more := len(left) - most; more > 0 {
		names = append(names, fmt.Sprintf("and %d more", more))
	}
	return &controller.Refusal{Reason: promotion.InventoryRebuilt, Err: fmt.Errorf(
		"the inventory was lost, and only their marks tell whose these are that are not rendered any more: %s; to have them deleted: %s",
		strings.Join(names, ", "), cluster.Agreement(cluster.OwnerOf(env)))}
}

// prune returns what was not confirmed to be gone in time, what waits for a
// person last.
func (c *clusters) prune(ctx context.Context, env promotion.Environment, set manifest.Set, owner cluster.Owner) ([]cluster.Left, error) {
	on, err := c.For(ctx, env.Target)
	if err != nil {
		return nil, err
	}
	result, err := on.Prune(ctx, owner, set)
	left := result.Pending
	for _, reason := range []string{
		plan.ReasonPartialRead, // decided about when that is in sight again
		plan.ReasonInventoryRebuilt,
	} {
		for _, kept := range result.Kept {
			if kept.Reason == reason {
				left = append(left, kept)
			}
		}
	}
	return left, about(env.Target, err)
}

// Undo implements controller.Cluster.
func (c *clusters) Undo(ctx context.Context, env promotion.Environment, r controller.Rollback) error {
	on, err := c.For(ctx, env.Target)
	if err != nil {
		return err
	}
	digest, err := r.Failed.Digest()
	if err != nil {
		return err
	}
	owner := cluster.OwnerOf(env)
	owner.Release = digest.Short()
	err = about(env.Target, on.Undo(ctx, owner, cluster.Rollback{Failed: r.Failed, Good: r.Good, Attempt: r.Attempt, Round: r.Round}))
	if wrote := hookWrote(err); wrote != "" {
		return &controller.Refusal{Reason: promotion.RollbackFailed, Err: err, Log: wrote}
	}
	return err
}

// Restore implements controller.Cluster.
func (c *clusters) Restore(ctx context.Context, env promotion.Environment, set manifest.Set) error {
	owner := cluster.OwnerOf(env)
	owner.Restoring = true
	if err := c.apply(ctx, env, set, owner); err != nil {
		return err
	}
	// What takes its time to go, or may not be deleted, does not keep the revert
	// waiting; it stays in the inventory for the next prune.
	_, err := c.prune(ctx, env, set, owner)
	if fault.IsTerminal(err) {
		c.log.Warn("restored, but not all that came after last good is gone", "environment", env.ID.String(),
			"revision", "", "reason", promotion.Pruning, "err", err)
		return nil
	}
	return err
}

// Watch implements controller.Cluster. It also ends when the cluster is reached
// in another way from then on.
func (c *clusters) Watch(ctx context.Context, env promotion.Environment, changed func()) error {
	held, on, release, err := c.hold(ctx, env.Target)
	if err != nil {
		return err
	}
	defer release()
	err = on.Watch(held, cluster.OwnerOf(env), func(manifest.ID) { changed() })
	if held.Err() != nil && ctx.Err() == nil {
		return nil
	}
	return about(env.Target, err)
}

// Verify implements controller.Cluster.
func (c *clusters) Verify(ctx context.Context, env promotion.Environment, set manifest.Set, against controller.Against) (controller.Verdict, error) {
	if _, err := c.For(ctx, env.Target); err != nil {
		return controller.Verdict{}, err
	}
	if reportedOn(set) && !pause(ctx, firstReports) {
		return controller.Verdict{}, ctx.Err()
	}
	live, err := c.live(env, set)
	if err != nil {
		return controller.Verdict{}, err
	}
	jobs, err := c.smoke(env, set, against.Begun)
	if err != nil {
		return controller.Verdict{}, err
	}
	if _, err := c.arrives(ctx, env, against.Step); err != nil {
		return controller.Verdict{}, err
	}
	subject := verify.Subject{
		Jobs:      jobs,
		Namespace: env.Target.Namespace, Live: live, Applied: against.Begun, Without: against.Without, Good: against.Good, Watching: against.Watching,
		Endpoints: func(ctx context.Context, service string, port int) ([]verify.Endpoint, error) {
			return c.endpoints(ctx, env.Target, service, port)
		},
	}
	if step := against.Step; step != nil {
		subject.Only, subject.Asked, subject.For = step.Checks, step.Ask, step.For
	}
	report, err := c.verifier.Run(ctx, env.Verify, subject)
	if err != nil {
		return controller.Verdict{}, err
	}
	outcomes := map[verify.Verdict]reconcile.Outcome{
		verify.Pass: reconcile.OutcomeDone, verify.Fail: reconcile.OutcomeFailed, verify.NoData: reconcile.OutcomeNoData,
	}
	outcome, known := outcomes[report.Verdict]
	if !known {
		outcome = reconcile.OutcomeError
	}
	return c.unlessElsewhere(ctx, env, against.Step, controller.Verdict{Outcome: outcome, Evidence: report.Evidence, Log: logOf(report), Tied: report.Tied})
}

func (c *clusters) endpoints(ctx context.Context, target promotion.Target, service string, port int) ([]verify.Endpoint, error) {
	on, err := c.For(ctx, target)
	if err != nil {
		return nil, err
	}
	found, err := on.Endpoints(ctx, target.Namespace, service, port)
	all := make([]verify.Endpoint, len(found))
	for i, one := range found {
		all[i] = verify.Endpoint(one)
	}
	return all, about(target, err)
}

// firstReports is how long the cluster's controllers have before they are first
// asked: a look at what they have not looked at themselves is one in vain.
const firstReports = 500 * time.Millisecond

// reportedOn reports whether controllers have a say in what a release comes to.
func reportedOn(set manifest.Set) bool {
	return slices.ContainsFunc(set.Objects(), func(o *manifest.Object) bool { return !health.InertKind(manifest.IDOf(o).GroupKind()) })
}

// live reads the objects of a release that have a say in whether it is ready,
// and what those that are not ready control, which tells why. It connects for
// each look: a verification can outlive a token.
func (c *clusters) live(env promotion.Environment, set manifest.Set) (verify.Live, error) {
	rules, err := health.NewRules(env.Verify.Health)
	if err != nil {
		return verify.Live{}, fault.Terminal("verify", env.ID.String(), err)
	}
	quiet, err := quietKinds(set, rules)
	if err != nil {
		return verify.Live{}, fault.Terminal("verify", env.ID.String(), err)
	}
	owner := cluster.OwnerOf(env)
	looks := &cluster.Looks{}
	return verify.Live{
		Rules: rules,
		Quiet: quiet,
		Look: func(ctx context.Context, wanted func(manifest.ID) bool) (map[manifest.ID]*manifest.Object, []manifest.ID, error) {
			on, err := c.For(ctx, env.Target)
			if err != nil {
				return nil, nil, err
			}
			return look(ctx, on, owner, set, looks, wanted)
		},
		Why: func(ctx context.Context, unready map[manifest.ID]*manifest.Object) map[manifest.ID]*manifest.Object {
			on, err := c.For(ctx, env.Target)
			if err != nil {
				return nil
			}
			return on.Controlled(ctx, unready)
		},
		Pods: func(ctx context.Context, workloads map[manifest.ID]*manifest.Object) (map[manifest.ID]*manifest.Object, error) {
			on, err := c.For(ctx, env.Target)
			if err != nil {
				return nil, err
			}
			pods, err := on.Pods(ctx, workloads)
			if apierrors.IsForbidden(err) {
				err = fmt.Errorf("%w: %w", verify.ErrMayNotLook, err)
			}
			return pods, err
		},
	}, nil
}

func look(ctx context.Context, on *cluster.Cluster, owner cluster.Owner, set manifest.Set, looks *cluster.Looks, wanted func(manifest.ID) bool) (objects map[manifest.ID]*manifest.Object, missing []manifest.ID, err error) {
	judged, err := judgedObjects(set)
	if err != nil {
		return nil, nil, err
	}
	ids, err := on.Identities(ctx, owner, judged)
	if err != nil {
		return nil, nil, err
	}
	ids = slices.DeleteFunc(ids, func(id manifest.ID) bool { return !wanted(id) })
	if objects, err = on.Live(ctx, owner, ids, looks); err != nil {
		return nil, nil, err
	}
	for _, id := range ids {
		if objects[id] == nil {
			missing = append(missing, id)
		}
	}
	return objects, missing, nil
}

// quietKinds are those of which nobody reports on any object of a release.
func quietKinds(set manifest.Set, rules health.Rules) (map[schema.GroupKind]bool, error) {
	judged, err := judgedObjects(set)
	if err != nil {
		return nil, err
	}
	quiet := map[schema.GroupKind]bool{}
	for _, o := range judged.Objects() {
		gk := manifest.IDOf(o).GroupKind()
		before, known := quiet[gk]
		quiet[gk] = rules.Inert(o) && (before || !known)
	}
	return quiet, nil
}

// judgedObjects leaves hooks out: the apply waited for them, and they may be
// gone by now.
func judgedObjects(set manifest.Set) (manifest.Set, error) {
	var judged []*manifest.Object
	for _, o := range set.Objects() {
		switch manifest.StageOf(o) {
		case manifest.StagePreDeploy, manifest.StagePostDeploy, manifest.StageRollback:
		default:
			judged = append(judged, o)
		}
	}
	return manifest.NewSet(judged)
}

// proxied is the client for HTTP checks.
func proxied(proxy string) (*http.Client, error) {
	if proxy == "" {
		return verify.NewClient(nil), nil
	}
	address, err := parseURL(proxy)
	if err != nil {
		return nil, fault.Terminal("read configuration", "verify.proxy", err)
	}
	return verify.NewClient(address), nil
}

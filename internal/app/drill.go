package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"k8s.io/client-go/rest"

	"chaperone.dev/chaperone/internal/cluster"
	"chaperone.dev/chaperone/internal/controller"
	"chaperone.dev/chaperone/internal/fault"
	"chaperone.dev/chaperone/internal/manifest"
	"chaperone.dev/chaperone/internal/plan"
	"chaperone.dev/chaperone/internal/promotion"
	"chaperone.dev/chaperone/internal/reconcile"
	"chaperone.dev/chaperone/internal/state"
)

// drillPause between two objects keeps the daemon's drills out of the way.
const drillPause = 50 * time.Millisecond

// Drill says whether last good could be restored right now.
type Drill struct {
	Environment promotion.ID
	LastGood    reconcile.Release
	cluster.Drilled
	// Hooks are the rollback hooks that would run first, of the release that is to
	// be taken back.
	Hooks []manifest.ID
	// Problem is why it could not be restored; "" where it could.
	Problem string
}

// RunDrill tries a restore of an environment as the daemon would do it now, and
// changes nothing. The error is that it could not be asked.
func RunDrill(ctx context.Context, own *rest.Config, namespace string, id promotion.ID) (Drill, error) {
	store, err := state.New(own, namespace, time.Now)
	if err != nil {
		return Drill{}, err
	}
	record, err := store.Get(ctx, id)
	if err == nil {
		err = record.Unreadable
	}
	if err != nil {
		return Drill{}, err
	}
	d := Drill{Environment: id, LastGood: record.Journal.LastGood}
	if d.LastGood.Digest == "" {
		d.Problem = "nothing ever verified there, so there is nothing to restore"
		return d, nil
	}
	good, err := stored(ctx, store, record.Environment, d.LastGood.Digest)
	if err != nil {
		return d.unless("read last good", err)
	}
	var undo cluster.Rollback
	if begun := record.Journal.Undo; begun.Migrations != "" {
		failed, err := stored(ctx, store, record.Environment, begun.Release.Digest)
		if err != nil {
			return d.unless("read the release that is to be taken back", err)
		}
		for _, hook := range plan.Rollbacks(failed, plan.Changed(good, failed)) {
			d.Hooks = append(d.Hooks, manifest.IDOf(hook))
		}
		undo = cluster.Rollback{Failed: failed, Good: good}
	}
	on := &connections{
		own: own, namespace: namespace, secrets: once{store}, redactor: newRedactor(), log: slog.New(slog.DiscardHandler),
		request: func(string, string, int) {}, open: map[target]*connection{},
	}
	defer on.Close()
	connected, err := on.For(ctx, record.Environment.Target)
	if err != nil {
		return d, err
	}
	if d.Drilled, d.Problem, err = drill(ctx, connected, record.Environment, good, 0); err == nil && len(d.Hooks) > 0 {
		err = d.tryUndo(ctx, connected, record.Environment, undo)
	}
	return d, err
}

// tryUndo tries the rollback hooks, too: without them last good is not applied.
func (d *Drill) tryUndo(ctx context.Context, on *cluster.Cluster, env promotion.Environment, undo cluster.Rollback) error {
	refused, err := on.TryUndo(ctx, cluster.OwnerOf(env), undo)
	if err != nil && !fault.IsTerminal(err) {
		return about(env.Target, err)
	}
	var problems []string
	if err != nil {
		problems = append(problems, about(env.Target, err).Error())
	}
	if len(refused) > 0 {
		problems = append(problems, "rollback hooks would be refused: "+strings.Join(rejections(refused), "; "))
	}
	if d.Problem != "" {
		problems = append(problems, d.Problem)
	}
	d.Rejected = append(d.Rejected, refused...)
	d.Problem = strings.Join(problems, "; ")
	return nil
}

func rejections(refused []plan.Rejection) []string {
	return texts(refused, func(r plan.Rejection) string { return fmt.Sprintf("%s: %v%s", r.ID, r.Err, hint(r.Err)) })
}

// hint says what would be right where it is not the API server that says no.
func hint(err error) string {
	if text := err.Error(); strings.Contains(text, "admission webhook") && strings.Contains(text, "denied") {
		return " (a webhook of the cluster says no, which the API server does not; want an exception there, or a release that it takes)"
	}
	return ""
}

// unless tells a bundle that is gone or broken from one that could not be asked for.
func (d Drill) unless(op string, err error) (Drill, error) {
	if errors.Is(err, state.ErrNoBundle) || errors.Is(err, state.ErrBrokenBundle) {
		d.Problem = op + ": " + err.Error()
		return d, nil
	}
	return d, fmt.Errorf("%s: %w", op, err)
}

// stored is a bundle, under the environment's name or a former one.
func stored(ctx context.Context, store *state.Store, env promotion.Environment, digest reconcile.Digest) (manifest.Set, error) {
	set, err := store.Bundle(ctx, env.ID, digest)
	for _, former := range env.Formerly {
		if !errors.Is(err, state.ErrNoBundle) {
			break
		}
		set, err = store.Bundle(ctx, former, digest)
	}
	return set, err
}

// drill tells why last good could not be restored from why nobody could tell.
func drill(ctx context.Context, on *cluster.Cluster, env promotion.Environment, good manifest.Set, pause time.Duration) (cluster.Drilled, string, error) {
	found, err := on.Drill(ctx, cluster.OwnerOf(env), good, pause)
	switch {
	case err != nil && fault.IsTerminal(err):
		return found, about(env.Target, err).Error() + hint(err), nil
	case err != nil:
		return found, "", about(env.Target, err)
	case len(found.Rejected) > 0:
		return found, "would not be accepted again: " + strings.Join(rejections(found.Rejected), "; "), nil
	}
	return found, "", nil
}

// Drill implements controller.Cluster.
func (c *clusters) Drill(ctx context.Context, env promotion.Environment, good controller.LastGood) (controller.Drill, error) {
	on, err := c.For(ctx, env.Target)
	if err != nil {
		return controller.Drill{}, err
	}
	set, err := good.Read(ctx)
	if errors.Is(err, state.ErrNoBundle) || errors.Is(err, state.ErrBrokenBundle) {
		return controller.Drill{Problem: "read last good: " + err.Error()}, nil
	}
	if err != nil {
		return controller.Drill{}, err
	}
	found, problem, err := drill(ctx, on, env, set, drillPause)
	return controller.Drill{Tried: found.Tried, Problem: problem}, err
}

package app

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"time"

	"k8s.io/client-go/rest"

	"chaperone.dev/chaperone/internal/cluster"
	"chaperone.dev/chaperone/internal/manifest"
	"chaperone.dev/chaperone/internal/plan"
	"chaperone.dev/chaperone/internal/preview"
	"chaperone.dev/chaperone/internal/promotion"
	"chaperone.dev/chaperone/internal/reconcile"
	"chaperone.dev/chaperone/internal/state"
	"chaperone.dev/chaperone/internal/strategy"
	"fmt"
)

// Preview is what the daemon would do for a release now.
type Preview struct {
	plan.Plan
	Digest manifest.Digest
	// Correcting says that the environment is at rest with this very release: what
	// differs is drift. It is put back as a restore is, without hooks.
	Correcting bool
	// Unasked is why the daemon's record could not be read; then the release is
	// taken for a new one.
	Unasked error
	// Agreement is the command by which a person agrees to deletions that wait for
	// it, or "".
	Agreement string
	// Contended is what the daemon no longer puts back of what differs, in its own
	// words, or "": that is in its memory, and in no plan.
	Contended string
	// Steps are how the daemon would come there, where that is more than an apply,
	// and Remarks what people should know of that. A sentence each.
	Steps, Remarks []string
}

// Plan is what the daemon would do for a release now; nothing is changed. It is
// the daemon's own way to the target, and the plan is the one that Apply and
// Restore would carry out.
func Plan(ctx context.Context, own *rest.Config, namespace string, env promotion.Environment, set manifest.Set) (Preview, error) {
	store, err := state.New(own, namespace, time.Now)
	if err != nil {
		return Preview{}, err
	}
	digest, err := set.Digest()
	if err != nil {
		return Preview{}, err
	}
	p := Preview{Digest: digest}
	record, err := known(ctx, store, env.ID)
	p.Unasked = err
	if p.Correcting = err == nil && rests(record, digest); p.Correcting && record.Status.Reason == promotion.Contended {
		p.Contended = record.Message
	}
	on := &connections{
		own: own, namespace: namespace, secrets: once{store}, redactor: newRedactor(), log: slog.New(slog.DiscardHandler),
		request: func(string, string, int) {}, open: map[target]*connection{},
	}
	defer on.Close()
	connected, err := on.For(ctx, env.Target)
	if err != nil {
		return p, err
	}
	owner := cluster.OwnerOf(env)
	owner.Restoring, owner.Contents = p.Correcting, true
	p.Plan, err = connected.Plan(ctx, owner, set)
	if p.Correcting {
		p.Changes = correction(p.Changes)
	}
	if slices.ContainsFunc(p.Changes, func(change plan.Change) bool { return change.Reason == plan.ReasonInventoryRebuilt }) {
		p.Agreement = cluster.Agreement(owner)
	}
	if err == nil && !p.Correcting {
		err = p.come(ctx, store, connected, env, set)
	}
	return p, about(env.Target, err)
}

// come finds out in which steps the daemon would come from last good to a release.
func (p *Preview) come(ctx context.Context, store *state.Store, on *cluster.Cluster, env promotion.Environment, set manifest.Set) error {
	record, err := known(ctx, store, env.ID)
	if err != nil || record.Journal.LastGood.Digest == "" {
		return nil // the record that cannot be read is told of
	}
	good, err := stored(ctx, store, env, record.Journal.LastGood.Digest)
	if err != nil {
		return fmt.Errorf("read last good: %w", err)
	}
	var names []string
	for _, s := range env.Strategies {
		names = append(names, s.Deployment)
	}
	release := strategy.Release{Before: good, After: set, Namespace: env.Target.Namespace, Strategies: env.Strategies}
	if len(names) > 0 {
		if release.Replicas, err = replicasOf(ctx, on, env, names); err != nil {
			return err
		}
	}
	found, err := strategy.Steps(release)
	if err != nil {
		p.Refused = &plan.Refusal{Reason: promotion.StrategyImpossible, Text: env.File + ": strategies: " + err.Error()}
		return p.Refused
	}
	var told preview.Environment
	told.Come(found)
	p.Steps, p.Remarks = told.Steps, told.Remarks
	return nil
}

// correction is the part of a plan that Correct carries out: it puts back what
// differs, and leaves to the next release what is no drift.
func correction(changes []plan.Change) []plan.Change {
	var drift []plan.Change
	for _, change := range changes {
		switch {
		case change.Action == plan.Update && len(change.Fields) == 0:
			change.Action = plan.Unchanged // every value is right; only the ownership is not
		case change.Action == plan.Delete:
			continue
		}
		drift = append(drift, change)
	}
	return drift
}

// once is for a connection that does not last: its Secret is not followed.
type once struct{ *state.Store }

// FollowKubeconfig implements kubeconfigs.
func (once) FollowKubeconfig(ctx context.Context, _ string, _ func()) error {
	<-ctx.Done()
	return nil
}

// known is the daemon's record of an environment; one that it has none of, or
// without a daemon, is empty.
func known(ctx context.Context, store *state.Store, id promotion.ID) (state.Record, error) {
	record, err := store.Get(ctx, id)
	switch {
	case errors.Is(err, state.ErrNotFound):
		return record, nil
	case err != nil:
		return record, err
	}
	return record, record.Unreadable
}

// rests reports whether the daemon has nothing under way in an environment, and
// runs this release there.
func rests(record state.Record, digest manifest.Digest) bool {
	j := record.Journal
	return j.Running.Digest == reconcile.Digest(digest) && j.Attempt.Stage == reconcile.StageNone
}

package controller

import (
	"errors"
	"slices"
	"testing"
	"testing/synctest"

	"chaperone.dev/chaperone/internal/promotion"
	"chaperone.dev/chaperone/internal/reconcile"
)

func stored(stage reconcile.Stage) *memory {
	good, bad := reconcile.Release{Revision: revision(0), Digest: "good"}, reconcile.Release{Revision: revision(1), Digest: "bad"}
	m := &memory{version: 1}
	m.record.ID, m.record.Version, m.record.Environment = staging, "1", promotion.Environment{ID: staging}
	m.record.Journal = reconcile.Journal{LastGood: good, Running: bad, Attempt: reconcile.Attempt{
		Release: bad, Stage: stage, Failure: promotion.VerificationFailed, Guilty: revision(1)}}
	return m
}

// The journal is the fence also where an effect goes on from a stage that was
// stored before: a replica that slept must not act by the journal of back then.
func TestPitfall38_StaleReplicaHasNoEffect(t *testing.T) {
	t.Parallel()
	for kind, stage := range map[reconcile.ActionKind]reconcile.Stage{
		reconcile.ActionPrune: reconcile.StagePruning, reconcile.ActionRestore: reconcile.StageRestoring,
		reconcile.ActionRevert: reconcile.StageReverting, reconcile.ActionCorrect: reconcile.StageCorrecting,
		reconcile.ActionUndo: reconcile.StageUndoing,
	} {
		t.Run(string(kind), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				store, here := stored(stage), &actor{}
				begun := store.record.Journal.Attempt.Release
				awake, asleep := replica(t, store, here), replica(t, store, here)
				act(t.Context(), awake, kind, begun)
				if len(here.done) != 1 {
					t.Fatalf("the replica that is awake did %v, want %s", here.done, kind)
				}
				act(t.Context(), asleep, kind, begun)
				if len(here.done) != 1 {
					t.Errorf("the replica that slept did %v", here.done[1:])
				}
				known, _ := asleep.world.Find(staging)
				if !sameJournal(known.Journal, store.record.Journal) || known.Busy != reconcile.ActionNone {
					t.Errorf("it goes on from %+v, want what is stored", known)
				}
			})
		})
	}
}

// A refusal that stays is tried again and again, and told once: otherwise it
// would push every other release out of the history.
func TestRefusalThatStaysIsOneRelease(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := stored(reconcile.StageNone)
		store.record.Journal.Attempt = reconcile.Attempt{}
		here := &actor{apply: &Refusal{Reason: promotion.ConflictingOwner, Err: errors.New("somebody else's")}}
		c := replica(t, store, here)
		next := reconcile.Release{Revision: revision(2), Digest: "next"}
		for range 3 {
			act(t.Context(), c, reconcile.ActionApply, next)
		}
		here.apply = &Refusal{Reason: promotion.ApplyRejected, Err: errors.New("not valid")}
		act(t.Context(), c, reconcile.ActionApply, next)
		var reasons []promotion.Reason
		for _, r := range store.releases {
			reasons = append(reasons, r.Reason)
		}
		if want := []promotion.Reason{promotion.ConflictingOwner, promotion.ApplyRejected}; !slices.Equal(reasons, want) {
			t.Errorf("releases tell %v, want %v", reasons, want)
		}
	})
}

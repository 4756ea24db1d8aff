package demo

import (
	"strings"
	"testing"

	"chaperone.dev/chaperone/internal/promotion"
	"chaperone.dev/chaperone/internal/reconcile"
	"chaperone.dev/chaperone/internal/source"
	"chaperone.dev/chaperone/internal/state"
)

const here, there = source.Revision("1111111111111111111111111111111111111111"), source.Revision("2222222222222222222222222222222222222222")

// resting is an environment that runs a revision, verified.
func resting(at source.Revision) state.Record {
	release := reconcile.Release{Revision: at, Digest: "sha256:1"}
	return state.Record{
		Status:  reconcile.Status{Phase: reconcile.PhaseReady, Reason: promotion.UpToDate, Wanted: release},
		Journal: reconcile.Journal{Running: release, LastGood: release},
	}
}

func TestArrives(t *testing.T) {
	t.Parallel()
	with := func(change func(*state.Record)) state.Record {
		r := resting(here)
		change(&r)
		return r
	}
	for name, c := range map[string]struct {
		record state.Record
		done   bool
		fault  string
	}{
		"at rest there":                {record: resting(here), done: true},
		"at rest elsewhere":            {record: resting(there)},
		"never seen":                   {},
		"still pruning":                {record: with(func(r *state.Record) { r.Journal.Attempt.Stage = reconcile.StagePruning })},
		"another one running":          {record: with(func(r *state.Record) { r.Journal.Running.Revision = there })},
		"status not written yet":       {record: with(func(r *state.Record) { r.Status.Reason = promotion.Applying })},
		"allowed anew by other rules":  {record: with(func(r *state.Record) { r.Status.Reason = promotion.Evaluating })},
		"another one held":             {record: with(func(r *state.Record) { r.Status.Phase, r.Status.Wanted.Revision = reconcile.PhaseHeld, there })},
		"taken back":                   {record: with(func(r *state.Record) { r.Journal.LastGood.Revision, r.Journal.LastRevert.Guilty = there, here }), fault: "took 111111111111 back"},
		"held":                         {record: with(func(r *state.Record) { r.Status.Phase = reconcile.PhaseHeld }), fault: "holds 111111111111"},
		"its file is wrong since then": {record: with(func(r *state.Record) { r.Status.Phase = reconcile.PhaseInvalid }), fault: "holds 111111111111"},
	} {
		id := env("a", "b")
		done, err := arrives(here, id)(records{id: c.record})
		if done != c.done || (err == nil) != (c.fault == "") || err != nil && !strings.Contains(err.Error(), c.fault) {
			t.Errorf("%s: got %t, %v; want %t, %q", name, done, err, c.done, c.fault)
		}
	}
}

func TestWhyNamesReasonEvidenceAndWhoCanHelp(t *testing.T) {
	t.Parallel()
	id := env("novamind", "staging")
	r := resting(here)
	r.Status.Phase, r.Status.Reason, r.Message, r.Evidence = reconcile.PhaseHeld, promotion.SeveralSuspects, "two commits", "it answered 500"
	told := why(id, records{id: r})
	for _, part := range []string{"novamind/staging: Held (SeveralSuspects): two commits", "Evidence: it answered 500", promotion.SeveralSuspects.Unblock()} {
		if !strings.Contains(told, part) {
			t.Errorf("%q has no %q", told, part)
		}
	}
	if told := why(id, records{}); !strings.Contains(told, "not seen it yet") {
		t.Errorf("of an unknown one: %q", told)
	}
}

func TestRestsWhileAPromotionIsProposed(t *testing.T) {
	t.Parallel()
	r := resting(here)
	r.Status.Reason = promotion.WaitingForPromotion
	if !rests(r, here) {
		t.Error("what runs is verified, whether something newer is proposed or not")
	}
	r.Status.Phase, r.Journal = reconcile.PhaseWaiting, reconcile.Journal{}
	if rests(r, "") {
		t.Error("an environment without its first promotion does not run anything")
	}
}

func TestTagged(t *testing.T) {
	t.Parallel()
	const image = "registry.example.org:5000/crohns/core:2.3.1@sha256:aa"
	if got, want := tagged(image, "crohns: run core 2.3.2"), "registry.example.org:5000/crohns/core:2.3.2"; got != want {
		t.Errorf("got %s; want %s", got, want)
	}
}

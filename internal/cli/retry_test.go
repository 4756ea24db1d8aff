package cli

import (
	"strings"
	"testing"
	"time"

	"chaperone.dev/chaperone/internal/promotion"
	"chaperone.dev/chaperone/internal/reconcile"
	"chaperone.dev/chaperone/internal/source"
	"chaperone.dev/chaperone/internal/state"
)

// What a retry lifts, or why there is nothing to lift.
func TestLift(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	status := func(phase reconcile.Phase, reason promotion.Reason, wanted source.Revision) reconcile.Status {
		s := reconcile.Status{Phase: phase, Reason: reason}
		if wanted != "" {
			s.Wanted = release(wanted)
		}
		return s
	}
	held := status(reconcile.PhaseHeld, promotion.RevertConflict, second)
	quarantine := []reconcile.Digest{release(second).Digest, release(third).Digest}
	for _, test := range []struct {
		name             string
		record           state.Record
		digest, revision string
		lifts            reconcile.Digest
		want             string // what is lifted, or the beginning of the error
	}{
		{name: "a hold", record: state.Record{Status: held, Journal: reconcile.Journal{
			Hold: reconcile.Hold{Reason: promotion.RevertConflict, Digest: release(second).Digest}, Quarantine: quarantine}},
			lifts: release(second).Digest, want: "the hold (RevertConflict)"},
		{name: "the quarantine of what is wanted", record: state.Record{Status: status(reconcile.PhaseHeld, promotion.Quarantined, third),
			Journal: reconcile.Journal{Quarantine: quarantine}},
			lifts: release(third).Digest, want: "the quarantine of 333333333333 (333333333333)"},
		{name: "a rewritten history", record: state.Record{Status: status(reconcile.PhaseHeld, promotion.HistoryRewritten, second)},
			want: "the hold (HistoryRewritten)"},
		{name: "a wait", record: state.Record{Status: status(reconcile.PhaseWaiting, promotion.ApplyRejected, second),
			Journal: reconcile.Journal{Retry: reconcile.Retry{Reason: promotion.ApplyRejected, At: now.Add(time.Minute)}}},
			want: "the wait until 2026-03-01 12:01:00Z (ApplyRejected)"},
		{name: "a wait that is over", record: state.Record{Status: status(reconcile.PhaseWaiting, promotion.ApplyRejected, second),
			Journal: reconcile.Journal{Retry: reconcile.Retry{Reason: promotion.ApplyRejected, At: now}}},
			want: "there is nothing to try again: it is Waiting (ApplyRejected): " + promotion.ApplyRejected.Explain()},
		{name: "another one's quarantine", record: state.Record{Status: status(reconcile.PhaseReady, promotion.UpToDate, first), Message: "runs",
			Journal: reconcile.Journal{Quarantine: quarantine}},
			want: "nothing holds it: it is Ready (UpToDate): runs; quarantined are other releases: 222222222222, 333333333333; want one"},
		{name: "that one by its digest", record: state.Record{Journal: reconcile.Journal{Quarantine: quarantine}}, digest: "sha256:3333",
			lifts: release(third).Digest, want: "the quarantine of 333333333333"},
		{name: "a digest without its name", record: state.Record{Journal: reconcile.Journal{Quarantine: quarantine}}, digest: strings.Repeat("3", 64),
			lifts: release(third).Digest, want: "the quarantine of 333333333333"},
		{name: "too little of it", record: state.Record{Journal: reconcile.Journal{Quarantine: quarantine}}, digest: "333",
			want: "--digest 333: that could be 333333333333; want more of it"},
		{name: "that one by its commit", record: state.Record{Journal: reconcile.Journal{Quarantine: quarantine,
			LastRevert: reconcile.Revert{Guilty: third, Digest: release(third).Digest}}}, revision: string(third),
			lifts: release(third).Digest, want: "the quarantine of 333333333333 (333333333333)"},
		{name: "a hold by its commit", record: state.Record{Status: held, Journal: reconcile.Journal{
			Hold: reconcile.Hold{Reason: promotion.RevertConflict, Digest: release(second).Digest}}}, revision: "22222222",
			lifts: release(second).Digest, want: "the hold of 222222222222 (222222222222)"},
		{name: "what is good", record: state.Record{Status: held, Journal: reconcile.Journal{LastGood: release(first), Quarantine: quarantine}},
			revision: "11111111", want: "--revision 11111111: that is neither quarantined nor held there; these are: 222222222222 (222222222222), 333333333333"},
		{name: "a pause", record: state.Record{Status: held, Requests: state.Requests{Pause: &state.Pause{Reason: "audit", By: "ada", Until: now.Add(time.Hour)}}},
			want: "it is paused by ada until 2026-03-01 13:00:00Z: audit; `chaperone resume shop/staging` first"},
		{name: "a pause that is over", record: state.Record{Status: status(reconcile.PhaseHeld, promotion.HistoryRewritten, second),
			Requests: state.Requests{Pause: &state.Pause{Reason: "audit", By: "ada", Until: now}}}, want: "the hold (HistoryRewritten)"},
		{name: "a broken file", record: state.Record{Status: status(reconcile.PhaseInvalid, promotion.InvalidEnvironment, ""), Message: "line 3"},
			want: "nothing is tried while it is Invalid (InvalidEnvironment): line 3"},
	} {
		test.record.ID = staging
		got, err := (&retryFlags{digest: test.digest, revision: test.revision}).lift(test.record, nil, now)
		text := got.what
		if err != nil {
			text = err.Error()
		}
		exact := err == nil && text != test.want
		if exact || !strings.HasPrefix(text, test.want) || got.digest != test.lifts {
			t.Errorf("%s: lifts %q %q, want %q %q", test.name, got.digest, text, test.lifts, test.want)
		}
	}
}

// Two requests at the same time are two.
func TestRequestIDs(t *testing.T) {
	t.Parallel()
	now := time.Now()
	seen := map[string]bool{}
	for range 100 {
		seen[requestID(now)] = true
	}
	if len(seen) != 100 {
		t.Errorf("%d IDs, want 100", len(seen))
	}
}

// What fails since it passed may go on all the same, once.
func TestLiftOfAnAlarm(t *testing.T) {
	t.Parallel()
	alarmed := state.Record{Status: reconcile.Status{Phase: reconcile.PhaseReady, Reason: promotion.Regressed, Wanted: release(second)},
		Journal: reconcile.Journal{LastGood: release(second), Watched: reconcile.Watched{Digest: release(second).Digest, Alarm: promotion.Regressed}}}
	got, err := (&retryFlags{}).lift(alarmed, nil, time.Now())
	if want := (lifting{release(second).Digest, "the alarm (Regressed), for the environments after it,"}); err != nil || got != want {
		t.Errorf("%+v, %v; want %+v", got, err, want)
	}
	got, err = (&retryFlags{revision: string(second)}).lift(alarmed, nil, time.Now())
	if want := (lifting{release(second).Digest, "the alarm (Regressed) of 222222222222 (222222222222)"}); err != nil || got != want {
		t.Errorf("by its commit: %+v, %v; want %+v", got, err, want)
	}
	alarmed.Journal.Watched.Accepted = true
	if got, err = (&retryFlags{}).lift(alarmed, nil, time.Now()); err == nil || !strings.HasPrefix(err.Error(), "there is nothing to try again") {
		t.Errorf("once it was accepted: %+v, %v", got, err)
	}
}

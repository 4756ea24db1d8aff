package cli

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	"chaperone.dev/chaperone/internal/promotion"
	"chaperone.dev/chaperone/internal/reconcile"
	"chaperone.dev/chaperone/internal/state"
)

// What a hook wrote that failed stands in why, where the environment is because of
// it: the newest, without what would move a cursor, and bounded.
func TestWhyShowsWhatAHookWrote(t *testing.T) {
	t.Parallel()
	in := install(t)
	in.shop()
	began := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	for i, r := range []state.Release{
		{Release: release(second), Phase: state.ReleaseFailed, Log: "migrate:\nof the attempt before"},
		{Release: release(second), Phase: state.ReleaseFailed, Log: strings.Repeat("old\n", 100) + "migrate:\nrelation \x1b[2Jpatients does not exist"},
		{Release: release(second), Phase: state.ReleaseHeld, Log: "unmigrate:\nneither does this"},
		{Release: release(third), Phase: state.ReleaseFailed, Log: "migrate:\nanother release"},
	} {
		r.Environment, r.Started = staging, began.Add(time.Duration([]int{0, 1, 1, 2}[i])*time.Hour)
		if err := in.store.PutRelease(t.Context(), r); err != nil {
			t.Fatal(err)
		}
	}
	_, out, complaints := in.run("why", "shop/staging")
	const want = "      | migrate:\n      | relation \ufffd[2Jpatients does not exist\n      | unmigrate:\n      | neither does this\n"
	if !strings.Contains(out, want) || strings.Contains(out, "another") || strings.Contains(out, "attempt before") || complaints != "" {
		t.Errorf("%s%s\nwant in it\n%s", complaints, out, want)
	}
	if lines := strings.Count(out, "      | "); lines > maxWhyLines {
		t.Errorf("%d lines of a log, want %d at most", lines, maxWhyLines)
	}
	narrow(t, out)
	_, out, _ = in.run("why", "-o", "json")
	var all []explanation
	if err := json.Unmarshal([]byte(out), &all); err != nil || len(all) != 3 {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, e := range all {
		if told := strings.HasSuffix(e.Log, "\nneither does this"); told != (e.Environment == "shop/staging") {
			t.Errorf("%s: log %q", e.Environment, e.Log)
		}
	}
}

// A failure that is dealt with has nothing to say any more.
func TestWhyShowsNoLogOfThePast(t *testing.T) {
	t.Parallel()
	failed := release(second).Digest
	for _, test := range []struct {
		name   string
		record state.Record
		want   []reconcile.Digest
	}{
		{"at rest", state.Record{Status: reconcile.Status{Phase: reconcile.PhaseReady, Wanted: release(first)}, Journal: reconcile.Journal{Quarantine: []reconcile.Digest{failed}}}, nil},
		{"wanted again", state.Record{Status: reconcile.Status{Phase: reconcile.PhaseWaiting, Wanted: release(second)}, Journal: reconcile.Journal{Quarantine: []reconcile.Digest{failed}}},
			[]reconcile.Digest{failed}},
		{"held", state.Record{Status: reconcile.Status{Phase: reconcile.PhaseHeld, Reason: promotion.RollbackFailed}, Journal: reconcile.Journal{Hold: reconcile.Hold{Digest: failed}}},
			[]reconcile.Digest{failed}},
		{"paused, and nothing under way", state.Record{Status: reconcile.Status{Phase: reconcile.PhaseHeld, Reason: promotion.Paused}, Journal: reconcile.Journal{Hold: reconcile.Hold{Digest: failed}}}, nil},
	} {
		if got := failedOf(test.record); !slices.Equal(got, test.want) {
			t.Errorf("%s: %v, want %v", test.name, got, test.want)
		}
	}
}

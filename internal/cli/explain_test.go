package cli

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"chaperone.dev/chaperone/internal/policy"
	"chaperone.dev/chaperone/internal/promotion"
	"chaperone.dev/chaperone/internal/reconcile"
	"chaperone.dev/chaperone/internal/source"
	"chaperone.dev/chaperone/internal/state"
)

// golden compares with a file in testdata, hashes and times as they are.
func golden(t *testing.T, name, got string) {
	t.Helper()
	want, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s: got\n%s\nwant\n%s", name, got, want)
	}
	narrow(t, got)
}

// everything that there may be to tell of one environment.
func everything(now time.Time) state.Record {
	digest := func(r source.Revision) reconcile.Digest { return release(r).Digest }
	fourth, fifth := source.Revision(strings.Repeat("4", 40)), source.Revision(strings.Repeat("5", 40))
	return state.Record{
		ID: staging, Since: now.Add(-90 * time.Minute), Message: "one of 3 commits broke this; 444444444444 is deployed to find out which",
		Evidence:    "http \"readiness\" answered 500 in 12 of 12 requests",
		Environment: promotion.Environment{ID: staging, MaxRevertsPerDay: 3},
		Status:      reconcile.Status{Phase: reconcile.PhaseProgressing, Reason: promotion.Bisecting, Wanted: release(fifth)},
		Journal: reconcile.Journal{
			Running: release(fourth), LastGood: release(first), Quarantine: []reconcile.Digest{digest(fifth)},
			Attempt: reconcile.Attempt{Release: release(fourth), Stage: reconcile.StageVerifying, Probe: true, Override: true, Irreversible: true},
			Search: reconcile.Search{Failed: release(fifth), Failing: []reconcile.Digest{digest(fifth)}, Untested: []reconcile.Digest{digest(third)},
				Suspects: []reconcile.Suspect{{Revision: third, Digest: digest(third)}, {Revision: fourth, Digest: digest(fourth)}, {Revision: fifth, Digest: digest(fifth)}}},
			Reverts:    []time.Time{now.Add(time.Hour), now.Add(-time.Hour), now.Add(-23 * time.Hour), now.Add(-25 * time.Hour)},
			LastRevert: reconcile.Revert{Guilty: second, Commit: third, Digest: digest(second)},
			Proposal:   reconcile.Proposal{Revision: fifth, Digest: digest(fifth), Commit: second},
		},
		Requests: state.Requests{
			Pause:   &state.Pause{Reason: "audit", By: "ada", At: now, Until: time.Date(2126, 3, 1, 12, 0, 0, 0, time.UTC)},
			Retry:   &state.Retry{ID: "x", By: "grace", At: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)},
			Problem: "Environment/shop.staging: annotation chaperone.dev/retry: unknown field \"who\"",
		},
	}
}

func TestWhyTellsEverything(t *testing.T) {
	t.Parallel()
	now := time.Now()
	r := everything(now)
	var b bytes.Buffer
	(&command{}).whyTable(&b, explain(r, []state.Record{r}, now))
	golden(t, "why.txt", b.String())
	b.Reset()
	(&command{Streams: Streams{Terminal: true}}).whyTable(&b, explain(r, []state.Record{r}, now))
	for _, want := range []string{red + "override" + plain, red + "a reviewed Chaperone-Override", red + "irreversible" + plain, red + "problem" + plain} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("on a terminal there is no %q in\n%q", want, b.String())
		}
	}
	if strings.Contains(b.String(), red+"running") || strings.Contains(b.String(), red+"pause") {
		t.Errorf("more is red than should be:\n%q", b.String())
	}
	r.Journal.Attempt, r.Journal.Search, r.Journal.Reverts = reconcile.Attempt{}, reconcile.Search{}, nil
	r.Journal.Served, r.Requests.Problem, r.Requests.Pause.Until = "x", "", now
	b.Reset()
	(&command{}).whyTable(&b, explain(r, []state.Record{r}, now))
	for _, gone := range []string{"override", "irreversible", "search", "reverts", "  pause", "  retry", "problem"} {
		if strings.Contains(b.String(), gone) {
			t.Errorf("%s is told of, and there is none:\n%s", gone, b.String())
		}
	}
}

func TestProposalIsTold(t *testing.T) {
	t.Parallel()
	for want, p := range map[string]reconcile.Proposal{
		"": {},
		"chaperone/promote/shop/staging for 222222222222 is being pushed":                         {Revision: second},
		"chaperone/promote/shop/staging at 333333333333 moves it to 222222222222":                 {Revision: second, Commit: third},
		"chaperone/promote/shop/staging for 222222222222: The source does not take the promotion": {Revision: second, Refused: promotion.PromotionRejected},
	} {
		r := state.Record{ID: staging, Journal: reconcile.Journal{Proposal: p}}
		var b bytes.Buffer
		(&command{}).whyTable(&b, explain(r, nil, time.Now()))
		if text := strings.Join(strings.Fields(b.String()), " "); !strings.Contains(text, want) || strings.Contains(text, "proposal") != (want != "") {
			t.Errorf("no %q in %s", want, text)
		}
	}
}

// When a reason passes by itself.
func TestUntil(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC) // a Sunday
	at := func(hours int) time.Time { return now.Add(time.Duration(hours) * time.Hour) }
	rules := promotion.Promotion{
		Mode: promotion.ModeSchedule, Schedule: "0 14 * * *", Soak: 3 * time.Hour,
		Windows: []promotion.Window{{Cron: "0 15 * * *", Duration: time.Hour}},
		Freezes: []promotion.Window{{From: at(-1), To: at(4)}},
	}
	up := state.Record{ID: development, Journal: reconcile.Journal{Verified: []reconcile.Verified{{Release: release(second), At: at(-1)}}}}
	for _, test := range []struct {
		reason promotion.Reason
		record state.Record
		want   time.Time
	}{
		{promotion.WaitingForSchedule, state.Record{}, at(2)},
		{promotion.OutsideWindow, state.Record{}, at(3)},
		{promotion.Frozen, state.Record{}, at(4)},
		{promotion.Soaking, state.Record{}, at(2)},
		{promotion.Soaking, state.Record{Status: reconcile.Status{Wanted: release(third)}}, time.Time{}}, // verified under another name
		{promotion.Paused, state.Record{Requests: state.Requests{Pause: &state.Pause{Until: at(5)}}}, at(5)},
		{promotion.Paused, state.Record{Requests: state.Requests{Pause: &state.Pause{}}}, time.Time{}},
		{promotion.Paused, state.Record{}, time.Time{}},
		{promotion.ApplyRejected, state.Record{Journal: reconcile.Journal{Retry: reconcile.Retry{Reason: promotion.ApplyRejected, At: at(6)}}}, at(6)},
		{promotion.ApplyRejected, state.Record{Journal: reconcile.Journal{Retry: reconcile.Retry{Reason: promotion.ApplyRejected, At: at(-6)}}}, time.Time{}},
		{promotion.PolicyDenied, state.Record{Journal: reconcile.Journal{Retry: reconcile.Retry{Reason: promotion.ApplyRejected, At: at(6)}}}, time.Time{}},
		{promotion.UpToDate, state.Record{}, time.Time{}},
	} {
		r := test.record
		r.ID, r.Environment = staging, promotion.Environment{ID: staging, After: []promotion.ID{development}, Promotion: rules}
		r.Status.Reason = test.reason
		if r.Status.Wanted.Revision == "" {
			r.Status.Wanted = release(second)
		}
		if got := untilOf(r, []state.Record{r, up}, now); !got.Equal(test.want) {
			t.Errorf("%s: until %s, want %s", test.reason, got, test.want)
		}
	}
}

// An exception's end is told before it comes.
func TestExceptionCountsDown(t *testing.T) {
	t.Parallel()
	r := everything(time.Now())
	var b bytes.Buffer
	c := &command{}
	c.whyTable(&b, explain(r, nil, time.Now()))
	if strings.Contains(b.String(), "exception") {
		t.Errorf("an exception that is not there:\n%s", &b)
	}
	r.Excepted = &policy.Countdown{Exception: "scratch-volume", Rule: "encryption/encrypted-volumes", Expires: time.Date(2026, 7, 1, 0, 0, 0, 0, time.UTC)}
	c.whyTable(&b, explain(r, nil, time.Now()))
	for _, want := range []string{"scratch-volume ends at 2026-07-01", "encryption/encrypted-volumes is not waived"} {
		if text := strings.Join(strings.Fields(b.String()), " "); !strings.Contains(text, want) {
			t.Errorf("no %q in\n%s", want, &b)
		}
	}
}

// What a person should not overlook stands beside the reason, and break-glass in red.
func TestStatusMarks(t *testing.T) {
	t.Parallel()
	now := time.Now()
	r := everything(now)
	var b bytes.Buffer
	c := &command{Streams: Streams{Terminal: true}}
	c.statusTable(&b, []statusLine{statusOf(r)}, "x")
	if want := red + "Bisecting (paused, overridden)" + plain + "\n"; !strings.HasSuffix(b.String(), want) {
		t.Errorf("%q does not end with %q", b.String(), want)
	}
	r.Status.Reason, r.Journal.Attempt.Override = promotion.Paused, false
	if got := statusOf(r).marks(); got != "Paused" {
		t.Errorf("marks of what is paused: %q", got)
	}
	r.Requests.Pause.Until = now
	r.Status.Reason = promotion.UpToDate
	if l := statusOf(r); l.marks() != "UpToDate" || l.Pause != nil {
		t.Errorf("a pause that is over: %q", l.marks())
	}
}

// Nothing that is stored keeps the others from being shown.
func TestUnreadableIsShown(t *testing.T) {
	t.Parallel()
	r := state.Record{ID: staging, Unreadable: os.ErrInvalid}
	l := statusOf(r)
	if l.Phase != reconcile.PhaseInvalid || l.marks() != "UnreadableRecord" {
		t.Errorf("%+v", l)
	}
	if e := explain(r, nil, time.Now()); e.Message != "invalid argument" || e.Unblock != promotion.UnreadableRecord.Unblock() {
		t.Errorf("%+v", e)
	}
}

// What was measured is told where it matters: not of a failure that is dealt
// with, to those who look why an environment rests.
func TestWhyTellsEvidenceOfWhatIsOpen(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		phase  reconcile.Phase
		reason promotion.Reason
		stage  reconcile.Stage
		told   bool
	}{
		{reconcile.PhaseProgressing, promotion.Verifying, reconcile.StageVerifying, false},
		{reconcile.PhaseProgressing, promotion.Restoring, reconcile.StageRestoring, true},
		{reconcile.PhaseHeld, promotion.VerificationError, reconcile.StageVerifying, true},
		{reconcile.PhaseHeld, promotion.VerificationFailed, reconcile.StageNone, true},
		{reconcile.PhaseHeld, promotion.RevertConflict, reconcile.StageReverting, true},
		{reconcile.PhaseHeld, promotion.Paused, reconcile.StageReverting, true},
		{reconcile.PhaseHeld, promotion.Paused, reconcile.StageNone, false},
		{reconcile.PhaseHeld, promotion.Frozen, reconcile.StageNone, false},
		{reconcile.PhaseWaiting, promotion.WaitingForSchedule, reconcile.StageNone, false},
		{reconcile.PhaseReady, promotion.UpToDate, reconcile.StageNone, false},
	} {
		r := state.Record{Evidence: "api answered 500", Status: reconcile.Status{Phase: test.phase, Reason: test.reason},
			Journal: reconcile.Journal{Attempt: reconcile.Attempt{Stage: test.stage}}}
		if told := explain(r, nil, time.Now()).Evidence != ""; told != test.told {
			t.Errorf("%s (%s) at stage %q: evidence is told: %t", test.phase, test.reason, test.stage, told)
		}
	}
}

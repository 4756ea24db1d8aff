package controller

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"chaperone.dev/chaperone/internal/fault"
	"chaperone.dev/chaperone/internal/promotion"
	"chaperone.dev/chaperone/internal/reconcile"
	"chaperone.dev/chaperone/internal/state"
)

// What becomes of an attempt to undo a release: only what is certain holds it, and
// what the hook wrote goes with its release and into nothing else.
func TestUndoEnds(t *testing.T) {
	t.Parallel()
	ran := fault.Terminal("hook", "Job.batch/shop/unmigrate", errors.New("the Job failed: BackoffLimitExceeded"))
	for _, test := range []struct {
		name    string
		err     error
		outcome reconcile.Outcome
		reason  promotion.Reason
		log     string
	}{
		{"it is undone", nil, reconcile.OutcomeDone, "", ""},
		{"a hook failed", &Refusal{Reason: promotion.RollbackFailed, Err: ran, Log: "unmigrate:\nno such table"}, reconcile.OutcomeFailed, promotion.RollbackFailed,
			"unmigrate:\nno such table"},
		{"a hook failed, and no log is kept", ran, reconcile.OutcomeFailed, promotion.RollbackFailed, ""},
		{"the bundle is gone", fmt.Errorf("read the failed release: %w", state.ErrNoBundle), reconcile.OutcomeFailed, promotion.RollbackFailed, ""},
		{"the cluster is away", fault.Retryable("get", "x", errors.New("connection refused")), reconcile.OutcomeRetry, promotion.ClusterUnavailable, ""},
		{"it was called off", context.Canceled, reconcile.OutcomeInterrupted, "", ""},
	} {
		end := undoEnded(test.err)
		if end.result.Outcome != test.outcome || end.result.Reason != test.reason || end.log != test.log {
			t.Errorf("%s: %s %s with the log %q; want %s %s with %q", test.name, end.result.Outcome, end.result.Reason, end.log, test.outcome, test.reason, test.log)
		}
		if strings.Contains(end.note, "no such table") || test.reason == promotion.RollbackFailed && !strings.Contains(end.note, "half rolled back") {
			t.Errorf("%s: says %q", test.name, end.note)
		}
	}
}

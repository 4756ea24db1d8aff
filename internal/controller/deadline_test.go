package controller

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"chaperone.dev/chaperone/internal/fault"
	"chaperone.dev/chaperone/internal/promotion"
	"chaperone.dev/chaperone/internal/reconcile"
)

// What was not ready when the time of the apply was over fails the release: it
// is taken back, quarantined, and told in the words of what it waited for. A
// cluster that does not answer fails nothing.
func TestApplyThatDoesNotEndInTimeIsTakenBack(t *testing.T) {
	t.Parallel()
	const sentence = "not ready within the apply's 30m0s: 0 of 1 available"
	for _, test := range []struct {
		name  string
		err   error
		stage reconcile.Stage
		done  bool // it has failed, for good
	}{
		{"not ready", fault.Terminal("wait", "Deployment.apps/demo/db", errors.New(sentence)), reconcile.StageRestoring, true},
		{"no answer", fault.Retryable("wait", "Deployment.apps/demo/db", errors.New("the API server does not answer")), reconcile.StageApplying, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				store := stored(reconcile.StageNone)
				store.record.Journal.Attempt = reconcile.Attempt{}
				c := replica(t, store, &actor{apply: test.err})
				next := reconcile.Release{Revision: revision(2), Digest: "next"}
				act(t.Context(), c, reconcile.ActionApply, next)
				j := store.record.Journal
				if j.Attempt.Stage != test.stage || slices.Contains(j.Quarantine, "next") != test.done {
					t.Errorf("the journal is at %q, quarantine %v; want %q, quarantined: %v", j.Attempt.Stage, j.Quarantine, test.stage, test.done)
				}
				if !test.done {
					if j.Retry.Reason != promotion.ClusterUnavailable || len(store.releases) > 0 {
						t.Errorf("retry because of %q, releases %+v; want ClusterUnavailable and none", j.Retry.Reason, store.releases)
					}
					return
				}
				if len(store.releases) != 1 || store.releases[0].Reason != promotion.ApplyFailed || !strings.Contains(store.releases[0].Evidence, sentence) {
					t.Errorf("releases %+v, want one that tells %q", store.releases, sentence)
				}
			})
		})
	}
}

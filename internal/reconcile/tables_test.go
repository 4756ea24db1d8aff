package reconcile

import "testing"

// reporter is the part of testing.T that a table needs: with a guard taken away
// the same tables have to fail.
type reporter interface {
	Helper()
	Error(args ...any)
	Errorf(format string, args ...any)
}

// tables are all checks but the walk, cheap ones.
var tables = []struct {
	name string
	run  func(reporter)
}{
	{"decisions", decisions},
	{"verdicts are asked for again", verdictsAreAskedForAgain},
	{"verdicts end with what they looked at", verdictsEndWithWhatTheyLookedAt},
	{"downstream gets only what upstream verified", downstreamGetsOnlyWhatUpstreamVerified},
	{"what fails upstream now is not verified there", whatFailsUpstreamNowIsNotVerifiedThere},
	{"what fails upstream since goes no further", whatFailsUpstreamSinceGoesNoFurther},
	{"policies", policyRows},
	{"holds", heldRows},
	{"approvals", approvalRows},
	{"signatures", signatureRows},
	{"override", overrideRows},
	{"a freeze in each stage", freezeRows},
	{"a rewritten history in each stage", rewrittenRows},
	{"breaker", breakerRows},
	{"windows", windowRows},
	{"schedule", scheduleRows},
	{"soak", soakRows},
	{"between two tries", retryRows},
	{"every search", searches},
	{"what passed is watched", watchRows},
	{"promotion", proposalRows},
	{"outcomes", outcomeRows},
	{"drift beside a prune that waits", unprunedRows},
	{"a correction beside a prune that waits", correctedRows},
	{"guilt", guiltRows},
	{"search", searchRows},
	{"error and no-data hold and never revert", errorAndNoDataHoldAndNeverRevert},
}

func TestTables(t *testing.T) {
	t.Parallel()
	for _, table := range tables {
		t.Run(table.name, func(t *testing.T) {
			t.Parallel()
			table.run(t)
		})
	}
}

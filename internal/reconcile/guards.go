package reconcile

// guard names one condition that keeps something from happening. The proof
// that each is needed takes them away one by one; see guard_off.go.
type guard string

// The guards.
const (
	guardRewritten    guard = "a rewritten history holds"
	guardQuarantine   guard = "quarantine"
	guardDeny         guard = "a denied release waits"
	guardVerdict      guard = "a release without a verdict waits"
	guardPolicyDigest guard = "a verdict counts for the policies in force"
	guardUpstream     guard = "upstream verifies first"
	guardSoak         guard = "soak"
	guardApproval     guard = "approval"
	guardIrreversible guard = "irreversible releases into patients' data are approved"
	guardFreeze       guard = "nothing starts in a freeze"
	guardWindow       guard = "changes start in their windows"
	guardSchedule     guard = "changes start on schedule"
	guardPause        guard = "pause"
	guardStill        guard = "no prune, revert, correction or promotion in a freeze"
	guardHold         guard = "hold"
	guardBreaker      guard = "not more reverts in a day than allowed"
	guardHeldProposal guard = "no promotion while held"

	guardUnverify          guard = "what fails is no longer verified"
	guardQuarantined       guard = "what fails is quarantined"
	guardIrreversibleHold  guard = "what cannot be taken back is not"
	guardErrorIsNoFailure  guard = "a check in error fails nothing"
	guardNoDataIsNoFailure guard = "a check without data fails nothing"
	guardProven            guard = "last good passes before a commit is blamed"
	guardRevertDisabled    guard = "onFailure: hold reverts nothing"
	guardServed            guard = "a retry is granted once"
	guardProbe             guard = "a probe deploys just what its commit made"
	guardNarrowGood        guard = "what passed is no suspect"
	guardNarrowBad         guard = "what comes after a failing commit is no suspect"
	guardBisect            guard = "one of several suspects is not guilty unproven"
)

package reconcile

// guard names one condition that keeps something from happening. The proof
// that each is needed takes them away one by one; see guard_off.go.
type guard string

// What may run.
const (
	guardRewritten    guard = "a rewritten history holds"
	guardQuarantine   guard = "what failed is not applied again"
	guardDeny         guard = "a denied release waits"
	guardVerdict      guard = "a release without a verdict waits"
	guardPolicyDigest guard = "a verdict counts for the policies in force"
	guardNoPolicy     guard = "without policies nothing runs"
	guardFresh        guard = "a verdict counts for a time"
	guardCompared     guard = "what cannot be taken back is judged from the last good of now"
	guardUpstream     guard = "upstream verifies first"
	guardFanIn        guard = "all upstream environments, not one of them"
	guardRegressed    guard = "nor goes on what fails upstream since it passed"
	guardForgotten    guard = "nor what was not well again before something newer came"
	guardSoak         guard = "upstream has run it for a time"
	guardApproval     guard = "a person has agreed"
	guardSigned       guard = "what a release brings is signed by somebody known"
	guardIrreversible guard = "what cannot be taken back enters patients' data approved"
	guardFreeze       guard = "in a freeze nothing is begun"
	guardWindow       guard = "changes start in their windows"
	guardSchedule     guard = "changes start on schedule"
	guardGrace        guard = "a time of the schedule passes"
	guardOnce         guard = "a time of the schedule starts one release"
	guardBetween      guard = "what lies between last good and what failed is not taken instead"
	guardPending      guard = "a newer commit is judged before an older is taken"
	guardSource       guard = "nothing new begins while the source cannot be read"
)

// What may be done.
const (
	guardPause       guard = "nothing is done while paused"
	guardInvalid     guard = "an invalid file stops its environment"
	guardRemoved     guard = "an environment without a file stays as it is"
	guardMoved       guard = "what runs in the old place is let go first"
	guardBusy        guard = "one effect at a time"
	guardBackoff     guard = "what was tried a moment ago waits"
	guardHold        guard = "what is held waits"
	guardFinish      guard = "what was begun is finished unless it is stuck"
	guardUndo        guard = "what was done to the data is undone before last good runs"
	guardHalfUndone  guard = "over data that are half undone nothing is put"
	guardCarriesOn   guard = "nothing is applied over a migration that it does not have"
	guardRestore     guard = "a restore is finished unless last good cannot be applied"
	guardUndecided   guard = "what was begun waits for its verdict"
	guardAdvance     guard = "a denied release is not taken for last good"
	guardCorrect     guard = "drift is put back only to what is allowed"
	guardPruneFirst  guard = "a prune whose time has come goes before a correction"
	guardUncorrected guard = "what could not be corrected waits for the next try of the prune"
	guardUnpruned    guard = "a correction forgets no prune"
	guardReport      guard = "drift is only reported where the file says so"
	guardStuck       guard = "a failed release that cannot be taken back stays"
	guardNoWayBack   guard = "nor is it taken back for an older commit while it is judged"
	guardServed      guard = "a retry is granted once"
	guardAccept      guard = "a retry accepts a rewritten history only where that is what it is about"
	guardBreaker     guard = "not more reverts in a day than allowed"
	guardDay         guard = "and a day has 24 hours"
)

// What an outcome means.
const (
	guardUnverify          guard = "what fails is no longer verified"
	guardQuarantined       guard = "what fails is quarantined"
	guardIrreversibleHold  guard = "what cannot be taken back is not"
	guardErrorIsNoFailure  guard = "a check in error fails nothing"
	guardNoDataIsNoFailure guard = "a check without data fails nothing"
	guardInterrupted       guard = "an interrupted check says nothing"
	guardLate              guard = "a verdict counts for what is being verified"
	guardTouched           guard = "a refused release is taken back where part of it may stand"
	guardSame              guard = "only the same content is verified without checks"
	guardProven            guard = "last good passes before a commit is blamed"
	guardRevertDisabled    guard = "onFailure: hold reverts nothing"
	guardForwardWhole      guard = "programs of last good are not put beside data that they do not know"
	guardLastStep          guard = "what passed is verified with its last step"
	guardSameCourse        guard = "a step is gone on to only from the one before it"
)

// What is watched after it passed.
const (
	guardWatchYields guard = "a look at what passed keeps nothing waiting"
	guardWatchTied   guard = "a late failure is the release's where what it did not change is well"
	guardWatchSoon   guard = "what passed long ago is not taken back"
)

// Who is guilty.
const (
	guardBisect     guard = "one of several suspects is not guilty unproven"
	guardProbe      guard = "a probe deploys just what its commit made"
	guardNarrowGood guard = "what passed is no suspect"
	guardNarrowBad  guard = "what comes after a failing commit is no suspect"
	guardMixed      guard = "what holds a commit taken back later tells nothing"
	guardUntested   guard = "what could not be deployed is not tried again"
	guardUnapplied  guard = "what could not be applied is not known to fail"
	guardTakenBack  guard = "what was taken back is no suspect"
	guardBlameOnce  guard = "what is being taken back is not taken back again"
	guardOtherCause guard = "what was taken back before is not why a release fails"
)

// What is promoted.
const (
	guardRevertSeen      guard = "a revert is seen before anything newer starts"
	guardHeldProposal    guard = "no promotion while held"
	guardProposeRelease  guard = "only what may run is proposed"
	guardProposeUpstream guard = "only what upstream verified is proposed"
	guardPinKnown        guard = "nothing is proposed before the pin is known"
	guardUnsure          guard = "an open promotion is not withdrawn for a passing cause"
)

package promotion

import (
	"maps"
	"slices"
)

// Reason is the one word for why an environment is where it is. The same word
// stands in status, logs, metric labels, Events, the ledger and on the page.
type Reason string

// Reasons that come from the source.
const (
	// InvalidEnvironment: the environment's file does not decode; it keeps what it runs.
	InvalidEnvironment Reason = "InvalidEnvironment"
	// DependencyCycle: the `after` fields of a pipeline lead in a circle.
	DependencyCycle Reason = "DependencyCycle"
	// UnknownEnvironment: an `after` field names an environment that has no file.
	UnknownEnvironment Reason = "UnknownEnvironment"
	// TargetMoved: the file names another namespace or cluster than it runs in.
	TargetMoved Reason = "TargetMoved"
	// UnreadableRecord: what the daemon stored about the environment cannot be read.
	UnreadableRecord Reason = "UnreadableRecord"
	// SourceUnavailable: Git cannot be reached or refuses the credentials.
	SourceUnavailable Reason = "SourceUnavailable"
	// BranchGone: Git answers, and has no such branch.
	BranchGone Reason = "BranchGone"
	// HistoryRewritten: what runs is no longer an ancestor of the branch's head.
	HistoryRewritten Reason = "HistoryRewritten"
)

// Reasons that come from judging a release.
const (
	// Evaluating: it is being rendered and judged.
	Evaluating Reason = "Evaluating"
	// UnknownRevision: the pin is not a commit of the source.
	UnknownRevision Reason = "UnknownRevision"
	// RenderFailed: kustomize could not build the environment's path.
	RenderFailed Reason = "RenderFailed"
	// EmptyRender: the build succeeded and held no object; never taken for "delete all".
	EmptyRender Reason = "EmptyRender"
	// StrategyImpossible: the release cannot come the way the file's strategies ask for.
	StrategyImpossible Reason = "StrategyImpossible"
	// PolicyDenied: a rule denies the release.
	PolicyDenied Reason = "PolicyDenied"
	// PolicyError: a rule could not be evaluated, which counts as deny.
	PolicyError Reason = "PolicyError"
	// WaitingForUpstream: an `after` environment has not verified this yet, or it
	// fails its checks there since.
	WaitingForUpstream Reason = "WaitingForUpstream"
	// WaitingForPromotion: no pin yet; the first promotion is not merged.
	WaitingForPromotion Reason = "WaitingForPromotion"
	// PromotionRejected: the promotion branch cannot be pushed, or has other people's commits.
	PromotionRejected Reason = "PromotionRejected"
	// UnverifiedRevision: the pin points at something that upstream never verified.
	UnverifiedRevision Reason = "UnverifiedRevision"
	// Soaking: upstream verified it, and not for long enough.
	Soaking Reason = "Soaking"
	// WaitingForSchedule: it starts when the schedule fires next.
	WaitingForSchedule Reason = "WaitingForSchedule"
	// OutsideWindow: none of the environment's windows is open.
	OutsideWindow Reason = "OutsideWindow"
	// Frozen: a freeze is on; nothing is applied, promoted or reverted.
	Frozen Reason = "Frozen"
	// ApprovalRequired: a person must approve, and not the one who made the change.
	ApprovalRequired Reason = "ApprovalRequired"
	// SignatureRequired: a commit that brings the release is not signed by anybody known.
	SignatureRequired Reason = "SignatureRequired"
	// SignersUnreadable: the keys that signatures are held against cannot be read.
	SignersUnreadable Reason = "SignersUnreadable"
	// IrreversibleUnapproved: it cannot be taken back, and nobody agreed to that.
	IrreversibleUnapproved Reason = "IrreversibleUnapproved"
	// Overridden: a reviewed `Chaperone-Override` opened gates that were closed.
	Overridden Reason = "Overridden"
	// Quarantined: this digest failed here before.
	Quarantined Reason = "Quarantined"
	// Retrying: a person lifted a quarantine or a hold.
	Retrying Reason = "Retrying"
	// Paused: a person asked that nothing happens.
	Paused Reason = "Paused"
)

// Reasons that come from putting a release on its cluster.
const (
	// Applying: changes are being made.
	Applying Reason = "Applying"
	// ApplyRejected: the dry run was refused, so nothing was touched.
	ApplyRejected Reason = "ApplyRejected"
	// ApplyFailed: the apply stopped part of the way.
	ApplyFailed Reason = "ApplyFailed"
	// Verifying: applied; the checks are running.
	Verifying Reason = "Verifying"
	// VerificationFailed: a check answered `fail`.
	VerificationFailed Reason = "VerificationFailed"
	// VerificationError: a check could not be asked.
	VerificationError Reason = "VerificationError"
	// VerificationNoData: a check was asked and had nothing to go by.
	VerificationNoData Reason = "VerificationNoData"
	// Pruning: verified; what Git no longer has is being deleted.
	Pruning Reason = "Pruning"
	// MassDeletion: the release would delete more than its share of the inventory.
	MassDeletion Reason = "MassDeletion"
	// InventoryRebuilt: what the environment owns was lost sight of, and a person has to agree to deletions.
	InventoryRebuilt Reason = "InventoryRebuilt"
	// ConflictingOwner: an object belongs to another environment or tool.
	ConflictingOwner Reason = "ConflictingOwner"
	// ClusterUnavailable: the API server cannot be reached or refuses the credentials.
	ClusterUnavailable Reason = "ClusterUnavailable"
	// DriftUnknown: what is on the cluster could not be compared with what should be there.
	DriftUnknown Reason = "DriftUnknown"
	// Drifted: owned fields were changed on the cluster.
	Drifted Reason = "Drifted"
	// Correcting: drift is being put back.
	Correcting Reason = "Correcting"
	// CorrectionRejected: what was changed on the cluster cannot be put back: it is refused.
	CorrectionRejected Reason = "CorrectionRejected"
	// Contended: somebody else keeps changing back what is corrected.
	Contended Reason = "Contended"
	// Regressed: what passed verification fails its checks since.
	Regressed Reason = "Regressed"
	// Moving: the environment is letting go of its old place, or taking over from its old name.
	Moving Reason = "Moving"
)

// Reasons that come from taking a release back.
const (
	// Restoring: last good is being applied again.
	Restoring Reason = "Restoring"
	// RollingBack: the rollback hooks of what failed run, before last good is applied again.
	RollingBack Reason = "RollingBack"
	// RollbackFailed: a rollback hook failed, or nobody knows how it ended.
	RollbackFailed Reason = "RollbackFailed"
	// RestoreFailed: last good could not be applied or did not verify.
	RestoreFailed Reason = "RestoreFailed"
	// NoLastGood: nothing ever verified here, so there is nothing to restore.
	NoLastGood Reason = "NoLastGood"
	// SeveralSuspects: more than one commit may be guilty.
	SeveralSuspects Reason = "SeveralSuspects"
	// Bisecting: the commits between are deployed in turn, to find the guilty one.
	Bisecting Reason = "Bisecting"
	// NoSuspect: no commit since last good changed this environment.
	NoSuspect Reason = "NoSuspect"
	// Reverting: the revert is being written and pushed.
	Reverting Reason = "Reverting"
	// Reverted: the guilty commit was taken back in Git.
	Reverted Reason = "Reverted"
	// RevertConflict: later commits changed the same lines.
	RevertConflict Reason = "RevertConflict"
	// RevertRejected: the source does not take the revert.
	RevertRejected Reason = "RevertRejected"
	// RevertOfRevert: the suspect is itself a revert, or was reverted before.
	RevertOfRevert Reason = "RevertOfRevert"
	// RevertDisabled: the environment says `onFailure: hold`.
	RevertDisabled Reason = "RevertDisabled"
	// TooManyReverts: the environment had its share of reverts for a day.
	TooManyReverts Reason = "TooManyReverts"
	// IrreversibleFailed: it failed, and what it did cannot be taken back.
	IrreversibleFailed Reason = "IrreversibleFailed"
)

// Reasons of rest.
const (
	// UpToDate: what runs is what is wanted, and it verified.
	UpToDate Reason = "UpToDate"
	// Removed: the environment's file is gone from the branch.
	Removed Reason = "Removed"
)

// Explain is one sentence for people, without the particulars of a case.
func (r Reason) Explain() string { return reasons[r].explain }

// Unblock says who can change it, and how.
func (r Reason) Unblock() string { return reasons[r].unblock }

// Reasons lists every reason, sorted.
func Reasons() []Reason { return slices.Sorted(maps.Keys(reasons)) }

type reasonText struct{ explain, unblock string }

//lint:long because it is one table, and splitting it would hide a reason without its text
var reasons = map[Reason]reasonText{
	InvalidEnvironment: {
		"The environment's file is not valid, so the environment keeps what it runs.",
		"A developer: correct the file at the lines named, on the branch."},
	DependencyCycle: {
		"The pipeline's `after` fields lead in a circle, so nothing in it has a first place.",
		"A developer: remove one `after` of the circle named, on the branch."},
	UnknownEnvironment: {
		"An `after` field names an environment that has no file in this pipeline.",
		"A developer: correct the name, or add the environment's file, on the branch."},
	TargetMoved: {
		"The file names another namespace or cluster than the environment runs in; it keeps what it runs, where it runs.",
		"A developer: put `target` back, and make a new environment for the new place; or write `target.previous: leave`, which lets go of what runs in the old place."},
	UnreadableRecord: {
		"What the daemon stored about the environment was changed so that it cannot be read; the environment keeps what it runs.",
		"An operator: put the Environment object back as it was, from a backup, or delete it while the daemon is stopped to begin anew."},
	SourceUnavailable: {
		"Git cannot be reached or refuses the daemon's credentials, so everything stays as it is.",
		"An operator: check the network, the address and the credentials of the source; it is tried again by itself."},
	BranchGone: {
		"Git answers, and has no branch of the configured name, so everything stays as it is.",
		"An operator: restore the branch, or correct `source.branch` in the daemon's configuration."},
	HistoryRewritten: {
		"What runs is no longer an ancestor of the branch's head, as after a force-push.",
		"A developer: bring the old commits back into the branch, with a merge where it has moved on."},
	Evaluating: {
		"The release is being rendered and judged by the policies.",
		"Nobody needs to: it ends by itself."},
	UnknownRevision: {
		"The revision that the environment is pinned to is not a commit of the source's branch.",
		"A developer: set `revision` to a full commit hash of the followed branch."},
	RenderFailed: {
		"Kustomize could not build the environment's path at this revision.",
		"A developer: correct the files named; `chaperone render` shows the same error locally."},
	EmptyRender: {
		"The build holds no object, which is never taken for an order to delete everything.",
		"A developer: correct the kustomization; to retire the environment, remove its file under environments/."},
	StrategyImpossible: {
		"The release cannot come in the steps that the strategies of the environment's file ask for.",
		"A developer: correct the object or the strategy named, on the branch."},
	PolicyDenied: {
		"A policy rule denies the release.",
		"A developer: correct the objects named; or the security team: grant an exception that expires."},
	PolicyError: {
		"A policy rule could not be evaluated, which counts as deny.",
		"The security team: correct the rule; `chaperone check` shows the same error."},
	WaitingForUpstream: {
		"An environment in `after` has not verified this release yet, or the release fails its checks there since.",
		"Nobody needs to, while upstream makes progress; otherwise whoever its own reason names."},
	WaitingForPromotion: {
		"The environment is promoted by pull request, and its first promotion is not merged yet.",
		"A reviewer: merge a commit that sets `spec.revision` to a revision that upstream verified."},
	PromotionRejected: {
		"The source does not take the promotion branch, or the branch has commits that are not the daemon's, which it never overwrites.",
		"An operator: allow the daemon to push `chaperone/promote/`; or a developer: merge or delete the branch named."},
	SignatureRequired: {
		"The environment requires signed commits, and one that brings the release is not signed by anybody known.",
		"A developer: take the commit named back and bring it again, in commits that are signed; or an operator: list the signer's key (`signers`)."},
	SignersUnreadable: {
		"The environment requires signed commits, and whether they are cannot be told.",
		"An operator: mend the file of keys that is named (`signers`), which is read again by itself."},
	UnverifiedRevision: {
		"The pin points at a revision that upstream never verified.",
		"A developer: pin a revision that upstream verified; `chaperone why` shows what differs."},
	Soaking: {
		"Upstream verified the release, and has not run it for as long as `promotion.soak` asks.",
		"Nobody needs to: it goes on by itself when the time named is over."},
	WaitingForSchedule: {
		"The environment changes on its schedule, and that has not fired since this release became ready.",
		"Nobody needs to: it starts at the time named; or a developer: merge a commit with the trailer `Chaperone-Urgent: true`, which starts at once."},
	OutsideWindow: {
		"Changes may start only while one of the environment's windows is open, and none is.",
		"Nobody needs to: it starts when the next window opens, at the time named."},
	Frozen: {
		"A freeze is on, so nothing is applied, promoted or reverted here; restores still are.",
		"Nobody needs to: it goes on by itself when the freeze ends; or a reviewer: merge a commit that shortens it."},
	ApprovalRequired: {
		"A person who may approve, and who did not make the change, has not approved this release yet.",
		"A reviewer: one of those in `promotion.approval.from` merges the commit that moves the pin to this revision."},
	IrreversibleUnapproved: {
		"The release does what cannot be taken back, and nobody approved that for this environment.",
		"A reviewer: approve it by moving the pin to this revision; or a developer: make the change one that can be taken back."},
	Overridden: {
		"A reviewed `Chaperone-Override` opened gates that were closed; policy, quarantine, freeze and pause stay as they are.",
		"Nobody needs to: it goes on by itself; the override is recorded with who gave it and why."},
	Quarantined: {
		"This release failed verification here before, and is not tried again by itself.",
		"A developer: merge a fix; any commit that changes what this environment renders is tried; or an operator: `chaperone retry` lifts it once."},
	Retrying: {
		"A person asked to try again what was quarantined or held.",
		"Nobody needs to: it goes on by itself; who asked is recorded."},
	Paused: {
		"A person asked that nothing happens here.",
		"An operator: `chaperone resume` ends the pause; one with an end ends by itself at the time named."},
	Applying: {
		"The release is being applied.",
		"Nobody needs to: it goes on by itself."},
	ApplyRejected: {
		"The API server, or a guard of the environment, refused the release before anything was touched.",
		"A developer: correct the objects named; or an operator: grant the environment's service account what it lacks."},
	ApplyFailed: {
		"The apply stopped before it was complete; what is missing is applied by the next pass.",
		"Nobody needs to, while passes make progress; otherwise an operator: look at the object named."},
	Verifying: {
		"The release is applied, and its checks are running.",
		"Nobody needs to: it ends by itself within `verify.timeout` and `verify.settle`."},
	VerificationFailed: {
		"A check gave a definite no to what this release changed.",
		"A developer: merge a fix; until then the environment runs what it verified last."},
	VerificationError: {
		"A check could not be asked, which neither passes nor reverts anything.",
		"An operator: make the check's address reachable from the daemon; it is asked again by itself."},
	VerificationNoData: {
		"A check was asked and had nothing to go by, which neither passes nor reverts anything.",
		"A developer: correct the check, or give it data; it is asked again by itself."},
	Pruning: {
		"The release is verified, and what Git no longer has is being deleted.",
		"Nobody needs to: it goes on by itself; an object that does not go is named."},
	MassDeletion: {
		"The release would delete more of the environment's objects, or a larger share, than it may at once.",
		"A developer: restore what was dropped by mistake; or an operator: raise `maxDeletePart` or `maxDeletes` for this change."},
	InventoryRebuilt: {
		"The inventory of the environment was lost and is rebuilt from the marks on its objects; marks can be copied, so what is not rendered any more is kept until a person agrees.",
		"An operator: look at `chaperone diff`, and agree to the deletions with the command named; or write `chaperone.dev/prune: never` on what is to stay."},
	ConflictingOwner: {
		"An object belongs to another environment or tool, and is not taken from it.",
		"A developer: rename the object here, remove it from its other owner, or name the tool that applied it in `adopt`."},
	ClusterUnavailable: {
		"The cluster's API server cannot be reached or refuses the credentials, so everything stays as it is.",
		"An operator: check the network and the kubeconfig Secret; it is tried again by itself."},
	DriftUnknown: {
		"What is on the cluster cannot be compared with what verified last, so nobody would see it change.",
		"An operator: put right what is named; it is compared again by itself."},
	Drifted: {
		"Fields that this environment owns were changed on the cluster.",
		"A developer: commit the change, or an operator: undo it; `drift: correct` would put it back by itself."},
	Correcting: {
		"Fields that were changed on the cluster are being put back.",
		"Nobody needs to: it goes on by itself."},
	CorrectionRejected: {
		"What this environment owns was changed on the cluster, and putting it back is refused; the rest of it is put back.",
		"An operator: put right what the answer names, such as a namespace that is gone, a policy of the cluster or a quota; it is tried again by itself."},
	Contended: {
		"Somebody else keeps changing fields that this environment owns, or keeps an object from going, so that is reported and no longer corrected.",
		"An operator: stop one of the two managers named, or see to what the finalizer named waits for; or a developer: take the fields out of the manifest, or name them in `ignoreDrift`."},
	Regressed: {
		"What runs passed verification and fails its checks since; nothing ties that to the release, or it is too long ago, so it is not taken back.",
		"An operator: look at the check named; it is asked again by itself, and nothing goes on from here to the environments after it until it is well or `chaperone retry` lets it. Or a developer: revert or fix what causes it."},
	Moving: {
		"The environment is letting go of what it ran in its old place, or taking over what it ran under its old name.",
		"Nobody needs to: it goes on by itself; an object that cannot be taken over is named."},
	Restoring: {
		"The release failed, and what verified last is being applied again.",
		"Nobody needs to: it goes on by itself, also without Git."},
	RollingBack: {
		"The release failed, and its rollback hooks undo what its migrations did, before what verified last is applied again.",
		"Nobody needs to: it goes on by itself, also without Git."},
	RollbackFailed: {
		"A rollback hook of the failed release failed, or is gone without a result: what the data look like is not known, so neither what verified last nor anything newer is put over them.",
		"An operator: look at the data and put them right; then `chaperone retry` runs once more what did not succeed, and what verified last is applied."},
	RestoreFailed: {
		"What verified last could not be applied again, or no longer verifies.",
		"An operator: look at the object or check named; the cause lies outside this release."},
	NoLastGood: {
		"The release failed, and nothing ever verified here that could be restored.",
		"A developer: merge a fix."},
	SeveralSuspects: {
		"The release failed, and more than one commit since last good changed this environment.",
		"A developer: fix or revert the guilty one of the commits named; `chaperone revert COMMIT` writes the revert."},
	Bisecting: {
		"The release failed, and the commits between are deployed and verified in turn to find the guilty one.",
		"Nobody needs to: it ends by itself with the guilty commit; what is merged meanwhile comes after. An operator may end it with `chaperone retry`, which tries the newest again."},
	NoSuspect: {
		"The release failed, and no commit since last good changed this environment.",
		"An operator: look outside Git, at the cluster or at what the checks depend on."},
	Reverting: {
		"The guilty commit is being taken back in Git.",
		"Nobody needs to: it goes on by itself."},
	Reverted: {
		"The guilty commit was taken back in Git, and the environment runs what it verified last.",
		"A developer: bring the change back together with a fix, by reverting the revert."},
	RevertConflict: {
		"The guilty commit cannot be taken back by itself: later commits changed the same lines.",
		"A developer: resolve the paths named and revert by hand; the environment runs what it verified last."},
	RevertRejected: {
		"The source does not take the revert: the branch is protected, or the daemon may not push.",
		"An operator: allow the daemon to push; or a developer: push the revert that `chaperone revert COMMIT` writes."},
	RevertOfRevert: {
		"The guilty commit is itself a revert, or was reverted before; the daemon does neither twice.",
		"A developer: decide which of the two commits named is right, and merge a fix."},
	RevertDisabled: {
		"The environment says `onFailure: hold`, so Git is left as it is.",
		"A developer: merge a fix or a revert; the environment runs what it verified last."},
	TooManyReverts: {
		"The daemon reverted as many commits for this environment within a day as `maxRevertsPerDay` allows, so it reverts no more.",
		"A developer: find out why changes keep failing, and merge a fix; a day after the first of these reverts the daemon may revert again."},
	IrreversibleFailed: {
		"The release failed, and what it did cannot be taken back, so nothing is reverted by itself.",
		"A developer: merge a fix that goes forward; or an operator: restore the data by hand, and revert."},
	UpToDate: {
		"What runs is what is wanted, and it verified.",
		"Nobody needs to: nothing is held."},
	Removed: {
		"The environment's file is gone from the branch; what it ran is left as it is.",
		"A developer: restore the file; or an operator: delete what it ran by hand."},
}

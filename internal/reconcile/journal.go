package reconcile

import (
	"time"

	"chaperone.dev/chaperone/internal/promotion"
	"chaperone.dev/chaperone/internal/source"
)

// Journal is the part of the world that outlives the daemon. It is written
// before each effect (Begin) and after it (Observe).
type Journal struct {
	Running    Release    `json:"running,omitzero"`     // last applied, or begun to be
	LastGood   Release    `json:"lastGood,omitzero"`    // newest verified
	Verified   []Verified `json:"verified,omitempty"`   // newest first, bounded
	Attempt    Attempt    `json:"attempt,omitzero"`     // what is under way
	Quarantine []Digest   `json:"quarantine,omitempty"` // newest first, bounded
	Unapplied  []Digest   `json:"unapplied,omitempty"`  // of these, those whose apply failed
	Hold       Hold       `json:"hold,omitzero"`
	Retry      Retry      `json:"retry,omitzero"`
	LastRevert Revert     `json:"lastRevert,omitzero"`
	// Search is the hunt for the guilty commit among several.
	Search   Search      `json:"search,omitzero"`
	Undo     Undo        `json:"undo,omitzero"`     // what has to be undone before last good may run again
	Reverts  []time.Time `json:"reverts,omitempty"` // newest first, bounded: the breaker counts them
	Proposal Proposal    `json:"proposal,omitzero"`
	// Run is the newest time of the schedule that a release was started for.
	Run    Run    `json:"run,omitzero"`
	Served string `json:"served,omitempty"` // the last retry request that was granted
	Branch string `json:"branch,omitempty"` // that last good was on
	// Watched is what passed here last, as long as it is looked at.
	Watched Watched `json:"watched,omitzero"`
	// Overridden is what a break-glass override let in; pages show it in red for
	// as long as it runs.
	Overridden Digest          `json:"overridden,omitempty"`
	Accepted   source.Revision `json:"accepted,omitempty"` // last good that a person let go from the branch's history
}

// Verified is a release that passed verification here.
type Verified struct {
	Release
	At time.Time `json:"at"`
}

// Stage is how far an attempt has come. Each is journaled before its effect,
// so that whoever reads it after a crash knows what may have happened.
type Stage string

// The stages of an attempt, in the order of a failing one.
const (
	StageNone       Stage = ""
	StageApplying   Stage = "applying"
	StageVerifying  Stage = "verifying"
	StagePruning    Stage = "pruning"
	StageUndoing    Stage = "undoing" // the failed release's rollback hooks run
	StageRestoring  Stage = "restoring"
	StageProving    Stage = "proving" // last good runs again: does it pass its checks?
	StageBlaming    Stage = "blaming"
	StageBisecting  Stage = "bisecting" // between two probes
	StageReverting  Stage = "reverting"
	StageCorrecting Stage = "correcting"
)

// Attempt is one release on its way.
type Attempt struct {
	Release Release          `json:"release,omitzero"`
	Stage   Stage            `json:"stage,omitempty"`
	Tries   int              `json:"tries,omitempty"`   // of the apply; above 1 the cluster may have been touched
	Failure promotion.Reason `json:"failure,omitempty"` // why it is being taken back
	Guilty  source.Revision  `json:"guilty,omitempty"`
	Started time.Time        `json:"started,omitzero"`
	// Since is when the first attempt of those began that followed each other without
	// a verdict: what was measured before is of Before.
	Since time.Time `json:"since,omitzero"`
	// Irreversible: it cannot be taken back, so its failure waits for a person.
	Irreversible bool `json:"irreversible,omitempty"`
	Override     bool `json:"override,omitempty"` // break-glass let it in
	// Before is what ran, and Held what it was held for, when it began: so it still
	// is where the dry run refuses it.
	Before Release `json:"before,omitzero"`
	Held   Hold    `json:"held,omitzero"`
	Undo   Undo    `json:"undo,omitzero"`    // as it was before
	Probe  bool    `json:"probe,omitempty"`  // one of the commits between last good and what failed
	Proven bool    `json:"proven,omitempty"` // last good passed again after the failure
	// Regressed is when it had passed, and Found when it was seen to fail since.
	Regressed time.Time `json:"regressed,omitzero"`
	Found     time.Time `json:"found,omitzero"`
	Tied      bool      `json:"tied,omitempty"` // what it did not change was well meanwhile
	// Step is the one of Course that is under way, from 1; 0 where there is but one.
	Step     int       `json:"step,omitempty"`
	Course   Course    `json:"course,omitzero"`
	Reached  time.Time `json:"reached,omitzero"` // all of the step was applied
	Replicas Replicas  `json:"replicas,omitempty"`
}

// Watched is last good while its checks go on.
type Watched struct {
	Digest Digest    `json:"digest,omitempty"`
	Begun  time.Time `json:"begun,omitzero"` // its attempt: what was measured before is without it
	Since  time.Time `json:"since,omitzero"` // it passed
	// Before is what passed before it, which is gone back to.
	Before Release `json:"before,omitzero"`
	// Irreversible: it cannot be taken back, or not without what its migrations hold
	// since, so a late failure only alarms.
	Irreversible bool             `json:"irreversible,omitempty"`
	Alarm        promotion.Reason `json:"alarm,omitempty"` // why the last look was not well
	// Accepted: a person let it go on downstream for all that, until it is well.
	Accepted bool `json:"accepted,omitempty"`
}

// Suspect is a commit that changed an environment, and what it made of it.
type Suspect struct {
	Revision source.Revision `json:"revision"`
	Digest   Digest          `json:"digest"`
	// Mixed: it holds a commit that was taken back later, so that deploying it
	// tells nothing.
	Mixed bool `json:"mixed,omitempty"`
}

// Search is the hunt for the guilty commit: the oldest suspect came after last
// good, the newest is what failed, and what lies between is deployed. Which may
// still be guilty, SuspectsLeft says.
type Search struct {
	Failed   Release   `json:"failed,omitzero"`    // the release that failed first
	Started  time.Time `json:"started,omitzero"`   // when it was
	Suspects []Suspect `json:"suspects,omitempty"` // oldest first
	Failing  []Digest  `json:"failing,omitempty"`  // probes that failed verification
	Untested []Digest  `json:"untested,omitempty"` // could not be deployed
}

// Proposal is the release that the promotion branch proposes.
type Proposal struct {
	Revision source.Revision  `json:"revision,omitempty"`
	Digest   Digest           `json:"digest,omitempty"`
	File     string           `json:"file,omitempty"`   // Spec.File when it was made
	Commit   source.Revision  `json:"commit,omitempty"` // on the branch; "" while it is being pushed
	Refused  promotion.Reason `json:"refused,omitempty"`
	Tries    int              `json:"tries,omitempty"` // in vain
	Again    time.Time        `json:"again,omitzero"`  // not before
}

// Run is one start by the schedule.
type Run struct {
	At     time.Time `json:"at,omitzero"`
	Digest Digest    `json:"digest,omitempty"`
}

// Hold keeps an environment as it is until something other than Digest is wanted.
type Hold struct {
	Reason promotion.Reason `json:"reason,omitempty"`
	Digest Digest           `json:"digest,omitempty"`
}

// Retry is when something that may pass by itself is tried again.
type Retry struct {
	Reason promotion.Reason `json:"reason,omitempty"`
	Digest Digest           `json:"digest,omitempty"`
	At     time.Time        `json:"at,omitzero"`
	Tries  int              `json:"tries,omitempty"`
}

// Revert is the last commit that was taken back for this environment.
type Revert struct {
	Guilty source.Revision `json:"guilty,omitempty"`
	Commit source.Revision `json:"commit,omitempty"` // the revert; "" when it had been taken back already
	Digest Digest          `json:"digest,omitempty"` // what failed
	At     time.Time       `json:"at,omitzero"`
}

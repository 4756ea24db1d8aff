// Package reconcile is the decision core: from everything the daemon may know
// (World) it says what to do next and why (Decide), and folds what came of it
// back in (Begin before an effect, Observe after). All of it is pure: no
// clock, no I/O, no randomness; equal worlds give equal decisions. What must
// never happen is written down in one function, Violations, which every kind
// of test calls.
package reconcile

import (
	"time"

	"chaperone.dev/chaperone/internal/promotion"
	"chaperone.dev/chaperone/internal/source"
)

// Digest names rendered objects, or a policy bundle; "" means none.
type Digest string

// Release is what one environment runs or is to run.
type Release struct {
	Revision source.Revision `json:"revision,omitempty"`
	Digest   Digest          `json:"digest,omitempty"`
	Policy   Digest          `json:"policy,omitempty"` // the bundle that allowed it
}

// World is everything that Decide may know. Slices are not to be changed in
// place: worlds share them.
type World struct {
	Now          time.Time
	Head         source.Revision   // newest known commit of the branch; "" before the first poll
	History      []source.Revision // first-parent line from Head, newest first, bounded
	SourceFault  promotion.Reason  // SourceUnavailable, BranchGone… ; "" when Head is fresh
	Policy       Digest            // the bundle in force; "" when none could be loaded yet
	Environments []Environment     // ordered by ID
}

// Environment is one environment's part of the world.
type Environment struct {
	ID    promotion.ID
	Spec  Spec
	Fault promotion.Reason // its file, or its pipeline, is wrong: it stays as it is
	// Candidates are the releases that were evaluated for this environment.
	Candidates []Candidate
	Drifted    bool            // fields that we own were changed on the cluster
	Busy       ActionKind      // the effect under way; none is started beside it
	Evaluating source.Revision // the evaluation under way; it may go on beside an effect
	EvaluateAt time.Time       // not before: the last evaluation could not be done
	Journal    Journal
}

// Spec is the part of an environment file that decisions depend on.
type Spec struct {
	After     []promotion.ID
	Pinned    bool            // runs Pin, not the branch
	Pin       source.Revision // "" while it waits for its first promotion
	Soak      time.Duration
	OnFailure promotion.OnFailure
	Drift     promotion.Drift
	Paused    bool
}

// Verdict is the answer of the policies.
type Verdict uint8

// The policies' answers. Unknown never opens a gate.
const (
	VerdictUnknown Verdict = iota
	VerdictAllow
	VerdictDeny
	VerdictError
)

// Candidate is a release as evaluated: rendered, judged, and compared with
// what the upstream environments would run at the same revision.
type Candidate struct {
	Release  Release
	Fault    promotion.Reason // RenderFailed, EmptyRender, UnknownRevision…; then there is no digest
	Verdict  Verdict
	Upstream []Upstream // one for each of Spec.After
	// Until is when the verdict is to be asked for again though nothing changed:
	// exceptions end, and rules may look at the time. Zero is never.
	Until time.Time
}

// Upstream is what an upstream environment would run at a candidate's revision.
type Upstream struct {
	ID     promotion.ID
	Digest Digest // "" when it cannot be rendered there
}

// Journal is the part of the world that outlives the daemon. It is written
// before each effect (Begin) and after it (Observe).
type Journal struct {
	Running    Release    `json:"running,omitzero"`     // last applied, or begun to be
	LastGood   Release    `json:"lastGood,omitzero"`    // newest verified
	Verified   []Verified `json:"verified,omitempty"`   // newest first, bounded
	Attempt    Attempt    `json:"attempt,omitzero"`     // what is under way
	Quarantine []Digest   `json:"quarantine,omitempty"` // newest first, bounded
	Hold       Hold       `json:"hold,omitzero"`
	Retry      Retry      `json:"retry,omitzero"`
	LastRevert Revert     `json:"lastRevert,omitzero"`
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
	StageRestoring  Stage = "restoring"
	StageBlaming    Stage = "blaming"
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
}

// Bounds of the journal's lists: they live in one Kubernetes object.
const (
	maxVerified   = 50
	maxQuarantine = 100
)

func (e Environment) quarantined(d Digest) bool {
	for _, bad := range e.Journal.Quarantine {
		if bad == d {
			return true
		}
	}
	return false
}

// verifiedAt is when a digest passed here, if it did.
func (e Environment) verifiedAt(d Digest) (time.Time, bool) {
	for _, v := range e.Journal.Verified {
		if v.Digest == d {
			return v.At, true
		}
	}
	return time.Time{}, false
}

// settled reports whether what runs is what was last verified, and nothing is
// under way.
func (e Environment) settled() bool {
	j := e.Journal
	return j.Attempt.Stage == StageNone && j.Running.Digest != "" && j.Running.Digest == j.LastGood.Digest
}

// Find returns the environment with an ID.
func (w World) Find(id promotion.ID) (Environment, bool) {
	for _, e := range w.Environments {
		if e.ID == id {
			return e, true
		}
	}
	return Environment{}, false
}

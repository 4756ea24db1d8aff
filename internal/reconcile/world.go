// Package reconcile is the decision core: from everything the daemon may know
// (World) it says what to do next and why (Decide), and folds what came of it
// back in (Begin before an effect, Observe after). All of it is pure: no
// clock, no I/O, no randomness; equal worlds give equal decisions. What must
// never happen is written down in one function, Violations, which every kind
// of test calls.
package reconcile

import (
	"slices"
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
	Drifted    bool // fields that we own were changed on the cluster
	Contended  bool // and others, which somebody keeps changing back, so that they are not put back
	// Blind is why nobody can say that what runs is as verified: the cluster does not
	// answer, or not that question, or does not take a correction; "" where it does.
	Blind promotion.Reason
	// Uncorrected is the try of a prune after which what drifted could not be put
	// back, which is tried again after the next; zero is none.
	Uncorrected int
	Rewritten   bool // the commit of last good is not in the branch's history any more
	// AncestryUnknown: that it is not has not been found out for certain.
	AncestryUnknown bool
	Moved           bool            // its file names another place than it runs in, and to leave the old one
	Requests        Requests        // what people asked for
	Busy            ActionKind      // the effect under way; none is started beside it
	Evaluating      source.Revision // the evaluation under way; it may go on beside an effect
	EvaluateAt      time.Time       // not before: the last evaluation could not be done
	AskAt           time.Time       // a rule that could not be asked is not asked before
	WatchAt         time.Time       // what passed is not looked at before
	Journal         Journal
}

// Spec is the part of an environment file that decisions depend on.
type Spec struct {
	After      []promotion.ID
	Pinned     bool            // runs Pin, not the branch
	Pin        source.Revision // "" while it waits for its first promotion
	Proposes   bool            // a promotion branch is kept for it
	File       string          // what its file says, as one word: a proposal is made for it
	Branch     string          // what is followed, as one word: another one is no rewritten history
	Soak       time.Duration
	Calendar   promotion.Calendar // when changes may start
	Approval   bool               // a person has to approve each release
	Signed     bool               // somebody known has to have signed what a release brings
	PHI        bool               // irreversible releases need approval
	MaxReverts int                // in a day
	OnFailure  promotion.OnFailure
	Drift      promotion.Drift
	Watch      promotion.Watch
}

// Requests are what people asked for through the daemon's API objects.
type Requests struct {
	Paused      bool
	PausedUntil time.Time // zero is until it is resumed
	Retry       string    // names the newest request to retry; "" is none
	RetryDigest Digest    // what to lift the quarantine of; "" is what is wanted
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
	Urgent   bool       // its commit asks not to wait for the schedule
	// Approval and Override are what the commit that moved the pin says.
	Approval Approval
	Override bool // reviewed break-glass: opens provenance, soak and windows
	Signed   Signed
	// Irreversible says that going there from last good, as it was in Since,
	// cannot be taken back.
	Irreversible bool
	Since        Digest
	// Migrations are what going there from Since does beside, and its rollback hooks
	// undo.
	Migrations Migrations
	// Course is the steps to go there from last good, as it was in Since.
	Course Course
	// Looked are the other environments whose last good the verdict depends on, as
	// it was then; none where no rule looks at them.
	Looked []Upstream
	// Until is when the verdict is to be asked for again though nothing changed:
	// exceptions end, and rules may look at the time. Zero is never.
	Until time.Time
}

// Approval is whether the people that an environment asks for have agreed to
// exactly this release.
type Approval uint8

// The states of an approval. Missing never opens a gate.
const (
	ApprovalMissing Approval = iota
	ApprovalGiven
)

// Signed is whether somebody known signed all that a release brings.
type Signed uint8

// The states of the signatures. Only SignedGood opens the gate of an environment
// that asks for them.
const (
	SignedUnknown Signed = iota // not looked at, or the keys cannot be read
	SignedMissing
	SignedGood
)

// Upstream is what an upstream environment would run at a candidate's revision.
type Upstream struct {
	ID     promotion.ID
	Digest Digest // "" when it cannot be rendered there
}

// Bounds of the journal's lists: they live in one Kubernetes object.
const (
	maxVerified   = 50
	maxQuarantine = 100
	maxReverts    = 100
)

func (e *Environment) quarantined(d Digest) bool { return slices.Contains(e.Journal.Quarantine, d) }

// paused reports whether a person asked that nothing happens.
func (e *Environment) paused(now time.Time) bool {
	return e.Requests.Paused && (e.Requests.PausedUntil.IsZero() || e.Requests.PausedUntil.After(now))
}

// rewritten reports whether what was verified last is gone from the branch, and
// nobody has accepted that.
func (e *Environment) rewritten() bool {
	j := &e.Journal
	return e.Rewritten && j.Accepted != j.LastGood.Revision && (j.Branch == "" || j.Branch == e.Spec.Branch)
}

// revertsToday counts the reverts of the last day, by a clock that may have been
// set back since; what a clock that ran further ahead dated does not count.
func (e *Environment) revertsToday(now time.Time) int {
	count := 0
	for _, at := range e.Journal.Reverts {
		if now.Sub(at).Abs() < 24*time.Hour || !on(guardDay) {
			count++
		}
	}
	return count
}

// verifiedAt is when a digest passed here, if it did.
func (e *Environment) verifiedAt(d Digest) (time.Time, bool) {
	for _, v := range e.Journal.Verified {
		if v.Digest == d {
			return v.At, true
		}
	}
	return time.Time{}, false
}

// settled reports whether what runs is what was last verified, and nothing is
// under way.
func (e *Environment) settled() bool {
	j := &e.Journal
	return j.Attempt.Stage == StageNone && j.Running.Digest != "" && j.Running.Digest == j.LastGood.Digest
}

// Rests reports whether what runs is what was last verified, and nothing changes
// it: nothing is under way, or nothing but a prune that waits for its next try. A
// finalizer, or a guard that waits for a person, can keep that waiting for days.
func (e *Environment) Rests() bool {
	j := &e.Journal
	waits := j.Attempt.Stage == StagePruning && j.Retry.Tries > 0 && j.Retry.Digest == j.LastGood.Digest
	looks := e.Busy == ActionWatch // which changes nothing
	return (e.Busy == ActionNone || looks) && (j.Attempt.Stage == StageNone || waits) && j.LastGood.Digest != "" && j.Running.Digest == j.LastGood.Digest
}

// Find returns the environment with an ID.
func (w World) Find(id promotion.ID) (Environment, bool) {
	if e := w.find(id); e != nil {
		return *e, true
	}
	return Environment{}, false
}

// find looks among environments that are ordered by ID.
func (w *World) find(id promotion.ID) *Environment {
	low, high := 0, len(w.Environments)
	for low < high {
		middle := (low + high) / 2
		switch c := w.Environments[middle].ID.Compare(id); {
		case c == 0:
			return &w.Environments[middle]
		case c < 0:
			low = middle + 1
		default:
			high = middle
		}
	}
	return nil
}

package reconcile

import (
	"time"

	"chaperone.dev/chaperone/internal/promotion"
	"chaperone.dev/chaperone/internal/source"
)

// ActionKind is something the daemon can do for one environment.
type ActionKind string

// The actions. Evaluate, Verify, Watch and Blame only look; Advance, GiveUp, Retry and
// Move only write the journal; Cancel ends a verification that no longer matters.
const (
	ActionNone     ActionKind = ""
	ActionEvaluate ActionKind = "evaluate"
	ActionAdvance  ActionKind = "advance"
	ActionApply    ActionKind = "apply"
	ActionVerify   ActionKind = "verify"
	ActionCancel   ActionKind = "cancel"
	ActionPrune    ActionKind = "prune"
	ActionUndo     ActionKind = "undo" // run the rollback hooks of what is taken back
	ActionRestore  ActionKind = "restore"
	ActionBlame    ActionKind = "blame"
	ActionRevert   ActionKind = "revert"
	ActionCorrect  ActionKind = "correct"
	ActionPropose  ActionKind = "propose"  // push the promotion branch
	ActionWithdraw ActionKind = "withdraw" // delete it
	ActionGiveUp   ActionKind = "give-up"  // hold instead of going on
	ActionRetry    ActionKind = "retry"    // lift what a person asked to
	ActionMove     ActionKind = "move"     // let go of what runs in the old place
	ActionWatch    ActionKind = "watch"    // look whether what passed still does
)

// effect reports whether an environment does nothing else meanwhile.
func (k ActionKind) effect() bool { return k != ActionEvaluate && k != ActionCancel }

// changes reports whether an action changes a cluster or a source, other than
// bringing last good back.
func (k ActionKind) changes() bool {
	switch k {
	case ActionApply, ActionPrune, ActionRevert, ActionCorrect, ActionPropose, ActionWithdraw:
		return true
	}
	return false
}

// Action is one thing to do, and why.
type Action struct {
	Kind        ActionKind
	Environment promotion.ID
	Reason      promotion.Reason
	Release     Release         // Evaluate: only its Revision
	LastGood    Release         // Blame: suspects come after it
	Guilty      source.Revision // Revert
	Request     string          // Retry: the request that it grants
	// Apply: what is known of the candidate.
	Irreversible, Override, Probe bool
	Migrations                    Migrations
	// Apply and Verify: the steps to the release, and which of them this is; 0 is
	// the only one.
	Course Course
	Step   int
}

// Phase is the coarse state of an environment, for people and dashboards.
type Phase string

// The phases.
const (
	PhaseReady       Phase = "Ready"       // runs what is wanted, verified
	PhaseProgressing Phase = "Progressing" // on its way there, or back
	PhaseWaiting     Phase = "Waiting"     // a gate is closed
	PhaseHeld        Phase = "Held"        // a person or a new commit must decide
	PhaseInvalid     Phase = "Invalid"     // its file is wrong
)

// Status says where an environment is and why it is not elsewhere.
type Status struct {
	Environment promotion.ID
	Phase       Phase
	Reason      promotion.Reason
	Wanted      Release   // the newest it could run; zero while unknown
	Until       time.Time // when the reason passes by itself; zero if it does not
}

// Decision is what to do now, where everything stands, and when to look again
// if nothing happens before; zero means not until something happens.
type Decision struct {
	Actions   []Action
	Statuses  []Status // one for each environment, in the world's order
	LookAgain time.Time
}

// Outcome is how an action ended.
type Outcome string

// The outcomes. Which of them an action can have stands beside Observe.
const (
	OutcomeDone        Outcome = "done"
	OutcomeRetry       Outcome = "retry"       // a fault that may pass
	OutcomeRejected    Outcome = "rejected"    // refused before anything was touched
	OutcomeFailed      Outcome = "failed"      // definitive
	OutcomeError       Outcome = "error"       // a check could not be asked
	OutcomeNoData      Outcome = "no-data"     // a check had nothing to judge by
	OutcomeInterrupted Outcome = "interrupted" // cancelled: says nothing about the release
	OutcomeAlready     Outcome = "already"     // had been taken back before
	OutcomeConflict    Outcome = "conflict"
)

// Result is what came of one action.
type Result struct {
	Action    Action
	Outcome   Outcome
	Reason    promotion.Reason // with every outcome but done and interrupted
	Candidate Candidate        // Evaluate
	Suspects  []Suspect        // Blame, oldest first
	Commit    source.Revision  // Revert, Propose: the commit that was pushed
	// Pruned: Verify is done, and nothing is there that the release does not hold.
	Pruned bool
	// Tied: Watch failed, and what the release did not change was well all the while.
	Tied bool
}

// Package state keeps what outlives the daemon in Kubernetes: the journal and
// status of every environment, its releases, and the bundles of last good. A
// write that meets a newer version fails with ErrConflict and changes nothing:
// that is the fence between two replicas.
package state

import (
	"errors"
	"time"

	"chaperone.dev/chaperone/internal/policy"
	"chaperone.dev/chaperone/internal/promotion"
	"chaperone.dev/chaperone/internal/reconcile"
	"chaperone.dev/chaperone/internal/source"
)

// Errors that the caller decides on.
var (
	// ErrConflict: somebody else wrote since the record was read.
	ErrConflict = errors.New("the record was changed by another writer")
	// ErrNoBundle: no complete bundle of that digest is stored.
	ErrNoBundle = errors.New("no stored bundle")
	// ErrNotFound: there is no such record.
	ErrNotFound = errors.New("not found")
)

// Record is all that is stored about one environment.
type Record struct {
	ID          promotion.ID
	Environment promotion.Environment // as last valid in Git
	Status      reconcile.Status
	Message     string    // one sentence for people
	Since       time.Time // of Status.Reason
	Journal     reconcile.Journal
	Evidence    string            // what the last verification measured
	Excepted    *policy.Countdown // the exception in force that ends first; nil is none
	Drill       Drill             // whether last good could be restored; zero before the first
	Version     string            // of the stored object; "" when it is not stored yet
	// Requests are people's, as they were when the record was read. Save does not
	// write them.
	Requests Requests
	// Unreadable says why a stored object cannot be understood, and what would be
	// right. Then only ID, Version and Requests are set, and Save refuses: it
	// would overwrite what a person may still mend.
	Unreadable error
}

// ReleasePhase is how far a release came.
type ReleasePhase string

// The phases of a release.
const (
	ReleaseApplying  ReleasePhase = "Applying"
	ReleaseVerifying ReleasePhase = "Verifying"
	ReleaseVerified  ReleasePhase = "Verified"
	ReleaseFailed    ReleasePhase = "Failed"   // and last good is being restored
	ReleaseRestored  ReleasePhase = "Restored" // failed, and last good runs again
	ReleaseReverted  ReleasePhase = "Reverted" // failed, restored, and taken back in Git
	ReleaseRejected  ReleasePhase = "Rejected" // the dry run refused it
	ReleaseReplaced  ReleasePhase = "Replaced" // a newer one came before a verdict
	ReleaseHeld      ReleasePhase = "Held"     // a person must decide
)

// Release is one attempt to bring a release to an environment. Its identity is
// (Environment, Started).
type Release struct {
	Environment promotion.ID
	Release     reconcile.Release
	Phase       ReleasePhase
	Reason      promotion.Reason
	Author      source.Person
	Subject     string // of the commit
	Evidence    string
	// Log is the last lines of the Jobs that did not pass. It is written once and
	// kept beside the release; Releases leaves it out, Logs reads it.
	Log         string
	Guilty      source.Revision
	Revert      source.Revision
	Started     time.Time
	Ended       time.Time // zero while under way
	ApprovedBy  []string  // the people whose word counted
	MergedBy    string    // on the forge, what brought it
	PullRequest string    // where that was
}

package controller

import (
	"context"
	"time"

	"chaperone.dev/chaperone/internal/forge"
	"chaperone.dev/chaperone/internal/manifest"
	"chaperone.dev/chaperone/internal/policy"
	"chaperone.dev/chaperone/internal/preview"
	"chaperone.dev/chaperone/internal/promotion"
	"chaperone.dev/chaperone/internal/reconcile"
	"chaperone.dev/chaperone/internal/source"
	"chaperone.dev/chaperone/internal/state"
	"chaperone.dev/chaperone/internal/strategy"
)

// Source is the Git repository. Errors wrap the ones of package source.
// All but Poll and Revert read what the last Poll brought; they are called
// from many goroutines.
type Source interface {
	// Poll asks for the newest commit and fetches it if it is new. It is called
	// at the poll interval, and by whoever looks for a guilty commit.
	Poll(ctx context.Context) (source.Revision, error)
	Snapshot(source.Revision) (source.Snapshot, error)
	Commit(source.Revision) (source.Commit, error)
	// FirstParents are the commits after one revision up to another, newest first.
	FirstParents(ctx context.Context, after, upTo source.Revision, max int) ([]source.Commit, error)
	// Changed lists paths that differ between two revisions, bounded.
	Changed(from, to source.Revision) ([]string, error)
	// Contains reports whether a revision is in the history of the last head,
	// along any parent.
	Contains(ctx context.Context, revision source.Revision) (bool, error)
	// Beyond are the commits that one revision has over another along any parent,
	// newest first, and perhaps some that both have. Too many are source.ErrTooFar.
	Beyond(ctx context.Context, after, upTo source.Revision) ([]source.Commit, error)
	// Authors are those of the commits that upTo has and after has not, bounded.
	Authors(ctx context.Context, after, upTo source.Revision, max int) ([]source.Person, error)
	// Signature holds a commit's signature against the keys of now. Where these
	// cannot be read it is unchecked.
	Signature(source.Revision) (source.Signature, error)
	// Signers names the keys of now; the error is why none of them counts. It is
	// called at each poll.
	Signers() (string, error)
	// Revert is idempotent: a commit that was taken back before is not again.
	Revert(ctx context.Context, guilty source.Revision, note source.RevertNote) (RevertResult, error)
	// Propose keeps the environment's promotion branch: one commit that moves the
	// pin in file. It is idempotent, and never overwrites anybody else's commits.
	Propose(ctx context.Context, id promotion.ID, file string, note source.PromoteNote) (ProposeResult, error)
	// Withdraw deletes the promotion branch, unless it holds anybody else's commits.
	Withdraw(ctx context.Context, id promotion.ID) (ProposeResult, error)
}

// RevertBranches hold reverts that people have to merge.
type RevertBranches interface {
	// OfferRevert keeps a branch that takes the guilty commit back when it is
	// merged. It is idempotent, and never overwrites anybody else's commits.
	OfferRevert(ctx context.Context, guilty source.Revision, note source.RevertNote) (ProposeResult, error)
	// WithdrawReverts deletes all those branches but what others have put there. It
	// is called once nobody waits for one, is idempotent, and tells before of each.
	WithdrawReverts(ctx context.Context, before func(branch string) error) (withdrawn []string, err error)
}

// ProposeResult is how keeping a promotion branch ended when the source could
// be asked.
type ProposeResult struct {
	Outcome reconcile.Outcome // done, already (there is nothing to propose any more) or rejected
	Commit  source.Revision   // on the branch
	Detail  string            // why not; without credentials
}

// RevertResult is how a revert ended when the source could be asked.
type RevertResult struct {
	Outcome   reconcile.Outcome // done, already, conflict, rejected or failed
	Reason    promotion.Reason  // with every outcome but done and already
	Commit    source.Revision   // the revert
	Conflicts []string          // paths
	Detail    string            // the server's own words; without credentials
}

// Renderer builds a directory of a snapshot. A terminal error means that this
// snapshot cannot be built. It is called from many goroutines and caches.
type Renderer interface {
	Render(ctx context.Context, snap source.Snapshot, dir string) (manifest.Set, manifest.Digest, error)
	// Digest is that of Render, for less where the objects are not needed.
	Digest(ctx context.Context, snap source.Snapshot, dir string) (manifest.Digest, error)
	// Closure is all that Render looks at.
	Closure(ctx context.Context, snap source.Snapshot, dir string) (source.Closure, error)
}

// Policies judge a release. Digest is "" while no bundle could be loaded.
type Policies interface {
	Digest() reconcile.Digest
	Judge(ctx context.Context, in policy.Input) (policy.Report, error)
	// Around reports what a rule for this data looks at beside the release, and
	// where pods are found in that.
	Around(data promotion.Data) (policy.PodTemplates, policy.Looks)
}

// Cluster is the cluster that an environment runs on. Every method is
// idempotent and may be repeated after a crash. Errors that a dry run or a
// guard gave before anything was touched are *Refusal.
type Cluster interface {
	// Apply brings the objects of set to the cluster, and nothing off it. What comes
	// after it is tried before anything is touched.
	Apply(ctx context.Context, env promotion.Environment, set manifest.Set, ahead ...manifest.Set) error
	// Replicas are how many pods Deployments of the target namespace are to have
	// right now; none for one that is not there.
	Replicas(ctx context.Context, env promotion.Environment, names []string) (map[string]int, error)
	// Prune deletes what env owns and set does not hold.
	Prune(ctx context.Context, env promotion.Environment, set manifest.Set) error
	// Surplus reports whether there is anything that Prune would look at: what env
	// owns, or owned under a former name, and set does not hold. It changes nothing.
	Surplus(ctx context.Context, env promotion.Environment, set manifest.Set) (bool, error)
	// Undo runs the rollback hooks of a release that is taken back, for those of its
	// migrations that were begun and last good does not have: each once for one
	// attempt and round, however often it is called. After a terminal error nobody
	// knows what the data look like.
	Undo(ctx context.Context, env promotion.Environment, r Rollback) error
	// Restore applies last good and prunes what came after it.
	Restore(ctx context.Context, env promotion.Environment, set manifest.Set) error
	// Drift compares the cluster with what was applied. It is called after every
	// change that a watch tells of, and reads last good only where it has to.
	Drift(ctx context.Context, env promotion.Environment, good LastGood) (Drift, error)
	// Correct puts back what drifted and is not contended, and touches nothing else.
	// Hooks are not run.
	Correct(ctx context.Context, env promotion.Environment, good LastGood) error
	// Audit finds out by dry runs what watches cannot tell, at a slow pace, where
	// that is due: whether the cluster would still take what it has as it is.
	Audit(ctx context.Context, env promotion.Environment, good LastGood) (Audit, error)
	// Drill tries whether last good could be restored, by dry runs at a slow pace. The
	// error is that nobody could tell.
	Drill(ctx context.Context, env promotion.Environment, good LastGood) (Drill, error)
	// Watch calls changed after any owned object changed, until ctx ends. It may
	// call it for nothing.
	Watch(ctx context.Context, env promotion.Environment, changed func()) error
	// Verify runs the environment's checks. A cancelled ctx gives an error and no
	// verdict.
	Verify(ctx context.Context, env promotion.Environment, set manifest.Set, against Against) (Verdict, error)
}

// Against is what a release is measured against: how it was before.
type Against struct {
	Begun time.Time // the change, or what it puts right; zero is unknown
	// Without is until when last good ran alone, as far as is known; zero is unknown.
	Without time.Time
	Good    time.Time // when last good passed; zero is never
	// Watching: it passed before, and this is whether it still does.
	Watching bool
	// Step is which of several this is, with the time that is left of it; nil is
	// the only one.
	Step *strategy.Step
}

// Rollback is a release whose migrations are to be undone.
type Rollback struct {
	Failed, Good manifest.Set
	Attempt      string // names the attempt at the release
	Round        int    // how often people have asked to try again what failed of it
}

// LastGood is what an environment is to run. Its objects may be many, so they are
// read where they are needed, and not kept.
type LastGood struct {
	Digest reconcile.Digest
	Read   func(context.Context) (manifest.Set, error)
}

// Drift is what differs on a cluster, an object in each text, redacted.
type Drift struct {
	Differs   []string  // to be put back
	Contended []string  // put back again and again in vain; both managers are named
	Refused   []string  // cannot be put back: the API server, or a guard, says no
	Until     time.Time // when the first of the contended may be put back again
}

// Audit is what an audit came to; nothing was tried where it is not due.
type Audit struct {
	Tried    int      // objects
	Differ   []string // are drift by now
	Altered  []string // would be changed by admission when they are written next
	Rejected []string // would not be accepted any more
}

// Verdict is what the checks of one verification came to.
type Verdict struct {
	Outcome  reconcile.Outcome // done for a pass, failed, error or no-data
	Evidence string            // what was measured, in one or two sentences
	Log      string            // the last lines of the Jobs that did not pass
	Tied     bool              // failed, and what the release did not change was well meanwhile
}

// Refusal says that an apply was stopped before anything was touched, or that
// a hook gave the verdict (VerificationFailed, RollbackFailed).
type Refusal struct {
	Reason promotion.Reason
	Err    error
	Log    string // what a hook that failed has written
}

func (r *Refusal) Error() string { return r.Err.Error() }
func (r *Refusal) Unwrap() error { return r.Err }

// Store outlives the daemon. See package state.
type Store interface {
	Load(ctx context.Context) ([]state.Record, error)
	Get(ctx context.Context, id promotion.ID) (state.Record, error)
	Save(ctx context.Context, r state.Record) (state.Record, error)
	// Current reports whether nobody has written a record, or asked for anything,
	// since it was read or saved.
	Current(ctx context.Context, r state.Record) (bool, error)
	// WatchRequests calls changed with what people ask for, at first for every
	// environment and then after each change, until ctx ends or the watch breaks.
	WatchRequests(ctx context.Context, changed func(promotion.ID, state.Requests)) error
	PutBundle(ctx context.Context, id promotion.ID, digest reconcile.Digest, set manifest.Set) error
	Bundle(ctx context.Context, id promotion.ID, digest reconcile.Digest) (manifest.Set, error)
	KeepBundles(ctx context.Context, id promotion.ID, keep ...reconcile.Digest) error
	PutRelease(ctx context.Context, r state.Release) error
	Event(ctx context.Context, id promotion.ID, warning bool, reason promotion.Reason, message string) error
}

// Forge is where the source's pull requests are. Errors wrap the ones of package
// forge. Every method looks before it writes, so that it may be repeated after a
// crash or a lost answer, and touches nothing that others wrote. They are called
// from many goroutines.
type Forge interface {
	// KeepPullRequest sees to it that one pull request is open from the branch to
	// the base, with this title and body. One that a person closed or merged with
	// the same head stays so, and is returned as it is.
	KeepPullRequest(ctx context.Context, want forge.Proposal) (forge.PullRequest, error)
	// ClosePullRequest closes the one that is open from the branch to the base, if
	// any, and says why in a comment.
	ClosePullRequest(ctx context.Context, branch, base, why string) error
	// OpenPullRequests are those to the base, the latest changed first; more reports
	// that there are others beside them.
	OpenPullRequests(ctx context.Context, base string) (open []forge.PullRequest, more bool, err error)
	// MergedBy is the merged pull request that made this commit of the base what it
	// is; found is false where none did.
	MergedBy(ctx context.Context, base string, commit source.Revision) (merge forge.Merge, found bool, err error)
	// SetStatus writes where the newest status of that context says something else.
	SetStatus(ctx context.Context, commit source.Revision, status forge.Status) error
	// Statuses are the newest ones of a commit, one of each context, whoever set them.
	Statuses(ctx context.Context, commit source.Revision) ([]forge.Status, error)
	// Comment keeps one comment of the daemon's own on a pull request, found by its
	// marker.
	Comment(ctx context.Context, number int64, marker, body string) error
	// Amend is Comment where there is one already; else nothing is written.
	Amend(ctx context.Context, number int64, marker, body string) error
}

// Previews say what merging would do. They are found out one after the other, and
// bounded in time.
type Previews interface {
	// OfPull fetches the head of an open pull request, which anybody may have written,
	// and compares it with what it has in common with the branch. An error that is
	// terminal is the change's own; others wrap the ones of package source, or pass.
	OfPull(ctx context.Context, branch source.Revision, pr forge.PullRequest) (preview.Preview, error)
	// Of is the same for a commit of the daemon's own.
	Of(ctx context.Context, branch, head source.Revision) (preview.Preview, error)
}

// Telemetry takes measurements. Its methods do not block.
type Telemetry interface {
	Step(step string, took time.Duration)
	Polled(outcome string, fetched bool)
	Ended(action reconcile.ActionKind, id promotion.ID, outcome reconcile.Outcome)
	Judged(id promotion.ID, report policy.Report)
	Published(View)
}

// View is everything that pages, metrics and readiness need. It is never
// changed once published.
type View struct {
	At           time.Time
	Head         source.Revision
	SourceFault  promotion.Reason
	SourceDetail string
	Polled       bool // at least once with success
	Policy       reconcile.Digest
	Environments []EnvironmentView
}

// EnvironmentView is one line of it.
type EnvironmentView struct {
	ID      promotion.ID
	Status  reconcile.Status
	Message string
	Since   time.Time
	Journal reconcile.Journal
	// Movers are the commits that moved the pin to what is wanted, and to what is
	// under way, as far as they are known.
	Movers map[source.Revision]source.Revision
	// Excepted is the exception in force there that ends first; nil is none.
	Excepted *policy.Countdown
	Drill    Drill
}

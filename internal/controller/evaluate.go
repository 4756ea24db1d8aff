package controller

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"slices"
	"strings"
	"time"

	"chaperone.dev/chaperone/internal/fault"
	"chaperone.dev/chaperone/internal/manifest"
	"chaperone.dev/chaperone/internal/plan"
	"chaperone.dev/chaperone/internal/policy"
	"chaperone.dev/chaperone/internal/promotion"
	"chaperone.dev/chaperone/internal/reconcile"
	"chaperone.dev/chaperone/internal/source"
	"chaperone.dev/chaperone/internal/state"
	"chaperone.dev/chaperone/internal/strategy"
)

// evaluation renders and judges one environment at one revision.
type evaluation struct {
	c        *Controller
	action   reconcile.Action
	file     promotion.Environment
	policy   reconcile.Digest
	running  source.Revision
	lastGood reconcile.Release
	head     source.Revision
	upstream []upstream
	around   []neighbour
	recorded bool // there is evidence of images of this pipeline at head
	approval policy.Agreement
	mover    source.Commit // that moved the pin to it
	judged   bool          // policies were asked, so that excepted is known
	excepted *policy.Countdown
	fresh    bool // the source could be read, so that what is not there is not on it
	of       int  // generation of the environment
	allowed  allowed
	plan     strategy.Plan // the steps to the release; none where it has but one
}

// allowed is what the policies last allowed, where that holds for every release
// of the same objects: most commits leave most environments as they are, and
// those need neither their objects nor the policies again.
type allowed struct {
	digest, policy reconcile.Digest
	around         manifest.Digest // what rules saw of other environments
	until          time.Time
	of             int // generation of the environment
}

// upstream is an environment that comes before, as far as an evaluation needs it.
type upstream struct {
	id       promotion.ID
	path     string // "" while its file is not valid
	verified reconcile.Release
	before   []reconcile.Digest // all that it verified, as far as is remembered
}

// startEvaluation looks at a release beside everything else.
func (c *Controller) startEvaluation(ctx context.Context, a reconcile.Action) {
	e := c.environment(a.Environment)
	known, _ := c.world.Find(a.Environment)
	v := &evaluation{c: c, action: a, file: e.file, policy: c.world.Policy, running: known.Journal.Running.Revision,
		lastGood: known.Journal.LastGood, head: c.world.Head, fresh: c.polled && c.world.SourceFault == "", of: e.generation, allowed: e.allowed}
	for _, id := range e.file.After {
		u := upstream{id: id}
		if before, found := c.world.Find(id); found && before.Fault == "" {
			u.path, u.verified = c.environment(id).file.Path, before.Journal.LastGood
			for _, verified := range before.Journal.Verified {
				u.before = append(u.before, verified.Digest)
			}
		}
		v.upstream = append(v.upstream, u)
	}
	v.around, v.recorded = c.neighbours(a.Environment), c.seen.evidence[a.Environment.Pipeline] != ""
	reconcile.BeginIn(&c.world, a)
	line := c.slots
	if known.Journal.Attempt.Stage != reconcile.StageNone {
		line = c.first
	}
	c.spawn(func() {
		line <- struct{}{}
		defer func() { <-line }()
		result, commit, problem := v.run(ctx)
		c.post(ctx, func() { c.evaluated(v, result, commit, problem) })
	})
}

// evaluated folds an evaluation into the world.
func (c *Controller) evaluated(v *evaluation, result reconcile.Result, commit source.Commit, problem string) {
	e := c.environment(result.Action.Environment)
	if v.of != e.generation {
		// Rendered or judged as a file said that has changed since.
		c.change(v.file.ID, func(e *reconcile.Environment) { e.Evaluating = "" })
		return
	}
	revision := result.Action.Release.Revision
	if len(e.problems) > maxHistory*2 {
		clear(e.problems)
		clear(e.commits)
		clear(e.credits)
	}
	delete(e.problems, revision)
	if problem != "" {
		e.problems[revision] = problem
	}
	e.commits[revision], e.credits[revision] = commit, v.creditOf(commit)
	e.allowed = v.allowed
	e.knowSteps(result.Candidate, v.plan)
	if v.judged {
		e.excepted = v.excepted
	}
	c.world.Now = c.Now()
	reconcile.ObserveIn(&c.world, result)
	if result.Outcome != reconcile.OutcomeDone {
		c.Log.Warn("evaluate", "environment", result.Action.Environment.String(), "revision", revision,
			"reason", result.Reason, "err", problem)
	}
}

func (v *evaluation) run(ctx context.Context) (reconcile.Result, source.Commit, string) {
	result := reconcile.Result{Action: v.action, Outcome: reconcile.OutcomeDone}
	candidate, commit, err := v.candidate(ctx)
	result.Candidate = candidate
	if err != nil && candidate.Fault == "" && candidate.Verdict == reconcile.VerdictUnknown {
		result.Outcome, result.Reason = reconcile.OutcomeRetry, promotion.SourceUnavailable
	}
	if err != nil {
		return result, commit, err.Error()
	}
	return result, commit, ""
}

// verdictLasts is how long a verdict counts at most: exceptions end by date.
// Environments that were judged together are judged anew a little apart, by up
// to verdictSpread: not all of a hundred in one moment.
const (
	verdictLasts  = time.Hour
	verdictSpread = time.Minute
)

// verdictUntil is when a verdict that begins now ends.
func verdictUntil(now time.Time, id promotion.ID) time.Time {
	h := fnv.New32a()
	h.Write([]byte(id.String())) // never fails
	return now.Add(verdictLasts - time.Duration(h.Sum32()%uint32(verdictSpread/time.Millisecond))*time.Millisecond)
}

// candidate is what there is to know of the release. An error beside a
// candidate with a fault or a verdict says why it may not run; an error beside
// one without says that it could not be found out.
func (v *evaluation) candidate(ctx context.Context) (reconcile.Candidate, source.Commit, error) {
	revision := v.action.Release.Revision
	c := reconcile.Candidate{
		Release: reconcile.Release{Revision: revision, Policy: v.policy}, Until: verdictUntil(v.c.Now(), v.file.ID),
	}
	commit, err := v.c.Source.Commit(revision)
	if errors.Is(err, source.ErrUnknownRevision) && v.fresh {
		c.Fault = promotion.UnknownRevision
		return c, commit, fmt.Errorf("%s: revision: %w on the followed branch; want the full hash of one of its commits", v.file.File, err)
	}
	if err != nil {
		return c, commit, err
	}
	if stray, err := v.stray(ctx, revision); stray {
		c.Fault = promotion.UnknownRevision
		return c, commit, err
	} else if err != nil {
		return c, commit, err
	}
	snapshot, err := v.c.Source.Snapshot(revision)
	if err != nil {
		return c, commit, err
	}
	around, err := v.lookAround(ctx, snapshot)
	if err != nil {
		return c, commit, err
	}
	c.Looked = around.looked
	if v.unchanged(ctx, snapshot, around) {
		c.Release.Digest, c.Verdict, c.Until = v.allowed.digest, reconcile.VerdictAllow, v.allowed.until
		gate, err := v.compared(ctx, &c, snapshot, commit, manifest.Set{})
		if err != nil {
			c.Verdict = reconcile.VerdictUnknown
		}
		return c, commit, noted(err, gate)
	}
	set, digest, err := v.render(ctx, snapshot, v.file.Path)
	switch {
	case fault.IsTerminal(err):
		c.Fault = promotion.RenderFailed
		return c, commit, err
	case err != nil:
		return c, commit, err
	case set.Len() == 0:
		c.Fault = promotion.EmptyRender
		return c, commit, fmt.Errorf("%s renders no object at %s; an empty render is never applied", v.file.Path, revision.Short())
	}
	c.Release.Digest = reconcile.Digest(digest)
	gate, err := v.compared(ctx, &c, snapshot, commit, set)
	if err == nil {
		err = v.staged(ctx, set, &c)
	}
	if err != nil {
		return c, commit, err
	}
	c.Verdict, err = v.judge(ctx, set, &c, commit, around)
	return c, commit, noted(err, gate)
}

// unchanged reports whether a snapshot renders to last good, and the policies
// have allowed that for whatever commit it comes by.
func (v *evaluation) unchanged(ctx context.Context, snapshot source.Snapshot, around surroundings) bool {
	left := v.allowed.until.Sub(v.c.Now()) // more than it can be is of a clock that ran ahead
	known := v.allowed.digest != "" && v.allowed.digest == v.lastGood.Digest && v.allowed.policy == v.policy && v.allowed.of == v.of && v.allowed.around == around.digest
	if !known || left <= 0 || left > verdictLasts {
		return false
	}
	digest, err := v.digest(ctx, snapshot, v.file.Path)
	return err == nil && reconcile.Digest(digest) == v.allowed.digest
}

// compared looks at what the gates ask beside the policies. set may be empty
// where the release is last good.
func (v *evaluation) compared(ctx context.Context, c *reconcile.Candidate, snapshot source.Snapshot, commit source.Commit,
	set manifest.Set) (string, error) {
	for _, u := range v.upstream {
		at, err := v.upstreamAt(ctx, snapshot, u)
		if err != nil {
			return "", err
		}
		c.Upstream = append(c.Upstream, at)
	}
	unsigned, err := v.signed(ctx, c, snapshot)
	if err != nil {
		return "", err
	}
	gate, err := v.weigh(ctx, c, commit, set)
	return strings.Join(filled(unsigned, gate), "; "), err
}

// noted puts what a gate says about a release that the policies allow where
// their denial would stand.
func noted(denial error, gate string) error {
	if denial == nil && gate != "" {
		return errors.New(gate)
	}
	return denial
}

// weigh finds out what the gates ask beside the policies: whether the release
// can be taken back, is urgent, and who agreed to it. The text is for people:
// what is missing.
func (v *evaluation) weigh(ctx context.Context, c *reconcile.Candidate, commit source.Commit, set manifest.Set) (string, error) {
	c.Since = v.lastGood.Digest
	var err error
	if c.Urgent, err = v.urgent(ctx, commit); err != nil {
		return "", err
	}
	losses, err := v.irreversible(ctx, set, c)
	if err != nil {
		return "", err
	}
	c.Irreversible = len(losses) > 0
	text := strings.Join(losses, "; ")
	v.approval.State = policy.ApprovalProposed
	if c.Release.Digest == v.lastGood.Digest {
		v.approval.State = policy.ApprovalVerified
	}
	if c.Release.Revision != v.file.Revision {
		return text, nil // not pinned to it: nobody could have agreed
	}
	agreed, err := v.agreed(ctx)
	if errors.Is(err, errTooOld) {
		if v.approval.State == policy.ApprovalProposed {
			v.approval.State = policy.ApprovalUnknown
		}
		return err.Error(), nil
	}
	if err != nil {
		return "", err
	}
	c.Override = agreed.override != "" && agreed.reviewed
	given, missing, err := v.approved(ctx, agreed)
	if err != nil {
		return "", err
	}
	if given {
		c.Approval = reconcile.ApprovalGiven
	}
	if v.approval.State == policy.ApprovalProposed {
		v.approval.State = policy.ApprovalPinned
	}
	if c.Override {
		v.approval.Override = agreed.override
	}
	differs, err := v.differences(c)
	if err != nil {
		return "", err
	}
	if agreed.override != "" && !agreed.reviewed {
		missing = "the override is not reviewed: want the commit that moves the pin merged by somebody else than its author"
	}
	return strings.Join(filled(differs, missing, text), "; "), nil
}

// differences says in which files a pin differs from what upstream runs, for
// the people whose pin is refused.
func (v *evaluation) differences(c *reconcile.Candidate) (string, error) {
	const shown = 8
	for i, u := range v.upstream {
		if u.verified.Revision == "" || i < len(c.Upstream) && c.Upstream[i].Digest == u.verified.Digest {
			continue
		}
		paths, err := v.c.Source.Changed(u.verified.Revision, c.Release.Revision)
		if errors.Is(err, source.ErrUnknownRevision) {
			continue
		}
		if err != nil {
			return "", err
		}
		text := strings.Join(paths[:min(shown, len(paths))], ", ")
		if more := len(paths) - shown; more > 0 {
			text += fmt.Sprintf(" and %d more", more)
		}
		return fmt.Sprintf("it differs from %s, which %s verified, in %s", u.verified.Revision.Short(), u.id, text), nil
	}
	return "", nil
}

// filled leaves empty texts out.
func filled(texts ...string) []string {
	return slices.DeleteFunc(texts, func(text string) bool { return text == "" })
}

// urgent: a commit since last good asks not to wait for the schedule, and was
// not taken back since. Without a last good, those that are still remembered count.
func (v *evaluation) urgent(ctx context.Context, commit source.Commit) (bool, error) {
	commits, err := v.c.Source.FirstParents(ctx, v.lastGood.Revision, commit.Revision, maxHistory)
	if errors.Is(err, source.ErrTooFar) {
		commits, err = v.c.Source.FirstParents(ctx, "", commit.Revision, maxHistory)
	}
	switch {
	case errors.Is(err, source.ErrNotAncestor), errors.Is(err, source.ErrUnknownRevision):
		commits = []source.Commit{commit} // going back, or on a history that was rewritten
	case err != nil && !errors.Is(err, source.ErrTooFar):
		return false, err
	}
	takenBack := map[source.Revision]bool{}
	for _, c := range commits { // newest first
		if guilty, found := c.Reverts(); found {
			takenBack[guilty] = true
		}
		if !takenBack[c.Revision] && v.asksForHaste(c) {
			return true, nil
		}
	}
	return false, nil
}

// asksForHaste looks at a commit and at those that it merged.
func (v *evaluation) asksForHaste(commit source.Commit) bool {
	if commit.Urgent() {
		return true
	}
	for _, parent := range commit.Parents[min(1, len(commit.Parents)):] {
		if merged, err := v.c.Source.Commit(parent); err == nil && merged.Urgent() {
			return true
		}
	}
	return false
}

// irreversible lists what cannot be taken back of going to a release from last
// good, and notes what its rollback hooks undo. Where last good cannot be read, nobody can tell, and that is an error.
func (v *evaluation) irreversible(ctx context.Context, set manifest.Set, c *reconcile.Candidate) ([]string, error) {
	if v.lastGood.Digest == "" || v.lastGood.Digest == c.Release.Digest {
		return nil, nil
	}
	before, err := v.lastGoodSet(ctx)
	if errors.Is(err, state.ErrNoBundle) {
		return []string{fmt.Sprintf("what %s was is not stored any more, so nobody can tell what would be lost", v.lastGood.Revision.Short())}, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read last good: %w", err)
	}
	c.Migrations = reconcile.MigrationsOf(plan.Migrations(before, set)...)
	return plan.Irreversible(before, set), nil
}

// lastGoodSet is what was verified last.
func (v *evaluation) lastGoodSet(ctx context.Context) (manifest.Set, error) {
	return v.verifiedSet(ctx, v.file, v.lastGood)
}

// verifiedSet is what an environment verified: rendered again, which costs next
// to nothing, or as it was stored where that gives something else by now.
func (v *evaluation) verifiedSet(ctx context.Context, file promotion.Environment, good reconcile.Release) (manifest.Set, error) {
	if snapshot, err := v.c.Source.Snapshot(good.Revision); err == nil {
		set, digest, err := v.render(ctx, snapshot, file.Path)
		if err == nil && reconcile.Digest(digest) == good.Digest {
			return set, nil
		}
	}
	return v.c.bundle(ctx, file, good.Digest)
}

// stray reports whether a pin is a commit that the mirror happens to hold, of a
// promotion branch, say, and not one of the followed branch. The error beside
// true says so.
func (v *evaluation) stray(ctx context.Context, revision source.Revision) (bool, error) {
	if revision != v.file.Revision || revision == v.lastGood.Revision || !v.fresh {
		return false, nil
	}
	contained, err := v.c.Source.Contains(ctx, revision)
	switch {
	case errors.Is(err, source.ErrTooFar):
		return true, fmt.Errorf("%s: revision: whether %s is a commit of the followed branch cannot be told: %w", v.file.File, revision.Short(), err)
	case err != nil:
		return false, err
	case !contained:
		return true, fmt.Errorf("%s: revision: %s is not a commit of the followed branch; want the full hash of one of its commits",
			v.file.File, revision.Short())
	}
	return false, nil
}

func (v *evaluation) render(ctx context.Context, snapshot source.Snapshot, path string) (manifest.Set, manifest.Digest, error) {
	began := v.c.Now()
	defer func() { v.c.Telemetry.Step("render", v.c.Now().Sub(began)) }()
	return v.c.Renderer.Render(ctx, snapshot, path)
}

func (v *evaluation) digest(ctx context.Context, snapshot source.Snapshot, path string) (manifest.Digest, error) {
	began := v.c.Now()
	defer func() { v.c.Telemetry.Step("render", v.c.Now().Sub(began)) }()
	return v.c.Renderer.Digest(ctx, snapshot, path)
}

// upstreamAt is what an upstream environment would run at the same revision.
// One that cannot be rendered there has no digest, which opens no gate.
func (v *evaluation) upstreamAt(ctx context.Context, snapshot source.Snapshot, u upstream) (reconcile.Upstream, error) {
	at := reconcile.Upstream{ID: u.id}
	if u.path == "" {
		return at, nil
	}
	digest, err := v.digest(ctx, snapshot, u.path)
	switch {
	case fault.IsTerminal(err):
		return at, nil
	case err != nil:
		return at, fmt.Errorf("render %s, which comes before: %w", u.id, err)
	}
	at.Digest = reconcile.Digest(digest)
	return at, nil
}

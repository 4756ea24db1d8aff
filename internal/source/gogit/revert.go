package gogit

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/go-git/go-git/v5/plumbing"

	"chaperone.dev/chaperone/internal/fault"
	"chaperone.dev/chaperone/internal/source"
	"chaperone.dev/chaperone/internal/source/merge"
)

// RevertRequest names the commit to take back, and what to say about it.
type RevertRequest struct {
	Guilty source.Revision
	Note   source.RevertNote
}

// Outcome is how a revert ended.
type Outcome string

const (
	// Reverted: the branch's head, or a commit before it, is our revert.
	Reverted Outcome = "Reverted"
	// AlreadyReverted: a commit of the branch takes the guilty one back; it is
	// never done twice.
	AlreadyReverted Outcome = "AlreadyReverted"
	// RefusedRevertOfRevert: the guilty commit is itself a revert of ours.
	RefusedRevertOfRevert Outcome = "RefusedRevertOfRevert"
	// NothingToRevert: the head holds nothing of the guilty commit any more.
	NothingToRevert Outcome = "NothingToRevert"
	// Conflict: later commits changed the same; Conflicts names the paths.
	Conflict Outcome = "Conflict"
	// Rejected: the server does not take the push; Detail says why.
	Rejected Outcome = "Rejected"
	// Uncommitted: changes that are not committed are in the way, in a
	// checked-out repository only; Conflicts names the paths.
	Uncommitted Outcome = "Uncommitted"
)

// RevertResult tells what is on the branch now. Commit is the revert, ours or
// an earlier one; Head is the branch's head as far as it is known.
type RevertResult struct {
	Outcome   Outcome
	Commit    source.Revision
	Head      source.Revision
	Conflicts []string
	Detail    string
}

const (
	revertAttempts = 5
	// A push that is refused while the branch does not move may have met
	// another one on its way: it is tried again after a pause, this often.
	refusalsBelieved = 3
	firstPause       = 100 * time.Millisecond
)

// Revert takes one commit of the branch's first-parent line back, on the
// newest head, by a three-way merge and one commit, whatever happened before:
// it may be called again after any error or crash. An error means that nobody
// knows yet, and wraps source.ErrUnavailable, or source.ErrNotAncestor or
// ErrUnknownRevision if the guilty commit is not on the branch.
func (r *Repository) Revert(ctx context.Context, request RevertRequest) (RevertResult, error) {
	if err := r.take(ctx); err != nil {
		return RevertResult{}, err
	}
	defer r.give()
	result, err := (&reverting{Repository: r, request: request, tried: map[source.Revision]bool{}}).run(ctx)
	if err == nil {
		return result, nil
	}
	object := fmt.Sprintf("%s in %s", request.Guilty.Short(), r.remote.object())
	if errors.Is(err, source.ErrNotAncestor) || errors.Is(err, source.ErrUnknownRevision) || errors.Is(err, source.ErrTooFar) ||
		fault.IsTerminal(err) { // a directory that nobody can read
		return RevertResult{}, fault.Terminal("revert", object, err)
	}
	return RevertResult{}, fault.Retryable("revert", object, err)
}

// reverting is one call of Revert.
type reverting struct {
	*Repository
	request RevertRequest
	plan    *plan
	tried   map[source.Revision]bool // our commits that a push was begun for
	refused int                      // times, on the plan's head
	reason  string
	lastErr error
}

func (v *reverting) run(ctx context.Context) (RevertResult, error) {
	for attempt := range revertAttempts {
		if err := pause(ctx, attempt); err != nil {
			return RevertResult{}, err
		}
		head, err := v.update(ctx)
		if err != nil {
			return RevertResult{}, err
		}
		if result, done, err := v.decide(ctx, head); done || err != nil {
			return result, err
		}
		pushed, err := v.push(ctx)
		if err != nil {
			return RevertResult{}, err
		}
		if pushed {
			return v.settle()
		}
	}
	if v.reason != "" {
		return v.rejected(), nil
	}
	if v.lastErr != nil {
		return RevertResult{}, v.lastErr
	}
	return RevertResult{}, fmt.Errorf("%w: the branch moved during each of %d attempts", source.ErrUnavailable, revertAttempts)
}

func pause(ctx context.Context, attempt int) error {
	if attempt == 0 {
		return nil
	}
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(firstPause << (attempt - 1)):
		return nil
	}
}

// decide looks at the branch as it is now. It is done if there is nothing to
// push, or no use in pushing.
func (v *reverting) decide(ctx context.Context, head commit) (RevertResult, bool, error) {
	if v.plan != nil && v.plan.head == head.hash {
		if v.refused >= refusalsBelieved {
			return v.rejected(), true, nil
		}
		return RevertResult{}, false, nil // the same commit again, so that it is one, come what may
	}
	v.refused, v.reason = 0, ""
	planned, result, err := v.planRevert(ctx, v.request, head, v.signer, true)
	if err != nil {
		return RevertResult{}, false, err
	}
	if result.Outcome == AlreadyReverted && v.tried[result.Commit] {
		result.Outcome = Reverted // the answer was lost, the push was not
	}
	v.plan = planned
	return result, planned == nil, nil
}

func (v *reverting) rejected() RevertResult {
	return RevertResult{Outcome: Rejected, Head: revisionOf(v.plan.head), Detail: v.reason}
}

// push tries once. What it did not learn, the next look at the refs tells.
func (v *reverting) push(ctx context.Context) (bool, error) {
	v.pushes.Add(1)
	v.lastErr = nil
	s, err := v.remote.open(ctx, receivePack)
	if err == nil {
		defer s.close()
		if s.tip != v.plan.head {
			return false, nil // somebody was faster
		}
		v.tried[revisionOf(v.plan.commit)] = true
		var said report
		said, err = s.push(v.remote.branch, v.plan.head, v.plan.commit, v.plan.pack)
		if err == nil && said.accepted {
			return true, nil
		}
		if err == nil {
			v.refused++
			v.reason = orUnknown(said.reason)
			return false, nil
		}
	}
	var denied *problem
	if errors.As(err, &denied) && denied.denied {
		v.refused++
		v.reason = denied.text
		return false, nil
	}
	v.lastErr = err
	return false, ctx.Err()
}

func orUnknown(reason string) string {
	if reason == "" {
		return "the server gives no reason"
	}
	return reason
}

// settle takes the pushed commit into the mirror.
func (v *reverting) settle() (RevertResult, error) {
	result := RevertResult{Outcome: Reverted, Commit: revisionOf(v.plan.commit), Head: revisionOf(v.plan.commit)}
	if err := v.plan.made.save(); err != nil {
		return result, nil // it is on the branch; the next poll brings it
	}
	_, _ = v.arrived(v.plan.commit, v.mirror.path())
	return result, nil
}

// plan is a revert that is ready to be pushed onto one head.
type plan struct {
	head, commit, tree plumbing.Hash
	made               *workspace
	pack               []byte
}

// planRevert decides without talking to anybody. It returns either a plan or
// the result. onLine demands that the guilty commit be on head's first-parent
// line.
func (o *objects) planRevert(ctx context.Context, request RevertRequest, head commit, by signer, onLine bool) (*plan, RevertResult, error) {
	result := RevertResult{Head: head.Revision}
	guilty, err := o.commit(request.Guilty)
	if err != nil {
		return nil, result, err
	}
	earlier, err := o.findRevert(ctx, guilty.Revision, head, onLine)
	if err != nil {
		return nil, result, err
	}
	if earlier != "" {
		result.Outcome, result.Commit = AlreadyReverted, earlier
		return nil, result, nil
	}
	original, isRevert, err := o.revertedBy(guilty)
	if err != nil {
		return nil, result, err
	}
	if isRevert {
		refused := refusedRevert(guilty, original)
		refused.Head = head.Revision
		return nil, refused, nil
	}
	return o.mergeRevert(request, guilty, head, by)
}

func refusedRevert(guilty commit, original source.Revision) RevertResult {
	return RevertResult{
		Outcome: RefusedRevertOfRevert,
		Detail:  fmt.Sprintf("%s takes %s back; a person has to decide", guilty.Revision.Short(), original.Short()),
	}
}

func (o *objects) mergeRevert(request RevertRequest, guilty, head commit, by signer) (*plan, RevertResult, error) {
	result := RevertResult{Head: head.Revision}
	made := newWorkspace(o)
	before, err := made.before(guilty)
	if err != nil {
		return nil, result, err
	}
	if err := o.obtainChanged(o.treeBefore(guilty), guilty.tree, head.tree); err != nil {
		return nil, result, err
	}
	merged, err := merge.Trees(made, merge.Hash(guilty.tree), merge.Hash(head.tree), merge.Hash(before))
	if err != nil {
		return nil, result, err
	}
	switch {
	case len(merged.Conflicts) > 0:
		result.Outcome = Conflict
		result.Detail = merged.Conflicts[0].String()
		for _, c := range merged.Conflicts {
			result.Conflicts = append(result.Conflicts, c.Path)
		}
		return nil, result, nil
	case plumbing.Hash(merged.Tree) == head.tree:
		result.Outcome = NothingToRevert
		return nil, result, nil
	}
	hash, err := made.commit(plumbing.Hash(merged.Tree), head.hash, source.RevertMessage(guilty.Commit, request.Note), by)
	if err != nil {
		return nil, result, err
	}
	pack, err := made.pack()
	return &plan{head: head.hash, commit: hash, tree: plumbing.Hash(merged.Tree), made: made, pack: pack}, result, err
}

// treeBefore is the tree that a commit was made on, zero for a first one.
func (o *objects) treeBefore(c commit) plumbing.Hash {
	parent, found := c.firstParent()
	if !found {
		return plumbing.ZeroHash
	}
	p, err := o.commitAt(parent)
	if err != nil {
		return plumbing.ZeroHash // whoever reads it says so
	}
	return p.tree
}

// before is the tree that a commit was made on; a first commit was made on an
// empty one.
func (w *workspace) before(c commit) (plumbing.Hash, error) {
	parent, found := c.firstParent()
	if !found {
		return w.add(plumbing.TreeObject, nil), nil
	}
	p, err := w.objects.commitAt(parent)
	return p.tree, w.objects.lost(err)
}

// findRevert looks between head and the guilty commit for one that takes the
// latter back: on the first-parent line, and in what was merged there directly,
// as a reviewed revert is.
func (o *objects) findRevert(ctx context.Context, guilty source.Revision, head commit, onLine bool) (source.Revision, error) {
	l := o.line(head.Revision)
	for range o.limits.History {
		c, found := l.step(ctx)
		switch {
		case !found && l.err != nil:
			return "", l.err
		case !found && onLine:
			return "", source.ErrNotAncestor
		case !found:
			return "", o.reachable(ctx, guilty, head)
		case c.Revision == guilty:
			return "", nil
		case takesBack(c, guilty):
			return c.Revision, nil
		}
		for _, parent := range c.parents()[min(1, len(c.Parents)):] {
			merged, err := o.commitAt(parent)
			if err != nil {
				return "", o.lost(err)
			}
			if takesBack(merged, guilty) {
				return merged.Revision, nil
			}
		}
	}
	return "", source.ErrTooFar
}

func takesBack(c commit, guilty source.Revision) bool {
	for _, value := range c.Trailer(source.TrailerReverts) {
		if value == string(guilty) {
			return true
		}
	}
	return false
}

// revertedBy tells which commit c takes back, itself or by merging a revert.
func (o *objects) revertedBy(c commit) (source.Revision, bool, error) {
	if original, found := c.Reverts(); found {
		return original, true, nil
	}
	for _, parent := range c.parents()[min(1, len(c.Parents)):] {
		merged, err := o.commitAt(parent)
		if err != nil {
			return "", false, o.lost(err)
		}
		if original, found := merged.Reverts(); found {
			return original, true, nil
		}
	}
	return "", false, nil
}

// reachable looks along all parents.
func (o *objects) reachable(ctx context.Context, wanted source.Revision, head commit) error {
	seen := map[plumbing.Hash]bool{head.hash: true}
	for queue := []plumbing.Hash{head.hash}; len(queue) > 0; queue = queue[1:] {
		if err := cancelled(ctx, len(seen)); err != nil {
			return err
		}
		if len(seen) > o.limits.History {
			return source.ErrTooFar
		}
		c, err := o.commitAt(queue[0])
		if err != nil {
			return err
		}
		if c.Revision == wanted {
			return nil
		}
		for _, parent := range c.Parents {
			hash := plumbing.NewHash(string(parent))
			if !seen[hash] {
				seen[hash] = true
				queue = append(queue, hash)
			}
		}
	}
	return source.ErrNotAncestor
}

package gogit

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"github.com/go-git/go-git/v5/plumbing"

	"chaperone.dev/chaperone/internal/promotion"
	"chaperone.dev/chaperone/internal/source"
	"chaperone.dev/chaperone/internal/source/merge"
)

// ProposeRequest says which pin to move, and what to say about it.
type ProposeRequest struct {
	Environment string // <pipeline>/<name>
	File        string // its file in the repository
	To          source.Revision
	Note        source.PromoteNote // its Environment and To are these
}

// How a promotion ended, besides Rejected and, in a checked-out repository,
// Uncommitted.
const (
	// Proposed: the commit that moves the pin was made now, on Branch.
	Proposed Outcome = "Proposed"
	// Current: Branch proposed the same before, and it still applies.
	Current Outcome = "Current"
	// Obsolete: the followed branch has the pin there already.
	Obsolete Outcome = "Obsolete"
	// Foreign: Branch holds other people's work, which is never overwritten.
	Foreign Outcome = "Foreign"
	// Invalid: the file at the head is not there, or cannot be edited, or the
	// revision is not one of the followed branch; Detail says which.
	Invalid Outcome = "Invalid"
	// Withdrawn: Branch was deleted now.
	Withdrawn Outcome = "Withdrawn"
	// Absent: there is no such branch.
	Absent Outcome = "Absent"
)

// ProposeResult tells what Branch holds now: Commit is its head, empty if there
// is none or nothing was looked at. Detail is for people, without credentials.
type ProposeResult struct {
	Outcome Outcome
	Commit  source.Revision
	Branch  string
	Detail  string
}

// branches are the two that a promotion is about, as they are in one place.
type branches struct {
	followed string // its name
	head     commit
	proposal plumbing.ReferenceName
	tip      plumbing.Hash // zero if there is no such branch
	self     string        // e-mail address of the only one whose proposals may be replaced; "" is anybody's
}

// promotionRef refuses an environment that makes no branch of its own.
func promotionRef(environment, followed string) (plumbing.ReferenceName, error) {
	ref, err := branchRef(source.PromotionBranch(environment))
	if err != nil || environment == "" || ref.Short() == followed {
		return "", fmt.Errorf("environment %q: want <pipeline>/<name>, which makes a branch besides %q", environment, followed)
	}
	return ref, nil
}

// planProposal decides without talking to anybody. It returns either a plan or
// the result.
func (o *objects) planProposal(ctx context.Context, request ProposeRequest, at branches, by signer) (*plan, ProposeResult, error) {
	result := ProposeResult{Branch: at.proposal.Short(), Commit: tipOf(at.tip)}
	contained, err := o.contains(ctx, request.To, at.head.Revision)
	if err != nil && !errors.Is(err, source.ErrTooFar) {
		return nil, result, err
	}
	if !contained {
		result.Outcome, result.Detail = Invalid, fmt.Sprintf("%s is not a commit of %s, or too far from its head to tell", request.To, at.followed)
		return nil, result, nil
	}
	edited, problem, err := o.movePin(at.head, request.File, request.To)
	switch {
	case err != nil:
		return nil, result, err
	case problem != "":
		result.Outcome, result.Detail = Invalid, problem
		return nil, result, nil
	case edited == nil:
		result.Outcome = Obsolete
		return nil, result, nil
	}
	current, why, err := o.stands(ctx, request, at)
	switch {
	case err != nil:
		return nil, result, err
	case why != "":
		result.Outcome, result.Detail = Foreign, why
		return nil, result, nil
	case current:
		result.Outcome = Current
		return nil, result, nil
	}
	p, err := o.commitFile(at.head, request.File, edited, message(request), by)
	return p, result, err
}

func tipOf(tip plumbing.Hash) source.Revision {
	if tip.IsZero() {
		return ""
	}
	return revisionOf(tip)
}

func message(request ProposeRequest) string {
	note := request.Note
	note.Environment, note.To = request.Environment, request.To
	return source.PromoteMessage(note)
}

// movePin returns the file with its pin moved; nil if the pin is there already.
func (o *objects) movePin(at commit, file string, to source.Revision) (edited []byte, problem string, err error) {
	if !fs.ValidPath(file) {
		return nil, fmt.Sprintf("%q is not the path of a file", file), nil
	}
	n, found, err := o.find(at.tree, file)
	switch {
	case err != nil:
		return nil, "", err
	case !found:
		return nil, fmt.Sprintf("%s: there is no such file at %s", file, at.Revision.Short()), nil
	case n.kind() != kindFile:
		return nil, fmt.Sprintf("%s: not a regular file at %s", file, at.Revision.Short()), nil
	}
	content, err := o.blob(n.hash)
	if errors.Is(err, errTooLarge) {
		return nil, fmt.Sprintf("%s: %v", file, err), nil
	}
	if err != nil {
		return nil, "", err
	}
	edited, err = promotion.SetRevision(content, to)
	switch {
	case err != nil:
		return nil, fmt.Sprintf("%s: %v", file, err), nil
	case bytes.Equal(edited, content):
		return nil, "", nil
	}
	return edited, "", nil
}

// stands looks at what the promotion branch holds: whether it proposes what is
// asked for and still applies, or why it is not ours to touch.
func (o *objects) stands(ctx context.Context, request ProposeRequest, at branches) (current bool, why string, err error) {
	ours, why, err := o.ours(ctx, at)
	if err != nil || why != "" || ours == nil {
		return false, why, err
	}
	if ours.to != request.To || ours.file != request.File {
		return false, ours.byHand, nil
	}
	now, _, err := o.find(at.head.tree, request.File)
	if err != nil || now == ours.before {
		return err == nil, "", err
	}
	return false, ours.byHand, nil
}

// proposed is what a commit of ours on a promotion branch does.
type proposed struct {
	file   string
	to     source.Revision
	before node   // the file that it was made on
	byHand string // why it is a person's, and not to be touched; "" where it is not
}

// ours reads the promotion branch. It is nil if the branch holds nothing that
// the followed one does not: no work can get lost with it. What is not exactly
// one commit that moves one pin is somebody else's, whatever it says of itself.
func (o *objects) ours(ctx context.Context, at branches) (found *proposed, why string, err error) {
	if at.tip.IsZero() {
		return nil, "", nil
	}
	tip, err := o.commitAt(at.tip)
	if err != nil {
		return nil, "", o.lost(err)
	}
	merged, err := o.contains(ctx, tip.Revision, at.head.Revision)
	if merged || err != nil && !errors.Is(err, source.ErrTooFar) {
		return nil, "", err
	}
	foreign := func(what string) (*proposed, string, error) {
		return nil, foreignBranch(at, fmt.Sprintf("%s by %q %s", tip.Revision.Short(), tip.Author.Name, what)), nil
	}
	to, promotes := tip.Promotes()
	if !promotes || len(tip.Parents) != 1 {
		return foreign("is not a proposal of chaperone's")
	}
	onLine, err := o.contains(ctx, tip.Parents[0], at.head.Revision)
	if err != nil && !errors.Is(err, source.ErrTooFar) {
		return nil, "", err
	}
	if !onLine {
		return foreign("stands on commits that are not on " + at.followed)
	}
	switch found, err = o.readProposal(tip, to); {
	case err != nil:
		return nil, "", err
	case found == nil:
		return foreign("changes more than one pin")
	case at.self != "" && !strings.EqualFold(tip.Author.Email, at.self):
		// A person wants exactly this, a break-glass perhaps, and others review it.
		_, found.byHand, _ = foreign("was proposed by hand and waits to be merged")
	}
	return found, "", nil
}

// foreignBranch says what a person can do.
func foreignBranch(at branches, what string) string {
	return fmt.Sprintf("branch %s: commit %s; delete the branch to have promotions proposed there", at.proposal.Short(), what)
}

// readProposal is nil if the commit does anything but move the pin of one file
// to a revision, every other byte kept.
func (o *objects) readProposal(tip commit, to source.Revision) (*proposed, error) {
	parent, err := o.commitAt(plumbing.NewHash(string(tip.Parents[0])))
	if err != nil {
		return nil, o.lost(err)
	}
	changed := difference{objects: o}
	if err := changed.trees("", parent.tree, tip.tree); err != nil {
		return nil, err
	}
	if len(changed.paths) != 1 {
		return nil, nil
	}
	p := &proposed{file: changed.paths[0], to: to}
	edited, _, err := o.movePin(parent, p.file, to)
	if err != nil || edited == nil {
		return nil, err
	}
	if p.before, _, err = o.find(parent.tree, p.file); err != nil {
		return nil, err
	}
	after, _, err := o.find(tip.tree, p.file)
	same := after.mode == p.before.mode && after.hash == plumbing.ComputeHash(plumbing.BlobObject, edited)
	if err != nil || !same {
		return nil, err
	}
	return p, nil
}

// commitFile makes a commit that gives one file another content.
func (o *objects) commitFile(on commit, file string, content []byte, message string, by signer) (*plan, error) {
	made := newWorkspace(o)
	tree, err := made.withFile(on.tree, file, content)
	if err != nil {
		return nil, fmt.Errorf("write %s: %w", file, err)
	}
	hash, err := made.commit(tree, on.hash, message, by)
	if err != nil {
		return nil, err
	}
	pack, err := made.pack()
	return &plan{head: on.hash, commit: hash, tree: tree, made: made, pack: pack}, err
}

// withFile is a tree in which one file, which is there, has another content.
func (w *workspace) withFile(tree plumbing.Hash, file string, content []byte) (plumbing.Hash, error) {
	entries, err := w.Tree(merge.Hash(tree))
	if err != nil {
		return plumbing.ZeroHash, err
	}
	name, below, deeper := strings.Cut(file, "/")
	i := slices.IndexFunc(entries, func(e merge.Entry) bool { return e.Name == name })
	if i < 0 {
		return plumbing.ZeroHash, fs.ErrNotExist
	}
	if deeper {
		sub, err := w.withFile(plumbing.Hash(entries[i].Hash), below, content)
		if err != nil {
			return plumbing.ZeroHash, err
		}
		entries[i].Hash = merge.Hash(sub)
	} else if entries[i].Hash, err = w.WriteBlob(content); err != nil {
		return plumbing.ZeroHash, err
	}
	merge.Sort(entries)
	written, err := w.WriteTree(entries)
	return plumbing.Hash(written), err
}

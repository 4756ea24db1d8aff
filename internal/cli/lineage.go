package cli

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"sort"

	"chaperone.dev/chaperone/internal/promotion"
	"chaperone.dev/chaperone/internal/source"
)

// turn is a commit of the branch's line that takes the followed one back, or
// brings it back again.
type turn struct {
	by   source.Revision
	back bool
}

// follow finds out what became of the commit on the branch.
func (t *tracer) follow(ctx context.Context) error {
	place := t.place(t.commit.Revision)
	if place < 0 {
		var err error
		// What has it, and what came after that, stands in front.
		place = sort.Search(len(t.line), func(i int) bool {
			contained, failed := t.Contains(ctx, t.commit.Revision, t.line[i].Revision)
			err = errors.Join(err, failed)
			return !contained
		}) - 1
		if err != nil {
			return err
		}
	}
	if place < 0 {
		return fmt.Errorf("%s is more than %d commits back on %s: %w", t.commit.Revision.Short(), maxHistory, t.branch, source.ErrTooFar)
	}
	t.carrier = t.line[place].Revision
	watched := []source.Revision{t.commit.Revision, t.carrier}
	for i := place - 1; i >= 0; i-- {
		turns, err := t.undoes(t.line[i], watched)
		if err != nil {
			return err
		}
		if turns == nil {
			continue
		}
		back := len(t.turns)%2 == 0
		t.turns = append(t.turns, turn{t.line[i].Revision, back})
		watched = turns
		if !back { // it is there again, and may be taken back by any of its names
			watched = append(watched, t.commit.Revision, t.carrier)
		}
	}
	return nil
}

var revertsCommit = regexp.MustCompile(`This reverts commit ([0-9a-f]{40})`)

// undoes reports whether a commit, or what it merges, takes one of the others
// back, and then under which names it may itself be taken back. People write
// reverts with git, the daemon with its trailer.
func (t *tracer) undoes(commit source.Commit, others []source.Revision) ([]source.Revision, error) {
	names := []source.Revision{commit.Revision}
	found := takesBack(commit, others)
	for _, parent := range commit.Parents[min(1, len(commit.Parents)):] {
		merged, err := t.Commit(parent)
		if err != nil {
			return nil, err
		}
		if takesBack(merged, others) {
			found, names = true, append(names, parent)
		}
	}
	if !found {
		return nil, nil
	}
	return names, nil
}

func takesBack(commit source.Commit, others []source.Revision) bool {
	if original, found := commit.Reverts(); found {
		return slices.Contains(others, original)
	}
	for _, match := range revertsCommit.FindAllStringSubmatch(commit.Message, -1) {
		if slices.Contains(others, source.Revision(match[1])) {
			return true
		}
	}
	return false
}

// takenBackBy is the commit that takes the followed one back on the branch;
// "" where it is in effect.
func (t *tracer) takenBackBy() source.Revision {
	if len(t.turns) == 0 || !t.turns[len(t.turns)-1].back {
		return ""
	}
	return t.turns[len(t.turns)-1].by
}

// has reports whether a target is in effect in a revision that an environment
// has. Without a clone only the same commit is known to be.
func (t *tracer) has(ctx context.Context, target, in source.Revision) (bool, error) {
	switch {
	case in == "" || target == in:
		return in != "", nil
	case t.clone == nil:
		return false, nil
	}
	contained, err := t.contained(ctx, target, in)
	if err != nil || !contained || target != t.commit.Revision {
		return contained, err
	}
	for _, turn := range slices.Backward(t.turns) {
		reached, err := t.contained(ctx, turn.by, in)
		if err != nil {
			return false, err
		}
		if reached {
			return !turn.back, nil
		}
	}
	return true, nil
}

func (t *tracer) contained(ctx context.Context, revision, in source.Revision) (bool, error) {
	contained, err := t.Contains(ctx, revision, in)
	if errors.Is(err, source.ErrUnknownRevision) {
		return false, fmt.Errorf("%s: %w; bring it up to date", in.Short(), errBehind)
	}
	return contained, err
}

// target is what to look for in an environment: the commit, or, where the
// commit moves the environment's pin, what it moves it to.
func (t *tracer) target(env promotion.Environment) (target source.Revision, movesPin bool, err error) {
	target = t.commit.Revision
	if t.clone == nil || len(t.commit.Parents) == 0 {
		return target, false, nil
	}
	after, err := t.pinAt(env.ID, t.commit.Revision)
	if err != nil || after == "" {
		return target, false, err
	}
	before, err := t.pinAt(env.ID, t.commit.Parents[0])
	if err != nil || before == after {
		return target, false, err
	}
	return after, true, nil
}

// pinAt is what an environment's file says; "" where it is not valid, too.
func (t *tracer) pinAt(id promotion.ID, at source.Revision) (source.Revision, error) {
	snapshot, err := t.Snapshot(at)
	if err != nil {
		return "", err
	}
	file, _, err := promotion.LoadFile(snapshot, id)
	if errors.Is(err, promotion.ErrInvalidFile) {
		return "", nil
	}
	return file.Revision, err
}

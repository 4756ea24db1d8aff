package controller

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"chaperone.dev/chaperone/internal/promotion"
	"chaperone.dev/chaperone/internal/source"
)

const (
	// maxMoves bounds the first-parent commits since a pin was moved.
	maxMoves = 10_000
	// movesAtOnce is how many are asked for at a time: most pins are young.
	movesAtOnce = 250
	// maxMovers bounds what is remembered: one for each environment is enough.
	maxMovers = 8192
)

// errTooOld: nobody can tell any more who moved the pin.
var errTooOld = fmt.Errorf("nobody can tell any more who moved the pin, for more than %d commits were made since; "+
	"to approve, move it to another revision, and then here again", maxMoves)

// move is a commit that made an environment's revision and path what they are.
type move struct {
	source.Commit
	// murky are the commits right before it at which the file could not be read.
	// One of them may have moved the pin, and this one only mended the file.
	murky []source.Commit
}

// movers remembers who moved pins as of a head, so that a later head costs
// only what it added.
type movers struct {
	mu    sync.Mutex
	known map[moverKey]seenMove
}

type moverKey struct {
	id       promotion.ID
	revision source.Revision
	path     string
}

// seenMove is who had moved a pin as of a head.
type seenMove struct {
	head  source.Revision
	first move // the oldest of the line that had the pin without a break
	by    move
}

func (m *movers) get(key moverKey) seenMove {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.known[key]
}

func (m *movers) put(key moverKey, value seenMove) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.known == nil || len(m.known) >= maxMovers {
		m.known = map[moverKey]seenMove{}
	}
	m.known[key] = value
}

// trail looks for who moved one environment's pin.
type trail struct {
	Source
	file promotion.Environment
	pins map[string]pin // by the hash of the file
}

// pin is what a commit makes of the environment, compared to what is to run.
type pin int

const (
	pinOther pin = iota // or no file at all
	pinSame
	pinUnreadable
)

func newTrail(s Source, file promotion.Environment) *trail {
	return &trail{Source: s, file: file, pins: map[string]pin{}}
}

func (t *trail) pinAt(revision source.Revision) (pin, error) {
	snapshot, err := t.Snapshot(revision)
	if err != nil {
		return pinOther, err
	}
	hash, err := snapshot.Hash(t.file.File)
	if err != nil || hash == "" {
		return pinOther, err
	}
	if known, found := t.pins[hash]; found {
		return known, nil
	}
	is := pinOther
	file, _, err := promotion.LoadFile(snapshot, t.file.ID)
	switch {
	case errors.Is(err, promotion.ErrInvalidFile):
		is = pinUnreadable
	case err != nil:
		return pinOther, err
	case file.Revision == t.file.Revision && file.Path == t.file.Path:
		is = pinSame
	}
	t.pins[hash] = is
	return is, nil
}

// head is who moved the pin to what stands at the head of the branch.
func (t *trail) head(ctx context.Context, head source.Revision, memory *movers) (move, bool, error) {
	key := moverKey{t.file.ID, t.file.Revision, t.file.Path}
	seen, found, err := t.mover(ctx, head, memory.get(key))
	if found && err == nil {
		memory.put(key, seen)
	}
	return seen.by, found, err
}

// mover is the commit on a first-parent line that brought the pin, as far as
// no later one decided otherwise. It is not found where the pin is another.
// What was seen at an earlier commit of the line is not looked for again.
func (t *trail) mover(ctx context.Context, from source.Revision, before seenMove) (seenMove, bool, error) {
	line, first, err := t.run(ctx, from, before.head)
	if err != nil || len(line) == 0 {
		return seenMove{}, false, err
	}
	seen, base := seenMove{from, first, first}, first.Revision
	if line[len(line)-1] == before.head {
		seen.first, seen.by, base = before.first, before.by, before.head
	}
	decided, found, err := t.decided(ctx, seen.first.Revision, base, line)
	if err != nil {
		return seenMove{}, false, err
	}
	if found {
		seen.by = decided
	}
	return seen, true, nil
}

// run is the newest part of a first-parent line whose commits all have the pin,
// or a file that cannot be read, newest first, and the oldest that has the pin.
// It ends at until.
func (t *trail) run(ctx context.Context, from, until source.Revision) (line []source.Revision, oldest move, err error) {
	for next := from; next != ""; {
		commits, err := t.FirstParents(ctx, "", next, movesAtOnce)
		if err != nil {
			return nil, move{}, err
		}
		next = ""
		for _, commit := range commits {
			is, err := t.pinAt(commit.Revision)
			switch {
			case err != nil:
				return nil, move{}, err
			case is == pinOther, is == pinUnreadable && len(line) == 0:
				return line, oldest, nil
			case is == pinUnreadable:
				oldest.murky = append(oldest.murky, commit)
			default:
				oldest = move{Commit: commit}
			}
			line = append(line, commit.Revision)
			if commit.Revision == until {
				return line, oldest, nil
			}
			if len(line) > maxMoves {
				return nil, move{}, errTooOld
			}
			next = append(commit.Parents, "")[0]
		}
	}
	return line, oldest, nil
}

// decided is the newest merge of the line that took back what came after the
// first that had the pin, and set another. Which of a merge's parents is its
// first is for its maker to say: an old commit there does not make the pin that
// one's again. Up to base, which is the first or comes after it, all is seen.
func (t *trail) decided(ctx context.Context, first, base source.Revision, line []source.Revision) (move, bool, error) {
	if line[0] == base {
		return move{}, false, nil
	}
	commits, err := t.Beyond(ctx, base, line[0])
	if err != nil {
		return move{}, false, tooOld(err)
	}
	d := descent{trail: t, first: first, base: base, commits: map[source.Revision]source.Commit{}, known: map[source.Revision]bool{first: true, base: true}}
	for _, commit := range commits {
		d.commits[commit.Revision] = commit
	}
	brought := d.brought(line)
	newest := len(line)
	for _, commit := range commits {
		at, found := brought[commit.Revision]
		if !found || at >= newest || line[at] == commit.Revision {
			continue
		}
		differs, err := d.differs(ctx, commit.Revision)
		if err != nil {
			return move{}, false, err
		}
		if differs {
			newest = at
		}
	}
	if newest == len(line) {
		return move{}, false, nil
	}
	by, err := d.settled(line[:newest+1])
	return by, true, err
}

// settled is the oldest of some commits that can be read: all before it had to
// be mended.
func (d *descent) settled(line []source.Revision) (move, error) {
	var by move
	for _, revision := range slices.Backward(line) {
		by.Commit = d.commits[revision]
		is, err := d.pinAt(revision)
		if is == pinSame || err != nil {
			return by, err
		}
		by.murky = slices.Insert(by.murky, 0, by.Commit)
	}
	return by, nil
}

// descent tells which commits come after the one that first had a pin.
type descent struct {
	*trail
	first, base source.Revision
	commits     map[source.Revision]source.Commit // all that are beyond base
	known       map[source.Revision]bool
}

// differs reports whether a commit has another pin than the one before it.
func (d *descent) differs(ctx context.Context, revision source.Revision) (bool, error) {
	is, err := d.pinAt(revision)
	if is != pinOther || err != nil {
		return false, err
	}
	after, err := d.after(ctx, revision)
	if !after || err != nil || d.base == d.first {
		return after, err
	}
	seen, err := d.ancestor(ctx, revision, d.base)
	return !seen, err
}

// brought tells by which commit of the line each one came: the oldest from
// which it can be reached.
func (d *descent) brought(line []source.Revision) map[source.Revision]int {
	by := map[source.Revision]int{}
	for at, revision := range slices.Backward(line) {
		for stack := []source.Revision{revision}; len(stack) > 0; {
			next := stack[len(stack)-1]
			stack = stack[:len(stack)-1]
			commit, beyond := d.commits[next]
			if _, seen := by[next]; seen || !beyond {
				continue
			}
			by[next] = at
			stack = append(stack, commit.Parents...)
		}
	}
	return by
}

// after goes from parent to parent, without recursion: histories are long.
func (d *descent) after(ctx context.Context, of source.Revision) (bool, error) {
	path := []source.Revision{of}
	for len(path) > 0 {
		revision := path[len(path)-1]
		if _, known := d.known[revision]; known {
			path = path[:len(path)-1]
			continue
		}
		commit, beyond := d.commits[revision]
		if !beyond {
			is, err := d.below(ctx, revision)
			if err != nil {
				return false, err
			}
			d.known[revision] = is
			continue
		}
		waits, is := false, false
		for _, parent := range commit.Parents {
			after, known := d.known[parent]
			if !known {
				path, waits = append(path, parent), true
			}
			is = is || after
		}
		if is || !waits {
			d.known[revision] = is
		}
	}
	return d.known[of], nil
}

// below tells it of a commit that base has, too.
func (d *descent) below(ctx context.Context, revision source.Revision) (bool, error) {
	if d.base == d.first {
		return false, nil
	}
	return d.ancestor(ctx, d.first, revision)
}

// ancestor reports whether a commit is another one, or can be reached from it.
func (t *trail) ancestor(ctx context.Context, revision, of source.Revision) (bool, error) {
	if revision == of {
		return true, nil
	}
	commits, err := t.Beyond(ctx, revision, of)
	if err != nil {
		return false, tooOld(err)
	}
	// Whatever leads down to it is beyond it, and the last step names it.
	return slices.ContainsFunc(commits, func(c source.Commit) bool { return slices.Contains(c.Parents, revision) }), nil
}

func tooOld(err error) error {
	if errors.Is(err, source.ErrTooFar) {
		return errTooOld
	}
	return err
}

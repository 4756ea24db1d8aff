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
	// maxTurns bounds how often a pin was contested since.
	maxTurns = 100
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
	head source.Revision
	by   move
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
	by, found, err := t.mover(ctx, head, memory.get(key))
	if found && err == nil {
		memory.put(key, seenMove{head, by})
	}
	return by, found, err
}

// mover is the commit on a first-parent line that brought the pin, as far as
// no later one decided otherwise. It is not found where the pin is another.
// What was known of an earlier commit of the line is not looked for again.
func (t *trail) mover(ctx context.Context, from source.Revision, before seenMove) (move, bool, error) {
	line, by, found, err := t.run(ctx, from, before)
	if !found || err != nil {
		return move{}, found, err
	}
	base := by.Revision
	if known := before.head; known != "" && slices.Contains(line, known) {
		base = known
	}
	for range maxTurns {
		contested, err := t.contested(ctx, by.Revision, base, from, line)
		if contested == "" || err != nil {
			return by, true, err
		}
		commit, err := t.bringing(ctx, contested, by.Revision, line)
		if err != nil {
			return move{}, false, err
		}
		by, base = move{Commit: commit}, commit.Revision
	}
	return move{}, false, errTooOld
}

// run is the newest part of a first-parent line whose commits all have the pin,
// or a file that cannot be read, newest first, and the oldest that has the pin.
func (t *trail) run(ctx context.Context, from source.Revision, before seenMove) (line []source.Revision, by move, found bool, err error) {
	for next := from; next != ""; {
		commits, err := t.FirstParents(ctx, "", next, movesAtOnce)
		if err != nil {
			return nil, move{}, false, err
		}
		next = ""
		for _, commit := range commits {
			is, err := t.pinAt(commit.Revision)
			switch {
			case err != nil:
				return nil, move{}, false, err
			case is == pinOther, is == pinUnreadable && len(line) == 0:
				return line, by, by.Revision != "", nil
			case is == pinUnreadable:
				by.murky = append(by.murky, commit)
			default:
				by = move{Commit: commit}
			}
			line = append(line, commit.Revision)
			if commit.Revision == before.head {
				return line, before.by, true, nil
			}
			if len(line) > maxMoves {
				return nil, move{}, false, errTooOld
			}
			if len(commit.Parents) > 0 {
				next = commit.Parents[0]
			} else {
				next = ""
			}
		}
	}
	return line, by, by.Revision != "", nil
}

// contested is a commit beside the line that comes after the mover and has
// another pin: a merge that is on the line took that back, by whichever order
// of parents. Up to base, which is the mover or comes after it, there is none.
func (t *trail) contested(ctx context.Context, mover, base, from source.Revision, line []source.Revision) (source.Revision, error) {
	if from == base {
		return "", nil
	}
	commits, err := t.Beyond(ctx, base, from)
	if err != nil {
		return "", tooOld(err)
	}
	d := descent{trail: t, mover: mover, base: base, commits: map[source.Revision]source.Commit{}, known: map[source.Revision]bool{}}
	for _, commit := range commits {
		d.commits[commit.Revision] = commit
	}
	onLine := make(map[source.Revision]bool, len(line))
	for _, revision := range line {
		onLine[revision] = true
	}
	for _, commit := range commits {
		if onLine[commit.Revision] {
			continue
		}
		is, err := t.pinAt(commit.Revision)
		if err != nil {
			return "", err
		}
		if is != pinOther {
			continue
		}
		if after, err := d.after(ctx, commit.Revision); after || err != nil {
			return commit.Revision, err
		}
	}
	return "", nil
}

// descent tells which commits come after the one that moved a pin.
type descent struct {
	*trail
	mover, base source.Revision
	commits     map[source.Revision]source.Commit // all that are beyond base
	known       map[source.Revision]bool
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
	if revision == d.base || d.base == d.mover {
		return revision == d.base, nil
	}
	return d.ancestor(ctx, d.mover, revision)
}

// bringing is the commit of the line, after the mover, that brought another in.
func (t *trail) bringing(ctx context.Context, brought, mover source.Revision, line []source.Revision) (source.Commit, error) {
	// line is newest first: the oldest commit that has it is looked for, and the
	// newest has it.
	newest, oldest := 0, len(line)
	if at := slices.Index(line, mover); at >= 0 {
		oldest = at
	}
	for newest+1 < oldest {
		middle := (newest + oldest) / 2
		has, err := t.ancestor(ctx, brought, line[middle])
		if err != nil {
			return source.Commit{}, err
		}
		if has {
			newest = middle
		} else {
			oldest = middle
		}
	}
	return t.Commit(line[newest])
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

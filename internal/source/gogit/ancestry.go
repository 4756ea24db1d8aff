package gogit

import (
	"cmp"
	"container/heap"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/go-git/go-git/v5/plumbing"

	"chaperone.dev/chaperone/internal/promotion"
	"chaperone.dev/chaperone/internal/source"
)

// Contains reports whether revision is the present head or one of its
// ancestors along any parent: whether it is a commit of the source at all. What
// only a promotion branch has, or had before a force-push, is not. It looks at
// the commits between the two, and wraps source.ErrTooFar where these are too
// many.
func (r *Repository) Contains(ctx context.Context, revision source.Revision) (bool, error) {
	head := r.Head()
	if head == "" {
		return false, fmt.Errorf("look for %s in %s: %w: no head is known yet", revision.Short(), r.remote.object(), source.ErrUnavailable)
	}
	return r.contains(ctx, revision, head)
}

// Contains reports whether revision is head or one of its ancestors along any
// parent.
func (l *Local) Contains(ctx context.Context, revision, head source.Revision) (bool, error) {
	return l.contains(ctx, revision, head)
}

// Beyond returns the commits that upTo has over after, along any parent, newest
// first. It wraps source.ErrTooFar if these are too many to tell. Where dates
// run backwards it may hold some that after has, too; it never leaves one out.
func (o *objects) Beyond(ctx context.Context, after, upTo source.Revision) ([]source.Commit, error) {
	found, err := o.between(ctx, after, upTo)
	if err != nil {
		return nil, fmt.Errorf("commits of %s beyond %s: %w", upTo.Short(), after.Short(), err)
	}
	commits := make([]source.Commit, len(found))
	for i, c := range found {
		commits[i] = c.Commit
	}
	return commits, nil
}

func (o *objects) between(ctx context.Context, after, upTo source.Revision) ([]commit, error) {
	last, err := o.commit(upTo)
	if err != nil {
		return nil, err
	}
	first, err := o.commit(after)
	if err != nil {
		return nil, err
	}
	return o.beyond(ctx, first, last)
}

// Authors are those who wrote what the commits bring that upTo has over after,
// each once by e-mail, those of the newest commits first; without after, of
// upTo alone, or of what it merged. All parents count, so that what a merge
// brought in has its authors there. Who only merged wrote nothing, unless the
// merge holds what none of its parents has; nor did who only edited the files
// of environments, which are read at the head and never at a pin. It wraps
// source.ErrTooFar if more than max commits wrote something, or those to look
// at are too many to tell. Commits whose dates run backwards may add authors of
// older ones, and never leave one out.
func (o *objects) Authors(ctx context.Context, after, upTo source.Revision, max int) ([]source.Person, error) {
	fail := func(err error) ([]source.Person, error) {
		return nil, fmt.Errorf("authors of %s since %q: %w", upTo.Short(), after.Short(), err)
	}
	last, err := o.commit(upTo)
	if err != nil {
		return fail(err)
	}
	if after == "" && len(last.Parents) > 1 {
		after = last.Parents[0]
	}
	commits := []commit{last}
	if after != "" {
		if commits, err = o.between(ctx, after, upTo); err != nil {
			return fail(err)
		}
	}
	var wrote []commit
	for i, c := range commits {
		if err := cancelled(ctx, i); err != nil {
			return fail(err)
		}
		written, err := o.writes(c)
		if err != nil {
			return fail(err)
		}
		if written {
			wrote = append(wrote, c)
		}
		if len(wrote) > max {
			return fail(fmt.Errorf("%w: more than %d that wrote something", source.ErrTooFar, max))
		}
	}
	return authors(wrote), nil
}

// writes reports whether a commit holds anything that no parent of it has,
// beside the files of environments.
func (o *objects) writes(c commit) (bool, error) {
	if len(c.Parents) == 0 {
		return true, nil
	}
	var own map[string]bool // paths that differ from every parent so far
	for _, parent := range c.Parents {
		paths, err := o.Changed(parent, c.Revision)
		if err != nil {
			return false, err
		}
		if len(paths) >= maxChanged {
			return true, nil // too many to tell
		}
		differs := map[string]bool{}
		for _, path := range paths {
			if own == nil || own[path] {
				differs[path] = true
			}
		}
		own = differs
	}
	for path := range own {
		steers, err := o.steers(c, path)
		if !steers || err != nil {
			return !steers, err
		}
	}
	return false, nil
}

// steers reports whether what stands at path is the file of an environment, in
// a commit and in its parents, and nothing else: whatever else lies below
// environments/ can be rendered, as a base of an overlay.
func (o *objects) steers(c commit, path string) (bool, error) {
	parts := strings.Split(path, "/")
	if len(parts) != 3 || parts[0] != promotion.Dir {
		return false, nil
	}
	name, found := strings.CutSuffix(parts[2], ".yaml")
	if !found {
		return false, nil
	}
	for _, revision := range append([]source.Revision{c.Revision}, c.Parents...) {
		snapshot, err := o.Snapshot(revision)
		if err != nil {
			return false, err
		}
		_, _, err = promotion.LoadFile(snapshot, promotion.ID{Pipeline: parts[1], Name: name})
		if errors.Is(err, promotion.ErrInvalidFile) {
			return false, nil
		}
		if err != nil {
			return false, err
		}
	}
	return true, nil
}

func authors(commits []commit) []source.Person {
	var all []source.Person
	seen := map[string]bool{}
	for _, c := range commits {
		key := source.Address(cmp.Or(c.Author.Email, c.Author.Name))
		if !seen[key] {
			seen[key] = true
			all = append(all, c.Author)
		}
	}
	return all
}

// lineage remembers what contains found out about one head.
type lineage struct {
	mu    sync.Mutex
	head  source.Revision
	known map[source.Revision]bool
}

// maxLineage bounds the answers that are kept: one for each pin is enough.
const maxLineage = 4096

func (l *lineage) get(revision, head source.Revision) (contained, known bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.head != head {
		return false, false
	}
	contained, known = l.known[revision]
	return contained, known
}

func (l *lineage) put(revision, head source.Revision, contained bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.head != head || len(l.known) >= maxLineage {
		l.head, l.known = head, map[source.Revision]bool{}
	}
	l.known[revision] = contained
}

// contains answers no for a revision that is not here.
func (o *objects) contains(ctx context.Context, revision, head source.Revision) (bool, error) {
	if contained, known := o.lineage.get(revision, head); known {
		return contained, nil
	}
	fail := func(err error) (bool, error) {
		return false, fmt.Errorf("look for %s below %s: %w", revision.Short(), head.Short(), err)
	}
	newest, err := o.commit(head)
	if err != nil {
		return fail(err)
	}
	wanted, err := o.commit(revision)
	if errors.Is(err, source.ErrUnknownRevision) {
		return false, nil
	}
	if err != nil {
		return fail(err)
	}
	p := paint(o, wanted, newest)
	for p.pending > 0 && p.painted[wanted.hash] != both {
		if err := p.step(ctx); err != nil {
			return fail(err)
		}
	}
	contained := p.painted[wanted.hash] == both
	o.lineage.put(revision, head, contained)
	return contained, nil
}

// beyond returns what right has and left does not, newest first.
func (o *objects) beyond(ctx context.Context, left, right commit) ([]commit, error) {
	p := paint(o, left, right)
	for p.pending > 0 {
		if err := p.step(ctx); err != nil {
			return nil, err
		}
	}
	if err := p.settle(); err != nil {
		return nil, err
	}
	var found []commit
	for hash, side := range p.painted {
		if side != ofRight {
			continue
		}
		c, err := o.commitAt(hash)
		if err != nil {
			return nil, o.lost(err)
		}
		found = append(found, c)
	}
	slices.SortFunc(found, func(a, b commit) int {
		return cmp.Or(b.Committer.When.Compare(a.Committer.When), strings.Compare(string(a.Revision), string(b.Revision)))
	})
	return found, nil
}

// side is from which of two commits another one can be reached.
type side uint8

const (
	ofLeft side = 1 << iota
	ofRight
	both = ofLeft | ofRight
)

// painting walks down from two commits at once, newest first, and stops where
// the two have everything in common: what lies below costs nothing, however
// long the history is.
type painting struct {
	objects *objects
	painted map[plumbing.Hash]side
	queued  map[plumbing.Hash]bool
	queue   byDate
	pending int // in the queue, and not common
	steps   int
}

func paint(o *objects, left, right commit) *painting {
	p := &painting{objects: o, painted: map[plumbing.Hash]side{}, queued: map[plumbing.Hash]bool{}}
	p.add(left, ofLeft)
	p.add(right, ofRight)
	return p
}

func (p *painting) add(c commit, s side) {
	was := p.painted[c.hash]
	is := was | s
	if is == was {
		return
	}
	p.painted[c.hash] = is
	switch {
	case p.queued[c.hash] && is == both:
		p.pending--
	case !p.queued[c.hash]:
		p.queued[c.hash] = true
		heap.Push(&p.queue, c)
		if is != both {
			p.pending++
		}
	}
}

// step looks at the parents of the newest commit that was not looked at.
func (p *painting) step(ctx context.Context) error {
	if err := cancelled(ctx, p.steps); err != nil {
		return err
	}
	p.steps++
	if len(p.painted) > p.objects.limits.History {
		return source.ErrTooFar
	}
	c, _ := heap.Pop(&p.queue).(commit)
	delete(p.queued, c.hash)
	if p.painted[c.hash] != both {
		p.pending--
	}
	for _, parent := range c.Parents {
		above, err := p.objects.commitAt(plumbing.NewHash(string(parent)))
		if err != nil {
			return fmt.Errorf("parent of %s: %w", c.Revision.Short(), p.objects.lost(err))
		}
		p.add(above, p.painted[c.hash])
	}
	return nil
}

// settle passes on that a commit is common to those below it that were looked
// at before, as dates that run backwards lead to.
func (p *painting) settle() error {
	for stack := []commit(p.queue); len(stack) > 0; {
		c := stack[len(stack)-1]
		stack = stack[:len(stack)-1]
		for _, parent := range c.Parents {
			hash := plumbing.NewHash(string(parent))
			if s, seen := p.painted[hash]; !seen || s == both {
				continue
			}
			p.painted[hash] = both
			below, err := p.objects.commitAt(hash)
			if err != nil {
				return p.objects.lost(err)
			}
			stack = append(stack, below)
		}
	}
	return nil
}

// byDate is a heap with the newest commit on top.
type byDate []commit

func (q byDate) Len() int           { return len(q) }
func (q byDate) Less(i, j int) bool { return q[i].Committer.When.After(q[j].Committer.When) }
func (q byDate) Swap(i, j int)      { q[i], q[j] = q[j], q[i] }
func (q *byDate) Push(c any)        { *q = append(*q, c.(commit)) }
func (q *byDate) Pop() any {
	last := (*q)[len(*q)-1]
	*q = (*q)[:len(*q)-1]
	return last
}

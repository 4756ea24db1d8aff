package gogit

import (
	"context"
	"fmt"
	"io/fs"

	"github.com/go-git/go-git/v5/plumbing"

	"chaperone.dev/chaperone/internal/source"
)

// Commit returns one commit, or an error that wraps source.ErrUnknownRevision.
func (o *objects) Commit(revision source.Revision) (source.Commit, error) {
	c, err := o.commit(revision)
	return c.Commit, err
}

// line walks first parents from one commit, it included, to the root.
type line struct {
	objects *objects
	at      source.Revision // the one before
	next    plumbing.Hash
	err     error
	steps   int
	ended   bool
}

func (o *objects) line(from source.Revision) *line {
	c, err := o.commit(from)
	return &line{objects: o, next: c.hash, err: err, ended: err != nil}
}

// step returns the next commit, and false at the end of the line or on an
// error, which err then holds. It looks no further than that one: what is below
// it may have to be fetched.
func (l *line) step(ctx context.Context) (commit, bool) {
	if l.ended {
		return commit{}, false
	}
	if l.err = cancelled(ctx, l.steps); l.err != nil {
		l.ended = true
		return commit{}, false
	}
	l.steps++
	c, err := l.objects.commitAt(l.next)
	if err != nil {
		l.err = fmt.Errorf("parent of %s: %w", l.at.Short(), l.objects.lost(err))
		l.ended = true
		return commit{}, false
	}
	parent, found := c.firstParent()
	l.at, l.next, l.ended = c.Revision, parent, !found
	return c, true
}

// FirstParents returns the commits that upTo adds to after along first
// parents, newest first, upTo included. Without after it returns up to max
// commits. It wraps source.ErrNotAncestor if after is not on the line, as
// after a force-push, and source.ErrTooFar if more than max lie between. Only
// commits are read, no trees.
func (o *objects) FirstParents(ctx context.Context, after, upTo source.Revision, max int) ([]source.Commit, error) {
	var commits []source.Commit
	l := o.line(upTo)
	for more := 0; ; {
		c, found := l.step(ctx)
		switch {
		case !found && l.err != nil:
			return nil, fmt.Errorf("history of %s: %w", upTo.Short(), l.err)
		case !found && after == "":
			return commits, nil
		case !found:
			return nil, fmt.Errorf("history of %s down to %s: %w", upTo.Short(), after.Short(), source.ErrNotAncestor)
		case c.Revision == after && more == 0:
			return commits, nil
		case c.Revision == after, more > o.limits.History:
			return nil, fmt.Errorf("history of %s down to %s: more than %d commits: %w", upTo.Short(), after.Short(), max, source.ErrTooFar)
		case len(commits) < max:
			commits = append(commits, c.Commit)
		case after == "":
			return commits, nil
		default: // too far in any case; whether it is an ancestor matters more
			more++
		}
	}
}

// LastChange returns the newest commit on the first-parent line of upTo that
// made what stands at path what it is: the one that moved a pin. It looks at
// max commits, then wraps source.ErrTooFar; a path that never was wraps
// fs.ErrNotExist. Of trees it reads only those on the way to path.
func (o *objects) LastChange(ctx context.Context, path string, upTo source.Revision, max int) (source.Commit, error) {
	if !fs.ValidPath(path) {
		return source.Commit{}, fmt.Errorf("last change of %q: %w", path, fs.ErrInvalid)
	}
	fail := func(err error) (source.Commit, error) {
		return source.Commit{}, fmt.Errorf("last change of %s in %s: %w", path, upTo.Short(), err)
	}
	l := o.line(upTo)
	var later commit
	var laterHash string
	for step := 0; ; step++ {
		c, found := l.step(ctx)
		switch {
		case !found && l.err != nil:
			return fail(l.err)
		case !found && laterHash != "":
			return later.Commit, nil // there since the first commit
		case !found:
			return fail(fs.ErrNotExist)
		}
		hash := laterHash
		if step == 0 || c.tree != later.tree {
			var err error
			if hash, err = (&Snapshot{o, c.Revision, c.tree}).Hash(path); err != nil {
				return fail(err)
			}
		}
		if step > 0 && hash != laterHash {
			return later.Commit, nil
		}
		if step >= max {
			return fail(source.ErrTooFar)
		}
		later, laterHash = c, hash
	}
}

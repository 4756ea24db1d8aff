package controller

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"chaperone.dev/chaperone/internal/promotion"
	"chaperone.dev/chaperone/internal/reconcile"
	"chaperone.dev/chaperone/internal/source"
)

// signers names the keys that count now. That they cannot be read is told once.
func (c *Controller) signers() string {
	name, err := c.Source.Signers()
	if err != nil && name != c.toldSigners {
		c.Log.Error("read signers; no commit counts as signed", "err", err)
	}
	c.toldSigners = name
	return name
}

// signed finds out whether somebody known signed what an environment that asks
// for it is to run: the commits that brought what its render reads since last
// good, and those that made its file what it is. Where nothing was verified yet,
// it is the commit itself, which stands for its whole tree.
func (v *evaluation) signed(ctx context.Context, c *reconcile.Candidate, snapshot source.Snapshot) (string, error) {
	if !v.file.Requires(promotion.RequireSigned) {
		return "", nil
	}
	c.Signed = reconcile.SignedMissing
	commits, err := v.brought(ctx, snapshot)
	if err == nil {
		var deciding []source.Commit
		deciding, err = v.deciding(ctx, c.Release.Revision)
		commits = append(commits, deciding...)
	}
	if errors.Is(err, source.ErrTooFar) || errors.Is(err, errTooOld) {
		return fmt.Sprintf("who signed what %s brings cannot be told: %v; promote a revision in between first, or change the file of the environment",
			snapshot.Revision().Short(), err), nil
	}
	if err != nil {
		return "", err
	}
	state, text, err := v.allSigned(commits)
	c.Signed = state
	return text, err
}

// allSigned names the first commit that is not, and counts the rest.
func (v *evaluation) allSigned(commits []source.Commit) (reconcile.Signed, string, error) {
	state, first, others := reconcile.SignedGood, "", -1
	for i, commit := range commits {
		if slices.ContainsFunc(commits[:i], func(c source.Commit) bool { return c.Revision == commit.Revision }) {
			continue
		}
		signature, err := v.c.Source.Signature(commit.Revision)
		switch {
		case err != nil:
			return reconcile.SignedUnknown, "", err
		case signature.State == source.SignatureUnchecked:
			return reconcile.SignedUnknown, signature.Detail, nil
		case signature.Good():
			continue
		}
		if others++; first == "" {
			first = fmt.Sprintf("%s by %s: %s", commit.Revision.Short(), commit.Author, signature.Detail)
		}
		state = reconcile.SignedMissing
	}
	if others > 0 {
		first += fmt.Sprintf(" (and %d more)", others)
	}
	return state, first, nil
}

// deciding are the commits that made the environment's file what it is, and,
// for the pin that it names, those that moved it there.
func (v *evaluation) deciding(ctx context.Context, revision source.Revision) ([]source.Commit, error) {
	last, err := v.lastChange(ctx)
	if err != nil {
		return nil, err
	}
	commits := []source.Commit{last}
	if revision != v.file.Revision {
		return commits, nil
	}
	t := newTrail(v.c.Source, v.file)
	mover, found, err := t.head(ctx, v.head, &v.c.movers)
	if err != nil || !found {
		return commits, err
	}
	sides, err := t.sides(ctx, mover.Commit)
	for _, m := range append([]move{mover}, sides...) {
		commits = append(append(commits, m.Commit), m.murky...)
	}
	return commits, err
}

// lastChange is the newest commit on the branch that made the environment's file
// what it is.
func (v *evaluation) lastChange(ctx context.Context) (source.Commit, error) {
	var later source.Commit
	is := ""
	for next, seen := v.head, 0; next != ""; {
		commits, err := v.c.Source.FirstParents(ctx, "", next, movesAtOnce)
		if err != nil {
			return later, err
		}
		next = ""
		for _, commit := range commits {
			hash, err := hashAt(v.c.Source, commit.Revision, v.file.File)
			switch {
			case err != nil:
				return later, err
			case seen == 0:
				is = hash
			case hash != is:
				return later, nil
			}
			if seen++; seen > maxMoves {
				return later, errTooOld
			}
			later, next = commit, append(commit.Parents, "")[0]
		}
	}
	return later, nil
}

func hashAt(s Source, revision source.Revision, path string) (string, error) {
	snapshot, err := s.Snapshot(revision)
	if err != nil {
		return "", err
	}
	return snapshot.Hash(path)
}

// brought are the commits that made what a render of the snapshot reads what it
// is, since last good. A path that somebody brought back to that is settled
// there, whoever changed it before.
func (v *evaluation) brought(ctx context.Context, snapshot source.Snapshot) ([]source.Commit, error) {
	self, err := v.c.Source.Commit(snapshot.Revision())
	if err != nil {
		return nil, err
	}
	base, err := v.c.Source.Snapshot(v.lastGood.Revision)
	if v.lastGood.Revision == "" || errors.Is(err, source.ErrUnknownRevision) {
		return []source.Commit{self}, nil
	}
	if err != nil {
		return nil, err
	}
	closure, err := v.c.Renderer.Closure(ctx, snapshot, v.file.Path)
	if err != nil {
		return nil, err
	}
	settled := map[string]string{}
	for path := range closure {
		if settled[path], err = base.Hash(path); err != nil {
			return nil, err
		}
	}
	commits, err := v.c.Source.Beyond(ctx, v.lastGood.Revision, self.Revision)
	if err != nil {
		return nil, err
	}
	p := provenance{source: v.c.Source, settled: settled, commits: map[source.Revision]source.Commit{}}
	for _, commit := range commits {
		p.commits[commit.Revision] = commit
	}
	return p.walk(ctx, self.Revision)
}

// undersigned: where commits have to be signed, who made one is not for it to
// say. A forge that commits in the name of who asks for it signs for itself.
func (v *evaluation) undersigned(said voice, commit source.Commit, people people) (voice, error) {
	if !v.file.Requires(promotion.RequireSigned) || said.who == "" {
		return said, nil
	}
	signature, err := v.c.Source.Signature(commit.Revision)
	if err != nil {
		return said, err
	}
	committer := people.who(commit.Committer)
	speaks := func(address string) bool {
		return committer != "" && people.who(source.Person{Email: address}) == committer
	}
	switch {
	case !signature.Good():
		said.who, said.problem = "", fmt.Sprintf("%s by %s: %s", commit.Revision.Short(), commit.Author, signature.Detail)
	case !signature.By(commit.Committer.Email) && !slices.ContainsFunc(signature.Signer, speaks):
		said.who, said.problem = "", fmt.Sprintf("%s says that %s committed it, and is signed by %s", commit.Revision.Short(),
			commit.Committer, strings.Join(signature.Signer, ", "))
	}
	return said, nil
}

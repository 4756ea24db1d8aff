package gogit

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/go-git/go-git/v5/plumbing"

	"chaperone.dev/chaperone/internal/source"
)

// MergeBase is the newest commit that two have in common, along any parents,
// and that no other such commit is made on: what a merge of the two starts from.
// It looks no further down than where everything is common, and wraps
// source.ErrTooFar where that is too far, and source.ErrNotAncestor where nothing
// is common.
func (o *objects) MergeBase(ctx context.Context, one, other source.Revision) (source.Revision, error) {
	base, err := o.mergeBase(ctx, one, other)
	if err != nil {
		return "", fmt.Errorf("merge base of %s and %s: %w", one.Short(), other.Short(), err)
	}
	return base, nil
}

func (o *objects) mergeBase(ctx context.Context, one, other source.Revision) (source.Revision, error) {
	left, err := o.commit(one)
	if err != nil {
		return "", err
	}
	right, err := o.commit(other)
	if err != nil {
		return "", err
	}
	p := paint(o, left, right)
	for p.pending > 0 {
		if err := p.step(ctx); err != nil {
			return "", err
		}
	}
	if err := p.settle(); err != nil {
		return "", err
	}
	common, below := []commit{}, map[plumbing.Hash]bool{}
	for hash, side := range p.painted {
		if side != both {
			continue
		}
		c, err := o.commitAt(hash)
		if err != nil {
			return "", o.lost(err)
		}
		common = append(common, c)
		for _, parent := range c.Parents {
			below[plumbing.NewHash(string(parent))] = true
		}
	}
	common = slices.DeleteFunc(common, func(c commit) bool { return below[c.hash] })
	if common, err = o.topmost(ctx, common); err != nil {
		return "", err
	}
	if len(common) == 0 {
		return "", fmt.Errorf("%w: they have no history in common", source.ErrNotAncestor)
	}
	return slices.MinFunc(common, func(a, b commit) int {
		return cmp.Or(b.Committer.When.Compare(a.Committer.When), strings.Compare(string(a.Revision), string(b.Revision)))
	}).Revision, nil
}

// topmost leaves out commits that others of them are made on, as far as dates that
// run backwards hide that.
func (o *objects) topmost(ctx context.Context, all []commit) ([]commit, error) {
	var top []commit
	for i, c := range all {
		hidden := false
		for k, other := range all {
			if i == k || hidden {
				continue
			}
			contained, err := o.contains(ctx, c.Revision, other.Revision)
			if err != nil {
				return nil, err
			}
			hidden = contained
		}
		if !hidden {
			top = append(top, c)
		}
	}
	return top, nil
}

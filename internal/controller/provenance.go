package controller

import (
	"context"
	"fmt"
	"path"
	"slices"

	"chaperone.dev/chaperone/internal/source"
)

const (
	maxVisited = 10_000    // commits
	maxLooks   = 5_000_000 // at paths
	// manyChanged is from where on a list of changes may be cut off.
	manyChanged = 1_000
)

// provenance follows paths back through history to the commits that made them
// what they are.
type provenance struct {
	source  Source
	settled map[string]string                 // by path, the content at which nobody is asked further
	commits map[source.Revision]source.Commit // below these nobody is asked
	visited map[source.Revision][][]string
	looks   int
	found   []source.Commit
}

// visit is one commit, and the paths whose content is followed there.
type visit struct {
	revision source.Revision
	paths    []string
}

// walk returns each commit that made a path another than its first parent has
// it, as far as that came about: whoever merges decides what of a side comes in,
// so a merge counts as well as what it brought. A path that a merge took as it is
// from one side is followed there, and one that it made of several in all of
// them. Who brought a path back to what is settled counts, and nobody before.
func (p *provenance) walk(ctx context.Context, from source.Revision) ([]source.Commit, error) {
	all := visit{revision: from}
	for name := range p.settled {
		all.paths = append(all.paths, name)
	}
	slices.Sort(all.paths)
	p.visited = map[source.Revision][][]string{}
	for pending := []visit{all}; len(pending) > 0; {
		at := pending[len(pending)-1]
		pending = pending[:len(pending)-1]
		commit, asked := p.commits[at.revision]
		if at.paths = p.fresh(at); !asked || len(at.paths) == 0 {
			continue
		}
		if p.looks += len(at.paths); p.looks > maxLooks || len(p.visited) > maxVisited || len(p.found) > maxAuthors {
			return nil, fmt.Errorf("%w: more than %d that brought something, or %d in all", source.ErrTooFar, maxAuthors, maxVisited)
		}
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		next, err := p.back(commit, at.paths)
		if err != nil {
			return nil, err
		}
		pending = append(pending, next...)
	}
	return p.found, nil
}

// fresh are the paths that were not followed at this commit before.
func (p *provenance) fresh(at visit) []string {
	before := p.visited[at.revision]
	if len(before) == 0 {
		p.visited[at.revision] = [][]string{at.paths}
		return at.paths
	}
	known := map[string]bool{}
	for _, paths := range before {
		for _, name := range paths {
			known[name] = true
		}
	}
	rest := slices.DeleteFunc(slices.Clone(at.paths), func(name string) bool { return known[name] })
	if len(rest) > 0 {
		p.visited[at.revision] = append(before, rest)
	}
	return rest
}

// back is where a commit has its paths from.
func (p *provenance) back(commit source.Commit, paths []string) ([]visit, error) {
	changed, err := p.changed(commit, paths)
	if err != nil {
		return nil, err
	}
	if len(changed) == 0 {
		return []visit{{commit.Parents[0], paths}}, nil
	}
	if !slices.ContainsFunc(p.found, func(c source.Commit) bool { return c.Revision == commit.Revision }) {
		p.found = append(p.found, commit)
	}
	follow := map[source.Revision][]string{}
	for _, name := range paths {
		from := commit.Parents[:min(1, len(commit.Parents))]
		if is, differs := changed[name]; differs {
			if from, err = p.sides(commit, name, is); err != nil {
				return nil, err
			}
		}
		for _, parent := range from {
			follow[parent] = append(follow[parent], name)
		}
	}
	var next []visit
	for _, parent := range commit.Parents {
		if len(follow[parent]) > 0 {
			next = append(next, visit{parent, follow[parent]})
		}
	}
	return next, nil
}

// changed are those of the paths that a commit has otherwise than its first
// parent, with what it has.
func (p *provenance) changed(commit source.Commit, paths []string) (map[string]string, error) {
	changed := map[string]string{}
	var before source.Revision
	maybe := func(string) bool { return true }
	if len(commit.Parents) > 0 {
		before = commit.Parents[0]
		files, err := p.source.Changed(before, commit.Revision)
		if err != nil {
			return nil, err
		}
		if len(files) < manyChanged {
			listed := withDirectories(files)
			maybe = func(name string) bool { return listed[name] }
		}
	}
	for _, name := range paths {
		if !maybe(name) {
			continue
		}
		is, err := hashAt(p.source, commit.Revision, name)
		if err != nil {
			return nil, err
		}
		was := ""
		if before != "" {
			if was, err = hashAt(p.source, before, name); err != nil {
				return nil, err
			}
		}
		if is != was || before == "" {
			changed[name] = is
		}
	}
	return changed, nil
}

// withDirectories: a directory comes and goes with its files.
func withDirectories(files []string) map[string]bool {
	listed := map[string]bool{}
	for _, name := range files {
		for ; name != "." && name != "/" && !listed[name]; name = path.Dir(name) {
			listed[name] = true
		}
	}
	return listed
}

// sides are the parents where a path is followed that a commit changed.
func (p *provenance) sides(commit source.Commit, name, is string) ([]source.Revision, error) {
	if is == p.settled[name] {
		return nil, nil
	}
	var same []source.Revision
	for _, parent := range commit.Parents {
		was, err := hashAt(p.source, parent, name)
		if err != nil {
			return nil, err
		}
		if was == is {
			same = append(same, parent)
		}
	}
	if len(same) == 0 {
		return commit.Parents, nil
	}
	return same, nil
}

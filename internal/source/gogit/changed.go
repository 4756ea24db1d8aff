package gogit

import (
	"errors"
	"strings"

	"github.com/go-git/go-git/v5/plumbing"

	"chaperone.dev/chaperone/internal/fault"
	"chaperone.dev/chaperone/internal/source"
)

const (
	// maxChanged bounds the answer of Changed.
	maxChanged = 2_000
	// maxCompared bounds the names that it looks at: directories that share
	// what is in them can make a few objects into more than there is time for.
	maxCompared = 500_000
	maxNesting  = 256
)

// Changed lists the paths of files that differ between two commits, in order,
// up to the first 2,000. Directories that are the same are not read. One that
// nobody could read, because it is malformed, too large, too deep or too many,
// is listed itself, with a slash at its end.
func (o *objects) Changed(from, to source.Revision) ([]string, error) {
	before, err := o.commit(from)
	if err != nil {
		return nil, err
	}
	after, err := o.commit(to)
	if err != nil {
		return nil, err
	}
	d := difference{objects: o}
	err = d.trees("", before.tree, after.tree)
	return d.paths, err
}

type difference struct {
	objects  *objects
	paths    []string
	compared int // names
}

// trees compares two directories; the zero hash is one that is not there.
func (d *difference) trees(dir string, before, after plumbing.Hash) error {
	if before == after || len(d.paths) >= maxChanged {
		return nil
	}
	if d.compared > maxCompared || strings.Count(dir, "/") > maxNesting {
		d.paths = append(d.paths, dir)
		return nil
	}
	old, err := d.names(before)
	changed, err2 := d.names(after)
	if err := errors.Join(err, err2); err != nil && dir != "" && fault.IsTerminal(err) {
		d.paths = append(d.paths, dir)
		return nil
	} else if err != nil {
		return err
	}
	return d.each(dir, old, changed)
}

func (d *difference) each(dir string, old, changed []node) (err error) {
	for len(old) > 0 || len(changed) > 0 {
		switch {
		case len(changed) == 0 || len(old) > 0 && old[0].name < changed[0].name:
			err, old = d.nodes(dir, old[0], node{}), old[1:]
		case len(old) == 0 || changed[0].name < old[0].name:
			err, changed = d.nodes(dir, node{}, changed[0]), changed[1:]
		default:
			err, old, changed = d.nodes(dir, old[0], changed[0]), old[1:], changed[1:]
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (d *difference) names(tree plumbing.Hash) ([]node, error) {
	if tree.IsZero() {
		return nil, nil
	}
	nodes, err := d.objects.tree(tree)
	d.compared += 1 + len(nodes)
	return nodes, err
}

// nodes compares what stands under one name; a node without a name is none.
func (d *difference) nodes(dir string, before, after node) error {
	if before.hash == after.hash && before.mode == after.mode {
		return nil
	}
	path := dir + max(before.name, after.name)
	var below [2]plumbing.Hash
	for i, n := range []node{before, after} {
		switch {
		case n.name == "":
		case n.kind() == kindTree:
			below[i] = n.hash
		case len(d.paths) == 0 || d.paths[len(d.paths)-1] != path:
			d.paths = append(d.paths, path)
		}
	}
	return d.trees(path+"/", below[0], below[1])
}

package gogit

import (
	"bytes"
	"errors"
	"fmt"
	"sort"
	"strconv"
	"strings"

	"github.com/go-git/go-git/v5/plumbing"

	"chaperone.dev/chaperone/internal/fault"
	"chaperone.dev/chaperone/internal/source/merge"
)

// node is one name in a tree, with its mode as it is written there.
type node struct {
	name string
	mode merge.Mode
	hash plumbing.Hash
}

// The sorts of node.
const (
	kindMask    merge.Mode = 0o170000
	kindTree               = merge.Directory
	kindFile    merge.Mode = 0o100000
	kindSymlink            = merge.Symlink
	kindModule             = merge.Submodule
)

func (n node) kind() merge.Mode { return n.mode & kindMask }

// plainMode is one of those that Git writes today.
func (n node) plainMode() merge.Mode {
	switch {
	case n.kind() != kindFile:
		return n.kind()
	case n.mode&0o100 != 0:
		return merge.Executable
	}
	return merge.Regular
}

var errMalformed = errors.New("tree is malformed")

// tree returns a tree's entries, ordered by name. One that is malformed or too
// large stays so: that is terminal.
func (o *objects) tree(hash plumbing.Hash) ([]node, error) {
	if nodes, found := o.trees.Get(hash); found {
		return nodes, nil
	}
	if nodes, found := o.wide.Get(hash); found {
		return nodes, nil
	}
	limit := int64(o.limits.TreeEntries) * bytesPerEntry
	content, err := o.read(plumbing.TreeObject, hash, limit)
	if errors.Is(err, errAbsent) && o.partial() {
		// Of a commit that was here before the mirror was made anew.
		if err := o.obtain(hash); err != nil {
			return nil, err
		}
		content, err = o.read(plumbing.TreeObject, hash, limit)
	}
	if errors.Is(err, errTooLarge) {
		return nil, fault.Terminal("", "", fmt.Errorf("%w: want at most %d names in one directory", err, o.limits.TreeEntries))
	}
	if err != nil {
		return nil, o.lost(err)
	}
	nodes, err := decodeTree(content, o.limits.TreeEntries)
	if err != nil {
		return nil, fault.Terminal("", "", fmt.Errorf("tree %s: %w", hash, err))
	}
	if len(nodes) <= cachedEntries {
		o.trees.Add(hash, nodes)
	} else {
		o.wide.Add(hash, nodes)
	}
	return nodes, nil
}

func decodeTree(content []byte, limit int) ([]node, error) {
	var nodes []node
	for len(content) > 0 {
		mode, rest, found := bytes.Cut(content, []byte{' '})
		name, rest, ended := bytes.Cut(rest, []byte{0})
		if !found || !ended || len(rest) < len(plumbing.Hash{}) {
			return nil, fmt.Errorf("%w: an entry is cut off", errMalformed)
		}
		number, err := strconv.ParseUint(string(mode), 8, 32)
		if err != nil {
			return nil, fmt.Errorf("%w: mode %q", errMalformed, mode)
		}
		if len(nodes) == limit {
			return nil, fmt.Errorf("%w: more than %d names in one directory", errTooLarge, limit)
		}
		n := node{name: string(name), mode: merge.Mode(number)}
		if err := checkName(n.name); err != nil {
			return nil, err
		}
		copy(n.hash[:], rest)
		nodes = append(nodes, n)
		content = rest[len(n.hash):]
	}
	sort.Slice(nodes, func(i, j int) bool { return nodes[i].name < nodes[j].name })
	for i := 1; i < len(nodes); i++ {
		if nodes[i].name == nodes[i-1].name {
			return nil, fmt.Errorf("%w: %q stands there twice", errMalformed, nodes[i].name)
		}
	}
	return nodes, nil
}

// checkName refuses what no honest Git writes, and what would lead elsewhere
// if it ever became a path.
func checkName(name string) error {
	if name == "" || name == "." || name == ".." || strings.ContainsRune(name, '/') || strings.EqualFold(name, ".git") {
		return fmt.Errorf("%w: an entry is named %q", errMalformed, name)
	}
	return nil
}

// find returns the node at path below a tree. Below anything but a directory
// there is nothing; no link is followed.
func (o *objects) find(root plumbing.Hash, path string) (node, bool, error) {
	at := node{mode: kindTree, hash: root}
	if path == "." {
		return at, true, nil
	}
	for name := range strings.SplitSeq(path, "/") {
		if at.kind() != kindTree {
			return node{}, false, nil
		}
		nodes, err := o.tree(at.hash)
		if err != nil {
			return node{}, false, err
		}
		i := sort.Search(len(nodes), func(i int) bool { return nodes[i].name >= name })
		if i == len(nodes) || nodes[i].name != name {
			return node{}, false, nil
		}
		at = nodes[i]
	}
	return at, true, nil
}

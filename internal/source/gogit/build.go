package gogit

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/object"

	"chaperone.dev/chaperone/internal/source/merge"
)

// workspace holds the objects that are being made, on top of those that there
// are. Nothing is written until it is sure to be wanted.
type workspace struct {
	objects *objects
	made    map[plumbing.Hash]packed
	order   []plumbing.Hash
}

var _ merge.Objects = (*workspace)(nil)

func newWorkspace(o *objects) *workspace {
	return &workspace{objects: o, made: map[plumbing.Hash]packed{}}
}

func (w *workspace) add(kind plumbing.ObjectType, content []byte) plumbing.Hash {
	hash := plumbing.ComputeHash(kind, content)
	if _, found := w.made[hash]; !found {
		w.made[hash] = packed{kind, content}
		w.order = append(w.order, hash)
	}
	return hash
}

func (w *workspace) pack() ([]byte, error) {
	all := make([]packed, len(w.order))
	for i, hash := range w.order {
		all[i] = w.made[hash]
	}
	return writePack(all)
}

// save writes what was made; commits come last, since they were made last.
func (w *workspace) save() error {
	for _, hash := range w.order {
		o := w.made[hash]
		if _, err := (looseWriter{w.objects}).SetEncodedObject(memoryObject(o.kind, o.content)); err != nil {
			return fmt.Errorf("write %s %s: %w", o.kind, hash, err)
		}
	}
	return nil
}

// Tree is for the merge.
func (w *workspace) Tree(hash merge.Hash) ([]merge.Entry, error) {
	nodes, err := w.nodes(plumbing.Hash(hash))
	if err != nil {
		return nil, err
	}
	entries := make([]merge.Entry, len(nodes))
	for i, n := range nodes {
		entries[i] = merge.Entry{Name: n.name, Mode: n.mode, Hash: merge.Hash(n.hash)}
	}
	return entries, nil
}

func (w *workspace) nodes(hash plumbing.Hash) ([]node, error) {
	if o, found := w.made[hash]; found {
		return decodeTree(o.content, w.objects.limits.TreeEntries)
	}
	return w.objects.tree(hash)
}

// Blob is for the merge.
func (w *workspace) Blob(hash merge.Hash) ([]byte, error) {
	if o, found := w.made[plumbing.Hash(hash)]; found {
		return o.content, nil
	}
	content, err := w.objects.blob(plumbing.Hash(hash))
	if errors.Is(err, errTooLarge) {
		err = fmt.Errorf("%w: %w", merge.ErrTooLarge, err)
	}
	return content, err
}

// WriteTree is for the merge.
func (w *workspace) WriteTree(entries []merge.Entry) (merge.Hash, error) {
	var b bytes.Buffer
	for _, e := range entries {
		fmt.Fprintf(&b, "%o %s\x00%s", uint32(e.Mode), e.Name, e.Hash[:])
	}
	return merge.Hash(w.add(plumbing.TreeObject, b.Bytes())), nil
}

// WriteBlob is for the merge.
func (w *workspace) WriteBlob(content []byte) (merge.Hash, error) {
	return merge.Hash(w.add(plumbing.BlobObject, bytes.Clone(content))), nil
}

// signer signs commits with a name and the time, and with a key where there is
// one.
type signer struct {
	author Author
	now    func() time.Time
	sign   sign // nil: there is none
}

func newSigner(author Author, now func() time.Time, with sign) signer {
	if author.Name == "" {
		author.Name = DefaultAuthor.Name
	}
	if author.Email == "" {
		author.Email = DefaultAuthor.Email
	}
	if now == nil {
		now = time.Now
	}
	return signer{author, now, with}
}

func (s signer) signature() object.Signature {
	plain := func(text string) string { // what would end the field in a commit
		return strings.Map(func(r rune) rune {
			if r < ' ' || r == '<' || r == '>' {
				return -1
			}
			return r
		}, text)
	}
	return object.Signature{Name: plain(s.author.Name), Email: plain(s.author.Email), When: s.now()}
}

// commit makes a commit on one parent. One that is to be signed and cannot be is
// not made.
func (w *workspace) commit(tree, parent plumbing.Hash, message string, by signer) (plumbing.Hash, error) {
	who := by.signature()
	made := object.Commit{Author: who, Committer: who, Message: message, TreeHash: tree, ParentHashes: []plumbing.Hash{parent}}
	encoded := &plumbing.MemoryObject{}
	if err := made.Encode(encoded); err != nil {
		return plumbing.ZeroHash, fmt.Errorf("encode commit: %w", err)
	}
	reader, err := encoded.Reader()
	if err != nil {
		return plumbing.ZeroHash, err
	}
	var content bytes.Buffer
	if _, err := content.ReadFrom(reader); err != nil {
		return plumbing.ZeroHash, err
	}
	if by.sign == nil {
		return w.add(plumbing.CommitObject, content.Bytes()), nil
	}
	signed, err := by.sign(content.Bytes(), who.When)
	if err != nil {
		return plumbing.ZeroHash, err
	}
	return w.add(plumbing.CommitObject, signed), nil
}

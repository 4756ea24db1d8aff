package merge_test

import (
	"bytes"
	"crypto/sha1"
	"fmt"
	"sort"
	"strings"

	"chaperone.dev/chaperone/internal/source/merge"
)

// memory is an object store in memory, with Git's own hashes.
type memory struct {
	trees map[merge.Hash][]merge.Entry
	blobs map[merge.Hash][]byte
}

func newMemory() *memory {
	return &memory{trees: map[merge.Hash][]merge.Entry{}, blobs: map[merge.Hash][]byte{}}
}

func (m *memory) Tree(h merge.Hash) ([]merge.Entry, error) {
	entries, found := m.trees[h]
	if !found {
		return nil, fmt.Errorf("no tree %x", h)
	}
	return entries, nil
}

func (m *memory) Blob(h merge.Hash) ([]byte, error) {
	content, found := m.blobs[h]
	if !found {
		return nil, fmt.Errorf("no blob %x", h)
	}
	return content, nil
}

func (m *memory) WriteBlob(content []byte) (merge.Hash, error) {
	h := object("blob", content)
	m.blobs[h] = bytes.Clone(content)
	return h, nil
}

func (m *memory) WriteTree(entries []merge.Entry) (merge.Hash, error) {
	var b bytes.Buffer
	for _, e := range entries {
		fmt.Fprintf(&b, "%o %s\x00%s", uint32(e.Mode), e.Name, e.Hash[:])
	}
	h := object("tree", b.Bytes())
	m.trees[h] = append([]merge.Entry(nil), entries...)
	return h, nil
}

func object(kind string, content []byte) merge.Hash {
	return sha1.Sum(append(fmt.Appendf(nil, "%s %d\x00", kind, len(content)), content...))
}

// file is one leaf of a tree written as a map from path to file.
type file struct {
	mode    merge.Mode
	content string // for a submodule: what its hash is made of
}

type files map[string]file

func text(content string) file { return file{merge.Regular, content} }

func (f files) clone() files {
	c := files{}
	for path, file := range f {
		c[path] = file
	}
	return c
}

func (f files) paths() []string {
	var paths []string
	for path := range f {
		paths = append(paths, path)
	}
	sort.Strings(paths)
	return paths
}

// put makes room for path: a tree cannot hold a file and a directory of one name.
func (f files) put(path string, content file) {
	for other := range f {
		if strings.HasPrefix(other, path+"/") || strings.HasPrefix(path, other+"/") {
			delete(f, other)
		}
	}
	f[path] = content
}

func (m *memory) add(f files) merge.Hash {
	var entries []merge.Entry
	children := map[string]files{}
	for _, path := range f.paths() {
		name, rest, nested := strings.Cut(path, "/")
		if nested {
			if children[name] == nil {
				children[name] = files{}
			}
			children[name][rest] = f[path]
			continue
		}
		hash := object("module", []byte(f[path].content))
		m.blobs[hash] = []byte(f[path].content)
		if f[path].mode != merge.Submodule {
			hash, _ = m.WriteBlob([]byte(f[path].content))
		}
		entries = append(entries, merge.Entry{Name: name, Mode: f[path].mode, Hash: hash})
	}
	for name, child := range children {
		entries = append(entries, merge.Entry{Name: name, Mode: merge.Directory, Hash: m.add(child)})
	}
	merge.Sort(entries)
	hash, _ := m.WriteTree(entries)
	return hash
}

// flat is the opposite of add.
func (m *memory) flat(h merge.Hash) files {
	all := files{}
	for _, e := range m.trees[h] {
		if e.Mode != merge.Directory {
			all[e.Name] = file{e.Mode, string(m.blobs[e.Hash])}
			continue
		}
		for path, f := range m.flat(e.Hash) {
			all[e.Name+"/"+path] = f
		}
	}
	return all
}

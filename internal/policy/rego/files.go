package rego

import (
	"archive/tar"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"path"
	"slices"
	"strings"

	"chaperone.dev/chaperone/internal/manifest"
)

// file is one file of a bundle, named by its slash-separated path in it.
type file struct {
	name    string
	kind    fileKind
	content []byte
}

type fileKind int

const (
	notPolicy fileKind = iota
	moduleFile
	testFile
	dataFile
	exceptionFile
	frameworkFile
	passFile
	failFile
	sidecarFile
)

type fileSet []file

func (s fileSet) of(kind fileKind) fileSet {
	return slices.DeleteFunc(slices.Clone(s), func(f file) bool { return f.kind != kind })
}

// digest is over names and contents, each preceded by its length, so that no
// two sets of files give the same bytes.
func (s fileSet) digest() manifest.Digest {
	sum := sha256.New()
	for _, f := range s {
		writeSized(sum, []byte(f.name))
		writeSized(sum, f.content)
	}
	return manifest.Digest("sha256:" + hex.EncodeToString(sum.Sum(nil)))
}

func writeSized(sum hash.Hash, b []byte) {
	fmt.Fprintf(sum, "%d:", len(b)) // a hash never returns an error
	sum.Write(b)
}

// kindOf tells what a file is by its name. Names that start with a dot belong
// to others: version control, or the directories of a Kubernetes volume. A
// structured file that is nothing we know is refused: data under a misspelled
// name would be missing without a word.
func kindOf(name string) (fileKind, error) {
	base, ext := path.Base(name), path.Ext(name)
	structured := ext == ".yaml" || ext == ".yml" || ext == ".json"
	directories := strings.Split(path.Dir(name), "/")
	switch plain := strings.ToLower(strings.TrimSpace(ext)); {
	case plain != ext && slices.Contains(policyExtensions, plain):
		return notPolicy, fmt.Errorf("%s:1: want %s at the end of its name; as it is, it would be left out", name, plain)
	case strings.HasSuffix(base, "_test.rego"):
		return testFile, nil
	case ext == ".rego":
		return moduleFile, nil
	case !structured:
		return notPolicy, nil
	case directories[0] == "exceptions":
		return exceptionFile, nil
	case directories[0] == "frameworks":
		return frameworkFile, nil
	case within(directories, "testdata", "pass"):
		return passFile, nil
	case within(directories, "testdata", "fail"):
		return failFile, nil
	case base == sidecarName:
		return sidecarFile, nil
	case slices.Contains([]string{"data.yaml", "data.yml", "data.json"}, base):
		return dataFile, nil
	}
	return notPolicy, fmt.Errorf("%s:1: not a file of a policy bundle; want *.rego, data.yaml, rule.yaml, exceptions/*.yaml, "+
		"or testdata/pass/*.yaml and testdata/fail/*.yaml beside a rule", name)
}

var policyExtensions = []string{".rego", ".yaml", ".yml", ".json"}

func hidden(name string) bool {
	return slices.ContainsFunc(strings.Split(name, "/"), func(step string) bool { return strings.HasPrefix(step, ".") })
}

// ofOthers reports whether a directory is a tool's own: version control, a
// linter, or what a Kubernetes volume keeps beside the links to it.
func ofOthers(dir string) bool {
	base := path.Base(dir)
	return slices.Contains([]string{".git", ".github", ".hg", ".svn", ".regal"}, base) || dir == base && strings.HasPrefix(base, "..")
}

// overlooked refuses rules in hidden places, where nobody would miss them.
func (c *collector) overlooked(name string) error {
	if c.hidden++; c.hidden > c.limits.Files {
		return fmt.Errorf("%s: more than %d files in hidden places", name, c.limits.Files)
	}
	for dir := path.Dir(name); dir != "."; dir = path.Dir(dir) {
		if ofOthers(dir) {
			return nil
		}
	}
	if strings.ToLower(path.Ext(name)) == ".rego" {
		c.problems = append(c.problems, fmt.Errorf("%s:1: a rule in a hidden place is left out; want no name that starts with a dot", name))
	}
	return nil
}

// within reports whether the directories end with these two.
func within(directories []string, parent, child string) bool {
	n := len(directories)
	return n >= 2 && directories[n-2] == parent && directories[n-1] == child
}

// collector gathers files up to the limits.
type collector struct {
	limits   Limits
	files    fileSet
	bytes    int64
	hidden   int // files in hidden places that were looked at
	problems []error
}

func (c *collector) add(name string, read func() (io.ReadCloser, error)) error {
	kind, err := kindOf(name)
	if err != nil {
		c.problems = append(c.problems, err)
		return nil
	}
	if kind == notPolicy {
		return nil
	}
	if len(c.files) >= c.limits.Files {
		return fmt.Errorf("more than %d files", c.limits.Files)
	}
	content, err := readBounded(read, c.limits.FileBytes)
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	c.bytes += int64(len(content))
	if c.bytes > c.limits.Bytes {
		return fmt.Errorf("more than %d bytes in all", c.limits.Bytes)
	}
	c.files = append(c.files, file{name: name, kind: kind, content: content})
	return nil
}

func readBounded(open func() (io.ReadCloser, error), limit int64) ([]byte, error) {
	reader, err := open()
	if err != nil {
		return nil, err
	}
	content, err := io.ReadAll(io.LimitReader(reader, limit+1))
	if err := errors.Join(err, reader.Close()); err != nil {
		return nil, err
	}
	if int64(len(content)) > limit {
		return nil, fmt.Errorf("more than %d bytes", limit)
	}
	return content, nil
}

func (c *collector) finish() (fileSet, error) {
	if len(c.problems) > 0 {
		return nil, errors.Join(c.problems...)
	}
	slices.SortFunc(c.files, func(a, b file) int { return strings.Compare(a.name, b.name) })
	for i := 1; i < len(c.files); i++ {
		if c.files[i].name == c.files[i-1].name {
			return nil, fmt.Errorf("%s: there twice", c.files[i].name)
		}
	}
	return c.files, nil
}

// readFiles reads a bundle: a tree of files, or one archive of such a tree
// (policies.tar.gz), as a ConfigMap can hold it.
func readFiles(fsys fs.FS, limits Limits) (fileSet, error) {
	if archive, err := soleArchive(fsys); err != nil {
		return nil, err
	} else if archive != "" {
		return readArchive(fsys, archive, limits)
	}
	c := &collector{limits: limits}
	err := fs.WalkDir(fsys, ".", func(name string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case name == ".":
			return nil
		case entry.IsDir() && ofOthers(name):
			return fs.SkipDir
		case entry.IsDir():
			return nil
		case hidden(name):
			return c.overlooked(name)
		}
		return c.addEntry(fsys, name)
	})
	if err != nil {
		return nil, err
	}
	return c.finish()
}

// addEntry follows a symbolic link to a file. One to a directory is refused:
// walking past it would leave rules out without a word.
func (c *collector) addEntry(fsys fs.FS, name string) error {
	info, err := fs.Stat(fsys, name)
	if err != nil {
		return err
	}
	if !info.Mode().IsRegular() {
		c.problems = append(c.problems, fmt.Errorf("%s: want a regular file, not %s", name, info.Mode().Type()))
		return nil
	}
	return c.add(name, func() (io.ReadCloser, error) { return fsys.Open(name) })
}

// soleArchive is the name of the archive when a directory holds one and no
// files beside it.
func soleArchive(fsys fs.FS) (string, error) {
	entries, err := fs.ReadDir(fsys, ".")
	if err != nil {
		return "", err
	}
	var archive string
	others := 0
	for _, entry := range entries {
		name := entry.Name()
		switch {
		case strings.HasPrefix(name, "."):
		case archive == "" && (strings.HasSuffix(name, ".tar.gz") || strings.HasSuffix(name, ".tgz")):
			archive = name
		default:
			others++
		}
	}
	if archive != "" && others > 0 {
		return "", fmt.Errorf("%s: want nothing beside an archive of policies, not %d other files", archive, others)
	}
	return archive, nil
}

func readArchive(fsys fs.FS, archive string, limits Limits) (fileSet, error) {
	packed, err := readBounded(func() (io.ReadCloser, error) { return fsys.Open(archive) }, limits.Bytes)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", archive, err)
	}
	c := &collector{limits: limits}
	if err := unpack(packed, limits, c.addPacked); err != nil {
		return nil, fmt.Errorf("%s: %w", archive, err)
	}
	return c.finish()
}

func (c *collector) addPacked(header *tar.Header, stream io.Reader) error {
	name := strings.TrimSuffix(strings.TrimPrefix(header.Name, "./"), "/")
	switch {
	case header.Typeflag == tar.TypeDir || header.Typeflag == tar.TypeXGlobalHeader:
		return nil
	case name == "" || !fs.ValidPath(name):
		return fmt.Errorf("%q: want a path inside the archive", header.Name)
	case header.Typeflag != tar.TypeReg:
		return fmt.Errorf("%s: want a regular file", name)
	}
	if hidden(name) {
		return c.overlooked(name)
	}
	return c.add(name, func() (io.ReadCloser, error) { return io.NopCloser(stream), nil })
}

package sim

import (
	"crypto/sha1"
	"encoding/hex"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing/fstest"
	"time"

	"chaperone.dev/chaperone/internal/source"
)

// files is the tree of one commit: content by path. It is never changed.
type files map[string]string

// commit is one commit with its tree.
type commit struct {
	source.Commit
	files    files
	snapshot *snapshot
}

// mainBranch is the branch that is followed.
const mainBranch = "main"

// server is the Git server. Only one goroutine uses it at a time.
type server struct {
	commits map[source.Revision]*commit
	refs    map[string]source.Revision
	// daemon are the commits that the daemon pushed, in order, with the branch
	// that each went to.
	daemon []pushed
	ever   map[source.Revision]bool // of the followed branch, also if force-pushed away
	heads  []source.Revision        // of the followed branch, oldest first

	down                bool
	gone                bool   // the followed branch
	protected           string // why pushes are refused; "" takes them
	protectedPromotions string // the same, of promotion branches
	between             []func()
}

type pushed struct {
	branch   string
	revision source.Revision
}

func newServer() *server {
	return &server{commits: map[source.Revision]*commit{}, refs: map[string]source.Revision{}, ever: map[source.Revision]bool{}}
}

// add stores a commit and returns its name.
func (g *server) add(c source.Commit, tree files) *commit {
	h := sha1.New()
	for _, path := range slices.Sorted(maps.Keys(tree)) {
		fmt.Fprintf(h, "%s\x00%s\x00", path, tree[path])
	}
	fmt.Fprintf(h, "%v\x00%s\x00%s\x00%d\x00%s", c.Parents, c.Author.Email, c.Committer.Email, c.Committer.When.UnixNano(), c.Message)
	c.Revision = source.Revision(hex.EncodeToString(h.Sum(nil)))
	if known, found := g.commits[c.Revision]; found {
		return known
	}
	added := &commit{Commit: c, files: tree}
	added.snapshot = &snapshot{MapFS: fstest.MapFS{}, commit: added}
	for path, content := range tree {
		added.snapshot.MapFS[path] = &fstest.MapFile{Data: []byte(content), Mode: 0o644}
	}
	g.commits[c.Revision] = added
	return added
}

// move points a branch at a commit.
func (g *server) move(branch string, to source.Revision) {
	if to == "" {
		delete(g.refs, branch)
		return
	}
	g.refs[branch] = to
	if branch != mainBranch {
		return
	}
	g.heads = append(g.heads, to)
	for c := g.commits[to]; c != nil && !g.ever[c.Revision]; {
		g.ever[c.Revision] = true
		if len(c.Parents) == 0 {
			break
		}
		c = g.commits[c.Parents[0]]
	}
}

func (g *server) head() *commit { return g.commits[g.refs[mainBranch]] }

// line is the first-parent line from a commit, newest first.
func (g *server) line(from source.Revision) []*commit {
	var line []*commit
	for c := g.commits[from]; c != nil; {
		line = append(line, c)
		if len(c.Parents) == 0 {
			break
		}
		c = g.commits[c.Parents[0]]
	}
	return line
}

// reachable are all ancestors of a commit along any parent, itself included.
func (g *server) reachable(from source.Revision) map[source.Revision]bool {
	seen := map[source.Revision]bool{}
	for queue := []source.Revision{from}; len(queue) > 0; queue = queue[1:] {
		c := g.commits[queue[0]]
		if c == nil || seen[c.Revision] {
			continue
		}
		seen[c.Revision] = true
		queue = append(queue, c.Parents...)
	}
	return seen
}

// parentFiles is the tree that a commit was made on.
func (g *server) parentFiles(c *commit) files {
	if len(c.Parents) == 0 {
		return files{}
	}
	return g.commits[c.Parents[0]].files
}

// merge is a three-way merge of whole files.
func merge(base, ours, theirs files) (merged files, conflicts []string) {
	merged = maps.Clone(ours)
	for path := range allPaths(base, theirs) {
		was, wasThere := base[path]
		now, isThere := theirs[path]
		mine, isMine := ours[path]
		switch {
		case was == now && wasThere == isThere:
		case mine == now && isMine == isThere:
		case mine != was || isMine != wasThere:
			conflicts = append(conflicts, path)
		case isThere:
			merged[path] = now
		default:
			delete(merged, path)
		}
	}
	slices.Sort(conflicts)
	return merged, conflicts
}

func allPaths(trees ...files) map[string]bool {
	all := map[string]bool{}
	for _, tree := range trees {
		for path := range tree {
			all[path] = true
		}
	}
	return all
}

func changedPaths(a, b files) []string {
	var changed []string
	for path := range allPaths(a, b) {
		before, was := a[path]
		after, is := b[path]
		if before != after || was != is {
			changed = append(changed, path)
		}
	}
	slices.Sort(changed)
	return changed
}

// bySubject finds the newest commit with a subject, on any branch or on none.
func (g *server) bySubject(subject string) *commit {
	var found *commit
	for _, c := range g.commits {
		if c.Subject() != subject {
			continue
		}
		if found == nil || c.Committer.When.After(found.Committer.When) {
			found = c
		}
	}
	return found
}

// reverts are the commits that the daemon pushed to the followed branch to
// take back a commit.
func (g *server) reverts(guilty source.Revision) []source.Revision {
	var found []source.Revision
	for _, p := range g.daemon {
		if takesBack(g.commits[p.revision], guilty) && p.branch == mainBranch {
			found = append(found, p.revision)
		}
	}
	return found
}

func takesBack(c *commit, guilty source.Revision) bool {
	return slices.Contains(c.Trailer(source.TrailerReverts), string(guilty))
}

// snapshot is the tree of a commit as ports hand it out.
type snapshot struct {
	fstest.MapFS
	commit *commit
}

// Revision implements source.Snapshot.
func (s *snapshot) Revision() source.Revision { return s.commit.Revision }

// Hash implements source.Snapshot.
func (s *snapshot) Hash(name string) (string, error) {
	if content, found := s.commit.files[name]; found {
		return fmt.Sprintf("%x", sha1.Sum([]byte(content))), nil
	}
	for path := range s.commit.files {
		if strings.HasPrefix(path, name+"/") {
			return source.Dir, nil
		}
	}
	return "", nil
}

// person is somebody at a time.
func person(email string, at time.Time) source.Person {
	name, _, _ := strings.Cut(email, "@")
	return source.Person{Name: name, Email: email, When: at}
}

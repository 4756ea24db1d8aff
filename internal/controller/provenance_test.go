package controller

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"chaperone.dev/chaperone/internal/source"
)

// woven is a history of a few paths.
type woven struct {
	Source
	commits map[source.Revision]source.Commit
	files   map[source.Revision]map[string]string
}

// hashed is one commit's files; Hash is all that is asked of it.
type hashed struct {
	source.Snapshot
	files map[string]string
}

func (s hashed) Hash(name string) (string, error) {
	if content, found := s.files[name]; found {
		return content, nil
	}
	for other := range s.files {
		if strings.HasPrefix(other, name+"/") {
			return source.Dir, nil
		}
	}
	return "", nil
}

func (w *woven) Snapshot(r source.Revision) (source.Snapshot, error) {
	return hashed{files: w.files[r]}, nil
}

func (w *woven) Changed(from, to source.Revision) ([]string, error) {
	var paths []string
	for _, name := range []string{"a", "b", "d/c"} {
		if w.files[from][name] != w.files[to][name] {
			paths = append(paths, name)
		}
	}
	return paths, nil
}

func (w *woven) add(r source.Revision, files string, parents ...source.Revision) {
	w.commits[r] = source.Commit{Revision: r, Parents: parents}
	w.files[r] = map[string]string{}
	for _, entry := range strings.Fields(files) {
		name, content, _ := strings.Cut(entry, "=")
		w.files[r][name] = content
	}
}

// brought asks as an evaluation does.
func (w *woven) brought(t interface{ Fatal(...any) }, base, head source.Revision, paths ...string) []source.Revision {
	p := provenance{source: w, settled: map[string]string{}, commits: w.beyond(base, head)}
	for _, name := range paths {
		p.settled[name], _ = hashed{files: w.files[base]}.Hash(name)
	}
	commits, err := p.walk(context.Background(), head)
	if err != nil {
		t.Fatal(err)
	}
	var found []source.Revision
	for _, c := range commits {
		found = append(found, c.Revision)
	}
	slices.Sort(found)
	return found
}

func (w *woven) below(from source.Revision) map[source.Revision]source.Commit {
	found := map[source.Revision]source.Commit{}
	for stack := []source.Revision{from}; len(stack) > 0; {
		r := stack[len(stack)-1]
		stack = stack[:len(stack)-1]
		if _, seen := found[r]; !seen {
			found[r] = w.commits[r]
			stack = append(stack, w.commits[r].Parents...)
		}
	}
	return found
}

func (w *woven) beyond(base, head source.Revision) map[source.Revision]source.Commit {
	found := w.below(head)
	for r := range w.below(base) {
		delete(found, r)
	}
	return found
}

func TestWhoBroughtWhatIsRead(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		history string // revision: files < parents
		want    string
	}{
		"nothing happened":                     {"1: a=1; 2: a=1 b=9 < 1", ""},
		"who changed it":                       {"1: a=1; 2: a=2 < 1; 3: a=2 b=1 < 2; 4: a=3 b=1 < 3", "2 4"},
		"a new file":                           {"1: b=1; 2: a=1 b=1 < 1", "2"},
		"a file less":                          {"1: a=1; 2: < 1", "2"},
		"a directory":                          {"1: a=1; 2: a=1 d/c=1 < 1", "2"},
		"taken back: who did that":             {"1: a=1; 2: a=2 < 1; 3: a=1 < 2", "3"},
		"taken back and brought again":         {"1: a=1; 2: a=2 < 1; 3: a=1 < 2; 4: a=2 < 3", "3 4"},
		"a merge and its side":                 {"1: a=1; 2: a=1 b=2 < 1; 3: a=2 < 1; 4: a=2 b=2 < 2 3", "3 4"},
		"a merge that drops a side":            {"1: a=1; 2: a=1 b=2 < 1; 3: a=2 < 1; 4: a=1 b=2 < 2 3", ""},
		"a merge of its own":                   {"1: a=1; 2: a=2 < 1; 3: a=3 < 1; 4: a=4 < 2 3", "2 3 4"},
		"a merge that takes the older":         {"1: a=1; 2: a=2 < 1; 3: b=1 a=1 < 1; 4: a=1 b=1 < 2 3", "4"},
		"the branch as the second parent":      {"1: a=1; 2: a=2 < 1; 3: a=3 < 1; 4: a=2 < 3 2", "2 4"},
		"a side from before":                   {"0: a=0; 1: a=1 < 0; 2: a=5 < 0; 3: a=5 < 1 2", "2 3"},
		"a side from before that is no longer": {"0: a=0; 1: a=1 < 0; 3: a=0 < 1 0", "3"},
	} {
		w := &woven{commits: map[source.Revision]source.Commit{}, files: map[source.Revision]map[string]string{}}
		var head string
		for _, line := range strings.Split(test.history, ";") {
			revision, rest, _ := strings.Cut(strings.TrimSpace(line), ":")
			files, parents, _ := strings.Cut(rest, "<")
			var from []source.Revision
			for _, p := range strings.Fields(parents) {
				from = append(from, source.Revision(p))
			}
			w.add(source.Revision(revision), files, from...)
			head = revision
		}
		var got []string
		for _, r := range w.brought(t, "1", source.Revision(head), "a", "d") {
			got = append(got, string(r))
		}
		if strings.Join(got, " ") != test.want {
			t.Errorf("%s: got %v, want %s", name, got, test.want)
		}
	}
}

// The walk over all paths at once finds what one over each path alone does; and
// whoever is not found could be left out without a path being another.
func TestWhoBroughtWhatIsReadByChance(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		w := &woven{commits: map[source.Revision]source.Commit{}, files: map[source.Revision]map[string]string{}}
		w.add("00", "a=0 b=0")
		revisions := []source.Revision{"00"}
		for i := range rapid.IntRange(1, 10).Draw(t, "commits") {
			r := source.Revision(fmt.Sprintf("%02d", i+1))
			parents := rapid.SliceOfNDistinct(rapid.SampledFrom(revisions), 1, min(3, len(revisions)), rapid.ID).Draw(t, "parents")
			var files []string
			for _, name := range []string{"a", "b", "d/c"} {
				if content := rapid.IntRange(0, 3).Draw(t, name); content > 0 {
					files = append(files, fmt.Sprintf("%s=%d", name, content))
				}
			}
			w.add(r, strings.Join(files, " "), parents...)
			revisions = append(revisions, r)
		}
		base, head := rapid.SampledFrom(revisions).Draw(t, "base"), revisions[len(revisions)-1]
		paths := []string{"a", "b", "d", "d/c"}
		wanted := map[source.Revision]bool{}
		for _, name := range paths {
			w.alone(base, head, name, w.beyond(base, head), wanted, map[source.Revision]bool{})
		}
		want := slices.Sorted(maps.Keys(wanted))
		if got := w.brought(t, base, head, paths...); !slices.Equal(got, want) {
			t.Fatalf("got %v, want %v", got, want)
		}
	})
}

// alone is the same question about one path, put plainly.
func (w *woven) alone(base, at source.Revision, name string, asked map[source.Revision]source.Commit, found, seen map[source.Revision]bool) {
	hash := func(r source.Revision) string { h, _ := hashed{files: w.files[r]}.Hash(name); return h }
	c, is := asked[at]
	if !is || seen[at] {
		return
	}
	seen[at] = true
	if len(c.Parents) > 0 && hash(c.Parents[0]) == hash(at) {
		w.alone(base, c.Parents[0], name, asked, found, seen)
		return
	}
	found[at] = true
	if hash(at) == hash(base) {
		return
	}
	same := slices.DeleteFunc(slices.Clone(c.Parents), func(p source.Revision) bool { return hash(p) != hash(at) })
	if len(same) == 0 {
		same = c.Parents
	}
	for _, p := range same {
		w.alone(base, p, name, asked, found, seen)
	}
}

func TestProvenanceIsBounded(t *testing.T) {
	t.Parallel()
	w := &woven{commits: map[source.Revision]source.Commit{}, files: map[source.Revision]map[string]string{}}
	w.add("c0", "a=0")
	for i := range maxAuthors + 2 {
		w.add(source.Revision(fmt.Sprintf("c%d", i+1)), fmt.Sprintf("a=%d", i+1), source.Revision(fmt.Sprintf("c%d", i)))
	}
	head := source.Revision(fmt.Sprintf("c%d", maxAuthors+2))
	p := provenance{source: w, settled: map[string]string{"a": "0"}, commits: w.beyond("c0", head)}
	if _, err := p.walk(t.Context(), head); !errors.Is(err, source.ErrTooFar) {
		t.Errorf("got %v", err)
	}
}

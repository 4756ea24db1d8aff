package controller

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"pgregory.net/rapid"

	"chaperone.dev/chaperone/internal/promotion"
	"chaperone.dev/chaperone/internal/source"
)

// graph is a Source with merges, of which every commit names its parents.
type graph struct {
	*actor
	commits map[source.Revision]source.Commit
	files   map[source.Revision]string
	authors []source.Person
	broken  error                    // of Authors
	asked   int                      // snapshots
	loose   map[source.Revision]bool // what Beyond tells of though both have it
}

func newGraph() *graph {
	return &graph{commits: map[source.Revision]source.Commit{}, files: map[source.Revision]string{}, loose: map[source.Revision]bool{}, authors: []source.Person{who("dev@x")}}
}

type leaf struct {
	fstest.MapFS
	at source.Revision
}

func (l leaf) Revision() source.Revision { return l.at }

func (l leaf) Hash(name string) (string, error) {
	if file, found := l.MapFS[name]; found {
		return fmt.Sprintf("%x", file.Data), nil
	}
	return "", nil
}

func (g *graph) Snapshot(r source.Revision) (source.Snapshot, error) {
	g.asked++
	files := fstest.MapFS{}
	if text := g.files[r]; text != "" {
		files[stagingFile] = &fstest.MapFile{Data: []byte(text)}
	}
	return leaf{files, r}, nil
}

func (g *graph) Commit(r source.Revision) (source.Commit, error) { return g.commits[r], nil }

func (g *graph) FirstParents(_ context.Context, after, upTo source.Revision, most int) ([]source.Commit, error) {
	var line []source.Commit
	for r := upTo; r != after && len(line) < most; {
		line = append(line, g.commits[r])
		if r = append(g.commits[r].Parents, "")[0]; r == "" {
			break
		}
	}
	return line, nil
}

// below is all that can be reached from a commit.
func (g *graph) below(from source.Revision) map[source.Revision]bool {
	found := map[source.Revision]bool{}
	for stack := []source.Revision{from}; len(stack) > 0; {
		r := stack[len(stack)-1]
		stack = stack[:len(stack)-1]
		if !found[r] {
			found[r] = true
			stack = append(stack, g.commits[r].Parents...)
		}
	}
	return found
}

func (g *graph) Beyond(_ context.Context, after, upTo source.Revision) ([]source.Commit, error) {
	var found []source.Commit
	had := g.below(after)
	for r := range g.below(upTo) {
		if !had[r] || g.loose[r] {
			found = append(found, g.commits[r])
		}
	}
	slices.SortFunc(found, func(a, b source.Commit) int { return strings.Compare(string(b.Revision), string(a.Revision)) })
	return found, nil
}

func (g *graph) Authors(context.Context, source.Revision, source.Revision, int) ([]source.Person, error) {
	return g.authors, g.broken
}

func who(email string) source.Person { return source.Person{Name: "P", Email: email} }

// add is a commit by one person, with the pin that its file has; by is
// author or author/committer.
func (g *graph) add(r source.Revision, by, message, file string, parents ...source.Revision) {
	author, committer, found := strings.Cut(by, "/")
	if !found {
		committer = author
	}
	g.commits[r] = source.Commit{Revision: r, Author: who(author), Committer: who(committer), Message: message, Parents: parents}
	g.files[r] = file
}

// drawPins draws a history with merges, whose commits have one of two pins or a
// file that cannot be read. The newest has pin A.
func drawPins(t *rapid.T) (g *graph, head source.Revision) {
	g = newGraph()
	commits := rapid.IntRange(1, 14).Draw(t, "commits")
	name := func(i int) source.Revision { return source.Revision(fmt.Sprintf("c%02d", i)) }
	for i := range commits {
		var parents []source.Revision
		for range min(i, rapid.IntRange(1, 3).Draw(t, "parents")) {
			if parent := name(rapid.IntRange(max(0, i-5), i-1).Draw(t, "parent")); !slices.Contains(parents, parent) {
				parents = append(parents, parent)
			}
		}
		file := rapid.SampledFrom([]string{pinA, pinA, pinA, pinB, slip, ""}).Draw(t, "file")
		if i == commits-1 {
			file = pinA
		}
		g.add(name(i), "p@x", "", file, parents...)
		g.loose[name(i)] = rapid.Bool().Draw(t, "loose")
	}
	return g, name(commits - 1)
}

// TestMover: the mover has the pin and is on the line; everything on the line
// since has it, too, or could not be read; and whatever set another one after it
// was on branches that forked before the mover, or came with a merge that is
// older. What is remembered of an earlier head changes nothing.
func TestMover(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		g, head := drawPins(t)
		file, _, err := promotion.LoadFile(must(g.Snapshot(head)), staging)
		if err != nil {
			t.Fatal(err)
		}
		seen, found, err := newTrail(g, file).mover(t.Context(), head, seenMove{})
		if !found || err != nil {
			t.Fatal(found, err)
		}
		checkMover(t, g, head, seen)
		line, _ := g.FirstParents(t.Context(), "", head, 100)
		for _, earlier := range line {
			before, found, err := newTrail(g, file).mover(t.Context(), earlier.Revision, seenMove{})
			if err != nil || found != (g.files[earlier.Revision] == pinA) {
				t.Fatal(found, err)
			}
			again, _, err := newTrail(g, file).mover(t.Context(), head, before)
			if err != nil || again.by.Revision != seen.by.Revision || len(again.by.murky) != len(seen.by.murky) {
				t.Fatalf("knowing %s: %+v, %v; want %+v", earlier.Revision, again.by, err, seen.by)
			}
		}
	})
}

func must(s source.Snapshot, _ error) source.Snapshot { return s }

func checkMover(t *rapid.T, g *graph, head source.Revision, seen seenMove) {
	by := seen.by.Revision
	line, _ := g.FirstParents(t.Context(), "", head, 100)
	at := slices.IndexFunc(line, func(c source.Commit) bool { return c.Revision == by })
	if at < 0 || g.files[by] != pinA {
		t.Fatalf("%s is not on the line, or has another pin", by)
	}
	for _, c := range line[:at] {
		if g.files[c.Revision] != pinA && g.files[c.Revision] != slip {
			t.Fatalf("%s came after %s", c.Revision, by)
		}
	}
	for _, c := range seen.by.murky {
		if g.files[c.Revision] != slip {
			t.Fatalf("%s can be read", c.Revision)
		}
	}
	before := map[source.Revision]bool{}
	if at+1 < len(line) {
		before = g.below(line[at+1].Revision)
	}
	for _, c := range slices.Sorted(maps.Keys(g.below(head))) {
		if other := g.files[c] == pinB || g.files[c] == ""; other && !before[c] && !g.below(by)[c] && g.below(c)[seen.first.Revision] {
			t.Fatalf("%s has another pin, comes after %s and is not below %s", c, seen.first.Revision, by)
		}
	}
}

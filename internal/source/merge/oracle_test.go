package merge_test

import (
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	"chaperone.dev/chaperone/internal/source/merge"
	"chaperone.dev/chaperone/internal/testkit/racing"
)

// How many random histories are compared with Git itself in a normal run, and
// how many of `make soak` go through `git revert` proper besides.
const (
	revertCases  = 300
	mergeCases   = 2000
	revertsInOne = 10
	batch        = 1000
)

// merged is what came of one history.
type merged struct {
	tree  string
	clean bool
}

// ours takes the guilty commits back, the newest first, as Git is asked to.
func ours(t *testing.T, h history) (merged, []merge.Conflict) {
	t.Helper()
	m := newMemory()
	head := m.add(h.head)
	for n := len(h.states) - 1; n > 0; n-- {
		result, err := merge.Trees(m, m.add(h.states[n]), head, m.add(h.states[n-1]))
		if err != nil {
			t.Fatal(err)
		}
		if len(result.Conflicts) > 0 {
			return conflict, result.Conflicts
		}
		head = result.Tree
	}
	return merged{fmt.Sprintf("%x", head), true}, nil
}

// comparison is what two merges made of one history, ours and Git's, and Git's
// of the same history in disguise, in which it finds no rename.
type comparison struct {
	ours, git, plain merged
	conflicts        []merge.Conflict
}

// allowed are the only ways in which a revert by the daemon and one by hand may
// end differently. All of them are renames, which Git finds by likeness and the
// daemon does not follow: it never guesses. Two different trees are not among
// them.
var allowed = []struct {
	name, why string
	is        func(comparison) bool
}{
	{
		"git carries a change over to a renamed file; the daemon reports a conflict",
		"which file became which is a guess by likeness, and its threshold a setting: what cannot be known is left to a person",
		func(c comparison) bool { return !c.ours.clean && c.git.clean && !c.plain.clean },
	},
	{
		"git asks about a rename; the daemon merges, exactly as git does where it sees none",
		"both sides agree about every path: a file that one side renamed and the other deleted stays where it was put, " +
			"and one added to a directory that was renamed stays where it was added",
		func(c comparison) bool { return c.ours.clean && !c.git.clean && c.plain.clean },
	},
	{
		"git pairs a file with another one than it was moved to, and merges; the daemon reports that both sides moved it",
		"the same content stands at a new place on each side: to keep both copies would be a guess",
		func(c comparison) bool {
			moved := func(m merge.Conflict) bool { return m.Reason == merge.BothMoved }
			return c.git.clean && slices.ContainsFunc(c.conflicts, moved)
		},
	},
}

// tally counts how the comparisons came out, so that a test in which all
// histories are alike fails.
type tally struct {
	total, clean, conflicts, several, merges int
	differences                              [3]int // by row of allowed
}

func (n *tally) check(t *testing.T, h history, c comparison) {
	t.Helper()
	n.total++
	if len(h.states) > 2 {
		n.several++
	}
	if h.merging {
		n.merges++
	}
	if c.ours == c.git {
		if c.ours.clean {
			n.clean++
		} else {
			n.conflicts++
		}
		return
	}
	for i, difference := range allowed {
		if difference.is(c) {
			n.differences[i]++
			return
		}
	}
	t.Errorf("seed %d: ours %v %v, git's %v, git's in disguise %v; replay it with `make soak SEED=%d HISTORIES=1`\n%s",
		h.seed, c.ours, c.conflicts, c.git, c.plain, h.seed, describe(h))
}

func (n *tally) report(t *testing.T) {
	t.Logf("%d histories (%d of several commits, %d of merges): %d end in the same tree, %d in a conflict in both",
		n.total, n.several, n.merges, n.clean, n.conflicts)
	different := 0
	for i, count := range n.differences {
		t.Logf("%d: %s", count, allowed[i].name)
		different += count
	}
	if n.total < 100 {
		return
	}
	if n.clean < n.total/5 || n.conflicts < n.total/20 || different > n.total/4 || n.several < n.total/10 || n.merges < n.total/10 {
		t.Errorf("the histories are too much alike to tell: %+v", *n)
	}
}

// compare asks Git about each history twice, as it is and in disguise; nothing
// may differ there.
func (n *tally) compare(t *testing.T, seed int64, count int, proper func(i int) bool) {
	t.Helper()
	histories, disguised := make([]history, count), make([]history, count)
	for i := range histories {
		histories[i] = randomHistory(seed + int64(i))
		disguised[i] = histories[i].disguised()
	}
	repo := newRepository(t)
	commits := repo.add(t, histories)
	gits, plain := repo.mergeTrees(t, commits), repo.mergeTrees(t, repo.add(t, disguised))
	for i, h := range histories {
		c := comparison{git: gits[i], plain: plain[i]}
		c.ours, c.conflicts = ours(t, h)
		n.check(t, h, c)
		if got, conflicts := ours(t, disguised[i]); got != plain[i] {
			t.Errorf("seed %d, in disguise: ours %v %v, git's %v\n%s", h.seed, got, conflicts, plain[i], describe(h))
		}
		if !proper(i) {
			continue
		}
		if got := repo.revert(t, h, commits[i]); got != c.git {
			t.Errorf("seed %d: git revert ends in %v, git merge-tree in %v\n%s", h.seed, got, c.git, describe(h))
		}
	}
}

// TestRevertIsGits: the daemon's revert of commits and `git revert` by hand, of
// plain commits and of merges along their first parent, end in the same tree,
// or both in a conflict, but for what is allowed.
func TestRevertIsGits(t *testing.T) {
	t.Parallel()
	var n tally
	n.compare(t, 20240131, revertCases, func(int) bool { return true })
	n.report(t)
}

// TestTreesIsGitMergeTree compares many more, through few processes.
func TestTreesIsGitMergeTree(t *testing.T) {
	t.Parallel()
	racing.Without(t)
	var n tally
	n.compare(t, 7_000_000, mergeCases, func(int) bool { return false })
	n.report(t)
}

// TestSoak is for `make soak`. Each history has a seed of its own, the first
// one SEED, by which it can be replayed alone.
func TestSoak(t *testing.T) {
	count, err := strconv.Atoi(os.Getenv("HISTORIES"))
	if err != nil {
		t.Skip("takes many minutes; run `make soak`")
	}
	seed, err := strconv.ParseInt(os.Getenv("SEED"), 10, 64)
	if err != nil {
		t.Fatalf("SEED: %v", err)
	}
	var n tally
	for done := 0; done < count && !t.Failed(); done += batch {
		first, size := seed+int64(done), min(batch, count-done)
		t.Run(fmt.Sprintf("SEED=%d", first), func(t *testing.T) {
			n.compare(t, first, size, func(i int) bool { return i%revertsInOne == 0 })
		})
	}
	n.report(t)
}

func describe(h history) string {
	var b strings.Builder
	show := func(name string, f files) {
		fmt.Fprintf(&b, "== %s\n", name)
		for _, path := range f.paths() {
			fmt.Fprintf(&b, "-- %q %o\n%q\n", path, f[path].mode, f[path].content)
		}
	}
	for i, state := range h.states {
		show([]string{"before", "guilty", "guilty", "guilty"}[min(i, 3)], state)
	}
	show("head", h.head)
	return b.String()
}

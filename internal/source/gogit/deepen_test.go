package gogit

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"chaperone.dev/chaperone/internal/source"
)

// followed is a branch over time, and what is asked about it.
type followed struct {
	all   []made
	heads []int // where the branch is, one poll after the other
	depth int
	asked [][2]int
	fresh bool // the process starts anew before the last poll
}

func drawFollowed(t *rapid.T) followed {
	f := followed{all: drawHistory(t, rapid.Bool().Draw(t, "honest")), depth: rapid.IntRange(1, 4).Draw(t, "depth"), fresh: rapid.Bool().Draw(t, "fresh")}
	commit := rapid.IntRange(0, len(f.all)-1)
	f.heads = append(rapid.SliceOfN(commit, 0, 2).Draw(t, "heads"), rapid.IntRange(len(f.all)/2, len(f.all)-1).Draw(t, "head"))
	for range 6 {
		f.asked = append(f.asked, [2]int{commit.Draw(t, "one"), commit.Draw(t, "other")})
	}
	return f
}

// server is a repository that holds the commits, and a branch on one of them.
func (f followed) server(t *testing.T) (dir string, revisions []source.Revision, moveTo func(int)) {
	t.Helper()
	dir = filepath.Join(t.TempDir(), "server.git")
	o, revisions := history(t, dir, Limits{}, f.all)
	o.use(nil)
	put := func(name, content string) {
		if err := os.WriteFile(filepath.Join(dir, filepath.FromSlash(name)), []byte(content+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.MkdirAll(filepath.Join(dir, "refs", "heads"), 0o700); err != nil {
		t.Fatal(err)
	}
	put("HEAD", "ref: refs/heads/main")
	put("config", "[core]\n\tbare = true\n\trepositoryformatversion = 0\n[uploadpack]\n\tallowFilter = true")
	return dir, revisions, func(i int) { put("refs/heads/main", string(revisions[i])) }
}

func openFollowed(t *testing.T, dir, cache string, depth int) *Repository {
	t.Helper()
	r, err := Open(t.Context(), Options{URL: dir, Branch: "main", CacheDir: cache, Limits: Limits{Depth: depth}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.Close)
	return r
}

// answers are what a repository says about two commits, errors by their kind.
func answers(t *testing.T, r *Repository, one, other source.Revision) []string {
	t.Helper()
	var all []string
	say := func(what string, answer any, err error) {
		for _, kind := range []error{source.ErrUnknownRevision, source.ErrNotAncestor, source.ErrTooFar} {
			if errors.Is(err, kind) {
				all = append(all, fmt.Sprintf("%s: %v", what, kind))
				return
			}
		}
		if err != nil {
			t.Errorf("%s: %v", what, err)
		}
		all = append(all, fmt.Sprintf("%s: %v", what, answer))
	}
	ctx := t.Context()
	contained, err := r.Contains(ctx, one)
	say("contains", contained, err)
	line, err := r.FirstParents(ctx, one, other, 1000)
	say("line", line, err)
	beyond, err := r.Beyond(ctx, one, other)
	say("beyond", beyond, err)
	authors, err := r.Authors(ctx, one, other, 1000)
	say("authors", authors, err)
	base, err := r.MergeBase(ctx, one, other)
	say("merge base", base, err)
	changed, err := r.Changed(one, other)
	say("changed", changed, err)
	last, err := r.LastChange(ctx, "own", other, 1000)
	say("last change", last.Revision, err)
	c, err := r.Commit(other)
	say("commit", c, err)
	return all
}

// TestShallowAnswersAsWhole: whatever is asked of a mirror that has the newest
// commits, it answers as one that has all of them; also after the branch was moved
// elsewhere by force, and in a new process.
func TestShallowAnswersAsWhole(t *testing.T) {
	t.Parallel()
	drawn := rapid.Custom(drawFollowed)
	var deepened int64
	for seed := range 100 {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			f := drawn.Example(seed)
			dir, revisions, moveTo := f.server(t)
			cache := filepath.Join(t.TempDir(), "shallow")
			shallow, whole := openFollowed(t, dir, cache, f.depth), openFollowed(t, dir, filepath.Join(t.TempDir(), "whole"), 1_000_000)
			for i, head := range f.heads {
				if f.fresh && i == len(f.heads)-1 {
					deepened += shallow.Counters().Fetches
					shallow.Close()
					shallow = openFollowed(t, dir, cache, f.depth)
				}
				moveTo(head)
				for _, r := range []*Repository{shallow, whole} {
					if _, err := r.Poll(t.Context()); err != nil {
						t.Fatal(err)
					}
				}
				for _, two := range f.asked[i*2 : i*2+2] {
					one, other := revisions[two[0]], revisions[two[1]]
					got, want := answers(t, shallow, one, other), answers(t, whole, one, other)
					if !slices.Equal(got, want) {
						t.Errorf("at head %d, of %d and %d:\n%q, want\n%q\n%+v", head, two[0], two[1], got, want, f)
					}
				}
			}
			deepened += shallow.Counters().Fetches - whole.Counters().Fetches
			for _, r := range []*Repository{shallow, whole} {
				if r.damaged.Load() || r.whole.Load() {
					t.Error("the mirror counts as damaged")
				}
			}
		})
	}
	if deepened < 40 {
		t.Errorf("older commits were fetched %d times: the histories are too short to tell", deepened)
	}
}

package gogit_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"testing"

	"chaperone.dev/chaperone/internal/source"
	"chaperone.dev/chaperone/internal/source/gogit"
	"chaperone.dev/chaperone/internal/testkit/gitserver"
)

// landscape is main: c0 - c1 - c2(merge of s2) - c3, with s1 - s2 on the side.
func landscape(t *testing.T) (repo *gitserver.Repo, c [4]source.Revision, s2 source.Revision) {
	t.Helper()
	repo = gitserver.NewRepo(t)
	rev := func(s string) source.Revision { return source.Revision(s) }
	c[0] = rev(repo.Commit(t, gitserver.Commit{Message: "first\n\nbody\n", Files: map[string]string{"pin": "0", "a": "0"}}))
	repo.Commit(t, gitserver.Commit{Branch: "side", Parent: string(c[0]), Message: "s1", Files: map[string]string{"s": "1"}})
	s2 = rev(repo.Commit(t, gitserver.Commit{Branch: "side", Message: "s2", Files: map[string]string{"s": "2"}}))
	c[1] = rev(repo.Commit(t, gitserver.Commit{Message: "c1", Files: map[string]string{"pin": "1"}}))
	c[2] = rev(repo.Commit(t, gitserver.Commit{Message: "merge", Merge: string(s2), Files: map[string]string{"s": "2"}}))
	c[3] = rev(repo.Commit(t, gitserver.Commit{Message: "c3", Files: map[string]string{"a": "3"}}))
	return repo, c, s2
}

func TestCommit(t *testing.T) {
	t.Parallel()
	repo, c, s2 := landscape(t)
	r := local(t, repo, gogit.Limits{})
	merge, err := r.Commit(c[2])
	if err != nil || fmt.Sprint(merge.Parents) != fmt.Sprint([]source.Revision{c[1], s2}) || merge.Subject() != "merge" {
		t.Errorf("Commit = %+v, %v", merge, err)
	}
	first, err := r.Commit(c[0])
	if err != nil || first.Message != "first\n\nbody\n" || first.Author.String() != "Dev One <dev@example.org>" || first.Author.When.Year() != 2024 {
		t.Errorf("Commit = %+v, %v", first, err)
	}
	for _, revision := range []source.Revision{"", "main", source.WorkingTree, source.Revision(strings.Repeat("0", 40)), c[0][:12]} {
		if _, err := r.Commit(revision); !errors.Is(err, source.ErrUnknownRevision) {
			t.Errorf("Commit(%q): %v", revision, err)
		}
		if _, err := r.Snapshot(revision); !errors.Is(err, source.ErrUnknownRevision) {
			t.Errorf("Snapshot(%q): %v", revision, err)
		}
	}
}

func TestFirstParents(t *testing.T) {
	t.Parallel()
	repo, c, s2 := landscape(t)
	r := local(t, repo, gogit.Limits{})
	unknown := source.Revision(strings.Repeat("1", 40))
	for _, test := range []struct {
		name        string
		after, upTo source.Revision
		max         int
		want        []source.Revision
		err         error
	}{
		{"one", c[2], c[3], 10, []source.Revision{c[3]}, nil},
		{"past a merge, not into it", c[0], c[3], 10, []source.Revision{c[3], c[2], c[1]}, nil},
		{"exactly as many as allowed", c[0], c[3], 3, []source.Revision{c[3], c[2], c[1]}, nil},
		{"none", c[3], c[3], 10, nil, nil},
		{"all", "", c[3], 10, []source.Revision{c[3], c[2], c[1], c[0]}, nil},
		{"the newest", "", c[3], 2, []source.Revision{c[3], c[2]}, nil},
		{"too far", c[0], c[3], 2, nil, source.ErrTooFar},
		{"merged from the side", s2, c[3], 10, nil, source.ErrNotAncestor},
		{"merged from the side, far away", s2, c[3], 1, nil, source.ErrNotAncestor},
		{"the other way round", c[3], c[1], 10, nil, source.ErrNotAncestor},
		{"after is unknown", unknown, c[3], 10, nil, source.ErrNotAncestor},
		{"upTo is unknown", c[0], unknown, 10, nil, source.ErrUnknownRevision},
	} {
		commits, err := r.FirstParents(t.Context(), test.after, test.upTo, test.max)
		var got []source.Revision
		for _, c := range commits {
			got = append(got, c.Revision)
		}
		if !errors.Is(err, test.err) || fmt.Sprint(got) != fmt.Sprint(test.want) {
			t.Errorf("%s: %v, %v; want %v, %v", test.name, got, err, test.want, test.err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := r.FirstParents(ctx, "", c[3], 10); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}

func TestContains(t *testing.T) {
	t.Parallel()
	repo, c, s2 := landscape(t)
	r := local(t, repo, gogit.Limits{})
	for revision, want := range map[source.Revision]bool{
		c[0]: true, c[3]: true, s2: true, "": false, "main": false, source.Revision(strings.Repeat("1", 40)): false,
	} {
		for range 2 {
			if got, err := r.Contains(t.Context(), revision); err != nil || got != want {
				t.Errorf("Contains(%s) = %v, %v", revision.Short(), got, err)
			}
		}
	}
	bounded := local(t, repo, gogit.Limits{History: 2})
	if _, err := bounded.Contains(t.Context(), c[0]); !errors.Is(err, source.ErrTooFar) {
		t.Errorf("past the limit: %v", err)
	}
}

// TestLastChange finds the commit that moved a pin.
func TestLastChange(t *testing.T) {
	t.Parallel()
	repo, c, _ := landscape(t)
	removed := source.Revision(repo.Commit(t, gitserver.Commit{Delete: []string{"pin"}}))
	after := source.Revision(repo.Commit(t, one("z", "1")))
	r := local(t, repo, gogit.Limits{})
	for _, test := range []struct {
		path string
		upTo source.Revision
		max  int
		want source.Revision
		err  error
	}{
		{"pin", c[3], 10, c[1], nil},
		{"pin", c[1], 10, c[1], nil},
		{"pin", c[0], 10, c[0], nil},
		{"a", c[2], 10, c[0], nil},
		{"a", c[3], 10, c[3], nil},
		{"s", c[3], 10, c[2], nil}, // by merging it
		{"pin", after, 10, removed, nil},
		{"pin", c[3], 3, c[1], nil},
		{"pin", c[3], 2, "", source.ErrTooFar},
		{"absent", c[3], 10, "", fs.ErrNotExist},
		{"../pin", c[3], 10, "", fs.ErrInvalid},
		{"pin", "", 10, "", source.ErrUnknownRevision},
	} {
		got, err := r.LastChange(t.Context(), test.path, test.upTo, test.max)
		if got.Revision != test.want || !errors.Is(err, test.err) {
			t.Errorf("LastChange(%s, %s, %d) = %s, %v; want %s, %v", test.path, test.upTo.Short(), test.max, got.Revision, err, test.want, test.err)
		}
	}
}

func TestChanged(t *testing.T) {
	t.Parallel()
	repo := gitserver.NewRepo(t)
	from := source.Revision(repo.Commit(t, gitserver.Commit{Files: map[string]string{
		"a": "1", "b/x": "1", "b/y": "1", "c/d/e": "1", "f": "1", "same/z": "1",
	}, Executables: map[string]string{"run": "1"}}))
	to := source.Revision(repo.Commit(t, gitserver.Commit{
		Delete: []string{"b/y", "c", "f"},
		Files:  map[string]string{"a": "2", "b/n": "1", "c": "now a file", "f/g": "now a directory", "run": "1"},
	}))
	r := local(t, repo, gogit.Limits{})
	const want = "a b/n b/y c c/d/e f f/g run"
	for _, pair := range [][2]source.Revision{{from, to}, {to, from}} {
		if got, err := r.Changed(pair[0], pair[1]); err != nil || strings.Join(got, " ") != want {
			t.Errorf("Changed = %v, %v; want %s", got, err, want)
		}
	}
	if got, err := r.Changed(to, to); err != nil || got != nil {
		t.Errorf("Changed from itself = %v, %v", got, err)
	}
	if _, err := r.Changed(source.Revision(strings.Repeat("1", 40)), to); !errors.Is(err, source.ErrUnknownRevision) {
		t.Errorf("Changed from an unknown commit: %v", err)
	}
}

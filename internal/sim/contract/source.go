package contract

import (
	"errors"
	"io/fs"
	"slices"
	"strings"
	"testing"

	"chaperone.dev/chaperone/internal/controller"
	"chaperone.dev/chaperone/internal/promotion"
	"chaperone.dev/chaperone/internal/reconcile"
	"chaperone.dev/chaperone/internal/source"
)

// SourceFixture is a repository with a branch main, and the controller's way
// to it.
type SourceFixture struct {
	controller.Source
	Another func() controller.Source // a second daemon, that has read nothing yet
	// Commit puts a commit on a branch and returns it.
	Commit func(Commit) source.Revision
	// Between makes somebody put a commit on the branch during the next push.
	Between func(Commit)
	Move    func(branch string, to source.Revision) // by force; to "" deletes it
	Head    func(branch string) source.Revision     // "" for none
	Message func(source.Revision) string
	File    func(at source.Revision, path string) string // "" where there is none
	Refuse  func(why string)                             // every push; "" takes them again
	Lose    func()                                       // the answer of the next push, which happens
	Down    func()
	Up      func()
}

// Commit is what somebody commits: on the branch's head, or on Parent.
type Commit struct {
	Branch  string // default main
	Parent  source.Revision
	Merge   source.Revision
	Message string
	Files   map[string]string
	Delete  []string
}

func file(path, content string) Commit {
	return Commit{Message: "write " + path, Files: map[string]string{path: content}}
}

func (f SourceFixture) poll(t *testing.T) source.Revision {
	t.Helper()
	head, err := f.Poll(t.Context())
	must(t, err)
	return head
}

// SourceCases are what a Source must do.
func SourceCases() []Case[SourceFixture] {
	return slices.Concat(readCases(), historyCases(), revertCases(), revertPushCases(), proposeCases(), proposePushCases())
}

//lint:long because it is a list, one entry after the other
func readCases() []Case[SourceFixture] {
	return []Case[SourceFixture]{
		{"a poll brings the head and all that belongs to it", func(t *testing.T, f SourceFixture) {
			first := f.Commit(file("a", "1"))
			second := f.Commit(Commit{Message: "second\n\nwith a body\n", Files: map[string]string{"dir/b": "2"}})
			if head := f.poll(t); head != second {
				t.Fatalf("head %s, want %s", head, second)
			}
			c, err := f.Source.Commit(second)
			must(t, err)
			if c.Subject() != "second" || !slices.Equal(c.Parents, []source.Revision{first}) || c.Author.Email == "" {
				t.Errorf("commit %+v", c)
			}
			snapshot, err := f.Snapshot(second)
			must(t, err)
			content, err := fs.ReadFile(snapshot, "dir/b")
			if err != nil || string(content) != "2" || snapshot.Revision() != second {
				t.Errorf("dir/b is %q at %s: %v", content, snapshot.Revision(), err)
			}
		}},
		{"a hash tells equal from different content, a directory, and nothing", func(t *testing.T, f SourceFixture) {
			first := f.Commit(Commit{Files: map[string]string{"a": "1", "dir/b": "1"}})
			second := f.Commit(file("a", "2"))
			f.poll(t)
			hash := func(at source.Revision, name string) string {
				snapshot, err := f.Snapshot(at)
				must(t, err)
				h, err := snapshot.Hash(name)
				must(t, err)
				return h
			}
			if hash(first, "a") == hash(second, "a") || hash(first, "dir/b") != hash(second, "dir/b") {
				t.Error("hashes do not follow the content")
			}
			if hash(first, "dir") != source.Dir || hash(first, "absent") != "" {
				t.Errorf("dir is %q, absent is %q", hash(first, "dir"), hash(first, "absent"))
			}
		}},
		{"a file system says what is not there", func(t *testing.T, f SourceFixture) {
			head := f.Commit(file("a", "1"))
			f.poll(t)
			snapshot, err := f.Snapshot(head)
			must(t, err)
			if _, err := fs.ReadFile(snapshot, "b"); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("error %v, want fs.ErrNotExist", err)
			}
		}},
		{"what no poll brought is unknown", func(t *testing.T, f SourceFixture) {
			f.Commit(file("a", "1"))
			f.poll(t)
			later := f.Commit(file("a", "2"))
			_, err := f.Source.Commit(later)
			mustBe(t, err, source.ErrUnknownRevision, false)
			_, err = f.Snapshot(later)
			mustBe(t, err, source.ErrUnknownRevision, false)
			_, err = f.Another().Commit(later)
			mustBe(t, err, source.ErrUnknownRevision, false)
		}},
		{"a server that is away says nothing about the branch", func(t *testing.T, f SourceFixture) {
			head := f.Commit(file("a", "1"))
			f.poll(t)
			f.Down()
			_, err := f.Poll(t.Context())
			mustBe(t, err, source.ErrUnavailable, false)
			_, err = f.Snapshot(head)
			must(t, err) // what was read stays readable
			f.Up()
			f.poll(t)
		}},
		{"a branch that is gone is told from a server that is away", func(t *testing.T, f SourceFixture) {
			head := f.Commit(file("a", "1"))
			f.poll(t)
			f.Move("main", "")
			_, err := f.Poll(t.Context())
			mustBe(t, err, source.ErrBranchGone, false)
			f.Move("main", head)
			if f.poll(t) != head {
				t.Error("the branch is back, and its head is another")
			}
		}},
		{"paths that changed, in order", func(t *testing.T, f SourceFixture) {
			first := f.Commit(Commit{Files: map[string]string{"a": "1", "b": "1", "dir/c": "1"}})
			f.Commit(file("b", "2"))
			last := f.Commit(Commit{Files: map[string]string{"dir/d": "1"}, Delete: []string{"a"}})
			f.poll(t)
			paths, err := f.Changed(first, last)
			must(t, err)
			if !slices.Equal(paths, []string{"a", "b", "dir/d"}) {
				t.Errorf("changed %v", paths)
			}
		}},
	}
}

// line is four commits on main, oldest first.
func line(f SourceFixture) []source.Revision {
	var line []source.Revision
	for _, content := range []string{"1", "2", "3", "4"} {
		line = append(line, f.Commit(file("a", content)))
	}
	return line
}

func revisions(commits []source.Commit) []source.Revision {
	var all []source.Revision
	for _, c := range commits {
		all = append(all, c.Revision)
	}
	return all
}

//lint:long because it is a list, one entry after the other
func historyCases() []Case[SourceFixture] {
	return []Case[SourceFixture]{
		{"first parents, newest first", func(t *testing.T, f SourceFixture) {
			l := line(f)
			f.poll(t)
			between, err := f.FirstParents(t.Context(), l[0], l[3], 10)
			must(t, err)
			if !slices.Equal(revisions(between), []source.Revision{l[3], l[2], l[1]}) {
				t.Errorf("between: %v", revisions(between))
			}
			newest, err := f.FirstParents(t.Context(), "", l[3], 2)
			must(t, err)
			if !slices.Equal(revisions(newest), []source.Revision{l[3], l[2]}) {
				t.Errorf("newest: %v", revisions(newest))
			}
			_, err = f.FirstParents(t.Context(), l[0], l[3], 2)
			if !errors.Is(err, source.ErrTooFar) {
				t.Errorf("error %v, want that it is too far", err)
			}
		}},
		{"a history that does not connect", func(t *testing.T, f SourceFixture) {
			l := line(f)
			f.poll(t)
			f.Move("main", l[1])
			other := f.Commit(file("b", "1"))
			f.poll(t)
			_, err := f.FirstParents(t.Context(), l[3], other, 10)
			if !errors.Is(err, source.ErrNotAncestor) {
				t.Errorf("error %v, want that it is no ancestor", err)
			}
		}},
		{"what is contained, along any parent", func(t *testing.T, f SourceFixture) {
			l := line(f)
			side := f.Commit(Commit{Branch: "side", Parent: l[1], Message: "side", Files: map[string]string{"b": "1"}})
			merged := f.Commit(Commit{Message: "merge", Merge: side, Files: map[string]string{"b": "1"}})
			f.poll(t)
			for revision, want := range map[source.Revision]bool{l[0]: true, side: true, merged: true, source.Revision(strings.Repeat("0", 40)): false} {
				if got, err := f.Contains(t.Context(), revision); err != nil || got != want {
					t.Errorf("%s: %v, %v; want %v", revision.Short(), got, err, want)
				}
			}
			commits, err := f.FirstParents(t.Context(), l[3], merged, 10)
			must(t, err)
			if !slices.Equal(revisions(commits), []source.Revision{merged}) {
				t.Errorf("a merge is one commit of the line, not %v", revisions(commits))
			}
		}},
		{"what one commit has over another, along any parent", func(t *testing.T, f SourceFixture) {
			l := line(f)
			side := f.Commit(Commit{Branch: "side", Parent: l[1], Message: "side", Files: map[string]string{"b": "1"}})
			merged := f.Commit(Commit{Message: "merge", Merge: side, Files: map[string]string{"b": "1"}})
			f.poll(t)
			for after, want := range map[source.Revision][]source.Revision{l[3]: {merged, side}, side: {merged, l[3], l[2]}, merged: nil} {
				commits, err := f.Beyond(t.Context(), after, merged)
				must(t, err)
				if got := revisions(commits); !slices.Equal(slices.Sorted(slices.Values(got)), slices.Sorted(slices.Values(want))) {
					t.Errorf("beyond %s: %v, want %v", after.Short(), got, want)
				}
			}
			if _, err := f.Beyond(t.Context(), source.Revision(strings.Repeat("0", 40)), merged); !errors.Is(err, source.ErrUnknownRevision) {
				t.Errorf("error %v, want that the revision is unknown", err)
			}
		}},
		{"a force-push takes commits out of the history", func(t *testing.T, f SourceFixture) {
			l := line(f)
			f.poll(t)
			f.Move("main", l[1])
			f.poll(t)
			contained, err := f.Contains(t.Context(), l[3])
			if err != nil || contained {
				t.Errorf("contained: %v, %v", contained, err)
			}
		}},
		{"nothing is contained before a head is known", func(t *testing.T, f SourceFixture) {
			head := f.Commit(file("a", "1"))
			if _, err := f.Contains(t.Context(), head); !errors.Is(err, source.ErrUnavailable) {
				t.Errorf("error %v, want that the source is unavailable", err)
			}
		}},
		{"a commit that nobody signed", func(t *testing.T, f SourceFixture) {
			l := line(f)
			f.poll(t)
			signature, err := f.Signature(l[1])
			if err != nil || signature.State != source.SignatureUnsigned || signature.Detail == "" {
				t.Errorf("signature %+v, %v", signature, err)
			}
			if _, err := f.Signature(source.Revision(strings.Repeat("1", 40))); !errors.Is(err, source.ErrUnknownRevision) {
				t.Errorf("error %v, want that it is unknown", err)
			}
			if _, err := f.Signers(); err != nil {
				t.Error(err)
			}
		}},
		{"who wrote what a commit brings", func(t *testing.T, f SourceFixture) {
			l := line(f)
			f.poll(t)
			people, err := f.Authors(t.Context(), l[0], l[3], 10)
			must(t, err)
			if len(people) != 1 || people[0].Email == "" {
				t.Errorf("authors %v, want one", people)
			}
			if _, err := f.Authors(t.Context(), l[0], l[3], 2); !errors.Is(err, source.ErrTooFar) {
				t.Errorf("error %v, want that it is too far", err)
			}
			same, err := f.Authors(t.Context(), l[3], l[3], 10)
			if err != nil || len(same) != 0 {
				t.Errorf("a commit brings nothing over itself, and has authors %v, %v", same, err)
			}
		}},
	}
}

var note = source.RevertNote{Environment: "demo/staging", Release: "sha256:ab12", Reason: "VerificationFailed", Evidence: "http answered 500."}

// guilty is a commit that changed a file, and a head after it that changed
// another.
func guilty(f SourceFixture) (bad, head source.Revision) {
	f.Commit(Commit{Message: "begin", Files: map[string]string{"a": "1", "b": "1"}})
	bad = f.Commit(file("a", "2"))
	return bad, f.Commit(file("b", "2"))
}

// reverts counts the commits on main that take a commit back.
func reverts(t *testing.T, f SourceFixture, bad source.Revision) int {
	t.Helper()
	head := f.poll(t)
	commits, err := f.FirstParents(t.Context(), "", head, 50)
	must(t, err)
	count := 0
	for _, c := range commits {
		if slices.Contains(c.Trailer(source.TrailerReverts), string(bad)) {
			count++
		}
	}
	return count
}

func wantRevert(t *testing.T, got controller.RevertResult, err error, outcome reconcile.Outcome, reason promotion.Reason) {
	t.Helper()
	if err != nil || got.Outcome != outcome || got.Reason != reason {
		t.Fatalf("%+v, %v; want %s %s", got, err, outcome, reason)
	}
}

//lint:long because it is a list, one entry after the other
func revertCases() []Case[SourceFixture] {
	return []Case[SourceFixture]{
		{"a revert takes back one commit and nothing else", func(t *testing.T, f SourceFixture) {
			bad, head := guilty(f)
			f.poll(t)
			done, err := f.Revert(t.Context(), bad, note)
			wantRevert(t, done, err, reconcile.OutcomeDone, "")
			if f.Head("main") != done.Commit || f.File(done.Commit, "a") != "1" || f.File(done.Commit, "b") != "2" {
				t.Errorf("head %s, a is %q, b is %q", f.Head("main"), f.File(done.Commit, "a"), f.File(done.Commit, "b"))
			}
			c, err := f.Source.Commit(done.Commit)
			must(t, err) // known without another poll
			of, found := c.Reverts()
			if !found || of != bad || !slices.Equal(c.Parents, []source.Revision{head}) || !strings.Contains(c.Message, "http answered 500") {
				t.Errorf("the revert is %+v", c)
			}
		}},
		{"what was reverted is not again", func(t *testing.T, f SourceFixture) {
			bad, _ := guilty(f)
			f.poll(t)
			done, err := f.Revert(t.Context(), bad, note)
			wantRevert(t, done, err, reconcile.OutcomeDone, "")
			for _, again := range []controller.Source{f.Source, f.Another()} {
				already, err := again.Revert(t.Context(), bad, note)
				wantRevert(t, already, err, reconcile.OutcomeAlready, "")
				if already.Commit != done.Commit {
					t.Errorf("the revert is %s, want %s", already.Commit, done.Commit)
				}
			}
			if n := reverts(t, f, bad); n != 1 {
				t.Errorf("%d reverts", n)
			}
		}},
		{"a revert is not reverted", func(t *testing.T, f SourceFixture) {
			bad, _ := guilty(f)
			f.poll(t)
			done, err := f.Revert(t.Context(), bad, note)
			wantRevert(t, done, err, reconcile.OutcomeDone, "")
			refused, err := f.Revert(t.Context(), done.Commit, note)
			wantRevert(t, refused, err, reconcile.OutcomeFailed, promotion.RevertOfRevert)
			if f.Head("main") != done.Commit {
				t.Error("something was pushed")
			}
		}},
		{"a commit whose lines were changed since conflicts", func(t *testing.T, f SourceFixture) {
			bad, _ := guilty(f)
			head := f.Commit(file("a", "3"))
			f.poll(t)
			result, err := f.Revert(t.Context(), bad, note)
			wantRevert(t, result, err, reconcile.OutcomeConflict, promotion.RevertConflict)
			if !slices.Equal(result.Conflicts, []string{"a"}) || f.Head("main") != head {
				t.Errorf("conflicts %v, head %s", result.Conflicts, f.Head("main"))
			}
		}},
		{"nothing is left of what somebody took back by hand", func(t *testing.T, f SourceFixture) {
			bad, _ := guilty(f)
			head := f.Commit(file("a", "1"))
			f.poll(t)
			result, err := f.Revert(t.Context(), bad, note)
			wantRevert(t, result, err, reconcile.OutcomeAlready, "")
			if f.Head("main") != head {
				t.Error("something was pushed")
			}
		}},
		{"a merge is taken back along its first parent", func(t *testing.T, f SourceFixture) {
			begin := f.Commit(Commit{Message: "begin", Files: map[string]string{"a": "1"}})
			side := f.Commit(Commit{Branch: "side", Parent: begin, Message: "side", Files: map[string]string{"b": "1"}})
			f.Commit(file("c", "1"))
			merged := f.Commit(Commit{Message: "merge", Merge: side, Files: map[string]string{"b": "1"}})
			f.poll(t)
			done, err := f.Revert(t.Context(), merged, note)
			wantRevert(t, done, err, reconcile.OutcomeDone, "")
			if f.File(done.Commit, "b") != "" || f.File(done.Commit, "c") != "1" {
				t.Errorf("b is %q, c is %q", f.File(done.Commit, "b"), f.File(done.Commit, "c"))
			}
		}},
		{"a revert that was merged counts", func(t *testing.T, f SourceFixture) {
			bad, head := guilty(f)
			message := "Revert it\n\n" + source.TrailerReverts + ": " + string(bad) + "\n"
			side := f.Commit(Commit{Branch: "side", Parent: head, Message: message, Files: map[string]string{"a": "1"}})
			f.Commit(Commit{Message: "merge", Merge: side, Files: map[string]string{"a": "1"}})
			f.poll(t)
			result, err := f.Revert(t.Context(), bad, note)
			wantRevert(t, result, err, reconcile.OutcomeAlready, "")
			if result.Commit != side {
				t.Errorf("the revert is %s, want %s", result.Commit, side)
			}
		}},
		{"a commit that is not on the branch cannot be reverted", func(t *testing.T, f SourceFixture) {
			bad, _ := guilty(f)
			f.poll(t)
			f.Move("main", f.Commit(Commit{Branch: "other", Parent: firstOf(t, f, bad), Message: "other", Files: map[string]string{"c": "1"}}))
			_, err := f.Revert(t.Context(), bad, note)
			mustBe(t, err, source.ErrNotAncestor, true)
		}},
	}
}

func firstOf(t *testing.T, f SourceFixture, revision source.Revision) source.Revision {
	t.Helper()
	c, err := f.Source.Commit(revision)
	must(t, err)
	return c.Parents[0]
}

func revertPushCases() []Case[SourceFixture] {
	return []Case[SourceFixture]{
		{"a revert that the server refuses", func(t *testing.T, f SourceFixture) {
			bad, head := guilty(f)
			f.poll(t)
			f.Refuse("protected branch")
			result, err := f.Revert(t.Context(), bad, note)
			wantRevert(t, result, err, reconcile.OutcomeRejected, promotion.RevertRejected)
			if !strings.Contains(result.Detail, "protected branch") || f.Head("main") != head {
				t.Errorf("detail %q, head %s", result.Detail, f.Head("main"))
			}
			f.Refuse("")
			result, err = f.Revert(t.Context(), bad, note)
			wantRevert(t, result, err, reconcile.OutcomeDone, "")
		}},
		{"a push whose answer is lost is one revert", func(t *testing.T, f SourceFixture) {
			bad, _ := guilty(f)
			f.poll(t)
			f.Lose()
			result, err := f.Revert(t.Context(), bad, note)
			wantRevert(t, result, err, reconcile.OutcomeDone, "")
			if n := reverts(t, f, bad); n != 1 || f.Head("main") != result.Commit {
				t.Errorf("%d reverts, head %s, commit %s", n, f.Head("main"), result.Commit)
			}
		}},
		{"somebody pushes during the push", func(t *testing.T, f SourceFixture) {
			bad, _ := guilty(f)
			f.poll(t)
			f.Between(file("theirs", "1"))
			result, err := f.Revert(t.Context(), bad, note)
			wantRevert(t, result, err, reconcile.OutcomeDone, "")
			if f.File(f.Head("main"), "theirs") != "1" || f.File(f.Head("main"), "a") != "1" {
				t.Error("their commit, or the revert, is not there")
			}
			if n := reverts(t, f, bad); n != 1 {
				t.Errorf("%d reverts", n)
			}
		}},
		{"a revert while the server is away may pass", func(t *testing.T, f SourceFixture) {
			bad, _ := guilty(f)
			f.poll(t)
			f.Down()
			_, err := f.Revert(t.Context(), bad, note)
			mustBe(t, err, source.ErrUnavailable, false)
			f.Up()
			result, err := f.Revert(t.Context(), bad, note)
			wantRevert(t, result, err, reconcile.OutcomeDone, "")
		}},
	}
}

package gogit_test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"chaperone.dev/chaperone/internal/source"
	"chaperone.dev/chaperone/internal/source/gogit"
	"chaperone.dev/chaperone/internal/testkit/gitserver"
)

// since lists what a rollback takes back.
func since(t *testing.T, l *gogit.Local, after, head string) []source.Revision {
	t.Helper()
	commits, err := l.FirstParents(t.Context(), source.Revision(after), source.Revision(head), 100)
	if err != nil {
		t.Fatal(err)
	}
	var all []source.Revision
	for _, c := range commits {
		all = append(all, c.Revision)
	}
	return all
}

func rollback(t *testing.T, dir, after string, request gogit.LocalRevert) []gogit.RevertedOne {
	t.Helper()
	l := openLocal(t, dir)
	head, err := l.Head("main")
	if err != nil {
		t.Fatal(err)
	}
	results, err := l.RevertAll(t.Context(), request, since(t, l, after, string(head)))
	if err != nil {
		t.Fatal(err)
	}
	return results
}

func outcomes(results []gogit.RevertedOne) string {
	var all []string
	for _, r := range results {
		all = append(all, string(r.Outcome))
	}
	return strings.Join(all, " ")
}

func TestRevertAll(t *testing.T) {
	everywhere(t, func(t *testing.T, s *site) {
		good := s.Commit(t, gitserver.Commit{Files: map[string]string{"a": tenLines, "b": "1\n"}})
		first := s.Commit(t, gitserver.Commit{Message: "first", Files: map[string]string{"a": strings.Replace(tenLines, "2\n", "two\n", 1)}})
		second := s.Commit(t, gitserver.Commit{Message: "second", Delete: []string{"b"}, Files: map[string]string{"a": strings.Replace(tenLines, "2\n", "zwei\n", 1)}})
		dir := s.Clone(t, "main")
		gitserver.Git(t, dir, "remote", "set-url", "origin", s.options.URL)
		request := byHand("")
		request.Push, request.Credentials = true, s.options.Credentials
		request.Note.Evidence = "We go back."
		s.RefusePushes(t, "not today")
		if got := outcomes(rollback(t, dir, good, request)); got != "Reverted Rejected" {
			t.Errorf("outcomes = %s", got)
		}
		log := gitserver.Git(t, dir, "log", "--format=%s|%(trailers:key=Chaperone-Reverts,valueonly,separator=%x20)", "-3")
		if want := "Revert \"first\"|" + first + "\nRevert \"second\"|" + second + "\nsecond|"; log != want {
			t.Errorf("log =\n%s\nwant\n%s", log, want)
		}
		if got := gitserver.Git(t, dir, "diff", "--stat", good, "HEAD") + status(t, dir); got != "" {
			t.Errorf("the tree is not the one before: %s", got)
		}
		s.AcceptPushes(t)
		results, err := openLocal(t, dir).RevertAll(t.Context(), request, []source.Revision{source.Revision(second), source.Revision(first)})
		if err != nil || outcomes(results) != "AlreadyReverted AlreadyReverted" || s.Head(t, "main") != gitserver.Git(t, dir, "rev-parse", "main") {
			t.Errorf("again: %s, %v", outcomes(results), err)
		}
		gitserver.Git(t, dir, "fsck", "--strict")
		// Reverts and what they took back cancel each other out.
		later := s.Commit(t, one("c", "1"))
		gitserver.Git(t, dir, "fetch", "-q", s.Dir, "main")
		gitserver.Git(t, dir, "reset", "-q", "--hard", "FETCH_HEAD")
		if got := outcomes(rollback(t, dir, good, request)); got != "Reverted NothingToRevert NothingToRevert AlreadyReverted AlreadyReverted" {
			t.Errorf("outcomes = %s", got)
		}
		if got := gitserver.Git(t, s.Dir, "rev-parse", "main^") + gitserver.Git(t, s.Dir, "diff", "--stat", good, "main"); got != later {
			t.Errorf("after a rollback over reverts: %s", got)
		}
	})
}

// TestRevertAllOrNothing: where one commit cannot be taken back, none is.
func TestRevertAllOrNothing(t *testing.T) {
	t.Parallel()
	repo := gitserver.NewRepo(t)
	good := repo.Commit(t, gitserver.Commit{Files: map[string]string{"a": "1\n", "b": "1\n"}})
	changed := repo.Commit(t, one("a", "2\n"))
	base := repo.Commit(t, one("b", "2\n"))
	revertOf := repo.Commit(t, gitserver.Commit{Message: "Revert\n\nChaperone-Reverts: " + changed, Files: map[string]string{"a": "1\n"}})
	head := repo.Commit(t, one("b", "3\n"))
	dir := repo.Clone(t, "main")
	untouched := func(name, wantStatus string) {
		t.Helper()
		if gitserver.Git(t, dir, "rev-parse", "HEAD") != head || status(t, dir) != wantStatus {
			t.Errorf("%s: status %q", name, status(t, dir))
		}
	}
	got := rollback(t, dir, base, byHand(""))
	if outcomes(got) != "RefusedRevertOfRevert" || string(got[0].Guilty) != revertOf {
		t.Errorf("a revert of what is older: %+v", got)
	}
	untouched("refused", "")
	results, err := openLocal(t, dir).RevertAll(t.Context(), byHand(""), []source.Revision{source.Revision(head), source.Revision(good)})
	if err != nil || outcomes(results) != "Conflict" || string(results[0].Guilty) != good {
		t.Errorf("a conflict: %+v, %v", results, err)
	}
	untouched("conflict", "")
	write(t, filepath.Join(dir, "b"), "mine\n")
	if got := rollback(t, dir, good, byHand("")); outcomes(got) != "Uncommitted" || fmt.Sprint(got[0].Conflicts) != "[b]" {
		t.Errorf("uncommitted: %+v", got)
	}
	untouched("uncommitted", "M b")
	if content, err := os.ReadFile(filepath.Join(dir, "b")); err != nil || string(content) != "mine\n" {
		t.Errorf("b = %q, %v", content, err)
	}
	if results, err := openLocal(t, dir).RevertAll(t.Context(), byHand(""), nil); err != nil || len(results) != 0 {
		t.Errorf("nothing to take back: %+v, %v", results, err)
	}
	if _, err := openLocal(t, dir).RevertAll(t.Context(), byHand(""), []source.Revision{source.Revision(strings.Repeat("1", 40))}); err == nil {
		t.Error("an unknown commit is taken back")
	}
}

// TestRollbackOverAnyHistory: what is not refused ends at exactly the tree that
// it goes back to, over commits and reverts of the daemon's.
func TestRollbackOverAnyHistory(t *testing.T) {
	t.Parallel()
	restored := 0
	// In the last three, later commits built on what a revert had left.
	for _, seed := range []uint64{0, 1, 2, 3, 4, 5, 6, 7, 8, 114, 167, 236} {
		random := rand.New(rand.NewPCG(seed, 1))
		repo := gitserver.NewRepo(t)
		commits := []string{repo.Commit(t, gitserver.Commit{Files: map[string]string{"a": "0", "b": "0", "c": "0"}})}
		for i := range 7 {
			if bad := commits[random.IntN(len(commits))]; i > 1 && bad != commits[0] && random.IntN(3) == 0 {
				if r := revertLocal(t, repo.Dir, byHand(bad)); r.Outcome == gogit.Reverted {
					commits = append(commits, string(r.Commit))
				}
				continue
			}
			commits = append(commits, repo.Commit(t, one(string(rune('a'+random.IntN(3))), fmt.Sprint(random.IntN(3)))))
		}
		good, head := commits[random.IntN(2)], repo.Head(t, "main")
		results := rollback(t, repo.Dir, good, byHand(""))
		switch last := results[len(results)-1].Outcome; last {
		case gogit.Reverted, gogit.AlreadyReverted, gogit.NothingToRevert:
			restored++
			if got := gitserver.Git(t, repo.Dir, "diff", "--stat", good, "main"); got != "" {
				t.Errorf("seed %d: %s leaves %s", seed, outcomes(results), got)
			}
		case gogit.RefusedRevertOfRevert:
			if repo.Head(t, "main") != head {
				t.Errorf("seed %d: %s, and the branch moved", seed, last)
			}
		default:
			t.Errorf("seed %d: %s", seed, last)
		}
	}
	if restored < 6 {
		t.Errorf("only %d of 12 histories could be rolled back", restored)
	}
}

package gogit_test

import (
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"chaperone.dev/chaperone/internal/fault"
	"chaperone.dev/chaperone/internal/source"
	"chaperone.dev/chaperone/internal/source/gogit"
	"chaperone.dev/chaperone/internal/testkit/gitserver"
)

const tenLines = "1\n2\n3\n4\n5\n6\n7\n8\n9\n10\n"

var note = source.RevertNote{
	Environment: "novamind/staging", Release: "sha256:ab12", Reason: "VerificationFailed",
	Evidence: `http "readiness" answered 500 in 12 of 12 requests over 60s (limit 1%).`,
}

// guilty makes a history whose second commit is guilty and whose third changed
// something else in the same file.
func guilty(t *testing.T, s *gitserver.Repo) (bad, head string) {
	t.Helper()
	s.Commit(t, one("base/app.yaml", tenLines))
	bad = s.Commit(t, gitserver.Commit{Message: "raise twin batch size", Files: map[string]string{
		"base/app.yaml": strings.Replace(tenLines, "2\n", "two\n", 1), "base/new.yaml": "x\n"}})
	head = s.Commit(t, one("base/app.yaml", strings.Replace(strings.Replace(tenLines, "2\n", "two\n", 1), "9\n", "nine\n", 1)))
	return bad, head
}

func revert(t *testing.T, r *gogit.Repository, bad string) gogit.RevertResult {
	t.Helper()
	result, err := r.Revert(t.Context(), gogit.RevertRequest{Guilty: source.Revision(bad), Note: note})
	if err != nil {
		t.Fatal(err)
	}
	return result
}

func expect(t *testing.T, got gogit.RevertResult, want gogit.Outcome) {
	t.Helper()
	if got.Outcome != want {
		t.Errorf("revert = %+v, want %s", got, want)
	}
}

// reverts counts the commits of main that take bad back.
func reverts(t *testing.T, s *gitserver.Repo, bad string) int {
	t.Helper()
	return strings.Count(gitserver.Git(t, s.Dir, "log", "--format=%(trailers:key=Chaperone-Reverts,valueonly)", "main"), bad)
}

func TestRevert(t *testing.T) {
	everywhere(t, func(t *testing.T, s *site) {
		bad, head := guilty(t, s.Repo)
		s.options.Author = gogit.Author{Name: "Chaperone <of> us\n", Email: "bot@example.org"}
		r := s.open(t)
		result := revert(t, r, bad)
		expect(t, result, gogit.Reverted)
		after := s.Head(t, gitserver.Main)
		if string(result.Commit) != after || result.Head != result.Commit || r.Head() != result.Commit {
			t.Errorf("result = %+v, Head %s; the branch is at %s", result, r.Head(), after)
		}
		if got, want := s.File(t, after, "base/app.yaml"), strings.Replace(tenLines, "9\n", "nine\n", 1); got != want {
			t.Errorf("app.yaml = %q, want %q", got, want)
		}
		if files := gitserver.Git(t, s.Dir, "ls-tree", "-r", "--name-only", after); files != "base/app.yaml" {
			t.Errorf("files = %s", files)
		}
		show := gitserver.Git(t, s.Dir, "log", "-1", "--format=%P|%an <%ae>|%cn|%ct|%B", after)
		want := head + "|Chaperone of us <bot@example.org>|Chaperone of us|1714564800|" + strings.TrimSpace(
			source.RevertMessage(source.Commit{Revision: source.Revision(bad), Message: "raise twin batch size", Parents: make([]source.Revision, 1)}, note))
		if show != want {
			t.Errorf("commit =\n%s\nwant\n%s", show, want)
		}
		gitserver.Git(t, s.Dir, "fsck", "--strict")
		// The next poll tells of it, and costs no fetch.
		if polled := poll(t, r); polled.Revision != result.Commit || !polled.Changed || r.Counters().Fetches != 1 {
			t.Errorf("poll = %+v, counters %+v", polled, r.Counters())
		}
		if got := read(t, r, result.Commit, "base/app.yaml"); got != strings.Replace(tenLines, "9\n", "nine\n", 1) {
			t.Errorf("read from the mirror: %q", got)
		}
	})
}

// TestRevertAfterACrash: between the push and its record, and by another
// replica with another mirror.
func TestRevertAfterACrash(t *testing.T) {
	everywhere(t, func(t *testing.T, s *site) {
		bad, _ := guilty(t, s.Repo)
		r := s.open(t)
		first := revert(t, r, bad)
		r.Close()
		for _, cache := range []string{s.options.CacheDir, t.TempDir()} {
			s.options.CacheDir = cache
			again := revert(t, s.open(t), bad)
			expect(t, again, gogit.AlreadyReverted)
			if again.Commit != first.Commit {
				t.Errorf("the revert is %s, found %s", first.Commit, again.Commit)
			}
		}
		s.Commit(t, one("other", "1"))
		expect(t, revert(t, s.open2(t), bad), gogit.AlreadyReverted)
		if n := reverts(t, s.Repo, bad); n != 1 {
			t.Errorf("%d reverts", n)
		}
	})
}

// open2 opens the site with a cache of its own.
func (s *site) open2(t *testing.T) *gogit.Repository {
	t.Helper()
	other := *s
	other.options.CacheDir = t.TempDir()
	return other.open(t)
}

// TestPitfall32_TheBranchMovedWhileReverting: kargo#5286, kargo#3071. Somebody
// pushes just before us; the revert is made again, on their commit.
func TestPitfall32_TheBranchMovedWhileReverting(t *testing.T) {
	everywhere(t, func(t *testing.T, s *site) {
		bad, head := guilty(t, s.Repo)
		theirs := s.Commit(t, gitserver.Commit{Branch: "theirs", Parent: head, Files: map[string]string{"theirs": "1"}})
		s.BeforePush(t, "git update-ref refs/heads/main "+theirs+"; mv hooks/pre-receive hooks/done")
		r := s.open(t)
		result := revert(t, r, bad)
		expect(t, result, gogit.Reverted)
		if parent := gitserver.Git(t, s.Dir, "rev-parse", "main^"); parent != theirs || string(result.Commit) != s.Head(t, "main") {
			t.Errorf("the revert's parent is %s, want %s; result %+v", parent, theirs, result)
		}
		if s.File(t, "main", "theirs") != "1" || reverts(t, s.Repo, bad) != 1 {
			t.Error("their commit, or exactly one revert, is not there")
		}
	})
}

// TestTwoReplicasRevertOnce is pitfall 38 as Git sees it.
func TestTwoReplicasRevertOnce(t *testing.T) {
	everywhere(t, func(t *testing.T, s *site) {
		bad, _ := guilty(t, s.Repo)
		replicas := []*gogit.Repository{s.open(t), s.open2(t), s.open2(t)}
		results := make([]gogit.RevertResult, len(replicas))
		errs := make([]error, len(replicas))
		var all sync.WaitGroup
		for i, r := range replicas {
			poll(t, r)
			all.Go(func() {
				results[i], errs[i] = r.Revert(t.Context(), gogit.RevertRequest{Guilty: source.Revision(bad), Note: note})
			})
		}
		all.Wait()
		for i, result := range results {
			if errs[i] != nil || result.Outcome != gogit.Reverted && result.Outcome != gogit.AlreadyReverted || string(result.Commit) != s.Head(t, "main") {
				t.Errorf("replica %d: %+v, %v", i, result, errs[i])
			}
		}
		if n := reverts(t, s.Repo, bad); n != 1 {
			t.Errorf("%d reverts", n)
		}
	})
}

// TestPitfall33_ProtectedBranch: kargo#3071. The server's word is passed on,
// and nothing is repeated for ever.
func TestPitfall33_ProtectedBranch(t *testing.T) {
	everywhere(t, func(t *testing.T, s *site) {
		bad, head := guilty(t, s.Repo)
		s.RefusePushes(t, "GH006: Protected branch update failed. "+canary)
		r := s.open(t)
		result := revert(t, r, bad)
		expect(t, result, gogit.Rejected)
		if !strings.Contains(result.Detail, "pre-receive hook declined") || !strings.Contains(result.Detail, "GH006: Protected branch") {
			t.Errorf("Detail = %q", result.Detail)
		}
		if s.name == "http" && strings.Contains(result.Detail, canary) {
			t.Errorf("Detail holds the token: %q", result.Detail)
		}
		if s.Head(t, "main") != head || string(result.Head) != head || result.Commit != "" || string(r.Head()) != head {
			t.Errorf("result = %+v, Head %s", result, r.Head())
		}
		if got := r.Counters().Pushes; got != 3 {
			t.Errorf("%d pushes, want 3", got)
		}
		s.AcceptPushes(t)
		expect(t, revert(t, r, bad), gogit.Reverted)
	})
}

func TestRevertWithoutPermission(t *testing.T) {
	t.Parallel()
	for _, status := range []int{http.StatusForbidden, http.StatusUnauthorized, http.StatusNotFound} {
		repo := gitserver.NewRepo(t)
		bad, head := guilty(t, repo)
		server := gitserver.ServeHTTP(t, repo, "")
		server.AnswerPushes(status)
		s := &site{Repo: repo, options: gogit.Options{URL: server.URL, Branch: "main", CacheDir: t.TempDir()}}
		result := revert(t, s.open(t), bad)
		expect(t, result, gogit.Rejected)
		if !strings.Contains(result.Detail, fmt.Sprint(status)) || !strings.Contains(result.Detail, "you may not push") || repo.Head(t, "main") != head {
			t.Errorf("%d: %+v", status, result)
		}
		server.AnswerPushes(http.StatusBadGateway)
		_, err := s.open2(t).Revert(t.Context(), gogit.RevertRequest{Guilty: source.Revision(bad)})
		if !errors.Is(err, source.ErrUnavailable) || fault.IsTerminal(err) || !strings.Contains(err.Error(), "502") {
			t.Errorf("a gateway in trouble: %v, want it to pass by itself", err)
		}
	}
}

// TestRevertAnswerLost: the push happened, and nobody told us.
func TestRevertAnswerLost(t *testing.T) {
	remote(t, func(t *testing.T, s *site) {
		bad, _ := guilty(t, s.Repo)
		r := s.open(t)
		s.controls.LosePushAnswers(1)
		result := revert(t, r, bad)
		expect(t, result, gogit.Reverted)
		if string(result.Commit) != s.Head(t, "main") || reverts(t, s.Repo, bad) != 1 {
			t.Errorf("result = %+v, %d reverts", result, reverts(t, s.Repo, bad))
		}
		expect(t, revert(t, r, bad), gogit.AlreadyReverted)
	})
}

// TestRevertAnswerLostAndBranchMovedOn: as before, and somebody built on it.
func TestRevertAnswerLostAndBranchMovedOn(t *testing.T) {
	remote(t, func(t *testing.T, s *site) {
		bad, _ := guilty(t, s.Repo)
		hook := filepath.Join(s.Dir, "hooks", "post-receive")
		write(t, hook, "#!/bin/sh\nnew=$(git commit-tree -p main -m later main^{tree}) && git update-ref refs/heads/main $new\n")
		if err := os.Chmod(hook, 0o755); err != nil {
			t.Fatal(err)
		}
		s.controls.LosePushAnswers(1)
		result := revert(t, s.open(t), bad)
		expect(t, result, gogit.Reverted)
		if string(result.Commit) != gitserver.Git(t, s.Dir, "rev-parse", "main^") || string(result.Head) != s.Head(t, "main") || reverts(t, s.Repo, bad) != 1 {
			t.Errorf("result = %+v", result)
		}
	})
}

func TestRevertConnectionBreaks(t *testing.T) {
	remote(t, func(t *testing.T, s *site) {
		bad, head := guilty(t, s.Repo)
		r := s.open(t)
		s.controls.BreakPushes(2)
		result := revert(t, r, bad)
		expect(t, result, gogit.Reverted)
		if n := reverts(t, s.Repo, bad); n != 1 {
			t.Errorf("%d reverts", n)
		}
		s.Move(t, "main", head)
		s.controls.BreakPushes(1000)
		if result, err := r.Revert(t.Context(), gogit.RevertRequest{Guilty: source.Revision(bad)}); !errors.Is(err, source.ErrUnavailable) || fault.IsTerminal(err) {
			t.Errorf("every push breaks: %+v, %v", result, err)
		}
		if s.Head(t, "main") != head || r.Counters().Pushes > 10 {
			t.Errorf("head %s, %+v", s.Head(t, "main"), r.Counters())
		}
		s.controls.Down()
		if _, err := r.Revert(t.Context(), gogit.RevertRequest{Guilty: source.Revision(bad)}); !errors.Is(err, source.ErrUnavailable) || string(r.Head()) != head {
			t.Errorf("the server is away: %v, Head %s", err, r.Head())
		}
	})
}

// TestPitfall34_MergeCommit: a merge is taken back along its first parent, and
// its message says what that means.
func TestPitfall34_MergeCommit(t *testing.T) {
	t.Parallel()
	repo := gitserver.NewRepo(t)
	base := repo.Commit(t, one("a", tenLines))
	side := repo.Commit(t, gitserver.Commit{Branch: "side", Parent: base, Files: map[string]string{"a": strings.Replace(tenLines, "2\n", "two\n", 1), "s": "1"}})
	repo.Commit(t, one("b", "1"))
	merged := repo.Commit(t, gitserver.Commit{Message: "Merge side", Merge: side, Files: map[string]string{"a": strings.Replace(tenLines, "2\n", "two\n", 1), "s": "1"}})
	repo.Commit(t, one("c", "1"))
	r := local(t, repo, gogit.Limits{})
	expect(t, revert(t, r, merged), gogit.Reverted)
	if files := gitserver.Git(t, repo.Dir, "ls-tree", "-r", "--name-only", "main"); files != "a\nb\nc" || repo.File(t, "main", "a") != tenLines {
		t.Errorf("files = %q, a = %q", files, repo.File(t, "main", "a"))
	}
	if message := gitserver.Git(t, repo.Dir, "log", "-1", "--format=%B", "main"); !strings.Contains(message, "Merging the same branch\nagain will not bring the change back") {
		t.Errorf("message = %s", message)
	}
	// A commit that came in through the merge is none of the daemon's suspects.
	if _, err := r.Revert(t.Context(), gogit.RevertRequest{Guilty: source.Revision(side)}); !errors.Is(err, source.ErrNotAncestor) || !fault.IsTerminal(err) {
		t.Errorf("a commit of the merged branch: %v", err)
	}
}

//lint:long because it is one table of histories, each with its outcome
func TestRevertDecisions(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name    string
		history func(t *testing.T, repo *gitserver.Repo) (bad string)
		want    gogit.Outcome
		check   func(t *testing.T, repo *gitserver.Repo, result gogit.RevertResult)
	}{
		{"first commit", func(t *testing.T, repo *gitserver.Repo) string {
			bad := repo.Commit(t, one("bad", "1"))
			repo.Commit(t, one("good", "1"))
			return bad
		}, gogit.Reverted, func(t *testing.T, repo *gitserver.Repo, _ gogit.RevertResult) {
			if files := gitserver.Git(t, repo.Dir, "ls-tree", "--name-only", "main"); files != "good" {
				t.Errorf("files = %q", files)
			}
		}},
		{"only commit", func(t *testing.T, repo *gitserver.Repo) string {
			return repo.Commit(t, one("bad", "1"))
		}, gogit.Reverted, func(t *testing.T, repo *gitserver.Repo, _ gogit.RevertResult) {
			if files := gitserver.Git(t, repo.Dir, "ls-tree", "--name-only", "main"); files != "" {
				t.Errorf("files = %q", files)
			}
		}},
		{"conflict", func(t *testing.T, repo *gitserver.Repo) string {
			repo.Commit(t, gitserver.Commit{Files: map[string]string{"a": tenLines, "d/b": "1\n"}})
			bad := repo.Commit(t, gitserver.Commit{Files: map[string]string{"a": "changed\n", "d/b": "2\n"}})
			repo.Commit(t, gitserver.Commit{Files: map[string]string{"a": "changed again\n"}, Delete: []string{"d/b"}})
			return bad
		}, gogit.Conflict, func(t *testing.T, repo *gitserver.Repo, result gogit.RevertResult) {
			if fmt.Sprint(result.Conflicts) != "[a d/b]" || !strings.Contains(result.Detail, "a: both sides changed") || result.Commit != "" {
				t.Errorf("result = %+v", result)
			}
		}},
		{"fixed by hand", func(t *testing.T, repo *gitserver.Repo) string {
			repo.Commit(t, one("a", "1\n"))
			bad := repo.Commit(t, one("a", "2\n"))
			repo.Commit(t, one("a", "1\n"))
			return bad
		}, gogit.NothingToRevert, nil},
		{"an empty commit", func(t *testing.T, repo *gitserver.Repo) string {
			repo.Commit(t, one("a", "1\n"))
			return repo.Commit(t, one("a", "1\n"))
		}, gogit.NothingToRevert, nil},
		{"a revert of ours", func(t *testing.T, repo *gitserver.Repo) string {
			original := repo.Commit(t, one("a", "1\n"))
			return repo.Commit(t, gitserver.Commit{Message: "Revert\n\nChaperone-Reverts: " + original + "\n", Delete: []string{"a"}, Files: map[string]string{"b": "1"}})
		}, gogit.RefusedRevertOfRevert, nil},
		{"a merged revert of ours", func(t *testing.T, repo *gitserver.Repo) string {
			original := repo.Commit(t, one("a", "1\n"))
			side := repo.Commit(t, gitserver.Commit{Branch: "side", Parent: original, Message: "Revert\n\nChaperone-Reverts: " + original, Files: map[string]string{"a": "0\n"}})
			return repo.Commit(t, gitserver.Commit{Message: "Merge pull request", Merge: side, Files: map[string]string{"a": "0\n"}})
		}, gogit.RefusedRevertOfRevert, nil},
		{"reverted through a pull request", func(t *testing.T, repo *gitserver.Repo) string {
			repo.Commit(t, one("a", "0\n"))
			bad := repo.Commit(t, one("a", "1\n"))
			side := repo.Commit(t, gitserver.Commit{Branch: "side", Parent: bad, Message: "Revert\n\nChaperone-Reverts: " + bad, Files: map[string]string{"a": "0\n"}})
			repo.Commit(t, gitserver.Commit{Message: "Merge pull request", Merge: side, Files: map[string]string{"a": "0\n"}})
			repo.Commit(t, one("a", "1\n")) // and brought back by a person
			return bad
		}, gogit.AlreadyReverted, nil},
		{"a message that quotes a revert", func(t *testing.T, repo *gitserver.Repo) string {
			repo.Commit(t, one("a", "0\n"))
			bad := repo.Commit(t, one("a", "1\n"))
			repo.Commit(t, gitserver.Commit{Message: "about\n\nChaperone-Reverts: " + bad + "\n\nwas in a message", Files: map[string]string{"b": "1"}})
			return bad
		}, gogit.Reverted, nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			repo := gitserver.NewRepo(t)
			bad := test.history(t, repo)
			head := repo.Head(t, "main")
			result := revert(t, local(t, repo, gogit.Limits{}), bad)
			expect(t, result, test.want)
			if moved := repo.Head(t, "main") != head; moved != (test.want == gogit.Reverted) {
				t.Errorf("the branch moved: %v", moved)
			}
			if test.check != nil {
				test.check(t, repo, result)
			}
		})
	}
}

func TestRevertOfWhatIsNotOnTheBranch(t *testing.T) {
	t.Parallel()
	repo := gitserver.NewRepo(t)
	root := repo.Commit(t, one("a", "1"))
	dropped := repo.Commit(t, one("a", "2"))
	r := local(t, repo, gogit.Limits{})
	repo.Move(t, "main", root)
	repo.Commit(t, one("a", "3"))
	for commit, want := range map[string]error{
		dropped:                 source.ErrNotAncestor,
		strings.Repeat("1", 40): source.ErrUnknownRevision,
		"main":                  source.ErrUnknownRevision,
	} {
		_, err := r.Revert(t.Context(), gogit.RevertRequest{Guilty: source.Revision(commit)})
		if !errors.Is(err, want) || !fault.IsTerminal(err) {
			t.Errorf("revert %s: %v, want %v", commit, err, want)
		}
	}
	repo.Delete(t, "main")
	if _, err := r.Revert(t.Context(), gogit.RevertRequest{Guilty: source.Revision(root)}); !errors.Is(err, source.ErrBranchGone) || fault.IsTerminal(err) {
		t.Errorf("revert on a branch that is gone: %v", err)
	}
}

// TestRevertOntoACheckedOutBranch: git itself refuses, and says why.
func TestRevertOntoACheckedOutBranch(t *testing.T) {
	t.Parallel()
	repo := gitserver.NewRepo(t)
	bad, _ := guilty(t, repo)
	clone := repo.Clone(t, "main")
	s := &site{options: gogit.Options{URL: "file://" + clone, Branch: "main", CacheDir: t.TempDir(), Timeout: 20 * time.Second}}
	result := revert(t, s.open(t), bad)
	expect(t, result, gogit.Rejected)
	if !strings.Contains(result.Detail, "branch is currently checked out") {
		t.Errorf("Detail = %q", result.Detail)
	}
}

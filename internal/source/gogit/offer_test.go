package gogit_test

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"chaperone.dev/chaperone/internal/source"
	"chaperone.dev/chaperone/internal/source/gogit"
	"chaperone.dev/chaperone/internal/testkit/gitserver"
)

// offering is a repository with a guilty commit, and perhaps one that is in the way.
func offering(t *testing.T, inTheWay bool) (s *gitserver.Repo, r *gogit.Repository, guilty string) {
	t.Helper()
	s = gitserver.NewRepo(t)
	s.Commit(t, gitserver.Commit{Files: map[string]string{"a": "1\n", "b": "1\n"}})
	guilty = s.Commit(t, gitserver.Commit{Message: "raise batch size", Files: map[string]string{"a": "2\n"}})
	if inTheWay {
		s.Commit(t, gitserver.Commit{Files: map[string]string{"a": "3\n", "b": "3\n"}})
	} else {
		s.Commit(t, gitserver.Commit{Files: map[string]string{"b": "3\n"}})
	}
	server := gitserver.ServeHTTP(t, s, "")
	// Only the followed branch is protected.
	s.BeforePush(t, `while read old new ref; do [ "$ref" != refs/heads/main ] || { echo protected >&2; exit 1; }; done`)
	r, err := gogit.Open(t.Context(), gogit.Options{URL: server.URL, Branch: "main", CacheDir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.Close)
	return s, r, guilty
}

func offer(t *testing.T, r *gogit.Repository, guilty string, want gogit.Outcome) gogit.ProposeResult {
	t.Helper()
	result, err := r.OfferRevert(t.Context(), gogit.RevertRequest{Guilty: source.Revision(guilty), Note: source.RevertNote{Evidence: "It answered 500."}})
	if err != nil {
		t.Fatal(err)
	}
	if result.Outcome != want || result.Branch != "chaperone/revert/"+guilty[:12] {
		t.Fatalf("offer = %+v, want %s", result, want)
	}
	return result
}

func TestOfferRevertOfAProtectedBranch(t *testing.T) {
	t.Parallel()
	s, r, guilty := offering(t, false)
	result := offer(t, r, guilty, gogit.Proposed)
	if got := gitserver.Git(t, s.Dir, "diff", "--name-only", "main", result.Branch); got != "a" || s.File(t, result.Branch, "a") != "1\n" {
		t.Errorf("it changes %q", got)
	}
	if message := gitserver.Git(t, s.Dir, "log", "-1", "--format=%B", result.Branch); !strings.Contains(message, "Chaperone-Reverts: "+guilty) ||
		!strings.Contains(message, "answered 500.") {
		t.Errorf("message: %s", message)
	}
	if again := offer(t, r, guilty, gogit.Current); again.Commit != result.Commit {
		t.Errorf("offered twice: %s and %s", result.Commit, again.Commit)
	}
	s.AcceptPushes(t)
	s.Move(t, "main", string(result.Commit)) // merged
	offer(t, r, guilty, gogit.Obsolete)
}

// With a conflict, merging the branch meets just that, and nothing else.
func TestOfferRevertThatConflicts(t *testing.T) {
	t.Parallel()
	s, r, guilty := offering(t, true)
	result := offer(t, r, guilty, gogit.Proposed)
	if parent := gitserver.Git(t, s.Dir, "rev-parse", result.Branch+"^@"); parent != guilty {
		t.Errorf("it stands on %s, want %s", parent, guilty)
	}
	if same := gitserver.Git(t, s.Dir, "diff", "--stat", guilty+"^", result.Branch); same != "" {
		t.Errorf("it differs from what was there before: %s", same)
	}
	offer(t, r, guilty, gogit.Current)
}

func TestOfferRevertLeavesOthersWorkAlone(t *testing.T) {
	t.Parallel()
	s, r, guilty := offering(t, false)
	result := offer(t, r, guilty, gogit.Proposed)
	better := s.Commit(t, gitserver.Commit{Branch: result.Branch, Files: map[string]string{"fix": "1"}})
	if now := offer(t, r, guilty, gogit.Current); string(now.Commit) != better {
		t.Errorf("%+v, want what a person made of it, %s", now, better)
	}
	s.Move(t, result.Branch, s.Head(t, "main"))
	theirs := s.Commit(t, gitserver.Commit{Branch: result.Branch, Files: map[string]string{"other": "1"}})
	if now := offer(t, r, guilty, gogit.Foreign); !strings.Contains(now.Detail, "delete the branch") || s.Head(t, result.Branch) != theirs {
		t.Errorf("%+v", now)
	}
}

func withdrawOffers(t *testing.T, r *gogit.Repository, want ...string) {
	t.Helper()
	var told []string
	withdrawn, err := r.WithdrawReverts(t.Context(), func(branch string) error { told = append(told, branch); return nil })
	if err != nil || !slices.Equal(withdrawn, want) || !slices.Equal(told, want) {
		t.Errorf("withdrawn %v, told before of %v, %v; want %v", withdrawn, told, err, want)
	}
}

// Once nobody waits, what offered a revert is no more, merged or not, and what
// people made of it stays.
func TestWithdrawReverts(t *testing.T) {
	t.Parallel()
	s, r, guilty := offering(t, false)
	withdrawOffers(t, r)
	result := offer(t, r, guilty, gogit.Proposed)
	s.Commit(t, gitserver.Commit{Branch: "chaperone/revert/by-a-person", Parent: s.Head(t, "main"), Files: map[string]string{"fix": "1"}})
	withdrawOffers(t, r, result.Branch)
	withdrawOffers(t, r)
	if branches := gitserver.Git(t, s.Dir, "for-each-ref", "--format=%(refname:short)", "refs/heads"); branches != "chaperone/revert/by-a-person\nmain" {
		t.Errorf("branches: %q", branches)
	}

	result = offer(t, r, guilty, gogit.Proposed)
	better := s.Commit(t, gitserver.Commit{Branch: result.Branch, Files: map[string]string{"fix": "2"}})
	withdrawOffers(t, r)
	s.Move(t, "main", better) // merged
	if _, err := r.Poll(t.Context()); err != nil {
		t.Fatal(err)
	}
	refused := errors.New("not now")
	if _, err := r.WithdrawReverts(t.Context(), func(string) error { return refused }); !errors.Is(err, refused) || s.Head(t, result.Branch) != better {
		t.Errorf("not to be deleted yet: %v", err)
	}
	withdrawOffers(t, r, result.Branch)
}

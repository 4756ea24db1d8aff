package gogit_test

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"chaperone.dev/chaperone/internal/fault"
	"chaperone.dev/chaperone/internal/source"
	"chaperone.dev/chaperone/internal/source/gogit"
	"chaperone.dev/chaperone/internal/testkit/gitserver"
)

// ourMessage is what any commit can say.
func ourMessage(to string) string {
	return source.PromoteMessage(source.PromoteNote{Environment: stop, To: source.Revision(to)})
}

// TestForeignWorkIsNeverTouched: whatever is on a promotion branch and is not
// exactly our commit stays there, through Propose and Withdraw.
//
//lint:long because it is one table of histories, each not ours
func TestForeignWorkIsNeverTouched(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name string
		make func(t *testing.T, repo *gitserver.Repo, to, head, ours string)
		want string
	}{
		{"a person's commit", func(t *testing.T, repo *gitserver.Repo, to, head, ours string) {
			repo.Commit(t, gitserver.Commit{Branch: proposal, Parent: head, Files: map[string]string{stopFile: stopAfter(to)}})
		}, "is not a proposal of chaperone's"},
		{"a person's commit on ours", func(t *testing.T, repo *gitserver.Repo, to, head, ours string) {
			repo.Commit(t, gitserver.Commit{Branch: proposal, Files: map[string]string{"more": "1"}})
		}, "is not a proposal of chaperone's"},
		{"a copy of ours on a person's commit", func(t *testing.T, repo *gitserver.Repo, to, head, ours string) {
			mine := repo.Commit(t, gitserver.Commit{Branch: proposal, Parent: head, Files: map[string]string{"mine": "1"}})
			repo.Commit(t, gitserver.Commit{Branch: proposal, Parent: mine, Message: ourMessage(to), Files: map[string]string{stopFile: stopAfter(to)}})
		}, "stands on commits that are not on main"},
		{"main merged into ours", func(t *testing.T, repo *gitserver.Repo, to, head, ours string) {
			repo.Commit(t, gitserver.Commit{Branch: proposal, Merge: repo.Commit(t, one("x", "1")), Message: ourMessage(to), Files: map[string]string{"x": "1"}})
		}, "is not a proposal of chaperone's"},
		{"ours amended with another file", func(t *testing.T, repo *gitserver.Repo, to, head, ours string) {
			repo.Commit(t, gitserver.Commit{Branch: proposal, Parent: head, Message: ourMessage(to), Files: map[string]string{stopFile: stopAfter(to), "mine": "1"}})
		}, "changes more than one pin"},
		{"ours amended with another field", func(t *testing.T, repo *gitserver.Repo, to, head, ours string) {
			repo.Commit(t, gitserver.Commit{Branch: proposal, Parent: head, Message: ourMessage(to), Files: map[string]string{stopFile: stopAfter(to) + "\r\n# mine"}})
		}, "changes more than one pin"},
		{"ours amended with another pin", func(t *testing.T, repo *gitserver.Repo, to, head, ours string) {
			repo.Commit(t, gitserver.Commit{Branch: proposal, Parent: head, Message: ourMessage(to), Files: map[string]string{stopFile: stopAfter(head)}})
		}, "changes more than one pin"},
		{"ours amended with a mode", func(t *testing.T, repo *gitserver.Repo, to, head, ours string) {
			repo.Commit(t, gitserver.Commit{Branch: proposal, Parent: head, Message: ourMessage(to), Executables: map[string]string{stopFile: stopAfter(to)}})
		}, "changes more than one pin"},
		{"the file deleted", func(t *testing.T, repo *gitserver.Repo, to, head, ours string) {
			repo.Commit(t, gitserver.Commit{Branch: proposal, Parent: head, Message: ourMessage(to), Delete: []string{stopFile}})
		}, "changes more than one pin"},
		{"nothing changed", func(t *testing.T, repo *gitserver.Repo, to, head, ours string) {
			repo.Commit(t, gitserver.Commit{Branch: proposal, Parent: head, Message: ourMessage(to)})
		}, "changes more than one pin"},
		{"a quoted trailer", func(t *testing.T, repo *gitserver.Repo, to, head, ours string) {
			repo.Commit(t, gitserver.Commit{Branch: proposal, Parent: head, Message: ourMessage(to) + "\nthe end", Files: map[string]string{stopFile: stopAfter(to)}})
		}, "is not a proposal of chaperone's"},
		{"a history of its own", func(t *testing.T, repo *gitserver.Repo, to, head, ours string) {
			repo.Delete(t, proposal)
			repo.Commit(t, gitserver.Commit{Branch: proposal, Fresh: true, Message: ourMessage(to), Files: map[string]string{stopFile: stopAfter(to)}})
		}, "is not a proposal of chaperone's"},
		{"main was put back below ours", func(t *testing.T, repo *gitserver.Repo, to, head, ours string) {
			repo.Move(t, "main", to)
		}, "stands on commits that are not on main"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			repo := gitserver.NewRepo(t)
			to, head := verified(t, repo)
			r := local(t, repo, gogit.Limits{})
			ours := propose(t, r, to, gogit.Proposed)
			test.make(t, repo, to, head, string(ours.Commit))
			tip := repo.Head(t, proposal)
			for _, replica := range []*gogit.Repository{r, local(t, repo, gogit.Limits{})} {
				got := propose(t, replica, to, gogit.Foreign)
				if string(got.Commit) != tip || !strings.Contains(got.Detail, test.want) || !strings.Contains(got.Detail, "delete the branch") {
					t.Errorf("propose = %+v, want %q", got, test.want)
				}
				if got := withdraw(t, replica, gogit.Foreign); !strings.Contains(got.Detail, test.want) {
					t.Errorf("withdraw = %+v", got)
				}
			}
			if repo.Head(t, proposal) != tip {
				t.Errorf("the branch was moved")
			}
			repo.Delete(t, proposal)
			propose(t, r, to, gogit.Proposed)
		})
	}
}

// TestPromotionBranchTooLargeToLookAt: it is somebody's, and is not fetched
// again and again.
func TestPromotionBranchTooLargeToLookAt(t *testing.T) {
	t.Parallel()
	repo := gitserver.NewRepo(t)
	repo.SendEverything(t)
	to, head := verified(t, repo)
	r := local(t, repo, gogit.Limits{Pack: 5_000})
	var noise strings.Builder // which does not compress
	for i := range 500 {
		fmt.Fprintf(&noise, "%x", sha256.Sum256([]byte{byte(i), byte(i >> 8)}))
	}
	tip := repo.Commit(t, gitserver.Commit{Branch: proposal, Parent: head, Files: map[string]string{"large": noise.String()}})
	for range 2 {
		if got := propose(t, r, to, gogit.Foreign); string(got.Commit) != tip || !strings.Contains(got.Detail, "brings more than 5000 bytes") {
			t.Errorf("propose = %+v", got)
		}
		withdraw(t, r, gogit.Foreign)
	}
	if got := r.Counters(); got.Fetches != 2 || repo.Head(t, proposal) != tip {
		t.Errorf("counters = %+v", got)
	}
	repo.Delete(t, proposal)
	propose(t, r, to, gogit.Proposed)
}

// TestPitfall32_SomebodyIsFasterThanAProposal: what happens between our look
// and our push is seen, and decides.
func TestPitfall32_SomebodyIsFasterThanAProposal(t *testing.T) {
	const once = "; mv hooks/pre-receive hooks/done"
	everywhere(t, func(t *testing.T, s *site) {
		to, head := verified(t, s.Repo)
		r := s.open(t)
		theirs := s.Commit(t, gitserver.Commit{Branch: "theirs", Parent: head, Files: map[string]string{"theirs": "1"}})
		s.BeforePush(t, "git update-ref refs/heads/"+proposal+" "+theirs+once)
		if got := propose(t, r, to, gogit.Foreign); string(got.Commit) != theirs || s.Head(t, proposal) != theirs {
			t.Errorf("a person's branch of that name: %+v", got)
		}
		s.Delete(t, proposal)
		// The followed branch moves, first beside the file, then in it.
		beside := s.Commit(t, gitserver.Commit{Branch: "beside", Parent: head, Files: map[string]string{"beside": "1"}})
		s.BeforePush(t, "git update-ref refs/heads/main "+beside+once)
		proposes(t, s.Repo, propose(t, r, to, gogit.Proposed), head, stopAfter(to))
		inside := s.Commit(t, gitserver.Commit{Branch: "inside", Parent: beside, Files: map[string]string{stopFile: "# new\n" + stopBefore}})
		s.BeforePush(t, "git update-ref refs/heads/main "+inside+once)
		proposes(t, s.Repo, propose(t, r, head, gogit.Proposed), inside, "# new\n"+stopAfter(head))
		// A person deletes the branch that we are about to replace.
		s.BeforePush(t, "git update-ref -d refs/heads/"+proposal+once)
		proposes(t, s.Repo, propose(t, r, to, gogit.Proposed), inside, "# new\n"+stopAfter(to))
		// A person merges by hand what we are about to propose.
		merged := s.Commit(t, gitserver.Commit{Branch: "merged", Parent: inside, Files: map[string]string{stopFile: "# new\n" + stopAfter(inside)}})
		s.BeforePush(t, "git update-ref refs/heads/main "+merged+"; exit 1")
		propose(t, r, inside, gogit.Obsolete)
	})
}

func TestProposeAnswerLost(t *testing.T) {
	remote(t, func(t *testing.T, s *site) {
		to, head := verified(t, s.Repo)
		r := s.open(t)
		s.controls.LosePushAnswers(1)
		proposes(t, s.Repo, propose(t, r, to, gogit.Proposed), head, stopAfter(to))
		propose(t, r, to, gogit.Current)
		s.controls.LosePushAnswers(1)
		withdraw(t, r, gogit.Withdrawn)
		withdraw(t, r, gogit.Absent)
		if s.Head(t, proposal) != "" {
			t.Error("the branch is still there")
		}
	})
}

// TestProposeAnswerLostAndBranchTaken: our push happened, nobody told us, and
// somebody went on from it.
func TestProposeAnswerLostAndBranchTaken(t *testing.T) {
	remote(t, func(t *testing.T, s *site) {
		to, _ := verified(t, s.Repo)
		hook := filepath.Join(s.Dir, "hooks", "post-receive")
		write(t, hook, "#!/bin/sh\nnew=$(git commit-tree -p "+proposal+" -m mine main^{tree}) && git update-ref refs/heads/"+proposal+" $new\n")
		if err := os.Chmod(hook, 0o755); err != nil {
			t.Fatal(err)
		}
		s.controls.LosePushAnswers(1)
		if got := propose(t, s.open(t), to, gogit.Foreign); string(got.Commit) != s.Head(t, proposal) {
			t.Errorf("%+v", got)
		}
	})
}

func TestProposeConnectionBreaks(t *testing.T) {
	remote(t, func(t *testing.T, s *site) {
		to, head := verified(t, s.Repo)
		r := s.open(t)
		s.controls.BreakPushes(2)
		first := propose(t, r, to, gogit.Proposed)
		proposes(t, s.Repo, first, head, stopAfter(to))
		s.controls.BreakPushes(1000)
		if result, err := r.Propose(t.Context(), request(head)); !errors.Is(err, source.ErrUnavailable) || fault.IsTerminal(err) {
			t.Errorf("every push breaks: %+v, %v", result, err)
		}
		if result, err := r.Withdraw(t.Context(), stop); !errors.Is(err, source.ErrUnavailable) {
			t.Errorf("every push breaks: %+v, %v", result, err)
		}
		if s.Head(t, proposal) != string(first.Commit) || r.Counters().Pushes > 15 {
			t.Errorf("the branch is at %s, %+v", s.Head(t, proposal), r.Counters())
		}
		s.controls.Down()
		if _, err := r.Propose(t.Context(), request(head)); !errors.Is(err, source.ErrUnavailable) || string(r.Head()) != head {
			t.Errorf("the server is away: %v, Head %s", err, r.Head())
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := r.Propose(ctx, request(head)); !errors.Is(err, context.Canceled) {
			t.Errorf("cancelled: %v", err)
		}
	})
}

func TestWithdraw(t *testing.T) {
	everywhere(t, func(t *testing.T, s *site) {
		to, head := verified(t, s.Repo)
		r := s.open(t)
		withdraw(t, r, gogit.Absent)
		propose(t, r, to, gogit.Proposed)
		s.Commit(t, one(stopFile, "moved on")) // ours, if it still applies or not
		if got := withdraw(t, s.open2(t), gogit.Withdrawn); got.Commit != "" || s.Head(t, proposal) != "" {
			t.Errorf("%+v", got)
		}
		if got := gitserver.Git(t, s.Dir, "for-each-ref", "--format=%(refname)"); got != "refs/heads/main" {
			t.Errorf("refs = %q", got)
		}
		withdraw(t, r, gogit.Absent)
		// What is merged can go: nothing is lost with it.
		s.Move(t, proposal, head)
		withdraw(t, r, gogit.Withdrawn)
	})
}

// TestWithdrawRaces: whoever pushes between our look and the deletion keeps the
// branch, and whoever deletes it has done our work.
func TestWithdrawRaces(t *testing.T) {
	everywhere(t, func(t *testing.T, s *site) {
		to, head := verified(t, s.Repo)
		r := s.open(t)
		propose(t, r, to, gogit.Proposed)
		theirs := s.Commit(t, gitserver.Commit{Branch: "theirs", Parent: s.Head(t, proposal), Files: map[string]string{"theirs": "1"}})
		s.BeforePush(t, "git update-ref refs/heads/"+proposal+" "+theirs+"; mv hooks/pre-receive hooks/done")
		if got := withdraw(t, r, gogit.Foreign); string(got.Commit) != theirs || s.Head(t, proposal) != theirs {
			t.Errorf("%+v", got)
		}
		s.Delete(t, proposal)
		propose(t, r, head, gogit.Proposed)
		s.BeforePush(t, "git update-ref -d refs/heads/"+proposal+"; mv hooks/pre-receive hooks/done")
		withdraw(t, r, gogit.Withdrawn)
		if s.Head(t, proposal) != "" {
			t.Error("the branch is still there")
		}
	})
}

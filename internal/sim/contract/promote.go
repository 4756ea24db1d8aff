package contract

import (
	"slices"
	"strings"
	"testing"

	"chaperone.dev/chaperone/internal/controller"
	"chaperone.dev/chaperone/internal/promotion"
	"chaperone.dev/chaperone/internal/reconcile"
	"chaperone.dev/chaperone/internal/source"
)

var (
	production     = promotion.ID{Pipeline: "demo", Name: "production"}
	productionFile = "environments/demo/production.yaml"
	branch         = source.PromotionBranch("demo/production")
)

const unpinned = "# who is asked: ops\nspec: # all of it\n  target: {namespace: demo}\n  promotion: {mode: pull-request}\n"

// promotable is a repository with an environment, and a commit to promote.
func promotable(f SourceFixture) source.Revision {
	f.Commit(Commit{Message: "begin", Files: map[string]string{productionFile: unpinned}})
	return f.Commit(file("base/app", "1"))
}

func (f SourceFixture) propose(t *testing.T, to source.Revision) controller.ProposeResult {
	t.Helper()
	result, err := f.Propose(t.Context(), production, productionFile, source.PromoteNote{Environment: "demo/production", To: to, Evidence: "all is well"})
	must(t, err)
	return result
}

func wantProposal(t *testing.T, got controller.ProposeResult, want reconcile.Outcome) {
	t.Helper()
	if got.Outcome != want {
		t.Fatalf("%+v, want %s", got, want)
	}
}

//lint:long because it is a list, one entry after the other
func proposeCases() []Case[SourceFixture] {
	return []Case[SourceFixture]{
		{"a promotion is one commit that moves one pin and keeps every other byte", func(t *testing.T, f SourceFixture) {
			to := promotable(f)
			head := f.poll(t)
			result := f.propose(t, to)
			wantProposal(t, result, reconcile.OutcomeDone)
			if result.Commit == "" || f.Head(branch) != result.Commit || f.Head("main") != head {
				t.Fatalf("commit %s, branch at %s, main at %s", result.Commit, f.Head(branch), f.Head("main"))
			}
			text := f.File(result.Commit, productionFile)
			if without := strings.ReplaceAll(text, "  revision: "+string(to)+"\n", ""); without != unpinned {
				t.Errorf("the file is\n%s", text)
			}
			if message := f.Message(result.Commit); !strings.Contains(message, source.TrailerPromotes+": "+string(to)) || !strings.Contains(message, "all is well") {
				t.Errorf("the message is\n%s", message)
			}
		}},
		{"the same promotion again changes nothing", func(t *testing.T, f SourceFixture) {
			to := promotable(f)
			f.poll(t)
			first := f.propose(t, to)
			f.Commit(file("base/other", "1")) // nothing to the promotion
			for range 2 {
				again := f.propose(t, to)
				wantProposal(t, again, reconcile.OutcomeDone)
				if again.Commit != first.Commit {
					t.Errorf("another commit, %s", again.Commit)
				}
			}
		}},
		{"a promotion is brought up to date", func(t *testing.T, f SourceFixture) {
			to := promotable(f)
			f.poll(t)
			first := f.propose(t, to)
			newer := f.Commit(file("base/app", "2"))
			second := f.propose(t, newer)
			wantProposal(t, second, reconcile.OutcomeDone)
			if second.Commit == first.Commit || !strings.Contains(f.File(second.Commit, productionFile), string(newer)) {
				t.Errorf("the file is\n%s", f.File(second.Commit, productionFile))
			}
			f.Commit(file(productionFile, unpinned+"  drift: report\n"))
			third := f.propose(t, newer)
			if !strings.Contains(f.File(third.Commit, productionFile), "drift: report") {
				t.Error("the file changed, and the promotion is of the one before")
			}
		}},
		{"what the branch has already is not proposed", func(t *testing.T, f SourceFixture) {
			to := promotable(f)
			f.poll(t)
			first := f.propose(t, to)
			f.Commit(Commit{Message: "merge", Merge: first.Commit, Files: map[string]string{productionFile: f.File(first.Commit, productionFile)}})
			wantProposal(t, f.propose(t, to), reconcile.OutcomeAlready)
		}},
		{"a revision that is not of the branch is not proposed", func(t *testing.T, f SourceFixture) {
			promotable(f)
			f.poll(t)
			wantProposal(t, f.propose(t, source.Revision(strings.Repeat("a", 40))), reconcile.OutcomeRejected)
			if f.Head(branch) != "" {
				t.Error("there is a branch")
			}
		}},
		{"a file that is not there, or cannot be edited, is not promoted", func(t *testing.T, f SourceFixture) {
			to := promotable(f)
			f.Commit(file(productionFile, "nothing\n"))
			f.poll(t)
			wantProposal(t, f.propose(t, to), reconcile.OutcomeRejected)
			f.Commit(Commit{Message: "retire", Delete: []string{productionFile}})
			wantProposal(t, f.propose(t, to), reconcile.OutcomeRejected)
		}},
		{"a promotion is withdrawn once", func(t *testing.T, f SourceFixture) {
			to := promotable(f)
			f.poll(t)
			f.propose(t, to)
			for _, want := range []reconcile.Outcome{reconcile.OutcomeDone, reconcile.OutcomeAlready} {
				result, err := f.Withdraw(t.Context(), production)
				must(t, err)
				wantProposal(t, result, want)
				if f.Head(branch) != "" {
					t.Error("the branch is there")
				}
			}
		}},
	}
}

//lint:long because it is a list, one entry after the other
func proposePushCases() []Case[SourceFixture] {
	return []Case[SourceFixture]{
		{"other people's commits are never overwritten", func(t *testing.T, f SourceFixture) {
			to := promotable(f)
			f.poll(t)
			f.propose(t, to)
			theirs := f.Commit(Commit{Branch: branch, Message: "correct a comment", Files: map[string]string{"theirs": "1"}})
			newer := f.Commit(file("base/app", "2"))
			result := f.propose(t, newer)
			wantProposal(t, result, reconcile.OutcomeRejected)
			if !strings.Contains(result.Detail, branch) {
				t.Errorf("detail %q does not name the branch", result.Detail)
			}
			withdrawn, err := f.Withdraw(t.Context(), production)
			must(t, err)
			wantProposal(t, withdrawn, reconcile.OutcomeAlready) // nothing of the daemon's is there
			if f.Head(branch) != theirs {
				t.Error("their commit is gone")
			}
		}},
		{"a promotion that a person proposed is left alone, and counts where it is the same", func(t *testing.T, f SourceFixture) {
			to := promotable(f)
			head := f.poll(t)
			edited, err := promotion.SetRevision([]byte(unpinned), to)
			must(t, err)
			theirs := f.Commit(Commit{Branch: branch, Parent: head, Files: map[string]string{productionFile: string(edited)},
				Message: source.PromoteMessage(source.PromoteNote{Environment: "demo/production", To: to})})
			same := f.propose(t, to)
			wantProposal(t, same, reconcile.OutcomeDone)
			newer := f.Commit(file("base/app", "2"))
			wantProposal(t, f.propose(t, newer), reconcile.OutcomeRejected)
			withdrawn, err := f.Withdraw(t.Context(), production)
			must(t, err)
			wantProposal(t, withdrawn, reconcile.OutcomeAlready)
			if f.Head(branch) != theirs || same.Commit != theirs {
				t.Errorf("branch at %s, said %s, want %s", f.Head(branch), same.Commit, theirs)
			}
		}},
		{"a promotion that the server refuses", func(t *testing.T, f SourceFixture) {
			to := promotable(f)
			f.poll(t)
			f.Refuse("no new branches")
			result := f.propose(t, to)
			wantProposal(t, result, reconcile.OutcomeRejected)
			if !strings.Contains(result.Detail, "no new branches") || f.Head(branch) != "" {
				t.Errorf("detail %q, branch at %q", result.Detail, f.Head(branch))
			}
		}},
		{"a push of a promotion whose answer is lost", func(t *testing.T, f SourceFixture) {
			to := promotable(f)
			f.poll(t)
			f.Lose()
			result := f.propose(t, to)
			wantProposal(t, result, reconcile.OutcomeDone)
			if f.Head(branch) != result.Commit {
				t.Errorf("branch at %s, commit %s", f.Head(branch), result.Commit)
			}
			commits, err := f.Another().Poll(t.Context())
			if err != nil || commits != f.Head("main") {
				t.Errorf("main moved: %v", err)
			}
		}},
		{"a second daemon takes up the promotion", func(t *testing.T, f SourceFixture) {
			to := promotable(f)
			f.poll(t)
			first := f.propose(t, to)
			another := f.Another()
			result, err := another.Propose(t.Context(), production, productionFile, source.PromoteNote{Environment: "demo/production", To: to, Evidence: "all is well"})
			must(t, err)
			wantProposal(t, result, reconcile.OutcomeDone)
			if result.Commit != first.Commit || !slices.Contains([]source.Revision{first.Commit}, f.Head(branch)) {
				t.Errorf("commit %s, want %s", result.Commit, first.Commit)
			}
		}},
		{"a promotion while the server is away may pass", func(t *testing.T, f SourceFixture) {
			to := promotable(f)
			f.poll(t)
			f.Down()
			_, err := f.Propose(t.Context(), production, productionFile, source.PromoteNote{Environment: "demo/production", To: to})
			mustBe(t, err, source.ErrUnavailable, false)
			f.Up()
			wantProposal(t, f.propose(t, to), reconcile.OutcomeDone)
		}},
	}
}

package gogit_test

import (
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"chaperone.dev/chaperone/internal/fault"
	"chaperone.dev/chaperone/internal/source"
	"chaperone.dev/chaperone/internal/source/gogit"
	"chaperone.dev/chaperone/internal/testkit/gitserver"
)

func promotion(to string) gogit.LocalPromote {
	return gogit.LocalPromote{
		Environment: stop, File: stopFile, To: source.Revision(to), Branch: "main",
		Author: gogit.Author{Name: "Op Erator", Email: "op@example.org"},
		Now:    func() time.Time { return time.Unix(1_714_564_800, 0).UTC() },
	}
}

func promote(t *testing.T, dir string, request gogit.LocalPromote, want gogit.Outcome) gogit.ProposeResult {
	t.Helper()
	result, err := openLocal(t, dir).Promote(t.Context(), request)
	if err != nil {
		t.Fatal(err)
	}
	if result.Outcome != want {
		t.Fatalf("promote = %+v, want %s", result, want)
	}
	return result
}

func TestLocalPromoteBare(t *testing.T) {
	t.Parallel()
	repo := gitserver.NewRepo(t)
	to, head := verified(t, repo)
	gitserver.Git(t, repo.Dir, "pack-refs", "--all")
	first := promote(t, repo.Dir, promotion(to), gogit.Proposed)
	proposes(t, repo, first, head, stopAfter(to))
	if who := gitserver.Git(t, repo.Dir, "log", "-1", "--format=%an <%ae> %ct", proposal); who != "Op Erator <op@example.org> 1714564800" {
		t.Errorf("author = %s", who)
	}
	if again := promote(t, repo.Dir, promotion(to), gogit.Current); again.Commit != first.Commit || again.Branch != proposal {
		t.Errorf("again = %+v", again)
	}
	gitserver.Git(t, repo.Dir, "pack-refs", "--all") // the branch is nowhere but there
	proposes(t, repo, promote(t, repo.Dir, promotion(head), gogit.Proposed), head, stopAfter(head))
	// What the daemon sees of it is its own.
	r := local(t, repo, gogit.Limits{})
	propose(t, r, head, gogit.Current)
	mine := repo.Commit(t, gitserver.Commit{Branch: proposal, Files: map[string]string{"mine": "1"}})
	if got := promote(t, repo.Dir, promotion(to), gogit.Foreign); string(got.Commit) != mine || repo.Head(t, proposal) != mine {
		t.Errorf("foreign = %+v", got)
	}
	request := promotion(to)
	request.File = "absent.yaml"
	if got := promote(t, repo.Dir, request, gogit.Invalid); !strings.Contains(got.Detail, "absent.yaml: there is no such file") {
		t.Errorf("invalid = %+v", got)
	}
}

func TestLocalPromoteDirect(t *testing.T) {
	t.Parallel()
	repo := gitserver.NewRepo(t)
	to, head := verified(t, repo)
	request := promotion(to)
	request.Direct = true
	dir := repo.Clone(t, "main")
	write(t, filepath.Join(dir, "base.yaml"), "changed, and none of our business\n")
	first := promote(t, dir, request, gogit.Proposed)
	if first.Branch != "main" || gitserver.Git(t, dir, "rev-parse", "HEAD") != string(first.Commit) || gitserver.Git(t, dir, "rev-parse", "HEAD^") != head {
		t.Errorf("result = %+v", first)
	}
	if content, err := os.ReadFile(filepath.Join(dir, stopFile)); err != nil || string(content) != stopAfter(to) {
		t.Errorf("file = %q, %v", content, err)
	}
	if got := status(t, dir); got != "M base.yaml" {
		t.Errorf("status = %q", got)
	}
	if message := gitserver.Git(t, dir, "log", "-1", "--format=%B"); !strings.Contains(message, "To take it back, revert this commit.") || !strings.Contains(message, "Chaperone-Promotes: "+to) {
		t.Errorf("message = %s", message)
	}
	if got := gitserver.Git(t, dir, "reflog", "-1", "--format=%H %gs"); got != string(first.Commit)+" promote: by chaperone" {
		t.Errorf("reflog = %q", got)
	}
	promote(t, dir, request, gogit.Obsolete)
	gitserver.Git(t, dir, "fsck", "--strict")

	write(t, filepath.Join(dir, stopFile), "mine\n")
	request.To = source.Revision(head)
	if got := promote(t, dir, request, gogit.Uncommitted); !strings.Contains(got.Detail, stopFile+": these files are not as committed") {
		t.Errorf("uncommitted = %+v", got)
	}
	if content, _ := os.ReadFile(filepath.Join(dir, stopFile)); string(content) != "mine\n" || gitserver.Git(t, dir, "rev-parse", "HEAD") != string(first.Commit) {
		t.Error("uncommitted work was touched")
	}
}

// TestLocalPromoteDoesNotDisturb: whatever is checked out stays as it is, and a
// promotion branch that is checked out keeps its files in step.
func TestLocalPromoteDoesNotDisturb(t *testing.T) {
	t.Parallel()
	repo := gitserver.NewRepo(t)
	to, head := verified(t, repo)
	dir := repo.Clone(t, "main")
	write(t, filepath.Join(dir, stopFile), "mine\n")
	first := promote(t, dir, promotion(to), gogit.Proposed)
	if got := status(t, dir); got != "M "+stopFile || gitserver.Git(t, dir, "symbolic-ref", "HEAD") != "refs/heads/main" || gitserver.Git(t, dir, "rev-parse", proposal) != string(first.Commit) {
		t.Errorf("status = %q", got)
	}
	gitserver.Git(t, dir, "checkout", "-q", "-f", proposal)
	promote(t, dir, promotion(head), gogit.Proposed)
	if content, err := os.ReadFile(filepath.Join(dir, stopFile)); err != nil || string(content) != stopAfter(head) || status(t, dir) != "" {
		t.Errorf("file = %q, %v, status %q", content, err, status(t, dir))
	}
	write(t, filepath.Join(dir, stopFile), "mine\n")
	promote(t, dir, promotion(to), gogit.Uncommitted)
	gitserver.Git(t, dir, "checkout", "-q", "-f", "main")
	linked := filepath.Join(t.TempDir(), "linked")
	gitserver.Git(t, dir, "worktree", "add", "-q", linked, proposal)
	if _, err := openLocal(t, dir).Promote(t.Context(), promotion(to)); err == nil || !strings.Contains(err.Error(), "is checked out in "+linked) {
		t.Errorf("checked out elsewhere: %v", err)
	}
}

func TestLocalPromoteRefuses(t *testing.T) {
	t.Parallel()
	repo := gitserver.NewRepo(t)
	to, head := verified(t, repo)
	dir := repo.Clone(t, "main")
	lock := filepath.Join(dir, ".git/refs/heads", proposal+".lock")
	for name, test := range map[string]struct {
		change func(*gogit.LocalPromote)
		want   string
	}{
		"locked branch":       {func(*gogit.LocalPromote) { write(t, lock, "") }, "locked by another Git process"},
		"no branch":           {func(p *gogit.LocalPromote) { p.Branch = "absent" }, "branch does not exist"},
		"no branch, direct":   {func(p *gogit.LocalPromote) { p.Branch, p.Direct = "absent", true }, "branch does not exist"},
		"no environment":      {func(p *gogit.LocalPromote) { p.Environment = "" }, "want <pipeline>/<name>"},
		"the branch followed": {func(p *gogit.LocalPromote) { p.Branch = proposal }, "want <pipeline>/<name>"},
		"no remote": {func(p *gogit.LocalPromote) {
			gitserver.Git(t, dir, "remote", "remove", "origin")
			p.Push = true
		}, `no remote "origin"`},
	} {
		request := promotion(to)
		test.change(&request)
		_, err := openLocal(t, dir).Promote(t.Context(), request)
		if err == nil || !strings.Contains(err.Error(), test.want) || !fault.IsTerminal(err) {
			t.Errorf("%s: %v, want %q", name, err, test.want)
		}
		removeAll(t, lock)
	}
	if gitserver.Git(t, dir, "for-each-ref", "--format=%(objectname)", "refs/heads") != head || status(t, dir) != "" {
		t.Error("something was changed")
	}
}

// TestLocalPromotePush: the branch is made on what is at the remote, whatever
// the clone knows of it.
func TestLocalPromotePush(t *testing.T) {
	everywhere(t, func(t *testing.T, s *site) {
		to, _ := verified(t, s.Repo)
		dir := s.Clone(t, "main")
		gitserver.Git(t, dir, "remote", "set-url", "origin", s.options.URL)
		gitserver.Git(t, dir, "commit", "-q", "--allow-empty", "-m", "not pushed yet")
		mine := gitserver.Git(t, dir, "rev-parse", "main")
		request := promotion(to)
		request.Push, request.Credentials = true, s.options.Credentials
		there := s.Commit(t, one(stopFile, "# new\n"+stopBefore)) // which the clone does not have
		if got := promote(t, dir, withTo(request, mine), gogit.Invalid); !strings.Contains(got.Detail, "is not a commit of main") {
			t.Errorf("to a commit that is not there: %+v", got)
		}
		s.RefusePushes(t, "not today")
		got := promote(t, dir, request, gogit.Rejected)
		if !strings.Contains(got.Detail, "the commit is on the local branch") || !strings.Contains(got.Detail, "not today") || s.Head(t, proposal) != "" {
			t.Errorf("refused = %+v", got)
		}
		s.AcceptPushes(t)
		first := promote(t, dir, request, gogit.Proposed)
		proposes(t, s.Repo, first, there, "# new\n"+stopAfter(to))
		if gitserver.Git(t, dir, "rev-parse", proposal) != string(first.Commit) || gitserver.Git(t, dir, "rev-parse", "main") != mine || status(t, dir) != "" {
			t.Errorf("here: %s, status %q", gitserver.Git(t, dir, "for-each-ref"), status(t, dir))
		}
		if again := promote(t, dir, request, gogit.Current); again.Commit != first.Commit {
			t.Errorf("again = %+v", again)
		}
		// The daemon leaves a person's alone, whatever it would propose itself; a
		// person may replace the daemon's.
		r := s.open(t)
		if got := propose(t, r, there, gogit.Foreign); !strings.Contains(got.Detail, "proposed by hand") || s.Head(t, proposal) != string(first.Commit) {
			t.Errorf("the daemon met a person's proposal: %+v", got)
		}
		propose(t, r, to, gogit.Current)
		withdraw(t, r, gogit.Foreign)
		s.Delete(t, proposal)
		second := propose(t, r, there, gogit.Proposed)
		if again := promote(t, dir, withTo(request, there), gogit.Current); again.Commit != second.Commit {
			t.Errorf("the daemon's = %+v", again)
		}
		proposes(t, s.Repo, promote(t, dir, request, gogit.Proposed), there, "# new\n"+stopAfter(to))
		gitserver.Git(t, dir, "fsck", "--strict")
		theirs := s.Commit(t, gitserver.Commit{Branch: proposal, Files: map[string]string{"theirs": "1"}})
		if got := promote(t, dir, withTo(request, there), gogit.Foreign); string(got.Commit) != theirs || s.Head(t, proposal) != theirs {
			t.Errorf("foreign there = %+v", got)
		}
		s.Delete(t, proposal)
		gitserver.Git(t, dir, "branch", "-q", "-f", proposal, mine)
		if got := promote(t, dir, request, gogit.Proposed); s.Head(t, proposal) != string(got.Commit) {
			t.Errorf("a branch of main's commits here: %+v", got)
		}
		s.Delete(t, "main")
		promote(t, dir, request, gogit.Rejected)
	})
}

func withTo(request gogit.LocalPromote, to string) gogit.LocalPromote {
	request.To = source.Revision(to)
	return request
}

func TestLocalPromotePushKeepsLocalWork(t *testing.T) {
	t.Parallel()
	repo := gitserver.NewRepo(t)
	to, _ := verified(t, repo)
	dir := repo.Clone(t, "main")
	gitserver.Git(t, dir, "checkout", "-q", "-b", proposal)
	gitserver.Git(t, dir, "commit", "-q", "--allow-empty", "-m", "mine")
	mine := gitserver.Git(t, dir, "rev-parse", "HEAD")
	request := promotion(to)
	request.Push = true
	got := promote(t, dir, request, gogit.Foreign)
	if string(got.Commit) != mine || gitserver.Git(t, dir, "rev-parse", proposal) != mine || repo.Head(t, proposal) != "" {
		t.Errorf("%+v", got)
	}
}

func TestLocalPromotePushRaces(t *testing.T) {
	remote(t, func(t *testing.T, s *site) {
		to, head := verified(t, s.Repo)
		dir := s.Clone(t, "main")
		gitserver.Git(t, dir, "remote", "set-url", "origin", s.options.URL)
		request := promotion(to)
		request.Push, request.Credentials = true, s.options.Credentials
		theirs := s.Commit(t, gitserver.Commit{Branch: "theirs", Parent: head, Files: map[string]string{"theirs": "1"}})
		s.BeforePush(t, "git update-ref refs/heads/"+proposal+" "+theirs+"; mv hooks/pre-receive hooks/done")
		if got := promote(t, dir, request, gogit.Rejected); s.Head(t, proposal) != theirs || got.Detail == "" {
			t.Errorf("somebody was faster: %+v", got)
		}
		s.Delete(t, proposal)
		s.controls.LosePushAnswers(1)
		proposes(t, s.Repo, promote(t, dir, request, gogit.Proposed), head, stopAfter(to))
		s.controls.BreakPushes(1)
		if _, err := openLocal(t, dir).Promote(t.Context(), withTo(request, head)); !errors.Is(err, source.ErrUnavailable) || fault.IsTerminal(err) {
			t.Errorf("the push breaks: %v", err)
		}
		proposes(t, s.Repo, promote(t, dir, withTo(request, head), gogit.Proposed), head, stopAfter(head))
		s.controls.Down()
		if _, err := openLocal(t, dir).Promote(t.Context(), request); !errors.Is(err, source.ErrUnavailable) {
			t.Errorf("the server is away: %v", err)
		}
	})
}

func TestLocalPromoteDirectPush(t *testing.T) {
	t.Parallel()
	repo := gitserver.NewRepo(t)
	to, head := verified(t, repo)
	server := gitserver.ServeHTTP(t, repo, "")
	dir := repo.Clone(t, "main")
	gitserver.Git(t, dir, "remote", "set-url", "origin", server.URL)
	request := promotion(to)
	request.Direct, request.Push = true, true
	server.AnswerPushes(http.StatusForbidden)
	if got := promote(t, dir, request, gogit.Rejected); !strings.Contains(got.Detail, "403") || repo.Head(t, "main") != head {
		t.Errorf("refused = %+v", got)
	}
	server.AnswerPushes(0)
	promote(t, dir, request, gogit.Obsolete) // here, and there from now on
	if repo.Head(t, "main") != gitserver.Git(t, dir, "rev-parse", "main") || repo.File(t, "main", stopFile) != stopAfter(to) || repo.Head(t, proposal) != "" {
		t.Errorf("main is at %s", repo.Head(t, "main"))
	}
}

package gogit_test

import (
	"errors"
	"net/http"
	"strings"
	"sync"
	"testing"

	"chaperone.dev/chaperone/internal/fault"
	"chaperone.dev/chaperone/internal/source"
	"chaperone.dev/chaperone/internal/source/gogit"
	"chaperone.dev/chaperone/internal/testkit/gitserver"
)

const (
	stop     = "novamind/production"
	stopFile = "environments/novamind/production.yaml"
	proposal = "chaperone/promote/novamind/production"
)

// stopBefore and stopAfter are a file that has everything that must be kept.
const stopBefore = "# The live system.\r\napiVersion: chaperone.dev/v1alpha1\r\nkind:   Environment\r\n" +
	"metadata: {name: 'production'}\r\nspec: # all of it\r\n  # revision: soon\r\n  path: \"overlays/novamind/production\"\r\n\r\n" +
	"  promotion: {mode: pull-request}   # a person merges\t\r\n# the end, without a line break"

func stopAfter(to string) string {
	return strings.Replace(stopBefore, "spec: # all of it\r\n", "spec: # all of it\r\n  revision: "+yamlHash(to)+"\r\n", 1)
}

// yamlHash is how a hash stands in a file: one that is all digits is quoted.
func yamlHash(hash string) string {
	if strings.Trim(hash, "0123456789") == "" {
		return `"` + hash + `"`
	}
	return hash
}

// verified makes a history with an unpinned environment; the first commit is
// what upstream verified.
func verified(t *testing.T, s *gitserver.Repo) (to, head string) {
	t.Helper()
	to = s.Commit(t, gitserver.Commit{Message: "raise batch size", Files: map[string]string{
		stopFile: stopBefore, "environments/novamind/staging.yaml": "x", "base.yaml": "1", "environments.txt": "", "environments-x": ""},
		Executables: map[string]string{"environments/novamind/run": "1"}})
	return to, s.Commit(t, one("base.yaml", "2"))
}

func request(to string) gogit.ProposeRequest {
	return gogit.ProposeRequest{Environment: stop, File: stopFile, To: source.Revision(to),
		Note: source.PromoteNote{Evidence: "It is verified in novamind/staging."}}
}

func propose(t *testing.T, r *gogit.Repository, to string, want gogit.Outcome) gogit.ProposeResult {
	t.Helper()
	result, err := r.Propose(t.Context(), request(to))
	if err != nil {
		t.Fatal(err)
	}
	if result.Outcome != want || result.Branch != proposal {
		t.Fatalf("propose = %+v, want %s", result, want)
	}
	return result
}

func withdraw(t *testing.T, r *gogit.Repository, want gogit.Outcome) gogit.ProposeResult {
	t.Helper()
	result, err := r.Withdraw(t.Context(), stop)
	if err != nil {
		t.Fatal(err)
	}
	if result.Outcome != want || result.Branch != proposal {
		t.Fatalf("withdraw = %+v, want %s", result, want)
	}
	return result
}

// proposes checks that the branch is exactly one commit on top of parent, which
// pins to and changes nothing else.
func proposes(t *testing.T, s *gitserver.Repo, result gogit.ProposeResult, parent, content string) {
	t.Helper()
	if tip := s.Head(t, proposal); tip != string(result.Commit) || tip == "" {
		t.Errorf("the branch is at %q, the result is %+v", tip, result)
	}
	if got := gitserver.Git(t, s.Dir, "log", "--format=%H", parent+".."+proposal); got != string(result.Commit) {
		t.Errorf("commits beyond %s: %q", parent, got)
	}
	if got := gitserver.Git(t, s.Dir, "rev-parse", proposal+"^@"); got != parent {
		t.Errorf("parents = %q, want %s", got, parent)
	}
	if got := gitserver.Git(t, s.Dir, "diff", "--raw", "--no-renames", "--format=", parent, proposal); strings.Count(got, "\n") != 0 || !strings.HasPrefix(got, ":100644 100644 ") || !strings.HasSuffix(got, stopFile) {
		t.Errorf("changes = %q", got)
	}
	if got := s.File(t, proposal, stopFile); got != content {
		t.Errorf("file =\n%q\nwant\n%q", got, content)
	}
	gitserver.Git(t, s.Dir, "fsck", "--strict")
}

func TestPropose(t *testing.T) {
	everywhere(t, func(t *testing.T, s *site) {
		to, head := verified(t, s.Repo)
		s.options.Author = gogit.Author{Name: "Chaperone", Email: "bot@example.org"}
		r := s.open(t)
		first := propose(t, r, to, gogit.Proposed)
		proposes(t, s.Repo, first, head, stopAfter(to))
		if s.Head(t, "main") != head || string(r.Head()) != head {
			t.Errorf("main is at %s, Head %s, want %s", s.Head(t, "main"), r.Head(), head)
		}
		show := gitserver.Git(t, s.Dir, "log", "-1", "--format=%an <%ae>|%ct|%B", proposal)
		want := "Chaperone <bot@example.org>|1714564800|" + strings.TrimSpace(source.PromoteMessage(source.PromoteNote{
			Environment: stop, To: source.Revision(to), Evidence: "It is verified in novamind/staging."}))
		if show != want {
			t.Errorf("commit =\n%s\nwant\n%s", show, want)
		}
		// Asked again, it costs one look at the refs.
		before := r.Counters()
		if want := (gogit.Counters{Polls: 2, Fetches: 1, Pushes: 1}); before != want {
			t.Errorf("counters = %+v, want %+v", before, want)
		}
		if again := propose(t, r, to, gogit.Current); again.Commit != first.Commit {
			t.Errorf("again = %+v", again)
		}
		before.Polls++
		if got := r.Counters(); got != before {
			t.Errorf("counters = %+v, want %+v", got, before)
		}
		// After a crash, and by another replica with another mirror.
		r.Close()
		for _, cache := range []string{s.options.CacheDir, t.TempDir()} {
			s.options.CacheDir = cache
			other := s.open(t)
			if again := propose(t, other, to, gogit.Current); again.Commit != first.Commit || other.Counters().Pushes != 0 {
				t.Errorf("again = %+v, %+v", again, other.Counters())
			}
			if got := read(t, other, other.Head(), stopFile); got != stopBefore || string(other.Head()) != head {
				t.Errorf("the mirror's head is %s, its file %q", other.Head(), got)
			}
			if contained, err := other.Contains(t.Context(), first.Commit); contained || err != nil {
				t.Errorf("the source contains the proposal: %v, %v", contained, err)
			}
			other.Close()
		}
	})
}

// TestProposeFollowsTheSource: a branch is remade for a reason only.
func TestProposeFollowsTheSource(t *testing.T) {
	everywhere(t, func(t *testing.T, s *site) {
		to, _ := verified(t, s.Repo)
		r := s.open(t)
		first := propose(t, r, to, gogit.Proposed)
		s.Commit(t, one("base.yaml", "3"))
		s.Commit(t, one("environments/novamind/staging.yaml", "y"))
		if again := propose(t, r, to, gogit.Current); again.Commit != first.Commit {
			t.Errorf("the head moved, the file did not: %+v", again)
		}
		head := s.Commit(t, one(stopFile, "# new\n"+stopBefore))
		second := propose(t, r, to, gogit.Proposed)
		proposes(t, s.Repo, second, head, "# new\n"+stopAfter(to))
		if again := propose(t, s.open2(t), to, gogit.Current); again.Commit != second.Commit {
			t.Errorf("again = %+v", again)
		}
		third := propose(t, r, head, gogit.Proposed) // upstream moved on
		proposes(t, s.Repo, third, head, "# new\n"+stopAfter(head))
		// A person merges, and the branch stays: it is free for what comes next.
		merged := s.Commit(t, gitserver.Commit{Message: "Merge", Merge: string(third.Commit), Files: map[string]string{stopFile: "# new\n" + stopAfter(head)}})
		if done := propose(t, r, head, gogit.Obsolete); done.Commit != third.Commit || s.Head(t, proposal) != string(third.Commit) {
			t.Errorf("merged: %+v", done)
		}
		fourth := propose(t, s.open2(t), merged, gogit.Proposed)
		proposes(t, s.Repo, fourth, merged, "# new\n"+stopAfter(merged))
		// Merged by moving main forward.
		s.Move(t, "main", string(fourth.Commit))
		propose(t, r, merged, gogit.Obsolete)
		proposes(t, s.Repo, propose(t, r, to, gogit.Proposed), string(fourth.Commit), "# new\n"+stopAfter(to))
		// Squashed: our commit is still beyond main, and ours.
		squashed := s.Commit(t, one(stopFile, "# new\n"+stopAfter(to)))
		propose(t, s.open2(t), to, gogit.Obsolete)
		proposes(t, s.Repo, propose(t, r, head, gogit.Proposed), squashed, "# new\n"+stopAfter(head))
	})
}

func TestProposeAfterTheBranchWasDeleted(t *testing.T) {
	t.Parallel()
	repo := gitserver.NewRepo(t)
	to, head := verified(t, repo)
	r := local(t, repo, gogit.Limits{})
	propose(t, r, to, gogit.Proposed)
	repo.Delete(t, proposal)
	proposes(t, repo, propose(t, r, to, gogit.Proposed), head, stopAfter(to))
}

// TestProposeWhatCannotBe: nothing is pushed, and the file or the revision is
// named.
func TestProposeWhatCannotBe(t *testing.T) {
	t.Parallel()
	repo := gitserver.NewRepo(t)
	to, _ := verified(t, repo)
	side := repo.Commit(t, gitserver.Commit{Branch: "side", Parent: to, Files: map[string]string{"s": "1"}})
	repo.Commit(t, gitserver.Commit{Links: map[string]string{"link.yaml": stopFile}, Files: map[string]string{
		"broken.yaml": "spec: [", "list.yaml": "- a\n", "large.yaml": strings.Repeat("# x\n", 30_000), "alias.yaml": "spec:\n  revision: &x abc\n"}})
	r := local(t, repo, gogit.Limits{Blob: 100_000})
	for _, test := range []struct{ name, file, to, want string }{
		{"no such file", "environments/novamind/absent.yaml", to, "there is no such file at "},
		{"a directory", "environments/novamind", to, "not a regular file"},
		{"below a file", stopFile + "/x", to, "there is no such file"},
		{"a link", "link.yaml", to, "not a regular file"},
		{"outside", "../" + stopFile, to, "is not the path of a file"},
		{"nothing", "", to, "is not the path of a file"},
		{"not YAML", "broken.yaml", to, "broken.yaml: set revision: line 1"},
		{"another layout", "list.yaml", to, "want one mapping with a spec"},
		{"an anchor", "alias.yaml", to, "cannot be changed safely"},
		{"too large", "large.yaml", to, "too large"},
		{"not on the branch", stopFile, side, "is not a commit of main"},
		{"no commit", stopFile, strings.Repeat("1", 40), "is not a commit of main"},
		{"a branch", stopFile, "main", "is not a commit of main"},
		{"none", stopFile, "", "is not a commit of main"},
	} {
		result, err := r.Propose(t.Context(), gogit.ProposeRequest{Environment: stop, File: test.file, To: source.Revision(test.to)})
		if err != nil || result.Outcome != gogit.Invalid || !strings.Contains(result.Detail, test.want) {
			t.Errorf("%s: %+v, %v; want %q", test.name, result, err, test.want)
		}
	}
	for _, environment := range []string{"", "../x", "a b", "/x", "x/", "x.lock", "x..y"} {
		_, err := r.Propose(t.Context(), gogit.ProposeRequest{Environment: environment, File: stopFile, To: source.Revision(to)})
		if err == nil || !fault.IsTerminal(err) || !strings.Contains(err.Error(), "want <pipeline>/<name>") {
			t.Errorf("environment %q: %v", environment, err)
		}
		if _, err := r.Withdraw(t.Context(), environment); !fault.IsTerminal(err) {
			t.Errorf("withdraw %q: %v", environment, err)
		}
	}
	if got := r.Counters().Pushes; got != 0 || repo.Head(t, proposal) != "" {
		t.Errorf("%d pushes", got)
	}
}

// TestTheFollowedBranchIsNeverAPromotionBranch: it would be overwritten.
func TestTheFollowedBranchIsNeverAPromotionBranch(t *testing.T) {
	t.Parallel()
	repo := gitserver.NewRepo(t)
	to := repo.Commit(t, gitserver.Commit{Branch: proposal, Files: map[string]string{stopFile: stopBefore}})
	s := overFile(t, repo)
	s.options.Branch, s.options.CacheDir = proposal, t.TempDir()
	r := s.open(t)
	if _, err := r.Propose(t.Context(), request(to)); !fault.IsTerminal(err) {
		t.Errorf("propose: %v", err)
	}
	if _, err := r.Withdraw(t.Context(), stop); !fault.IsTerminal(err) || repo.Head(t, proposal) != to {
		t.Errorf("withdraw: %v", err)
	}
}

// TestPitfall33_PromotionBranchesAreProtected: the server's word is passed on,
// and nothing is repeated for ever.
func TestPitfall33_PromotionBranchesAreProtected(t *testing.T) {
	everywhere(t, func(t *testing.T, s *site) {
		to, head := verified(t, s.Repo)
		r := s.open(t)
		s.RefusePushes(t, "GH006: Protected branch update failed. "+canary)
		result := propose(t, r, to, gogit.Rejected)
		if !strings.Contains(result.Detail, "pre-receive hook declined") || !strings.Contains(result.Detail, "GH006") {
			t.Errorf("Detail = %q", result.Detail)
		}
		if s.name == "http" && strings.Contains(result.Detail, canary) {
			t.Errorf("Detail holds the token: %q", result.Detail)
		}
		if got := r.Counters().Pushes; got != 3 || s.Head(t, proposal) != "" || result.Commit != "" {
			t.Errorf("%d pushes, want 3; %+v", got, result)
		}
		s.AcceptPushes(t)
		first := propose(t, r, to, gogit.Proposed)
		proposes(t, s.Repo, first, head, stopAfter(to))
		s.RefusePushes(t, "not today")
		if got := propose(t, r, head, gogit.Rejected); got.Commit != first.Commit || !strings.Contains(got.Detail, "not today") {
			t.Errorf("a replacement refused: %+v", got)
		}
		if got := withdraw(t, r, gogit.Rejected); got.Commit != first.Commit || !strings.Contains(got.Detail, "not today") || s.Head(t, proposal) != string(first.Commit) {
			t.Errorf("a withdrawal refused: %+v", got)
		}
	})
}

// TestPromotionBranchesAreKept: servers that let nothing be deleted, or moved
// but forward, say so.
func TestPromotionBranchesAreKept(t *testing.T) {
	t.Parallel()
	repo := gitserver.NewRepo(t)
	to, head := verified(t, repo)
	r := local(t, repo, gogit.Limits{})
	first := propose(t, r, to, gogit.Proposed)
	gitserver.Git(t, repo.Dir, "config", "receive.denyDeletes", "true")
	gitserver.Git(t, repo.Dir, "config", "receive.denyNonFastForwards", "true")
	if got := withdraw(t, r, gogit.Rejected); !strings.Contains(got.Detail, "delet") {
		t.Errorf("Detail = %q", got.Detail)
	}
	if got := propose(t, r, head, gogit.Rejected); !strings.Contains(got.Detail, "non-fast-forward") || repo.Head(t, proposal) != string(first.Commit) {
		t.Errorf("%+v", got)
	}
}

// TestPromotionBranchBelowAnotherBranch: Git has no place for both.
func TestPromotionBranchBelowAnotherBranch(t *testing.T) {
	t.Parallel()
	repo := gitserver.NewRepo(t)
	to, head := verified(t, repo)
	repo.Move(t, "chaperone/promote/novamind", head)
	result := propose(t, local(t, repo, gogit.Limits{}), to, gogit.Rejected)
	if result.Detail == "" {
		t.Errorf("no detail")
	}
}

func TestProposeWithoutPermission(t *testing.T) {
	t.Parallel()
	repo := gitserver.NewRepo(t)
	to, head := verified(t, repo)
	server := gitserver.ServeHTTP(t, repo, "")
	s := &site{Repo: repo, options: gogit.Options{URL: server.URL, Branch: "main", CacheDir: t.TempDir()}}
	r := s.open(t)
	server.AnswerPushes(http.StatusForbidden)
	if got := propose(t, r, to, gogit.Rejected); !strings.Contains(got.Detail, "403") {
		t.Errorf("%+v", got)
	}
	server.AnswerPushes(http.StatusBadGateway)
	_, err := r.Propose(t.Context(), request(to))
	if !errors.Is(err, source.ErrUnavailable) || fault.IsTerminal(err) || !strings.Contains(err.Error(), "502") {
		t.Errorf("a gateway in trouble: %v, want it to pass by itself", err)
	}
	server.AnswerPushes(0)
	proposes(t, repo, propose(t, r, to, gogit.Proposed), head, stopAfter(to))
}

// TestTwoReplicasPropose is pitfall 38 as Git sees it.
func TestTwoReplicasPropose(t *testing.T) {
	everywhere(t, func(t *testing.T, s *site) {
		to, head := verified(t, s.Repo)
		var replicas []*gogit.Repository
		for _, name := range []string{"a", "b", "c"} { // so that their commits differ
			s.options.Author.Name = name
			replicas = append(replicas, s.open2(t))
		}
		results := make([]gogit.ProposeResult, len(replicas))
		errs := make([]error, len(replicas))
		var all sync.WaitGroup
		for i, r := range replicas {
			poll(t, r)
			all.Go(func() { results[i], errs[i] = r.Propose(t.Context(), request(to)) })
		}
		all.Wait()
		for i, result := range results {
			if errs[i] != nil || result.Outcome != gogit.Proposed && result.Outcome != gogit.Current {
				t.Fatalf("replica %d: %+v, %v", i, result, errs[i])
			}
			proposes(t, s.Repo, result, head, stopAfter(to))
		}
	})
}

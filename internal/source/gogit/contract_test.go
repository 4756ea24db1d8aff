package gogit_test

import (
	"context"
	"errors"
	"io/fs"
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

// canary stands for every secret; no message may hold it.
const canary = "canary-7d1f0e5b9c"

// site is one repository, served one way.
type site struct {
	*gitserver.Repo
	name     string
	options  gogit.Options
	controls *gitserver.Controls // nil over file: there is no server
}

// everywhere runs a test over file, HTTP and SSH.
func everywhere(t *testing.T, test func(*testing.T, *site)) {
	t.Helper()
	t.Parallel()
	for _, start := range []func(*testing.T, *gitserver.Repo) *site{overFile, overHTTP, overOldHTTP, overSSH} {
		repo := gitserver.NewRepo(t)
		s := start(t, repo)
		s.options.Branch, s.options.CacheDir, s.options.Timeout = gitserver.Main, t.TempDir(), 20*time.Second
		s.options.Limits.Depth = 3 // so that answers lie further down than what comes with a head
		s.options.Now = func() time.Time { return time.Date(2024, 5, 1, 12, 0, 0, 0, time.UTC) }
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			test(t, s)
		})
	}
}

// remote runs a test over HTTP and SSH, where a server can be away.
func remote(t *testing.T, test func(*testing.T, *site)) {
	t.Helper()
	everywhere(t, func(t *testing.T, s *site) {
		if s.controls == nil {
			t.Skip("no server")
		}
		test(t, s)
	})
}

func overFile(t *testing.T, repo *gitserver.Repo) *site {
	return &site{Repo: repo, name: "file", options: gogit.Options{URL: repo.Dir}}
}

func overHTTP(t *testing.T, repo *gitserver.Repo) *site {
	server := gitserver.ServeHTTP(t, repo, canary)
	token := filepath.Join(t.TempDir(), "token")
	write(t, token, canary+"\n")
	return &site{Repo: repo, name: "http", controls: &server.Controls,
		options: gogit.Options{URL: server.URL, Credentials: gogit.Credentials{TokenFile: token}}}
}

// overOldHTTP is a server that leaves nothing out.
func overOldHTTP(t *testing.T, repo *gitserver.Repo) *site {
	server := gitserver.ServeHTTP(t, repo, "")
	server.SpeakVersion0()
	return &site{Repo: repo, name: "http-version-0", controls: &server.Controls, options: gogit.Options{URL: server.URL}}
}

func overSSH(t *testing.T, repo *gitserver.Repo) *site {
	server := gitserver.ServeSSH(t, repo)
	return &site{Repo: repo, name: "ssh", controls: &server.Controls,
		options: gogit.Options{URL: server.URL, Credentials: gogit.Credentials{SSHKeyFile: server.KeyFile, KnownHostsFile: server.KnownHosts}}}
}

func write(t *testing.T, name, content string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

// open opens the site; the Repository is closed with the test.
func (s *site) open(t *testing.T) *gogit.Repository {
	t.Helper()
	r, err := gogit.Open(t.Context(), s.options)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.Close)
	return r
}

func poll(t *testing.T, r *gogit.Repository) gogit.Head {
	t.Helper()
	head, err := r.Poll(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return head
}

func read(t *testing.T, r *gogit.Repository, revision source.Revision, name string) string {
	t.Helper()
	s, err := r.Snapshot(revision)
	if err != nil {
		t.Fatal(err)
	}
	content, err := fs.ReadFile(s, name)
	if err != nil {
		t.Fatal(err)
	}
	return string(content)
}

func one(path, content string) gitserver.Commit {
	return gitserver.Commit{Files: map[string]string{path: content}}
}

func TestPollFetchesOnlyOnChange(t *testing.T) {
	everywhere(t, func(t *testing.T, s *site) {
		first := s.Commit(t, one("a.yaml", "1\n"))
		s.Commit(t, gitserver.Commit{Branch: "other", Files: map[string]string{"secret-plans.yaml": "x"}})
		other := s.Head(t, "other")
		r := s.open(t)
		if r.Head() != "" {
			t.Errorf("Head before any poll = %q", r.Head())
		}
		if head := poll(t, r); string(head.Revision) != first || !head.Changed {
			t.Errorf("first poll = %+v, want %s, changed", head, first)
		}
		for range 3 {
			if head := poll(t, r); string(head.Revision) != first || head.Changed {
				t.Errorf("poll without change = %+v", head)
			}
		}
		if got, want := r.Counters(), (gogit.Counters{Polls: 4, Fetches: 1}); got != want {
			t.Errorf("counters = %+v, want %+v", got, want)
		}
		if s.controls != nil {
			if lists, fetches := s.controls.Count(gitserver.ListRefs), s.controls.Count(gitserver.Fetch); lists != 4 || fetches < 1 || fetches > 2 { // the history, and files
				t.Errorf("the server saw %d looks at refs and %d fetches, want 4 and at most 2", lists, fetches)
			}
		}
		second := s.Commit(t, one("a.yaml", "2\n"))
		if head := poll(t, r); string(head.Revision) != second || !head.Changed || r.Head() != head.Revision {
			t.Errorf("poll after a push = %+v, Head %s; want %s, changed", head, r.Head(), second)
		}
		if got := read(t, r, source.Revision(first), "a.yaml") + read(t, r, source.Revision(second), "a.yaml"); got != "1\n2\n" {
			t.Errorf("contents of both commits = %q", got)
		}
		if _, err := r.Commit(source.Revision(other)); !errors.Is(err, source.ErrUnknownRevision) {
			t.Errorf("a commit of another branch: %v, want it not to be here", err)
		}
	})
}

func TestPollAfterRestart(t *testing.T) {
	everywhere(t, func(t *testing.T, s *site) {
		first := source.Revision(s.Commit(t, one("a.yaml", "1\n")))
		r := s.open(t)
		poll(t, r)
		r.Close()
		again := s.open(t)
		if again.Head() != first || read(t, again, first, "a.yaml") != "1\n" {
			t.Errorf("Head after a restart = %q, want %s", again.Head(), first)
		}
		if head := poll(t, again); head.Revision != first || again.Counters().Fetches != 0 {
			t.Errorf("poll = %+v with %d fetches, want none", head, again.Counters().Fetches)
		}
	})
}

// TestPitfall07_BranchGoneAndEmptyRepository: nothing may be taken for an empty
// tree, and what is known stays.
func TestPitfall07_BranchGoneAndEmptyRepository(t *testing.T) {
	everywhere(t, func(t *testing.T, s *site) {
		r := s.open(t)
		gone := func(want string, head source.Revision) {
			t.Helper()
			_, err := r.Poll(t.Context())
			if !errors.Is(err, source.ErrBranchGone) || errors.Is(err, source.ErrUnavailable) || !strings.Contains(err.Error(), want) || fault.IsTerminal(err) {
				t.Errorf("poll: %v, want %q", err, want)
			}
			if r.Head() != head {
				t.Errorf("Head = %q, want it to stay %q", r.Head(), head)
			}
		}
		gone("the repository is empty", "")
		s.Commit(t, gitserver.Commit{Branch: "other", Files: map[string]string{"a": "1"}})
		gone("(main)", "")
		first := s.Commit(t, one("a.yaml", "1\n"))
		poll(t, r)
		s.Delete(t, gitserver.Main)
		gone("branch does not exist", source.Revision(first))
		if got := read(t, r, source.Revision(first), "a.yaml"); got != "1\n" {
			t.Errorf("content = %q", got)
		}
		second := s.Commit(t, gitserver.Commit{Fresh: true, Files: map[string]string{"a.yaml": "2\n"}})
		if head := poll(t, r); string(head.Revision) != second || !head.Changed {
			t.Errorf("poll after the branch came back = %+v, want %s", head, second)
		}
	})
}

func TestServerAwayKeepsTheLastHead(t *testing.T) {
	remote(t, func(t *testing.T, s *site) {
		first := source.Revision(s.Commit(t, one("a.yaml", "1\n")))
		r := s.open(t)
		s.controls.Down()
		_, err := r.Poll(t.Context())
		if !errors.Is(err, source.ErrUnavailable) || fault.IsTerminal(err) || r.Head() != "" {
			t.Errorf("first poll of a server that is down: %v, Head %q", err, r.Head())
		}
		s.controls.Up(t)
		poll(t, r)
		s.controls.Down()
		second := source.Revision(s.Commit(t, one("a.yaml", "2\n")))
		if _, err := r.Poll(t.Context()); !errors.Is(err, source.ErrUnavailable) || r.Head() != first {
			t.Errorf("poll of a server that is down: %v, Head %q", err, r.Head())
		}
		if got := read(t, r, first, "a.yaml"); got != "1\n" {
			t.Errorf("content = %q", got)
		}
		s.controls.Up(t)
		if head := poll(t, r); head.Revision != second {
			t.Errorf("poll = %+v, want %s", head, second)
		}
	})
}

func TestServerThatDoesNotAnswer(t *testing.T) {
	remote(t, func(t *testing.T, s *site) {
		s.Commit(t, one("a.yaml", "1\n"))
		s.options.Timeout = 200 * time.Millisecond
		r := s.open(t)
		s.controls.Delay(time.Minute)
		if _, err := r.Poll(t.Context()); !errors.Is(err, source.ErrUnavailable) || !strings.Contains(err.Error(), "no answer for 200ms") {
			t.Errorf("poll: %v", err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := r.Poll(ctx); !errors.Is(err, context.Canceled) {
			t.Errorf("poll cancelled: %v", err)
		}
		s.controls.Down() // the delayed answers
	})
}

func TestForcePush(t *testing.T) {
	everywhere(t, func(t *testing.T, s *site) {
		root := s.Commit(t, one("a.yaml", "1\n"))
		dropped := source.Revision(s.Commit(t, one("a.yaml", "2\n")))
		r := s.open(t)
		poll(t, r)
		s.Move(t, gitserver.Main, root)
		rewritten := source.Revision(s.Commit(t, one("a.yaml", "3\n")))
		if head := poll(t, r); head.Revision != rewritten {
			t.Fatalf("poll = %+v, want %s", head, rewritten)
		}
		if _, err := r.FirstParents(t.Context(), dropped, rewritten, 10); !errors.Is(err, source.ErrNotAncestor) {
			t.Errorf("FirstParents from the dropped commit: %v, want not to be an ancestor", err)
		}
		if got := read(t, r, dropped, "a.yaml"); got != "2\n" {
			t.Errorf("the dropped commit reads %q", got)
		}
		s.Move(t, gitserver.Main, root)
		if head := poll(t, r); string(head.Revision) != root || !head.Changed {
			t.Errorf("poll after the branch was put back = %+v", head)
		}
	})
}

func TestSnapshotsBeyondALargeFetch(t *testing.T) {
	everywhere(t, func(t *testing.T, s *site) {
		s.Commit(t, one("a.yaml", "1\n"))
		r := s.open(t)
		first := poll(t, r).Revision
		many := gitserver.Commit{Files: map[string]string{}}
		for i := range 600 { // more than is kept as single objects
			many.Files["many/"+strings.Repeat("x", i/60)+string(rune('a'+i%60))+".yaml"] = strings.Repeat("line\n", i)
		}
		s.Commit(t, many)
		large := poll(t, r).Revision
		small := source.Revision(s.Commit(t, one("a.yaml", "2\n")))
		poll(t, r)
		for revision, want := range map[source.Revision]string{first: "1\n", large: "1\n", small: "2\n"} {
			if got := read(t, r, revision, "a.yaml"); got != want {
				t.Errorf("a.yaml at %s = %q, want %q", revision.Short(), got, want)
			}
		}
		snapshot, err := r.Snapshot(small)
		if err != nil {
			t.Fatal(err)
		}
		if entries, err := fs.ReadDir(snapshot, "many"); err != nil || len(entries) != len(many.Files) {
			t.Errorf("%d files, %v; want %d", len(entries), err, len(many.Files))
		}
	})
}

package gogit_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"chaperone.dev/chaperone/internal/fault"
	"chaperone.dev/chaperone/internal/source"
	"chaperone.dev/chaperone/internal/source/gogit"
	"chaperone.dev/chaperone/internal/testkit/gitserver"
)

// line commits so many times, each a file of its own.
func line(t *testing.T, repo *gitserver.Repo, n int) []string {
	t.Helper()
	all := make([]string, n)
	for i := range all {
		all[i] = repo.Commit(t, one(fmt.Sprintf("file%d.yaml", i), fmt.Sprintf("number: %d\n", i)))
	}
	return all
}

func ends(t *testing.T, s *site) int {
	t.Helper()
	content, err := os.ReadFile(filepath.Join(s.options.CacheDir, "mirror.git", "shallow"))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
	return strings.Count(string(content), "\n")
}

// A commit far below what is fetched is taken back, and pushed from a mirror that
// does not have the whole history; git finds nothing wrong with either.
func TestRevertFarDown(t *testing.T) {
	everywhere(t, func(t *testing.T, s *site) {
		all := line(t, s.Repo, 30)
		r := s.open(t)
		poll(t, r)
		if s.name != "http-version-0" && ends(t, s) != 1 {
			t.Errorf("the history ends in %d places, want 1", ends(t, s))
		}
		expect(t, revert(t, r, all[20]), gogit.Reverted)
		if got := gitserver.Git(t, s.Dir, "ls-tree", "--name-only", "main"); strings.Contains(got, "file20.yaml") || !strings.Contains(got, "file21.yaml") {
			t.Errorf("the branch has %s", got)
		}
		gitserver.Git(t, s.Dir, "fsck", "--strict", "--no-dangling")
		expect(t, revert(t, r, all[20]), gogit.AlreadyReverted)
		if s.name != "http-version-0" && ends(t, s) != 1 {
			t.Errorf("then it ends in %d places: all of it was fetched", ends(t, s))
		}
		if line, err := r.FirstParents(t.Context(), "", r.Head(), 100); err != nil || len(line) != 31 {
			t.Errorf("the line is of %d commits, %v", len(line), err)
		}
		if ends(t, s) != 0 {
			t.Errorf("all was looked at, and it ends in %d places", ends(t, s))
		}
	})
}

// A pull request that was begun far below what is fetched brings what it changes
// and its way to the branch.
func TestPullRequestFromFarDown(t *testing.T) {
	everywhere(t, func(t *testing.T, s *site) {
		all := line(t, s.Repo, 60)
		theirs := all[10]
		var mine []string
		for i := range 25 { // more than come at once
			theirs = s.Commit(t, gitserver.Commit{Branch: "theirs", Parent: theirs, Files: map[string]string{fmt.Sprintf("theirs%d.yaml", i): "x\n"}})
			mine = append(mine, theirs)
		}
		gitserver.Git(t, s.Dir, "update-ref", "refs/pull/1/head", theirs)
		s.Delete(t, "theirs")
		r := s.open(t)
		poll(t, r)
		pulls := openPulls(t, r)
		head := source.Revision(theirs)
		if err := pulls.Fetch(t.Context(), "refs/pull/1/head", head); err != nil {
			t.Fatal(err)
		}
		if base, err := pulls.MergeBase(t.Context(), r.Head(), head); string(base) != all[10] || err != nil {
			t.Errorf("merge base %s, %v; want %s", base, err, all[10])
		}
		brought, err := pulls.Beyond(t.Context(), r.Head(), head)
		if err != nil || len(brought) != len(mine) {
			t.Errorf("it brings %d commits, %v; want %d", len(brought), err, len(mine))
		}
		changed, err := pulls.Changed(source.Revision(all[10]), head)
		if err != nil || len(changed) != len(mine) {
			t.Errorf("it changes %q, %v", changed, err)
		}
		if is, err := pulls.Contains(t.Context(), head, r.Head()); is || err != nil {
			t.Errorf("it is on the branch: %v, %v", is, err)
		}
		if _, err := r.Commit(head); !errors.Is(err, source.ErrUnknownRevision) {
			t.Errorf("the mirror has it: %v", err)
		}
	})
}

// A server that gives parts of a history no more gives all of it once, and nothing
// is concluded from what is not there meanwhile.
func TestServerThatGivesNoPartsAnyMore(t *testing.T) {
	t.Parallel()
	for name, moved := range map[string]bool{"the branch stays": false, "the branch moves": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			repo := gitserver.NewRepo(t)
			all := line(t, repo, 8)
			server := gitserver.ServeHTTP(t, repo, "")
			s := &site{Repo: repo, options: gogit.Options{URL: server.URL, Branch: gitserver.Main, CacheDir: t.TempDir(), Limits: gogit.Limits{Depth: 3}}}
			r := s.open(t)
			poll(t, r)
			pulls := openPulls(t, r)
			ref, theirs := pulled(t, s, 7, map[string]string{"theirs.yaml": "x"})
			server.SpeakVersion0()
			if moved {
				all = append(all, repo.Commit(t, one("new.yaml", "new\n")))
			}
			poll(t, r)
			if !moved {
				if _, err := r.Contains(t.Context(), source.Revision(all[0])); !errors.Is(err, source.ErrUnavailable) || fault.IsTerminal(err) {
					t.Errorf("contains: %v", err)
				}
				if err := pulls.Fetch(t.Context(), ref, theirs); !errors.Is(err, source.ErrUnavailable) || fault.IsTerminal(err) {
					t.Errorf("a pull request: %v", err)
				}
				poll(t, r)
			}
			if err := pulls.Fetch(t.Context(), ref, theirs); err != nil {
				t.Errorf("a pull request: %v", err)
			}
			if line, err := r.FirstParents(t.Context(), "", r.Head(), 100); err != nil || len(line) != len(all) || ends(t, s) != 0 {
				t.Errorf("a line of %d commits, %v; it ends in %d places", len(line), err, ends(t, s))
			}
		})
	}
}

// A server that never gives parts is not asked for any.
func TestServerThatGivesNoParts(t *testing.T) {
	t.Parallel()
	b := besiegeVersion2(t)
	greeting := bytes.ReplaceAll(greets(), []byte(pkt("fetch=shallow filter\n")), []byte(pkt("fetch=filter\n")))
	b.server.greets(plainly(greeting), plainly(refsOf(b.second)), func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		if bytes.Contains(body, []byte("deepen")) || bytes.Contains(body, []byte("shallow")) {
			t.Errorf("asked with %q", body)
		}
		_, _ = w.Write(b.next.answer)
	})
	r, err := gogit.Open(t.Context(), gogit.Options{URL: b.server.url, Branch: gitserver.Main, CacheDir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.Close)
	if head := poll(t, r); string(head.Revision) != b.second {
		t.Errorf("head %s", head.Revision)
	}
}

// A person's clone may have the newest part of the history alone. It says so,
// rather than that something is not there.
func TestLocalCloneThatIsCutOff(t *testing.T) {
	t.Parallel()
	repo := gitserver.NewRepo(t)
	all := line(t, repo, 5)
	dir := filepath.Join(t.TempDir(), "clone")
	gitserver.Git(t, "", "clone", "-q", "--depth=2", "file://"+repo.Dir, dir)
	l := openLocal(t, dir)
	head := source.Revision(all[4])
	_, line := l.FirstParents(t.Context(), source.Revision(all[0]), head, 10)
	_, contained := l.Contains(t.Context(), source.Revision(all[0]), head)
	_, resolved := l.Resolve(all[0])
	for what, err := range map[string]error{"line": line, "contains": contained, "resolve": resolved} {
		if !errors.Is(err, source.ErrUnavailable) || errors.Is(err, source.ErrUnknownRevision) || !strings.Contains(err.Error(), "git fetch --unshallow") {
			t.Errorf("%s: %v", what, err)
		}
	}
	if line, err := l.FirstParents(t.Context(), source.Revision(all[3]), head, 10); err != nil || len(line) != 1 {
		t.Errorf("what is there: %v, %v", line, err)
	}
	content, err := os.ReadFile(filepath.Join(dir, ".git", "shallow"))
	if err != nil || strings.TrimSpace(string(content)) != all[3] {
		t.Errorf("its own note of it is %q, %v", content, err)
	}
}

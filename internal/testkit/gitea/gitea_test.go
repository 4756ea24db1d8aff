package gitea

import (
	"net/http"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	sdk "code.gitea.io/sdk/gitea"

	"chaperone.dev/chaperone/internal/testkit/gitserver"
)

func TestAPullRequestFromAPushToItsMerge(t *testing.T) {
	t.Parallel()
	s := Start(t)
	ann, bob := s.Person(t, "ann"), s.Person(t, "bob")
	r, f := ann.Repository(t), s.Front(t)
	r.Let(t, bob, sdk.AccessModeWrite)
	clone := t.TempDir()
	gitserver.Git(t, "", "clone", "-q", r.WithToken(t, f, bob), clone)
	gitserver.Git(t, clone, "checkout", "-q", "-b", "topic")
	gitserver.Git(t, clone, "commit", "-q", "--allow-empty", "-m", "work")
	gitserver.Git(t, clone, "push", "-q", "origin", "topic")
	r.Commit(t, bob, "topic", "", "file", "content")
	number := r.Propose(t, bob, "topic", Main, "work")
	r.Protect(t, Main)
	if merge := r.Merge(t, number, ann, sdk.MergeStyleMerge); merge != r.Head(t, Main) || len(merge) != 40 {
		t.Errorf("merged as %q", merge)
	}
	gitserver.Git(t, clone, "fetch", "-q", "origin")
	gitserver.Git(t, clone, "checkout", "-q", "origin/main")
	if content, err := os.ReadFile(clone + "/file"); err != nil || string(content) != "content" {
		t.Errorf("%q, %v", content, err)
	}
	gitserver.Git(t, clone, "commit", "-q", "--allow-empty", "-m", "direct")
	if out, err := exec.Command("git", "-C", clone, "push", "origin", "HEAD:main").CombinedOutput(); err == nil {
		t.Errorf("a protected branch took a push: %s", out)
	}
}

func TestFrontsFailAlone(t *testing.T) {
	t.Parallel()
	s := Start(t)
	one, other := s.Front(t), s.Front(t)
	get := func(f *Front) int {
		response, err := http.Get(f.URL + "/api/v1/version")
		if err != nil {
			return 0
		}
		_ = response.Body.Close()
		return response.StatusCode
	}
	one.Answer(Refuse(429, 7))
	if a, b := get(one), get(other); a != 429 || b != 200 {
		t.Errorf("%d and %d", a, b)
	}
	one.Answer(nil)
	one.Lose("GET", "version")
	if a, b := get(one), get(one); a != 0 || b != 200 {
		t.Errorf("lost once: %d, then %d", a, b)
	}
	one.Down()
	if a, b := get(one), get(other); a != 0 || b != 200 {
		t.Errorf("down: %d and %d", a, b)
	}
	one.Up(t)
	if a := get(one); a != 200 || one.Requests("GET", "version") != 4 {
		t.Errorf("up again: %d after %d requests", a, one.Requests("", ""))
	}
}

// TestTheServerEndsWithItsOwner starts one more, in the way that a test process does.
func TestTheServerEndsWithItsOwner(t *testing.T) {
	t.Parallel()
	s, err := start(t)
	if err != nil {
		t.Fatal(err)
	}
	dir := strings.TrimSuffix(s.socket, "/socket")
	_ = s.owner.Close() // as the system does when the process is killed
	for end := time.Now().Add(30 * time.Second); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		if _, err := os.Stat(dir); os.IsNotExist(err) {
			return
		}
	}
	t.Errorf("%s is still there", dir)
}

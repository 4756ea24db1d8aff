package gitserver

import (
	"context"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/knownhosts"
)

func TestCommitsAreTheSameEachTime(t *testing.T) {
	t.Parallel()
	var heads []string
	for range 2 {
		r := NewRepo(t)
		first := r.Commit(t, Commit{Files: map[string]string{"a": "1", "d/\xff \"": "2"}, Executables: map[string]string{"run": "x"}, Links: map[string]string{"l": "a"}})
		side := r.Commit(t, Commit{Branch: "side", Parent: first, Files: map[string]string{"s": "1"}})
		r.Commit(t, Commit{Message: "merge", Merge: side, Files: map[string]string{"s": "1"}, Delete: []string{"run"}, Modules: map[string]string{"m": first}})
		heads = append(heads, r.Head(t, Main))
		if got := Git(t, r.Dir, "ls-tree", "-r", "--format=%(objectmode) %(path)", Main); got != "100644 a\n100644 \"d/\\377 \\\"\"\n120000 l\n160000 m\n100644 s" {
			t.Errorf("tree = %s", got)
		}
		Git(t, r.Dir, "fsck", "--strict", "--no-dangling")
	}
	if heads[0] != heads[1] || heads[0] == "" {
		t.Errorf("heads = %v", heads)
	}
}

func clone(ctx context.Context, url string) error {
	cmd := exec.CommandContext(ctx, "git", "ls-remote", url)
	cmd.Env = append(environment(), "GIT_TERMINAL_PROMPT=0")
	return cmd.Run()
}

func TestHTTP(t *testing.T) {
	t.Parallel()
	repo := NewRepo(t)
	repo.Commit(t, Commit{Files: map[string]string{"a": "1"}})
	s := ServeHTTP(t, repo, "token")
	good := strings.Replace(s.URL, "://", "://any:token@", 1)
	if err := clone(t.Context(), good); err != nil {
		t.Fatal(err)
	}
	if err := clone(t.Context(), s.URL); err == nil || s.Count(Denied) == 0 {
		t.Errorf("without a token: %v, %d denied", err, s.Count(Denied))
	}
	dir := repo.Clone(t, Main)
	Git(t, dir, "remote", "set-url", "origin", good)
	push := func() error {
		cmd := exec.Command("git", "push", "-q", "origin", "HEAD:main")
		cmd.Dir, cmd.Env = dir, environment()
		return cmd.Run()
	}
	Git(t, dir, "commit", "-q", "--allow-empty", "-m", "one")
	repo.RefusePushes(t, "no")
	if err := push(); err == nil {
		t.Error("a push that is to be refused was taken")
	}
	repo.AcceptPushes(t)
	s.AnswerPushes(http.StatusForbidden)
	if err := push(); err == nil {
		t.Error("a push that is to be answered 403 was taken")
	}
	s.AnswerPushes(0)
	before := repo.Head(t, Main)
	s.BreakPushes(10) // curl tries again on its own
	if err := push(); err == nil || repo.Head(t, Main) != before {
		t.Errorf("a push that is to break: %v", err)
	}
	s.BreakPushes(0)
	s.LosePushAnswers(10)
	if err := push(); err == nil || repo.Head(t, Main) != Git(t, dir, "rev-parse", "HEAD") {
		t.Errorf("a push whose answer is to be lost: %v", err)
	}
	s.Down()
	if err := clone(t.Context(), good); err == nil {
		t.Error("the server is down, and answers")
	}
	s.Up(t)
	if err := clone(t.Context(), good); err != nil {
		t.Error(err)
	}
	s.Delay(time.Minute)
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	if err := clone(ctx, good); err == nil {
		t.Error("the answer is to be late, and is not")
	}
}

func TestSSH(t *testing.T) {
	t.Parallel()
	repo := NewRepo(t)
	head := repo.Commit(t, Commit{Files: map[string]string{"a": "1"}})
	s := ServeSSH(t, repo)
	attempt := func(keyFile, command string) (string, error) {
		pem, err := os.ReadFile(keyFile)
		if err != nil {
			t.Fatal(err)
		}
		key, err := ssh.ParsePrivateKey(pem)
		if err != nil {
			t.Fatal(err)
		}
		check, err := knownhosts.New(s.KnownHosts)
		if err != nil {
			t.Fatal(err)
		}
		address := strings.TrimPrefix(strings.TrimSuffix(s.URL, repo.Dir), "ssh://git@")
		client, err := ssh.Dial("tcp", address, &ssh.ClientConfig{User: "git", Auth: []ssh.AuthMethod{ssh.PublicKeys(key)}, HostKeyCallback: check})
		if err != nil {
			return "", err
		}
		defer client.Close()
		session, err := client.NewSession()
		if err != nil {
			return "", err
		}
		session.Stdin = strings.NewReader("0000")
		out, err := session.Output(command)
		return string(out), err
	}
	upload := "git-upload-pack '" + repo.Dir + "'"
	if out, err := attempt(s.KeyFile, upload); err != nil || !strings.Contains(out, head+" refs/heads/main") {
		t.Errorf("upload-pack says %q, %v", out, err)
	}
	if s.Count(ListRefs) != 1 || s.Count(Fetch) != 0 {
		t.Errorf("%d looks at refs, %d fetches", s.Count(ListRefs), s.Count(Fetch))
	}
	if _, err := attempt(s.OtherKey(t), upload); err == nil || s.Count(Denied) != 1 {
		t.Errorf("with another key: %v", err)
	}
	for _, command := range []string{"sh", "git-upload-pack '" + filepath.Dir(repo.Dir) + "'", "git-upload-archive '" + repo.Dir + "'"} {
		if _, err := attempt(s.KeyFile, command); err == nil {
			t.Errorf("%s was run", command)
		}
	}
	s.ChangeHostKey(t)
	if _, err := attempt(s.KeyFile, upload); err == nil {
		t.Error("the host key changed, and known_hosts did not")
	}
	s.WriteKnownHosts(t)
	s.Down()
	if _, err := attempt(s.KeyFile, upload); err == nil {
		t.Error("the server is down, and answers")
	}
	s.Up(t)
	if _, err := attempt(s.KeyFile, upload); err != nil {
		t.Error(err)
	}
}

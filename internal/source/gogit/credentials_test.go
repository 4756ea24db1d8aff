package gogit_test

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"
	"pgregory.net/rapid"

	"chaperone.dev/chaperone/internal/source"
	"chaperone.dev/chaperone/internal/source/gogit"
	"chaperone.dev/chaperone/internal/testkit/gitserver"
)

func TestPasswordFile(t *testing.T) {
	t.Parallel()
	repo := gitserver.NewRepo(t)
	first := source.Revision(repo.Commit(t, one("a", "1")))
	const password = "correct horse " + canary
	server := gitserver.ServeHTTP(t, repo, password)
	file := filepath.Join(t.TempDir(), "password")
	s := &site{Repo: repo, options: gogit.Options{URL: server.URL, Branch: "main", CacheDir: t.TempDir(),
		Credentials: gogit.Credentials{PasswordFile: file, Username: "robot"}}}
	r := s.open(t)
	for content, want := range map[string]string{
		"\n": "password file " + file + " is empty", canary + "\n" + canary: "holds more than one line", "wrong " + canary: "it does not accept the token for user",
	} {
		write(t, file, content)
		if _, err := r.Poll(t.Context()); !errors.Is(err, source.ErrUnavailable) || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), canary) {
			t.Errorf("%q: got %v, want %s", content, err, want)
		}
	}
	write(t, file, password+"\n")
	if head := poll(t, r); head.Revision != first {
		t.Errorf("got %s", head.Revision)
	}
}

// rotating gives one token after the other.
type rotating struct {
	tokens []string
	err    error
}

func (r *rotating) Token(context.Context) (string, error) { return r.tokens[0], r.err }
func (r *rotating) Forget(token string) {
	if r.tokens[0] == token && len(r.tokens) > 1 {
		r.tokens = r.tokens[1:]
	}
}

// A token that is not accepted any more is asked for anew at the next look.
func TestTokensThatDoNotLast(t *testing.T) {
	t.Parallel()
	repo := gitserver.NewRepo(t)
	first := source.Revision(repo.Commit(t, one("a", "1")))
	server := gitserver.ServeHTTP(t, repo, canary+"-1")
	tokens := &rotating{tokens: []string{canary + "-1", canary + "-2"}}
	s := &site{Repo: repo, options: gogit.Options{URL: server.URL, Branch: "main", CacheDir: t.TempDir(), Credentials: gogit.Credentials{Tokens: tokens}}}
	r := s.open(t)
	poll(t, r)
	server.SetToken(canary + "-2")
	if _, err := r.Poll(t.Context()); !errors.Is(err, source.ErrUnavailable) || strings.Contains(err.Error(), canary) {
		t.Errorf("got %v", err)
	}
	if head := poll(t, r); head.Revision != first {
		t.Errorf("got %s", head.Revision)
	}
	tokens.err = errors.New("nobody answers")
	if _, err := r.Poll(t.Context()); !errors.Is(err, source.ErrUnavailable) || !strings.Contains(err.Error(), "nobody answers") {
		t.Errorf("got %v", err)
	}
}

func TestLockedSSHKey(t *testing.T) {
	t.Parallel()
	repo := gitserver.NewRepo(t)
	repo.Commit(t, one("a", "1"))
	server := gitserver.ServeSSH(t, repo)
	dir := t.TempDir()
	content, err := os.ReadFile(server.KeyFile)
	if err != nil {
		t.Fatal(err)
	}
	key, err := ssh.ParseRawPrivateKey(content)
	if err != nil {
		t.Fatal(err)
	}
	block, err := ssh.MarshalPrivateKeyWithPassphrase(key, "", []byte(canary+" right"))
	if err != nil {
		t.Fatal(err)
	}
	locked, passphrase := place(t, dir, "locked", string(pem.EncodeToMemory(block))), filepath.Join(dir, "passphrase")
	s := &site{Repo: repo, options: gogit.Options{URL: server.URL, Branch: "main", CacheDir: t.TempDir(), Timeout: 20 * time.Second,
		Credentials: gogit.Credentials{SSHKeyFile: locked, KnownHostsFile: server.KnownHosts}}}
	attempt := func(with, want string) {
		t.Helper()
		options := s.options
		options.CacheDir, options.Credentials.SSHPassphraseFile = t.TempDir(), with
		r := (&site{options: options}).open(t)
		_, err := r.Poll(t.Context())
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), canary)) {
			t.Errorf("got %v, want %s", err, want)
		}
	}
	attempt("", "locked: the key is locked with a passphrase, which is not given")
	attempt(passphrase, "passphrase file: open ")
	write(t, passphrase, canary+" wrong")
	attempt(passphrase, "locked: the key is locked, and not with this passphrase")
	write(t, passphrase, canary+" right\n")
	attempt(passphrase, "")
}

// Who compares keys sees both: the one that was known, and the one that came.
func TestAnotherHostKey(t *testing.T) {
	t.Parallel()
	repo := gitserver.NewRepo(t)
	repo.Commit(t, one("a", "1"))
	server, other := gitserver.ServeSSH(t, repo), gitserver.ServeSSH(t, repo)
	known := func(file string) (host, fingerprint string) {
		content, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		_, hosts, key, _, _, err := ssh.ParseKnownHosts(content)
		if err != nil {
			t.Fatal(err)
		}
		return hosts[0], ssh.FingerprintSHA256(key)
	}
	host, came := known(server.KnownHosts)
	_, expected := known(other.KnownHosts)
	content, err := os.ReadFile(other.KnownHosts)
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(content), " ")
	file := place(t, t.TempDir(), "known_hosts", host+" "+rest)
	r := (&site{options: gogit.Options{URL: server.URL, Branch: "main", CacheDir: t.TempDir(),
		Credentials: gogit.Credentials{SSHKeyFile: server.KeyFile, KnownHostsFile: file}}}).open(t)
	_, err = r.Poll(t.Context())
	want := fmt.Sprintf("is not ssh-ed25519 %s (line 1), as %s has it, but ssh-ed25519 %s: somebody may be in between", expected, file, came)
	if err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("got %v\nwant %s", err, want)
	}
}

// Whatever the secret, and whatever the server makes of it: no error has it.
func TestPitfall41_NoSecretInAnyError(t *testing.T) {
	t.Parallel()
	var answer func(http.ResponseWriter, string, string)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		user, password, _ := r.BasicAuth()
		answer(w, user, password)
	}))
	defer server.Close()
	dir := t.TempDir()
	rapid.Check(t, func(rt *rapid.T) {
		noise := make([]byte, 12)
		if _, err := rand.Read(noise); err != nil {
			rt.Fatal(err)
		}
		core := base64.RawURLEncoding.EncodeToString(noise)
		kind := rapid.SampledFrom([]string{"token", "password", "tokens"}).Draw(rt, "kind")
		password := core + rapid.SampledFrom([]string{"", "/+=", "ü", "%41", "&<>", "'\"", "\\x"}).Draw(rt, "tail")
		if kind == "password" {
			password = "a b " + password
		}
		credentials := gogit.Credentials{Username: rapid.SampledFrom([]string{"", "robot", "a:b"}).Draw(rt, "user")}
		file := place(t, dir, "secret", password)
		switch kind {
		case "token":
			credentials.TokenFile = file
		case "password":
			credentials.PasswordFile = file
		default:
			credentials.Tokens = &rotating{tokens: []string{password}}
		}
		status := rapid.SampledFrom([]int{200, 302, 400, 401, 403, 404, 429, 500, 503}).Draw(rt, "status")
		form := rapid.IntRange(0, 5).Draw(rt, "form")
		mime := rapid.SampledFrom([]string{"text/plain", "text/html", "application/x-git-upload-pack-advertisement"}).Draw(rt, "type")
		inProtocol := rapid.Bool().Draw(rt, "in the protocol")
		answer = func(w http.ResponseWriter, user, password string) {
			pair := user + ":" + password
			said := []string{password, url.QueryEscape(password), url.PathEscape(password), pair,
				base64.StdEncoding.EncodeToString([]byte(pair)), base64.URLEncoding.EncodeToString([]byte(pair))}[form]
			w.Header().Set("Content-Type", mime)
			if status == 302 {
				w.Header().Set("Location", "http://127.0.0.1:1/"+url.PathEscape(said))
			}
			w.WriteHeader(status)
			text := "go away, " + said + "\n"
			if inProtocol {
				text = "ERR " + text
				text = "001e# service=git-upload-pack\n0000" + hex4(len(text)+4) + text
			}
			_, _ = w.Write([]byte(text))
		}
		r, err := gogit.Open(t.Context(), gogit.Options{URL: server.URL + "/a.git", Branch: "main", CacheDir: t.TempDir(), Credentials: credentials, Timeout: 10 * time.Second})
		if err != nil {
			rt.Fatal(err)
		}
		defer r.Close()
		_, err = r.Poll(t.Context())
		if err == nil {
			rt.Fatal("want an error")
		}
		encoded := base64.StdEncoding.EncodeToString([]byte(credentials.Username + ":" + password))
		for _, secret := range []string{core, url.QueryEscape(core), encoded[max(0, len(encoded)-20):]} {
			if strings.Contains(err.Error(), secret) {
				rt.Fatalf("%v holds the secret", err)
			}
		}
	})
}

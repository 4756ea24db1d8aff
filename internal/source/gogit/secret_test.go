package gogit_test

import (
	"encoding/base64"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
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

// TestPitfall41_URLsWithCredentials: tokens in Git URLs end in error messages
// and process lists. Such a URL is refused, without being repeated.
func TestPitfall41_URLsWithCredentials(t *testing.T) {
	t.Parallel()
	for _, url := range []string{
		"https://user:" + canary + "@git.example.org/a.git",
		"https://" + canary + "@git.example.org/a.git",
		"https://:" + canary + "@git.example.org/a.git",
		"https://git.example.org/a.git?access_token=" + canary,
		"https://git.example.org/a.git#" + canary,
		"http://x:" + canary + "@127.0.0.1:1/a",
		"ssh://git:" + canary + "@git.example.org/a.git",
		"git:" + canary + "@git.example.org:a.git",
		"https://user:" + canary + "%zz@git.example.org/a.git",
		"https://user:" + canary + "@git example.org:port/a.git",
		"file://user:" + canary + "@/srv/a.git",
		"ftp://user:" + canary + "@git.example.org/a.git",
	} {
		r, err := gogit.Open(t.Context(), gogit.Options{URL: url, Branch: "main", CacheDir: t.TempDir(),
			Credentials: gogit.Credentials{SSHKeyFile: "k", KnownHostsFile: "h"}})
		if err == nil {
			r.Close()
			t.Errorf("%s is accepted", url)
			continue
		}
		if strings.Contains(err.Error(), canary) || !fault.IsTerminal(err) {
			t.Errorf("%s: terminal %v, %v", url, fault.IsTerminal(err), err)
		}
	}
}

// TestPitfall41_TokensInErrors: whatever a server sends back, and it may well
// be what we sent, no error holds the token in any form.
func TestPitfall41_TokensInErrors(t *testing.T) {
	t.Parallel()
	token := canary + "/+ü"
	pair := base64.StdEncoding.EncodeToString([]byte("x-access-token:" + token))
	forms := []string{canary, url.QueryEscape(token), pair}
	echo := func(w http.ResponseWriter, r *http.Request) string {
		_, password, _ := r.BasicAuth()
		return r.Header.Get("Authorization") + " " + password + " " + url.QueryEscape(password) + " " + url.PathEscape(password)
	}
	file := filepath.Join(t.TempDir(), "token")
	write(t, file, token)
	for name, answer := range map[string]http.HandlerFunc{
		"401 that echoes": func(w http.ResponseWriter, r *http.Request) { http.Error(w, echo(w, r), http.StatusUnauthorized) },
		"403 that echoes": func(w http.ResponseWriter, r *http.Request) { http.Error(w, echo(w, r), http.StatusForbidden) },
		"500 that echoes": func(w http.ResponseWriter, r *http.Request) {
			http.Error(w, echo(w, r), http.StatusInternalServerError)
		},
		"refusal in the protocol": func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "application/x-git-upload-pack-advertisement")
			text := "ERR " + echo(w, r)
			_, _ = w.Write([]byte("001e# service=git-upload-pack\n0000" + hex4(len(text)+4) + text))
		},
		"redirect elsewhere": func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "http://"+canary+".example.invalid/"+url.PathEscape(echo(w, r)), http.StatusFound)
		},
		"a page": func(w http.ResponseWriter, r *http.Request) { _, _ = w.Write([]byte(echo(w, r))) },
		"a connection cut off": func(http.ResponseWriter, *http.Request) {
			panic(http.ErrAbortHandler)
		},
	} {
		server := httptest.NewServer(answer)
		r, err := gogit.Open(t.Context(), gogit.Options{URL: server.URL + "/a.git", Branch: "main", CacheDir: t.TempDir(),
			Credentials: gogit.Credentials{TokenFile: file}, Timeout: 10 * time.Second})
		if err != nil {
			t.Fatal(err)
		}
		_, err = r.Poll(t.Context())
		if !errors.Is(err, source.ErrUnavailable) {
			t.Errorf("%s: %v, want it to be unavailable", name, err)
		}
		for _, form := range forms {
			if err != nil && strings.Contains(err.Error(), form) {
				t.Errorf("%s: %v holds the token as %q", name, err, form)
			}
		}
		r.Close()
		server.Close()
	}
}

func hex4(n int) string {
	const digits = "0123456789abcdef"
	return string([]byte{digits[n>>12&15], digits[n>>8&15], digits[n>>4&15], digits[n&15]})
}

func TestTokenRotation(t *testing.T) {
	t.Parallel()
	repo := gitserver.NewRepo(t)
	first := source.Revision(repo.Commit(t, one("a", "1")))
	server := gitserver.ServeHTTP(t, repo, canary)
	token := filepath.Join(t.TempDir(), "token")
	s := &site{Repo: repo, options: gogit.Options{URL: server.URL, Branch: "main", CacheDir: t.TempDir(),
		Credentials: gogit.Credentials{TokenFile: token, Username: "robot"}}}
	r := s.open(t)
	refused := func(want string) {
		t.Helper()
		_, err := r.Poll(t.Context())
		if !errors.Is(err, source.ErrUnavailable) || fault.IsTerminal(err) || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), canary) {
			t.Errorf("poll: %v, want %q", err, want)
		}
	}
	refused("token file: open " + token)
	write(t, token, " \n")
	refused("is empty")
	write(t, token, "two words")
	refused("more than one word")
	write(t, token, "wrong")
	refused(`401 Unauthorized: it does not accept the token for user "robot"`)
	write(t, token, canary)
	if head := poll(t, r); head.Revision != first {
		t.Errorf("poll with the right token = %+v", head)
	}
	server.SetToken(canary + "-2")
	refused("401")
	if r.Head() != first {
		t.Errorf("Head = %s, want it to stay", r.Head())
	}
	// As Kubernetes swaps a mounted Secret.
	next := token + ".next"
	write(t, next, canary+"-2")
	if err := os.Rename(next, token); err != nil {
		t.Fatal(err)
	}
	if head := poll(t, r); head.Revision != first {
		t.Errorf("poll with the new token = %+v", head)
	}
	server.SetToken("")
	if got := server.Count(gitserver.Denied); got != 2 {
		t.Errorf("%d requests were denied, want 2", got)
	}
}

func TestNoToken(t *testing.T) {
	t.Parallel()
	repo := gitserver.NewRepo(t)
	repo.Commit(t, one("a", "1"))
	server := gitserver.ServeHTTP(t, repo, canary)
	s := &site{Repo: repo, options: gogit.Options{URL: server.URL, Branch: "main", CacheDir: t.TempDir()}}
	if _, err := s.open(t).Poll(t.Context()); !errors.Is(err, source.ErrUnavailable) || !strings.Contains(err.Error(), "no token file is given") {
		t.Errorf("poll: %v", err)
	}
	s.options.URL, s.options.CacheDir = strings.Replace(server.URL, "source.git", "other.git", 1), t.TempDir()
	server.SetToken("")
	if _, err := s.open(t).Poll(t.Context()); !errors.Is(err, source.ErrUnavailable) || !strings.Contains(err.Error(), "404 Not Found: there is no such repository") {
		t.Errorf("poll of another repository: %v", err)
	}
}

func TestSSHTrustsOnlyWhatItKnows(t *testing.T) {
	t.Parallel()
	repo := gitserver.NewRepo(t)
	repo.Commit(t, one("a", "1"))
	server := gitserver.ServeSSH(t, repo)
	dir := t.TempDir()
	write(t, filepath.Join(dir, "empty"), "")
	write(t, filepath.Join(dir, "no-key"), "not a key "+canary)
	good := gogit.Credentials{SSHKeyFile: server.KeyFile, KnownHostsFile: server.KnownHosts}
	attempt := func(c gogit.Credentials) error {
		r, err := gogit.Open(t.Context(), gogit.Options{URL: server.URL, Branch: "main", CacheDir: t.TempDir(), Credentials: c, Timeout: 20 * time.Second})
		if err != nil {
			return err
		}
		defer r.Close()
		_, err = r.Poll(t.Context())
		return err
	}
	if err := attempt(good); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		name        string
		credentials gogit.Credentials
		want        string
		terminal    bool
	}{
		{"no known_hosts", gogit.Credentials{SSHKeyFile: good.SSHKeyFile}, "it is never taken on trust", true},
		{"no key", gogit.Credentials{KnownHostsFile: good.KnownHostsFile}, "SSH needs a key file and a known_hosts file", true},
		{"known_hosts is not there", gogit.Credentials{SSHKeyFile: good.SSHKeyFile, KnownHostsFile: filepath.Join(dir, "absent")}, "known_hosts file: ", false},
		{"unknown host", gogit.Credentials{SSHKeyFile: good.SSHKeyFile, KnownHostsFile: filepath.Join(dir, "empty")}, "is not in " + filepath.Join(dir, "empty") + ": compare ssh-ed25519 SHA256:", false},
		{"key is not there", gogit.Credentials{SSHKeyFile: filepath.Join(dir, "absent"), KnownHostsFile: good.KnownHostsFile}, "ssh key file: open ", false},
		{"key is none", gogit.Credentials{SSHKeyFile: filepath.Join(dir, "no-key"), KnownHostsFile: good.KnownHostsFile}, "does not hold a private key", false},
		{"key is not accepted", gogit.Credentials{SSHKeyFile: server.OtherKey(t), KnownHostsFile: good.KnownHostsFile}, "does not accept the key in ", false},
	} {
		err := attempt(test.credentials)
		if err == nil || !strings.Contains(err.Error(), test.want) || strings.Contains(err.Error(), canary) {
			t.Errorf("%s: %v, want %q", test.name, err, test.want)
		}
		if fault.IsTerminal(err) != test.terminal || !test.terminal && !errors.Is(err, source.ErrUnavailable) {
			t.Errorf("%s: terminal %v, %v", test.name, fault.IsTerminal(err), err)
		}
	}
	server.ChangeHostKey(t)
	if err := attempt(good); err == nil || !strings.Contains(err.Error(), "somebody may be in between") {
		t.Errorf("a changed host key: %v", err)
	}
	server.WriteKnownHosts(t)
	if err := attempt(good); err != nil {
		t.Errorf("after known_hosts was brought up to date: %v", err)
	}
}

func TestRedirects(t *testing.T) {
	t.Parallel()
	repo := gitserver.NewRepo(t)
	first := source.Revision(repo.Commit(t, one("a", "1")))
	token := filepath.Join(t.TempDir(), "token")
	write(t, token, canary)
	backend := gitserver.ServeHTTP(t, repo, canary)
	leaked := false
	stranger := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		leaked = leaked || r.Header.Get("Authorization") != ""
		http.NotFound(w, r)
	}))
	t.Cleanup(stranger.Close)
	target, err := url.Parse(backend.URL)
	if err != nil {
		t.Fatal(err)
	}
	front := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case strings.HasPrefix(r.URL.Path, "/renamed/"):
			http.Redirect(w, r, "/source.git/"+strings.TrimPrefix(r.URL.Path, "/renamed/")+"?"+r.URL.RawQuery, http.StatusMovedPermanently)
		case strings.HasPrefix(r.URL.Path, "/away/"):
			http.Redirect(w, r, stranger.URL+r.URL.Path, http.StatusMovedPermanently)
		default:
			proxy(w, r, target)
		}
	}))
	t.Cleanup(front.Close)
	attempt := func(path string) (gogit.Head, error) {
		s := &site{options: gogit.Options{URL: front.URL + path, Branch: "main", CacheDir: t.TempDir(), Credentials: gogit.Credentials{TokenFile: token}}}
		return s.open(t).Poll(t.Context())
	}
	if head, err := attempt("/renamed"); err != nil || head.Revision != first {
		t.Errorf("a renamed repository: %+v, %v", head, err)
	}
	if _, err := attempt("/away"); err == nil || !strings.Contains(err.Error(), "redirected to another host") || leaked {
		t.Errorf("a redirect to another host: %v, token leaked: %v", err, leaked)
	}
}

func proxy(w http.ResponseWriter, r *http.Request, target *url.URL) {
	forward := r.Clone(r.Context())
	forward.RequestURI, forward.URL.Scheme, forward.URL.Host, forward.Host = "", target.Scheme, target.Host, target.Host
	response, err := http.DefaultTransport.RoundTrip(forward)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadGateway)
		return
	}
	defer response.Body.Close()
	w.Header().Set("Content-Type", response.Header.Get("Content-Type"))
	w.WriteHeader(response.StatusCode)
	_, _ = io.Copy(w, response.Body)
}

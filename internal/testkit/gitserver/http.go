package gitserver

import (
	"bytes"
	"crypto/subtle"
	"io"
	"net"
	"net/http"
	"net/http/cgi"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// HTTP serves one repository over smart HTTP, to those who know the token as
// the password of basic authentication, whatever their user name.
type HTTP struct {
	Controls
	URL string

	mu     sync.Mutex
	token  string
	status int // answer pushes with it
	old    bool
	server *http.Server
}

// ServeHTTP starts a server that stops with the test.
func ServeHTTP(t testing.TB, repo *Repo, token string) *HTTP {
	t.Helper()
	s := &HTTP{token: token}
	handler := s.handler(t, repo)
	s.listen = func(listener net.Listener) {
		server := &http.Server{Handler: handler}
		s.mu.Lock()
		s.server = server
		s.mu.Unlock()
		go func() { _ = server.Serve(listener) }()
	}
	s.stop = func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		_ = s.server.Close()
	}
	s.Up(t)
	t.Cleanup(s.Down)
	s.URL = "http://" + s.address + "/" + filepath.Base(repo.Dir)
	return s
}

// SetToken changes the token; the old one is refused from now on.
func (s *HTTP) SetToken(token string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.token = token
}

// AnswerPushes makes the server answer pushes with an HTTP status and nothing
// else, as a forge does to those who may only read; 0 ends it.
func (s *HTTP) AnswerPushes(status int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.status = status
}

// SpeakVersion0 has it understand Git's first protocol alone from now on.
func (s *HTTP) SpeakVersion0() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.old = true
}

func (s *HTTP) handler(t testing.TB, repo *Repo) http.Handler {
	t.Helper()
	backend := &cgi.Handler{
		Path: filepath.Join(execPath(t), "git-http-backend"),
		Dir:  repo.Dir,
		Env: append(environment(), "GIT_PROJECT_ROOT="+filepath.Dir(repo.Dir), "GIT_HTTP_EXPORT_ALL=1",
			"REMOTE_USER=somebody"), // which lets them push
		Stderr: io.Discard,
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.wait(r.Context())
		if !s.knows(r) {
			s.count(Denied)
			w.Header().Set("WWW-Authenticate", `Basic realm="git"`)
			http.Error(w, "who are you, "+r.Header.Get("Authorization"), http.StatusUnauthorized)
			return
		}
		s.serve(w, r, backend)
	})
}

func (s *HTTP) knows(r *http.Request) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, password, _ := r.BasicAuth()
	return s.token == "" || subtle.ConstantTimeCompare([]byte(password), []byte(s.token)) == 1
}

func (s *HTTP) serve(w http.ResponseWriter, r *http.Request, backend http.Handler) {
	pushing := strings.Contains(r.URL.String(), "git-receive-pack")
	s.mu.Lock()
	status := s.status
	if s.old {
		r.Header.Del("Git-Protocol")
	}
	s.mu.Unlock()
	if pushing && status != 0 {
		http.Error(w, "you may not push", status)
		return
	}
	if r.Method == http.MethodPost {
		// The backend wants to know how much there is before it begins.
		body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
		if err != nil {
			http.Error(w, err.Error(), http.StatusRequestEntityTooLarge)
			return
		}
		r.Body, r.ContentLength, r.TransferEncoding = io.NopCloser(bytes.NewReader(body)), int64(len(body)), nil
		if bytes.Contains(body[:min(len(body), 64)], []byte("command=ls-refs")) {
			s.count(ListRefs)
			backend.ServeHTTP(w, r)
			return
		}
	}
	switch {
	case r.Method == http.MethodGet && r.Header.Get("Git-Protocol") == "version=2": // the refs are asked for next
	case r.Method == http.MethodGet && !pushing:
		s.count(ListRefs)
	case strings.HasSuffix(r.URL.Path, "/git-upload-pack"):
		s.count(Fetch)
	case strings.HasSuffix(r.URL.Path, "/git-receive-pack"):
		s.count(Push)
		if s.take(&s.failPush) {
			panic(http.ErrAbortHandler)
		}
		if s.take(&s.lose) {
			backend.ServeHTTP(&unheard{}, r)
			panic(http.ErrAbortHandler)
		}
	}
	backend.ServeHTTP(w, r)
}

// maxBody bounds what a client may send.
const maxBody = 64 << 20

// unheard takes an answer that nobody gets.
type unheard struct{ bytes.Buffer }

func (*unheard) Header() http.Header { return http.Header{} }
func (*unheard) WriteHeader(int)     {}

func execPath(t testing.TB) string {
	t.Helper()
	out, err := exec.Command("git", "--exec-path").Output()
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(out))
}

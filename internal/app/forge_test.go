package app

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"chaperone.dev/chaperone/internal/config"
	"chaperone.dev/chaperone/internal/forge"
)

func TestOpenForge(t *testing.T) {
	t.Parallel()
	for _, kind := range []string{config.KindGitHub, config.KindGitLab, config.KindGitea} {
		made, err := openForge(config.Forge{Kind: kind, URL: "https://git.example.org", Repository: "shop/deploy", TokenFile: "/none"}, config.GitHubApp{})
		if err != nil || made == nil {
			t.Errorf("%s: %v, %v", kind, made, err)
		}
		made, err = openForge(config.Forge{Kind: kind, URL: "https://git.example.org", Repository: "deploy", TokenFile: "/none"}, config.GitHubApp{})
		if err == nil || made != nil {
			t.Errorf("%s: of no owner: %v, %v", kind, made, err)
		}
	}
	if made, err := openForge(config.Forge{}, config.GitHubApp{}); made != nil || err != nil {
		t.Errorf("none: %v, %v", made, err)
	}
}

// hub answers as a GitHub whose App's tokens are numbered.
type hub struct {
	t       *testing.T
	given   int    // tokens
	counts  string // the one that does
	refuses bool   // to give tokens
	edited  int    // comments
}

func (h *hub) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	signed := strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")
	say := func(status int, what any) {
		w.WriteHeader(status)
		_ = json.NewEncoder(w).Encode(what)
	}
	switch place := r.Method + " " + strings.TrimPrefix(r.URL.Path, "/api/v3"); {
	case place == "POST /app/installations/2/access_tokens" && h.refuses:
		say(http.StatusNotFound, map[string]string{"message": "Not Found"})
	case place == "POST /app/installations/2/access_tokens":
		h.given++
		h.counts = fmt.Sprintf("token-%d", h.given)
		say(http.StatusCreated, map[string]any{"token": h.counts, "expires_at": time.Now().Add(time.Hour)})
	case place == "GET /app":
		say(http.StatusOK, map[string]string{"slug": "chaperone"})
	case signed != h.counts:
		say(http.StatusUnauthorized, map[string]string{"message": "Bad credentials"})
	case place == "GET /repos/shop/deploy/pulls":
		say(http.StatusOK, []any{})
	case place == "GET /repos/shop/deploy/issues/1/comments":
		say(http.StatusOK, []any{
			map[string]any{"id": 6, "user": map[string]string{"login": "chaperone"}, "body": "<!-- chaperone: preview -->\nanother's"},
			map[string]any{"id": 7, "user": map[string]string{"login": "chaperone[bot]"}, "body": "<!-- chaperone: preview -->\nold"},
		})
	case place == "PATCH /repos/shop/deploy/issues/comments/7":
		h.edited++
		say(http.StatusOK, map[string]any{"id": 7})
	default:
		h.t.Errorf("asked for %s", place)
		w.WriteHeader(http.StatusTeapot)
	}
}

// A GitHub App's tokens are asked for by need, and anew where one is taken back;
// what the App wrote is known as the daemon's own.
func TestForgeByAnApp(t *testing.T) {
	t.Parallel()
	github := &hub{t: t}
	server := httptest.NewServer(github)
	defer server.Close()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "key.pem")
	if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)}), 0o600); err != nil {
		t.Fatal(err)
	}
	settings := config.Forge{Kind: config.KindGitHub, URL: server.URL, Repository: "shop/deploy"}
	app := config.GitHubApp{ID: "1", Installation: "2", KeyFile: file, API: server.URL + "/api/v3"}
	made, err := openForge(settings, app)
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := made.OpenPullRequests(t.Context(), "main"); err != nil || github.given != 1 {
		t.Errorf("%v after %d tokens", err, github.given)
	}
	github.counts = "" // taken back
	if _, _, err := made.OpenPullRequests(t.Context(), "main"); !errors.Is(err, forge.ErrUnauthorised) {
		t.Errorf("with one that was taken back: %v", err)
	}
	if _, _, err := made.OpenPullRequests(t.Context(), "main"); err != nil || github.given != 2 {
		t.Errorf("the next time: %v after %d tokens", err, github.given)
	}
	if err := made.Comment(t.Context(), 1, "preview", "new"); err != nil || github.edited != 1 {
		t.Errorf("its own comment: %v, edited %d times", err, github.edited)
	}
	github.counts, github.refuses = "", true
	_, _, _ = made.OpenPullRequests(t.Context(), "main") // finds out
	if _, _, err := made.OpenPullRequests(t.Context(), "main"); !errors.Is(err, forge.ErrUnauthorised) || !strings.Contains(err.Error(), "no such installation") {
		t.Errorf("without an installation: %v", err)
	}
	app.API = "https://api.github.com"
	if _, err := openForge(settings, app); err == nil || !strings.Contains(err.Error(), "another GitHub") {
		t.Errorf("tokens of another GitHub: %v", err)
	}
}

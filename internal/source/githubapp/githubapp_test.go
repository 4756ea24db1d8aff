package githubapp

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
	"sync/atomic"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

const canary = "ghs_canary5b1e9d2c"

func newKey(t *testing.T) (*rsa.PrivateKey, []byte) {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	return key, pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)})
}

func write(t *testing.T, name string, content []byte) {
	t.Helper()
	if err := os.WriteFile(name, content, 0o600); err != nil {
		t.Fatal(err)
	}
}

// The shape is that of "Create an installation access token for an app" in
// GitHub's documentation of its REST API.
func TestTokensAreKeptUntilShortlyBeforeTheirEnd(t *testing.T) {
	t.Parallel()
	first, firstPEM := newKey(t)
	second, secondPEM := newKey(t)
	file := filepath.Join(t.TempDir(), "key.pem")
	write(t, file, firstPEM)
	now := time.Now()
	accepted, asked := &first.PublicKey, 0
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked++
		var claims jwt.RegisteredClaims
		_, err := jwt.ParseWithClaims(strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer "), &claims,
			func(*jwt.Token) (any, error) { return accepted, nil }, jwt.WithValidMethods([]string{"RS256"}), jwt.WithTimeFunc(func() time.Time { return now }))
		lasts := time.Duration(0)
		if err == nil {
			lasts = claims.ExpiresAt.Sub(claims.IssuedAt.Time)
		}
		if err != nil || claims.Issuer != "12345" || lasts > 10*time.Minute {
			w.WriteHeader(http.StatusUnauthorized)
			_, _ = w.Write([]byte(`{"message":"A JSON web token could not be decoded","documentation_url":"https://docs.github.com/rest"}`))
			return
		}
		if r.Method != http.MethodPost || r.URL.Path != "/api/v3/app/installations/678/access_tokens" || r.Header.Get("Accept") != "application/vnd.github+json" {
			w.WriteHeader(http.StatusNotFound)
			return
		}
		w.WriteHeader(http.StatusCreated)
		_ = json.NewEncoder(w).Encode(map[string]any{
			"token": fmt.Sprintf("%s-%d", canary, asked), "expires_at": now.Add(time.Hour).UTC().Format(time.RFC3339),
			"permissions": map[string]string{"contents": "write"}, "repository_selection": "selected",
		})
	}))
	defer server.Close()
	tokens, err := New(Options{API: server.URL + "/api/v3/", App: "12345", Installation: "678", KeyFile: file, Now: func() time.Time { return now }})
	if err != nil {
		t.Fatal(err)
	}
	expect := func(want string) {
		t.Helper()
		if got, err := tokens.Token(t.Context()); err != nil || got != canary+want {
			t.Fatalf("got %s, %v, want %s", got, err, want)
		}
	}
	expect("-1")
	expect("-1")
	now = now.Add(54 * time.Minute)
	expect("-1")
	now = now.Add(2 * time.Minute)
	expect("-2")
	now = now.Add(-24 * time.Hour) // a clock that ran ahead was set back
	expect("-3")
	write(t, file, secondPEM)
	accepted = &second.PublicKey
	expect("-4")
	tokens.Forget(canary + "-3") // another one's
	expect("-4")
	tokens.Forget(canary + "-4")
	expect("-5")
	accepted = &first.PublicKey
	tokens.Forget(canary + "-5")
	if _, err := tokens.Token(t.Context()); err == nil || !strings.Contains(err.Error(), "401 Unauthorized: it does not accept the App's key, or the clocks differ: A JSON web token could not be decoded") {
		t.Errorf("got %v", err)
	}
}

// The shape is that of "Get the authenticated app".
func TestAccountIsTheApps(t *testing.T) {
	t.Parallel()
	key, content := newKey(t)
	file := filepath.Join(t.TempDir(), "key.pem")
	write(t, file, content)
	status, said := http.StatusOK, `{"id":12345,"slug":"chaperone-shop","name":"Chaperone of the shop","owner":{"login":"shop"}}`
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, err := jwt.Parse(strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer "), func(*jwt.Token) (any, error) { return &key.PublicKey, nil })
		if err != nil || r.Method != http.MethodGet || r.URL.Path != "/app" {
			t.Errorf("%s %s: %v", r.Method, r.URL.Path, err)
		}
		w.WriteHeader(status)
		_, _ = w.Write([]byte(said))
	}))
	defer server.Close()
	tokens, err := New(Options{API: server.URL, App: "12345", Installation: "678", KeyFile: file})
	if err != nil {
		t.Fatal(err)
	}
	if name, err := tokens.Account(t.Context()); err != nil || name != "chaperone-shop[bot]" {
		t.Errorf("%q, %v", name, err)
	}
	for _, other := range []struct {
		status  int
		said    string
		refused bool
	}{{http.StatusOK, `{"slug":"two words"}`, false}, {http.StatusOK, "<html>", false}, {http.StatusUnauthorized, `{"message":"no"}`, true}, {http.StatusBadGateway, "", false}} {
		status, said = other.status, other.said
		if name, err := tokens.Account(t.Context()); err == nil || name != "" || errors.Is(err, ErrRefused) != other.refused {
			t.Errorf("%d %s: %q, %v", status, said, name, err)
		}
	}
	write(t, file, []byte("none"))
	if _, err := tokens.Account(t.Context()); !errors.Is(err, ErrRefused) {
		t.Errorf("without a key: %v", err)
	}
}

// Whatever the server says, and be it what it was told, no error has a secret.
func TestPitfall41_NoSecretsInErrors(t *testing.T) {
	t.Parallel()
	_, key := newKey(t)
	file := filepath.Join(t.TempDir(), "key.pem")
	write(t, file, key)
	var statement atomic.Value
	for name, handler := range map[string]http.HandlerFunc{
		"echoes": func(w http.ResponseWriter, r *http.Request) {
			w.WriteHeader(http.StatusForbidden)
			_ = json.NewEncoder(w).Encode(map[string]string{"message": "you said " + r.Header.Get("Authorization"), "token": canary})
		},
		"a token with the refusal": func(w http.ResponseWriter, r *http.Request) {
			w.WriteHeader(http.StatusUnprocessableEntity)
			_ = json.NewEncoder(w).Encode(map[string]string{"message": "take " + canary, "token": canary})
		},
		"no json": func(w http.ResponseWriter, r *http.Request) {
			w.WriteHeader(http.StatusCreated)
			_, _ = w.Write([]byte(canary))
		},
		"no end": func(w http.ResponseWriter, r *http.Request) {
			w.WriteHeader(http.StatusCreated)
			_, _ = w.Write([]byte(`{"token":"` + canary + `"}`))
		},
		"two words": func(w http.ResponseWriter, r *http.Request) {
			w.WriteHeader(http.StatusCreated)
			_, _ = w.Write([]byte(`{"token":"` + canary + ` x","expires_at":"2099-01-01T00:00:00Z"}`))
		},
		"redirects": func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "http://127.0.0.1:1/"+r.Header.Get("Authorization"), http.StatusTemporaryRedirect)
		},
		"is cut off":    func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) },
		"answers later": func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(http.StatusAccepted) },
	} {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			statement.Store(strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer "))
			handler(w, r)
		}))
		tokens, err := New(Options{API: server.URL, App: "1", Installation: "2", KeyFile: file})
		if err != nil {
			t.Fatal(err)
		}
		_, err = tokens.Token(t.Context())
		server.Close()
		if err == nil {
			t.Errorf("%s: no error", name)
			continue
		}
		for _, part := range append(strings.Split(statement.Load().(string), "."), canary, "PRIVATE KEY") {
			if strings.Contains(err.Error(), part) {
				t.Errorf("%s: %v holds %s", name, err, part)
			}
		}
	}
	for name, content := range map[string]string{
		"nothing": "", "text": canary, "cut off": string(key[:300]), "another block": "-----BEGIN RSA PRIVATE KEY-----\n" + canary + "\n-----END RSA PRIVATE KEY-----\n",
		"too large": strings.Repeat(canary, 5000),
	} {
		write(t, file, []byte(content))
		tokens, err := New(Options{App: "1", Installation: "2", KeyFile: file})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := tokens.Token(t.Context()); err == nil || strings.Contains(err.Error(), canary) || !strings.HasPrefix(err.Error(), "github app key file: "+file) {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

func TestOptions(t *testing.T) {
	t.Parallel()
	for name, o := range map[string]Options{
		"clear text":  {API: "http://api.example.org", App: "1", Installation: "2", KeyFile: "k"},
		"credentials": {API: "https://u:" + canary + "@api.example.org", App: "1", Installation: "2", KeyFile: "k"},
		"no app":      {Installation: "2", KeyFile: "k"},
		"a path":      {App: "1", Installation: "2/../3", KeyFile: "k"},
		"no key":      {App: "1", Installation: "2"},
	} {
		if _, err := New(o); err == nil || strings.Contains(err.Error(), canary) {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

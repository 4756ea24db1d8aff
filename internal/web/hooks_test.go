package web

import (
	"bufio"
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"chaperone.dev/chaperone/internal/webhook"
)

const hookSecret = "canary-of-a-webhook-secret"

// hooked is what came of requests.
type hooked struct {
	*Hooks
	now      time.Time
	mu       sync.Mutex
	looks    int
	counted  []string
	log      bytes.Buffer
	noSecret error
}

func newHooked() *hooked {
	h := &hooked{now: noon}
	h.Hooks = NewHooks(HookOptions{
		Address: "127.0.0.1:0",
		Secrets: func() (webhook.Secrets, error) {
			if h.noSecret != nil {
				return webhook.Secrets{}, h.noSecret
			}
			return webhook.ParseSecrets([]byte("canary-of-the-secret-before\n" + hookSecret))
		},
		Look: func() { h.looks++ },
		Counted: func(f webhook.Forge, o HookOutcome) {
			h.mu.Lock()
			defer h.mu.Unlock()
			h.counted = append(h.counted, string(f)+" "+string(o))
		},
		Now: func() time.Time { return h.now },
		Log: slog.New(slog.NewTextHandler(&h.log, nil)),
	})
	return h
}

func signed(body string) string {
	mac := hmac.New(sha256.New, []byte(hookSecret))
	mac.Write([]byte(body))
	return hex.EncodeToString(mac.Sum(nil))
}

func hook(method, path string, body io.Reader, pairs ...string) *http.Request {
	r := httptest.NewRequest(method, path, body)
	r.Header.Set("Content-Type", "application/json; charset=utf-8")
	for i := 0; i < len(pairs); i += 2 {
		r.Header.Set(pairs[i], pairs[i+1])
	}
	return r
}

func (h *hooked) send(r *http.Request) *httptest.ResponseRecorder {
	answer := httptest.NewRecorder()
	h.Handler().ServeHTTP(answer, r)
	return answer
}

func authentic() *http.Request {
	return hook("POST", HookPath, strings.NewReader("{}"), "X-Hub-Signature-256", "sha256="+signed("{}"), "X-GitHub-Event", "push", "X-GitHub-Delivery", "7f3a")
}

func TestHooks(t *testing.T) {
	t.Parallel()
	endless := func() io.Reader { return io.LimitReader(zeros{}, maxHook+1) }
	unread := hook("POST", HookPath, endless(), "X-Gitea-Signature", signed(""))
	unread.ContentLength = -1
	long := hook("POST", HookPath, endless(), "X-Gitea-Signature", signed(""))
	long.ContentLength = maxHook + 1
	tests := []struct {
		name    string
		request *http.Request
		status  int
		answer  string
		counted string
		looks   int
	}{
		{"GitHub", authentic(), 202, "looking", "github accepted", 1},
		{"a form", hook("POST", HookPath, strings.NewReader("payload=%7B%7D"), "X-Gitea-Signature", signed("payload=%7B%7D"),
			"Content-Type", "application/x-www-form-urlencoded"), 202, "looking", "gitea accepted", 1},
		{"GitLab", hook("POST", HookPath, strings.NewReader("{}"), "X-Gitlab-Token", hookSecret), 202, "looking", "gitlab accepted", 1},
		{"a body that is no JSON", hook("POST", HookPath, strings.NewReader("\x00}{"), "X-Gitea-Signature", signed("\x00}{")), 202, "looking", "gitea accepted", 1},
		{"nobody", hook("POST", HookPath, strings.NewReader("{}")), 401, "no signature", " unauthenticated", 0},
		{"somebody else", hook("POST", HookPath, strings.NewReader("{ }"), "X-Gitea-Signature", signed("{}")), 401, "not one of a known secret", "gitea unauthenticated", 0},
		{"an announced mountain", long, 413, "want at most 26214400 bytes", " too-large", 0},
		{"an endless body", unread, 413, "want at most 26214400 bytes", "gitea too-large", 0},
		{"a body that ends early", hook("POST", HookPath, broken{io.ErrUnexpectedEOF}, "X-Gitea-Signature", signed("{}")), 400, "ends early", "gitea broken", 0},
		{"GET", hook("GET", HookPath, nil), 405, "POST", " refused", 0},
		{"a text", hook("POST", HookPath, nil, "Content-Type", "text/plain"), 415, "application/json", " refused", 0},
		{"no type", hook("POST", HookPath, nil, "Content-Type", ""), 415, "application/json", " refused", 0},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			h := newHooked()
			got := h.send(test.request)
			if got.Code != test.status || !strings.Contains(got.Body.String(), test.answer) {
				t.Errorf("%d %s, want %d %s", got.Code, got.Body, test.status, test.answer)
			}
			if counted := strings.Join(h.counted, ","); counted != test.counted || h.looks != test.looks {
				t.Errorf("counted %q and looked %d times, want %q and %d", counted, h.looks, test.counted, test.looks)
			}
			if text := h.log.String() + got.Body.String(); strings.Contains(text, "canary") || strings.Contains(text, signed("{}")) || h.log.Len() == 0 {
				t.Errorf("secrets, or nothing, in:\n%s", text)
			}
			if test.status == 405 && got.Header().Get("Allow") != "POST" {
				t.Error("405 without Allow")
			}
		})
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { return len(p), nil }

type broken struct{ err error }

func (b broken) Read([]byte) (int, error) { return 0, b.err }

func TestHooksServeNothingElse(t *testing.T) {
	t.Parallel()
	h := newHooked()
	for _, path := range []string{"/", "/metrics", "/environments.json", HookPath + "/x"} {
		if got := h.send(hook("GET", path, nil)); got.Code != http.StatusNotFound {
			t.Errorf("%s: %d", path, got.Code)
		}
	}
	pages := testServer(sample())
	if got := get(pages, "POST", HookPath); got.Code != http.StatusNotFound && got.Code != http.StatusMethodNotAllowed {
		t.Errorf("the pages answer %d", got.Code)
	}
}

// Who asks without end gets 429, and fills no log; a moment later all is well.
func TestHooksAreLimited(t *testing.T) {
	t.Parallel()
	h := newHooked()
	for i := range 3 * hookBurst {
		got := h.send(hook("POST", HookPath, strings.NewReader("{}"), "X-Gitea-Signature", signed("guess")))
		if want := map[bool]int{true: 401, false: 429}[i < hookBurst]; got.Code != want {
			t.Fatalf("request %d: %d, want %d", i, got.Code, want)
		}
		if got.Code == 429 && got.Header().Get("Retry-After") == "" {
			t.Error("429 without Retry-After")
		}
	}
	if lines := strings.Count(h.log.String(), "\n"); lines != 2 {
		t.Errorf("%d lines in the log, want one for each answer:\n%s", lines, &h.log)
	}
	h.now = h.now.Add(logPause)
	if got := h.send(authentic()); got.Code != 202 || h.looks != 1 {
		t.Errorf("%d, %d looks", got.Code, h.looks)
	}
	h.send(hook("POST", HookPath, strings.NewReader("{}"), "X-Gitea-Signature", signed("guess")))
	if want := fmt.Sprintf("more=%d", hookBurst-1); !strings.Contains(h.log.String(), want) {
		t.Errorf("the log lacks %s:\n%s", want, &h.log)
	}
	h.now = h.now.Add(-time.Hour) // a clock that jumps takes nothing away
	if got := h.send(authentic()); got.Code != 202 {
		t.Errorf("after the clock jumped: %d", got.Code)
	}
}

func TestHooksWithoutASecretTakeNothing(t *testing.T) {
	t.Parallel()
	h := newHooked()
	h.noSecret = errors.New("webhook.secretFile: not there")
	if got := h.send(authentic()); got.Code != 503 || strings.Contains(got.Body.String(), "secretFile") || h.looks != 0 {
		t.Errorf("%d %s", got.Code, got.Body)
	}
	if !strings.Contains(h.log.String(), "not there") {
		t.Errorf("the log does not say why: %s", &h.log)
	}
	h.noSecret = nil
	if got := h.send(authentic()); got.Code != 202 {
		t.Errorf("with the secret back: %d", got.Code)
	}
}

// A sender that goes on for ever is cut off, and holds up nobody.
func TestHooksHaveADeadline(t *testing.T) {
	t.Parallel()
	h := newHooked()
	h.server.ReadTimeout = 300 * time.Millisecond
	h.serve(t)
	slow, err := net.Dial("tcp", h.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer slow.Close()
	fmt.Fprintf(slow, "POST %s HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 100\r\nX-Gitea-Signature: %s\r\n\r\n{", HookPath, signed("{}"))
	quick, err := http.Post("http://"+h.Addr().String()+HookPath, "application/json", strings.NewReader("{}"))
	if err != nil {
		t.Fatal(err)
	}
	quick.Body.Close()
	if quick.StatusCode != 401 {
		t.Errorf("beside a slow one: %d", quick.StatusCode)
	}
	_ = slow.SetReadDeadline(time.Now().Add(30 * time.Second))
	answer, err := http.ReadResponse(bufio.NewReader(slow), nil)
	if err != nil || answer.StatusCode != http.StatusRequestTimeout {
		t.Errorf("the slow one: %v, %v", answer, err)
	}
}

func (h *hooked) serve(t *testing.T) {
	t.Helper()
	if err := h.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		if err := h.Shutdown(ctx); err != nil {
			t.Error(err)
		}
	})
}

// Connections that say nothing are as many as may be, for as long as a header
// may take; then others get in, and the end waits for none.
func TestHooksHaveFewConnections(t *testing.T) {
	t.Parallel()
	h := newHooked()
	h.most = 3
	h.server.ReadHeaderTimeout = 300 * time.Millisecond
	h.serve(t)
	for range 10 {
		silent, err := net.Dial("tcp", h.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer silent.Close()
	}
	for range 5 {
		answer, err := http.Post("http://"+h.Addr().String()+HookPath, "application/json", strings.NewReader("{}"))
		if err != nil {
			t.Fatal(err)
		}
		answer.Body.Close()
	}
}

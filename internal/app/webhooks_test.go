package app

import (
	"context"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"chaperone.dev/chaperone/internal/config"
	"chaperone.dev/chaperone/internal/web"
	"chaperone.dev/chaperone/internal/webhook"
)

// However many ask, there is a look at once, one for all others once the pause
// is over, and none that nobody asked for.
func TestWebhooksLookSpaced(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		began := time.Now()
		var looks []time.Duration
		asked := make(chan struct{}, 1)
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			spaced(ctx, asked, time.Second, func() { looks = append(looks, time.Since(began)) })
		}()
		for range 300 { // within three seconds
			select {
			case asked <- struct{}{}:
			default:
			}
			time.Sleep(10 * time.Millisecond)
		}
		time.Sleep(time.Hour)
		asked <- struct{}{}
		synctest.Wait()
		cancel()
		<-ended
		if len(looks) != 5 || looks[0] != 0 || looks[1] != time.Second || looks[3] != 3*time.Second || looks[4] < time.Hour {
			t.Errorf("looked at %v", looks)
		}
	})
}

type hookLog struct {
	mu sync.Mutex
	strings.Builder
}

func (l *hookLog) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.Builder.Write(p)
}

func (l *hookLog) text() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.String()
}

// A secret is read for each delivery: one that is added is known at once, one
// that is taken out no longer, and while there is none nobody gets in.
func TestWebhookSecretsRotate(t *testing.T) {
	t.Parallel()
	const before, after = "canary-secret-before", "canary-secret-after"
	file := filepath.Join(t.TempDir(), "secret")
	log, looked := &hookLog{}, make(chan struct{}, 9)
	a := New(config.Config{Webhook: config.Webhook{Listen: "127.0.0.1:0", SecretFile: file}}, Build{}, slog.New(slog.NewTextHandler(log, nil)))
	a.hooks = func(webhook.Forge, web.HookOutcome) {}
	end, err := a.webhooks(t.Context(), func() { looked <- struct{}{} })
	if err != nil {
		t.Fatal(err)
	}
	address := regexp.MustCompile(`address=(\S+)`).FindStringSubmatch(log.text())[1]
	for i, step := range []struct {
		file, token string
		want        int
	}{
		{"", before, 503},
		{before, before, 202},
		{before + "\n" + after + "\n", before, 202},
		{before + "\n" + after + "\n", after, 202},
		{after, after, 202},
		{after, before, 401},
		{"short", "short", 503},
	} {
		if step.file != "" {
			if err := os.WriteFile(file, []byte(step.file), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		request, err := http.NewRequestWithContext(t.Context(), "POST", "http://"+address+web.HookPath, strings.NewReader("{}"))
		if err != nil {
			t.Fatal(err)
		}
		request.Header.Set("Content-Type", "application/json")
		request.Header.Set("X-Gitlab-Token", step.token)
		answer, err := http.DefaultClient.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		answer.Body.Close()
		if answer.StatusCode != step.want {
			t.Errorf("step %d: %d, want %d", i, answer.StatusCode, step.want)
		}
	}
	<-looked
	end()
	if text := log.text(); strings.Contains(text, "canary") || !strings.Contains(text, "turned away until") {
		t.Error(text)
	}
	if _, err := http.Post("http://"+address+web.HookPath, "application/json", nil); err == nil {
		t.Error("it listens on after its end")
	}
}

func TestWebhooksNeedASecretFile(t *testing.T) {
	t.Parallel()
	log := &hookLog{}
	a := New(config.Config{Webhook: config.Webhook{Listen: "no address at all"}}, Build{}, slog.New(slog.NewTextHandler(log, nil)))
	end, err := a.webhooks(t.Context(), func() {})
	if err != nil || log.text() != "" {
		t.Errorf("%v\n%s", err, log.text())
	}
	end()
	a.config.Webhook.SecretFile = "secret"
	if _, err := a.webhooks(t.Context(), nil); err == nil || !strings.Contains(err.Error(), "webhook.listen: listen on no address at all") {
		t.Errorf("%v", err)
	}
}

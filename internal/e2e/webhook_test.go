package e2e

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"net/http"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"chaperone.dev/chaperone/internal/source"
)

const hookSecret = "canary-of-the-webhook-5c1e"

var servingHooks = regexp.MustCompile(`"msg":"serving webhooks","address":"([^"]+)"`)

// hook is what a forge sends after a push.
func (p *process) hook(secret string) int {
	p.w.Helper()
	var found []string
	p.w.await("webhooks to be taken", func() bool {
		found = servingHooks.FindStringSubmatch(p.log.String())
		return found != nil
	})
	const body = `{"ref":"refs/heads/main"}`
	mac := hmac.New(sha256.New, []byte(secret))
	mac.Write([]byte(body))
	request, err := http.NewRequestWithContext(p.w.Context(), "POST", "http://"+found[1]+"/webhook", strings.NewReader(body))
	if err != nil {
		p.w.Fatal(err)
	}
	request.Header.Set("Content-Type", "application/json")
	request.Header.Set("X-GitHub-Event", "push")
	request.Header.Set("X-Hub-Signature-256", "sha256="+hex.EncodeToString(mac.Sum(nil)))
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		p.w.Fatal(err)
	}
	defer answer.Body.Close()
	return answer.StatusCode
}

func (p *process) sees() source.Revision {
	p.w.Helper()
	var page struct{ Head source.Revision }
	if err := json.Unmarshal([]byte(fetch(p.w, "http://"+p.address()+"/environments.json")), &page); err != nil {
		p.w.Fatal(err)
	}
	return page.Head
}

// A pushed commit is seen when the forge says so, though the branch is looked at
// every ten minutes only; not when somebody else does (CVE-2026-40109).
func TestPitfall42_WebhookLooksAtOnce(t *testing.T) {
	quick(t)
	w := newWorld(t, alone())
	file := filepath.Join(t.TempDir(), "secret")
	write(t, file, hookSecret+"\n")
	p := w.spawn(w.settings(map[string]string{
		"source-poll-interval": "10m", "webhook-secret-file": file, "webhook-listen": "127.0.0.1:0",
	}))
	w.awaitRuns(development, w.first)
	second := w.push("second", version("1.0.1"))
	if got := p.hook("somebody else's guess"); got != http.StatusUnauthorized {
		t.Errorf("somebody else is answered %d", got)
	}
	w.never("a commit was seen that nobody told of", time.Second, func() bool { return p.sees() == second })
	began := time.Now()
	for range 5 { // sent again, it does no harm
		if got := p.hook(hookSecret); got != http.StatusAccepted {
			t.Errorf("the forge is answered %d", got)
		}
	}
	w.await("the commit to be seen", func() bool { return p.sees() == second })
	t.Logf("seen after %v", time.Since(began))
	w.awaitRuns(development, second)
	third := w.push("third", version("1.0.2"))
	p.hook(hookSecret)
	w.awaitRuns(development, third)

	metrics := fetch(t, "http://"+p.address()+"/metrics")
	for _, want := range []string{
		`chaperone_webhooks_total{forge="github",outcome="accepted"} 6`, `chaperone_webhooks_total{forge="github",outcome="unauthenticated"} 1`,
	} {
		if !strings.Contains(metrics, want) {
			t.Errorf("the metrics lack %s", want)
		}
	}
	w.seek(p, hookSecret)
}

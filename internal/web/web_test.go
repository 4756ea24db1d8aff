package web

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"chaperone.dev/chaperone/internal/promotion"
	"chaperone.dev/chaperone/internal/reconcile"
	"chaperone.dev/chaperone/internal/source"
)

var noon = time.Date(2026, 1, 2, 12, 0, 0, 0, time.UTC)

const (
	head  = source.Revision("4f2c000000000000000000000000000000000001")
	guilt = source.Revision("badc0ffee0000000000000000000000000000002")
)

func at(r source.Revision) reconcile.Release {
	return reconcile.Release{Revision: r, Digest: "sha256:aaaa"}
}

func sample() View {
	return View{
		At: noon, Branch: "main", Head: head, Polled: true,
		Environments: []Environment{
			{
				ID: promotion.ID{Pipeline: "novamind", Name: "staging"}, Phase: reconcile.PhaseHeld, Reason: promotion.VerificationFailed,
				Sentence: `http "readiness" answered 500 in 12 of 12 requests over 60s (limit 1%)`, Unblock: "A new commit, or chaperone retry.",
				Running: at(head), Wanted: at(guilt), LastGood: at(head), Since: noon.Add(-3 * time.Hour),
			},
			{ID: promotion.ID{Pipeline: "crohns", Name: "development"}, Phase: reconcile.PhaseReady, Reason: promotion.UpToDate, Sentence: "Runs what is wanted.", Running: at(head), Since: noon},
			{ID: promotion.ID{Pipeline: "novamind", Name: "production"}, Phase: reconcile.PhaseWaiting, Reason: promotion.WaitingForUpstream, Sentence: "Waits for novamind/staging.", Since: noon.Add(-time.Minute)},
		},
	}
}

func testServer(publish ...View) *Server {
	s := New(Options{
		Address: "127.0.0.1:0", Version: "v1.2.3", Now: func() time.Time { return noon },
		Metrics: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "chaperone_build_info 1") }),
	})
	for _, v := range publish {
		s.Publish(v)
	}
	return s
}

func get(s *Server, method, path string) *httptest.ResponseRecorder {
	recorder := httptest.NewRecorder()
	s.Handler().ServeHTTP(recorder, httptest.NewRequest(method, path, nil))
	return recorder
}

func TestEndpoints(t *testing.T) {
	t.Parallel()
	unpolled := sample()
	unpolled.Polled = false
	faulty := sample()
	faulty.SourceReason, faulty.SourceDetail = promotion.SourceUnavailable, "connection refused"
	stale := sample()
	stale.PoliciesRefused = "pod/root/rule.rego:3: <var> is unsafe"
	tests := []struct {
		name         string
		views        []View
		method, path string
		status       int
		body         string
	}{
		{"alive before anything else", nil, "GET", "/healthz", 200, "ok\n"},
		{"not ready before the state", nil, "GET", "/readyz", 503, "not ready: the state is not loaded yet\n"},
		{"not ready before the source", []View{unpolled}, "GET", "/readyz", 503, "not ready: the source was not read yet\n"},
		{"ready", []View{sample()}, "GET", "/readyz", 200, "ready\n"},
		{"a source that fails later keeps it ready", []View{sample(), faulty}, "GET", "/readyz", 200, "ready\n"},
		{"the page says why", []View{faulty}, "GET", "/", 200, "<strong>SourceUnavailable</strong> connection refused"},
		{"the page says that policies are old", []View{stale}, "GET", "/", 200,
			"<strong>PolicyError</strong> The newest policies are refused, and the ones before stay in force: pod/root/rule.rego:3: &lt;var&gt; is unsafe"},
		{"a page without a view", nil, "GET", "/", 200, "Starting: the state is not loaded yet."},
		{"a page without environments", []View{{At: noon, Polled: true}}, "GET", "/", 200, "defines no environment"},
		{"metrics", nil, "GET", "/metrics", 200, "chaperone_build_info 1"},
		{"json without a view", nil, "GET", "/environments.json", 200, `"environments": []`},
		{"head", []View{sample()}, "HEAD", "/", 200, ""},
		{"nothing is changed from here", []View{sample()}, "POST", "/", 405, ""},
		{"nor deleted", []View{sample()}, "DELETE", "/environments.json", 405, ""},
		{"nothing else", []View{sample()}, "GET", "/etc/passwd", 404, ""},
		{"nor below", []View{sample()}, "GET", "/healthz/x", 404, ""},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			got := get(testServer(test.views...), test.method, test.path)
			if got.Code != test.status || !strings.Contains(got.Body.String(), test.body) {
				t.Errorf("got %d\n%s\nwant %d with %q", got.Code, got.Body, test.status, test.body)
			}
			for header, want := range map[string]string{"X-Content-Type-Options": "nosniff", "Cache-Control": "no-store", "Referrer-Policy": "no-referrer"} {
				if got.Header().Get(header) != want {
					t.Errorf("%s: %q", header, got.Header().Get(header))
				}
			}
		})
	}
}

func TestPageTellsWhereEverythingIs(t *testing.T) {
	t.Parallel()
	page := get(testServer(sample()), "GET", "/").Body.String()
	for _, want := range []string{
		"novamind", "staging", "▲ Held", "<strong>VerificationFailed</strong>", "answered 500 in 12 of 12 requests over 60s (limit 1%)",
		"A new commit, or chaperone retry.", `<code title="` + string(guilt) + ` sha256:aaaa">badc0ffee000</code>`, "3 hours ago",
		`<time datetime="2026-01-02T09:00:00Z" title="2026-01-02 09:00:00 UTC">`, "● Ready", "just now", "○ Waiting", "1 minute ago",
		`<span class="none">none</span>`, "main at", "1 Held", "chaperone v1.2.3",
	} {
		if !strings.Contains(page, want) {
			t.Errorf("the page lacks %q", want)
		}
	}
	if staging, production, crohns := strings.Index(page, ">staging<"), strings.Index(page, ">production<"), strings.Index(page, ">crohns<"); !(0 < staging && staging < production && production < crohns) {
		t.Errorf("order of promotion lost: staging %d, production %d, crohns %d", staging, production, crohns)
	}
	if t.Failed() {
		t.Log(page)
	}
}

// Whatever a commit, a rule or a service wrote into a sentence stays text.
func TestPageEscapes(t *testing.T) {
	t.Parallel()
	const attack = `"><script>alert(1)</script><img src=x onerror=alert(1)>'</style>`
	v := View{At: noon, Branch: attack, Head: attack, Polled: true, SourceReason: attack, SourceDetail: attack, PoliciesRefused: attack, Environments: []Environment{{
		ID: promotion.ID{Pipeline: attack, Name: attack}, Phase: attack, Reason: attack, Sentence: attack, Unblock: attack,
		Running: reconcile.Release{Revision: attack, Digest: attack}, Since: noon,
	}}}
	page := get(testServer(v), "GET", "/").Body.String()
	if strings.Contains(page, "<script") || strings.Contains(page, "<img") || strings.Count(page, "</style>") != 1 {
		t.Errorf("markup came through:\n%s", page)
	}
	if n := strings.Count(page, "alert(1)"); n < 10 {
		t.Errorf("%d of the sentences are shown", n)
	}
}

func TestPageLoadsNothingAndItsStyleIsAllowed(t *testing.T) {
	t.Parallel()
	answer := get(testServer(sample()), "GET", "/")
	page := answer.Body.String()
	style := regexp.MustCompile(`(?s)<style>(.*)</style>`).FindStringSubmatch(page)
	if len(style) != 2 || style[1] != pageStyle() {
		t.Fatal("the style is not sent as it was hashed")
	}
	csp := answer.Header().Get("Content-Security-Policy")
	if !strings.Contains(csp, "style-src '"+styleHash()+"'") || !strings.HasPrefix(csp, "default-src 'none';") || strings.Contains(csp, "unsafe") {
		t.Errorf("policy %q", csp)
	}
	for _, forbidden := range []string{"src=", "@import", "url(", "http://", "https://", "style=", "onload", "javascript:"} {
		if strings.Contains(page, forbidden) {
			t.Errorf("the page holds %q", forbidden)
		}
	}
}

func pageStyle() string { return style }

func TestJSON(t *testing.T) {
	t.Parallel()
	answer := get(testServer(sample()), "GET", "/environments.json")
	if got := answer.Header().Get("Content-Type"); got != "application/json" {
		t.Errorf("content type %q", got)
	}
	var got struct {
		Head         string
		Environments []struct {
			ID, Phase, Reason, Sentence string
			Running                     struct{ Revision, Digest string }
			LastGood                    *struct{ Revision string }
			Since                       time.Time
		}
	}
	if err := json.Unmarshal(answer.Body.Bytes(), &got); err != nil {
		t.Fatal(err)
	}
	if got.Head != string(head) || len(got.Environments) != 3 {
		t.Fatalf("got %+v", got)
	}
	first, last := got.Environments[0], got.Environments[2]
	if first.ID != "novamind/staging" || first.Phase != "Held" || first.Reason != "VerificationFailed" || first.Running.Digest != "sha256:aaaa" ||
		first.LastGood.Revision != string(head) || !first.Since.Equal(noon.Add(-3*time.Hour)) {
		t.Errorf("got %+v", first)
	}
	if last.LastGood != nil {
		t.Errorf("a last good that is not there: %+v", last)
	}
}

func TestPublishedViewIsImmutable(t *testing.T) {
	t.Parallel()
	s, v := testServer(), sample()
	s.Publish(v)
	v.Environments[0].Sentence = "changed after it was published"
	if strings.Contains(get(s, "GET", "/").Body.String(), "changed after") {
		t.Error("the publisher's later change is shown")
	}
	var all sync.WaitGroup
	for i := range 4 {
		all.Go(func() {
			for range 25 {
				if i%2 == 0 {
					s.Publish(sample())
				} else if got := get(s, "GET", "/environments.json"); strings.Count(got.Body.String(), `"phase"`) != 3 {
					t.Errorf("half a view: %s", got.Body)
				}
			}
		})
	}
	all.Wait()
}

func TestAgo(t *testing.T) {
	t.Parallel()
	for d, want := range map[time.Duration]string{
		-time.Hour: "just now", 59 * time.Second: "just now", time.Minute: "1 minute ago", 59 * time.Minute: "59 minutes ago",
		time.Hour: "1 hour ago", 47 * time.Hour: "1 day ago", 100 * time.Hour: "4 days ago",
	} {
		if got := ago(d); got != want {
			t.Errorf("ago(%v) = %q, want %q", d, got, want)
		}
	}
}

func TestStartServeShutdown(t *testing.T) {
	t.Parallel()
	s := testServer(sample())
	entered, release := make(chan struct{}), make(chan struct{})
	s.Metrics = nil
	s.server.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/slow" {
			close(entered)
			<-release
		}
		s.Handler().ServeHTTP(w, r)
	})
	if err := s.Start(); err != nil {
		t.Fatal(err)
	}
	base := "http://" + s.Addr().String()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	answer, err := client.Get(base + "/readyz")
	if err != nil || answer.StatusCode != 200 {
		t.Fatalf("got %v, %v", answer, err)
	}
	answer.Body.Close()

	slow := make(chan int, 1)
	go func() {
		answer, err := client.Get(base + "/slow")
		if err != nil {
			slow <- 0
			return
		}
		io.Copy(io.Discard, answer.Body)
		answer.Body.Close()
		slow <- answer.StatusCode
	}()
	<-entered
	stopped := make(chan error, 1)
	go func() { stopped <- s.Shutdown(t.Context()) }()
	close(release)
	if err := <-stopped; err != nil {
		t.Errorf("shutdown: %v", err)
	}
	if got := <-slow; got != 404 {
		t.Errorf("the request under way got %d, want its answer", got)
	}
	if err := s.Shutdown(t.Context()); err != nil {
		t.Errorf("shutdown again: %v", err)
	}
	if _, err := client.Get(base + "/readyz"); err == nil {
		t.Error("served after shutdown")
	}
}

func TestShutdownCutsOffWhatDoesNotEnd(t *testing.T) {
	t.Parallel()
	s := testServer()
	entered, left := make(chan struct{}), make(chan struct{})
	s.server.Handler = http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		close(entered)
		<-r.Context().Done() // ends only when the connection does
		close(left)
	})
	if err := s.Start(); err != nil {
		t.Fatal(err)
	}
	go http.Get("http://" + s.Addr().String())
	<-entered
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.Shutdown(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want that the grace was over", err)
	}
	<-left
}

func TestStartSaysWhereItCannotListen(t *testing.T) {
	t.Parallel()
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	s := New(Options{Address: taken.Addr().String()})
	if err := s.Start(); err == nil || !strings.HasPrefix(err.Error(), "listen on "+taken.Addr().String()) {
		t.Errorf("got %v", err)
	}
	if err := s.Shutdown(t.Context()); err != nil {
		t.Errorf("shutdown of what never started: %v", err)
	}
}

package cluster

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"chaperone.dev/chaperone/internal/fault"
	"chaperone.dev/chaperone/internal/manifest"
	"chaperone.dev/chaperone/internal/plan"
)

// breakage is one way in which a request to an API server fails.
type breakage struct {
	name string
	// fail answers a request in the server's place, or after it.
	fail func(next http.RoundTripper, request *http.Request) (*http.Response, error)
	// again says that an operation may end for the next one to finish it: a
	// conflict about the inventory is never overridden.
	again bool
	// most bounds how many requests are hit; 0 is every one, once.
	most int
}

func answering(code int, headers ...string) func(http.RoundTripper, *http.Request) (*http.Response, error) {
	return func(_ http.RoundTripper, request *http.Request) (*http.Response, error) {
		response := statusAnswer(request, code)
		for i := 0; i+1 < len(headers); i += 2 {
			response.Header.Set(headers[i], headers[i+1])
		}
		return response, nil
	}
}

// cutOff lets the server do its work and loses the rest of its answer.
func cutOff(next http.RoundTripper, request *http.Request) (*http.Response, error) {
	response, err := next.RoundTrip(request)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	some, _ := io.ReadAll(io.LimitReader(response.Body, 20))
	response.Body = io.NopCloser(io.MultiReader(bytes.NewReader(some), brokenReader{}))
	return response, nil
}

type brokenReader struct{}

func (brokenReader) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }

// lost lets the server do its work, and the connection break before it answers.
func lost(next http.RoundTripper, request *http.Request) (*http.Response, error) {
	response, err := next.RoundTrip(request)
	if err == nil {
		_ = response.Body.Close()
	}
	return nil, &net.OpError{Op: "read", Net: "tcp", Err: os.NewSyscallError("read", syscall.ECONNRESET)}
}

var breakages = []breakage{
	{name: "409", fail: answering(409), again: true},
	{name: "429", fail: answering(429)},
	{name: "429 with Retry-After", fail: answering(429, "Retry-After", "1"), most: 6},
	{name: "500", fail: answering(500)},
	{name: "502 of a proxy", fail: func(_ http.RoundTripper, request *http.Request) (*http.Response, error) {
		const page = "<html><body>Bad Gateway</body></html>"
		return &http.Response{StatusCode: 502, Status: "502 Bad Gateway", Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Request: request,
			Header: http.Header{"Content-Type": {"text/html"}}, Body: io.NopCloser(strings.NewReader(page)), ContentLength: int64(len(page))}, nil
	}},
	{name: "503", fail: answering(503)},
	{name: "504", fail: answering(504)},
	{name: "408", fail: answering(408)},
	{name: "no answer", most: 1, fail: func(_ http.RoundTripper, request *http.Request) (*http.Response, error) {
		<-request.Context().Done()
		return nil, request.Context().Err()
	}},
	{name: "refused", fail: func(http.RoundTripper, *http.Request) (*http.Response, error) {
		return nil, &net.OpError{Op: "dial", Net: "tcp", Err: os.NewSyscallError("connect", syscall.ECONNREFUSED)}
	}},
	{name: "connection lost", fail: lost},
	{name: "answer cut off", fail: cutOff},
}

// flaky hits every request that it has not seen before, while it is on.
type flaky struct {
	next http.RoundTripper
	breakage

	mu   sync.Mutex
	on   bool
	seen map[string]int
	hit  int
}

func (t *flaky) WrappedRoundTripper() http.RoundTripper { return t.next }

func (t *flaky) RoundTrip(request *http.Request) (*http.Response, error) {
	if t.hits(request) {
		return t.fail(t.next, request)
	}
	return t.next.RoundTrip(request)
}

// hits leaves discovery alone: it has a test of its own.
func (t *flaky) hits(request *http.Request) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if resource, _ := resourceOf(request.URL.Path); !t.on || resource == "discovery" {
		return false
	}
	key := request.Method + " " + request.URL.Path + " " + request.URL.Query().Get("dryRun")
	t.seen[key]++
	if t.seen[key] > 1 || t.most > 0 && t.hit >= t.most {
		return false
	}
	t.hit++
	return true
}

// while has the server fail during an operation, and wants that operation to
// see it through, or to say that it may be tried again.
func (t *flaky) while(f *fixture, what string, do func() error) {
	f.Helper()
	t.switchOn(true)
	defer t.switchOn(false)
	defer func() {
		if often := t.hammered(); often != "" {
			f.Errorf("%s: the server is hammered: %s", what, often)
		}
	}()
	for attempt := 1; ; attempt++ {
		err := do()
		switch {
		case err == nil && t.hit == 0:
			f.Errorf("%s: no request was hit", what)
			return
		case err == nil:
			return
		case fault.IsTerminal(err):
			f.Fatalf("%s: ended for good with: %v", what, err)
		case strings.Contains(err.Error(), canary):
			f.Fatalf("%s: shows a secret: %v", what, err)
		case !t.again || attempt == 5:
			f.Fatalf("%s: given up at attempt %d with: %v", what, attempt, err)
		}
	}
}

func (t *flaky) switchOn(on bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.on, t.hit, t.seen = on, 0, map[string]int{}
}

// hammered is the request that was made most often, where that is too often.
func (t *flaky) hammered() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	for key, n := range t.seen {
		if n > 12 {
			return fmt.Sprintf("%s: %d times", key, n)
		}
	}
	return ""
}

const canary = "failure-canary-8831"

// 409, 429, 5xx, timeouts and lost connections at every request of a plan, an
// apply or a prune, once each: it goes on, hammers nobody, and at the end
// everything is as it was to be.
func TestPitfall23_EveryRequestFailsOnce(t *testing.T) {
	t.Parallel()
	for _, b := range breakages {
		t.Run(b.name, func(t *testing.T) {
			t.Parallel()
			failsOnce(t, b)
		})
	}
}

func failsOnce(t *testing.T, b breakage) {
	f := newFixture(t)
	f.release(f.set(configMap("changes", "a", "b"), configMap("goes-1", "a", "b"), configMap("goes-2", "a", "b"), configMap("stays", "a", "b")))
	next := f.set(configMap("changes", "a", "c"), configMap("stays", "a", "b"), configMap("comes", "a", "b"), service("web"),
		"apiVersion: v1\nkind: Secret\nmetadata: {name: s}\nstringData: {p: "+canary+"}\n")
	through := &flaky{breakage: b}
	c := f.through(func(next http.RoundTripper) http.RoundTripper { through.next = next; return through }, Options{RequestTimeout: 2 * time.Second})
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	var p plan.Plan
	through.while(f, "plan", func() (err error) { p, err = c.Plan(ctx, f.owner, next); return err })
	if got := p.Summary(); got != "3 create, 1 update, 2 delete, 1 unchanged" {
		t.Fatalf("plan: %s", got)
	}
	through.while(f, "apply", func() error { _, err := c.Apply(ctx, f.owner, p, nil); return err })
	var pruned PruneResult
	through.while(f, "prune", func() (err error) { pruned, err = c.Prune(ctx, f.owner, next); return err })
	if slices.ContainsFunc(pruned.Kept, func(l Left) bool { return l.Reason == plan.ReasonPartialRead }) {
		// Another test's kinds come and go; what is out of sight is not deleted.
		waitFor(t, "all kinds to be in sight", func() bool { pruned = f.prune(next); return len(pruned.Kept) == 0 })
	}
	if len(pruned.Kept)+len(pruned.Pending) > 0 {
		t.Errorf("prune: %+v", pruned)
	}
	f.finished(next, "ConfigMap/changes", "ConfigMap/comes", "ConfigMap/stays", "Secret/s", "Service/web")
}

// through is a connection whose requests pass a transport of the test's.
func (f *fixture) through(wrap func(http.RoundTripper) http.RoundTripper, options Options) *Cluster {
	f.Helper()
	config := f.local.Config()
	config.Wrap(wrap)
	c, err := Connect(config, options)
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(c.Close)
	return c
}

// finished makes sure that a release is there, whole, and nothing else.
func (f *fixture) finished(set manifest.Set, want ...string) {
	f.Helper()
	if p := f.plan(set); !p.Quiet() {
		f.Errorf("plan afterwards: %v, want nothing to do", p.Changes)
	}
	if got := f.owned(); !slices.Equal(got, want) {
		f.Errorf("inventory holds %v, want %v", got, want)
	}
	for _, e := range mustInventory(f).Entries() {
		if e.UID == "" {
			f.Errorf("%s has no UID in the inventory", e.ID)
		}
	}
}

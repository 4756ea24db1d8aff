package cluster

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"chaperone.dev/chaperone/internal/fault"
	"chaperone.dev/chaperone/internal/plan"
	"chaperone.dev/chaperone/internal/testkit/localcluster"
)

// connectThrough is a connection whose requests pass a filter. The filter
// answers itself, or returns nil to let the request through.
func (f *fixture) connectThrough(filter func(*http.Request) (*http.Response, error)) *fixture {
	f.Helper()
	config := f.local.Config()
	config.Wrap(func(next http.RoundTripper) http.RoundTripper {
		return &filtered{next: next, filter: filter}
	})
	c, err := Connect(config, Options{})
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(c.Close)
	return f.on(c)
}

type filtered struct {
	next   http.RoundTripper
	filter func(*http.Request) (*http.Response, error)
}

func (t *filtered) WrappedRoundTripper() http.RoundTripper { return t.next }

func (t *filtered) RoundTrip(request *http.Request) (*http.Response, error) {
	if response, err := t.filter(request); response != nil || err != nil {
		return response, err
	}
	return t.next.RoundTrip(request)
}

func isRealApply(request *http.Request) bool {
	return request.Method == http.MethodPatch && request.URL.Query().Get("dryRun") == ""
}

func many(f *fixture, n int) (texts []string) {
	for i := range n {
		texts = append(texts, configMap(fmt.Sprintf("part-%02d", i), "a", "b"))
	}
	return texts
}

// A partial apply: half the objects are in, and the daemon is killed.
func TestPitfall22_SecondApplyFinishes(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	set := f.set(many(f, 40)...)
	ctx, kill := context.WithCancel(t.Context())
	var applied atomic.Int32
	dying := f.connectThrough(func(request *http.Request) (*http.Response, error) {
		if isRealApply(request) && applied.Add(1) > 24 {
			kill()
			return nil, errors.New("killed")
		}
		return nil, nil
	})
	result, err := dying.c.Apply(ctx, f.owner, f.plan(set), nil)
	if err == nil || fault.IsTerminal(err) {
		t.Fatalf("apply of a killed daemon: %v, want a retryable error", err)
	}
	if n := result.Counts[plan.Create]; n == 0 || n == 40 {
		t.Fatalf("%d objects were applied, want some", n)
	}
	// Everything that may exist is written down, so that also a release that
	// drops it all again finds it.
	if owned := f.owned(); len(owned) != 40 {
		t.Errorf("inventory has %d entries in the middle of the apply, want all 40", len(owned))
	}
	f.release(set)
	for i := range 40 {
		f.exists("ConfigMap", fmt.Sprintf("part-%02d", i), true)
	}
	for _, e := range mustInventory(f).Entries() {
		if e.UID == "" {
			t.Errorf("%s has no UID after the second apply", e.ID)
		}
	}
	if p := f.plan(set); !p.Quiet() {
		t.Errorf("plan afterwards: %v, want nothing to do", p.Applies())
	}
}

// The same, and the next release drops what was half applied.
func TestPitfall22_HalfAppliedIsPruned(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.release(f.set(configMap("keep", "a", "b")))
	ctx, kill := context.WithCancel(t.Context())
	var applied atomic.Int32
	dying := f.connectThrough(func(request *http.Request) (*http.Response, error) {
		if isRealApply(request) && applied.Add(1) > 2 {
			kill()
			return nil, errors.New("killed")
		}
		return nil, nil
	})
	dying.c.options.Workers = 1 // so that two are through when the third is cut off
	p := f.plan(f.set(append(many(f, 4), configMap("keep", "a", "b"))...))
	if _, err := dying.c.Apply(ctx, f.owner, p, nil); err == nil {
		t.Fatal("apply of a killed daemon succeeded")
	}
	keep := f.set(configMap("keep", "a", "b"))
	f.release(keep)
	result := f.prune(keep)
	if len(result.Deleted) != 2 || len(result.Forgotten) != 2 {
		t.Errorf("prune: %+v, want the 2 that were made deleted and the other 2 forgotten", result)
	}
	for i := range 4 {
		f.exists("ConfigMap", fmt.Sprintf("part-%02d", i), false)
	}
}

// The API server goes away in the middle of an apply and comes back.
func TestPitfall22_ServerGoneInTheMiddle(t *testing.T) {
	t.Parallel()
	f := fixtureOn(t, localcluster.StartOwn(t))
	set := f.set(many(f, 30)...)
	p := f.plan(set)
	var applied atomic.Int32
	stopped, back := make(chan struct{}), make(chan struct{})
	cut := f.connectThrough(func(request *http.Request) (*http.Response, error) {
		if isRealApply(request) && applied.Add(1) == 10 {
			close(stopped)
		}
		return nil, nil
	})
	go func() {
		defer close(back)
		<-stopped
		f.local.Stop(t)
		time.Sleep(time.Second)
		f.local.Restart(t)
	}()
	ctx, cancel := context.WithTimeout(t.Context(), 90*time.Second)
	defer cancel()
	_, err := cut.c.Apply(ctx, f.owner, p, nil)
	<-back
	if err != nil {
		t.Logf("the first apply ended with: %v", err)
		f.release(set)
	}
	for i := range 30 {
		f.exists("ConfigMap", fmt.Sprintf("part-%02d", i), true)
	}
	if p := f.plan(set); !p.Quiet() {
		t.Errorf("plan afterwards: %v, want nothing to do", p.Applies())
	}
}

// 409, 429, 500 and 503 while applying are retried inside the deadline.
func TestPitfall23_PassingErrorsAreRetried(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	var n atomic.Int32
	codes := []int{409, 429, 500, 503}
	bumpy := f.connectThrough(func(request *http.Request) (*http.Response, error) {
		if i := int(n.Add(1)) - 1; isRealApply(request) && i%2 == 0 {
			code := codes[i/2%len(codes)]
			return statusAnswer(request, code), nil
		}
		return nil, nil
	})
	if _, err := bumpy.c.Apply(t.Context(), f.owner, f.plan(f.set(many(f, 6)...)), nil); err != nil {
		t.Fatalf("apply: %v", err)
	}
	for i := range 6 {
		f.exists("ConfigMap", fmt.Sprintf("part-%02d", i), true)
	}
	// An error that stays is given up within the deadline, and is not terminal.
	broken := f.connectThrough(func(request *http.Request) (*http.Response, error) {
		if isRealApply(request) {
			n.Add(1)
			return statusAnswer(request, 503), nil
		}
		return nil, nil
	})
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	n.Store(0)
	_, err := broken.c.Apply(ctx, f.owner, f.plan(f.set(append(many(f, 6), configMap("more", "a", "b"))...)), nil)
	if err == nil || fault.IsTerminal(err) {
		t.Errorf("apply against a broken server: %v, want a retryable error", err)
	}
	if got := n.Load(); got < 2 || got > 12 {
		t.Errorf("%d attempts in 2s, want several and not a hammering", got)
	}
}

func statusAnswer(request *http.Request, code int) *http.Response {
	body := fmt.Sprintf(`{"kind":"Status","apiVersion":"v1","status":"Failure","reason":%q,"message":"test","code":%d}`,
		map[int]string{409: "Conflict", 429: "TooManyRequests", 500: "InternalError", 503: "ServiceUnavailable"}[code], code)
	return &http.Response{StatusCode: code, Status: http.StatusText(code), Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Request: request,
		Header: http.Header{"Content-Type": {"application/json"}}, Body: io.NopCloser(strings.NewReader(body)), ContentLength: int64(len(body))}
}

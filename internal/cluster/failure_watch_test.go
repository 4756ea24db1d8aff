package cluster

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"chaperone.dev/chaperone/internal/manifest"
)

func isWatch(request *http.Request) bool { return request.URL.Query().Get("watch") != "" }

// events is the answer to a watch that ends after some events.
func events(lines ...string) func(*http.Request) *http.Response {
	return func(request *http.Request) *http.Response {
		return &http.Response{StatusCode: 200, Status: "200 OK", Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Request: request,
			Header: http.Header{"Content-Type": {"application/json"}}, ContentLength: -1,
			Body: io.NopCloser(strings.NewReader(strings.Join(lines, "\n")))}
	}
}

const expired = `{"type":"ERROR","object":{"kind":"Status","apiVersion":"v1","metadata":{},"status":"Failure","message":"too old resource version","reason":"Expired","code":410}}` + "\n"

const bookmark = `{"type":"BOOKMARK","object":{"kind":"PartialObjectMetadata","apiVersion":"meta.k8s.io/v1","metadata":{"resourceVersion":"1"}}}` + "\n"

// A watch that ends, however it ends, begins again, and what is changed after
// is seen. While it keeps failing the server is not hammered.
func TestWatchGoesOnAfterEveryFailure(t *testing.T) {
	t.Parallel()
	status := func(code int) func(*http.Request) *http.Response {
		return func(request *http.Request) *http.Response { return statusAnswer(request, code) }
	}
	for _, test := range []struct {
		name   string
		answer func(*http.Request) *http.Response // nil: the connection breaks
	}{
		{"410", status(410)},
		{"410 in an event", events(expired)},
		{"bookmark and then 410", events(bookmark, expired)},
		{"closed at once", events()},
		{"closed after a bookmark", events(bookmark)},
		{"an event cut off", events(`{"type":"MODIFIED","object":{"kind":"PartialObj`)},
		{"429", status(429)}, {"500", status(500)}, {"503", status(503)}, {"504", status(504)},
		{"connection lost", nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			f := newFixture(t)
			f.release(f.set(configMap("one", "a", "b"), service("web")))
			var broken atomic.Bool
			var asked atomic.Int32
			broken.Store(true)
			watching := f.connectThrough(func(request *http.Request) (*http.Response, error) {
				if !isWatch(request) || !broken.Load() {
					return nil, nil
				}
				asked.Add(1)
				if test.answer == nil {
					return lost(http.DefaultTransport, request)
				}
				return test.answer(request), nil
			})
			seen := watching.changes(t)
			waitFor(t, "watches to fail", func() bool { return asked.Load() >= 4 })
			began, from := time.Now(), asked.Load()
			time.Sleep(2 * time.Second)
			// Three informers: the inventory and two kinds.
			if rate := float64(asked.Load()-from) / time.Since(began).Seconds(); rate > 15 {
				t.Errorf("%.0f watches a second while they fail", rate)
			}
			broken.Store(false)
			f.editUntilSeen("ConfigMap", "one", seen)
			f.editUntilSeen("Service", "web", seen)
		})
	}
}

// changes runs a watch for the time of the test, and tells what it sees.
func (f *fixture) changes(t *testing.T) <-chan manifest.ID {
	ctx, stop := context.WithCancel(t.Context())
	seen := make(chan manifest.ID, 1000)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = f.c.Watch(ctx, f.owner, func(id manifest.ID) {
			select {
			case seen <- id:
			default:
			}
		})
	}()
	t.Cleanup(func() { stop(); <-ended })
	return seen
}

// editUntilSeen edits an object again and again: what happens while a watch is
// not yet back may be missed, what happens after may not.
func (f *fixture) editUntilSeen(kind, name string, seen <-chan manifest.ID) {
	f.Helper()
	deadline := time.After(40 * time.Second)
	for n := 0; ; n++ {
		f.edit(kind, name, func(o *unstructured.Unstructured) {
			o.SetAnnotations(map[string]string{"edited": fmt.Sprint(n)})
		})
		tick := time.After(time.Second)
		for waiting := true; waiting; {
			select {
			case id := <-seen:
				if id.Kind == kind && id.Name == name {
					return
				}
			case <-tick:
				waiting = false
			case <-deadline:
				f.Fatalf("edits of %s %s are not seen any more", kind, name)
			}
		}
	}
}

// A list that takes so long that its place is gone begins anew; it is no
// answer about anything.
func TestListThatExpiresBeginsAnew(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.release(f.set(many(f, 5)...))
	var expired atomic.Int32
	c := f.connectThrough(func(request *http.Request) (*http.Response, error) {
		query := request.URL.Query()
		isList := request.Method == http.MethodGet && !isWatch(request) && query.Get("labelSelector") != ""
		if isList && expired.Add(1) == 1 {
			return statusAnswer(request, 410), nil
		}
		return nil, nil
	}).c
	p, err := c.Plan(t.Context(), f.owner, f.set(many(f, 3)...))
	if err != nil || p.Summary() != "2 delete, 3 unchanged" {
		t.Errorf("plan: %s, %v", p.Summary(), err)
	}
	if expired.Load() < 2 {
		t.Errorf("listed %d times, want again after it expired", expired.Load())
	}
}

// A watch that begins while the server is in trouble sees what is changed once
// it is not, also where nothing else ever happens to the environment.
func TestWatchThatBeginsInAnOutage(t *testing.T) {
	t.Parallel()
	discovery := func(request *http.Request) bool { return strings.Count(request.URL.Path, "/") < 3 }
	for name, hit := range map[string]func(*http.Request) bool{
		"everything": func(*http.Request) bool { return true },
		"discovery":  discovery,
		"all but discovery": func(request *http.Request) bool {
			return !discovery(request)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newFixture(t)
			f.release(f.set(configMap("one", "a", "b"), service("web")))
			var failed atomic.Int32
			healed := time.Now().Add(3 * time.Second)
			seen := f.connectThrough(func(request *http.Request) (*http.Response, error) {
				if !hit(request) || time.Now().After(healed) {
					return nil, nil
				}
				failed.Add(1)
				return statusAnswer(request, 503), nil
			}).changes(t)
			time.Sleep(time.Until(healed))
			f.editUntilSeen("ConfigMap", "one", seen)
			f.editUntilSeen("Service", "web", seen)
			if failed.Load() == 0 {
				t.Error("nothing failed")
			}
		})
	}
}

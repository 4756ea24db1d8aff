package state

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"

	"chaperone.dev/chaperone/internal/fault"
	"chaperone.dev/chaperone/internal/promotion"
)

var production = promotion.ID{Pipeline: "shop", Name: "production"}

// watcher collects what one WatchRequests tells.
type watcher struct {
	*fixture
	told  chan told
	ended chan error
	stop  context.CancelFunc
}

type told struct {
	id       promotion.ID
	requests Requests
}

func (f *fixture) watch(s *Store) *watcher {
	ctx, stop := context.WithCancel(f.Context())
	w := &watcher{fixture: f, told: make(chan told, 100), ended: make(chan error, 1), stop: stop}
	go func() {
		w.ended <- s.WatchRequests(ctx, func(id promotion.ID, requests Requests) { w.told <- told{id, requests} })
	}()
	f.Cleanup(stop)
	return w
}

// next is what is told next, and nothing before it.
func (w *watcher) next(id promotion.ID, want Requests) {
	w.Helper()
	select {
	case got := <-w.told:
		if got.id != id || !got.requests.Equal(want) {
			w.Fatalf("told of %s: %+v; want %s: %+v", got.id, got.requests, id, want)
		}
	case err := <-w.ended:
		w.Fatalf("ended: %v", err)
	case <-time.After(time.Minute):
		w.Fatalf("nothing told within a minute; want %s: %+v", id, want)
	}
}

func (w *watcher) end() error {
	w.Helper()
	w.stop()
	return w.wait()
}

func (w *watcher) wait() error {
	w.Helper()
	select {
	case err := <-w.ended:
		if len(w.told) > 0 {
			w.Errorf("told more: %+v", <-w.told)
		}
		return err
	case <-time.After(time.Minute):
		w.Fatal("does not end")
		return nil
	}
}

func recordFor(id promotion.ID) Record {
	r := full()
	r.ID, r.Environment.ID, r.Status.Environment = id, id, id
	return r
}

func (f *fixture) delete(id promotion.ID) {
	f.Helper()
	if err := f.store.environments().Delete(f.Context(), ObjectName(id), metav1.DeleteOptions{}); err != nil {
		f.Fatal(err)
	}
}

func TestWatchTellsOfRequestsAlone(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	pause := pauseFor("at the start")
	record := f.save(f.store, full())
	f.pause(staging, pause)
	w := f.watch(f.another())
	w.next(staging, Requests{Pause: &pause})

	f.save(f.store, recordFor(production)) // a new environment
	w.next(production, Requests{})
	for range 3 { // status, spec, and other people's annotations are no requests
		record = f.get(f.store, staging)
		record.Message, record.Environment.Path = record.Message+"x", record.Environment.Path+"x"
		f.save(f.store, record)
		f.adorn(staging)
	}
	retry := Retry{ID: "one", By: "joe", At: asked}
	if err := f.store.SetRetry(t.Context(), staging, retry); err != nil {
		t.Fatal(err)
	}
	w.next(staging, Requests{Pause: &pause, Retry: &retry})
	if err := f.store.SetPause(t.Context(), staging, nil); err != nil {
		t.Fatal(err)
	}
	w.next(staging, Requests{Retry: &retry})

	f.patch(production, `{"metadata": {"annotations": {"`+PauseAnnotation+`": "please"}}}`)
	w.next(production, f.get(f.store, production).Requests)
	f.delete(production)
	w.next(production, Requests{})
	f.save(f.another(), recordFor(production)) // it comes again
	w.next(production, Requests{})
	if err := w.end(); !errors.Is(err, context.Canceled) {
		t.Errorf("ended with %v, want the context's error", err)
	}
}

// What happened while nobody watched is told by the next call.
func TestWatchAgainTellsWhatWasMissed(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	testing_ := promotion.ID{Pipeline: "shop", Name: "testing"}
	f.save(f.store, full())
	f.save(f.store, recordFor(production))
	f.save(f.store, recordFor(testing_))
	one, two := pauseFor("one"), pauseFor("two")
	f.pause(staging, one)
	f.pause(production, one)
	store := f.another()
	w := f.watch(store)
	w.next(production, Requests{Pause: &one})
	w.next(staging, Requests{Pause: &one})
	w.next(testing_, Requests{})
	if err := w.end(); err == nil {
		t.Fatal("ended without an error")
	}

	f.delete(production)
	f.delete(testing_) // had no requests: nothing changed
	f.pause(staging, two)
	w = f.watch(store)
	w.next(staging, Requests{Pause: &two})
	w.next(production, Requests{})
	f.pause(staging, one)
	w.next(staging, Requests{Pause: &one})
	if err := w.end(); err == nil {
		t.Fatal("ended without an error")
	}
}

func TestOneWatchAtATime(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.save(f.store, full())
	w := f.watch(f.store)
	w.next(staging, Requests{})
	if err := f.watch(f.store).wait(); !fault.IsTerminal(err) {
		t.Errorf("a second one at once: %v", err)
	}
	_ = w.end()
	w = f.watch(f.store)
	w.next(staging, Requests{})
}

// The server has forgotten the version from which to go on: events were missed,
// and only a new list tells what there is.
func TestWatchEndsWhereEventsWereMissed(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.save(f.store, full())
	_, err := f.store.followRequests(t.Context(), "1", func(promotion.ID, Requests) {})
	if !apierrors.IsResourceExpired(err) && !apierrors.IsGone(err) || fault.IsTerminal(err) {
		t.Errorf("watched from version 1: %v; want 410, retryable", err)
	}
}

// wire stands between a store and the API server.
type wire struct {
	mu       sync.Mutex
	requests []url.Values // of lists and watches
	meddle   func(http.ResponseWriter, *http.Request) (answered bool)
	server   *httptest.Server
}

func (f *fixture) through(meddle func(http.ResponseWriter, *http.Request) bool) (*wire, *Store) {
	f.Helper()
	transport, err := rest.TransportFor(f.config)
	if err != nil {
		f.Fatal(err)
	}
	target, err := url.Parse(f.config.Host)
	if err != nil {
		f.Fatal(err)
	}
	proxy := httputil.NewSingleHostReverseProxy(target)
	proxy.Transport, proxy.FlushInterval = transport, -1
	w := &wire{meddle: meddle}
	w.server = httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if !w.answered(rw, r) {
			proxy.ServeHTTP(rw, r)
		}
	}))
	f.Cleanup(w.server.Close)
	f.Cleanup(w.server.CloseClientConnections)
	store, err := New(&rest.Config{Host: w.server.URL}, f.namespace, time.Now)
	if err != nil {
		f.Fatal(err)
	}
	return w, store
}

func (w *wire) answered(rw http.ResponseWriter, r *http.Request) bool {
	if strings.HasSuffix(r.URL.Path, "/environments") {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.requests = append(w.requests, r.URL.Query())
		return w.meddle(rw, r)
	}
	return false
}

// seen are the queries of lists and watches.
func (w *wire) seen() (lists, watches []url.Values) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, query := range w.requests {
		if query.Get("watch") == "true" {
			watches = append(watches, query)
		} else {
			lists = append(lists, query)
		}
	}
	return lists, watches
}

func cut(query url.Values, r *http.Request, key, value string) {
	query.Set(key, value)
	r.URL.RawQuery = query.Encode()
}

// A server ends each watch after some time. It goes on where it ended, without
// a new list: what happened in between is told once, and nothing again.
func TestWatchGoesOnWhereTheServerEndedIt(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.save(f.store, full())
	wire, store := f.through(func(_ http.ResponseWriter, r *http.Request) bool {
		if query := r.URL.Query(); query.Get("watch") == "true" {
			cut(query, r, "timeoutSeconds", "1")
		}
		return false
	})
	w := f.watch(store)
	w.next(staging, Requests{})
	for _, reason := range []string{"one", "two", "three"} {
		_, before := wire.seen()
		f.eventually("another watch", func() bool { _, now := wire.seen(); return len(now) > len(before) })
		pause := pauseFor(reason)
		f.pause(staging, pause)
		w.next(staging, Requests{Pause: &pause})
	}
	_ = w.end()
	lists, watches := wire.seen()
	if len(lists) != 1 {
		t.Errorf("%d lists, want one", len(lists))
	}
	for i, query := range watches {
		if query.Get("resourceVersion") == "" || query.Get("allowWatchBookmarks") != "true" {
			t.Errorf("watch %d asked for %v; want a version, and bookmarks", i, query)
		}
	}
	if first, last := watches[0].Get("resourceVersion"), watches[len(watches)-1].Get("resourceVersion"); first == last {
		t.Errorf("every watch began at version %s", first)
	}
}

// Bookmarks bring the version forward where nothing happens in this namespace:
// else the server would have forgotten it after a quiet hour.
func TestBookmarksBringTheVersionForward(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.save(f.store, full())
	elsewhere := newFixture(t)
	version, err := f.store.listRequests(t.Context(), func(promotion.ID, Requests) {})
	if err != nil {
		t.Fatal(err)
	}
	elsewhere.save(elsewhere.store, full())
	_, store := f.through(func(_ http.ResponseWriter, r *http.Request) bool {
		cut(r.URL.Query(), r, "timeoutSeconds", "4") // a bookmark comes two seconds before the end
		return false
	})
	after := version
	for tries := 0; tries < 5 && after == version && err == nil; tries++ { // it can come too late on a busy machine
		after, err = store.followRequests(t.Context(), version, func(promotion.ID, Requests) { t.Error("told of something") })
	}
	if err != nil || after == version {
		t.Errorf("version %s before, %s after, %v; want a later one", version, after, err)
	}
}

func TestWatchReportsWhatBreaksIt(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		answer   func(http.ResponseWriter)
		terminal bool
	}{
		"410 at once": {answer: func(w http.ResponseWriter) { answer(w, http.StatusGone, metav1.StatusReasonExpired) }},
		"unavailable": {answer: func(w http.ResponseWriter) {
			answer(w, http.StatusServiceUnavailable, metav1.StatusReasonServiceUnavailable)
		}},
		"forbidden": {answer: func(w http.ResponseWriter) { answer(w, http.StatusForbidden, metav1.StatusReasonForbidden) }, terminal: true},
		"410 in event": {answer: func(w http.ResponseWriter) {
			event(w, `{"kind":"Status","apiVersion":"v1","status":"Failure","code":410,"reason":"Expired"}`)
		}},
		"another kind": {answer: func(w http.ResponseWriter) {
			event(w, `{"kind":"Status","apiVersion":"v1","status":"Failure","code":500}`)
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newFixture(t)
			f.save(f.store, full())
			_, store := f.through(func(w http.ResponseWriter, r *http.Request) bool {
				watched := r.URL.Query().Get("watch") == "true"
				if watched {
					test.answer(w)
				}
				return watched
			})
			w := f.watch(store)
			w.next(staging, Requests{})
			err := w.wait()
			if err == nil || fault.IsTerminal(err) != test.terminal || !strings.Contains(err.Error(), "environments in namespace "+f.namespace+": watch: ") {
				t.Errorf("ended with %v; terminal is %v, want %v", err, fault.IsTerminal(err), test.terminal)
			}
		})
	}
}

func answer(w http.ResponseWriter, code int, reason metav1.StatusReason) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	_, _ = w.Write([]byte(`{"kind":"Status","apiVersion":"v1","status":"Failure","reason":"` + string(reason) + `"}`))
}

func event(w http.ResponseWriter, object string) {
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write([]byte(`{"type":"ERROR","object":` + object + "}\n"))
}

// A list that breaks off between two pages is no list: nothing is taken for
// deleted.
func TestHalfAListTellsNothing(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.save(f.store, full())
	f.save(f.store, recordFor(production))
	var broken atomic.Bool
	_, store := f.through(func(w http.ResponseWriter, r *http.Request) bool {
		query := r.URL.Query()
		if query.Get("watch") != "true" {
			cut(query, r, "limit", "1")
		}
		if broken.Load() && query.Get("continue") != "" {
			answer(w, http.StatusGone, metav1.StatusReasonExpired)
			return true
		}
		return false
	})
	pause := pauseFor("both")
	f.pause(staging, pause)
	f.pause(production, pause)
	w := f.watch(store)
	w.next(production, Requests{Pause: &pause})
	w.next(staging, Requests{Pause: &pause})
	_ = w.end()
	broken.Store(true)
	if err := f.watch(store).wait(); err == nil || fault.IsTerminal(err) {
		t.Errorf("half a list: %v", err)
	}
}

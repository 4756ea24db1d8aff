package e2e

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"k8s.io/client-go/rest"

	"chaperone.dev/chaperone/internal/promotion"
	"chaperone.dev/chaperone/internal/reconcile"
	"chaperone.dev/chaperone/internal/state"
)

// api stands between the daemons of a test and the API server. It sees every
// request before the server does.
type api struct {
	Kubeconfig string

	failed atomic.Int64 // requests that the server could not be asked

	mu       sync.Mutex
	rule     fateRule
	changed  map[string]int                 // changes that the server made, by namespace
	journals map[string][]reconcile.Journal // that the server stored, by object
}

// call is one request.
type call struct {
	Method, Path, Query string
	Body                []byte
}

// fate is what becomes of a call.
type fate struct {
	lose bool   // the server does not get it, or its answer is lost
	sent bool   // with lose: the server gets it all the same
	code int    // the server does not get it, and this is answered
	then func() // after that, before the client hears of it
}

type fateRule func(call) fate

func newAPI(t testing.TB, config *rest.Config) *api {
	t.Helper()
	transport, err := rest.TransportFor(config)
	if err != nil {
		t.Fatal(err)
	}
	target, err := url.Parse(config.Host)
	if err != nil {
		t.Fatal(err)
	}
	a := &api{
		Kubeconfig: filepath.Join(t.TempDir(), "kubeconfig"),
		changed:    map[string]int{}, journals: map[string][]reconcile.Journal{},
	}
	forward := &httputil.ReverseProxy{
		Rewrite:   func(r *httputil.ProxyRequest) { r.SetURL(target) },
		Transport: transport, FlushInterval: -1, ErrorLog: log.New(io.Discard, "", 0),
		ErrorHandler: func(http.ResponseWriter, *http.Request, error) {
			a.failed.Add(1)
			panic(http.ErrAbortHandler) // as if there were no proxy
		},
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { a.serve(w, r, forward) }))
	t.Cleanup(func() {
		server.CloseClientConnections() // watches have no end of their own
		server.Close()
	})
	write(t, a.Kubeconfig, fmt.Sprintf(`apiVersion: v1
kind: Config
clusters: [{name: local, cluster: {server: %q}}]
users: [{name: local, user: {}}]
contexts: [{name: local, context: {cluster: local, user: local}}]
current-context: local
`, server.URL))
	return a
}

// set replaces the rule; nil lets everything pass.
func (a *api) set(r fateRule) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.rule = r
}

func (a *api) serve(w http.ResponseWriter, r *http.Request, forward http.Handler) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	c := call{r.Method, r.URL.Path, r.URL.RawQuery, body}
	var f fate
	a.mu.Lock()
	if a.rule != nil {
		f = a.rule(c)
	}
	a.mu.Unlock()
	switch {
	case f.code != 0:
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(f.code)
		_, _ = fmt.Fprintf(w, `{"kind":"Status","apiVersion":"v1","status":"Failure","message":"test","code":%d}`, f.code)
		return
	case f.lose && f.sent:
		answer := httptest.NewRecorder()
		forward.ServeHTTP(answer, r)
		a.done(c, answer.Code)
	case !f.lose && (f.then != nil || c.Method != http.MethodGet):
		answer := httptest.NewRecorder()
		forward.ServeHTTP(answer, r)
		a.done(c, answer.Code)
		if f.then != nil {
			f.then()
		}
		for name, values := range answer.Header() {
			w.Header()[name] = values
		}
		w.WriteHeader(answer.Code)
		_, _ = w.Write(answer.Body.Bytes())
		return
	case !f.lose:
		forward.ServeHTTP(w, r)
		return
	}
	if f.then != nil {
		f.then()
	}
	panic(http.ErrAbortHandler)
}

// done keeps what the server has changed.
func (a *api) done(c call, code int) {
	if c.Method == http.MethodGet || c.dryRun() || code/100 != 2 {
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if _, rest, found := strings.Cut(c.Path, "/namespaces/"); found {
		namespace, _, _ := strings.Cut(rest, "/")
		a.changed[namespace]++
	}
	if _, rest, found := strings.Cut(c.Path, "/environments/"); found {
		object, _, _ := strings.Cut(rest, "/")
		if journal, is := c.stored(object); is {
			a.journals[object] = append(a.journals[object], journal)
		}
	}
}

// changesIn counts the changes that daemons made in a namespace.
func (a *api) changesIn(namespace string) int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.changed[namespace]
}

// stored are all journals of an environment that daemons stored, oldest first.
func (a *api) stored(id promotion.ID) []reconcile.Journal {
	a.mu.Lock()
	defer a.mu.Unlock()
	return slices.Clone(a.journals[state.ObjectName(id)])
}

// dryRun reports whether a call is one.
func (c call) dryRun() bool { return strings.Contains(c.Query, "dryRun") }

// changes reports whether a call changes an object of a kind, such as
// "deployments", in a namespace.
func (c call) changes(namespace, resource string) bool {
	return c.Method != http.MethodGet && !c.dryRun() && strings.Contains(c.Path, "/namespaces/"+namespace+"/"+resource)
}

// stored is the journal that a call would store for an environment.
func (c call) stored(environment string) (reconcile.Journal, bool) {
	if c.Method != http.MethodPut || !strings.HasSuffix(c.Path, "/environments/"+environment+"/status") {
		return reconcile.Journal{}, false
	}
	var body struct {
		Status struct {
			Journal reconcile.Journal `json:"journal"`
		} `json:"status"`
	}
	if json.Unmarshal(c.Body, &body) != nil {
		return reconcile.Journal{}, false
	}
	return body.Status.Journal, true
}

// stages calls at with the stage before and the stage that is about to be
// stored, each time these differ, and does what it says. It begins with a
// stage that is stored already.
func stages(id promotion.ID, last reconcile.Stage, at func(from, to reconcile.Stage) fate) fateRule {
	return func(c call) fate {
		journal, is := c.stored(state.ObjectName(id))
		if !is || journal.Attempt.Stage == last {
			return fate{}
		}
		from := last
		f := at(from, journal.Attempt.Stage)
		if !f.lose || f.sent {
			last = journal.Attempt.Stage
		}
		return f
	}
}

// once lets a rule decide until it decides something.
func once(rule fateRule) fateRule {
	over := false
	return func(c call) fate {
		if over {
			return fate{}
		}
		f := rule(c)
		over = f.lose || f.then != nil
		return f
	}
}

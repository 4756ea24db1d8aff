package gitea

import (
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"testing"
)

// Front is an address of the server for one test, with the faults that it asks
// for. Requests and answers go through as they are otherwise.
type Front struct {
	URL string // http://127.0.0.1:PORT

	server  *http.Server
	address string
	proxy   http.Handler

	mu       sync.Mutex
	requests []string // method and path, in the order of their coming
	instead  http.HandlerFunc
	loses    string // method and path of the answer that is not given
}

// Front opens an address that closes with the test.
func (s *Server) Front(t testing.TB) *Front {
	t.Helper()
	return NewFront(t, &httputil.ReverseProxy{
		Rewrite:   func(r *httputil.ProxyRequest) { r.SetURL(&url.URL{Scheme: "http", Host: "gitea"}) },
		Transport: s.transport(),
	})
}

// NewFront is the same for any server that answers as a forge does.
func NewFront(t testing.TB, forge http.Handler) *Front {
	t.Helper()
	f := &Front{address: "127.0.0.1:0", proxy: forge}
	f.Up(t)
	t.Cleanup(f.Down)
	f.URL = "http://" + f.address
	return f
}

// Down refuses connections, and ends those that there are.
func (f *Front) Down() { _ = f.server.Close() }

// Up listens, where it did before.
func (f *Front) Up(t testing.TB) {
	t.Helper()
	listener, err := net.Listen("tcp", f.address)
	if err != nil {
		t.Fatal(err)
	}
	f.address = listener.Addr().String()
	server := &http.Server{Handler: f}
	f.server = server
	go func() { _ = server.Serve(listener) }()
}

// Answer answers every request by itself, until it is nil.
func (f *Front) Answer(instead http.HandlerFunc) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.instead = instead
}

// Lose carries out the next request of that method whose path holds a text, and
// cuts the connection instead of giving its answer.
func (f *Front) Lose(method, path string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.loses = method + " " + path
}

// Requests are how many came with that method, whose path holds a text; "" is any.
func (f *Front) Requests(method, path string) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	n := 0
	for _, request := range f.requests {
		did, on, _ := strings.Cut(request, " ")
		if (method == "" || did == method) && strings.Contains(on, path) {
			n++
		}
	}
	return n
}

// ServeHTTP passes a request on.
func (f *Front) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	f.requests = append(f.requests, r.Method+" "+r.URL.Path)
	instead := f.instead
	method, path, _ := strings.Cut(f.loses, " ")
	lost := f.loses != "" && r.Method == method && strings.Contains(r.URL.Path, path)
	if lost {
		f.loses = ""
	}
	f.mu.Unlock()
	switch {
	case instead != nil:
		instead(w, r)
	case lost:
		f.proxy.ServeHTTP(&unheard{header: http.Header{}}, r)
		panic(http.ErrAbortHandler)
	default:
		f.proxy.ServeHTTP(w, r)
	}
}

// unheard takes an answer that nobody gets.
type unheard struct{ header http.Header }

func (u *unheard) Header() http.Header       { return u.header }
func (*unheard) WriteHeader(int)             {}
func (*unheard) Write(p []byte) (int, error) { return len(p), nil }

// Refuse answers with a status, and asks to wait if seconds are not 0.
func Refuse(status, seconds int) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if seconds != 0 {
			w.Header().Set("Retry-After", strconv.Itoa(seconds))
		}
		// As a careless proxy does, it shows what it was sent.
		http.Error(w, `{"message":"no, `+r.Header.Get("Authorization")+`"}`, status)
	}
}

// Package web serves the daemon's page, probes and metrics. It guarantees that
// a request for a page only reads: everything comes from an immutable View, so that no
// request can wait for the loop, or change anything. Pages run no script and
// load nothing from elsewhere.
//
//	/                    a table of every environment
//	/environments.json   the same for scripts
//	/metrics             see package metrics
//	/healthz             200 while the process serves
//	/readyz              503 with the reason until the state was loaded and the source read
//
// Hooks take webhooks, on an address of their own: who can reach that needs to
// reach nothing else.
package web

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"sync/atomic"
	"time"
)

// Options are what a Server is told.
type Options struct {
	Address string       // to listen on, such as 127.0.0.1:8080
	Metrics http.Handler // for /metrics; nil serves none
	Version string       // at the foot of the page
	Now     func() time.Time
	Log     *slog.Logger // nil discards
}

// Server serves one daemon.
type Server struct {
	Options
	view atomic.Pointer[View]
	*listening
}

// New makes a server that serves nothing until Start.
func New(o Options) *Server {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	s := &Server{Options: o}
	s.listening = listen(o.Address, s.Handler(), o.Log)
	return s
}

// Handler answers every request, also without a listener.
func (s *Server) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", s.page)
	mux.HandleFunc("GET /environments.json", s.environments)
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { say(w, http.StatusOK, "ok") })
	mux.HandleFunc("GET /readyz", s.ready)
	if s.Metrics != nil {
		mux.Handle("GET /metrics", s.Metrics)
	}
	return guarded(mux)
}

// policy lets the page carry its own style and nothing else.
const policy = "default-src 'none'; style-src '%s'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

func guarded(next http.Handler) http.Handler {
	content := fmt.Sprintf(policy, styleHash())
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", content)
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Cache-Control", "no-store")
		r.Body = http.MaxBytesReader(w, r.Body, 1<<10) // nothing here reads a body
		next.ServeHTTP(w, r)
	})
}

func (s *Server) ready(w http.ResponseWriter, _ *http.Request) {
	if why := s.waitingFor(); why != "" {
		say(w, http.StatusServiceUnavailable, "not ready: "+why)
		return
	}
	say(w, http.StatusOK, "ready")
}

func (s *Server) environments(w http.ResponseWriter, _ *http.Request) {
	view := s.view.Load()
	if view == nil {
		view = View{}.clone()
	}
	b, err := json.MarshalIndent(view, "", "  ")
	if err != nil {
		s.Log.Error("page not written", "path", "/environments.json", "err", err)
		say(w, http.StatusInternalServerError, "the view cannot be written")
		return
	}
	w.Header().Set("Content-Type", "application/json")
	s.write(w, append(b, '\n'))
}

// write logs nothing louder: a reader that goes away is no fault of ours.
func (s *Server) write(w http.ResponseWriter, b []byte) {
	if _, err := w.Write(b); err != nil {
		s.Log.Debug("page not sent", "err", err)
	}
}

func say(w http.ResponseWriter, status int, text string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.WriteHeader(status)
	fmt.Fprintln(w, text)
}

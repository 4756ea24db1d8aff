package contract

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"chaperone.dev/chaperone/internal/fault"
	"chaperone.dev/chaperone/internal/forge"
	"chaperone.dev/chaperone/internal/source"
)

// every is each thing that can be asked, by name.
func every(w World) map[string]func(context.Context) error {
	commit := source.Revision(strings.Repeat("ab", 20))
	return map[string]func(context.Context) error{
		"keep": func(ctx context.Context) error {
			_, err := w.Forge().KeepPullRequest(ctx, forge.Proposal{Branch: "b", Base: Base, Head: commit, Title: "t"})
			return err
		},
		"close":   func(ctx context.Context) error { return w.Forge().ClosePullRequest(ctx, "b", Base, "why") },
		"comment": func(ctx context.Context) error { return w.Forge().Comment(ctx, 1, "m", "b") },
		"list": func(ctx context.Context) error {
			_, _, err := w.Forge().OpenPullRequests(ctx, Base)
			return err
		},
		"merged": func(ctx context.Context) error {
			_, _, err := w.Forge().MergedBy(ctx, Base, commit)
			return err
		},
		"status": func(ctx context.Context) error {
			return w.Forge().SetStatus(ctx, commit, forge.Status{Context: "c", State: forge.Pending})
		},
	}
}

// all asks for everything, and holds each error to what it must be.
func all(t *testing.T, w World, is error, terminal bool) {
	t.Helper()
	for name, ask := range every(w) {
		err := ask(t.Context())
		switch {
		case !errors.Is(err, is) || fault.IsTerminal(err) != terminal:
			t.Errorf("%s: %v, terminal %v; want %v, %v", name, err, fault.IsTerminal(err), is, terminal)
		case strings.Contains(err.Error(), w.Faults().Token()):
			t.Errorf("%s: the error tells the token", name)
		case len(err.Error()) > 2000 || strings.Contains(err.Error(), "\n"):
			t.Errorf("%s: want one short line: %q", name, err)
		}
	}
}

func revoked(t *testing.T, w World) {
	want := proposal(w, t)
	keep(t, w, want)
	w.Faults().Revoke(t)
	all(t, w, forge.ErrUnauthorised, true)
	w.Faults().Rotate(t)
	keep(t, w, want)
}

func down(t *testing.T, w World) {
	want := proposal(w, t)
	w.Faults().Down()
	all(t, w, forge.ErrUnavailable, false)
	w.Faults().Up(t)
	keep(t, w, want)
	w.Faults().Answer(func(rw http.ResponseWriter, _ *http.Request) { rw.WriteHeader(http.StatusBadGateway) })
	all(t, w, forge.ErrUnavailable, false)
	w.Faults().Answer(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	for name, ask := range every(w) {
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		err := ask(ctx)
		cancel()
		if !errors.Is(err, context.DeadlineExceeded) || fault.IsTerminal(err) {
			t.Errorf("%s: a forge that says nothing: %v", name, err)
		}
	}
}

// rateLimits: the forge is left alone for as long as it asks.
func rateLimits(t *testing.T, w World) {
	for _, code := range []int{http.StatusTooManyRequests, http.StatusServiceUnavailable} {
		w.Faults().Answer(func(rw http.ResponseWriter, r *http.Request) {
			rw.Header().Set("Retry-After", "1")
			http.Error(rw, `{"message":"slow down, `+r.Header.Get("Authorization")+r.Header.Get("Private-Token")+`"}`, code)
		})
		before := w.Faults().Requests("", "")
		for name, ask := range every(w) {
			err := ask(t.Context())
			if wait := forge.Waits(err); wait <= 0 || wait > time.Second || !errors.Is(err, forge.ErrUnavailable) || fault.IsTerminal(err) {
				t.Errorf("%d, %s: %v, to wait %v", code, name, err, wait)
			}
		}
		if n := w.Faults().Requests("", "") - before; n > 2 { // a second may have passed on a slow machine
			t.Errorf("%d: %d requests to a forge that wants none", code, n)
		}
		time.Sleep(time.Second) // as it asks
	}
	w.Faults().Answer(nil)
	keep(t, w, proposal(w, t))
}

// redirects: nobody else gets the token, nor our requests.
func redirects(t *testing.T, w World) {
	elsewhere := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		t.Errorf("it followed to %s, with %v", r.URL, r.Header)
	}))
	defer elsewhere.Close()
	for _, code := range []int{http.StatusMovedPermanently, http.StatusFound, http.StatusTemporaryRedirect, http.StatusPermanentRedirect} {
		w.Faults().Answer(func(rw http.ResponseWriter, r *http.Request) {
			http.Redirect(rw, r, elsewhere.URL+"/?"+r.Header.Get("Authorization"), code)
		})
		all(t, w, forge.ErrRejected, true)
	}
}

// hostile answers are bounded, and never a success.
func hostile(t *testing.T, w World) {
	for name, body := range map[string]string{
		"nothing": "", "html": "<html>welcome</html>", "cut": `[{"number":1,`, "deep": strings.Repeat("[", 100_000), "text": `"yes"`,
	} {
		w.Faults().Answer(func(rw http.ResponseWriter, _ *http.Request) { fmt.Fprint(rw, body) })
		for what, ask := range every(w) {
			if err := ask(t.Context()); !errors.Is(err, forge.ErrUnavailable) || len(err.Error()) > 2000 {
				t.Errorf("%s, %s: %.3000v", name, what, err)
			}
		}
	}
	for _, code := range []int{http.StatusOK, http.StatusInternalServerError} {
		w.Faults().Answer(func(rw http.ResponseWriter, r *http.Request) {
			rw.WriteHeader(code)
			fmt.Fprint(rw, "[")
			for line := []byte(strings.Repeat(" ", 1<<20)); r.Context().Err() == nil; {
				if _, err := rw.Write(line); err != nil {
					return
				}
			}
		})
		all(t, w, forge.ErrUnavailable, false)
	}
}

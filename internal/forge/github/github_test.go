package github

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"chaperone.dev/chaperone/internal/fault"
	"chaperone.dev/chaperone/internal/forge"
	"chaperone.dev/chaperone/internal/forge/client"
	"chaperone.dev/chaperone/internal/forge/contract"
	"chaperone.dev/chaperone/internal/forge/wire"
	"chaperone.dev/chaperone/internal/source"
)

func TestWhereTheAPIIs(t *testing.T) {
	t.Parallel()
	for address, want := range map[string]string{
		"https://github.com":                 "https://api.github.com",
		"https://GitHub.com/":                "https://api.github.com",
		"https://api.github.com/":            "https://api.github.com",
		"https://clinic.ghe.com":             "https://api.clinic.ghe.com",
		"https://api.clinic.ghe.com":         "https://api.clinic.ghe.com",
		"https://git.example.org":            "https://git.example.org/api/v3",
		"https://git.example.org/":           "https://git.example.org/api/v3",
		"https://git.example.org/api/v3/":    "https://git.example.org/api/v3",
		"https://github.com.example.org":     "https://github.com.example.org/api/v3",
		"https://notgithub.com":              "https://notgithub.com/api/v3",
		"http://127.0.0.1:3000/git":          "http://127.0.0.1:3000/git/api/v3",
		"https://evil.example/?x=github.com": "https://evil.example/api/v3?x=github.com", // which package wire refuses
	} {
		if got := Address(address); got != want {
			t.Errorf("%s: %s, want %s", address, got, want)
		}
	}
}

func TestNames(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"", "clinic", "clinic/", "/x", "a/b/c", "clinic/..", "clinic/x?y", "clinic/x%2f", "clinic/x y"} {
		if _, err := New("https://github.com", name, &http.Client{}, nil); err == nil || !strings.Contains(err.Error(), "want owner/name") {
			t.Errorf("%q: %v", name, err)
		}
	}
	if _, err := New("", "clinic/x", &http.Client{}, nil); err == nil {
		t.Error("no address is taken")
	}
}

// A GitHub App cannot ask who it is; its comments are found by its slug.
func TestAnAppKnowsItsName(t *testing.T) {
	t.Parallel()
	site := newWorld(t)
	asked := 0
	as := func(self Self) *client.Client {
		http, err := wire.Client(wire.Config{URL: Address(site.URL), Token: wire.TokenFile(site.TokenFile)})
		if err != nil {
			t.Fatal(err)
		}
		api, err := New(site.URL, site.Repository, http, self)
		if err != nil {
			t.Fatal(err)
		}
		return client.New(api)
	}
	app := as(func(context.Context) (string, error) { asked++; return site.Login(contract.Daemon), nil })
	site.Commit(t, contract.Writer, "topic")
	number := site.Open(t, contract.Writer, "topic", "work")
	for range 3 {
		if err := app.Comment(t.Context(), number, "preview", "what would change"); err != nil {
			t.Fatal(err)
		}
	}
	if list := site.Comments(t, number); len(list) != 1 || asked != 1 || site.Requests("GET", "/user") != 0 {
		t.Errorf("%q, asked %d times", list, asked)
	}
	app = as(func(context.Context) (string, error) { return "", errors.New("key: not there") })
	if err := app.Comment(t.Context(), number, "preview", "x"); err == nil || !strings.Contains(err.Error(), "key: not there") {
		t.Error(err)
	}
}

// An installation's token is made when one is needed, and so may be another one
// each time.
func TestATokenMayBeMade(t *testing.T) {
	t.Parallel()
	site := newWorld(t)
	made := 0
	http, err := wire.Client(wire.Config{URL: Address(site.URL), Token: func(context.Context) (string, error) { made++; return site.Token(), nil }})
	if err != nil {
		t.Fatal(err)
	}
	api, err := New(site.URL, site.Repository, http, nil)
	if err != nil {
		t.Fatal(err)
	}
	c := client.New(api)
	for range 2 {
		site.Rotate(t)
		if _, _, err := c.OpenPullRequests(t.Context(), contract.Base); err != nil || made == 0 {
			t.Errorf("%v, made %d", err, made)
		}
	}
}

// GitHub limits with 403, and tells in which of two ways.
func TestGitHubsLimits(t *testing.T) {
	t.Parallel()
	for name, headers := range map[string]map[string]string{
		"primary": {"X-RateLimit-Remaining": "0", "X-RateLimit-Limit": "5000", "X-RateLimit-Reset": fmt.Sprint(time.Now().Add(10 * time.Minute).Unix())},
		"second":  {"Retry-After": "600"},
	} {
		site := newWorld(t)
		site.Answer(func(w http.ResponseWriter, _ *http.Request) {
			for key, value := range headers {
				w.Header().Set(key, value)
			}
			w.WriteHeader(http.StatusForbidden)
			fmt.Fprint(w, `{"message":"You have exceeded a rate limit.","documentation_url":"https://docs.github.com/rest"}`)
		})
		for range 3 {
			_, _, err := site.Client.OpenPullRequests(t.Context(), contract.Base)
			if wait := forge.Waits(err); wait < 9*time.Minute || wait > 11*time.Minute || fault.IsTerminal(err) {
				t.Errorf("%s: to wait %v: %v", name, wait, err)
			}
		}
		if n := site.Requests("", ""); n != 1 {
			t.Errorf("%s: %d requests", name, n)
		}
	}
	site := newWorld(t)
	site.Answer(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("X-RateLimit-Remaining", "4999")
		w.WriteHeader(http.StatusForbidden)
		fmt.Fprint(w, `{"message":"Resource not accessible by personal access token"}`)
	})
	err := site.Client.SetStatus(t.Context(), source.Revision(strings.Repeat("ab", 20)), forge.Status{Context: "c", State: forge.Pending})
	if !errors.Is(err, forge.ErrForbidden) || !fault.IsTerminal(err) || !strings.Contains(err.Error(), "not accessible by personal access token") {
		t.Error(err)
	}
}

// A list without a next page that is empty is one; an answer without any is not.
func TestAnswersThatAreNothing(t *testing.T) {
	t.Parallel()
	site := newWorld(t)
	site.Answer(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "[]") })
	if err := site.Client.ClosePullRequest(t.Context(), "b", contract.Base, "why"); err != nil {
		t.Error(err)
	}
	site.Answer(func(http.ResponseWriter, *http.Request) {})
	if err := site.Client.ClosePullRequest(t.Context(), "b", contract.Base, "why"); !errors.Is(err, forge.ErrUnavailable) || !strings.Contains(err.Error(), "its answer is empty") {
		t.Error(err)
	}
}

// An organisation may have a fork of its own repository, with a branch named as
// ours is.
func TestAForkOfTheSameOwner(t *testing.T) {
	t.Parallel()
	site := newWorld(t)
	site.Answer(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet {
			t.Errorf("it writes: %s %s", r.Method, r.URL)
		}
		fmt.Fprintf(w, `[{"number":1,"state":"open","head":{"ref":"b","sha":"%040d","repo":{"id":2}},"base":{"ref":"main","repo":{"id":1}}},
			{"number":2,"state":"open","head":{"ref":"b","sha":"%040d","repo":null},"base":{"ref":"main","repo":{"id":1}}}]`, 1, 2)
	})
	if err := site.Client.ClosePullRequest(t.Context(), "b", contract.Base, "why"); err != nil {
		t.Error(err)
	}
	open, _, err := site.Client.OpenPullRequests(t.Context(), contract.Base)
	if err != nil || len(open) != 2 || !open[0].FromFork || !open[1].FromFork {
		t.Errorf("%+v, %v", open, err)
	}
}

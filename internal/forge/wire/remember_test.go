package wire

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// tagging answers with a text and its tag, and counts who asked for more than
// whether it has changed.
type tagging struct {
	text        string
	full, brief int
}

func (s *tagging) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	tag := fmt.Sprintf("W/%q", s.text[:min(len(s.text), 8)])
	w.Header().Set("ETag", tag)
	if r.Header.Get("If-None-Match") == tag {
		s.brief++
		w.WriteHeader(http.StatusNotModified)
		return
	}
	s.full++
	w.Header().Set("Link", `<https://forge.example/?page=2>; rel="next"`)
	fmt.Fprint(w, s.text)
}

func TestAnswersAreRemembered(t *testing.T) {
	t.Parallel()
	forge := &tagging{text: "first"}
	server := httptest.NewServer(forge)
	defer server.Close()
	signed := "one"
	c, err := Client(Config{URL: server.URL, Base: Remember(http.DefaultTransport), Token: func(context.Context) (string, error) { return signed, nil }})
	if err != nil {
		t.Fatal(err)
	}
	for i, step := range []struct {
		text, signed, path string
		full, brief        int
	}{
		{"first", "one", "/", 1, 0},
		{"first", "one", "/", 1, 1},
		{"first", "one", "/", 1, 2},
		{"first", "one", "/?page=2", 2, 2}, // another answer
		{"second", "one", "/", 3, 2},       // it has changed
		{"second", "one", "/", 3, 3},
		{"second", "two", "/", 4, 3}, // what one may see is nothing to another
		{"second", "one", "/", 5, 3},
		{strings.Repeat("long", maxKeptBody), "one", "/long", 6, 3},
		{strings.Repeat("long", maxKeptBody), "one", "/long", 7, 3}, // too long to be kept
	} {
		forge.text, signed = step.text, step.signed
		response, err := c.Get(server.URL + step.path)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(response.Body)
		response.Body.Close()
		if err != nil || string(body) != step.text || response.Header.Get("Link") == "" || response.StatusCode != 200 {
			t.Errorf("step %d: %d, %d bytes, %v", i, response.StatusCode, len(body), err)
		}
		if forge.full != step.full || forge.brief != step.brief {
			t.Errorf("step %d: %d answers and %d times nothing new, want %d and %d", i, forge.full, forge.brief, step.full, step.brief)
		}
	}
}

func TestWhatIsRememberedIsBounded(t *testing.T) {
	t.Parallel()
	m := Remember(answer(200, "x", "ETag", `"1"`)).(*remembering)
	for i := range 3 * maxKept {
		request := httptest.NewRequest("GET", fmt.Sprintf("https://forge.example/%d", i), nil)
		if _, err := m.RoundTrip(request); err != nil {
			t.Fatal(err)
		}
	}
	if len(m.kept) != maxKept || len(m.order) != maxKept {
		t.Errorf("%d answers in %d places", len(m.kept), len(m.order))
	}
}

// An answer that breaks off is not kept, and not taken for a whole one.
func TestNothingBrokenIsRemembered(t *testing.T) {
	t.Parallel()
	broken := errors.New("it breaks off")
	m := Remember(answering(func(r *http.Request) *http.Response {
		response := answer(200, "", "ETag", `"1"`)(r)
		response.Body = io.NopCloser(io.MultiReader(strings.NewReader("half"), failing{broken}))
		return response
	})).(*remembering)
	response, err := m.RoundTrip(httptest.NewRequest("GET", "https://forge.example/", nil))
	if err != nil {
		t.Fatal(err)
	}
	if body, err := io.ReadAll(response.Body); !errors.Is(err, broken) || string(body) != "half" || len(m.kept) != 0 {
		t.Errorf("%q, %v, %d kept", body, err, len(m.kept))
	}
}

type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }

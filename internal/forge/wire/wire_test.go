package wire

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"chaperone.dev/chaperone/internal/forge"
)

const token = "gh+p/secret=1"

func fixed(context.Context) (string, error) { return token, nil }

// answering is a forge that always answers the same.
type answering func(*http.Request) *http.Response

func (a answering) RoundTrip(r *http.Request) (*http.Response, error) { return a(r), nil }

func answer(code int, body string, headers ...string) answering {
	return func(r *http.Request) *http.Response {
		header := http.Header{}
		for i := 0; i < len(headers); i += 2 {
			header.Set(headers[i], headers[i+1])
		}
		return &http.Response{StatusCode: code, Header: header, Body: io.NopCloser(strings.NewReader(body)), Request: r}
	}
}

func get(t *testing.T, c *http.Client, address string) (string, error) {
	t.Helper()
	response, err := c.Get(address)
	if err != nil {
		return "", err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	return string(body), err
}

func client(t *testing.T, c Config) *http.Client {
	t.Helper()
	c.URL = "https://forge.example/sub"
	made, err := Client(c)
	if err != nil {
		t.Fatal(err)
	}
	return made
}

func TestAddresses(t *testing.T) {
	t.Parallel()
	for _, good := range []string{"https://git.example.org", "http://127.0.0.1:3000/git/"} {
		if _, err := Address(good); err != nil {
			t.Errorf("%s: %v", good, err)
		}
	}
	for _, bad := range []string{"", "git.example.org", "ssh://git@example.org", "https://bot:" + token + "@git.example.org", "https://", "https://x/?token=" + token, "https://x/#y", "https://\x7f" + token} {
		if _, err := Address(bad); err == nil || strings.Contains(err.Error(), "bot:") {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

func TestTheTokenGoesToOneHost(t *testing.T) {
	t.Parallel()
	elsewhere := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("asked somebody else") }))
	defer elsewhere.Close()
	c := client(t, Config{Token: fixed, Base: answering(func(r *http.Request) *http.Response {
		if r.Header.Get("Authorization") != "Bearer "+token || r.URL.Host != "forge.example" {
			t.Errorf("%s: %v", r.URL, r.Header)
		}
		return answer(200, "fine")(r)
	})})
	if body, err := get(t, c, "https://forge.example/sub/x"); body != "fine" || err != nil {
		t.Errorf("%q, %v", body, err)
	}
	for _, other := range []string{elsewhere.URL, "http://forge.example/", "https://forge.example:444/", "https://forge.example.org/"} {
		if _, err := get(t, c, other); !errors.Is(err, forge.ErrRejected) {
			t.Errorf("%s: %v", other, err)
		}
	}
}

func TestRefusalsTellNoToken(t *testing.T) {
	t.Parallel()
	for name, body := range map[string]string{
		"github":  `{"message":"Validation Failed ` + token + `","errors":[{"message":"No commits between main and topic"}]}`,
		"gitlab":  `{"message":{"base":["No commits between main and topic"]},"error":"` + token + `"}`,
		"encoded": `{"message":"No commits between main and topic: gh%2Bp%2Fsecret%3D1"}`,
		"html":    "<html>No commits between main and topic " + token + "</html>",
	} {
		_, err := get(t, client(t, Config{Token: fixed, Base: answer(422, body)}), "https://forge.example/sub/x")
		switch {
		case !errors.Is(err, forge.ErrRejected) || strings.Contains(err.Error(), "secret="), strings.Contains(err.Error(), "secret%"):
			t.Errorf("%s: %v", name, err)
		case strings.Contains(err.Error(), "No commits between main and topic") != (name != "html"):
			t.Errorf("%s: %v", name, err)
		}
	}
	_, err := get(t, client(t, Config{Token: fixed, Base: answer(302, "", "Location", "https://u:p@login.example/a?token="+token)}), "https://forge.example/sub/x")
	if !errors.Is(err, forge.ErrRejected) || !strings.Contains(err.Error(), "https://login.example/a,") {
		t.Errorf("redirect: %v", err)
	}
}

func TestLimits(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)
	for _, test := range []struct {
		code    int
		headers []string
		want    time.Duration // 0: no limit
	}{
		{429, nil, time.Minute},
		{429, []string{"Retry-After", "7"}, 7 * time.Second},
		{429, []string{"Retry-After", "soon"}, time.Minute},
		{429, []string{"Retry-After", "-7"}, time.Minute},
		{503, []string{"Retry-After", now.Add(90 * time.Second).Format(http.TimeFormat)}, 90 * time.Second},
		{503, nil, 0},
		{403, nil, 0},
		{403, []string{"Retry-After", "60"}, time.Minute},
		{403, []string{"X-RateLimit-Remaining", "0", "X-RateLimit-Reset", "1777637100"}, 5 * time.Minute},
		{403, []string{"X-RateLimit-Remaining", "12", "X-RateLimit-Reset", "1777637100"}, 0},
		{429, []string{"RateLimit-Remaining", "0", "RateLimit-Reset", "1777637100"}, 5 * time.Minute},
		{403, []string{"X-RateLimit-Remaining", "0"}, time.Minute},
		{500, []string{"Retry-After", "60"}, 0},
	} {
		wait, asked := limited(answer(test.code, "", test.headers...)(nil), now)
		if asked != (test.want != 0) || asked && wait != test.want {
			t.Errorf("%d %v: %v, %v; want %v", test.code, test.headers, wait, asked, test.want)
		}
	}
}

func TestALimitIsHeeded(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		asked := 0
		c := client(t, Config{Base: answering(func(r *http.Request) *http.Response {
			asked++
			return answer(429, "", "Retry-After", "60")(r)
		})})
		for _, want := range []int{1, 1, 1, 2} {
			_, err := get(t, c, "https://forge.example/sub/x")
			if wait := forge.Waits(err); asked != want || wait <= 0 || wait > time.Minute {
				t.Errorf("asked %d times, want %d; to wait %v: %v", asked, want, wait, err)
			}
			time.Sleep(25 * time.Second)
		}
	})
}

func TestAnswersAreBounded(t *testing.T) {
	t.Parallel()
	endless := answering(func(r *http.Request) *http.Response {
		response := answer(200, "")(r)
		response.Body = io.NopCloser(zeros{})
		return response
	})
	if body, err := get(t, client(t, Config{Base: endless}), "https://forge.example/sub/x"); !errors.Is(err, forge.ErrUnavailable) || len(body) > maxAnswer {
		t.Errorf("%d bytes, %v", len(body), err)
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { return len(p), nil }

func TestTokenFiles(t *testing.T) {
	t.Parallel()
	name := filepath.Join(t.TempDir(), "token")
	read := TokenFile(name)
	write := func(content string) {
		if err := os.WriteFile(name, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := read(t.Context()); !errors.Is(err, forge.ErrUnauthorised) || !errors.Is(err, os.ErrNotExist) || strings.Count(err.Error(), name) != 1 {
		t.Errorf("none: %v", err)
	}
	for _, content := range []string{"one\n", " two ", token} {
		write(content)
		if got, err := read(t.Context()); got != strings.TrimSpace(content) || err != nil {
			t.Errorf("%q: %q, %v", content, got, err)
		}
	}
	for _, content := range []string{"", "\n", "two words", "a\x00b", "caf\u00e9", strings.Repeat("x", maxToken+1)} {
		write(content)
		if got, err := read(t.Context()); got != "" || !errors.Is(err, forge.ErrUnauthorised) {
			t.Errorf("%.20q: %q, %v", content, got, err)
		}
	}
}

// Package wire makes the HTTP clients that the forges' SDKs talk through. It
// guarantees, whatever an SDK does with it: the token is read from its file for
// each request and given to nobody but the configured host; no redirect is
// followed; requests end in time and answers are bounded; refusals arrive as
// errors of package forge, which never hold the token; and a forge that asks to
// be left alone is left alone.
package wire

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"chaperone.dev/chaperone/internal/forge"
)

const (
	maxAnswer      = 16 << 20 // bytes; some lists have no pages
	maxSaid        = 4 << 10  // bytes of a refusal
	defaultTimeout = 30 * time.Second
	userAgent      = "chaperone"
)

// Config says whom to talk to, and how.
type Config struct {
	URL     string                                 // of the forge's API: nothing outside it is asked
	Token   func(context.Context) (string, error)  // nil is nobody; see TokenFile
	Sign    func(header http.Header, token string) // nil: Authorization: Bearer
	Refused func(token string)                     // is told of one that was not accepted; nil is nobody
	Timeout time.Duration                          // for one request with its answer; 0 is half a minute
	Base    http.RoundTripper                      // nil: Go's own, with the proxy settings of the environment
	now     func() time.Time
}

// Client is an HTTP client as this package guarantees it.
func Client(c Config) (*http.Client, error) {
	base, err := Address(c.URL)
	if err != nil {
		return nil, err
	}
	if c.Base == nil {
		transport := http.DefaultTransport.(*http.Transport).Clone()
		transport.ResponseHeaderTimeout = defaultTimeout
		c.Base = transport
	}
	if c.Timeout == 0 {
		c.Timeout = defaultTimeout
	}
	if c.Sign == nil {
		c.Sign = func(header http.Header, token string) { header.Set("Authorization", "Bearer "+token) }
	}
	if c.now == nil {
		c.now = time.Now
	}
	return &http.Client{
		Transport:     &transport{Config: c, base: base},
		Timeout:       c.Timeout,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}, nil
}

// Address reads the address of a forge.
func Address(text string) (*url.URL, error) {
	u, err := url.Parse(text)
	switch {
	case err != nil:
		return nil, errors.New("want an address such as https://git.example.org") // the error would repeat it
	case u.User != nil:
		return nil, errors.New("want an address without user and password: tokens are read from a file")
	case u.Scheme != "https" && u.Scheme != "http" || u.Host == "" || u.RawQuery != "" || u.Fragment != "":
		return nil, fmt.Errorf("want an address such as https://git.example.org, not %.80q", text)
	}
	return u, nil
}

type transport struct {
	Config
	base *url.URL

	mu    sync.Mutex
	quiet time.Time // not before this
}

// RoundTrip returns answers of success only.
func (t *transport) RoundTrip(request *http.Request) (*http.Response, error) {
	if request.URL.Scheme != t.base.Scheme || request.URL.Host != t.base.Host {
		return nil, fmt.Errorf("%w: %s is not %s, and gets no token", forge.ErrRejected, request.URL.Host, t.base.Host)
	}
	if wait := t.wait(); wait > 0 {
		return nil, forge.Limited(wait)
	}
	request = request.Clone(request.Context())
	request.Header.Set("User-Agent", userAgent)
	token := ""
	if t.Token != nil {
		var err error
		if token, err = t.Token(request.Context()); err != nil {
			return nil, err
		}
		t.Sign(request.Header, token)
	}
	response, err := t.Base.RoundTrip(request)
	if err != nil {
		return nil, err
	}
	if response.StatusCode/100 == 2 {
		response.Body = &bounded{body: response.Body, left: maxAnswer}
		return response, nil
	}
	defer response.Body.Close()
	if response.StatusCode == http.StatusUnauthorized && t.Refused != nil {
		t.Refused(token)
	}
	return nil, t.refused(response, token)
}

func (t *transport) wait() time.Duration {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.quiet.Sub(t.now())
}

func (t *transport) refused(response *http.Response, token string) error {
	if wait, asked := limited(response, t.now()); asked {
		limit := forge.Limited(wait)
		t.mu.Lock()
		t.quiet = t.now().Add(limit.Wait)
		t.mu.Unlock()
		return limit
	}
	if to := response.Header.Get("Location"); response.StatusCode/100 == 3 && to != "" {
		return fmt.Errorf("%w: it sends us to %s, and redirects are not followed; want the address and the name that the repository has now",
			forge.ErrRejected, destination(to))
	}
	content, err := io.ReadAll(io.LimitReader(response.Body, maxSaid))
	if err != nil {
		content = nil // what it said is a help, no more
	}
	return forge.Answered(response.StatusCode, Clean(said(content), token))
}

// destination is a place without what may be secret about it.
func destination(location string) string {
	u, err := url.Parse(location)
	if err != nil {
		return "nowhere"
	}
	return (&url.URL{Scheme: u.Scheme, Host: u.Host, Path: u.Path}).String()
}

// bounded is the body of an answer: what is longer than any that makes sense is
// an error, never an end.
type bounded struct {
	body io.ReadCloser
	left int64
}

func (b *bounded) Read(p []byte) (int, error) {
	if b.left <= 0 {
		return 0, fmt.Errorf("%w: its answer is longer than %d bytes", forge.ErrUnavailable, maxAnswer)
	}
	n, err := b.body.Read(p[:min(int64(len(p)), b.left)])
	b.left -= int64(n)
	return n, err
}

func (b *bounded) Close() error { return b.body.Close() }

// Clean takes a token out of what came from outside.
func Clean(text, token string) string {
	if token == "" {
		return text
	}
	for _, form := range []string{token, url.QueryEscape(token), url.PathEscape(token)} {
		text = strings.ReplaceAll(text, form, "<secret>")
	}
	return text
}

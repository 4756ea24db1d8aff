package gogit

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"strings"
	"sync"
)

// httpClient speaks smart HTTP. It keeps connections between conversations,
// uses the usual proxy settings, and never carries credentials to another host.
type httpClient struct {
	client http.Client

	mu    sync.Mutex
	place *url.URL        // of a server that speaks version 2; nil: none was met
	can   map[string]bool // what it can
}

// protocolHeader carries the version of Git's protocol that is wanted.
const protocolHeader = "Git-Protocol"

var errOtherHost = errors.New("redirected to another host, where the credentials must not go: put the new URL in place of the old one")

func newHTTPClient() *httpClient {
	h := &httpClient{}
	if shared, ok := http.DefaultTransport.(*http.Transport); ok {
		own := shared.Clone()
		own.MaxIdleConnsPerHost = 2
		h.client.Transport = own
	}
	h.client.CheckRedirect = func(next *http.Request, via []*http.Request) error {
		from := via[0].URL
		upgraded := from.Scheme == "http" && next.URL.Scheme == "https" && from.Hostname() == next.URL.Hostname()
		switch {
		case next.Method != http.MethodGet:
			return errors.New("redirected in the middle of a conversation")
		case len(via) > 5:
			return errors.New("redirected too often")
		case !upgraded && (from.Host != next.URL.Host || from.Scheme != next.URL.Scheme):
			return errOtherHost
		}
		return nil
	}
	return h
}

func (h *httpClient) close() { h.client.CloseIdleConnections() }

func (h *httpClient) dial(ctx context.Context, base *url.URL, what service, who login) (*conversation, error) {
	refs := base.JoinPath("info", "refs")
	refs.RawQuery = "service=" + string(what)
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, refs.String(), nil)
	if err != nil {
		return nil, err
	}
	if what == uploadPack {
		request.Header.Set(protocolHeader, askVersion2)
	}
	response, err := h.do(request, who, "application/x-"+string(what)+"-advertisement")
	if err != nil {
		return nil, err
	}
	// A renamed repository answers from its new place; the rest goes there.
	place := *response.Request.URL
	place.RawQuery = ""
	place.Path = strings.TrimSuffix(place.Path, "/info/refs")
	talk := h.talk(ctx, &place, what, who, response.Body)
	talk.learned = func(can map[string]bool) {
		h.mu.Lock()
		defer h.mu.Unlock()
		h.place, h.can = &place, can
	}
	return talk, nil
}

// resume goes on with a server that has said what it can, if there is one.
func (h *httpClient) resume(ctx context.Context, who login) (*conversation, map[string]bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.place == nil {
		return nil, nil
	}
	return h.talk(ctx, h.place, uploadPack, who, http.NoBody), h.can
}

func (h *httpClient) forget() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.place, h.can = nil, nil
}

// talk is a conversation with the server at place, which began with advert.
func (h *httpClient) talk(ctx context.Context, place *url.URL, what service, who login, advert io.ReadCloser) *conversation {
	open := []io.ReadCloser{advert}
	return &conversation{
		advert: advert,
		say: func(body []byte) (io.Reader, error) {
			_, _ = io.Copy(io.Discard, io.LimitReader(open[len(open)-1], maxReport)) // frees the connection
			request, err := http.NewRequestWithContext(ctx, http.MethodPost, place.JoinPath(string(what)).String(), bytes.NewReader(body))
			if err != nil {
				return nil, err
			}
			if bytes.Contains(body[:min(len(body), 64)], []byte("command=")) {
				request.Header.Set(protocolHeader, askVersion2)
			}
			request.Header.Set("Content-Type", "application/x-"+string(what)+"-request")
			response, err := h.do(request, who, "application/x-"+string(what)+"-result")
			if err != nil {
				return nil, err
			}
			open = append(open, response.Body)
			return response.Body, nil
		},
		close: func() {
			for _, body := range open {
				_, _ = io.Copy(io.Discard, io.LimitReader(body, maxReport))
				_ = body.Close()
			}
		},
		remarks: func() string { return "" },
	}
}

func (h *httpClient) do(request *http.Request, who login, contentType string) (*http.Response, error) {
	if who.token != "" {
		request.SetBasicAuth(who.user, string(who.token))
	}
	request.Header.Set("User-Agent", "git/chaperone")
	response, err := h.client.Do(request)
	var withURL *url.Error
	if errors.As(err, &withURL) {
		return nil, withURL.Err // the URL may be one that the server made up of what we sent
	}
	if err != nil {
		return nil, err
	}
	switch got, _, _ := mime.ParseMediaType(response.Header.Get("Content-Type")); {
	case response.StatusCode != http.StatusOK:
		err = statusProblem(response, who)
	case got != contentType:
		err = errNoGitServer
	default:
		return response, nil
	}
	_ = response.Body.Close()
	return nil, err
}

func statusProblem(response *http.Response, who login) error {
	text := fmt.Sprintf("the server answers %d %s", response.StatusCode, http.StatusText(response.StatusCode))
	denied := false
	switch response.StatusCode {
	case http.StatusUnauthorized:
		denied = true
		if who.token == "" {
			text += ": it wants credentials, and no token file is given"
		} else {
			text += fmt.Sprintf(": it does not accept the token for user %q", who.user)
		}
	case http.StatusForbidden:
		denied = true
		text += ": the credentials do not allow this"
	case http.StatusNotFound:
		denied = true
		text += ": there is no such repository, or the credentials do not allow to see it"
	}
	if got, _, _ := mime.ParseMediaType(response.Header.Get("Content-Type")); got == "text/plain" {
		said, _ := io.ReadAll(io.LimitReader(response.Body, maxRemarks))
		text += ": " + strings.TrimSpace(string(said))
	}
	return &problem{text: text, denied: denied}
}

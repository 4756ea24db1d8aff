package cluster

import (
	"net/http"
	"strings"
	"sync"
	"time"
)

// watchPause is the least time between two beginnings of the same watch. An
// informer begins some that end at once again without a pause, thousands of
// times a second: those whose place is gone (410), and those that a proxy
// closes.
const watchPause = time.Second

// pacer keeps the same watch from being begun too often.
type pacer struct {
	next http.RoundTripper

	mu   sync.Mutex
	last map[string]time.Time // when each watch may have begun last
}

// RoundTrip implements http.RoundTripper.
func (p *pacer) RoundTrip(request *http.Request) (*http.Response, error) {
	if query := request.URL.Query(); query.Get("watch") != "" {
		which := request.URL.Path + "?" + query.Get("labelSelector") + "&" + query.Get("fieldSelector")
		if err := sleep(request.Context(), p.turn(which, time.Now())); err != nil {
			return nil, err
		}
	}
	return p.next.RoundTrip(request)
}

// WrappedRoundTripper is as counter's.
func (p *pacer) WrappedRoundTripper() http.RoundTripper { return p.next }

// turn is how long a watch has to wait.
func (p *pacer) turn(which string, now time.Time) time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	for other, at := range p.last {
		if now.Sub(at) > watchPause {
			delete(p.last, other)
		}
	}
	at := now
	if last, found := p.last[which]; found && last.Add(watchPause).After(now) {
		at = last.Add(watchPause)
	}
	p.last[which] = at
	return at.Sub(now)
}

// counter tells a hook of every request and its outcome.
type counter struct {
	next  http.RoundTripper
	count func(verb, resource string, code int)
}

// RoundTrip implements http.RoundTripper.
func (c *counter) RoundTrip(request *http.Request) (*http.Response, error) {
	response, err := c.next.RoundTrip(request)
	code := 0
	if response != nil {
		code = response.StatusCode
	}
	verb, resource := describe(request)
	c.count(verb, resource, code)
	return response, err
}

// WrappedRoundTripper lets client-go find the transport below, to close its
// idle connections.
func (c *counter) WrappedRoundTripper() http.RoundTripper { return c.next }

// describe reads verb and resource off a request to an API server. The number
// of distinct answers is bounded by the kinds of the cluster: they become
// metric labels.
func describe(request *http.Request) (verb, resource string) {
	resource, named := resourceOf(request.URL.Path)
	switch request.Method {
	case http.MethodPost:
		return "create", resource
	case http.MethodPut:
		return "update", resource
	case http.MethodDelete:
		return "delete", resource
	case http.MethodPatch:
		if strings.HasPrefix(request.Header.Get("Content-Type"), "application/apply-patch") {
			return "apply", resource
		}
		return "patch", resource
	}
	switch {
	case request.URL.Query().Get("watch") != "":
		return "watch", resource
	case named || resource == "discovery":
		return "get", resource
	}
	return "list", resource
}

// resourceOf reads /api/v1/namespaces/NS/RESOURCE/NAME and its shorter forms.
func resourceOf(path string) (resource string, named bool) {
	parts := strings.Split(strings.Trim(path, "/"), "/")
	switch {
	case len(parts) > 2 && parts[0] == "api":
		parts = parts[2:]
	case len(parts) > 3 && parts[0] == "apis":
		parts = parts[3:]
	default:
		return "discovery", false
	}
	if parts[0] == "namespaces" && len(parts) > 2 {
		parts = parts[2:]
	}
	return parts[0], len(parts) > 1
}

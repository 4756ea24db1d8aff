package cluster

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
)

// An account that may list few kinds is not asked for the others: one look at its
// rules tells. Where they are not all there are, or not told, it is.
func TestSearchAsksOnlyForWhatAnAccountMayList(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	deployer, _ := f.asDeployer(rule("apps", "deployments", allVerbs), rule("", "services", allVerbs, "web"))
	deployer.release(f.set(configMap("own", "a", "b"), deployment("api", "registry.local/api:1", "replicas: 0")))
	f.loseInventory()
	const many = 30 // there are more kinds, those of other tests among them
	for name, test := range map[string]struct {
		answer func(string) (int, string) // to a review of the rules
		lists  int
	}{
		"all rules": {func(text string) (int, string) { return 0, text }, 3}, // one may name services
		"not all rules": {func(text string) (int, string) {
			return 0, strings.Replace(text, `"incomplete":false`, `"incomplete":true`, 1)
		}, many},
		"may not review": {func(string) (int, string) { return http.StatusForbidden, "" }, many},
		"no review":      {func(string) (int, string) { return http.StatusServiceUnavailable, "" }, many},
	} {
		var mu sync.Mutex
		var lists []string
		reviews := 0
		c := f.through(func(next http.RoundTripper) http.RoundTripper {
			return tripper{next, func(request *http.Request) (*http.Response, error) {
				mu.Lock()
				defer mu.Unlock()
				if request.URL.Query().Get("labelSelector") != "" {
					lists = append(lists, request.URL.Path)
				}
				response, err := next.RoundTrip(request)
				if err != nil || !strings.HasSuffix(request.URL.Path, "/selfsubjectrulesreviews") {
					return response, err
				}
				reviews++
				return rewritten(response, test.answer)
			}}
		}, Options{Impersonate: f.user()})
		found, err := c.searchAll(t.Context(), []Owner{f.owner})
		if err != nil || found[0].err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if got := found[0].names(); !slices.Equal(got, []string{"ConfigMap/own", "Deployment/api"}) {
			t.Errorf("%s: found %v", name, got)
		}
		if n := min(len(lists), many); n != test.lists || reviews != 1 {
			t.Errorf("%s: %d lists after %d reviews, want %d after one", name, n, reviews, test.lists)
		}
	}
}

func rewritten(response *http.Response, answer func(string) (int, string)) (*http.Response, error) {
	text, err := io.ReadAll(response.Body)
	if err != nil {
		return nil, fmt.Errorf("read answer: %w", err)
	}
	_ = response.Body.Close()
	code, body := answer(string(text))
	if code != 0 {
		return statusAnswer(response.Request, code), nil
	}
	response.Body, response.ContentLength = io.NopCloser(bytes.NewReader([]byte(body))), int64(len(body))
	response.Header.Del("Content-Length")
	return response, nil
}

type tripper struct {
	next http.RoundTripper
	do   func(*http.Request) (*http.Response, error)
}

func (t tripper) RoundTrip(request *http.Request) (*http.Response, error) { return t.do(request) }

func (t tripper) WrappedRoundTripper() http.RoundTripper { return t.next }

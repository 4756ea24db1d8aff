package cluster

import (
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"k8s.io/client-go/rest"

	"chaperone.dev/chaperone/internal/fault"
	"chaperone.dev/chaperone/internal/manifest"
	"chaperone.dev/chaperone/internal/promotion"
)

// HTTP/2 pings are answered by a proxy that is stuck, too.
func TestServerThatHangsIsNotWaitedForForEver(t *testing.T) {
	t.Parallel()
	stop := make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		select {
		case <-stop:
		case <-r.Context().Done():
		}
	}))
	defer server.Close()
	defer close(stop)
	c, err := Connect(&rest.Config{Host: server.URL}, Options{RequestTimeout: 200 * time.Millisecond, RetryFor: time.Second})
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() {
		_, err := c.Plan(t.Context(), Owner{Environment: promotion.ID{Pipeline: "p", Name: "e"}, Namespace: "n"}, manifest.Set{})
		ended <- err
	}()
	select {
	case err := <-ended:
		if err == nil || fault.IsTerminal(err) {
			t.Errorf("a server that does not answer: %v, want an error that may pass", err)
		}
	case <-time.After(time.Minute):
		t.Error("a plan waits for ever")
	}
}

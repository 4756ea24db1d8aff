package verify

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"chaperone.dev/chaperone/internal/promotion"
)

// ask runs one check over real connections.
func ask(t *testing.T, client *http.Client, check promotion.HTTPCheck) Result {
	t.Helper()
	if check.Count == 0 {
		check.Count = 1
	}
	check.Name, check.Timeout = "x", 10*time.Second
	result, err := New(client, SystemClock(), 0).HTTP(t.Context(), check, "novamind")
	if err != nil {
		t.Fatal(err)
	}
	return result
}

func serve(t *testing.T, handler http.HandlerFunc) *httptest.Server {
	t.Helper()
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	return server
}

func TestHTTPRedirects(t *testing.T) {
	t.Parallel()
	var elsewhere sync.Map
	other := serve(t, func(w http.ResponseWriter, r *http.Request) { elsewhere.Store(r.URL.Path, true) })
	server := serve(t, func(w http.ResponseWriter, r *http.Request) {
		var hops int
		switch {
		case r.URL.Path == "/other":
			http.Redirect(w, r, other.URL+"/stolen", http.StatusFound)
		case r.URL.Path == "/in-a-circle":
			http.Redirect(w, r, "/in-a-circle", http.StatusFound)
		default:
			if _, err := fmt.Sscanf(r.URL.Path, "/hops/%d", &hops); err == nil && hops > 0 {
				http.Redirect(w, r, fmt.Sprintf("/hops/%d", hops-1), http.StatusTemporaryRedirect)
			}
		}
	})
	for _, test := range []struct {
		path     string
		status   []int
		verdict  Verdict
		evidence string
	}{
		{"/hops/0", nil, Pass, ""},
		{"/hops/3", nil, Pass, ""},
		{"/hops/4", nil, Fail, "answered 307 in 1 of 1"},
		{"/in-a-circle", nil, Fail, "answered 302"},
		{"/other", nil, Fail, "answered 302"},
		{"/other", []int{302}, Pass, ""},
		{"/hops/1", []int{307}, Pass, ""},
		{"/hops/1", []int{200, 307}, Pass, ""},
	} {
		result := ask(t, NewClient(nil), promotion.HTTPCheck{URL: server.URL + test.path, Status: test.status})
		if result.Verdict != test.verdict || !strings.Contains(result.Evidence, test.evidence) {
			t.Errorf("%s wanting %v: got %s: %s", test.path, test.status, result.Verdict, result.Evidence)
		}
	}
	if _, followed := elsewhere.Load("/stolen"); followed {
		t.Error("a redirect was followed to another host")
	}
}

func TestSameHost(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		from, to string
		want     bool
	}{
		{"http://a/x", "http://A:80/y", true},
		{"http://a/", "https://a/", true},
		{"https://a/", "http://a/", false},
		{"http://a:8080/", "https://a/", false},
		{"http://a/", "http://a:8080/", false},
		{"http://a/", "http://a.b/", false},
	} {
		from, _ := url.Parse(test.from)
		to, _ := url.Parse(test.to)
		if got := sameHost(from, to); got != test.want {
			t.Errorf("%s to %s: got %v", test.from, test.to, got)
		}
	}
}

// The wire carries what the check says; the evidence carries no secret of it.
func TestHTTPRequestAndEvidence(t *testing.T) {
	t.Parallel()
	var seen []*http.Request
	server := serve(t, func(w http.ResponseWriter, r *http.Request) {
		seen = append(seen, r)
		http.Error(w, "CANARY-BODY", http.StatusTeapot)
	})
	result := ask(t, NewClient(nil), promotion.HTTPCheck{
		URL: server.URL + "/p?token=CANARY-QUERY", Method: "POST", Body: "x", Count: 3, Failures: .99,
		Headers: map[string]string{"Authorization": "Bearer CANARY-HEADER", "host": "api.example.org"},
	})
	if len(seen) != 3 || result.Verdict != Fail {
		t.Fatalf("asked %d times: %+v", len(seen), result)
	}
	for _, r := range seen {
		if r.Method != "POST" || r.Host != "api.example.org" || r.Header.Get("Authorization") != "Bearer CANARY-HEADER" ||
			r.URL.Query().Get("token") != "CANARY-QUERY" || r.UserAgent() != "chaperone-verify" {
			t.Errorf("sent %s %s to %s with %v", r.Method, r.URL, r.Host, r.Header)
		}
	}
	server.Close()
	unanswered := ask(t, NewClient(nil), promotion.HTTPCheck{URL: server.URL + "/p?token=CANARY-QUERY"})
	for _, r := range []Result{result, unanswered} {
		if strings.Contains(r.Evidence, "CANARY") {
			t.Errorf("evidence holds a secret: %s", r.Evidence)
		}
	}
	if unanswered.Verdict != Error || !strings.HasSuffix(unanswered.Evidence, ": connection refused") {
		t.Errorf("got %s: %s", unanswered.Verdict, unanswered.Evidence)
	}
}

// Over one connection, one pod of a Service would answer all requests.
func TestHTTPOpensAConnectionForEachRequest(t *testing.T) {
	t.Parallel()
	connections := map[string]bool{}
	server := serve(t, func(_ http.ResponseWriter, r *http.Request) { connections[r.RemoteAddr] = true })
	if result := ask(t, NewClient(nil), promotion.HTTPCheck{URL: server.URL, Count: 3}); result.Verdict != Pass {
		t.Error(result.Evidence)
	}
	if len(connections) != 3 {
		t.Errorf("%d connections for 3 requests", len(connections))
	}
}

// A proxy that could not get through says nothing about the release.
func TestHTTPThroughProxy(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, note string
		status     int
		verdict    Verdict
	}{
		{"right", "", 200, Pass},
		{"the service's 500", "", 500, Fail},
		{"bad gateway", "", 502, Error},
		{"nobody can tell whose 503", "", 503, Error},
		{"gateway timeout", "", 504, Error},
		{"credentials for the proxy", "", 407, Error},
		{"the proxy says it is its own", `pods; error=destination_unavailable`, 500, Error},
		{"the proxy says it is the service's", `pods; received-status=503`, 503, Fail},
		{"a note on something else", `pods; details="error = received-status"`, 500, Fail},
		{"and on something else again", `pods; details="error = received-status"`, 503, Error},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			var asked string
			proxy := serve(t, func(w http.ResponseWriter, r *http.Request) {
				asked = r.URL.String()
				if test.note != "" {
					w.Header().Set("Proxy-Status", test.note)
				}
				w.WriteHeader(test.status)
			})
			address, _ := url.Parse(proxy.URL)
			result := ask(t, NewClient(address), promotion.HTTPCheck{Service: "api", Port: 8000, Path: "readiness?deep=1"})
			if result.Verdict != test.verdict {
				t.Errorf("got %s: %s; want %s", result.Verdict, result.Evidence, test.verdict)
			}
			if asked != "http://api.novamind.svc:8000/readiness?deep=1" {
				t.Errorf("asked the proxy for %q", asked)
			}
		})
	}
}

// The address is looked at when connecting, so that no name leads there either.
func TestClientRefusesMetadataAddresses(t *testing.T) {
	t.Parallel()
	for _, address := range []string{"169.254.169.254", "[fd00:ec2::254]", "[::ffff:169.254.0.1]", "100.100.100.200"} {
		client := NewClient(nil)
		client.Transport.(*http.Transport).Proxy = nil // whatever this machine's settings are
		response, err := client.Get("http://" + address + "/")
		if err == nil {
			response.Body.Close()
		}
		if !errors.Is(err, promotion.ErrForbiddenAddress) {
			t.Errorf("%s: got %v, want ErrForbiddenAddress", address, err)
		}
	}
	for address, want := range map[string]bool{"10.0.0.1": false, "127.0.0.1": false, "169.253.255.255": false, "ff02::1": true, "2001:db8::1": false, "192.0.0.192": true, "::ffff:192.0.0.192": true} {
		if got := promotion.Forbidden(netip.MustParseAddr(address)); got != want {
			t.Errorf("forbidden(%s) = %v", address, got)
		}
	}
	if err := refuseForbidden("tcp", "not an address", nil); err == nil {
		t.Error("an address that cannot be read was let through")
	}
}

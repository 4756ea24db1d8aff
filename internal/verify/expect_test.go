package verify

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"chaperone.dev/chaperone/internal/promotion"
)

func TestBodiesAsJSON(t *testing.T) {
	t.Parallel()
	want := func(path, equals string) []promotion.JSONValue {
		return []promotion.JSONValue{{Path: path, Equals: equals}}
	}
	tests := []struct {
		name, body string
		json       []promotion.JSONValue
		verdict    Verdict
		evidence   string
	}{
		{"as wanted", `{"status": "UP", "checks": [{"state": "ok"}]}`, append(want(".status", "UP"), want(".checks[0].state", "ok")...), Pass, "as expected in 3 of 3"},
		{"a number", `{"replicas": 3.0}`, want("{.replicas}", "3"), Pass, "as expected"},
		{"true", `{"ready": true}`, want("$.ready", "true"), Pass, "as expected"},
		{"null", `{"error": null}`, want(".error", "null"), Pass, "as expected"},
		{"another value", `{"status": "hunter2"}`, want(".status", "UP"), Fail, `answered 200 with another value than "UP" at .status in 1 of 1`},
		{"no value", `{"state": "hunter2"}`, want(".status", "UP"), Fail, "answered 200 without a value at .status"},
		{"several values", `{"a": ["hunter2", "UP"]}`, want(".a[*]", "UP"), Fail, "without a value at .a[*]"},
		{"a mapping", `{"status": {"hunter2": 1}}`, want(".status", "UP"), Fail, "another value"},
		{"no JSON", `<html>hunter2</html>`, want(".status", "UP"), Fail, "with a body that is no JSON"},
		{"empty", ``, want(".status", "UP"), Fail, "no JSON"},
		{"JSON and more", `{"status": "UP"} hunter2`, want(".status", "UP"), Fail, "no JSON"},
		{"nested without end", strings.Repeat(`{"a":`, 9000) + "1" + strings.Repeat("}", 9000), want("..x", "1"), Error, "nested more than 200 deep"},
		{"braces in a text", `{"status": "UP", "x": "\"` + strings.Repeat("{", 1000) + `"}`, want(".status", "UP"), Pass, "3 of 3"},
		{"without end", `{"status": "UP", "x": "` + strings.Repeat("hunter2", maxBody/7) + `"}`, want(".status", "UP"), Error, "longer than the 64 KiB"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			s := &script{steps: []step{{status: 200, body: test.body}}}
			check := promotion.HTTPCheck{Name: "health", Service: "api", Count: 3, JSON: test.json}
			got, err := s.verifier().HTTP(t.Context(), check, "novamind")
			if err != nil || got.Verdict != test.verdict || !strings.Contains(got.Evidence, test.evidence) {
				t.Errorf("got %s: %s, %v; want %s: %s", got.Verdict, got.Evidence, err, test.verdict, test.evidence)
			}
			if strings.Contains(got.Evidence, "hunter2") {
				t.Errorf("tells what the body holds: %s", got.Evidence)
			}
		})
	}
}

func TestLatency(t *testing.T) {
	t.Parallel()
	quick, slow := step{status: 200, delay: 40 * time.Millisecond}, step{status: 200, delay: 900 * time.Millisecond}
	tests := []struct {
		name     string
		failures float64
		steps    []step
		verdict  Verdict
		evidence string
	}{
		{"quick", 0, steps(20, quick), Pass, "p95 40ms, limit p95 under 500ms"},
		{"one of twenty is slow", 0, steps(1, slow, quick), Pass, "p95 40ms"},
		{"two of twenty: over at the second", 0, steps(5, quick, slow, slow), Fail, "answered too slowly in 2 of 7 requests over"},
		{"slow and wrong", 0, steps(1, step{status: 500, delay: time.Second}), Fail, "answered 500 in 1 of 1"},
		{"one slow, one silent: it may have been slow as well", 0.1, steps(1, slow, refused, quick), Error,
			"cannot be judged: 1 of 20 requests over 19s were too slow and 1 got no answer (limit p95 under 500ms)"},
		{"silent", 0, steps(1, refused), Error, "got no answer to any"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				check := promotion.HTTPCheck{Name: "readiness", Service: "api", Count: 20, Interval: time.Second, Timeout: 5 * time.Second,
					Latency: &promotion.Latency{Percentile: 95, Under: 500 * time.Millisecond}}
				check.Failures = test.failures
				got, err := (&script{steps: test.steps}).verifier().HTTP(t.Context(), check, "novamind")
				if err != nil || got.Verdict != test.verdict || !strings.Contains(got.Evidence, test.evidence) {
					t.Errorf("got %s: %s, %v; want %s: %s", got.Verdict, got.Evidence, err, test.verdict, test.evidence)
				}
			})
		})
	}
}

// secure serves https with a certificate that ends then.
func secure(t *testing.T, ends time.Time, host string) (address string, roots *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: ends.Add(-90 * 24 * time.Hour), NotAfter: ends,
		DNSNames: []string{host}, IsCA: true, BasicConstraintsValid: true}
	if ip := net.ParseIP(host); ip != nil {
		template.IPAddresses, template.DNSNames = []net.IP{ip}, nil
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("ok")) }))
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	server.TLS = &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}
	server.StartTLS()
	t.Cleanup(server.Close)
	roots = x509.NewCertPool()
	roots.AddCert(leaf)
	return server.URL, roots
}

func TestCertificates(t *testing.T) {
	t.Parallel()
	const day = 24 * time.Hour
	tests := []struct {
		name     string
		left     time.Duration
		host     string
		unknown  bool          // who signed it
		validFor time.Duration // asked; 0 does not ask
		verdict  Verdict
		evidence string
	}{
		{"valid for long", 60 * day, "127.0.0.1", false, 14 * day, Pass, "as expected in 2 of 2"},
		{"ends soon", 5 * day, "127.0.0.1", false, 14 * day, Fail, "a certificate that is valid until "},
		{"ends soon, not asked", 5 * day, "127.0.0.1", false, 0, Pass, "as expected"},
		{"has ended", -day, "127.0.0.1", false, 14 * day, Fail, "a certificate that was valid until "},
		{"is not valid yet", 100 * day, "127.0.0.1", false, 14 * day, Fail, "a certificate that is not valid before "},
		{"has ended, not asked", -day, "127.0.0.1", false, 0, Error, "got no answer to any"},
		{"of another host", 60 * day, "example.org", false, 14 * day, Fail, "a certificate for another host"},
		{"signed by nobody known", 60 * day, "127.0.0.1", true, 14 * day, Error, "got no answer to any"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			address, roots := secure(t, time.Now().Add(test.left), test.host)
			client := NewClient(nil)
			if !test.unknown {
				client.Transport.(*http.Transport).TLSClientConfig.RootCAs = roots
			}
			check := promotion.HTTPCheck{Name: "web", URL: address, Count: 2, Timeout: 5 * time.Second, Certificate: test.validFor}
			got, err := New(client, SystemClock(), 0).HTTP(t.Context(), check, "")
			if err != nil || got.Verdict != test.verdict || !strings.Contains(got.Evidence, test.evidence) {
				t.Errorf("got %s: %s, %v; want %s: %s", got.Verdict, got.Evidence, err, test.verdict, test.evidence)
			}
		})
	}
}

// pods answer by their address, through a real connection each.
func TestEachEndpoint(t *testing.T) {
	t.Parallel()
	pod := func(status int) string {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.Host != "api.novamind.svc:8000" || r.URL.Path != "/ready" {
				status = http.StatusNotFound
			}
			w.WriteHeader(status)
		}))
		t.Cleanup(server.Close)
		return strings.TrimPrefix(server.URL, "http://")
	}
	good, bad := pod(200), pod(500)
	tests := []struct {
		name     string
		found    []Endpoint
		err      error
		verdict  Verdict
		evidence string
	}{
		{"all well", []Endpoint{{"api-1", good}, {"api-2", good}}, nil, Pass, `http "readiness" of pod api-1 answered as expected in 4 of 4 requests`},
		{"one of three is bad", []Endpoint{{"api-1", good}, {"api-2", bad}, {"api-3", good}}, nil, Fail, "of pod api-2 answered 500 in 1 of 1"},
		{"one cannot be reached", []Endpoint{{"api-1", good}, {"api-2", "127.0.0.1:1"}}, nil, Error, "of pod api-2 got no answer to any"},
		{"none", nil, nil, NoData, "service api has no ready endpoint at port 8000"},
		{"not to be known", nil, context.DeadlineExceeded, Error, "could not be asked"},
		{"a metadata service", []Endpoint{{"api-1", "169.254.169.254:80"}}, nil, Error, "metadata addresses are not asked"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			subject := Subject{Namespace: "novamind", Endpoints: func(_ context.Context, service string, port int) ([]Endpoint, error) {
				if service != "api" || port != 8000 {
					t.Errorf("asked about %s:%d", service, port)
				}
				return test.found, test.err
			}}
			check := promotion.HTTPCheck{Name: "readiness", Service: "api", Port: 8000, Path: "/ready", Count: 4, Timeout: 5 * time.Second, Each: true}
			v := New(NewClient(nil), SystemClock(), 0)
			got, err := v.httpCheck(check, subject).Ask(t.Context())
			if err != nil || got.Verdict != test.verdict || !strings.Contains(got.Evidence, test.evidence) {
				t.Errorf("got %s: %s, %v; want %s: %s", got.Verdict, got.Evidence, err, test.verdict, test.evidence)
			}
		})
	}
}

package verify

import (
	"context"
	"errors"
	"io"
	"math"
	"net"
	"net/http"
	"net/url"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"chaperone.dev/chaperone/internal/promotion"
)

// script is a transport that plays one answer after the other, the last one
// for ever. In a synctest bubble its delays cost nothing.
type script struct {
	steps []step
	asked int
}

type step struct {
	status int
	body   string
	err    error
	delay  time.Duration
}

func (s *script) RoundTrip(r *http.Request) (*http.Response, error) {
	now := s.steps[min(s.asked, len(s.steps)-1)]
	s.asked++
	select {
	case <-r.Context().Done():
		return nil, r.Context().Err()
	case <-time.After(now.delay):
	}
	if now.err != nil {
		return nil, now.err
	}
	return &http.Response{StatusCode: now.status, Header: http.Header{}, Body: io.NopCloser(strings.NewReader(now.body)), Request: r}, nil
}

func (s *script) verifier() *Verifier {
	return New(&http.Client{Transport: s}, SystemClock(), time.Second)
}

func steps(n int, s step, then ...step) []step {
	var all []step
	for range n {
		all = append(all, s)
	}
	return append(all, then...)
}

var (
	refused = step{err: &net.OpError{Op: "dial", Err: syscall.ECONNREFUSED}}
	hangs   = step{delay: time.Hour}
	ok      = step{status: 200, body: "all ok"}
	broken  = step{status: 500}
)

func TestHTTPVerdicts(t *testing.T) {
	t.Parallel()
	base := promotion.HTTPCheck{Name: "readiness", Service: "api", Port: 8000, Path: "/ready", Count: 10, Interval: 5 * time.Second, Timeout: 2 * time.Second}
	with := func(change func(*promotion.HTTPCheck)) promotion.HTTPCheck {
		c := base
		change(&c)
		return c
	}
	limit := func(share float64) promotion.HTTPCheck {
		return with(func(c *promotion.HTTPCheck) { c.Failures = share })
	}
	tests := []struct {
		name     string
		check    promotion.HTTPCheck
		steps    []step
		verdict  Verdict
		evidence string
		asked    int
	}{
		{"all right", base, []step{ok}, Pass, `http "readiness" answered as expected in 10 of 10 requests over 45s (limit 0%)`, 10},
		{"one wrong of none allowed stops at once", base, []step{ok, ok, broken}, Fail, `http "readiness" answered 500 in 1 of 3 requests over 10s (limit 0% of 10)`, 3},
		{"as many wrong as allowed", limit(.2), []step{broken, broken, ok}, Pass, `answered as expected in 8 of 10 requests over 45s (limit 20%)`, 10},
		{"one more wrong than allowed", limit(.2), []step{broken, ok, {status: 404}, broken}, Fail, `answered 500 in 2 and 404 in 1 of 4 requests over 15s (limit 20% of 10)`, 4},
		{"all wrong, nearly all allowed", with(func(c *promotion.HTTPCheck) { c.Count, c.Failures = 13, .95 }), []step{broken}, Fail,
			`http "readiness" answered 500 in 13 of 13 requests over 60s (limit 95%)`, 13},
		{"29% of 100 are 29", with(func(c *promotion.HTTPCheck) { c.Count, c.Failures, c.Interval = 100, .29, 0 }), steps(29, broken, ok), Pass, `in 71 of 100 requests`, 100},

		{"nobody answers", base, []step{refused}, Error, `http "readiness" got no answer to any of 10 requests over 45s: connection refused`, 10},
		{"nobody answers, everything allowed", limit(1), []step{refused}, Error, `got no answer to any of 10 requests`, 10},
		{"everything hangs", base, []step{hangs}, Error, `got no answer to any of 10 requests over 47s: nothing within 2s`, 10},
		{"no such host", base, []step{{err: &net.DNSError{Name: "api.novamind.svc", IsNotFound: true}}}, Error, `no such host api.novamind.svc`, 10},
		{"some silent, none wrong", base, steps(4, hangs, ok), Error, `cannot be judged: 4 of 10 requests over 45s got no answer (nothing within 2s) and 0 a wrong one (limit 0%)`, 10},
		{"silence within the limit", limit(.2), []step{hangs, refused, ok}, Pass, `in 8 of 10 requests over 45s (limit 20%; 2 got no answer: nothing within 2s)`, 10},
		{"silence and wrong answers only together break the limit", limit(.2), []step{hangs, refused, broken, ok}, Error, `cannot be judged: 2 of 10 requests`, 10},
		{"wrong answers alone break the limit, amid silence", limit(.2), []step{hangs, broken, refused, broken, broken}, Fail,
			`answered 500 in 3 of 5 requests over 20s (limit 20% of 10; 2 got no answer: nothing within 2s)`, 5},
		{"the connection breaks", base, []step{{err: io.ErrUnexpectedEOF}}, Error, "the connection was closed", 10},

		{"count of zero", with(func(c *promotion.HTTPCheck) { c.Count = 0 }), []step{ok}, NoData, `http "readiness" asked nothing`, 0},
		{"count below zero", with(func(c *promotion.HTTPCheck) { c.Count = -1 }), []step{ok}, NoData, `asked nothing`, 0},

		{"body has it", with(func(c *promotion.HTTPCheck) { c.Body = "ok" }), []step{ok}, Pass, "10 of 10", 10},
		{"body has it not", with(func(c *promotion.HTTPCheck) { c.Body = "twin" }), []step{ok}, Fail, `answered 200 without "twin" in the body in 1 of 1 requests`, 1},
		{"body has it too late", with(func(c *promotion.HTTPCheck) { c.Body = "twin" }), []step{{status: 200, body: strings.Repeat(" ", maxBody) + "twin"}}, Error, "longer than the 64 KiB", 10},
		{"another status is wanted", with(func(c *promotion.HTTPCheck) { c.Status = []int{401, 403} }), []step{{status: 403}}, Pass, "10 of 10", 10},
		{"200 is not", with(func(c *promotion.HTTPCheck) { c.Status = []int{401, 403} }), []step{ok}, Fail, "answered 200 in 1 of 1", 1},
		{"a 503 of the service itself", base, []step{{status: 503}}, Fail, "answered 503 in 1 of 1", 1},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				played := &script{steps: test.steps}
				result, err := played.verifier().HTTP(t.Context(), test.check, "novamind")
				if err != nil {
					t.Fatal(err)
				}
				if result.Verdict != test.verdict || !strings.Contains(result.Evidence, test.evidence) || result.Check != "readiness" {
					t.Errorf("got  %s: %s\nwant %s: %s", result.Verdict, result.Evidence, test.verdict, test.evidence)
				}
				if played.asked != test.asked {
					t.Errorf("asked %d times, want %d", played.asked, test.asked)
				}
				if result.Ended.Before(result.Started) || !result.Ended.Equal(time.Now()) {
					t.Errorf("from %v to %v, now %v", result.Started, result.Ended, time.Now())
				}
			})
		})
	}
}

func TestHTTPCannotBeAskedAsWritten(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		check promotion.HTTPCheck
		want  string
	}{
		"neither":        {promotion.HTTPCheck{}, "want an url, or a service and port"},
		"both":           {promotion.HTTPCheck{URL: "http://a", Service: "b"}, "not both"},
		"scheme":         {promotion.HTTPCheck{URL: "file:///etc/passwd"}, "http:// or https://"},
		"no host":        {promotion.HTTPCheck{URL: "http:///x"}, "no host"},
		"password":       {promotion.HTTPCheck{URL: "http://me:CANARY@a/"}, "without user and password"},
		"bad escape":     {promotion.HTTPCheck{URL: "http://me:CANARY@a/%zz"}, "want an url such as"},
		"service name":   {promotion.HTTPCheck{Service: "evil.example.org/"}, "want the names of a service"},
		"port":           {promotion.HTTPCheck{Service: "api", Port: 70000}, "want a port"},
		"path":           {promotion.HTTPCheck{Service: "api", Path: "/%zz"}, "want a path"},
		"metadata":       {promotion.HTTPCheck{URL: "http://169.254.169.254/latest"}, promotion.ErrForbiddenAddress.Error()},
		"metadata v6":    {promotion.HTTPCheck{URL: "http://[fd00:ec2::254]/latest"}, promotion.ErrForbiddenAddress.Error()},
		"mapped":         {promotion.HTTPCheck{URL: "http://[::ffff:169.254.169.254]/"}, promotion.ErrForbiddenAddress.Error()},
		"nat64":          {promotion.HTTPCheck{URL: "http://[64:ff9b::a9fe:a9fe]/"}, promotion.ErrForbiddenAddress.Error()},
		"zone":           {promotion.HTTPCheck{URL: "http://[fe80::1%25eth0]/"}, promotion.ErrForbiddenAddress.Error()},
		"metadata name":  {promotion.HTTPCheck{URL: "http://metadata.google.internal./"}, promotion.ErrForbiddenAddress.Error()},
		"decimal":        {promotion.HTTPCheck{URL: "http://2852039166/"}, "four decimal numbers"},
		"hexadecimal":    {promotion.HTTPCheck{URL: "http://0xA9FEA9FE/"}, "four decimal numbers"},
		"octal":          {promotion.HTTPCheck{URL: "http://0251.0376.0251.0376/"}, "four decimal numbers"},
		"short":          {promotion.HTTPCheck{URL: "http://169.254.43518/"}, "four decimal numbers"},
		"method of rags": {promotion.HTTPCheck{URL: "http://a/?key=CANARY", Method: "GET /"}, "the request cannot be built"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			played := &script{steps: []step{ok}}
			test.check.Name, test.check.Count = "x", 1
			result, err := played.verifier().HTTP(t.Context(), test.check, "novamind")
			if err != nil || result.Verdict != Error || !strings.Contains(result.Evidence, test.want) {
				t.Errorf("got %s: %s (%v), want error with %q", result.Verdict, result.Evidence, err, test.want)
			}
			if played.asked != 0 || strings.Contains(result.Evidence, "CANARY") {
				t.Errorf("asked %d times; evidence %q", played.asked, result.Evidence)
			}
		})
	}
}

// Cancelling a check races with its result and causes a second rollback
// (helm-controller#1557, kc#1625): once cancelled there is no result, not even
// the one that was about to be given.
func TestPitfall29_CancelledHTTPCheckHasNoVerdict(t *testing.T) {
	t.Parallel()
	cause := errors.New("a newer commit arrived")
	for name, played := range map[string]step{"while asking": {status: 500, delay: 3 * time.Second}, "between requests": {status: 200}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithCancelCause(t.Context())
				time.AfterFunc(2*time.Second, func() { cancel(cause) })
				v := (&script{steps: []step{played}}).verifier()
				result, err := v.HTTP(ctx, promotion.HTTPCheck{Service: "api", Count: 10, Interval: 5 * time.Second}, "novamind")
				if !errors.Is(err, context.Canceled) || result != (Result{}) {
					t.Errorf("got %+v, %v; want no result and context.Canceled", result, err)
				}
			})
		})
	}
	t.Run("with the answer in hand", func(t *testing.T) {
		t.Parallel()
		ctx, cancel := context.WithCancel(t.Context())
		v := New(&http.Client{Transport: roundTrip(func(r *http.Request) (*http.Response, error) {
			cancel()
			return &http.Response{StatusCode: 500, Header: http.Header{}, Body: http.NoBody, Request: r}, nil
		})}, SystemClock(), 0)
		if result, err := v.HTTP(ctx, promotion.HTTPCheck{Service: "api", Count: 1}, "novamind"); !errors.Is(err, context.Canceled) || result != (Result{}) {
			t.Errorf("got %+v, %v", result, err)
		}
	})
}

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// Silence proves nothing, in either direction.
func TestTallyProperties(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		count := rapid.IntRange(1, 40).Draw(t, "count")
		share := rapid.SampledFrom([]float64{0, .01, .1, .5, .99, 1, -3, 7, math.NaN(), math.Inf(1)}).Draw(t, "failures")
		check := promotion.HTTPCheck{Count: count, Failures: share}
		outcomes := rapid.SliceOfN(rapid.SampledFrom([]outcome{right, wrong, none}), count, count).Draw(t, "outcomes")
		played := func(silence outcome) Verdict {
			ta := tally{count: count, limit: share, allowed: allowed(check)}
			for _, o := range outcomes {
				if o == none {
					o = silence
				}
				if ta.over() {
					break
				}
				ta.add(answer{outcome: o, text: "x"})
			}
			if s := ta.evidence(time.Minute); strings.Contains(s, "\n") || s == "" {
				t.Fatalf("evidence %q", s)
			}
			return ta.verdict()
		}
		verdict, best, worst := played(none), played(right), played(wrong)
		if verdict == Fail && best != Fail {
			t.Errorf("fail, but %s had the silent ones answered rightly", best)
		}
		if verdict == Pass && worst != Pass {
			t.Errorf("pass, but %s had the silent ones answered wrongly", worst)
		}
		if best == Error || worst == Error {
			t.Errorf("error although all were answered: %s, %s", best, worst)
		}
	})
}

// FuzzTarget: whatever a file says, nothing forbidden is asked, and no error
// repeats a password.
func FuzzTarget(f *testing.F) {
	f.Add("http://me:s3cr3tpass@169.254.169.254/%zz", "", "", 0)
	f.Add("", "api", "/healthz?x=[::1]", 8000)
	f.Fuzz(func(t *testing.T, raw, service, path string, port int) {
		target, err := targetOf(promotion.HTTPCheck{URL: raw, Service: service, Path: path, Port: port}, "novamind")
		if err != nil {
			if strings.Contains(err.Error(), "s3cr3tpass") && !strings.Contains(path+service, "s3cr3tpass") && !hostHas(raw) {
				t.Errorf("the error repeats the password: %v", err)
			}
			return
		}
		if target.User != nil || target.Hostname() == "" {
			t.Errorf("asked %q", target)
		}
		if service != "" && target.Hostname() != service+".novamind.svc" {
			t.Errorf("service %q became host %q", service, target.Hostname())
		}
	})
}

// hostHas allows the canary where it is a host name and no password.
func hostHas(raw string) bool {
	u, err := url.Parse(raw)
	return err == nil && strings.Contains(u.Host, "s3cr3tpass")
}

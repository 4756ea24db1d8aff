package verify

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/util/validation"

	"chaperone.dev/chaperone/internal/promotion"
)

// Bounds of one HTTP check.
const (
	maxBody               = 64 << 10 // of an answer
	maxCount              = 10_000
	defaultRequestTimeout = 5 * time.Second
)

// http asks as an environment's file says.
func (v *Verifier) http(ctx context.Context, check promotion.HTTPCheck, subject Subject, enough <-chan struct{}) (Result, error) {
	if check.Each && check.Service != "" {
		return v.each(ctx, check, subject)
	}
	return v.repeat(ctx, check, subject.Namespace, enough)
}

// HTTP asks an endpoint as often as the check says.
//
// An answer is right or wrong. A request without an answer (the name does not
// resolve, the connection is refused or breaks, the time is up, or a proxy on
// the way could not get through) is neither, since a broken network looks
// exactly like a broken service from here. So:
//
//   - fail, at once, when the wrong answers alone are more than the allowed
//     share of all requests: the limit would be broken even if every silent
//     request had been answered rightly.
//   - pass when all requests were sent, at least one was answered, and wrong
//     and silent ones together are within the allowed share: the limit would
//     hold even if every silent one had been answered wrongly.
//   - error otherwise: nobody knows. That includes no answer at all, whatever
//     share is allowed, and a check that cannot be sent as it is written.
//   - no-data when the check asks for no requests.
//
// The error is ctx's and nothing else's.
func (v *Verifier) HTTP(ctx context.Context, check promotion.HTTPCheck, namespace string) (Result, error) {
	return v.repeat(ctx, check, namespace, nil)
}

// repeat asks, and judges what it has once that is enough.
func (v *Verifier) repeat(ctx context.Context, check promotion.HTTPCheck, namespace string, enough <-chan struct{}) (Result, error) {
	result := Result{Check: check.Name, Started: v.clock.Now()}
	end := func(verdict Verdict, evidence string) (Result, error) {
		if err := ctx.Err(); err != nil {
			return Result{}, cancelled(err)
		}
		result.Verdict, result.Ended = verdict, v.clock.Now()
		result.Evidence = fmt.Sprintf("http %q %s", check.Name, evidence)
		return result, nil
	}
	check = withDefaults(check)
	if check.Count <= 0 {
		return end(NoData, "asked nothing: its count is 0")
	}
	target, err := targetOf(check, namespace)
	if err != nil {
		return end(Error, "could not be asked: "+brief(err))
	}
	t := tally{limit: check.Failures, pace: pace{asked: check.Latency}}
	t.plan(check, check.Count)
	fresh := false
	for {
		began := v.clock.Now()
		got := v.request(ctx, check, target)
		got.took = v.clock.Now().Sub(began)
		t.add(got)
		if err := ctx.Err(); err != nil {
			return Result{}, cancelled(err)
		}
		if enough != nil && t.sent() >= t.count { // it goes on as long as what it is the control of
			t.plan(check, t.sent()+1)
			check.Interval = max(check.Interval, freshInterval)
		}
		if t.over() || fresh && !t.mayPass() {
			break
		}
		over, err := v.pause(ctx, enough, check.Interval-v.clock.Now().Sub(began))
		if err != nil {
			return Result{}, err
		}
		if over {
			t.plan(check, t.sent()+freshAnswers)
			check.Interval, enough, fresh = min(check.Interval, freshInterval), nil, true
		}
	}
	return end(t.verdict(), t.evidence(v.clock.Now().Sub(result.Started)))
}

// What a control is asked once its check has failed: what has just begun next
// door is in none of the answers before that.
const (
	freshAnswers  = 20
	freshInterval = 200 * time.Millisecond
)

func withDefaults(check promotion.HTTPCheck) promotion.HTTPCheck {
	if check.Method == "" {
		check.Method = http.MethodGet
	}
	if len(check.Status) == 0 {
		check.Status = []int{http.StatusOK}
	}
	if check.Timeout <= 0 {
		check.Timeout = defaultRequestTimeout
	}
	check.Count = min(check.Count, maxCount)
	return check
}

// allowed is how many requests may fail. The small addend keeps 29% of 100
// from being 28.999….
func allowed(check promotion.HTTPCheck) int {
	share := min(max(check.Failures, 0), 1)
	if math.IsNaN(share) {
		share = 0
	}
	return int(share*float64(check.Count) + 1e-9)
}

// targetOf is where a check's requests go.
func targetOf(check promotion.HTTPCheck, namespace string) (*url.URL, error) {
	target, err := parseTarget(check, namespace)
	if err != nil {
		return nil, err
	}
	if target.Scheme != "http" && target.Scheme != "https" {
		return nil, errors.New("want an url that begins with http:// or https://")
	}
	if target.User != nil {
		return nil, errors.New("want an url without user and password")
	}
	if err := promotion.CheckHost(target.Hostname()); err != nil {
		return nil, err
	}
	return target, nil
}

func parseTarget(check promotion.HTTPCheck, namespace string) (*url.URL, error) {
	switch {
	case check.URL != "" && check.Service != "":
		return nil, errors.New("want either an url or a service, not both")
	case check.URL != "":
		target, err := url.Parse(check.URL)
		if err != nil {
			return nil, errors.New("want an url such as https://novamind.example.org/healthz") // err repeats it, password included
		}
		return target, nil
	case check.Service == "":
		return nil, errors.New("want an url, or a service and port")
	}
	for _, label := range []string{check.Service, namespace} {
		if len(validation.IsDNS1123Label(label)) > 0 {
			return nil, fmt.Errorf("want the names of a service and its namespace, not %q", label)
		}
	}
	if check.Port < 0 || check.Port > 65535 {
		return nil, fmt.Errorf("want a port from 1 to 65535, not %d", check.Port)
	}
	host := check.Service + "." + namespace + ".svc"
	if check.Port > 0 {
		host = net.JoinHostPort(host, strconv.Itoa(check.Port))
	}
	target, err := url.Parse("http://" + host + "/" + strings.TrimPrefix(check.Path, "/"))
	if err != nil {
		return nil, fmt.Errorf("want a path such as /healthz, not %q", check.Path)
	}
	return target, nil
}

// request asks once.
func (v *Verifier) request(ctx context.Context, check promotion.HTTPCheck, target *url.URL) answer {
	ctx, cancel := context.WithTimeout(ctx, check.Timeout)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, check.Method, target.String(), nil)
	if err != nil {
		return silent("the request cannot be built") // err repeats the url
	}
	for name, value := range check.Headers {
		request.Header.Set(name, value)
	}
	if host := request.Header.Get("Host"); host != "" {
		request.Host = host
		request.Header.Del("Host")
	}
	if request.Header.Get("User-Agent") == "" {
		request.Header.Set("User-Agent", "chaperone-verify")
	}
	// No connection is used twice: the requests of one check are to be spread
	// over a Service's pods, as those of its real callers are.
	request.Close = true

	client := *v.client
	client.CheckRedirect = follow(func(status int) bool { return slices.Contains(check.Status, status) })
	response, err := client.Do(request)
	if err != nil {
		if why, no := refusedCertificate(err, check, v.clock.Now()); no {
			return answer{outcome: wrong, text: why}
		}
		return silent(silence(err, check.Timeout))
	}
	defer response.Body.Close()
	return judge(response, check, proxied(&client, response.Request), v.clock.Now())
}

// proxied reports whether an answer may be a proxy's own. Inside the tunnel of
// an https request only the endpoint can speak.
func proxied(client *http.Client, request *http.Request) bool {
	transport, ok := client.Transport.(*http.Transport)
	if !ok || transport.Proxy == nil || request.URL.Scheme != "http" {
		return false
	}
	proxy, err := transport.Proxy(request)
	return err == nil && proxy != nil
}

package promotion

import (
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode"

	"chaperone.dev/chaperone/internal/strictyaml"
)

// Defaults and bounds of an HTTP check.
const (
	DefaultCount    = 10
	DefaultInterval = time.Second
	DefaultTimeout  = 5 * time.Second

	maxChecks   = 50
	maxCount    = 10_000
	maxInterval = time.Hour
	maxTimeout  = 10 * time.Minute
	maxHeaders  = 50

	DefaultWatchEvery = 5 * time.Minute
	maxWatch          = 30 * 24 * time.Hour
)

func decodeVerify(verify *strictyaml.Object, data Data) Verify {
	v := Verify{
		Timeout: verify.Duration("timeout", DefaultVerifyTimeout, time.Second, maxVerify),
		Settle:  verify.Duration("settle", DefaultSettle, 0, maxVerify),
		Health:  decodeHealth(verify),

		Restarts: decodeRestarts(verify.Object("restarts")),
		Jobs:     decodeJobs(verify, data),
	}
	limit(verify.Value("http"), maxChecks)
	first := map[string]int{}
	for _, o := range verify.Objects("http") {
		check := decodeHTTPCheck(o)
		name := o.Value("name")
		if line, twice := first[check.Name]; twice && check.Name != "" {
			name.Problem("%q names the check in line %d too; want a name of its own", check.Name, line)
		} else {
			first[check.Name] = name.Line()
		}
		v.HTTP = append(v.HTTP, check)
	}
	v.Metrics = decodeMetrics(verify)
	v.Watch = decodeWatch(verify.Object("watch"), v)
	return v
}

func decodeHTTPCheck(o *strictyaml.Object) HTTPCheck {
	expect := o.Object("expect")
	o.Require("name", "want a short name, such as readiness: what a failure is reported under")
	c := HTTPCheck{
		Name:     o.String("name", "", checkLabel),
		URL:      o.String("url", "", checkURL),
		Service:  o.String("service", "", checkLabel),
		Port:     o.Int("port", 0, 1, 65535),
		Path:     o.String("path", "/", checkRequestPath),
		Method:   strictyaml.Enum(o, "method", "GET", "GET", "HEAD", "OPTIONS", "POST"),
		Headers:  o.StringMap("headers", checkHeader),
		Status:   decodeStatus(expect.Value("status")),
		Body:     expect.String("body", "", checkBody),
		Count:    o.Int("count", DefaultCount, 1, maxCount),
		Interval: o.Duration("interval", DefaultInterval, 0, maxInterval),
		Timeout:  o.Duration("timeout", DefaultTimeout, time.Millisecond, maxTimeout),
		Failures: decodeFailures(o.Value("failures")),
		JSON:     decodeJSON(expect),
		Each:     strictyaml.Enum(o, "endpoints", endpointsAny, endpointsAny, endpointsEach) == endpointsEach,
	}
	checkAddress(o)
	c.Latency = decodeLatency(o.Object("latency"), c.Count)
	c.Certificate = decodeCertificate(o, c)
	if c.Each && c.Service == "" {
		o.Value("endpoints").Problem("only a service has endpoints; want service and port, or remove it")
	}
	control := o.Object("control")
	if c.Control = decodeControl(control); c.Control != nil && *c.Control == (Endpoint{c.URL, c.Service, c.Port, c.Path}) {
		control.Problem("it asks the same as the check, which would never fail beside it; want what the release does not change")
	}
	if len(c.Headers) > maxHeaders {
		o.Value("headers").Problem("want at most %d headers, not %d", maxHeaders, len(c.Headers))
	}
	for name, asked := range map[string]bool{"body": c.Body != "", "json": len(c.JSON) > 0} {
		if c.Method == "HEAD" && asked {
			expect.Value(name).Problem("an answer to HEAD has no body; remove it, or use method GET")
		}
	}
	return c
}

func decodeControl(o *strictyaml.Object) *Endpoint {
	e := Endpoint{
		URL:     o.String("url", "", checkURL),
		Service: o.String("service", "", checkLabel),
		Port:    o.Int("port", 0, 1, 65535),
		Path:    o.String("path", "/", checkRequestPath),
	}
	if !o.Present() {
		return nil
	}
	checkAddress(o)
	return &e
}

// checkAddress wants exactly one way to say where to ask.
func checkAddress(o *strictyaml.Object) {
	service, port := o.Value("service").Present(), o.Value("port").Present()
	if o.Value("url").Present() {
		for _, name := range []string{"service", "port", "path"} {
			if v := o.Value(name); v.Present() {
				v.Problem("url says it all; want either url, or service and port (and path)")
			}
		}
		return
	}
	switch {
	case !service && !port:
		o.Require("url", "want either url, or service and port")
	case !port:
		o.Require("port", "want the port of service")
	case !service:
		o.Require("service", "want the service that port belongs to")
	}
}

func decodeStatus(v strictyaml.Value) []int {
	const low, high, ok = 100, 599, 200
	if !v.IsList() {
		return []int{v.Int(ok, low, high)}
	}
	var codes []int
	for _, item := range v.List() {
		codes = append(codes, item.Int(ok, low, high))
	}
	if len(codes) == 0 {
		v.Problem("want at least one status, such as [200]")
	}
	return codes
}

func decodeFailures(v strictyaml.Value) float64 {
	part, err := decodePart(v, 0)
	switch {
	case err != nil:
		v.Problem("%v", err)
	case part < 0 || part >= 1:
		v.Problem(`want a share of at least 0 and below 1, such as 0.01 or "1%%": a check that may fail every time checks nothing`)
	}
	return part
}

func checkURL(s string) error {
	u, err := url.Parse(s)
	switch {
	case err != nil || u.Hostname() == "" || u.Scheme != "http" && u.Scheme != "https":
		return errors.New("want an address such as https://novamind.example.org/healthz")
	case u.User != nil:
		return errors.New("credentials do not belong in a file of the repository; remove them from the url")
	case u.Fragment != "":
		return errors.New("no server sees what follows #; remove it")
	}
	if err := CheckHost(u.Hostname()); errors.Is(err, ErrForbiddenAddress) {
		return fmt.Errorf("%w; want an address of what is released", err)
	} else if err != nil {
		return err
	}
	return checkLine(s)
}

func checkRequestPath(s string) error {
	if !strings.HasPrefix(s, "/") || strings.ContainsFunc(s, unicode.IsSpace) {
		return fmt.Errorf("want a path that begins with /, such as /healthz, not %.80q", s)
	}
	if _, err := url.ParseRequestURI(s); err != nil {
		return fmt.Errorf("want a path such as /healthz, with other characters escaped, not %.80q", s)
	}
	return checkLine(s)
}

var headerName = regexp.MustCompile("^[A-Za-z0-9!#$%&'*+.^_`|~-]+$")

// checkHeader never shows the value: it may be a token.
func checkHeader(name, value string) error {
	if !headerName.MatchString(name) {
		return errors.New("want the name of an HTTP header, such as Accept")
	}
	if checkLine(value) != nil {
		return fmt.Errorf("want a value of one line of at most %d bytes", maxText)
	}
	return nil
}

func checkBody(s string) error {
	if len(s) > maxText {
		return fmt.Errorf("want at most %d bytes to look for, not %d", maxText, len(s))
	}
	return nil
}

// decodeWatch wants something to look at, and a control where a late failure is
// to be a release's fault.
func decodeWatch(o *strictyaml.Object, v Verify) Watch {
	w := Watch{
		For:          o.Duration("for", 0, time.Minute, maxWatch),
		Every:        o.Duration("every", DefaultWatchEvery, 10*time.Second, 24*time.Hour),
		RevertWithin: o.Duration("revertWithin", 0, time.Second, maxWatch),
	}
	if !o.Present() {
		return Watch{}
	}
	o.Require("for", "want how long the checks go on after they passed, such as 24h")
	controlled := slices.ContainsFunc(v.HTTP, func(c HTTPCheck) bool { return c.Control != nil }) ||
		slices.ContainsFunc(v.Metrics, func(c MetricCheck) bool { return c.Control != "" })
	for _, m := range v.Metrics {
		if !m.tells(w) {
			o.Value("for").Problem("metric %q has too few samples to tell anything by rank at each of %d looks; want more samples, every longer, or a shorter time", m.Name, w.Looks(m.For))
		}
	}
	switch {
	case w.For > 0 && w.Every > w.For:
		o.Value("every").Problem("want it at most as long as for, which is %s", strictyaml.FormatDuration(w.For))
	case w.RevertWithin > w.For:
		o.Value("revertWithin").Problem("want it at most as long as for, which is %s: later nobody looks", strictyaml.FormatDuration(w.For))
	case w.RevertWithin > 0 && !controlled:
		o.Value("revertWithin").Problem("want a check with a control: nothing else tells a late fault of the release from one of what is around it")
	}
	return w
}

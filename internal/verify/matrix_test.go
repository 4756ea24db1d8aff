package verify

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"chaperone.dev/chaperone/internal/health"
	"chaperone.dev/chaperone/internal/manifest"
	"chaperone.dev/chaperone/internal/promotion"
)

// cell is one kind of check in a situation that calls for one verdict. The whole
// verification is run, from readiness on.
type cell struct {
	kind      string
	column    Verdict
	situation string
	want      Verdict // "" is column's; another where the kind never answers so
	spec      promotion.Verify
	subject   Subject
	answers   roundTrip
	verifier  *Verifier // nil is one in a bubble, of answers
	evidence  string
}

// matrixKinds are the rows, and Pass, Fail, Error and NoData the columns.
var matrixKinds = []string{"objects", "CEL", "HTTP", "latency", "TLS", "JSON", "endpoints-each", "job", "metric", "control", "restarts"}

// replies answers every request alike.
func replies(status int, body string, after time.Duration) roundTrip {
	return func(r *http.Request) (*http.Response, error) {
		if err := SystemClock().Wait(r.Context(), after); err != nil {
			return nil, err
		}
		return &http.Response{StatusCode: status, Header: http.Header{}, Body: io.NopCloser(strings.NewReader(body)), Request: r}, nil
	}
}

func silentPeer(err error) roundTrip {
	return func(*http.Request) (*http.Response, error) { return nil, err }
}

// byHost answers as each host does.
func byHost(hosts map[string]roundTrip) roundTrip {
	return func(r *http.Request) (*http.Response, error) { return hosts[r.URL.Hostname()](r) }
}

// certifiedFor answers over TLS with a certificate that is valid for so long.
func certifiedFor(left time.Duration) roundTrip {
	return func(r *http.Request) (*http.Response, error) {
		response, err := replies(200, "", 0)(r)
		response.TLS = &tls.ConnectionState{PeerCertificates: []*x509.Certificate{{NotAfter: time.Now().Add(left)}}}
		return response, err
	}
}

func object(t *testing.T, text string) *manifest.Object {
	t.Helper()
	objects, err := manifest.Decode("object.yaml", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return objects[0]
}

// sees is a subject whose objects these are; none is a cluster that cannot be read.
func sees(objects ...*manifest.Object) Subject {
	return Subject{Namespace: "novamind", Live: reads(func(context.Context) (map[manifest.ID]*manifest.Object, []manifest.ID, error) {
		if len(objects) == 0 {
			return unreadable()
		}
		return show(objects...)()
	})}
}

func asks(change func(*promotion.HTTPCheck)) promotion.Verify {
	check := promotion.HTTPCheck{Name: "h", Service: "api", Count: 10, Interval: time.Second, Timeout: 5 * time.Second}
	if change != nil {
		change(&check)
	}
	return promotion.Verify{HTTP: []promotion.HTTPCheck{check}}
}

func httpCells() []cell {
	well := sees(inertObjects()...)
	never := silentPeer(refused.err)
	json := func(h *promotion.HTTPCheck) { h.JSON = []promotion.JSONValue{{Path: ".status", Equals: "UP"}} }
	quick := func(h *promotion.HTTPCheck) {
		h.Latency = &promotion.Latency{Percentile: 95, Under: 500 * time.Millisecond}
	}
	secured := func(h *promotion.HTTPCheck) {
		h.URL, h.Service, h.Certificate = "https://api.example.org", "", 14*24*time.Hour
	}
	nothing := func(more func(*promotion.HTTPCheck)) promotion.Verify {
		return asks(func(h *promotion.HTTPCheck) { more(h); h.Count = 0 })
	}
	unknown := &tls.CertificateVerificationError{Err: x509.UnknownAuthorityError{}}
	return []cell{
		{kind: "HTTP", column: Pass, situation: "200", spec: asks(nil), subject: well, answers: replies(200, "", 0), evidence: "as expected in 10 of 10"},
		{kind: "HTTP", column: Fail, situation: "500", spec: asks(nil), subject: well, answers: replies(500, "", 0), evidence: "answered 500 in 1 of 1"},
		{kind: "HTTP", column: Error, situation: "nobody answers", spec: asks(nil), subject: well, answers: never, evidence: "got no answer to any of 10"},
		{kind: "HTTP", column: NoData, situation: "nothing to ask", spec: nothing(func(*promotion.HTTPCheck) {}), subject: well, answers: replies(500, "", 0), evidence: "asked nothing"},
		{kind: "latency", column: Pass, situation: "quick", spec: asks(quick), subject: well, answers: replies(200, "", 40*time.Millisecond), evidence: "p95 40ms"},
		{kind: "latency", column: Fail, situation: "slow", spec: asks(quick), subject: well, answers: replies(200, "", 900*time.Millisecond), evidence: "too slowly"},
		{kind: "latency", column: Error, situation: "nobody answers", spec: asks(quick), subject: well, answers: never, evidence: "got no answer"},
		{kind: "latency", column: NoData, situation: "nothing to ask", spec: nothing(quick), subject: well, answers: never, evidence: "asked nothing"},
		{kind: "TLS", column: Pass, situation: "valid for long", spec: asks(secured), subject: well, answers: certifiedFor(60 * 24 * time.Hour), evidence: "as expected"},
		{kind: "TLS", column: Fail, situation: "ends soon", spec: asks(secured), subject: well, answers: certifiedFor(24 * time.Hour), evidence: "a certificate that is valid until"},
		{kind: "TLS", column: Error, situation: "signed by nobody known", spec: asks(secured), subject: well, answers: silentPeer(unknown), evidence: "got no answer"},
		{kind: "TLS", column: NoData, situation: "nothing to ask", spec: nothing(secured), subject: well, answers: never, evidence: "asked nothing"},
		{kind: "JSON", column: Pass, situation: "as wanted", spec: asks(json), subject: well, answers: replies(200, `{"status":"UP"}`, 0), evidence: "as expected"},
		{kind: "JSON", column: Fail, situation: "another value", spec: asks(json), subject: well, answers: replies(200, `{"status":"DOWN"}`, 0), evidence: "with another value"},
		{kind: "JSON", column: Error, situation: "too long to read", spec: asks(json), subject: well, answers: replies(200, `{"x":"`+strings.Repeat("x", maxBody), 0), evidence: "longer than the 64 KiB"},
		{kind: "JSON", column: NoData, situation: "nothing to ask", spec: nothing(json), subject: well, answers: never, evidence: "asked nothing"},
	}
}

func besideCells() []cell {
	each := asks(func(h *promotion.HTTPCheck) { h.Each = true })
	found := func(those []Endpoint, err error) Subject {
		subject := sees(inertObjects()...)
		subject.Endpoints = func(context.Context, string, int) ([]Endpoint, error) { return those, err }
		return subject
	}
	pods := []Endpoint{{"api-1", "10.0.0.1:80"}, {"api-2", "10.0.0.2:80"}}
	control := asks(func(h *promotion.HTTPCheck) {
		h.URL, h.Service, h.Control = "http://changed.example.org", "", &promotion.Endpoint{URL: "http://other.example.org"}
	})
	unasked := asks(func(h *promotion.HTTPCheck) {
		h.Count, h.Control = 0, &promotion.Endpoint{URL: "http://other.example.org"}
	})
	well := sees(inertObjects()...)
	hosts := func(changed, other int) roundTrip {
		return byHost(map[string]roundTrip{"changed.example.org": replies(changed, "", 0), "other.example.org": replies(other, "", 0)})
	}
	one := byHost(map[string]roundTrip{"10.0.0.1": replies(200, "", 0), "10.0.0.2": replies(500, "", 0)})
	return []cell{
		{kind: "endpoints-each", column: Pass, situation: "all well", spec: each, subject: found(pods, nil), answers: replies(200, "", 0), evidence: "2 of 2 endpoints like it"},
		{kind: "endpoints-each", column: Fail, situation: "one of two", spec: each, subject: found(pods, nil), answers: one, evidence: "of pod api-2 answered 500"},
		{kind: "endpoints-each", column: Error, situation: "not to be known", spec: each, subject: found(nil, errors.New("the server is away")), evidence: "could not be asked: the server is away"},
		{kind: "endpoints-each", column: NoData, situation: "none", spec: each, subject: found(nil, nil), evidence: "has no ready endpoint"},
		{kind: "control", column: Pass, situation: "well, and ill beside", spec: control, subject: well, answers: hosts(200, 500), evidence: "as expected"},
		{kind: "control", column: Fail, situation: "ill, and well beside", spec: control, subject: well, answers: hosts(500, 200), evidence: "meanwhile, of what was not changed"},
		{kind: "control", column: Error, situation: "ill, and ill beside", spec: control, subject: well, answers: hosts(500, 500), evidence: "something else is wrong, which was not changed"},
		{kind: "control", column: NoData, situation: "nothing to ask", spec: unasked, subject: well, answers: hosts(500, 200), evidence: "asked nothing"},
	}
}

func objectCells(t *testing.T) []cell {
	rules, err := health.NewRules([]promotion.HealthRule{{Group: "example.org", Kind: "Widget", Ready: "self.status.phase == 'Ready'", Failed: "self.?status.phase.orValue('') == 'Broken'"}})
	if err != nil {
		t.Fatal(err)
	}
	widget := func(status string) Subject {
		subject := sees(object(t, "{apiVersion: example.org/v1, kind: Widget, metadata: {name: a, namespace: novamind, generation: 1}, "+status+"}"))
		subject.Live.Rules = rules
		return subject
	}
	blind := sees()
	blind.Live.Rules = rules
	silent := sees(object(t, "{apiVersion: argoproj.io/v1alpha1, kind: Rollout, metadata: {name: a, namespace: novamind, generation: 1}}"))
	return []cell{
		{kind: "objects", column: Pass, situation: "ready", subject: sees(deployment(2, available)), evidence: "1 objects ready"},
		{kind: "objects", column: Fail, situation: "not ready in time", subject: sees(deployment(1, available)), evidence: "Deployment.apps/novamind/api"},
		{kind: "objects", column: Error, situation: "cannot be read", subject: sees(), evidence: "the objects could not be read after"},
		{kind: "objects", column: NoData, situation: "nobody has reported", subject: silent, evidence: "no controller has reported on it"},
		{kind: "CEL", column: Pass, situation: "its rule holds", subject: widget("status: {phase: Ready}"), evidence: "1 objects ready"},
		{kind: "CEL", column: Fail, situation: "its rule of failure holds", subject: widget("status: {phase: Broken}"), evidence: "has failed, as its rule in verify.health says"},
		{kind: "CEL", column: Error, situation: "cannot be read", subject: blind, evidence: "the objects could not be read"},
		{kind: "CEL", column: NoData, situation: "what it asks for is not there", subject: widget("spec: {}"), evidence: "whether it is ready cannot be told"},
	}
}

func podCells(t *testing.T) []cell {
	smoke := promotion.Verify{Jobs: []promotion.JobCheck{{Name: "smoke", CronJob: "smoke", Timeout: time.Minute}}}
	job := func(begin error, looks ...string) Subject {
		subject := sees(inertObjects()...)
		subject.Jobs = &scripted{begin: begin, looks: looks}
		return subject
	}
	began := time.Date(2026, 1, 2, 12, 0, 0, 0, time.UTC)
	pods := func(born time.Time, restarts int, err error) Subject {
		api := object(t, `{apiVersion: apps/v1, kind: Deployment, metadata: {name: api, namespace: novamind, uid: d1, annotations: {deployment.kubernetes.io/revision: "1"}},
			spec: {replicas: 0}, status: {replicas: 0, conditions: [{type: Available, status: "True"}, {type: Progressing, status: "True", reason: NewReplicaSetAvailable}]}}`)
		of := []*manifest.Object{
			object(t, `{apiVersion: apps/v1, kind: ReplicaSet, metadata: {name: api-1, namespace: novamind, uid: r1, annotations: {deployment.kubernetes.io/revision: "1"},
				ownerReferences: [{kind: Deployment, name: api, uid: d1, controller: true}]}}`),
			object(t, fmt.Sprintf(`{apiVersion: v1, kind: Pod, metadata: {name: api-1-a, namespace: novamind, creationTimestamp: %q, labels: {pod-template-hash: "1"},
				ownerReferences: [{kind: ReplicaSet, name: api-1, uid: r1, controller: true}]}, status: {containerStatuses: [{name: api, restartCount: %d}]}}`, born.Format(time.RFC3339), restarts)),
		}
		subject := sees(api)
		subject.Applied = began
		subject.Live.Pods = func(context.Context, map[manifest.ID]*manifest.Object) (map[manifest.ID]*manifest.Object, error) {
			m, _, _ := show(of...)()
			return m, err
		}
		return subject
	}
	limit := promotion.Verify{Restarts: promotion.Restarts{Max: 2}}
	return []cell{
		{kind: "job", column: Pass, situation: "completes", spec: smoke, subject: job(nil, jobRuns, jobDone), evidence: "completed with 1 succeeded"},
		{kind: "job", column: Fail, situation: "fails", spec: smoke, subject: job(nil, jobRuns, jobBad), evidence: "failed after 1 failed pod"},
		{kind: "job", column: Error, situation: "cannot be made", spec: smoke, subject: job(errors.New("the server is away"), jobRuns), evidence: "could not be run"},
		{kind: "job", column: NoData, situation: "is gone without a result", want: Error, spec: smoke, subject: job(nil, jobRuns, "gone"), evidence: "gone before its result was seen"},
		{kind: "restarts", column: Pass, situation: "within the limit", spec: limit, subject: pods(began, 2, nil), evidence: "2 restarts at most"},
		{kind: "restarts", column: Fail, situation: "over the limit", spec: limit, subject: pods(began, 3, nil), evidence: "was started again 3 times"},
		{kind: "restarts", column: Error, situation: "cannot be counted", spec: limit, subject: pods(began, 0, errors.New("the server is away")), evidence: "could not be counted"},
		{kind: "restarts", column: NoData, situation: "no pod is the release's", want: Pass, spec: limit, subject: pods(began.Add(-time.Hour), 9, nil), evidence: "1 objects ready"},
	}
}

func metricCells(t *testing.T) []cell {
	s := tell(t)
	below := func(query string) promotion.Verify {
		return promotion.Verify{Metrics: []promotion.MetricCheck{s.check(query, limits(nil, f(150)))}}
	}
	subject := sees(inertObjects()...)
	subject.Applied = s.release
	return []cell{
		{kind: "metric", column: Pass, situation: "within its limit", spec: below("same"), subject: subject, verifier: s.verifier(), evidence: "20 of 20 samples"},
		{kind: "metric", column: Fail, situation: "beyond its limit", spec: below("doubled"), subject: subject, verifier: s.verifier(), evidence: "was above 150"},
		{kind: "metric", column: Error, situation: "two series", spec: below("two"), subject: subject, verifier: s.verifier(), evidence: "2 series where one is wanted"},
		{kind: "metric", column: NoData, situation: "an empty answer", spec: below("absent"), subject: subject, verifier: s.verifier(), evidence: "otherwise an empty answer"},
	}
}

func (c cell) run(t *testing.T) (report Report) {
	t.Helper()
	c.spec.Timeout, c.spec.Settle = time.Minute, time.Second
	if c.verifier != nil {
		report, err := c.verifier.Run(t.Context(), c.spec, c.subject)
		if err != nil {
			t.Fatal(err)
		}
		return report
	}
	synctest.Test(t, func(t *testing.T) {
		var err error
		if report, err = New(&http.Client{Transport: c.answers}, SystemClock(), 0).Run(t.Context(), c.spec, c.subject); err != nil {
			t.Fatal(err)
		}
	})
	return report
}

// Each kind of check answers each way that there is: what is well passes, what is
// ill fails, what cannot be asked is an error, and where there was nothing to
// judge it says so. Two never say so: a Job without a result could not be asked,
// and of a release without pods nobody asks for restarts.
func TestMatrix(t *testing.T) {
	t.Parallel()
	all := slices.Concat(objectCells(t), httpCells(), besideCells(), podCells(t), metricCells(t))
	told := map[string]bool{}
	for _, c := range all {
		name := c.kind + "/" + string(c.column)
		told[name] = true
		t.Run(name+"/"+c.situation, func(t *testing.T) {
			want := c.want
			if want == "" {
				want = c.column
			}
			got := c.run(t)
			if got.Verdict != want || !strings.Contains(got.Evidence, c.evidence) {
				var lines []string
				for _, check := range got.Checks {
					lines = append(lines, string(check.Verdict)+": "+check.Evidence)
				}
				t.Errorf("got  %s: %s\nwant %s: %s\nof\n%s", got.Verdict, got.Evidence, want, c.evidence, strings.Join(lines, "\n"))
			}
		})
	}
	for _, kind := range matrixKinds {
		for _, column := range []Verdict{Pass, Fail, Error, NoData} {
			if !told[kind+"/"+string(column)] {
				t.Errorf("%s/%s is not told", kind, column)
			}
		}
	}
	if want := len(matrixKinds) * 4; len(told) != want {
		t.Errorf("%d cells, want %d", len(told), want)
	}
}

package app

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"chaperone.dev/chaperone/internal/controller"
	"chaperone.dev/chaperone/internal/promotion"
	"chaperone.dev/chaperone/internal/reconcile"
	"chaperone.dev/chaperone/internal/verify"
)

// The pods of these tests write what their annotation says, with their own
// environment in it.
func writes(lines int, text string) string {
	return fmt.Sprintf(`{template: {metadata: {annotations: {local.chaperone.dev/log: %q, local.chaperone.dev/log-repeat: "%d"}}, spec: {restartPolicy: Never, containers: [
		{name: run, image: "registry.local/run:exit-3", env: [{name: OWN, valueFrom: {secretKeyRef: {name: own, key: a}}}, {name: THEIRS, valueFrom: {secretKeyRef: {name: theirs, key: a}}}]}]}}, backoffLimit: 0}`,
		text, lines)
}

const lastWords = "connects as app:$(OWN)\nand then with token=$(THEIRS) to it\nno such table"

// wantLog makes sure of the last lines of a log, and that nothing is in it that
// nobody may see.
func wantLog(t *testing.T, log, name string) {
	t.Helper()
	want := name + ":\nno such table\nconnects as app:<secret>\nand then with token=<secret> to it\nno such table\nerror: run ends with exit code 3"
	if log != want {
		t.Errorf("kept %q\nwant %q", log, want)
	}
}

func (c checked) secret(t *testing.T, name, value string) {
	t.Helper()
	_, err := c.local.Client().CoreV1().Secrets(c.env.Target.Namespace).Create(t.Context(), &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Name: name}, StringData: map[string]string{"a": value}}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
}

// What a failed hook and a failed smoke test wrote is kept, by way of the API
// server and the kubelet: its last lines, without the values of Secrets, be they
// the release's or somebody else's.
func TestPitfall40_LogsOfARealCluster(t *testing.T) {
	t.Parallel()
	c := newChecked(t)
	c.secret(t, "theirs", "canary-theirs-77aa")
	own := `{apiVersion: v1, kind: Secret, metadata: {name: own}, stringData: {a: canary-own-55bb}}`
	smoke := `{apiVersion: batch/v1, kind: CronJob, metadata: {name: smoke}, spec: {suspend: true, schedule: "0 0 1 1 *", jobTemplate: {spec: ` + writes(20_000, lastWords) + `}}}`
	set := decoded(t, own, smoke)
	if err := c.on.Apply(t.Context(), c.env, set); err != nil {
		t.Fatal(err)
	}
	c.env.Verify.Jobs = []promotion.JobCheck{{Name: "smoke", CronJob: "smoke", Timeout: time.Minute, Logs: 5}}
	verdict, err := c.on.Verify(t.Context(), c.env, set, controller.Against{Begun: time.Now()})
	if err != nil || verdict.Outcome != reconcile.OutcomeFailed || strings.Contains(verdict.Evidence, "table") {
		t.Errorf("got %s: %s, %v", verdict.Outcome, verdict.Evidence, err)
	}
	wantLog(t, verdict.Log, "smoke")

	hook := `{apiVersion: batch/v1, kind: Job, metadata: {name: migrate, annotations: {chaperone.dev/hook: pre-deploy}}, spec: ` + writes(20_000, lastWords) + `}`
	err = c.on.Apply(t.Context(), c.env, decoded(t, own, smoke, hook))
	var refusal *controller.Refusal
	if !errors.As(err, &refusal) || refusal.Reason != promotion.VerificationFailed || strings.Contains(err.Error(), "table") {
		t.Fatalf("got %v", err)
	}
	tail := strings.Split(refusal.Log, "\n")
	wantLog(t, "migrate:\n"+strings.Join(tail[max(0, len(tail)-5):], "\n"), "migrate")
	if len(tail) != promotion.DefaultLogs+1 || strings.Contains(refusal.Log, "canary") {
		t.Errorf("%d lines: %s", len(tail), refusal.Log)
	}

	c.env.Data = promotion.DataPHI // where patients' data may be in a log none is kept
	err = c.on.Apply(t.Context(), c.env, decoded(t, own, smoke, strings.Replace(hook, "name: migrate", "name: other", 1)))
	if !errors.As(err, &refusal) || refusal.Log != "" {
		t.Errorf("with data phi: %v, kept %q", err, refusal.Log)
	}
}

// Containers that end and are started again are ready whenever somebody looks.
// Those of the release's own pods count, others do not.
func TestRestartsOfARealCluster(t *testing.T) {
	t.Parallel()
	const pass, fail = reconcile.OutcomeDone, reconcile.OutcomeFailed
	for name, test := range map[string]struct {
		image    string
		limits   promotion.Restarts
		outcome  reconcile.Outcome
		evidence string
	}{
		"none":                   {"api:2", promotion.Restarts{Max: 2}, pass, "objects ready"},
		"as many as allowed":     {"api:restarts-2", promotion.Restarts{Max: 2}, pass, "2 restarts at most of a container (limit 2)"},
		"more than allowed":      {"api:restarts-3", promotion.Restarts{Max: 2}, fail, `container "main" was started again 3 times, last after it exited with code 1 (limit 2)`},
		"out of memory once":     {"api:oom-1", promotion.Restarts{Max: 2}, fail, "was started again once, last after it exited with code 137 (OOMKilled) (limit of such ends 0)"},
		"out of memory, allowed": {"api:oom-1", promotion.Restarts{Max: 2, OOMKills: 1}, pass, "1 restarts"},
		"out of memory for ever": {"api:oom-loop", promotion.Restarts{Max: 2}, fail, "OOMKilled"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := newChecked(t)
			c.env.Verify.Restarts, c.env.Verify.Settle = test.limits, 4*time.Second
			neighbour := workload("neighbour", "neighbour", "api:restarts-5", 1)
			before := decoded(t, workload("api", "api", "api:1", 1), neighbour)
			if err := c.on.Apply(t.Context(), c.env, before); err != nil {
				t.Fatal(err)
			}
			// The neighbour's own release fails by its restarts.
			got, err := c.on.Verify(t.Context(), c.env, before, controller.Against{Begun: time.Now()})
			if err != nil || got.Outcome != fail || !strings.Contains(got.Evidence, "pod neighbour-") {
				t.Fatalf("the release before: %s: %s, %v", got.Outcome, got.Evidence, err)
			}
			// The clocks may be a minute apart; here they nearly are, for the neighbour's pod
			// to be from before.
			begun := time.Now().Add(59 * time.Second)
			after := decoded(t, workload("api", "api", test.image, 1), neighbour)
			if err := c.on.Apply(t.Context(), c.env, after); err != nil {
				t.Fatal(err)
			}
			if strings.HasSuffix(test.image, "-loop") {
				c.env.Verify.Timeout = 10 * time.Second
			}
			got, err = c.on.Verify(t.Context(), c.env, after, controller.Against{Begun: begun})
			if err != nil || got.Outcome != test.outcome || !strings.Contains(got.Evidence, test.evidence) {
				t.Errorf("got %s: %s, %v; want %s: %s", got.Outcome, got.Evidence, err, test.outcome, test.evidence)
			}
		})
	}
}

// signed is a certificate for a Service, by an authority or by itself.
func signed(t *testing.T, host string, ends time.Time, by *tls.Certificate) (pair tls.Certificate, manifest string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(time.Now().UnixNano()), NotBefore: ends.Add(-90 * 24 * time.Hour), NotAfter: ends,
		DNSNames: []string{host}, BasicConstraintsValid: true, IsCA: by == nil}
	parent, signer := template, any(key)
	if by != nil {
		parent, signer = by.Leaf, by.PrivateKey
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, signer)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	encode := func(kind string, der []byte) []byte { return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}) }
	if pair, err = tls.X509KeyPair(encode("CERTIFICATE", der), encode("PRIVATE KEY", private)); err != nil {
		t.Fatal(err)
	}
	return pair, fmt.Sprintf("data: {tls.crt: %s, tls.key: %s}", base64.StdEncoding.EncodeToString(encode("CERTIFICATE", der)),
		base64.StdEncoding.EncodeToString(encode("PRIVATE KEY", private)))
}

// Services whose pods serve with a certificate from a Secret, as it is there.
func TestCertificatesOfARealCluster(t *testing.T) {
	t.Parallel()
	const day = 24 * time.Hour
	const pass, fail, unasked = reconcile.OutcomeDone, reconcile.OutcomeFailed, reconcile.OutcomeError
	c := newChecked(t)
	authority, _ := signed(t, "authority", time.Now().Add(80*day), nil)
	stranger, _ := signed(t, "stranger", time.Now().Add(80*day), nil)
	tests := []struct {
		name, host string
		left       time.Duration
		by         *tls.Certificate // nil: it speaks no TLS
		outcome    reconcile.Outcome
		evidence   string
	}{
		{"lasting", "", 60 * day, &authority, pass, "as expected in 3 of 3"},
		{"short", "", 3 * day, &authority, fail, "a certificate that is valid until " + time.Now().Add(3*day).UTC().Format("2006-01-02") + ", less than 336h from now"},
		{"ended", "", -day, &authority, fail, "a certificate that was valid until "},
		{"another", "example.org", 60 * day, &authority, fail, "a certificate for another host"},
		{"unknown", "", 60 * day, &stranger, unasked, "got no answer to any"},
		{"plain", "", 0, nil, unasked, "got no answer to any"},
	}
	var texts []string
	for _, test := range tests {
		host, deployed := test.host, workload(test.name, test.name, "api:1", 1)
		if host == "" {
			host = test.name + "." + c.env.Target.Namespace + ".svc"
		}
		if test.by != nil {
			_, data := signed(t, host, time.Now().Add(test.left), test.by)
			texts = append(texts, fmt.Sprintf("{apiVersion: v1, kind: Secret, type: kubernetes.io/tls, metadata: {name: %s}, %s}", test.name, data))
			deployed = strings.Replace(deployed, "containers:", "volumes: [{name: tls, secret: {secretName: "+test.name+"}}], containers:", 1)
		}
		texts = append(texts, deployed, strings.Replace(serviceOf(test.name), "port: 80", "port: 443", 1))
	}
	set := decoded(t, texts...)
	if err := c.on.Apply(t.Context(), c.env, set); err != nil {
		t.Fatal(err)
	}
	proxy, err := url.Parse(c.local.Proxy)
	if err != nil {
		t.Fatal(err)
	}
	client := verify.NewClient(proxy)
	roots := x509.NewCertPool()
	roots.AddCert(authority.Leaf)
	client.Transport.(*http.Transport).TLSClientConfig.RootCAs = roots
	c.on.verifier = verify.New(client, verify.SystemClock(), 300*time.Millisecond)
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			env := c.env
			env.Verify.HTTP = []promotion.HTTPCheck{{Name: "tls", URL: "https://" + test.name + "." + env.Target.Namespace + ".svc/", Count: 3,
				Interval: time.Millisecond, Timeout: 5 * time.Second, Certificate: 14 * day}}
			got, err := c.on.Verify(t.Context(), env, set, controller.Against{Begun: time.Now()})
			if err != nil || got.Outcome != test.outcome || !strings.Contains(got.Evidence, test.evidence) {
				t.Errorf("got %s: %s, %v; want %s: %s", got.Outcome, got.Evidence, err, test.outcome, test.evidence)
			}
		})
	}
}

// beside asks what the release did not change the same, at the same time.
func TestControlOfARealCluster(t *testing.T) {
	t.Parallel()
	c := newChecked(t)
	set := decoded(t, workload("bad", "bad", "api:errors-100", 1), serviceOf("bad"), workload("good", "good", "api:1", 1), serviceOf("good"),
		workload("ill", "ill", "api:errors-100", 1), serviceOf("ill"), serviceOf("nobody"))
	if err := c.on.Apply(t.Context(), c.env, set); err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		ask, control string
		outcome      reconcile.Outcome
		tied         bool
		evidence     string
	}{
		"bad, and well beside":          {"bad", "good", reconcile.OutcomeFailed, true, "meanwhile, of what was not changed"},
		"bad, and as bad beside":        {"bad", "ill", reconcile.OutcomeError, false, "something else is wrong, which was not changed"},
		"bad, and nobody knows beside":  {"bad", "nobody", reconcile.OutcomeError, false, "what was not changed cannot be judged"},
		"well, whatever is beside":      {"good", "ill", reconcile.OutcomeDone, false, "as expected"},
		"nobody, and well beside":       {"nobody", "good", reconcile.OutcomeError, false, "got no answer"},
		"nobody, and nobody beside":     {"nobody", "nobody", reconcile.OutcomeError, false, "got no answer"},
		"nobody asked, and well beside": {"", "good", reconcile.OutcomeNoData, false, "asked nothing"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			env := c.env
			check := promotion.HTTPCheck{Name: "h", Service: test.ask, Port: 80, Count: 10, Interval: 20 * time.Millisecond, Timeout: 5 * time.Second,
				Control: &promotion.Endpoint{Service: test.control, Port: 80}}
			if test.ask == "" {
				check.Service, check.Count = "good", 0
			}
			env.Verify.HTTP = []promotion.HTTPCheck{check}
			got, err := c.on.Verify(t.Context(), env, set, controller.Against{Begun: time.Now()})
			if err != nil || got.Outcome != test.outcome || got.Tied != test.tied || !strings.Contains(got.Evidence, test.evidence) {
				t.Errorf("got %s (%v): %s, %v; want %s (%v): %s", got.Outcome, got.Tied, got.Evidence, err, test.outcome, test.tied, test.evidence)
			}
		})
	}
}

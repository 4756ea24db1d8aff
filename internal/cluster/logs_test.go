package cluster

import (
	"encoding/base64"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"k8s.io/client-go/rest"

	"chaperone.dev/chaperone/internal/manifest"
)

func TestRedacted(t *testing.T) {
	t.Parallel()
	secrets := []string{"hunter2", "hunter2-and-more", "line-of-a-key"}
	for text, want := range map[string]string{
		"logged in with hunter2":                       "logged in with <secret>",
		"hunter2-and-more is longer":                   "<secret> is longer",
		"password=open-sesame and on":                  "password=<secret> and on",
		`{"api_key": "abcdef"}`:                        `{"api_key": <secret>`,
		"Authorization: Bearer abcdefghijk":            "Authorization: <secret>",
		"dial postgres://app:pa55@db:5432/x":           "dial postgres://app:<secret>@db:5432/x",
		"eyJhbGciOiJIUzI1.eyJzdWIiOiIxMjM0.c2lnbmF0dX": "<secret>",
		"asked http://api:8000/health: 500":            "asked http://api:8000/health: 500",
		"amqp://app:pa/55@mq:5672/x?a=b":               "amqp://app:<secret>@mq:5672/x?a=b",
		"12 of 12 passed":                              "12 of 12 passed",
	} {
		if got := redacted(text, secrets); got != want {
			t.Errorf("%q: got %q, want %q", text, got, want)
		}
	}
}

func TestTailIsBoundedAndPlain(t *testing.T) {
	t.Parallel()
	text := strings.Repeat("old\n", 50) + "\x1b[31mred\u202e\u009b0m\n" + strings.Repeat("x", 5000) + "\nb\xffd\n"
	got := tail(text, 3)
	if len(got) != 3 || got[0] != "[31mred0m" || len(got[1]) > lineBytes+len("…") || got[2] != "b�d" {
		t.Errorf("got %q", got)
	}
}

// What a Secret holds is often a file, of which a program tells a part.
func TestPitfall40_PartsOfASecret(t *testing.T) {
	t.Parallel()
	for value, log := range map[string]string{
		"DB_USER=app\nDB_PASSWORD='hunter2'\n":                          "login as app with hunter2 refused",
		"password: hunter2\n":                                           "tried hunter2",
		`{"db": {"passwords": ["x", "hunter2"], "port": 5432}}`:         "tried hunter2",
		"postgres://app:hunter2@db:5432/x":                              "tried hunter2 at db:5432",
		"spring.datasource.url = jdbc:\nurl=https://me:hunter2@host/\n": "tried hunter2",
	} {
		objects, err := manifest.Decode("s.yaml", []byte(fmt.Sprintf("{apiVersion: v1, kind: Secret, metadata: {name: own}, stringData: {a: %q}}", value)))
		if err != nil {
			t.Fatal(err)
		}
		got, err := logServer(t, 200, log+"\n").Log(t.Context(), "novamind", "smoke-1", 2, objects)
		if want := strings.ReplaceAll(log, "hunter2", takenOut); err != nil || got != want {
			t.Errorf("%q: got %q, %v; want %q", value, got, err, want)
		}
	}
}

// So much of it that looking for each would keep a restore waiting is not told at all.
func TestSecretsWithoutEnd(t *testing.T) {
	t.Parallel()
	var lines strings.Builder
	for i := range 50_000 {
		fmt.Fprintf(&lines, "word%06d\n", i)
	}
	objects, err := manifest.Decode("s.yaml", []byte(fmt.Sprintf("{apiVersion: v1, kind: Secret, metadata: {name: own}, stringData: {a: %q}}", lines.String())))
	if err != nil {
		t.Fatal(err)
	}
	if got, err := logServer(t, 200, "well\n").Log(t.Context(), "novamind", "smoke-1", 2, objects); got != "" || err == nil || !strings.Contains(err.Error(), "too many to take out") {
		t.Errorf("%q, %v", got, err)
	}
}

// logServer answers as an API server does about one Job's pods.
func logServer(t *testing.T, secretStatus int, log string) *Cluster {
	t.Helper()
	mux := http.NewServeMux()
	answer := func(path, body string, status int) {
		mux.HandleFunc(path, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(status)
			_, _ = w.Write([]byte(body))
		})
	}
	pod := func(name, born string) string {
		return fmt.Sprintf(`{"apiVersion":"v1","kind":"Pod","metadata":{"name":%q,"namespace":"novamind","creationTimestamp":%q},"spec":{
			"containers":[{"name":"run","env":[{"name":"A","valueFrom":{"secretKeyRef":{"name":"db","key":"password"}}}]}]}}`, name, born)
	}
	answer("/api/v1/namespaces/novamind/pods", `{"apiVersion":"v1","kind":"PodList","items":[`+pod("old", "2026-01-01T00:00:00Z")+","+pod("new", "2026-01-02T00:00:00Z")+`]}`, 200)
	answer("/api/v1/namespaces/novamind/secrets/db", `{"apiVersion":"v1","kind":"Secret","metadata":{"name":"db"},"data":{"password":"`+
		base64.StdEncoding.EncodeToString([]byte("correct horse"))+`"}}`, secretStatus)
	mux.HandleFunc("/api/v1/namespaces/novamind/pods/new/log", func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Query().Get("container") != "run" || r.URL.Query().Get("limitBytes") == "" {
			t.Errorf("asked %s", r.URL.RawQuery)
		}
		_, _ = w.Write([]byte(log))
	})
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	c, err := Connect(&rest.Config{Host: server.URL}, Options{})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// The values of Secrets do not get into what is kept (argo-cd#897): not those of
// the release, nor those that the pod uses. Where one cannot be known, nothing is.
func TestPitfall40_LogsWithoutSecrets(t *testing.T) {
	t.Parallel()
	log := "first\nconnect with correct horse, that is correct+horse or Y29ycmVjdCBob3JzZQ==\nthen hunter2\n"
	objects, err := manifest.Decode("s.yaml", []byte("{apiVersion: v1, kind: Secret, metadata: {name: own}, stringData: {a: hunter2}}"))
	if err != nil {
		t.Fatal(err)
	}
	release := objects
	got, err := logServer(t, 200, log).Log(t.Context(), "novamind", "smoke-1", 2, release)
	if want := "connect with <secret>, that is <secret> or <secret>\nthen <secret>"; err != nil || got != want {
		t.Errorf("got %q, %v; want %q", got, err, want)
	}
	got, err = logServer(t, 403, log).Log(t.Context(), "novamind", "smoke-1", 2, release)
	if got != "" || err == nil || !strings.Contains(err.Error(), "Secret db, which the pod uses, cannot be read") {
		t.Errorf("a Secret that cannot be read: got %q, %v", got, err)
	}
	cut := strings.Repeat("x\n", logBytes/2-3) + "corre" // limitBytes cut the value in two
	got, err = logServer(t, 200, cut+"\x20").Log(t.Context(), "novamind", "smoke-1", 2, release)
	if err != nil || strings.Contains(got, "corre") {
		t.Errorf("half a secret is told: %q, %v", got, err)
	}
}

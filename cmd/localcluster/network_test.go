package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

func tokenRequest(life time.Duration) *authenticationv1.TokenRequest {
	seconds := int64(life.Seconds())
	return &authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{ExpirationSeconds: &seconds}}
}

func (c cluster) service(t *testing.T, ns, name string) {
	t.Helper()
	must1[*corev1.Service](t)(c.client.CoreV1().Services(ns).Create(t.Context(), &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec: corev1.ServiceSpec{Selector: map[string]string{"app": name}, Ports: []corev1.ServicePort{
			{Name: "web", Port: 8000, TargetPort: intstr.FromString("http")},
		}},
	}, metav1.CreateOptions{}))
}

type answer struct {
	code int
	text string
	pod  string
}

// get asks through the proxy, the way every HTTP client does that is told of one.
func (c cluster) get(t *testing.T, address string) answer {
	t.Helper()
	proxy := must1[*url.URL](t)(url.Parse(c.info.Proxy))
	transport := &http.Transport{Proxy: http.ProxyURL(proxy), DisableKeepAlives: true}
	client := http.Client{Transport: transport, Timeout: 30 * time.Second}
	response := must1[*http.Response](t)(client.Get(address))
	defer response.Body.Close()
	body := must1[[]byte](t)(io.ReadAll(response.Body))
	var reply struct{ Pod string }
	_ = json.Unmarshal(body, &reply) // a refusal is plain text
	return answer{response.StatusCode, strings.TrimSpace(string(body)), reply.Pod}
}

func (c cluster) answers(t *testing.T, address string, code int) {
	t.Helper()
	eventually(t, fmt.Sprintf("%s answers %d", address, code), func(context.Context) error {
		if got := c.get(t, address); got.code != code {
			return fmt.Errorf("%d: %s", got.code, got.text)
		}
		return nil
	})
}

func TestProxyAnswersOnlyThroughReadyEndpoints(t *testing.T) {
	t.Parallel()
	c := sharedCluster(t)
	ns := c.namespace(t)
	address := "http://web." + ns + ".svc:8000/health"
	refused := func(address string, code int, reason string) {
		t.Helper()
		if got := c.get(t, address); got.code != code || !strings.Contains(got.text, reason) {
			t.Errorf("%s: %d %s, want %d %s", address, got.code, got.text, code, reason)
		}
	}
	refused(address, http.StatusServiceUnavailable, "not found")
	c.service(t, ns, "web")
	eventually(t, "the service without pods", func(context.Context) error {
		if got := c.get(t, address); got.code != http.StatusServiceUnavailable || !strings.Contains(got.text, "no ready endpoints") {
			return fmt.Errorf("%d %s", got.code, got.text)
		}
		return nil
	})
	c.deploy(t, ns, deployment("web", "web:1-never-ready", 2))
	eventually(t, "unready pods run", func(context.Context) error {
		pods := c.pods(t, ns)
		if len(pods) != 2 || pods[0].Status.Phase != corev1.PodRunning || pods[1].Status.Phase != corev1.PodRunning {
			return fmt.Errorf("%d pods", len(pods))
		}
		return nil
	})
	refused(address, http.StatusServiceUnavailable, "no ready endpoints")
	c.setImage(t, ns, "web", "web:2")
	c.ready(t, ns, "web")
	c.answers(t, address, http.StatusOK)
	c.answers(t, "http://web."+ns+".svc.cluster.local:8000/", http.StatusOK)
	refused("http://web."+ns+".svc:9999/", http.StatusServiceUnavailable, "has no port 9999")
	refused("http://example.org/", http.StatusForbidden, "outside")
	refused("http://169.254.169.254/", http.StatusForbidden, "outside")
	refused(c.info.Proxy+"/", http.StatusForbidden, "outside")
	eventually(t, "pods take turns", func(context.Context) error {
		seen := map[string]bool{}
		for range 4 {
			seen[c.get(t, address).pod] = true
		}
		if len(seen) != 2 {
			return fmt.Errorf("pods %v", seen)
		}
		return nil
	})
}

func TestProxyPlaysBehaviors(t *testing.T) {
	t.Parallel()
	c := sharedCluster(t)
	ns := c.namespace(t)
	for name, image := range map[string]string{
		"broken": "web:1.4.2-errors-100",
		"flaky":  "web:1.4.2_errors-25@sha256:" + strings.Repeat("0", 64),
		"slow":   "web:slow-300ms",
		"aging":  "web:2-fails-after-3s",
	} {
		c.deploy(t, ns, deployment(name, image, 1))
		c.service(t, ns, name)
	}
	address := func(name string) string { return "http://" + name + "." + ns + ".svc:8000/" }
	for _, name := range []string{"broken", "flaky", "slow", "aging"} {
		c.ready(t, ns, name)
	}
	c.answers(t, address("broken"), http.StatusInternalServerError)
	c.answers(t, address("aging"), http.StatusInternalServerError)
	c.answers(t, address("flaky"), http.StatusInternalServerError)
	failed := 0
	for range 20 {
		if c.get(t, address("flaky")).code == http.StatusInternalServerError {
			failed++
		}
	}
	if failed != 5 {
		t.Errorf("errors-25: %d of 20 failed, want 5", failed)
	}
	c.answers(t, address("slow"), http.StatusOK)
	begun := time.Now()
	c.get(t, address("slow"))
	if took := time.Since(begun); took < 300*time.Millisecond {
		t.Errorf("slow-300ms answered after %s", took)
	}
	// Its pod serves metrics under its own address, as Prometheus asks for them.
	for _, pod := range c.pods(t, ns) {
		if pod.Labels["app"] != "broken" {
			continue
		}
		got := c.get(t, "http://"+pod.Status.PodIP+":8080/metrics")
		if got.code != http.StatusOK || !strings.Contains(got.text, `http_requests_total{code="500"}`) || !strings.Contains(got.text, "http_request_duration_seconds_bucket") {
			t.Errorf("metrics: %d %s", got.code, got.text)
		}
	}
}

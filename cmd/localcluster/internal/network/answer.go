package network

import (
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"chaperone.dev/chaperone/cmd/localcluster/internal/behavior"
)

// podState is what a pod remembers: how often it was asked, and its metrics.
type podState struct {
	requests atomic.Uint64
	total    *prometheus.CounterVec
	seconds  prometheus.Histogram
	metrics  http.Handler
}

func newPodState() *podState {
	s := &podState{
		total: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "http_requests_total", Help: "Requests answered, by status code.",
		}, []string{"code"}),
		seconds: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "http_request_duration_seconds", Help: "Time to answer a request.", Buckets: prometheus.DefBuckets,
		}),
	}
	registry := prometheus.NewRegistry()
	registry.MustRegister(s.total, s.seconds)
	// Both series exist from the start: a rate over a series that appears late reads as no data.
	s.total.WithLabelValues("200")
	s.total.WithLabelValues("500")
	s.metrics = promhttp.HandlerFor(registry, promhttp.HandlerOpts{})
	return s
}

// maxBody bounds what is read of a request's body before it is answered.
const maxBody = 1 << 20

// ServeHTTP answers a proxy request (an absolute URL), or the same with a Host header.
func (n *Network) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method == http.MethodConnect {
		n.tunnel(w, r)
		return
	}
	if r.URL.Scheme != "" && r.URL.Scheme != "http" {
		answerRefusal(w, refuse(http.StatusNotImplemented, "scheme %s is not played: use http, or https through a tunnel", r.URL.Scheme))
		return
	}
	host, port := hostPort(r)
	t, refused := n.find(r, host, port)
	if refused != nil {
		answerRefusal(w, refused)
		return
	}
	if _, err := io.Copy(io.Discard, io.LimitReader(r.Body, maxBody)); err != nil {
		return // the client is gone
	}
	n.answer(w, r, t)
}

func hostPort(r *http.Request) (host, port string) {
	authority := r.URL.Host
	if authority == "" {
		authority = r.Host
	}
	u := url.URL{Host: authority}
	return u.Hostname(), u.Port()
}

func answerRefusal(w http.ResponseWriter, r *refusal) {
	w.Header().Set("X-Localcluster-Refused", strconv.Itoa(r.status))
	http.Error(w, r.text, r.status)
}

// answer is the container's: its behaviour decides, whatever the path.
func (n *Network) answer(w http.ResponseWriter, r *http.Request, t target) {
	container := containerFor(t.pod, t.port)
	state := n.stateOf(t.pod)
	if r.URL.Path == "/metrics" {
		state.metrics.ServeHTTP(w, r)
		return
	}
	begun := n.now()
	b := behavior.Of(t.pod.Annotations, container.Image)
	count := state.requests.Add(1)
	if !pause(r, b.Delay) {
		return
	}
	code := http.StatusOK
	if b.FailsRequest(count, startOf(t.pod, container.Name).Time, n.now()) {
		code = http.StatusInternalServerError
	}
	state.total.WithLabelValues(strconv.Itoa(code)).Inc()
	state.seconds.Observe(n.now().Sub(begun).Seconds())
	writeAnswer(w, code, reply{
		Service: t.service, Namespace: t.pod.Namespace, Pod: t.pod.Name, Container: container.Name,
		Image: container.Image, Path: r.URL.Path, Behavior: b.String(),
	})
}

// pause waits d, and is false when the client did not.
func pause(r *http.Request, d time.Duration) bool {
	if d == 0 {
		return true
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-r.Context().Done():
		return false
	}
}

type reply struct {
	Service   string `json:"service"`
	Namespace string `json:"namespace"`
	Pod       string `json:"pod"`
	Container string `json:"container"`
	Image     string `json:"image"`
	Path      string `json:"path"`
	Behavior  string `json:"behavior"`
	Error     string `json:"error,omitempty"`
}

func writeAnswer(w http.ResponseWriter, code int, body reply) {
	if code != http.StatusOK {
		body.Error = http.StatusText(code)
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	_ = json.NewEncoder(w).Encode(body) // an error here is the client's
}

package containerlog

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"chaperone.dev/chaperone/cmd/localcluster/internal/pki"
)

// Server is the part of every node's kubelet that tells logs. It reads each pod as it is then:
// whoever saw a pod end is told its last words.
type Server struct {
	client kubernetes.Interface
	now    func() time.Time
}

// New reads pods, and what their environment comes from, through client.
func New(client kubernetes.Interface, now func() time.Time) *Server { return &Server{client, now} }

// Serve answers on listener, with the certificate of pair, until ctx ends. Only the API server
// is let in: it has the client certificate in the name of caller, and has checked what its
// users may see.
func (s *Server) Serve(ctx context.Context, listener net.Listener, pair pki.Pair, authority *pki.Authority, caller string) error {
	certificate, err := tls.LoadX509KeyPair(pair.Cert, pair.Key)
	if err != nil {
		return fmt.Errorf("serve container logs: %w", err)
	}
	server := &http.Server{
		Handler: only(caller, s.routes()), ReadHeaderTimeout: 10 * time.Second,
		TLSConfig: &tls.Config{
			MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{certificate},
			ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: authority.Pool(),
		},
	}
	context.AfterFunc(ctx, func() { _ = server.Close() })
	go func() { _ = server.ServeTLS(listener, "", "") }() // ends with Close
	return nil
}

// only lets in one client: the authority vouches for every user of the cluster.
func only(caller string, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.TLS == nil || len(r.TLS.PeerCertificates) == 0 || r.TLS.PeerCertificates[0].Subject.CommonName != caller {
			http.Error(w, "forbidden: only the API server may ask", http.StatusForbidden)
			return
		}
		next.ServeHTTP(w, r)
	})
}

func (s *Server) routes() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /containerLogs/{namespace}/{pod}/{container}", s.log)
	return mux
}

func (s *Server) log(w http.ResponseWriter, r *http.Request) {
	asked, err := parseOptions(r.URL.Query(), s.now())
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	pod, err := s.client.CoreV1().Pods(r.PathValue("namespace")).Get(r.Context(), r.PathValue("pod"), metav1.GetOptions{})
	if err != nil {
		http.Error(w, fmt.Sprintf("pod %q does not exist", r.PathValue("pod")), http.StatusNotFound)
		return
	}
	c := containerOf(pod, r.PathValue("container"))
	if c == nil {
		http.Error(w, fmt.Sprintf("container %q not found in pod %q", r.PathValue("container"), pod.Name), http.StatusNotFound)
		return
	}
	life, err := lifeOf(pod, c.Name, asked.previous)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	environment := environmentOf(r.Context(), s.client, pod, c)
	w.Header().Set("Content-Type", "text/plain")
	_, _ = w.Write(asked.render(write(pod, c, life, environment.expand))) // an error here is the client's
	if asked.follow && life.end == nil {
		s.follow(w, r, pod, c.Name)
	}
}

// follow keeps the answer open until the container has ended: it writes nothing in between.
func (s *Server) follow(w http.ResponseWriter, r *http.Request, pod *corev1.Pod, container string) {
	_ = http.NewResponseController(w).Flush()
	tick := time.NewTicker(500 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-r.Context().Done():
			return
		case <-tick.C:
		}
		now, err := s.client.CoreV1().Pods(pod.Namespace).Get(r.Context(), pod.Name, metav1.GetOptions{})
		if err != nil || now.UID != pod.UID {
			return
		}
		if life, err := lifeOf(now, container, false); err != nil || life.end != nil {
			return
		}
	}
}

func containerOf(pod *corev1.Pod, name string) *corev1.Container {
	for _, list := range [][]corev1.Container{pod.Spec.Containers, pod.Spec.InitContainers} {
		for i := range list {
			if list[i].Name == name {
				return &list[i]
			}
		}
	}
	return nil
}

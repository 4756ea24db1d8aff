package network

import (
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
)

// Secrets reads one; a tunnel is served with the certificate that the pod mounts.
type Secrets func(ctx context.Context, namespace, name string) (*corev1.Secret, error)

// WithSecrets plays https: a tunnel to a pod that mounts a Secret of type kubernetes.io/tls ends
// in a server with that certificate, whatever it is worth.
func (n *Network) WithSecrets(read Secrets) { n.secrets = read }

// tunnel answers CONNECT, as the pod behind it does.
func (n *Network) tunnel(w http.ResponseWriter, r *http.Request) {
	host, port := hostPort(r)
	if port == "" {
		port = "443"
	}
	t, refused := n.resolve(host, port)
	if refused != nil {
		answerRefusal(w, refused)
		return
	}
	certificate, refused := n.certificate(r.Context(), t.pod)
	if refused != nil {
		answerRefusal(w, refused)
		return
	}
	conn, rest, err := http.NewResponseController(w).Hijack()
	if err != nil || rest.Reader.Buffered() > 0 { // a client waits for the answer before it goes on
		answerRefusal(w, refuse(http.StatusInternalServerError, "tunnel to %s: cannot be opened", r.Host))
		return
	}
	if _, err := conn.Write([]byte("HTTP/1.1 200 Connection established\r\n\r\n")); err != nil {
		_ = conn.Close()
		return
	}
	inside := &http.Server{ReadHeaderTimeout: 10 * time.Second, IdleTimeout: time.Minute,
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { n.answer(w, r, t) })}
	secured := tls.Server(conn, &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{*certificate}})
	_ = inside.Serve(newSingle(secured)) // ends with the connection
}

// certificate is that of the first TLS Secret among a pod's volumes.
func (n *Network) certificate(ctx context.Context, pod *corev1.Pod) (*tls.Certificate, *refusal) {
	if n.secrets == nil {
		return nil, refuse(http.StatusNotImplemented, "tunnels are not played here: use plain http")
	}
	for _, volume := range pod.Spec.Volumes {
		if volume.Secret == nil {
			continue
		}
		secret, err := n.secrets(ctx, pod.Namespace, volume.Secret.SecretName)
		if err != nil || secret.Type != corev1.SecretTypeTLS {
			continue
		}
		certificate, err := tls.X509KeyPair(secret.Data[corev1.TLSCertKey], secret.Data[corev1.TLSPrivateKeyKey])
		if err != nil {
			return nil, refuse(http.StatusServiceUnavailable, "pod %s/%s: Secret %s holds no certificate with its key", pod.Namespace, pod.Name, secret.Name)
		}
		return &certificate, nil
	}
	return nil, refuse(http.StatusServiceUnavailable, "pod %s/%s speaks no TLS: it mounts no Secret of type %s", pod.Namespace, pod.Name, corev1.SecretTypeTLS)
}

// single is a listener for one connection; its server ends when that is closed.
type single struct {
	net.Conn
	first chan net.Conn
	gone  chan struct{}
	once  sync.Once
}

func newSingle(conn net.Conn) *single {
	s := &single{Conn: conn, first: make(chan net.Conn, 1), gone: make(chan struct{})}
	s.first <- s
	return s
}

// Accept gives the connection once, and then waits until it is closed.
func (s *single) Accept() (net.Conn, error) {
	select {
	case conn := <-s.first:
		return conn, nil
	case <-s.gone:
		return nil, net.ErrClosed
	}
}

// Addr is the connection's.
func (s *single) Addr() net.Addr { return s.LocalAddr() }

// Close is of the listener and of the connection: either ends both.
func (s *single) Close() error {
	s.once.Do(func() { close(s.gone) })
	return s.Conn.Close()
}

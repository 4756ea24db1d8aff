package usage

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/informers"
	corelisters "k8s.io/client-go/listers/core/v1"
	metrics "k8s.io/metrics/pkg/apis/metrics/v1beta1"

	"chaperone.dev/chaperone/cmd/localcluster/internal/pki"
)

const root = "/apis/metrics.k8s.io/v1beta1"

// API answers from watches.
type API struct {
	pods  corelisters.PodLister
	nodes corelisters.NodeLister
	now   func() time.Time
}

// New watches through factory, which the caller starts afterwards.
func New(factory informers.SharedInformerFactory, now func() time.Time) *API {
	return &API{pods: factory.Core().V1().Pods().Lister(), nodes: factory.Core().V1().Nodes().Lister(), now: now}
}

// Serve answers on listener, with the certificate of pair, until ctx ends. Only clients that
// frontProxy vouches for are let in: the API server has checked their users' permissions.
func (a *API) Serve(ctx context.Context, listener net.Listener, pair pki.Pair, frontProxy *pki.Authority) error {
	certificate, err := tls.LoadX509KeyPair(pair.Cert, pair.Key)
	if err != nil {
		return fmt.Errorf("serve resource metrics: %w", err)
	}
	server := &http.Server{
		Handler: a.routes(), ReadHeaderTimeout: 10 * time.Second,
		TLSConfig: &tls.Config{
			MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{certificate},
			ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: frontProxy.Pool(),
		},
	}
	context.AfterFunc(ctx, func() { _ = server.Close() })
	go func() { _ = server.ServeTLS(listener, "", "") }() // ends with Close
	return nil
}

func (a *API) routes() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET "+root, func(w http.ResponseWriter, _ *http.Request) { write(w, discovery()) })
	mux.HandleFunc("GET "+root+"/pods", a.listPods)
	mux.HandleFunc("GET "+root+"/namespaces/{namespace}/pods", a.listPods)
	mux.HandleFunc("GET "+root+"/namespaces/{namespace}/pods/{name}", a.getPod)
	mux.HandleFunc("GET "+root+"/nodes", a.listNodes)
	mux.HandleFunc("GET "+root+"/nodes/{name}", a.getNode)
	return mux
}

func discovery() *metav1.APIResourceList {
	verbs := metav1.Verbs{"get", "list"}
	return &metav1.APIResourceList{
		TypeMeta:     metav1.TypeMeta{Kind: "APIResourceList", APIVersion: "v1"},
		GroupVersion: metrics.SchemeGroupVersion.String(),
		APIResources: []metav1.APIResource{
			{Name: "nodes", Kind: "NodeMetrics", Verbs: verbs},
			{Name: "pods", Kind: "PodMetrics", Namespaced: true, Verbs: verbs},
		},
	}
}

func (a *API) listPods(w http.ResponseWriter, r *http.Request) {
	selector, err := labels.Parse(r.URL.Query().Get("labelSelector"))
	if err != nil {
		fail(w, apierrors.NewBadRequest(err.Error()))
		return
	}
	pods, err := a.pods.Pods(r.PathValue("namespace")).List(selector)
	if err != nil {
		fail(w, apierrors.NewInternalError(err))
		return
	}
	list := metrics.PodMetricsList{
		TypeMeta: metav1.TypeMeta{Kind: "PodMetricsList", APIVersion: metrics.SchemeGroupVersion.String()},
		Items:    []metrics.PodMetrics{},
	}
	for _, pod := range pods {
		if m := ofPod(pod, a.now()); m != nil {
			list.Items = append(list.Items, *m)
		}
	}
	write(w, list)
}

func (a *API) getPod(w http.ResponseWriter, r *http.Request) {
	name := r.PathValue("name")
	pod, err := a.pods.Pods(r.PathValue("namespace")).Get(name)
	if err == nil {
		if m := ofPod(pod, a.now()); m != nil {
			write(w, m)
			return
		}
	}
	fail(w, apierrors.NewNotFound(schema.GroupResource{Group: "metrics.k8s.io", Resource: "pods"}, name))
}

func (a *API) listNodes(w http.ResponseWriter, r *http.Request) {
	selector, err := labels.Parse(r.URL.Query().Get("labelSelector"))
	if err != nil {
		fail(w, apierrors.NewBadRequest(err.Error()))
		return
	}
	nodes, err := a.nodes.List(selector)
	if err != nil {
		fail(w, apierrors.NewInternalError(err))
		return
	}
	list := metrics.NodeMetricsList{
		TypeMeta: metav1.TypeMeta{Kind: "NodeMetricsList", APIVersion: metrics.SchemeGroupVersion.String()},
		Items:    []metrics.NodeMetrics{},
	}
	for _, node := range nodes {
		list.Items = append(list.Items, *ofNode(node, a.podsOf(), a.now()))
	}
	write(w, list)
}

func (a *API) getNode(w http.ResponseWriter, r *http.Request) {
	node, err := a.nodes.Get(r.PathValue("name"))
	if err != nil {
		fail(w, apierrors.NewNotFound(schema.GroupResource{Group: "metrics.k8s.io", Resource: "nodes"}, r.PathValue("name")))
		return
	}
	write(w, ofNode(node, a.podsOf(), a.now()))
}

// podsOf is empty, not an error, where the cache has nothing: usage is never what stops a test.
func (a *API) podsOf() []*corev1.Pod {
	pods, err := a.pods.List(labels.Everything())
	if err != nil {
		return nil
	}
	return pods
}

func write(w http.ResponseWriter, body any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(body) // an error here is the client's
}

func fail(w http.ResponseWriter, status *apierrors.StatusError) {
	status.ErrStatus.TypeMeta = metav1.TypeMeta{Kind: "Status", APIVersion: "v1"}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(int(status.ErrStatus.Code))
	_ = json.NewEncoder(w).Encode(status.ErrStatus) // an error here is the client's
}

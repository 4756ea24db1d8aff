// Package network plays the pods' network: an HTTP forward proxy that answers as they would.
//
// A request for SERVICE.NAMESPACE.svc reaches a pod only the way a cluster would let it: through
// a Service that exists, a port that it has, and an EndpointSlice's endpoint that is ready.
// Otherwise the proxy itself answers, 503 with the reason. HTTPRoutes divide what is asked by
// their host names, or of the Services that are their parents, by weight. Pods that mount a
// certificate speak TLS through a tunnel. A request for anything that is not of this cluster is
// refused with 403; nothing is ever forwarded. Every answer of the proxy itself carries the
// header X-Localcluster-Refused.
package network

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/informers"
	corelisters "k8s.io/client-go/listers/core/v1"
	discoverylisters "k8s.io/client-go/listers/discovery/v1"
	"k8s.io/client-go/tools/cache"
)

// Network knows every service, endpoint and pod from watches.
type Network struct {
	services corelisters.ServiceLister
	slices   discoverylisters.EndpointSliceLister
	pods     cache.Indexer
	now      func() time.Time
	gateway  gateway
	secrets  Secrets // nil: tunnels are refused

	turns sync.Map // "namespace/service" → *atomic.Uint64
	mu    sync.Mutex
	state map[types.UID]*podState // of pods that were ever asked, while they exist
}

const byIP = "ip"

// New watches through factory, which the caller starts afterwards.
func New(factory informers.SharedInformerFactory, now func() time.Time) (*Network, error) {
	pods := factory.Core().V1().Pods().Informer()
	n := &Network{
		services: factory.Core().V1().Services().Lister(),
		slices:   factory.Discovery().V1().EndpointSlices().Lister(),
		pods:     pods.GetIndexer(),
		now:      now,
		state:    map[types.UID]*podState{},
	}
	if err := pods.AddIndexers(cache.Indexers{byIP: podIPs}); err != nil {
		return nil, fmt.Errorf("watch pods: %w", err)
	}
	_, err := pods.AddEventHandler(cache.ResourceEventHandlerFuncs{DeleteFunc: n.forget})
	if err != nil {
		return nil, fmt.Errorf("watch pods: %w", err)
	}
	return n, nil
}

// podIPs indexes a pod by its addresses. Pods on the host's network share theirs and have none
// of their own; ended pods have given theirs back.
func podIPs(obj any) ([]string, error) {
	pod, ok := obj.(*corev1.Pod)
	if !ok || pod.Spec.HostNetwork || pod.Status.Phase == corev1.PodSucceeded || pod.Status.Phase == corev1.PodFailed {
		return nil, nil
	}
	var ips []string
	for _, ip := range pod.Status.PodIPs {
		ips = append(ips, ip.IP)
	}
	return ips, nil
}

func (n *Network) podByIP(ip string) *corev1.Pod {
	found, err := n.pods.ByIndex(byIP, ip)
	if err != nil || len(found) == 0 {
		return nil
	}
	pod, _ := found[0].(*corev1.Pod)
	return pod
}

func (n *Network) next(service string) uint64 {
	turn, _ := n.turns.LoadOrStore(service, new(atomic.Uint64))
	return turn.(*atomic.Uint64).Add(1) - 1
}

func (n *Network) forget(obj any) {
	if gone, ok := obj.(cache.DeletedFinalStateUnknown); ok {
		obj = gone.Obj
	}
	if pod, ok := obj.(*corev1.Pod); ok {
		n.mu.Lock()
		defer n.mu.Unlock()
		delete(n.state, pod.UID)
	}
}

// stateOf is the pod's memory of its requests.
func (n *Network) stateOf(pod *corev1.Pod) *podState {
	n.mu.Lock()
	defer n.mu.Unlock()
	s, ok := n.state[pod.UID]
	if !ok {
		s = newPodState()
		n.state[pod.UID] = s
	}
	return s
}

// Serve answers on listener until ctx ends.
func (n *Network) Serve(ctx context.Context, listener net.Listener) {
	server := &http.Server{Handler: n, ReadHeaderTimeout: 10 * time.Second, IdleTimeout: time.Minute}
	context.AfterFunc(ctx, func() { _ = server.Close() })
	go func() { _ = server.Serve(listener) }() // ends with Close
}

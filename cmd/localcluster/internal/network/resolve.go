package network

import (
	"fmt"
	"net/http"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
)

// refusal is an answer of the network itself: no pod was reached.
type refusal struct {
	status int
	text   string
}

func refuse(status int, format string, args ...any) *refusal {
	return &refusal{status, fmt.Sprintf(format, args...)}
}

// target is the pod that answers, and what was asked for to reach it.
type target struct {
	service string // "" when the pod's address was used
	pod     *corev1.Pod
	port    int32 // the pod's
}

// address is a host name of the cluster, taken apart.
type address struct {
	hostname, service, namespace string // hostname: of one endpoint, mostly ""
	port                         int32
}

// parseHost reads [HOSTNAME.]SERVICE.NAMESPACE.svc[.cluster.local].
func parseHost(host string) (address, *refusal) {
	name := strings.TrimSuffix(strings.ToLower(host), ".")
	name = strings.TrimSuffix(name, ".cluster.local")
	name, ok := strings.CutSuffix(name, ".svc")
	parts := strings.Split(name, ".")
	if !ok || len(parts) < 2 || len(parts) > 3 || slices.Contains(parts, "") {
		return address{}, refuse(http.StatusForbidden,
			"%s is outside of the cluster: only SERVICE.NAMESPACE.svc, SERVICE.NAMESPACE.svc.cluster.local and pod addresses are served", host)
	}
	n := len(parts)
	a := address{service: parts[n-2], namespace: parts[n-1]}
	if n == 3 {
		a.hostname = parts[0]
	}
	return a, nil
}

// resolve finds the pod for host ("api.shop.svc" or "10.244.1.7") and port ("" is 80).
func (n *Network) resolve(host, port string) (target, *refusal) {
	number := 80
	if port != "" {
		var err error
		if number, err = strconv.Atoi(port); err != nil || number < 1 || number > 65535 {
			return target{}, refuse(http.StatusBadRequest, "port %q is no port number", port)
		}
	}
	if ip, err := netip.ParseAddr(host); err == nil {
		return n.resolvePod(ip, int32(number))
	}
	a, refused := parseHost(host)
	if refused != nil {
		return target{}, refused
	}
	a.port = int32(number)
	return n.resolveService(a)
}

func (n *Network) resolvePod(ip netip.Addr, port int32) (target, *refusal) {
	pod := n.podByIP(ip.String())
	if pod == nil {
		return target{}, refuse(http.StatusForbidden, "%s is no pod of this cluster, and nothing outside of it is served", ip)
	}
	if !isUp(pod) {
		return target{}, refuse(http.StatusServiceUnavailable, "pod %s/%s refuses connections: its containers do not run", pod.Namespace, pod.Name)
	}
	return target{pod: pod, port: port}, nil
}

// isUp says that something listens: a crashed or ended pod has nobody behind its address.
func isUp(pod *corev1.Pod) bool {
	if pod.Status.Phase != corev1.PodRunning {
		return false
	}
	for _, c := range pod.Status.ContainerStatuses {
		if c.State.Running != nil {
			return true
		}
	}
	return false
}

func (n *Network) resolveService(a address) (target, *refusal) {
	name := a.namespace + "/" + a.service
	service, err := n.services.Services(a.namespace).Get(a.service)
	if err != nil {
		return target{}, refuse(http.StatusServiceUnavailable, "service %s: not found", name)
	}
	if service.Spec.Type == corev1.ServiceTypeExternalName {
		return target{}, refuse(http.StatusForbidden, "service %s leads outside of the cluster (ExternalName)", name)
	}
	slices, err := n.slices.EndpointSlices(a.namespace).List(labels.SelectorFromSet(labels.Set{discoveryv1.LabelServiceName: a.service}))
	if err != nil {
		return target{}, refuse(http.StatusServiceUnavailable, "service %s: %v", name, err)
	}
	ready, refused := readyEndpoints(service, slices, a)
	if refused != nil {
		return target{}, refused
	}
	if len(ready) == 0 {
		return target{}, refuse(http.StatusServiceUnavailable, "service %s port %d: no ready endpoints", name, a.port)
	}
	chosen := ready[n.next(name)%uint64(len(ready))]
	pod := n.podOf(a.namespace, chosen)
	if pod == nil {
		return target{}, refuse(http.StatusServiceUnavailable, "service %s: endpoint %s is no pod", name, chosen.ip)
	}
	return target{service: a.service, pod: pod, port: chosen.port}, nil
}

type endpoint struct {
	ip   string
	pod  string // its name; "" where the endpoint was written by hand
	port int32
}

// podOf prefers the name: the address may already have been given to another pod.
func (n *Network) podOf(namespace string, e endpoint) *corev1.Pod {
	if e.pod == "" {
		return n.podByIP(e.ip)
	}
	found, ok, err := n.pods.GetByKey(namespace + "/" + e.pod)
	if err != nil || !ok {
		return nil
	}
	pod, _ := found.(*corev1.Pod)
	return pod
}

// readyEndpoints are those that a cluster's DNS and kube-proxy would send the request to, in a
// fixed order, so that taking turns is fair.
func readyEndpoints(service *corev1.Service, slices []*discoveryv1.EndpointSlice, a address) ([]endpoint, *refusal) {
	headless := service.Spec.ClusterIP == corev1.ClusterIPNone
	portName, found := servicePort(service, a.port)
	if !found && !headless {
		return nil, refuse(http.StatusServiceUnavailable, "service %s/%s has no port %d: %s", a.namespace, a.service, a.port, portsOf(service))
	}
	var ready []endpoint
	for _, slice := range slices {
		port, ok := slicePort(slice, portName, headless, a.port)
		if !ok {
			continue
		}
		for _, e := range slice.Endpoints {
			if !serves(e, a.hostname, service.Spec.PublishNotReadyAddresses) || len(e.Addresses) == 0 {
				continue
			}
			ready = append(ready, endpoint{e.Addresses[0], podName(e), port})
		}
	}
	sortEndpoints(ready)
	return ready, nil
}

func podName(e discoveryv1.Endpoint) string {
	if e.TargetRef == nil || e.TargetRef.Kind != "Pod" {
		return ""
	}
	return e.TargetRef.Name
}

func serves(e discoveryv1.Endpoint, hostname string, publishNotReady bool) bool {
	if hostname != "" && (e.Hostname == nil || *e.Hostname != hostname) {
		return false
	}
	return publishNotReady || e.Conditions.Ready == nil || *e.Conditions.Ready
}

func servicePort(service *corev1.Service, number int32) (name string, ok bool) {
	for _, p := range service.Spec.Ports {
		if p.Port == number && (p.Protocol == corev1.ProtocolTCP || p.Protocol == "") {
			return p.Name, true
		}
	}
	return "", false
}

// slicePort is the pods' port. A headless service has no port of its own: the request goes
// straight to the pods' port of that number.
func slicePort(slice *discoveryv1.EndpointSlice, name string, headless bool, number int32) (int32, bool) {
	for _, p := range slice.Ports {
		if p.Port == nil {
			continue
		}
		if headless && *p.Port == number {
			return number, true
		}
		if !headless && (p.Name == nil && name == "" || p.Name != nil && *p.Name == name) {
			return *p.Port, true
		}
	}
	return 0, false
}

func portsOf(service *corev1.Service) string {
	var ports []string
	for _, p := range service.Spec.Ports {
		ports = append(ports, strings.TrimPrefix(p.Name+" ", " ")+strconv.Itoa(int(p.Port)))
	}
	if len(ports) == 0 {
		return "it has none"
	}
	return "it has " + strings.Join(ports, ", ")
}

func sortEndpoints(all []endpoint) {
	slices.SortFunc(all, func(a, b endpoint) int { return strings.Compare(a.ip, b.ip) })
}

// containerFor is the container that declares the port, or else the first one.
func containerFor(pod *corev1.Pod, port int32) *corev1.Container {
	for i := range pod.Spec.Containers {
		for _, p := range pod.Spec.Containers[i].Ports {
			if p.ContainerPort == port {
				return &pod.Spec.Containers[i]
			}
		}
	}
	return &pod.Spec.Containers[0]
}

// startOf is when the container began to run.
func startOf(pod *corev1.Pod, container string) metav1.Time {
	for _, c := range pod.Status.ContainerStatuses {
		if c.Name == container && c.State.Running != nil {
			return c.State.Running.StartedAt
		}
	}
	return pod.CreationTimestamp
}

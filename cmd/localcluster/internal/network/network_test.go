package network

import (
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes/fake"
)

// serve plays a network that holds objects, and gives a client that goes through it.
func serve(t *testing.T, objects ...runtime.Object) (client *http.Client, proxy string) {
	t.Helper()
	_, client, proxy = play(t, objects...)
	return client, proxy
}

func play(t *testing.T, objects ...runtime.Object) (n *Network, client *http.Client, proxy string) {
	t.Helper()
	factory := informers.NewSharedInformerFactory(fake.NewClientset(objects...), 0)
	n, err := New(factory, time.Now)
	if err != nil {
		t.Fatal(err)
	}
	stop := make(chan struct{})
	t.Cleanup(func() { close(stop) })
	factory.Start(stop)
	factory.WaitForCacheSync(stop)
	server := httptest.NewServer(n)
	t.Cleanup(server.Close)
	address, err := url.Parse(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	transport := &http.Transport{Proxy: http.ProxyURL(address)}
	t.Cleanup(transport.CloseIdleConnections)
	return n, &http.Client{Transport: transport, Timeout: 10 * time.Second}, server.URL
}

func get(t *testing.T, client *http.Client, address string) (code int, body string) {
	t.Helper()
	response, err := client.Get(address)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	data, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response.StatusCode, string(data)
}

func testPod(name, ip, image string) *corev1.Pod {
	p := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: name, UID: types.UID(name)}}
	p.Spec.Containers = []corev1.Container{
		{Name: "sidecar", Image: "sidecar:errors-100", Ports: []corev1.ContainerPort{{ContainerPort: 9000}}},
		{Name: "main", Image: image, Ports: []corev1.ContainerPort{{ContainerPort: 8080}}},
	}
	running := corev1.ContainerState{Running: &corev1.ContainerStateRunning{StartedAt: metav1.Now()}}
	p.Status = corev1.PodStatus{Phase: corev1.PodRunning, PodIP: ip, PodIPs: []corev1.PodIP{{IP: ip}},
		ContainerStatuses: []corev1.ContainerStatus{{Name: "sidecar", State: running}, {Name: "main", State: running}}}
	return p
}

func testService(name string, spec corev1.ServiceSpec) *corev1.Service {
	return &corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: name}, Spec: spec}
}

func testSlice(service, port string, number int32, endpoints ...discoveryv1.Endpoint) *discoveryv1.EndpointSlice {
	return &discoveryv1.EndpointSlice{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: "shop", Name: service + "-" + port, Labels: map[string]string{discoveryv1.LabelServiceName: service},
		},
		Ports: []discoveryv1.EndpointPort{{Name: &port, Port: &number}}, Endpoints: endpoints,
	}
}

func testEndpoint(ip, pod string, ready bool) discoveryv1.Endpoint {
	return discoveryv1.Endpoint{
		Addresses: []string{ip}, Conditions: discoveryv1.EndpointConditions{Ready: &ready}, Hostname: &pod,
		TargetRef: &corev1.ObjectReference{Kind: "Pod", Namespace: "shop", Name: pod},
	}
}

func TestResolution(t *testing.T) {
	t.Parallel()
	tcp := []corev1.ServicePort{{Name: "web", Port: 80}, {Name: "odd", Port: 81}, {Name: "side", Port: 90}}
	down := testPod("down", "10.244.1.3", "x:crash-loop")
	down.Status.ContainerStatuses[0].State = corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: "CrashLoopBackOff"}}
	down.Status.ContainerStatuses[1].State = down.Status.ContainerStatuses[0].State
	ended := testPod("ended", "10.244.1.4", "x:1")
	ended.Status.Phase = corev1.PodSucceeded
	client, proxy := serve(t,
		testPod("a", "10.244.1.1", "x:1"), testPod("b", "10.244.1.2", "x:1"), down, ended,
		testService("web", corev1.ServiceSpec{ClusterIP: "10.96.0.7", Ports: tcp}),
		testSlice("web", "web", 8080, testEndpoint("10.244.1.1", "a", true), testEndpoint("10.244.1.2", "b", false)),
		testSlice("web", "side", 9000, testEndpoint("10.244.1.1", "a", true)),
		testService("all", corev1.ServiceSpec{ClusterIP: "10.96.0.8", PublishNotReadyAddresses: true, Ports: tcp[:1]}),
		testSlice("all", "web", 8080, testEndpoint("10.244.1.2", "b", false)),
		testService("db", corev1.ServiceSpec{ClusterIP: corev1.ClusterIPNone, Ports: tcp[:1]}),
		testSlice("db", "web", 8080, testEndpoint("10.244.1.1", "a", true), testEndpoint("10.244.1.2", "b", true)),
		testService("gone", corev1.ServiceSpec{ClusterIP: "10.96.0.9", Ports: tcp[:1]}),
		testSlice("gone", "web", 8080, testEndpoint("10.244.9.9", "nobody", true)),
		testService("away", corev1.ServiceSpec{Type: corev1.ServiceTypeExternalName, ExternalName: "example.org"}),
	)
	for _, tc := range []struct {
		address string
		code    int
		says    string
	}{
		{"http://web.shop.svc/x", 200, `"pod":"a","container":"main"`},
		{"http://web.shop.svc.cluster.local/x", 200, `"path":"/x"`},
		{"http://WEB.shop.SVC.cluster.local./x", 200, `"service":"web"`},
		{"http://web.shop.svc:90/", 500, `"container":"sidecar"`},
		{"http://web.shop.svc:81/", 503, "no ready endpoints"},
		{"http://web.shop.svc:82/", 503, "has no port 82: it has web 80, odd 81, side 90"},
		{"http://web.other.svc/", 503, "service other/web: not found"},
		{"http://all.shop.svc/", 200, `"pod":"b"`},
		{"http://db.shop.svc:8080/", 200, `"service":"db"`},
		{"http://db.shop.svc/", 503, "no ready endpoints"}, // headless: the pods' own port, not the service's
		{"http://b.db.shop.svc:8080/", 200, `"pod":"b"`},
		{"http://c.db.shop.svc:8080/", 503, "no ready endpoints"},
		{"http://gone.shop.svc/", 503, "is no pod"},
		{"http://away.shop.svc/", 403, "outside"},
		{"http://10.244.1.2:8080/", 200, `"pod":"b"`},
		{"http://10.244.1.3:8080/", 503, "do not run"},
		{"http://10.244.1.4:8080/", 403, "no pod"},
		{"http://10.96.0.7/", 403, "no pod"},
		{"http://169.254.169.254/", 403, "no pod"},
		{"http://[::1]:9/", 403, "no pod"},
		{"http://svc/", 403, "outside"},
		{"http://web.svc/", 403, "outside"},
		{"http://..svc/", 403, "outside"},
		{"http://example.org/", 403, "outside"},
		{"http://web.shop.svc.example.org/", 403, "outside"},
		{"http://web.shop.svc:0/", 400, "no port number"},
		{proxy + "/", 403, "no pod"},
	} {
		if code, body := get(t, client, tc.address); code != tc.code || !strings.Contains(body, tc.says) {
			t.Errorf("%s: %d %s; want %d saying %s", tc.address, code, body, tc.code, tc.says)
		}
	}
	if _, err := client.Get("https://web.shop.svc/"); err == nil {
		t.Error("a tunnel was opened")
	}
}

func TestMetricsCountAnswers(t *testing.T) {
	t.Parallel()
	client, _ := serve(t, testPod("a", "10.244.1.1", "x:errors-50"))
	for range 4 {
		get(t, client, "http://10.244.1.1:8080/")
	}
	_, body := get(t, client, "http://10.244.1.1:8080/metrics")
	for _, line := range []string{
		`http_requests_total{code="200"} 2`, `http_requests_total{code="500"} 2`,
		`http_request_duration_seconds_count 4`, `http_request_duration_seconds_bucket{le="+Inf"} 4`,
	} {
		if !strings.Contains(body, line+"\n") {
			t.Errorf("metrics lack %s:\n%s", line, body)
		}
	}
}

// A client that goes away ends the wait of a slow pod: nothing piles up.
func TestSlowAnswerEndsWithItsClient(t *testing.T) {
	t.Parallel()
	client, _ := serve(t, testPod("a", "10.244.1.1", "x:slow-600000ms"))
	client.Timeout = 50 * time.Millisecond
	if _, err := client.Get("http://10.244.1.1:8080/"); err == nil {
		t.Error("answered at once")
	}
}

func FuzzParseHost(f *testing.F) {
	for _, seed := range []string{"web.shop.svc", "a.b.c.svc.cluster.local.", "", ".", "svc", "..svc", "web.shop.svc.cluster.local.svc"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, host string) {
		a, refused := parseHost(host)
		if refused == nil && (a.service == "" || a.namespace == "" || strings.Contains(a.service+a.namespace+a.hostname, ".")) {
			t.Errorf("%q is %+v", host, a)
		}
	})
}

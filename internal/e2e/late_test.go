package e2e

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/intstr"

	"chaperone.dev/chaperone/internal/promotion"
	"chaperone.dev/chaperone/internal/testkit/prometheus"
)

// lateVerify goes on asking a Prometheus how many requests fail, and holds that
// against a neighbour which no release changes.
const lateVerify = `  verify:
    timeout: 2m
    settle: 300ms
    metrics:
      - {name: errors, preset: error-rate, selector: 'job="app"', control: {selector: 'job="neighbour"'}, over: 5s, for: 5s, every: 1s, stale: 5s, max: 20%%, samples: 3}
    watch: {for: 10m, every: 10s, revertWithin: %s}
`

// late is a world with users, a neighbour, and a Prometheus that scrapes both.
type late struct {
	*world
	neighbours string // namespace
	prometheus *prometheus.Server
}

// single is the app in one pod: what counts its requests is asked by its Service.
func single(tag string) map[string]string {
	return map[string]string{"base/demo/deployment.yaml": strings.Replace(deployment(tag), "replicas: 2", "replicas: 1", 1)}
}

func newLate(t *testing.T, within string) *late {
	t.Helper()
	stops := []stop{{pipeline: "demo", name: "development", extra: fmt.Sprintf(lateVerify, within)}}
	w := newWorld(t, stops, single("1.0.0"))
	l := &late{world: w, neighbours: w.cluster.Namespace(t)}
	l.neighbour()
	app, neighbour := "app."+w.namespaces[development.String()]+".svc", "neighbour."+l.neighbours+".svc"
	l.prometheus = prometheus.Start(t, fmt.Sprintf(`global: {scrape_interval: 500ms, scrape_timeout: 500ms}
scrape_configs:
  - {job_name: app, proxy_url: %[1]q, static_configs: [{targets: ["%[2]s:80"]}]}
  - {job_name: neighbour, proxy_url: %[1]q, static_configs: [{targets: ["%[3]s:80"]}]}
`, w.cluster.Proxy, app, neighbour))
	l.users("http://"+app+"/", "http://"+neighbour+"/")
	w.start(map[string]string{"verify-prometheus": l.prometheus.URL})
	w.awaitRuns(development, w.first)
	return l
}

// neighbour is somebody else's: it is in no release.
func (l *late) neighbour() {
	l.Helper()
	labels, one := map[string]string{"app": "neighbour"}, int32(1)
	_, err := l.client.AppsV1().Deployments(l.neighbours).Create(l.Context(), &appsv1.Deployment{
		ObjectMeta: metav1.ObjectMeta{Name: "neighbour"},
		Spec: appsv1.DeploymentSpec{Replicas: &one, Selector: &metav1.LabelSelector{MatchLabels: labels}, Template: corev1.PodTemplateSpec{
			ObjectMeta: metav1.ObjectMeta{Labels: labels},
			Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "app", Image: image("1.0.0"), Ports: []corev1.ContainerPort{{ContainerPort: 8080}}}}}}},
	}, metav1.CreateOptions{})
	if err == nil {
		_, err = l.client.CoreV1().Services(l.neighbours).Create(l.Context(), &corev1.Service{ObjectMeta: metav1.ObjectMeta{Name: "neighbour"},
			Spec: corev1.ServiceSpec{Selector: labels, Ports: []corev1.ServicePort{{Port: 80, TargetPort: intstr.FromInt32(8080)}}}}, metav1.CreateOptions{})
	}
	if err != nil {
		l.Fatal(err)
	}
}

// users ask both all the time, as long as the test goes on.
func (l *late) users(addresses ...string) {
	l.Helper()
	proxy, err := url.Parse(l.cluster.Proxy)
	if err != nil {
		l.Fatal(err)
	}
	client := &http.Client{Transport: &http.Transport{Proxy: http.ProxyURL(proxy)}, Timeout: 2 * time.Second}
	ctx, stop := context.WithCancel(context.Background())
	l.Cleanup(stop)
	for _, address := range addresses {
		go func() {
			for ctx.Err() == nil {
				request, _ := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
				if response, err := client.Do(request); err == nil {
					response.Body.Close()
				}
				select {
				case <-time.After(50 * time.Millisecond):
				case <-ctx.Done():
				}
			}
		}()
	}
}

// fails makes what runs in a namespace answer three in four requests with 500 from
// now on. That is no drift: pods are nobody's but their controller's.
func (l *late) fails(namespace string) {
	l.Helper()
	pods, err := l.client.CoreV1().Pods(namespace).List(l.Context(), metav1.ListOptions{})
	if err != nil || len(pods.Items) == 0 {
		l.Fatalf("%d pods, %v", len(pods.Items), err)
	}
	patch := []byte(`{"metadata":{"annotations":{"local.chaperone.dev/behavior":"errors-75"}}}`)
	for _, pod := range pods.Items {
		if _, err := l.client.CoreV1().Pods(namespace).Patch(l.Context(), pod.Name, types.StrategicMergePatchType, patch, metav1.PatchOptions{}); err != nil {
			l.Fatal(err)
		}
	}
}

// A release that passes and fails minutes later, by what a real Prometheus says, is
// taken back like any other, where its neighbours are well all the while.
func TestLateFailureIsTakenBack(t *testing.T) {
	quick(t)
	l := newLate(t, "5m")
	bad := l.push("leak", single("2.0.0"))
	l.awaitRuns(development, bad)
	l.fails(l.namespaces[development.String()])
	l.await("a revert", func() bool { return l.head() != bad })
	r := l.awaitRuns(development, l.head())
	l.wantRevert(bad, l.first, development, "errors")
	l.wantApp(development, "1.0.0")
	if r.Journal.LastRevert.Guilty != bad || len(r.Journal.Quarantine) != 1 {
		t.Errorf("the journal says %+v", r.Journal)
	}
}

// Later than the file allows, or with the neighbour failing as well, it is told,
// and nothing else is done.
func TestLateFailureIsOnlyTold(t *testing.T) {
	quick(t)
	for _, test := range []struct {
		name, within string
		neighbour    bool
		reason       promotion.Reason
		says         string
	}{
		{"too late", "1s", false, promotion.Regressed, "errors"},
		{"next door as well", "5m", true, promotion.VerificationError, "something else is wrong"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			l := newLate(t, test.within)
			next := l.push("next", single("2.0.0"))
			l.awaitRuns(development, next)
			if test.neighbour {
				l.fails(l.neighbours)
				time.Sleep(6 * time.Second) // all that is looked back on
			}
			l.fails(l.namespaces[development.String()])
			r := l.awaitReason(development, test.reason)
			if r.Status.Phase != "Ready" || !strings.Contains(r.Message, test.says) {
				t.Errorf("status says %s: %q; want %q in it", r.Status.Phase, r.Message, test.says)
			}
			l.never("it was taken back", 12*time.Second, func() bool { return l.head() != next || l.runs(development) != "2.0.0" })
			if j := l.record(development).Journal; j.LastGood.Revision != next || len(j.Quarantine) != 0 || len(l.reverts()) != 0 {
				t.Errorf("the journal says %+v", j)
			}
		})
	}
}

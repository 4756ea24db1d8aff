package usage

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes/fake"
	metrics "k8s.io/metrics/pkg/apis/metrics/v1beta1"
)

func testPod(name string, annotations map[string]string, requests corev1.ResourceList) *corev1.Pod {
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: name, Annotations: annotations, Labels: map[string]string{"app": name}},
		Spec: corev1.PodSpec{NodeName: "node-1", Containers: []corev1.Container{
			{Name: "main", Resources: corev1.ResourceRequirements{Requests: requests}}, {Name: "sidecar"},
		}},
		Status: corev1.PodStatus{Phase: corev1.PodRunning},
	}
}

func ask(t *testing.T, handler http.Handler, path string, into any) int {
	t.Helper()
	w := httptest.NewRecorder()
	handler.ServeHTTP(w, httptest.NewRequest(http.MethodGet, path, nil))
	if err := json.Unmarshal(w.Body.Bytes(), into); err != nil {
		t.Fatalf("%s: %v\n%s", path, err, w.Body)
	}
	return w.Code
}

func TestAPI(t *testing.T) {
	t.Parallel()
	requests := corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("500m"), corev1.ResourceMemory: resource.MustParse("1Gi")}
	ended := testPod("ended", nil, requests)
	ended.Status.Phase = corev1.PodSucceeded
	factory := informers.NewSharedInformerFactory(fake.NewClientset(
		testPod("quiet", nil, requests),
		testPod("told", map[string]string{CPUAnnotation: "800m", MemoryAnnotation: "2Gi"}, requests),
		testPod("wrong", map[string]string{CPUAnnotation: "much", MemoryAnnotation: "-1"}, requests),
		ended,
		&corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "node-1"}},
	), 0)
	api := New(factory, time.Now)
	factory.Start(t.Context().Done())
	factory.WaitForCacheSync(t.Context().Done())
	handler := api.routes()
	for name, want := range map[string][2]string{
		"quiet": {"150m", "322122547200m"}, "told": {"800m", "2Gi"}, "wrong": {"150m", "322122547200m"},
	} {
		var m metrics.PodMetrics
		if code := ask(t, handler, root+"/namespaces/shop/pods/"+name, &m); code != http.StatusOK {
			t.Fatalf("%s: %d", name, code)
		}
		usage := m.Containers[0].Usage
		if usage.Cpu().String() != want[0] || usage.Memory().Cmp(resource.MustParse(want[1])) != 0 {
			t.Errorf("%s uses %s and %s, want %v", name, usage.Cpu(), usage.Memory(), want)
		}
	}
	var list metrics.PodMetricsList
	if ask(t, handler, root+"/pods", &list); len(list.Items) != 3 {
		t.Errorf("%d pods in the cluster, want the 3 that run", len(list.Items))
	}
	if ask(t, handler, root+"/namespaces/shop/pods?labelSelector=app%3Dtold", &list); len(list.Items) != 1 || list.Items[0].Name != "told" {
		t.Errorf("selected %+v", list.Items)
	}
	var nodes metrics.NodeMetricsList
	if ask(t, handler, root+"/nodes", &nodes); len(nodes.Items) != 1 || nodes.Items[0].Usage.Cpu().MilliValue() != 100+150+800+150+2*10 {
		t.Errorf("nodes %+v", nodes.Items)
	}
	var status metav1.Status
	for path, want := range map[string]int{
		"/namespaces/shop/pods/ended": http.StatusNotFound, "/namespaces/shop/pods/none": http.StatusNotFound,
		"/nodes/none": http.StatusNotFound, "/pods?labelSelector=%21%21": http.StatusBadRequest,
	} {
		if code := ask(t, handler, root+path, &status); code != want || int(status.Code) != want || status.Kind != "Status" {
			t.Errorf("%s: %d %+v, want %d", path, code, status, want)
		}
	}
}

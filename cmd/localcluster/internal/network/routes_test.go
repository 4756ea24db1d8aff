package network

import (
	"encoding/json"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic/dynamicinformer"
	dynamicfake "k8s.io/client-go/dynamic/fake"
	"pgregory.net/rapid"
	"sigs.k8s.io/yaml"
)

// withRoutes gives a network routes, each as the YAML of its spec; those that
// begin with ! are not accepted.
func withRoutes(t *testing.T, n *Network, specs map[string]string) {
	t.Helper()
	var objects []runtime.Object
	for name, spec := range specs {
		spec, refused := strings.CutPrefix(spec, "!")
		content := map[string]any{}
		if err := yaml.Unmarshal([]byte(spec), &content); err != nil {
			t.Fatal(err)
		}
		status := "True"
		if refused {
			status = "False"
		}
		o := &unstructured.Unstructured{Object: map[string]any{
			"apiVersion": Routes.GroupVersion().String(), "kind": "HTTPRoute", "metadata": map[string]any{"name": name, "namespace": "shop"}, "spec": content,
			"status": map[string]any{"parents": []any{map[string]any{"conditions": []any{map[string]any{"type": "Accepted", "status": status}}}}},
		}}
		text, err := json.Marshal(o) // numbers as the API server's client reads them
		if err != nil || o.UnmarshalJSON(text) != nil {
			t.Fatal(err)
		}
		objects = append(objects, o)
	}
	client := dynamicfake.NewSimpleDynamicClientWithCustomListKinds(runtime.NewScheme(), map[schema.GroupVersionResource]string{Routes: "HTTPRouteList"}, objects...)
	factory := dynamicinformer.NewDynamicSharedInformerFactory(client, 0)
	if err := n.WatchRoutes(factory); err != nil {
		t.Fatal(err)
	}
	factory.Start(t.Context().Done())
	factory.WaitForCacheSync(t.Context().Done())
}

func webPods() []runtime.Object {
	port := []corev1.ServicePort{{Name: "web", Port: 80}}
	return []runtime.Object{
		testPod("a", "10.244.1.1", "x:1"), testPod("b", "10.244.1.2", "x:2"),
		testService("old", corev1.ServiceSpec{ClusterIP: "10.96.0.7", Ports: port}), testSlice("old", "web", 8080, testEndpoint("10.244.1.1", "a", true)),
		testService("new", corev1.ServiceSpec{ClusterIP: "10.96.0.8", Ports: port}), testSlice("new", "web", 8080, testEndpoint("10.244.1.2", "b", true)),
		testService("none", corev1.ServiceSpec{ClusterIP: "10.96.0.9", Ports: port}),
	}
}

const (
	toOld = `backendRefs: [{name: old, port: 80}]`
	toNew = `backendRefs: [{name: new, port: 80}]`
)

func TestRoutesByHostAndMatch(t *testing.T) {
	t.Parallel()
	n, client, _ := play(t, webPods()...)
	withRoutes(t, n, map[string]string{
		"plain":  `{hostnames: [shop.example.org], rules: [{` + toOld + `}, {matches: [{path: {type: PathPrefix, value: /v2}}], ` + toNew + `}, {matches: [{path: {type: Exact, value: /v2/old}}], ` + toOld + `}]}`,
		"header": `{hostnames: [shop.example.org], rules: [{matches: [{headers: [{name: X-Track, value: canary}]}], ` + toNew + `}]}`,
		"any":    `{hostnames: ["*.example.net"], rules: [{` + toNew + `}]}`,
		"own":    `{hostnames: [own.example.net], rules: [{matches: [{method: GET}], ` + toOld + `}]}`,
		"mesh":   `{parentRefs: [{group: "", kind: Service, name: old}], rules: [{` + toNew + `}]}`,
		"wrong":  `{hostnames: [wrong.example.org], rules: [{backendRefs: [{name: old, namespace: other, port: 80}]}]}`,
		"idle":   `{hostnames: [idle.example.org], rules: [{backendRefs: [{name: old, port: 80, weight: 0}]}]}`,
		"dead":   `{hostnames: [dead.example.org], rules: [{backendRefs: [{name: none, port: 80}]}]}`,
		"closed": `!{hostnames: [closed.example.org], rules: [{` + toOld + `}]}`,
	})
	for _, tc := range []struct {
		address string
		code    int
		says    string
	}{
		{"http://shop.example.org/", 200, `"service":"old"`},
		{"http://SHOP.example.org/v2", 200, `"service":"new"`},
		{"http://shop.example.org/v2/x", 200, `"service":"new"`},
		{"http://shop.example.org/v20", 200, `"service":"old"`},
		{"http://shop.example.org/v2/old", 200, `"service":"old"`},
		{"http://a.b.example.net/", 200, `"service":"new"`},
		{"http://own.example.net/", 200, `"service":"old"`},
		{"http://example.net/", 403, "outside"},
		{"http://old.shop.svc/", 200, `"service":"new"`},
		{"http://new.shop.svc/", 200, `"service":"new"`},
		{"http://wrong.example.org/", 500, "no Service of the route's namespace"},
		{"http://idle.example.org/", 500, "no backend with a weight"},
		{"http://dead.example.org/", 503, "no ready endpoints"},
		{"http://closed.example.org/", 403, "outside"},
	} {
		if code, body := get(t, client, tc.address); code != tc.code || !strings.Contains(body, tc.says) {
			t.Errorf("%s: %d %s; want %d saying %s", tc.address, code, body, tc.code, tc.says)
		}
	}
	request, err := http.NewRequest(http.MethodGet, "http://shop.example.org/", nil)
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("X-Track", "canary")
	response, err := client.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	var body reply
	if err := json.NewDecoder(response.Body).Decode(&body); err != nil || body.Service != "new" {
		t.Errorf("by its header: %+v, %v", body, err)
	}
}

// A row of requests as long as the weights' sum shows each weight exactly.
func TestRouteSharesAreExact(t *testing.T) {
	t.Parallel()
	n, client, _ := play(t, webPods()...)
	withRoutes(t, n, map[string]string{
		"canary": `{hostnames: [shop.example.org], rules: [{backendRefs: [{name: old, port: 80, weight: 80}, {name: new, port: 80, weight: 20}]}]}`,
	})
	counts := map[bool]int{}
	for range 100 {
		_, body := get(t, client, "http://shop.example.org/")
		counts[strings.Contains(body, `"service":"new"`)]++
	}
	if counts[true] != 20 {
		t.Errorf("%d of 100 went to the canary, want 20", counts[true])
	}
}

// Whatever the weights: each backend has its turns, spread evenly.
func TestTurns(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		weights := rapid.SliceOfN(rapid.Int64Range(0, 9), 1, 5).Draw(t, "weights")
		total := int64(0)
		for _, w := range weights {
			total += w
		}
		one := &turns{weights, make([]int64, len(weights))}
		seen := map[int]int64{}
		for i := range 3 * total {
			seen[one.next()]++
			for at, w := range weights {
				if ideal := float64(w*(i+1)) / float64(total); float64(seen[at])-ideal > float64(len(weights)) || ideal-float64(seen[at]) > float64(len(weights)) {
					t.Fatalf("backend %d of %v had %d of %d", at, weights, seen[at], i+1)
				}
			}
		}
		for _, at := range slices.Sorted(maps.Keys(seen)) {
			if at < 0 || seen[at] != 3*weights[at] {
				t.Fatalf("backend %d of %v had %d turns", at, weights, seen[at])
			}
		}
		if total == 0 && one.next() != -1 {
			t.Fatal("somebody without weight had a turn")
		}
	})
}

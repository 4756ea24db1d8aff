package network

import (
	"fmt"
	"net/http"
	"strings"
	"sync"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic/dynamicinformer"
	"k8s.io/client-go/tools/cache"
)

// Routes are the kind by which gateways, and Services as their own gateways, divide requests.
var Routes = schema.GroupVersionResource{Group: "gateway.networking.k8s.io", Version: "v1", Resource: "httproutes"}

// gateway divides requests as HTTPRoutes say. A route counts for the host names that it has, and
// for the Services that are its parents, once it has been accepted. Played are matches by path,
// method and header, and the weights of backends of the route's own namespace; not filters,
// regular expressions and the listeners of Gateways.
type gateway struct {
	mu     sync.Mutex
	routes cache.Indexer // nil: there are none
	turns  map[string]*turns
}

const byDoor = "door"

// WatchRoutes honours HTTPRoutes from now on. The caller starts factory afterwards.
func (n *Network) WatchRoutes(factory dynamicinformer.DynamicSharedInformerFactory) error {
	informer := factory.ForResource(Routes).Informer()
	if err := informer.AddIndexers(cache.Indexers{byDoor: doors}); err != nil {
		return fmt.Errorf("watch routes: %w", err)
	}
	n.gateway.mu.Lock()
	defer n.gateway.mu.Unlock()
	n.gateway.routes = informer.GetIndexer()
	return nil
}

type httpRoute struct {
	name, namespace string
	routeContent
}

// routeContent is what is played of a route.
type routeContent struct {
	Spec struct {
		Hostnames  []string    `json:"hostnames"`
		ParentRefs []parentRef `json:"parentRefs"`
		Rules      []routeRule `json:"rules"`
	} `json:"spec"`
	Status struct {
		Parents []struct {
			Conditions []struct {
				Type   string `json:"type"`
				Status string `json:"status"`
			} `json:"conditions"`
		} `json:"parents"`
	} `json:"status"`
}

type parentRef struct {
	Group     *string `json:"group"`
	Kind      *string `json:"kind"`
	Namespace *string `json:"namespace"`
	Name      string  `json:"name"`
	Port      *int32  `json:"port"`
}

type routeRule struct {
	Matches     []routeMatch `json:"matches"`
	BackendRefs []backend    `json:"backendRefs"`
}

type routeMatch struct {
	Path *struct {
		Type  *string `json:"type"`
		Value *string `json:"value"`
	} `json:"path"`
	Method  *string `json:"method"`
	Headers []struct {
		Type  *string `json:"type"`
		Name  string  `json:"name"`
		Value string  `json:"value"`
	} `json:"headers"`
}

type backend struct {
	Group     *string `json:"group"`
	Kind      *string `json:"kind"`
	Namespace *string `json:"namespace"`
	Name      string  `json:"name"`
	Port      *int32  `json:"port"`
	Weight    *int32  `json:"weight"`
}

func (b backend) weight() int64 {
	if b.Weight == nil {
		return 1
	}
	return int64(*b.Weight)
}

func is(value *string, wanted, fallback string) bool {
	if value == nil {
		return wanted == fallback
	}
	return *value == wanted
}

func hostDoor(host string) string { return "host/" + strings.ToLower(host) }

func serviceDoor(namespace, name string) string { return "service/" + namespace + "/" + name }

// doors are where requests come to a route.
func doors(obj any) ([]string, error) {
	route, err := parseRoute(obj)
	if err != nil {
		return nil, nil // the API server lets in nothing of another shape
	}
	var all []string
	for _, host := range route.Spec.Hostnames {
		all = append(all, hostDoor(host))
	}
	for _, parent := range route.Spec.ParentRefs {
		if is(parent.Group, "", Routes.Group) && is(parent.Kind, "Service", "Gateway") {
			namespace := route.namespace
			if parent.Namespace != nil {
				namespace = *parent.Namespace
			}
			all = append(all, serviceDoor(namespace, parent.Name))
		}
	}
	return all, nil
}

func parseRoute(obj any) (*httpRoute, error) {
	o, ok := obj.(*unstructured.Unstructured)
	if !ok {
		return nil, fmt.Errorf("%T is no route", obj)
	}
	route := &httpRoute{name: o.GetName(), namespace: o.GetNamespace()}
	return route, runtime.DefaultUnstructuredConverter.FromUnstructured(o.Object, &route.routeContent)
}

func (r *httpRoute) accepted() bool {
	for _, parent := range r.Status.Parents {
		for _, c := range parent.Conditions {
			if c.Type == "Accepted" && c.Status == "True" {
				return true
			}
		}
	}
	return false
}

// find returns the rule that a request at one of the doors goes by; nil without any.
func (g *gateway) find(r *http.Request, doors ...string) (route *httpRoute, rule int) {
	g.mu.Lock()
	routes := g.routes
	g.mu.Unlock()
	if routes == nil {
		return nil, 0
	}
	for _, door := range doors { // the more special one first
		var best rank
		found, _ := routes.ByIndex(byDoor, door)
		for _, obj := range found {
			candidate, err := parseRoute(obj)
			if err != nil || !candidate.accepted() {
				continue
			}
			for i, one := range candidate.Spec.Rules {
				if rank := one.rank(r); rank.over(best) {
					route, rule, best = candidate, i, rank
				}
			}
		}
		if route != nil {
			return route, rule
		}
	}
	return nil, 0
}

// rank orders the rules that match a request: the more special goes before, as the Gateway API
// has it. The zero rank does not match.
type rank struct{ matches, path, method, headers int }

func (a rank) over(b rank) bool {
	for _, pair := range [][2]int{{a.matches, b.matches}, {a.path, b.path}, {a.method, b.method}, {a.headers, b.headers}} {
		if pair[0] != pair[1] {
			return pair[0] > pair[1]
		}
	}
	return false
}

func (r routeRule) rank(request *http.Request) rank {
	if len(r.Matches) == 0 {
		return rank{matches: 1}
	}
	var best rank
	for _, m := range r.Matches {
		if one := m.rank(request); one.over(best) {
			best = one
		}
	}
	return best
}

// exact is more than any prefix is long.
const exact = 1 << 20

func (m routeMatch) rank(r *http.Request) rank {
	found := rank{matches: 1}
	if m.Path != nil {
		value := "/"
		if m.Path.Value != nil {
			value = *m.Path.Value
		}
		switch {
		case is(m.Path.Type, "Exact", "PathPrefix") && r.URL.Path == value:
			found.path = exact
		case is(m.Path.Type, "PathPrefix", "PathPrefix") && within(r.URL.Path, value):
			found.path = len(value)
		default:
			return rank{}
		}
	}
	if m.Method != nil {
		if *m.Method != r.Method {
			return rank{}
		}
		found.method = 1
	}
	for _, h := range m.Headers {
		if !is(h.Type, "Exact", "Exact") || r.Header.Get(h.Name) != h.Value {
			return rank{}
		}
		found.headers++
	}
	return found
}

// within goes by whole elements of a path: /ab is not within /a.
func within(path, prefix string) bool {
	prefix = strings.TrimSuffix(prefix, "/")
	rest, ok := strings.CutPrefix(path, prefix)
	return ok && (rest == "" || rest[0] == '/')
}

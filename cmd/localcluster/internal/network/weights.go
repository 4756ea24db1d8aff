package network

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
)

// turns spreads requests over backends by their weights as evenly as can be, so that every
// long enough row of requests shows each share exactly.
type turns struct {
	weights []int64
	credit  []int64
}

// next is the backend whose turn it is; -1 when none has any weight.
func (t *turns) next() int {
	total, best := int64(0), -1
	for i, weight := range t.weights {
		if weight <= 0 {
			continue
		}
		total += weight
		t.credit[i] += weight
		if best < 0 || t.credit[i] > t.credit[best] {
			best = i
		}
	}
	if best >= 0 {
		t.credit[best] -= total
	}
	return best
}

// choose is the backend of a rule whose turn it is. Turns begin anew when the weights change.
func (g *gateway) choose(route *httpRoute, rule int) (backend, bool) {
	backends := route.Spec.Rules[rule].BackendRefs
	weights := make([]int64, len(backends))
	for i, b := range backends {
		weights[i] = b.weight()
	}
	key := fmt.Sprintf("%s/%s/%d", route.namespace, route.name, rule)
	g.mu.Lock()
	defer g.mu.Unlock()
	now := g.turns[key]
	if now == nil || !slices.Equal(now.weights, weights) {
		now = &turns{weights, make([]int64, len(weights))}
		if g.turns == nil {
			g.turns = map[string]*turns{}
		}
		g.turns[key] = now
	}
	i := now.next()
	if i < 0 {
		return backend{}, false
	}
	return backends[i], true
}

// routed finds the pod by the routes for a host, or for a Service; routed is false where none
// has to do with the request.
func (n *Network) routed(r *http.Request, doors ...string) (t target, refused *refusal, routed bool) {
	route, rule := n.gateway.find(r, doors...)
	if route == nil {
		return target{}, nil, false
	}
	name := route.namespace + "/" + route.name
	to, ok := n.gateway.choose(route, rule)
	switch {
	case !ok:
		return target{}, refuse(http.StatusInternalServerError, "route %s: rule %d has no backend with a weight", name, rule), true
	case !is(to.Group, "", "") || !is(to.Kind, "Service", "Service") || !is(to.Namespace, route.namespace, route.namespace):
		return target{}, refuse(http.StatusInternalServerError, "route %s: rule %d: backend %s is no Service of the route's namespace", name, rule, to.Name), true
	case to.Port == nil:
		return target{}, refuse(http.StatusInternalServerError, "route %s: rule %d: backend %s without a port", name, rule, to.Name), true
	}
	t, refused = n.resolveService(address{service: to.Name, namespace: route.namespace, port: *to.Port})
	return t, refused, true
}

// hostDoors are those of a host name, the most special first.
func hostDoors(host string) []string {
	host = strings.TrimSuffix(strings.ToLower(host), ".")
	all := []string{hostDoor(host)}
	for rest := host; ; {
		i := strings.IndexByte(rest, '.')
		if i < 0 {
			return all
		}
		rest = rest[i+1:]
		all = append(all, hostDoor("*."+rest))
	}
}

// find resolves a request: by its route where it has one, else as a cluster's DNS would.
func (n *Network) find(r *http.Request, host, port string) (target, *refusal) {
	doors := hostDoors(host)
	if a, refused := parseHost(host); refused == nil && a.hostname == "" {
		doors = []string{serviceDoor(a.namespace, a.service)}
	}
	if t, refused, routed := n.routed(r, doors...); routed {
		return t, refused
	}
	return n.resolve(host, port)
}

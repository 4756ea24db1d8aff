package strategy

import (
	"fmt"
	"slices"

	"k8s.io/apimachinery/pkg/runtime"

	"chaperone.dev/chaperone/internal/manifest"
)

const (
	maxBackends = 16        // of a rule, by the Gateway API
	maxWeight   = 1_000_000 // of a backend, likewise
)

// routed wants a route that a share of the requests can be taken from.
func (d *designer) routed(m *mover) error {
	if m.Canary == nil || m.Canary.Route == "" {
		return nil
	}
	if find(d.After, httpRoute, d.Namespace, m.Canary.Route) == nil {
		return fmt.Errorf("its strategy names HTTPRoute/%s, which is not in the release; want one that names Service/%s as a backend, or remove it "+
			"to share by the number of pods", m.Canary.Route, m.Service)
	}
	route := d.route(m)
	found := false
	for _, rule := range listAt(route.Object, "spec", "rules") {
		backends := listAt(rule, "backendRefs")
		heaviest := 0
		names := 0
		for _, backend := range backends {
			heaviest = max(heaviest, number(backend["weight"], 1))
			if d.names(route, backend, m.Service) {
				names++
			}
		}
		found = found || names > 0
		switch {
		case names == 0:
		case len(backends)+names > maxBackends:
			return fmt.Errorf("a rule of HTTPRoute/%s has %d backends; want at most %d, to have room for the copy's", m.Canary.Route, len(backends), maxBackends-names)
		case heaviest*100 > maxWeight:
			return fmt.Errorf("HTTPRoute/%s has weights up to %d; want at most %d, so that they can be divided by percent", m.Canary.Route, heaviest, maxWeight/100)
		}
	}
	if !found {
		return fmt.Errorf("its strategy names HTTPRoute/%s, which does not send requests to Service/%s; want one that does", m.Canary.Route, m.Service)
	}
	return nil
}

// route is last good's, whose paths the old version knows, as long as it sends
// requests to the Service.
func (d *designer) route(m *mover) *manifest.Object {
	before := find(d.Before, httpRoute, d.Namespace, m.Canary.Route)
	if before != nil && d.sends(before, m.Service) {
		return before
	}
	return find(d.After, httpRoute, d.Namespace, m.Canary.Route)
}

func (d *designer) sends(route *manifest.Object, name string) bool {
	for _, rule := range listAt(route.Object, "spec", "rules") {
		for _, backend := range listAt(rule, "backendRefs") {
			if d.names(route, backend, name) {
				return true
			}
		}
	}
	return false
}

// names reports whether a backend is a Service of the target's namespace.
func (d *designer) names(route *manifest.Object, backend map[string]any, name string) bool {
	namespace := textAt(backend, "namespace")
	return backend["name"] == name && textAt(backend, "group") == "" &&
		(backend["kind"] == nil || backend["kind"] == "Service") &&
		(namespace == "" || namespace == d.Namespace)
}

// weigh gives the copy its share in every rule that names the Service. What the
// rules send elsewhere keeps its part: all weights of a rule become a hundred
// times what they are.
func (d *designer) weigh(s *draft, m *mover, share int) {
	there := find(d.After, httpRoute, d.Namespace, m.Canary.Route)
	route := d.route(m)
	s.replace(there, route)
	edited := s.edit(route)
	rules, _ := at(edited.Object, "spec", "rules").([]any)
	for _, item := range rules {
		rule, _ := item.(map[string]any)
		backends, _ := rule["backendRefs"].([]any)
		if len(backends) > 0 {
			rule["backendRefs"] = d.divided(edited, m, backends, share)
		}
	}
}

func (d *designer) divided(route *manifest.Object, m *mover, backends []any, share int) []any {
	if !slices.ContainsFunc(backends, func(item any) bool {
		backend, _ := item.(map[string]any)
		return d.names(route, backend, m.Service)
	}) {
		return backends
	}
	var all []any
	for _, item := range backends {
		backend, isMap := item.(map[string]any)
		if !isMap {
			return backends // the server refuses it
		}
		weight := number(backend["weight"], 1)
		backend["weight"] = int64(100 * weight)
		all = append(all, backend)
		if d.names(route, backend, m.Service) {
			twin := runtime.DeepCopyJSON(backend)
			twin["name"], twin["weight"] = m.copySvc, int64(weight*share)
			backend["weight"] = int64(weight * (100 - share))
			all = append(all, twin)
		}
	}
	return all
}

package network.declared_exposure_test

import data.network.declared_exposure

findings(objects) := found if {
	found := {[f.object.kind, f.path] | some f in declared_exposure.deny} with input.objects as objects
}

gateway(hostname) := {
	"apiVersion": "gateway.networking.k8s.io/v1", "kind": "Gateway", "metadata": {"name": "public", "namespace": "a"},
	"spec": {"listeners": [object.union({"name": "https"}, hostname)]},
}

route(spec) := {
	"apiVersion": "gateway.networking.k8s.io/v1", "kind": "HTTPRoute", "metadata": {"name": "api", "namespace": "a"},
	"spec": object.union({"parentRefs": [{"name": "public"}]}, spec),
}

test_routes_and_listeners if {
	findings([gateway({}), route({})]) == {["HTTPRoute", "spec.hostnames"]}
	findings([gateway({"hostname": "*.example.org"}), route({"hostnames": ["a.example.org", "*.b.example.org"]})]) == {["HTTPRoute", "spec.hostnames[1]"]}
	findings([gateway({"hostname": "a.example.org"}), route({})]) == set()
	findings([gateway({}), route({"hostnames": ["a.example.org"]})]) == set()
	findings([gateway({}), route({"parentRefs": [{"name": "other"}]})]) == set()
}

test_istio if {
	findings([{
		"apiVersion": "networking.istio.io/v1", "kind": "Gateway", "metadata": {"name": "g", "namespace": "a"},
		"spec": {"servers": [{"hosts": ["app.example.org", "a/*"]}]},
	}]) == {["Gateway", "spec.servers[0].hosts[1]"]}
	virtual := {"apiVersion": "networking.istio.io/v1", "kind": "VirtualService", "metadata": {"name": "v", "namespace": "a"}}
	findings([object.union(virtual, {"spec": {"hosts": ["*"], "gateways": ["public"]}})]) == {["VirtualService", "spec.hosts[0]"]}
	findings([object.union(virtual, {"spec": {"hosts": ["*"], "gateways": ["mesh"]}})]) == set()
}

traefik(match) := found if {
	found := {f.path | some f in declared_exposure.deny} with input.objects as [{
		"apiVersion": "traefik.io/v1alpha1", "kind": "IngressRoute", "metadata": {"name": "a", "namespace": "a"},
		"spec": {"routes": [{"match": match}]},
	}]
}

test_expressions_that_name_a_host if {
	every match in [
		"Host(`a.example.org`)",
		"Host(`a.example.org`, `b.example.org`) && Path(`/x`)",
		"Host(`a.example.org`) && (PathPrefix(`/a`) || PathPrefix(`/b`))",
		"(Host(`a.example.org`) || Host(`b.example.org`)) && !PathPrefix(`/internal`)",
		"(Host(`a.example.org`) && (Method(`GET`) || (Header(`x`, `(y)`) && Method(`PUT`)))) || Host(\"b.example.org\")",
		"HostRegexp(`^[a-z]+\\.clinics\\.example\\.org$`)",
	] {
		traefik(match) == set()
	}
}

test_expressions_that_do_not if {
	every match in [
		"PathPrefix(`/`)",
		"Host(`a.example.org`) || PathPrefix(`/`)",
		"!Host(`a.example.org`)",
		"!(Host(`a.example.org`) && Path(`/`))",
		"Host(`*`)",
		"HostRegexp(`.*`)",
		"HostRegexp(`{any:.+}`)",
		"(Host(`a.example.org`) || Path(`/x`)) && Method(`GET`)",
		"Header(`X`, `Host(\"a.example.org\")`)",
		"",
	] {
		traefik(match) == {"spec.routes[0].match"}
	}
}

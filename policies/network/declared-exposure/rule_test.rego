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

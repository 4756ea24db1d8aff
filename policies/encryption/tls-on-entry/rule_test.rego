package encryption.tls_on_entry_test

import data.encryption.tls_on_entry

ingress(spec) := {"apiVersion": "networking.k8s.io/v1", "kind": "Ingress", "metadata": {"name": "public"}, "spec": spec}

findings(objects) := found if {
	found := {f.path | some f in tls_on_entry.deny} with input.objects as objects
}

test_names_the_rule if {
	findings([ingress({"tls": [{"hosts": ["a.example.org"]}], "rules": [{"host": "a.example.org"}, {"host": "b.example.org"}]})]) == {"spec.rules[1].host"}
}

test_wildcard_is_one_label if {
	tls := [{"hosts": ["*.example.org"]}]
	findings([ingress({"tls": tls, "rules": [{"host": "a.example.org"}, {"host": "*.example.org"}]})]) == set()
	count(findings([ingress({"tls": tls, "rules": [{"host": "example.org"}, {"host": "a.b.example.org"}, {"host": "xexample.org"}]})])) == 3
}

gateway := {
	"apiVersion": "gateway.networking.k8s.io/v1", "kind": "Gateway", "metadata": {"name": "public", "namespace": "a"},
	"spec": {"listeners": [{"name": "http", "protocol": "HTTP"}]},
}

route(namespace, filters) := {
	"apiVersion": "gateway.networking.k8s.io/v1", "kind": "HTTPRoute", "metadata": {"name": "r", "namespace": namespace},
	"spec": {"parentRefs": [{"name": "public"}], "rules": [{"filters": filters}]},
}

to_https := [{"type": "RequestRedirect", "requestRedirect": {"scheme": "https"}}]

test_plain_listener_may_redirect if {
	findings([gateway, route("a", to_https)]) == set()
	findings([gateway, route("a", [{"type": "RequestRedirect", "requestRedirect": {"port": 8080}}])]) == {"spec.listeners[0]"}
	findings([gateway, route("b", to_https)]) == {"spec.listeners[0]"}
}

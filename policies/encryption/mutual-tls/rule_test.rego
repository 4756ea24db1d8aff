package encryption.mutual_tls_test

import data.encryption.mutual_tls

pod(annotations, labels) := {
	"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a", "namespace": "a", "annotations": annotations, "labels": labels},
	"spec": {"containers": []},
}

peers(namespace, spec) := {
	"apiVersion": "security.istio.io/v1", "kind": "PeerAuthentication", "metadata": {"name": "p", "namespace": namespace}, "spec": spec,
}

paths(objects) := found if {
	found := {f.path | some f in mutual_tls.deny} with input.objects as objects
		with input.environment.data as "phi"
		with data.params.strict_mesh as {"namespaces": ["outside-*"], "istio_namespaces": ["injected-*"], "linkerd_default_inbound_policy": "all-unauthenticated"}
}

test_linkerd if {
	strict := {"linkerd.io/inject": "enabled", "config.linkerd.io/default-inbound-policy": "all-authenticated"}
	paths([pod(strict, {})]) == set()
	every annotations in [
		{}, {"linkerd.io/inject": "enabled"}, object.union(strict, {"linkerd.io/inject": "disabled"}),
		object.union(strict, {"config.linkerd.io/default-inbound-policy": "all-unauthenticated"}),
	] {
		paths([pod(annotations, {})]) == {"metadata.annotations"}
	}
	namespace := {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "a", "annotations": strict}}
	paths([namespace, pod({}, {})]) == set()
	count(paths([namespace, pod({"linkerd.io/inject": "disabled"}, {})])) == 1
}

test_istio if {
	strict := peers("a", {"mtls": {"mode": "STRICT"}})
	asked := {"sidecar.istio.io/inject": "true"}
	paths([strict, pod({}, asked)]) == set()
	count(paths([strict, pod({}, {"sidecar.istio.io/inject": "false"})])) == 1
	count(paths([peers("b", {"mtls": {"mode": "STRICT"}}), pod({}, asked)])) == 1
	count(paths([peers("a", {"selector": {"matchLabels": {"app": "b"}}, "mtls": {"mode": "STRICT"}}), pod({}, object.union(asked, {"app": "a"}))])) == 1
	paths([peers("a", {"mtls": {"mode": "STRICT"}, "portLevelMtls": {"8080": {"mode": "PERMISSIVE"}}})]) == {`spec.portLevelMtls["8080"].mode`}
}

namespace(labels) := {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "a", "labels": labels}}

test_istio_wants_a_sidecar if {
	strict := peers("a", {"mtls": {"mode": "STRICT"}})
	every labels in [{"istio-injection": "enabled"}, {"istio.io/rev": "stable"}, {"istio.io/dataplane-mode": "ambient"}] {
		paths([strict, namespace(labels), pod({}, {})]) == set()
		count(paths([strict, namespace(labels), pod({"sidecar.istio.io/inject": "false"}, {})])) == 1
	}
	every labels in [{}, {"istio-injection": "disabled"}, {"istio.io/rev": ""}, {"istio.io/dataplane-mode": "none"}] {
		count(paths([strict, namespace(labels), pod({}, {})])) == 1
	}
	paths([strict, pod({}, {"istio.io/rev": "stable"})]) == set()
	paths([strict, pod({}, {"istio.io/dataplane-mode": "ambient"})]) == set()
	count(paths([strict, pod({}, {})])) == 1
	count(paths([strict, namespace({"istio-injection": "disabled"}), pod({}, {"sidecar.istio.io/inject": "true"})])) == 1
	count(paths([strict, namespace({"istio.io/dataplane-mode": "ambient"}), pod({}, {"istio.io/dataplane-mode": "none"})])) == 1
	on_host := object.union(pod({}, {"sidecar.istio.io/inject": "true"}), {"spec": {"hostNetwork": true}})
	count(paths([strict, on_host])) == 1
}

test_istio_injected_from_outside if {
	objects := [peers("injected-1", {"mtls": {"mode": "STRICT"}}), object.union(pod({}, {}), {"metadata": {"namespace": "injected-1"}})]
	paths(objects) == set()
}

test_a_mesh_set_up_outside if {
	paths([object.union(pod({}, {}), {"metadata": {"namespace": "outside-1"}})]) == set()
}

test_only_said_without_real_data if {
	count(mutual_tls.warn) == 1 with input.objects as [pod({}, {})] with input.environment.data as "anonymized"
	count(mutual_tls.deny) == 0 with input.objects as [pod({}, {})] with input.environment.data as "anonymized"
	count(mutual_tls.warn) == 0 with input.objects as [pod({}, {})] with input.environment.data as "phi"
}

test_client_settings if {
	spec := {"host": "db", "trafficPolicy": {"tls": {"mode": "ISTIO_MUTUAL"}, "portLevelSettings": [{"tls": {"mode": "DISABLE"}}]}}
	paths([{"apiVersion": "networking.istio.io/v1", "kind": "DestinationRule", "metadata": {"name": "d", "namespace": "a"}, "spec": spec}]) == {"spec.trafficPolicy.portLevelSettings[0].tls.mode"}
}

test_ports_left_out if {
	linkerd := {"linkerd.io/inject": "enabled", "config.linkerd.io/default-inbound-policy": "all-authenticated"}
	count(paths([pod(object.union(linkerd, {"config.linkerd.io/skip-inbound-ports": "8000"}), {})])) == 1
	strict := peers("a", {"mtls": {"mode": "STRICT"}})
	asked := {"sidecar.istio.io/inject": "true"}
	traffic := "traffic.sidecar.istio.io/"
	every name, value in {"excludeInboundPorts": "8000", "includeInboundPorts": ""} {
		count(paths([strict, pod({concat("", [traffic, name]): value}, asked)])) == 1
		paths([strict, pod({concat("", [traffic, name]): value}, {"istio.io/dataplane-mode": "ambient"})]) == set()
	}
	paths([strict, pod({"traffic.sidecar.istio.io/includeInboundPorts": "*"}, asked)]) == set()
}

server(kind, spec) := {"apiVersion": "policy.linkerd.io/v1beta3", "kind": kind, "metadata": {"name": "s", "namespace": "a"}, "spec": spec}

test_servers_of_linkerd if {
	every policy in ["all-unauthenticated", "cluster-unauthenticated", "audit"] {
		paths([server("Server", {"accessPolicy": policy})]) == {"spec.accessPolicy"}
	}
	paths([server("Server", {"accessPolicy": "deny"}), server("Server", {})]) == set()
	paths([server("ServerAuthorization", {"client": {"unauthenticated": true}})]) == {"spec.client.unauthenticated"}
	paths([server("ServerAuthorization", {"client": {"meshTLS": {"serviceAccounts": [{"name": "a"}]}}})]) == set()
}

test_authorization_of_linkerd if {
	every kind, refs in {"Server": [], "Namespace": [{"kind": "NetworkAuthentication", "name": "n"}]} {
		paths([server("AuthorizationPolicy", {"targetRef": {"kind": kind}, "requiredAuthenticationRefs": refs})]) == {"spec.requiredAuthenticationRefs"}
	}
	both := [{"kind": "NetworkAuthentication", "name": "n"}, {"kind": "MeshTLSAuthentication", "name": "m"}]
	paths([server("AuthorizationPolicy", {"targetRef": {"kind": "Server"}, "requiredAuthenticationRefs": both})]) == set()
	paths([server("AuthorizationPolicy", {"targetRef": {"kind": "HTTPRoute"}, "requiredAuthenticationRefs": []})]) == set()
}
